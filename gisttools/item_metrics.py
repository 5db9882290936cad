"""Metrics of a whole test set, taken apart: what each item adds to macro-F1, and average precision by resample.

An interval needs to know how a score varies over items. Macro-F1 is no mean over items; `f1_values` writes it as one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gisttools.common import DataError


def f1_values(answers: ArrayLike, gold: ArrayLike) -> NDArray:
    """Each item's part in macro-F1: the mean over a draw's items is its macro-F1, their spread is its noise.

    An item's value is the score plus how it changes as the item gains weight, times the number of items (the
    infinitesimal jackknife: Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6). So F1 of
    two models is compared as accuracy is, over draws crossed with items. Rare classes make this rougher: what a class
    of two items adds is hardly known.

    Args:
        answers: (draws, items) labels, or (draws, items, labels) of 0 and 1 where an item has several.
        gold: (items,) or (items, labels), likewise.

    Returns:
        (draws, items) float64. Labels that occur in neither gold nor the draw's answers are left out, as scikit-learn
        does; of several labels they count as 0, as it does too.

    Raises:
        DataError: the shapes do not fit.
    """
    answers, gold = np.asarray(answers), np.asarray(gold)
    if answers.shape[1:] != gold.shape or gold.ndim not in (1, 2):
        raise DataError(f"Answers of shape {answers.shape} do not fit gold labels of shape {gold.shape}.")
    values = np.empty(answers.shape[:2])
    for draw, answer in enumerate(answers):
        if gold.ndim == 1:
            labels = np.union1d(gold, answer)
            said, true = (x[:, None] == labels for x in (answer, gold))
        else:
            said, true = answer.astype(bool), gold.astype(bool)
        hit = said & true
        either = said.astype(float) + true
        size = either.sum(axis=0)
        size = np.where(size > 0, size, 1.0)
        f1 = 2 * hit.sum(axis=0) / size
        pull = (2 * hit - f1 * either) / size
        values[draw] = f1.mean() + len(gold) * pull.mean(axis=1)
    return values


def own_label_f1(answers: ArrayLike, gold: ArrayLike) -> NDArray:
    """F1 of each item's own gold label, (items,); the mean over items is F1 weighted by support.

    For matching, where an item is a label of its own, as in bitext mining.

    Args:
        answers, gold: (items,), the index said and the right one.
    """
    answers, gold = np.asarray(answers), np.asarray(gold)
    size = 1 + max(int(answers.max(initial=0)), int(gold.max(initial=0)))
    hits = np.bincount(gold[answers == gold], minlength=size)
    f1 = 2 * hits / np.maximum(np.bincount(answers, minlength=size) + np.bincount(gold, minlength=size), 1)
    return f1[gold]


def average_precision(scores: NDArray, gold: NDArray) -> NDArray:
    """Average precision along the last axis, equal scores counted together; NaN where nothing is positive.

    As scikit-learn's `average_precision_score`, for many resamples at once.

    Args:
        scores: (..., items), higher for pairs that look alike.
        gold: (..., items), 1 for positive pairs, 0 for others.
    """
    order = np.argsort(-scores, axis=-1)
    ranked, positive = (np.take_along_axis(x, order, axis=-1) for x in (scores, gold))
    n = scores.shape[-1]
    place = np.arange(n)
    last = np.concatenate([ranked[..., 1:] != ranked[..., :-1], np.ones((*ranked.shape[:-1], 1), dtype=bool)], axis=-1)
    # where each item's run of equal scores ends: precision is taken there
    ends = np.minimum.accumulate(np.where(last, place, n)[..., ::-1], axis=-1)[..., ::-1]
    found = np.cumsum(positive, axis=-1)
    precision = np.take_along_axis(found, ends, axis=-1) / (ends + 1)
    total = found[..., -1]
    return np.divide((precision * positive).sum(axis=-1), total, out=np.full(total.shape, np.nan), where=total > 0)
