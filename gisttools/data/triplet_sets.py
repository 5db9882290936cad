"""Opens triplet sets by name: our own tables, and foreign sets of the hub or a file, as rows of the triplet table.

Which column of a foreign set holds what, and what a list in it stands for, is decided by its first rows (`find_shape`);
its triplets are streamed into a memory-mapped cache.

Subsets are nested: the first rows of one seeded order, so that a smaller one lies within a larger one. Only then does a
score against the number of rows say what more rows bring: other rows would be another draw.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, concatenate_datasets
from filelock import FileLock

from gisttools.common import (
    DataError,
    GistError,
    MissingError,
    ParameterError,
    cache_folder,
    digest,
    first_line,
    problems,
    tqdm,
)
from gisttools.data.columns import (
    KNOWN,
    SCORE_COLUMNS,
    TASK_COLUMNS,
    anchor_and_positive,
    find_column,
    is_triplet_shaped as is_triplet_shaped,
    may_be_scored,
    negative_columns,
    tell_left_out,
)
from gisttools.data.files import column_names, is_missing, plain_name
from gisttools.data.hub import HubSet, find_set, is_hub_name, open_stream
from gisttools.data.suspicions import refuse_ids
from gisttools.data.triplets import COLUMNS, FILE_NAME, read_blocks, read_triplets, triplet_id

log = logging.getLogger(__name__)
Pairs = Literal["instruction", "texts"]
GroupBy = Literal["source", "task_name"]
_VERSION = 2  # of the mapping; a new number makes new cache files
_LOCAL_VERSION = 3  # of files here, which are read otherwise than those of the hub: 007 and NA stay what they are
_BATCH = 1000
_LARGE = 1 << 28  # bytes; a table's file above it is opened through the cache instead of being read whole
_ANSWERS = ("answer", "answers")  # an answer with a number next to it may be a wrong one
_LABELLED = (("text", "sentence", "utterance"), ("label", "label_text", "intent", "category", "labels"))
_KEPT = ("anchor_label", "positive_label", "language")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Which column of a foreign set holds what. `pairs`: columns whose lists are one [instruction, text] pair.
    `instructions`: text column -> column of its instructions. `kept`: our column -> the set's column. `score`: of
    scored pairs, the column that must reach `threshold`."""

    anchor: str
    positive: str
    negatives: tuple[str, ...]
    pairs: frozenset[str]
    instructions: Mapping[str, str]
    task: str | None
    negative_labels: str | None
    kept: Mapping[str, str]
    score: str | None = None
    threshold: float | None = None

    @property
    def used(self) -> set[str]:
        """The columns that something is read from."""
        found = {self.anchor, self.positive, *self.negatives, *self.instructions.values(), *self.kept.values()}
        return found | {c for c in (self.task, self.negative_labels, self.score) if c is not None}


def find_shape(
    batch: Mapping[str, Sequence], where: str, pairs: Pairs | None = None, threshold: float | None = None
) -> Shape:
    """Which columns hold what, by their names (upper and lower case alike) and the first rows.

    A list of two strings may be an instruction and its text, or two texts. If every anchor of the first rows is such
    a list, they are pairs: an anchor is one text. Then lists of two positives or negatives are pairs as well, in
    every column where all lists have length two; else lists are texts. Lists of lists are always pairs.

    Args:
        batch: the first rows, column by column.
        where: what to call the set in errors.
        pairs: decides what lists of two strings are, where the rule guesses wrong.
        threshold: of scored pairs, the least score of a pair that counts as positive; other sets have no use for it.

    Raises:
        DataError: there is no anchor or no positive column, the pairs carry scores and no threshold is set (or a
            score is no number), or the anchors are lists of texts.
    """
    by_name = {str(c).lower(): c for c in batch}
    anchor, positive = _anchor_and_positive(batch, where)
    score = _score_column(by_name, batch, anchor, positive, threshold, where)
    texts = (anchor, positive, *negative_columns(batch))
    task = find_column(batch, TASK_COLUMNS)
    kept = {n: by_name[n] for n in _KEPT if n in by_name}
    if by_name.get("task_type", task) != task:
        kept["task_type"] = by_name["task_type"]
    return Shape(
        anchor=anchor,
        positive=positive,
        negatives=texts[2:],
        pairs=_paired(texts, batch, pairs, where),
        instructions={c: by_name[n] for c in texts for n in _instruction_names(c, anchor) if n in by_name},
        task=task,
        negative_labels=by_name.get("negative_labels"),
        kept=kept,
        score=score,
        threshold=threshold,
    )


