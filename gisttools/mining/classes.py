"""Knows who shares a label with whom (`Classes`), and picks from a block of similarities.

A class is a label, or in multi-label data a set of labels. Two texts are of the same kind if they share at least one
label; a text without any label is like no other.

The functions that pick, by softmax, by rank or at random among the best, take scores (b, C), where -inf bars a column,
and give column numbers (b, k), -1 where there is none. Random numbers come from outside, so that a row's pick does not
depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from gisttools.common import DataError


def top(scores: np.ndarray, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the `count` largest scores of each row that are not barred, ties at the end included; sorted
    by row, then column."""
    if count is not None and scores.shape[1] > count:
        cut = np.partition(scores, -count, axis=1)[:, -count, None]
        kept = scores >= np.maximum(cut, np.finfo(scores.dtype).min)
    else:
        kept = scores > -np.inf
    return np.divmod(np.flatnonzero(kept), scores.shape[1])


def by_softmax(scores: np.ndarray, draws: np.ndarray, temperature: float, count: int | None = None) -> np.ndarray:
    """Drawn with replacement from softmax(score / temperature) over the `count` best; `draws` is uniform, (b, k)."""
    rows, columns = top(scores, count)
    values = scores[rows, columns].astype(np.float64)
    counts, begins = _spans(rows, len(scores))
    best = np.full(len(scores), -np.inf)
    some = counts > 0
    best[some] = np.maximum.reduceat(values, begins[some]) if len(values) else 0
    sums = np.concatenate([[0.0], np.cumsum(np.exp((values - best[rows]) / temperature))])
    before, all_of_row = sums[begins][:, None], (sums[begins + counts] - sums[begins])[:, None]
    place = np.searchsorted(sums[1:], before + draws * all_of_row, side="right")
    return _at(columns, np.clip(place, begins[:, None], (begins + counts - 1)[:, None]), some[:, None])


def uniform_among_best(scores: np.ndarray, draws: np.ndarray, count: int) -> np.ndarray:
    """Drawn uniformly with replacement from the `count` best (ties at the end included)."""
    rows, columns = top(scores, count)
    counts, begins = _spans(rows, len(scores))
    return _at(columns, begins[:, None] + (draws * counts[:, None]).astype(np.int64), (counts > 0)[:, None])


def by_rank(scores: np.ndarray, k: int, begin: int, end: int | None, draws: np.ndarray) -> np.ndarray:
    """The k best from rank `begin` on; or, where `end` is told, k drawn without replacement from begin <= rank < end.
    Of equal scores the first column comes first."""
    rows, columns = top(scores, begin + k if end is None else end)
    columns = columns[np.lexsort((columns, -scores[rows, columns], rows))]
    counts, begins = _spans(rows, len(scores))
    wide = np.maximum(counts if end is None else np.minimum(counts, end), begin) - begin
    ranks = np.broadcast_to(np.arange(k), (len(scores), k)) if end is None else _without_replacement(wide, draws)
    return _at(columns, begins[:, None] + begin + ranks, np.arange(k) < wide[:, None])


