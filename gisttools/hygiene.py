"""Duplicates, and overlap between training texts and evaluation sets, in three tiers from cheap to dear.

- exact: equal under `normalise`
- near: Jaccard similarity of character trigrams (`gisttools.near_duplicates`), a letter or a full stop apart
- semantic: cosine of guide vectors (`gisttools.semantic_duplicates`), where a guide is given

A hit carries the first tier that caught it, and its score there (1 for exact).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from datasets import Dataset

from gisttools.common import DataError, ParameterError, problems
from gisttools.near_duplicates import Pairs, near_pairs
from gisttools.semantic_duplicates import TextVectors, semantic_pairs

TIERS = ("exact", "near", "semantic")
# In Banking77, train beside test, pairs above it are one sentence said twice ("Where can I find my PIN?", "Where do I
# find my PIN?"), under all-MiniLM-L6-v2 as under all-mpnet-base-v2; from 0.95 down also other questions of one answer.
SEMANTIC = 0.98


@dataclass(frozen=True, kw_only=True)
class Tiers:
    """Which tiers are asked, beside exact equality, and how alike two texts must be there.

    Args:
        near: least Jaccard similarity of trigrams, above 0 and at most 1; None leaves the tier out.
        semantic: least cosine of guide vectors, above 0 and at most 1; `SEMANTIC` if None. Needs a guide.
        guide: makes the vectors; None leaves the semantic tier out.

    Raises:
        ParameterError: a threshold is out of range, or there is a semantic one but no guide.
    """

    near: float | None = 0.8
    semantic: float | None = None
    guide: TextVectors | None = None

    def __post_init__(self) -> None:
        found = [
            f"{name} is {value!r}, must be above 0 and at most 1, or None"
            for name, value in (("near", self.near), ("semantic", self.semantic))
            if value is not None and not 0 < value <= 1
        ]
        if self.semantic is not None and self.guide is None:
            found.append(f"semantic is {self.semantic!r}, but there is no guide")
        if found:
            raise ParameterError(problems("Tiers:", found, "A guide is a VectorCache; without it, leave semantic out."))

    @property
    def thresholds(self) -> dict[str, float | None]:
        """What each tier asks for; None where it is not asked."""
        semantic = SEMANTIC if self.semantic is None else self.semantic
        return {"exact": 1.0, "near": self.near, "semantic": None if self.guide is None else semantic}

    def pairs(self, texts: Mapping[str, str], others: Mapping[str, str]) -> Iterator[tuple[str, Iterator[Pairs]]]:
        """Name and pairs of each tier after the exact one; texts as normal form to text as written."""
        if self.near is not None:
            yield "near", near_pairs(list(texts), list(others), self.near)
        if self.guide is not None:
            written = list(texts.values()), list(others.values())
            yield "semantic", semantic_pairs(*written, self.thresholds["semantic"], self.guide)


def normalise(text: str) -> str:
    """NFKC, no case, single spaces: texts equal under this are the same text."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def table_texts(table: Dataset) -> list[str]:
    """All texts of a triplet table, each once."""
    texts = [*table["anchor"][:], *table["positive"][:], *(n for ns in table["negatives"][:] for n in ns)]
    return list(dict.fromkeys(texts))


def find_overlap(texts: Iterable[str], others: Iterable[str], tiers: Tiers | None = None) -> pd.DataFrame:
    """Texts that also stand in `others`, or nearly: at most one line a text, in their order.

    Args:
        texts, others: any number of texts each; which of the two is larger makes no difference to the time.
        tiers: `Tiers()` if None.

    Returns:
        Columns text, other (the most similar one), tier, score.

    Raises:
        ModelError, DataError, EndpointError: as `gisttools.vectors.VectorCache.embed`, where there is a guide.
    """
    tiers = tiers or Tiers()
    texts = {text: normalise(text) for text in texts}
    asked, known = _by_form(texts), dict(sorted(_by_form({t: normalise(t) for t in others}).items()))
    found = {form: (known[form], "exact", 1.0) for form in asked if form in known}
    left = {form: text for form, text in asked.items() if form not in found}
    written = list(known.values())
    for tier in ("near", "semantic"):
        pairs = dict(tiers.pairs(left, known)).get(tier) if left and known else None
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

    A group is all that hangs together: a text may belong to it through a third one.

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
    for name, pairs in tiers.pairs(known, known) if n > 1 else ():
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
        table: columns as in `gisttools.triplets.COLUMNS`.
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
    if not isinstance(eval_sets, Mapping):
        raise DataError(f"eval_sets is a {type(eval_sets).__name__}. Give texts by name: {{'test': [...]}}.")
    wrong = [f"{name} is one text, not a sequence of texts" for name, texts in eval_sets.items() if _is_text(texts)]
    wrong += [f"{name} holds no text" for name, texts in eval_sets.items() if not _is_text(texts) and not len(texts)]
    if wrong:
        raise DataError(problems("Evaluation sets that cannot be checked:", wrong, "Mend them or leave them out."))
    texts = table_texts(table) if eval_sets else []
    hits: dict[str, list[tuple]] = {}
    for name, others in eval_sets.items():
        for text, *found in find_overlap(texts, others, tiers).itertuples(index=False, name=None):
            hits.setdefault(text, []).append((name, *found))
    lines = []
    columns = (table[c][:] for c in ("id", "anchor", "positive", "negatives")) if hits else [[]] * 4
    for place, (row, anchor, positive, negatives) in enumerate(zip(*columns, strict=True)):
        named = [("anchor", anchor), ("positive", positive), *(("negatives", text) for text in negatives)]
        lines += [(place, row, column, text, *hit) for column, text in named for hit in hits.get(text, ())]
    names = ["place", "row", "column", "text", "eval_set", "eval_text", "tier", "score"]
    found = pd.DataFrame(lines, columns=names).astype({"place": int, "score": float})
    if not lines:
        return table, found
    gone = set(found["place"].tolist())
    return table.select([place for place in range(len(table)) if place not in gone]), found


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