def _anchor_and_positive(batch: Mapping[str, Sequence], where: str) -> tuple[str, str]:
    anchor, positive = anchor_and_positive(list(batch))
    if anchor is not None and positive is not None:
        return anchor, positive
    what = " and ".join(w for w, c in (("anchor", anchor), ("positive", positive)) if c is None)
    raise DataError(
        f"{where} has no column known to hold the {what}. Its columns: {', '.join(map(str, batch)) or 'none'}. "
        f"Known are {KNOWN}. Rename its columns, or write a file of your own."
        + _labelled_hint({str(c).lower() for c in batch})
    )


def _score_column(
    by_name: Mapping[str, str],
    batch: Mapping[str, Sequence],
    anchor: str,
    positive: str,
    threshold: float | None,
    where: str,
) -> str | None:
    """The column that must reach the threshold; None where no threshold is set, or the pairs carry no scores."""
    scores = [by_name[n] for n in SCORE_COLUMNS if n in by_name]
    numbers = [c for c in scores if any(v is not None for v in batch[c]) and all(map(_is_score, batch[c]))]
    scored = (may_be_scored(anchor, positive) and scores) or (positive.lower() in _ANSWERS and numbers)
    if scored and threshold is None:
        raise DataError(
            f"{where} holds pairs with a {scored[0]!r} column, so not every {anchor} and {positive} belong together. "
            "Set threshold to the least score of a pair that counts, or write the pairs that do into a file with the "
            "columns anchor and positive."
        )
    if scored and not numbers:
        seen = next((v for v in batch[scores[0]] if not _is_score(v)), None)
        raise DataError(f"{where}: {scores[0]!r} holds {seen!r}, which is no score. A threshold needs numbers.")
    return numbers[0] if numbers and threshold is not None else None


def _paired(texts: Sequence[str], batch: Mapping[str, Sequence], pairs: Pairs | None, where: str) -> frozenset[str]:
    """The columns whose lists are one instruction and its text; `texts` are all text columns, the anchor's first."""
    anchor = texts[0]
    paired = frozenset(c for c in texts if pairs != "texts" and _all_twos(batch[c]))
    if pairs is None and anchor not in paired:
        paired = frozenset()
    if pairs == "instruction" and not paired:
        raise DataError(f"{where}: pairs is 'instruction', but no column holds lists of two strings. Leave pairs out.")
    if anchor not in paired and any(isinstance(v, list) and len(v) > 1 and _flat(v) for v in batch[anchor]):
        raise DataError(
            f"{where}: {anchor!r} holds lists of several texts, and an anchor is one text. If they are an instruction "
            "and its text, say pairs='instruction'."
        )
    return paired


def reaching(batch: Mapping[str, Sequence], shape: Shape) -> Mapping[str, Sequence]:
    """The rows of a batch whose score reaches the threshold (one without a score does not); all where none is set."""
    if shape.score is None or shape.threshold is None:
        return batch
    scores = [float(v) if _is_score(v) and v not in (None, "") else -math.inf for v in batch[shape.score]]
    kept = [i for i, score in enumerate(scores) if score >= shape.threshold]
    return {column: [values[i] for i in kept] for column, values in batch.items()}


