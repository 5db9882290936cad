"""Texts that say the same in other words: pairs whose guide vectors have at least a given cosine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

_ROWS = 4096  # of both sides, in one matrix product: 64 MB of cosines


class TextVectors(Protocol):
    """What gives unit vectors of texts and keeps them; a `VectorCache` does."""

    def add(self, texts: Sequence[str]) -> np.ndarray:
        """Embed what has no vector yet; the row of each text, int64 (n,)."""

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 (n, dimension)."""


def semantic_pairs(
    texts: Sequence[str], others: Sequence[str], threshold: float, guide: TextVectors
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs (i, j) whose guide cosine is at least `threshold`, in parts, in no special order.

    Memory is bounded by the parts; vectors are read from the guide's memory map.

    Yields:
        Rows of `texts` and of `others`, int64 (n,), and the cosine, float64 (n,).

    Raises:
        ModelError, DataError, EndpointError: as `VectorCache.embed`.
    """
    rows, columns = guide.add(texts), guide.add(others)
    for begin in range(0, len(rows), _ROWS):
        left = guide.vectors(rows[begin : begin + _ROWS])
        for first in range(0, len(columns), _ROWS):
            cosines = left @ guide.vectors(columns[first : first + _ROWS]).T
            i, j = np.nonzero(cosines >= threshold)
            yield i + begin, j + first, cosines[i, j].astype(np.float64)
