"""Picking from a block of similarities: by softmax, by rank, at random among the best.

All functions take scores (b, C), where -inf bars a column, and give column numbers (b, k), -1 where there is none.
Random numbers come from outside, so that a row's pick does not depend on the rows beside it.
"""

from __future__ import annotations

import numpy as np


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