def triplets_of(
    batch: Mapping[str, Sequence], shape: Shape, *, task_name: str, revision: str | None, instructions: bool = False
) -> Iterator[list[dict[str, object]]]:
    """For each row of a batch its triplets, one for each positive; none where the row has no anchor or no positive.

    Texts are stripped of white space at both ends; empty negatives are left out.

    Args:
        batch: rows, column by column.
        shape: from `find_shape`.
        task_name: of rows that name no task.
        revision: what pins the set.
        instructions: put a text's instruction in front of it, else leave it out.
    """
    for i in range(len(batch[shape.anchor])):
        row = {c: values[i] for c, values in batch.items()}
        anchors = _texts(row, shape.anchor, shape, instructions)
        positives = dict.fromkeys(p for p in _texts(row, shape.positive, shape, instructions) if p)
        if len(anchors) != 1 or not anchors[0]:
            yield []
            continue
        given = [n for c in shape.negatives for n in _texts(row, c, shape, instructions)]
        negatives = [n for n in given if n]
        common = {
            "negatives": negatives,
            "negative_labels": _negative_labels(row, shape, given),
            "task_name": (_name(row[shape.task]) if shape.task else None) or task_name,
            "source": "hub",
            "source_revision": revision,
            "status": "accepted",
            **{ours: _name(row[theirs]) for ours, theirs in shape.kept.items()},
        }
        yield [
            {"id": triplet_id(anchors[0], p, negatives), "anchor": anchors[0], "positive": p, **common}
            for p in positives
        ]


def _negative_labels(row: Mapping[str, object], shape: Shape, given: Sequence[str]) -> list[str | None] | None:
    """The labels of the negatives that are not empty; None where there are not as many as negatives."""
    labels = row[shape.negative_labels] if shape.negative_labels else None
    if not isinstance(labels, list) or not labels or len(labels) != len(given):
        return None
    return [_name(label) for label, negative in zip(labels, given, strict=True) if negative]


def refuse_no_texts(batch: Mapping[str, Sequence], shape: Shape, where: str) -> None:
    """Nothing, or an error for columns of the first rows whose cells are neither texts nor lists of texts: they would
    be left out as if they were empty.

    Raises:
        DataError: there are some; all of them, with a cell of each.
    """
    found = []
    for column in (shape.anchor, shape.positive, *shape.negatives):
        odd = next((cell for cell in batch[column] if not _holds_texts(cell)), None)
        if odd is not None:
            found.append(f"{column!r} holds {repr(odd)[:80]}, which is a {type(odd).__name__} and no text")
    if found:
        fix = "Write texts, or lists of texts, into these columns, or leave the column out."
        raise DataError(problems(f"{where}: {len(found)} problem(s)", found, fix))


def _holds_texts(cell: object) -> bool:
    if isinstance(cell, list):
        return all(map(_holds_texts, cell))
    if isinstance(cell, Mapping):  # a passage, or a list of them turned inside out
        return "text" in cell and _holds_texts(cell["text"])
    return isinstance(cell, str) or is_missing(cell)


def _texts(row: Mapping[str, object], column: str, shape: Shape, instructions: bool) -> list[str]:
    """The texts of a cell, stripped; an empty string where there is none."""
    value = _passages(row[column])
    if column in shape.pairs and not (isinstance(value, list) and len(value) == 2):
        value = []  # the other rows hold pairs, so it is unknown which of these strings is the text
    if column in shape.pairs and value:
        value = [value]
    own = row.get(shape.instructions[column]) if column in shape.instructions else None
    found = []
    for item in value if isinstance(value, list) else [value]:
        instruction, text = item if isinstance(item, list) and len(item) == 2 else (own, item)
        if not isinstance(text, str) or not text.strip():
            found.append("")
        elif instructions and isinstance(instruction, str) and instruction.strip():
            found.append(f"{instruction.strip()} {text.strip()}")
        else:
            found.append(text.strip())
    return found


def _passages(value: object) -> object:
    """A cell of Tevatron's passages ({docid, title, text}) as texts, the title in front; other cells as they are."""
    if isinstance(value, Mapping):
        lists = {k: v for k, v in value.items() if isinstance(v, list)}
        if not lists:  # one passage
            return _passage(value)
        size = max(map(len, lists.values()))  # older versions of the library turn a list of mappings inside out
        value = [{k: v[i] for k, v in lists.items() if i < len(v)} for i in range(size)]
    if isinstance(value, list):
        return [_passage(v) if isinstance(v, Mapping) else v for v in value]
    return value


