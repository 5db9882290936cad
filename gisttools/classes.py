"""`Classes`: the labels of texts, one or several each, as numbers; and who shares a label with whom.

A class is a label, or in multi-label data a set of labels. Two texts are of the same kind if they share at least one
label; a text without any label is like no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from gisttools.common import DataError

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
        return (self.labels[sets] @ self.labels.T).toarray() > 0


def _matrix(sets: list[tuple[str, ...]]) -> csr_array:
    codes, known = pd.factorize(np.array([x for s in sets for x in s], dtype=object))
    ends = np.cumsum([0, *map(len, sets)])
    return csr_array((np.ones(len(codes), dtype=np.int32), codes, ends), shape=(len(sets), max(1, len(known))))
