"""Texts as 16-byte keys, and an index from key to row number that grows to tens of millions of keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

KEY = np.dtype("S16")  # NumPy pads with zero bytes when it compares, so all 16 bytes count


def text_keys(texts: Iterable[str]) -> np.ndarray:
    """One key for each text, shape (n,), dtype `KEY`; b"" (all zero) is the key of no text."""
    digests = [hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=KEY.itemsize).digest() for t in texts]
    return np.array(digests, dtype=KEY)


class KeyIndex:
    """From key to row number. Keys are held in sorted runs of growing size, so that adding n keys in small parts costs
    O(n log² n) in all, and looking one up is a binary search in at most log n runs."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # first halves (sorted), second halves, rows

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Take keys, shape (n,), with their row numbers, int64 (n,). A key that is held already keeps its row."""
        if not len(keys):
            return
        self._runs.append(_sorted(*_halves(keys), rows))
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) >= len(self._runs[-2][0]):
            last = self._runs.pop()
            self._runs[-1] = _sorted(*(np.concatenate(pair) for pair in zip(self._runs[-1], last, strict=True)))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Row numbers, int64 (n,); -1 for unknown keys."""
        first, second = _halves(keys)
        order = np.argsort(first)  # neighbours search the same memory: several times faster
        first, second = first[order], second[order]
        found = np.full(len(keys), -1, dtype=np.int64)
        for firsts, seconds, rows in self._runs:
            place = np.searchsorted(firsts, first)
            left = np.flatnonzero(found < 0)
            while len(left):  # one round, unless first halves collide
                left = left[place[left] < len(firsts)]
                left = left[firsts[place[left]] == first[left]]
                hit = seconds[place[left]] == second[left]
                found[left[hit]] = rows[place[left[hit]]]
                left = left[~hit]
                place[left] += 1
        back = np.empty_like(found)
        back[order] = found
        return back


def _halves(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    halves = np.ascontiguousarray(keys, dtype=KEY).view("<u8").reshape(-1, 2)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def _sorted(first: np.ndarray, second: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(first, kind="stable")  # stable merges sorted runs quickly
    return first[order], second[order], rows[order]