def _passage(passage: Mapping[str, object]) -> str:
    title, text = (str(passage.get(k) or "").strip() for k in ("title", "text"))
    return f"{title} {text}".strip() if text else ""


def _is_score(value: object) -> bool:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return not value
    return value is None or isinstance(value, bool | int | float)


def _labelled_hint(names: Collection[str]) -> str:
    if all(any(n in names for n in usual) for usual in _LABELLED):
        return " These look like labelled texts: mine triplets from them (read_labelled, the notebook 2_convert)."
    return ""


def _instruction_names(column: str, anchor: str) -> list[str]:
    names = [f"{column.lower()}_instruct", f"{column.lower()}_instruction"]
    return [*names, "instruction", "prompt"] if column == anchor else names


def _all_twos(values: Sequence) -> bool:
    """Whether the cells are lists of two strings, empty cells aside."""
    filled = [v for v in values if v is not None and v != []]
    return bool(filled) and all(isinstance(v, list) and len(v) == 2 and _flat(v) for v in filled)


def _flat(value: list) -> bool:
    return all(x is None or isinstance(x, str) for x in value)


def _name(value: object) -> str | None:
    return None if isinstance(value, list | dict) else plain_name(value)


def read_hub_triplets(
    name: str | Path,
    *,
    rows: int | None = None,
    folder: Path | None = None,
    instructions: bool = False,
    pairs: Pairs | None = None,
    threshold: float | None = None,
) -> Dataset:
    """Read a foreign triplet set; the first time by streaming it into the cache, later from there.

    Batch after batch is mapped to the columns of `gisttools.data.COLUMNS` and written to one Arrow file, which
    is opened memory-mapped: no set is ever held whole (of Parquet files, a row group is). Which columns are known, and
    what a list of two strings stands for, stands in `gisttools.data.find_shape`. A row with several positives
    gives one triplet for each. Rows without an anchor or a positive are dropped and counted in the log. `source` is
    "hub", `source_revision` the commit (of a local set the hash of its content), and `task_name` the set's name where
    no column tells it.

    Args:
        name: `org/name#config@revision:split` (see `gisttools.data.hub`), a folder with the files of such a set, or
            one file.
        rows: rows read of the set (for trials); all if None.
        folder: where the cache lives; `cache_folder()/triplets` if None.
        instructions: put each text's instruction in front of it, where the set has some; else leave them out.
        pairs: whether lists of two strings are an "instruction" and its text, or two "texts"; by rule if None.
        threshold: of scored pairs (sentence1, sentence2, score), the least score of a pair that counts as positive; the
            other rows are left out and counted in the log.

    Raises:
        MissingError: the set, configuration, revision or split does not exist, or the network failed.
        DataError: no known columns, no usable row, scored pairs without a threshold, or a file that cannot be read.
        ParameterError: `rows` is below 1, `threshold` is not finite, or `pairs` is something else.
    """
    return _read_foreign(name, folder, rows=rows, instructions=instructions, pairs=pairs, threshold=threshold)[0]


