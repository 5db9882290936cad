"""Finds duplicates, and training texts that overlap evaluation sets, in three tiers from cheap to expensive.

- exact: equal under `normalise`
- near: Jaccard similarity of character trigrams (`gisttools.data.near_duplicates`), a letter or a full stop apart
- semantic: cosine of guide vectors, where a guide is given: the same in other words

A hit carries the first tier that caught it, and its score there (1 for exact). Evaluation sets are mteb tasks or
folders of files; test texts that a training table holds are found before any model runs, and refused unless allowed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from datasets import Dataset

from gisttools.common import DataError, MissingError, problems
from gisttools.data.characters import normalise
from gisttools.data.folder_rows import read_candidates, read_pairs, read_scored, read_searched
from gisttools.data.folders import eval_folder
from gisttools.data.languages import script_of
from gisttools.data.mteb_tasks import load_task, mteb_task
from gisttools.data.near_duplicates import Pairs, near_pairs
from gisttools.data.options import FileOptions, TextVectors, Tiers, texts_read

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

log = logging.getLogger(__name__)
TIERS = ("exact", "near", "semantic")
SHARED_COLUMNS = {"task": "str", "text": "str", "training_text": "str", "tier": "str", "score": "float64"}
_LOOKED_AT, _ENOUGH = 500, 10  # texts: how many are looked at, and how many of a script must be
_SHOWN = 60  # characters of a text in a message
_ROWS = 4096  # of both sides, in one matrix product: 64 MB of cosines


def semantic_pairs(
    texts: Sequence[str], others: Sequence[str], threshold: float, guide: TextVectors
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs (i, j) whose guide cosine is at least `threshold`, in parts, in no special order.

    Texts that the guide does not read, such as those of a language that it does not know, and those of a script whose
    texts it cannot tell apart, are in no pair: their vectors are alike, whatever they say. Memory is bounded by the
    parts; vectors are read from the guide's memory map.

    Yields:
        Rows of `texts` and of `others`, int64 (n,), and the cosine, float64 (n,).

    Raises:
        ModelError, DataError, EndpointError: as `VectorCache.embed`.
    """
    known, known_others = _told_apart(texts, others, threshold, guide)
    rows = guide.add([texts[i] for i in known.tolist()])
    columns = guide.add([others[j] for j in known_others.tolist()])
    for begin in range(0, len(rows), _ROWS):
        left = guide.vectors(rows[begin : begin + _ROWS])
        for first in range(0, len(columns), _ROWS):
            cosines = left @ guide.vectors(columns[first : first + _ROWS]).T
            i, j = np.nonzero(cosines >= threshold)
            yield known[i + begin], known_others[j + first], cosines[i, j].astype(np.float64)