def _without_replacement(wide: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """k different numbers below wide[i] for each row, by the first k steps of a Fisher-Yates shuffle."""
    deck = np.tile(np.arange(max(wide.max(initial=0), draws.shape[1])), (len(wide), 1))
    each = np.arange(len(wide))
    for j in range(draws.shape[1]):
        other = np.minimum(j + (draws[:, j] * np.maximum(wide - j, 1)).astype(np.int64), deck.shape[1] - 1)
        deck[each, j], deck[each, other] = deck[each, other], deck[each, j].copy()
    return deck[:, : draws.shape[1]]


def _spans(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    counts = np.bincount(rows, minlength=count)
    return counts, np.cumsum(counts) - counts


def _at(columns: np.ndarray, places: np.ndarray, valid: np.ndarray) -> np.ndarray:
    if not len(columns):
        return np.full(places.shape, -1, dtype=np.int64)
    return np.where(valid, columns[np.clip(places, 0, len(columns) - 1)], -1)


_VALUES = 4_000_000  # truth values held at a time


@dataclass(frozen=True)
class Classes:
    """N texts in U classes.

    Attributes:
        codes: int64 (N,), each text's class.
        names: of the classes, sorted.
        sizes, start: int64 (U,); `order[start[c] : start[c] + sizes[c]]` are the texts of class c, ascending.
        order: int64 (N,), the texts by class.
        labels: which labels a class holds, (U, L); None where every text has one.
    """

    codes: np.ndarray
    names: list[str]
    sizes: np.ndarray
    start: np.ndarray
    order: np.ndarray
    labels: csr_array | None

    @classmethod
    def of(cls, labels: Sequence[str] | Sequence[tuple[str, ...]]) -> Classes:
        """Number the labels.

        Raises:
            DataError: some are texts and some are tuples.
        """
        several = [isinstance(x, tuple) for x in labels]
        if any(several) and not all(several):
            raise DataError(
                f"{sum(several)} of {len(several)} labels are tuples. Give one label each, or a tuple of labels each."
            )
        values = np.empty(len(labels), dtype=object)
        values[:] = [tuple(sorted(set(x))) for x in labels] if any(several) else list(labels)
        codes, known = pd.factorize(values)
        ranks = sorted(range(len(known)), key=known.__getitem__)
        known = [known[i] for i in ranks]
        place = np.empty(len(known), dtype=np.int64)
        place[ranks] = np.arange(len(known))
        codes = place[codes]
        sizes = np.bincount(codes, minlength=len(known))
        matrix = None
        if any(several):
            matrix = _matrix(known) if any(len(x) != 1 for x in known) else None
            known = [" | ".join(x) or "(no label)" for x in known]
        names = [str(x) for x in known]
        return cls(codes, names, sizes, np.cumsum(sizes) - sizes, np.argsort(codes, kind="stable"), matrix)

    def members(self, number: int) -> np.ndarray:
        """The texts of a class, ascending."""
        return self.order[self.start[number] : self.start[number] + self.sizes[number]]

    def same(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Which of these texts share a label, bool (len(rows), len(columns))."""
        if self.labels is None:
            return self.codes[rows][:, None] == self.codes[columns]
        sets, back = np.unique(self.codes[rows], return_inverse=True)
        return self._sets_share(sets)[back][:, self.codes[columns]]

    def alike(self) -> np.ndarray:
        """How many texts share a label with a text of each class, itself among them, int64 (U,)."""
        if self.labels is None:
            return self.sizes
        return np.concatenate([self._sets_share(part) @ self.sizes for part in self._parts()])

    def draw_unlike(self, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Texts that share no label with each row, drawn uniformly with replacement, int64 (len(rows), k); -1 where
        there is none.

        Args:
            draws: uniform on [0, 1), shape (len(rows), k).
        """
        if self.labels is None:  # texts by class: the others lie before and after a class's range
            own = self.sizes[self.codes[rows]][:, None]
            place = (draws * (len(self.codes) - own)).astype(np.int64)
            place += np.where(place >= self.start[self.codes[rows]][:, None], own, 0)
            return self.order[place] if own.max(initial=0) < len(self.codes) else np.full(draws.shape, -1)
        drawn = np.full(draws.shape, -1, dtype=np.int64)
        by_class = np.argsort(self.codes[rows], kind="stable")
        bounds = np.searchsorted(self.codes[rows][by_class], np.arange(len(self.sizes) + 1))
        for part in self._parts():
            for number, shared in zip(part, self._sets_share(part), strict=True):
                mine, others = by_class[bounds[number] : bounds[number + 1]], np.flatnonzero(~shared)
                if not len(mine) or not len(others):
                    continue
                ends = np.cumsum(self.sizes[others])
                place = (draws[mine] * ends[-1]).astype(np.int64)
                which = np.searchsorted(ends, place, side="right")
                inside = place - (ends - self.sizes[others])[which]
                drawn[mine] = self.order[self.start[others[which]] + inside]
        return drawn

    def _parts(self) -> list[np.ndarray]:
        """The classes, a few at a time."""
        count = len(self.sizes)
        return np.array_split(np.arange(count), max(1, -(-count * count // _VALUES)))

    def _sets_share(self, sets: np.ndarray) -> np.ndarray:
        assert self.labels is not None  # asked of multi-label data alone
        return (self.labels[sets] @ self.labels.T).toarray() > 0


def _matrix(sets: list[tuple[str, ...]]) -> csr_array:
    codes, known = pd.factorize(np.array([x for s in sets for x in s], dtype=object))
    ends = np.cumsum([0, *map(len, sets)])
    return csr_array((np.ones(len(codes), dtype=np.int32), codes, ends), shape=(len(sets), max(1, len(known))))