def _read_foreign(
    name: str | Path,
    folder: Path | None,
    *,
    rows: int | None,
    instructions: bool,
    pairs: Pairs | None,
    threshold: float | None,
) -> tuple[Dataset, Mapping[str, Any]]:
    """As `read_hub_triplets`, with the counts of what was read."""
    if rows is not None and rows < 1:
        raise ParameterError(f"rows is {rows}, must be >= 1, or None for all.")
    if pairs not in (None, "instruction", "texts"):
        raise ParameterError(f"pairs is {pairs!r}, must be 'instruction', 'texts' or None.")
    if threshold is not None and not math.isfinite(threshold):
        raise ParameterError(f"threshold is {threshold}, must be a finite number, or None for sets without scores.")
    source = find_set(name)

    def tables(counts: Counter) -> Iterator[pa.Table]:
        stream = open_stream(source, most=rows, size=_BATCH)
        short = stream.rows is not None and stream.rows < _BATCH
        with tqdm(total=stream.rows, desc="triplet set", unit="row", disable=short) as bar:
            first = next(stream.batches, {})
            shape = find_shape(first, str(name), pairs, threshold)
            refuse_no_texts(first, shape, str(name))
            tell_left_out(name, (column for column in first if column not in shape.used))
            counts.update(scored=shape.score is not None, instructed=bool(shape.pairs or shape.instructions))
            for whole in itertools.chain([first], stream.batches):
                batch = reaching(whole, shape)
                below = len(whole[shape.anchor]) - len(batch[shape.anchor])
                found = list(
                    triplets_of(
                        batch, shape, task_name=source.title, revision=source.revision, instructions=instructions
                    )
                )
                if whole is first and Path(name).expanduser().is_file():
                    made = [row for triplets in found for row in triplets]
                    refuse_ids(name, *([str(row[c]) for row in made] for c in ("anchor", "positive")))
                counts.update(rows=len(found) + below, below=below, dropped=sum(not triplets for triplets in found))
                bar.update(len(found) + below)
                yield pa.Table.from_pylist(list(itertools.chain.from_iterable(found)), schema=COLUMNS)

    version = _LOCAL_VERSION if source.is_local else _VERSION
    what = [version, source.path, source.config, source.revision, source.split, rows, instructions, pairs, threshold]
    return _cached(source, what, tables, folder)


def triplet_tables(
    names: Sequence[str | Path],
    *,
    rows: int | None = None,
    instructions: bool = False,
    pairs: Pairs | None = None,
    threshold: float | None = None,
    refuse_idle: bool = True,
) -> dict[str, Dataset]:
    """Each source's table by its name, in order; foreign sets and large Parquet files stay memory-mapped.

    Args:
        names: triplet tables (files, or folders that hold `triplets.parquet`) and what `read_hub_triplets` reads. A
            file with the columns anchor and positive is a triplet table, any other one a foreign set.
        rows, instructions, pairs, threshold: as in `read_hub_triplets`, for the foreign sets alone.
        refuse_idle: refuse `rows`, `instructions` or a `threshold` that none of the sets has a use for.

    Raises:
        MissingError, DataError, ParameterError: as `read_hub_triplets` and `read_triplets`; also if a name comes twice.
    """
    twice = [name for name, times in Counter(map(str, names)).items() if times > 1]
    if twice:
        raise ParameterError(f"Named more than once: {', '.join(twice)}. Name each triplet set once.")
    found, about = {}, []
    for name in names:
        path = Path(name).expanduser()
        file = path / FILE_NAME if (path / FILE_NAME).is_file() else path
        is_foreign = not _is_table(file, threshold) if file.is_file() else path.is_dir() or is_hub_name(name)
        if is_foreign:
            found[str(name)], counts = _read_foreign(
                name, None, rows=rows, instructions=instructions, pairs=pairs, threshold=threshold
            )
            about.append(counts)
        elif file.is_file() and file.stat().st_size > _LARGE:
            found[str(name)] = _open_large(file)
        else:
            found[str(name)] = read_triplets(file)
    if refuse_idle:
        _refuse_idle(about, rows=rows, instructions=instructions, threshold=threshold)
    return found


def _refuse_idle(
    about: Sequence[Mapping[str, Any]], *, rows: int | None, instructions: bool, threshold: float | None
) -> None:
    """Refuse options that no set has a use for; `about`: the counts of the foreign sets."""
    found = []
    if rows is not None and not about:
        found.append(f"rows is {rows}, which needs a set of the hub or a foreign file; limit takes fewer rows of any")
    if instructions and not any(counts.get("instructed", True) for counts in about):
        found.append("instructions is true, which needs a set whose texts have some")
    if threshold is not None and not any(counts.get("scored", True) for counts in about):
        found.append(f"threshold is {threshold}, which needs a set of scored pairs")
    if found:
        raise ParameterError(problems("options that would do nothing with these triplets:", found, "Leave them out."))