def _told_apart(
    texts: Sequence[str], others: Sequence[str], threshold: float, guide: TextVectors
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of `texts` and of `others` that the guide tells apart, int64 (n,) each: it reads them, and of their
    script not every second pair of different texts is as alike as what is sought."""
    read, read_others = texts_read(guide, texts), texts_read(guide, others)
    pool = [
        *(t for t, ok in zip(texts, read, strict=True) if ok),
        *(t for t, ok in zip(others, read_others, strict=True) if ok),
    ]
    flat = {script for script, found in _by_script(pool).items() if _all_alike(found, threshold, guide)}
    left_out = int((~read).sum() + (~read_others).sum())
    if left_out or flat:
        what = [f"{left_out} texts that it hardly reads"] if left_out else []
        what += [f"texts in {script} letters, whose vectors are nearly all the same" for script in sorted(flat)]
        log.warning(
            "The guide looks for no semantic overlap among %s; exact and near copies are found.", " and ".join(what)
        )
    return _kept(texts, read, flat), _kept(others, read_others, flat)


def _kept(texts: Sequence[str], read: np.ndarray, flat: set[str]) -> np.ndarray:
    """Numbers of the texts that are read and not in one of these scripts, int64 (n,)."""
    kept = np.flatnonzero(read)
    return kept[[script_of(texts[i]) not in flat for i in kept.tolist()]] if flat else kept


def _by_script(texts: Sequence[str]) -> dict[str, list[str]]:
    """A sample of different texts of each script, where there are enough to judge by."""
    found: dict[str, dict[str, str]] = {}
    for text in texts[:: max(1, len(texts) // _LOOKED_AT)]:
        found.setdefault(script_of(text), {}).setdefault(normalise(text), text)
    return {script: list(forms.values()) for script, forms in found.items() if len(forms) >= _ENOUGH}


def _all_alike(texts: Sequence[str], threshold: float, guide: TextVectors) -> bool:
    """Is every second pair of these texts, which all differ, as alike as the threshold?"""
    vectors = guide.vectors(guide.add(texts))
    cosines = (vectors @ vectors.T)[~np.eye(len(texts), dtype=bool)]
    return bool(np.median(cosines) >= threshold)


def table_texts(table: Dataset) -> list[str]:
    """All texts of a triplet table, each once."""
    texts = [*table["anchor"][:], *table["positive"][:], *(n for ns in table["negatives"][:] for n in ns)]
    return list(dict.fromkeys(texts))


def _tier_pairs(
    tiers: Tiers, texts: Mapping[str, str], others: Mapping[str, str]
) -> Iterator[tuple[str, Iterator[Pairs]]]:
    """Name and pairs of each tier after the exact one; texts as normal form to text as written."""
    if tiers.near is not None:
        yield "near", near_pairs(list(texts), list(others), tiers.near)
    least = tiers.thresholds["semantic"]
    if tiers.guide is not None and least is not None:
        yield "semantic", semantic_pairs(list(texts.values()), list(others.values()), least, tiers.guide)


def find_overlap(texts: Iterable[str], others: Iterable[str], tiers: Tiers | None = None) -> pd.DataFrame:
    """Texts that also stand in `others`, or nearly: at most one line a text, in their order.

    Args:
        texts, others: any number of texts each; which of the two is larger makes no difference to the time.
        tiers: `Tiers()` if None.

    Returns:
        Columns text, other (the most similar one), tier, score.

    Raises:
        ModelError, DataError, EndpointError: as `gisttools.models.VectorCache.embed`, where there is a guide.
    """
    tiers = tiers or Tiers()
    texts = {text: normalise(text) for text in texts}
    asked, known = _by_form(texts), dict(sorted(_by_form({t: normalise(t) for t in others}).items()))
    found = {form: (known[form], "exact", 1.0) for form in asked if form in known}
    left = {form: text for form, text in asked.items() if form not in found}
    written = list(known.values())
    for tier in ("near", "semantic"):
        pairs = dict(_tier_pairs(tiers, left, known)).get(tier) if left and known else None
        if pairs is None:
            continue
        partner, best = _best(len(left), pairs)
        hits = {
            form: (written[j], tier, float(score)) for form, j, score in zip(left, partner, best, strict=True) if j >= 0
        }
        found |= hits
        left = {form: text for form, text in left.items() if form not in hits}
    lines = [(text, *found[form]) for text, form in texts.items() if form in found]
    return pd.DataFrame(lines, columns=["text", "other", "tier", "score"]).astype({"score": float})


def find_duplicates(sets: Mapping[str, Sequence[str]] | Sequence[str], tiers: Tiers | None = None) -> pd.DataFrame:
    """Groups of texts that say the same, within one set or within and across several named ones.

    A group is all that is linked: a text may belong to it through a third one.

    Args:
        sets: texts, or texts by name of their set.
        tiers: `Tiers()` if None.

    Returns:
        Columns group (from 0), set ("" where there are no names), row (in its set), text, and tier and score of the
        row's strongest link to another row of its group; by group, then in the order given. Texts that stand alone
        are left out.

    Raises:
        As `find_overlap`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    tiers = tiers or Tiers()
    sets = sets if isinstance(sets, Mapping) else {"": sets}
    rows = [(name, row, text) for name, texts in sets.items() for row, text in enumerate(texts)]
    forms = [normalise(text) for *_, text in rows]
    known = _by_form({text: form for (*_, text), form in zip(rows, forms, strict=True)})
    number = {form: i for i, form in enumerate(known)}
    owner = np.array([number[form] for form in forms], dtype=np.int64)
    n = len(known)
    group, tier, score = np.arange(n), np.where(np.bincount(owner, minlength=n) > 1, 0, -1), np.ones(n)
    for name, pairs in _tier_pairs(tiers, known, known) if n > 1 else ():
        linked, best = np.full(n, -1), np.zeros(n)
        for i, j, s in pairs:
            i, j, s = i[i != j], j[i != j], s[i != j]
            if len(i):
                links = coo_array((np.ones(len(i), bool), (group[i], group[j])), shape=(n, n))
                group = connected_components(links, directed=False)[1][group]
                np.maximum.at(best, i, s)
                linked[i] = TIERS.index(name)
        new = (tier < 0) & (linked >= 0)
        tier[new], score[new] = linked[new], best[new]
    lines = []
    names: dict[int, int] = {}
    for place in np.flatnonzero(tier[owner] >= 0).tolist():
        form = owner[place]
        lines.append((names.setdefault(group[form], len(names)), *rows[place], TIERS[tier[form]], score[form]))
    found = pd.DataFrame(lines, columns=["group", "set", "row", "text", "tier", "score"])
    found = found.astype({"group": int, "row": int, "score": float})
    return found.sort_values("group", kind="stable", ignore_index=True)


def drop_overlap(
    table: Dataset, eval_sets: Mapping[str, Sequence[str]], tiers: Tiers | None = None
) -> tuple[Dataset, pd.DataFrame]:
    """Leave out the rows of a triplet table any text of which stands in an evaluation set, or nearly.

    Args:
        table: columns as in `gisttools.data.COLUMNS`.
        eval_sets: texts by name of the evaluation set.
        tiers: `Tiers()` if None.

    Returns:
        The table without these rows, and why they went: columns place (the row's number in `table`), row (its id),
        column (anchor, positive or negatives), text, eval_set, eval_text, tier, score.

    Raises:
        DataError: an evaluation set holds no text, so that nothing would be checked; or is one text, not several; or
            the sets have no names.
        Others as `find_overlap`.
    """
    _refuse_unusable(eval_sets)
    texts = table_texts(table) if eval_sets else []
    hits: dict[str, list[tuple]] = {}
    for name, others in eval_sets.items():
        for text, *found in find_overlap(texts, others, tiers).itertuples(index=False, name=None):
            hits.setdefault(text, []).append((name, *found))
    lines = list(_rows_hit(table, hits)) if hits else []
    names = ["place", "row", "column", "text", "eval_set", "eval_text", "tier", "score"]
    report = pd.DataFrame(lines, columns=names).astype({"place": int, "score": float})
    gone = set(report["place"].tolist())
    return table.select([place for place in range(len(table)) if place not in gone]) if gone else table, report


def _refuse_unusable(eval_sets: Mapping[str, Sequence[str]]) -> None:
    if not isinstance(eval_sets, Mapping):
        raise DataError(f"eval_sets is a {type(eval_sets).__name__}. Give texts by name: {{'test': [...]}}.")
    wrong = [f"{name} is one text, not a sequence of texts" for name, texts in eval_sets.items() if _is_text(texts)]
    wrong += [f"{name} holds no text" for name, texts in eval_sets.items() if not _is_text(texts) and not len(texts)]
    if wrong:
        raise DataError(problems("Evaluation sets that cannot be checked:", wrong, "Correct them or leave them out."))


def _rows_hit(table: Dataset, hits: Mapping[str, list[tuple]]) -> Iterator[tuple]:
    """Place, id, column, text and hit of every text of the table that has one."""
    columns = (table[c][:] for c in ("id", "anchor", "positive", "negatives"))
    for place, (row, anchor, positive, negatives) in enumerate(zip(*columns, strict=True)):
        named = [("anchor", anchor), ("positive", positive), *(("negatives", text) for text in negatives)]
        yield from ((place, row, column, text, *hit) for column, text in named for hit in hits.get(text, ()))


def _is_text(texts: object) -> bool:
    return isinstance(texts, str | bytes)


def _by_form(texts: Mapping[str, str]) -> dict[str, str]:
    """Normal form to the text first written so."""
    found: dict[str, str] = {}
    for text, form in texts.items():
        found.setdefault(form, text)
    return found


def _best(n: int, parts: Iterable[Pairs]) -> tuple[np.ndarray, np.ndarray]:
    """For each of n rows its most similar partner, of equals the first, or -1; and how similar it is."""
    partner, best = np.full(n, -1), np.zeros(n)
    for i, j, score in parts:
        order = np.lexsort((j, -score, i))
        order = order[np.unique(i[order], return_index=True)[1]]
        i, j, score = i[order], j[order], score[order]
        better = (score > best[i]) | ((score == best[i]) & (j < partner[i]))
        partner[i[better]], best[i[better]] = j[better], score[better]
    return partner, best


def eval_sets(
    tasks: Sequence[str] = (),
    folders: Sequence[str | Path] = (),
    *,
    subsets: Sequence[str] | None = None,
    reading: FileOptions | None = None,
) -> dict[str, list[str]]:
    """The test texts of mteb tasks and of folders, by name; each text once, in order. Of pairs both texts count, of
    retrieval and reranking the queries.

    Args:
        tasks: names of mteb tasks.
        folders: `folder` or `folder#kind`, or files, as in `gisttools.data.folder_tasks`; train files need not be
            there.
        subsets: language subsets of multilingual tasks; all if None.
        reading: how labelled texts are read, and what share of them is test texts, as in `eval_folder`.

    Raises:
        MissingError: a task, its data, a subset or a file is missing.
        DataError: a file cannot be read, or a folder is no evaluation set.
        ParameterError: there is no such kind.
    """
    found = {str(folder): list(dict.fromkeys(_texts_of_folder(folder, reading))) for folder in folders}
    for name in tasks:
        task = eval_task(name, subsets)
        load_task(task)
        found[name] = all_texts_of(task)
    return found


def _texts_of_folder(name: str | Path, reading: FileOptions | None) -> list[str]:
    folder = eval_folder(name, reading=reading)
    if folder.kind in ("pair_classification", "sts"):
        return read_pairs(folder).test_texts
    if folder.kind == "retrieval":
        return read_searched(folder).test_texts
    return read_candidates(folder).test_texts if folder.kind == "reranking" else read_scored(folder).texts


def all_texts_of(task: AbsTask) -> list[str]:
    """The texts of all subsets and evaluation splits of a loaded task, each once, in order."""
    parts = [split_of(task, s, split) for s in task.hf_subsets for split in task.eval_splits]
    return list(dict.fromkeys(text for part in parts for text in texts_of(task, part)))


def eval_task(name: str, subsets: Sequence[str] | None = None) -> AbsTask:
    """The mteb task of that name, fresh and not loaded yet: its test split alone where it has one, and of a
    multilingual task the subsets that are asked for (all if None).

    Raises:
        MissingError: mteb knows no such task, or it has none of the subsets.
    """
    import mteb

    task = mteb_task(name)
    if subsets is not None and task.metadata.is_multilingual:
        wanted = [s for s in task.metadata.hf_subsets if s in subsets]
        if not wanted:
            raise MissingError(
                f"Task {name} has none of the subsets {list(subsets)}; it has {task.metadata.hf_subsets}."
            )
        task = mteb.get_task(name, hf_subsets=wanted)
    if "test" in task.metadata.eval_splits:
        task = mteb.get_task(name, eval_splits=["test"], hf_subsets=list(task.hf_subsets))
    return task


def split_of(task: AbsTask, subset: str, split: str) -> Dataset | dict[str, Dataset] | None:
    """The data of one subset and split of a loaded task, or None where it keeps them otherwise."""
    data = task.dataset or {}
    data = data.get(subset, data)
    return data.get(split) if hasattr(data, "get") else None


def texts_of(task: AbsTask, data: Dataset | dict[str, Dataset] | None) -> list[str]:
    """The texts of one split (from `split_of`), as far as the task keeps them in plain columns. Of retrieval tasks
    the queries: a corpus is there to be searched, and to know its documents is no cheating."""
    if isinstance(data, dict):
        return [text for text in data["queries"]["text"] if isinstance(text, str)] if "queries" in data else []
    if data is None or not hasattr(data, "column_names"):
        return []
    names = ("input_column_name", "input1_column_name", "input2_column_name")
    columns = [*(getattr(task, name, None) for name in names), *(getattr(task, "column_names", None) or ())]
    texts = [x for c in columns if isinstance(c, str) and c in data.column_names for x in data[c]]
    return [t for x in texts for t in (x if isinstance(x, list) else [x]) if isinstance(t, str)]


def shared_texts(
    tasks: Mapping[str, Callable[[], AbsTask]], training_texts: Sequence[str], *, allow: bool = False
) -> pd.DataFrame:
    """Test texts of tasks that a training table holds, equal or nearly so: one row each.

    Args:
        tasks: for each name, how to make the mteb task.
        training_texts: the table's texts, each once; none means that nothing is known to be shared.
        allow: return what is shared, instead of refusing it.

    Returns:
        `task`, `text` (of the test data), `training_text`, `tier` (exact, near) and `score` (Jaccard for near).

    Raises:
        MissingError: a task's data cannot be loaded.
        DataError: test texts are shared, and that is not allowed; each task with its counts and an example.
    """
    found = [pd.DataFrame({c: pd.Series(dtype=t) for c, t in SHARED_COLUMNS.items()})]
    for name, make in tasks.items() if training_texts else ():
        task = make()
        load_task(task)
        hits = find_overlap(all_texts_of(task), training_texts).rename(columns={"other": "training_text"})
        found.append(hits.assign(task=name)[list(SHARED_COLUMNS)])
    shared = pd.concat([f for f in found if len(f)] or found[:1], ignore_index=True)
    if not allow:
        refuse_shared(shared)
    return shared


def refuse_shared(shared: pd.DataFrame) -> None:
    """Refuse test texts that stand in a training table, where there are any.

    Raises:
        DataError: there are; each task with its counts and an example.
    """
    if len(shared):
        raise DataError(_refusal(shared))


def _refusal(shared: pd.DataFrame) -> str:
    rows = []
    for name, hits in shared.groupby("task", sort=False):
        tiers = ", ".join(f"{n} {tier}" for tier, n in hits["tier"].value_counts().items())
        text, other = hits["text"].iloc[0][:_SHOWN], hits["training_text"].iloc[0][:_SHOWN]
        rows.append(f"{name}: {len(hits)} test texts ({tiers}), such as {text!r}, in the table as {other!r}")
    return problems(
        "The training table holds texts of the test data, so that scores there would flatter the tuned model:",
        rows,
        "Make the table again without them (2_convert leaves out what overlaps its eval_tasks and eval_files), or set "
        "allow_overlap = true to compare nevertheless: the report will say so.",
    )
