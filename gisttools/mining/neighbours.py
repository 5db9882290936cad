"""Compares the texts of a pool, a block of rows at a time: all with all, or those of the nearest cells.

The approximate search is the inverted file that faiss calls IVF, as a join of a pool with itself: spherical k-means
makes cells of some hundred texts, and the texts of one cell are compared with those of the nearest cells in one matrix
product. faiss's own index, a package more, is about as fast: less time at a lower recall, more at a higher one (one
thread, 200,060 texts of two classes, extrapolated from 4,000 queries; benchmarks/README.md).

Nothing depends on the number of threads: each matrix product has a shape that the data alone decides and runs on one
thread (BLAS rounds by shape and threads); what runs side by side are different products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

_VALUES = 16_000_000  # similarities of one product
_HEIGHTS = (16, 256)  # rows of one product, the least and the most; powers of two
_TASK = 1024  # rows that one thread takes at a time, a multiple of the largest height
_CELL = 256  # texts of a cell, on average
_PROBED = 32  # cells that a cell is compared with
_ROUNDS = 5  # of k-means, on at most _SAMPLED texts a cell
_SAMPLED = 64

Work = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class Join(NamedTuple):
    """Rows that are to be compared with the texts of all `parts`; numbers of texts, ascending."""

    rows: np.ndarray
    parts: list[np.ndarray]


class Pool:
    """Texts that are compared with each other.

    Args:
        vectors: unit vectors of all texts, (N, D).
        members: int64, ascending, the numbers of the pool's texts.
        approximate: compare only with the nearest cells.
        seed: of k-means.
        apart: int (N,), a number for each text; texts of one number from 0 on are not compared with each other. None
            or -1: compared with all.
    """

    def __init__(
        self, vectors: np.ndarray, members: np.ndarray, approximate: bool, seed: int, apart: np.ndarray | None = None
    ) -> None:
        self.members, self.approximate = members, approximate
        kinds = np.full(len(members), -1) if apart is None else apart[members]
        self._sides = {int(kind): members[kinds == kind] for kind in np.unique(kinds)}
        if approximate:
            self._cells, self._near = _cells_of(vectors, self._sides, seed)

    def joins(self, wanted: np.ndarray, exact: bool = False) -> Iterator[Join]:
        """What to compare so that all wanted texts, bool (N,), of the pool meet their candidates."""
        if exact or not self.approximate:
            for kind, side in self._sides.items():
                others = [part for other, part in self._sides.items() if other != kind or kind < 0]
                if others:
                    yield Join(side[wanted[side]], others)
            return
        for cell, near in zip(self._cells, self._near, strict=True):
            if len(near):
                yield Join(cell[wanted[cell]], [self._cells[i] for i in near])


def compare(vectors: np.ndarray, joins: Iterable[Join], work: Work) -> None:
    """Call work(rows, columns, scores) for blocks that cover all joins: numbers of texts, (b,) and (C,), both
    ascending, and their similarities, float32 (b, C), which `work` may change. Calls come from several threads and in
    any order; every row of a join comes exactly once."""
    tasks = (Join(j.rows[i : i + _TASK], j.parts) for j in joins for i in range(0, len(j.rows), _TASK))
    _side_by_side(tasks, lambda task: _compare(vectors, task, work))


def _compare(vectors: np.ndarray, join: Join, work: Work) -> None:
    columns = join.parts[0] if len(join.parts) == 1 else np.sort(np.concatenate(join.parts))
    whole = len(columns) > 0 and columns[-1] - columns[0] + 1 == len(columns)
    others = vectors[columns[0] : columns[-1] + 1] if whole else vectors[columns]  # a view where that will do
    height = _height(len(columns))
    for begin in range(0, len(join.rows), height):
        rows = join.rows[begin : begin + height]
        work(rows, columns, vectors[rows] @ others.T)


def _height(columns: int) -> int:
    least, most = _HEIGHTS
    return min(most, max(least, 1 << (_VALUES // max(1, columns)).bit_length() - 1))


def _side_by_side(tasks: Iterable, do: Callable) -> None:
    blas = _blas()
    count = max((library["num_threads"] for library in blas.info()), default=1)
    with blas.limit(limits=1), ThreadPoolExecutor(count) as threads:
        for _ in threads.map(do, tasks):
            pass


@cache  # looking through the loaded libraries takes longer than mining a small table
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _cells_of(
    vectors: np.ndarray, sides: dict[int, np.ndarray], seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cells of texts, each of one side, ascending, none empty; and for each the numbers of the nearest cells that it is
    compared with."""
    parts = [_cells(vectors, side, seed) for side in sides.values()]
    cells = [cell for part, _ in parts for cell in part]
    centres = np.concatenate([c for _, c in parts])
    of = np.repeat(list(sides), [len(part) for part, _ in parts])
    near: list[np.ndarray] = []
    for kind in sides:
        others = np.flatnonzero((of != kind) | (kind < 0))
        near += list(others[_nearest(centres, np.flatnonzero(of == kind), centres[others], _PROBED)])
    return cells, near


def _cells(vectors: np.ndarray, members: np.ndarray, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Cells of texts, each ascending, none empty; and their centres."""
    count = max(1, round(len(members) / _CELL))
    rng = np.random.default_rng([seed, len(members)])
    sample = np.sort(rng.choice(members, min(len(members), count * _SAMPLED), replace=False))
    centres = vectors[np.sort(rng.choice(sample, count, replace=False))]
    for _ in range(_ROUNDS):
        nearest = _nearest(vectors, sample, centres, 1)[:, 0]
        order = np.argsort(nearest, kind="stable")
        used, begins = np.unique(nearest[order], return_index=True)
        for number, rows in zip(used, np.split(sample[order], begins[1:]), strict=True):
            total = vectors[rows].sum(0, dtype=np.float64)
            centres[number] = total / max(np.linalg.norm(total), 1e-9)
    nearest = _nearest(vectors, members, centres, 1)[:, 0]
    order = np.argsort(nearest, kind="stable")
    used, begins = np.unique(nearest[order], return_index=True)
    return np.split(members[order], begins[1:]), centres[used]


def _nearest(vectors: np.ndarray, rows: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """The `count` nearest centres of each row, the nearest first, (n, count)."""
    found = np.empty((len(rows), min(count, len(centres))), dtype=np.int64)

    def do(begin: int) -> None:
        for i in range(begin, min(begin + _TASK, len(rows)), _HEIGHTS[1]):
            scores = vectors[rows[i : i + _HEIGHTS[1]]] @ centres.T
            best = scores.argmax(1)[:, None] if count == 1 else np.argsort(-scores, axis=1, kind="stable")
            found[i : i + _HEIGHTS[1]] = best[:, :count]

    _side_by_side(range(0, len(rows), _TASK), do)
    return found