def concatenate(tables: Mapping[str, Dataset]) -> Dataset:
    """All tables as one, in order; memory-mapped parts stay so.

    Raises:
        MissingError: there is no table.
    """
    if not tables:
        raise MissingError("No triplet table was named. Name a file, a run that wrote one, or a hub set.")
    return concatenate_datasets(list(tables.values()))


def number_sets(tables: Mapping[str, Dataset], by: GroupBy = "source") -> np.ndarray:
    """The set that each row of these tables, one after the other, belongs to: int (N,), numbered from 0.

    `by`: "source", each table is a set; "task_name", each task is, in the order of their names.
    """
    if by == "source":
        return np.repeat(np.arange(len(tables)), [len(table) for table in tables.values()])
    parts = [t.select_columns("task_name").with_format("arrow")[:]["task_name"].chunks for t in tables.values()]
    names = pa.chunked_array(itertools.chain.from_iterable(parts), pa.string()).fill_null("")
    codes = names.combine_chunks().dictionary_encode()  # in Arrow: as Python strings, millions of names fill gigabytes
    return np.argsort(pc.array_sort_indices(codes.dictionary))[codes.indices.to_numpy()]


def count_rows(table: Dataset, *columns: str) -> list[dict]:
    """One mapping for each combination of these columns' values, with its number of `rows`, the largest first."""
    counted = table.with_format("arrow")[:].select(columns).group_by(list(columns)).aggregate([([], "count_all")])
    found = counted.rename_columns([*columns, "rows"]).to_pylist()
    return sorted(found, key=lambda r: (-r["rows"], *(r[c] or "" for c in columns)))


def _cached(
    source: HubSet, what: list, tables: Callable[[Counter], Iterator[pa.Table]], folder: Path | None
) -> tuple[Dataset, Mapping[str, Any]]:
    """The Arrow file for `what`, written from `tables(counts)` if it is not there yet: whole, or not at all; and what
    was counted then."""
    if folder is None:
        folder = cache_folder() / "triplets"
    key = digest(json.dumps(what))
    target, partial = folder / key, folder / f"{key}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{key}.lock"):
        if target.exists() and (why := _damage(target)):
            aside = target.with_name(f"{key}.damaged-{time.time_ns()}")
            target.rename(aside)
            log.warning("%s was damaged (%s); it is set aside, and made again", aside, why)
        if not target.exists():
            shutil.rmtree(partial, ignore_errors=True)  # of a killed build
            partial.mkdir()
            try:
                _write(source, tables, partial)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    counts = json.loads((target / "meta.json").read_text(encoding="utf-8"))
    under = f"; {counts['below']} are below the threshold" if counts["below"] else ""
    said = "%(path)s: %(triplets)d triplets of %(rows)d rows; %(dropped)d lack an anchor or a positive"
    log.info(said + under, counts)
    return Dataset.from_file(str(target / "data.arrow")), counts


def _damage(target: Path) -> str:
    """What is wrong with a prepared set; empty where nothing is."""
    try:
        counts = json.loads((target / "meta.json").read_text(encoding="utf-8"))
        rows = len(Dataset.from_file(str(target / "data.arrow")))
        lacking = {"path", "triplets", "rows", "dropped", "below"} - set(counts)
    except (OSError, ValueError, TypeError, RecursionError) as error:  # pyarrow's errors derive from these
        return first_line(error)
    if lacking:
        return f"meta.json lacks {', '.join(sorted(lacking))}"
    return "" if rows == counts["triplets"] else f"data.arrow holds {rows} rows, not {counts['triplets']}"


def _write(source: HubSet, tables: Callable[[Counter], Iterator[pa.Table]], folder: Path) -> None:
    counts = Counter(rows=0, dropped=0, below=0, triplets=0)
    try:
        with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, COLUMNS) as out:
            for table in tables(counts):
                out.write_table(table)
                counts["triplets"] += len(table)
    except GistError:
        raise
    except Exception as error:
        if source.is_local:
            raise DataError(f"{source.path} cannot be read: {first_line(error)} Is it what its ending says?") from error
        raise MissingError(
            f"{source.path} broke off after {counts['rows']} rows: {first_line(error)} Check the network, then retry."
        ) from error
    if counts["rows"] and counts["below"] == counts["rows"]:
        raise DataError(f"{source.path}: none of its {counts['rows']} scores reaches the threshold. Lower it.")
    if not counts["triplets"]:
        raise DataError(f"{source.path}: none of its {counts['rows']} rows has an anchor and a positive with text.")
    meta = {"path": source.path, "config": source.config, "split": source.split, "revision": source.revision, **counts}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _is_table(path: Path, threshold: float | None = None) -> bool:
    """Whether a file has the columns of a triplet table; what does not say is left to `read_triplets` to refuse. With a
    score that must reach a threshold it is a foreign set."""
    try:
        columns = column_names(path)
    except GistError:
        return True
    scored = threshold is not None and find_column(columns, SCORE_COLUMNS) is not None
    return not columns or ({"anchor", "positive"} <= set(columns) and not scored)


def _open_large(path: Path) -> Dataset:
    def tables(counts: Counter) -> Iterator[pa.Table]:
        for table in read_blocks(path):
            counts["rows"] += len(table)
            yield table

    state = path.stat()
    source = HubSet(path=str(path.resolve()), is_local=True)
    return _cached(source, [_VERSION, source.path, state.st_size, state.st_mtime_ns], tables, None)[0]


_ORDERED_BY = ("task_name", "anchor_label")


def nested_subset(tables: Mapping[str, Dataset], limit: int | None, *, seed: int = 0) -> dict[str, Dataset]:
    """The first `limit` rows of all tables together in their seeded order; each table keeps those that are its own.

    Rows stay in the order of their table, so that a limit of all rows gives the tables as they are.

    Args:
        tables: triplet tables by name.
        limit: rows in all; None for every row.
        seed: of the order. It is no training seed: trainings of several seeds share their rows.

    Raises:
        ParameterError: there are fewer rows than `limit`.
    """
    sizes = [len(table) for table in tables.values()]
    if limit is None:
        return dict(tables)
    if limit > sum(sizes):
        raise ParameterError(
            f"limit is {limit}, but the triplets have {sum(sizes)} rows. Set limit to at most {sum(sizes)}, or to null "
            "for all of them."
        )
    found = concatenate_datasets([t.select_columns(list(_ORDERED_BY)) for t in tables.values()]).to_pandas()
    known = found["anchor_label"].notna()
    # a label that two tasks use, such as 0 or positive, is two labels
    groups = found.groupby(list(_ORDERED_BY), dropna=False, sort=False).ngroup().where(known, -1)
    kept = np.sort(nested_order(groups.to_numpy(), seed)[:limit])
    ends = np.cumsum(sizes)
    parts = np.split(kept, np.searchsorted(kept, ends[:-1]))
    starts = ends - sizes
    return {n: t.select(p - s) for (n, t), p, s in zip(tables.items(), parts, starts, strict=True)}


def nested_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """An order of rows of which every beginning is as balanced by label as it can be.

    Round over the labels: first one row of each, then a second one, and so on, each label's rows in random order; a
    label that has run out is left out of later rounds. Rows without a label are spread evenly among the others, so that
    every beginning holds as large a share of them as the whole.

    Args:
        labels: int (N,), the number of each row's label, -1 for none.
        seed: of the order.

    Returns:
        int (N,), row numbers, each once.
    """
    drawn = np.random.default_rng(seed).permutation(len(labels))
    bare = labels[drawn] < 0
    rows = drawn[~bare]
    rounds = pd.Series(labels[rows]).groupby(labels[rows]).cumcount().to_numpy()
    rows = rows[np.argsort(rounds, kind="stable")]
    others = drawn[bare]
    places = np.concatenate([(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in (rows, others)])
    return np.concatenate([rows, others])[np.argsort(places, kind="stable")]
