"""How sure a difference between two models is, by resampling: paired intervals of scores of the same items.

Stands on the ground: numpy, scipy and `intervals` only. Every function answers with an `Interval`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gisttools.common import DataError
from gisttools.intervals import Interval, check_options, paired_scores, student_interval

Metric = Callable[[NDArray, NDArray], NDArray]
_CHUNK = 4_000_000  # numbers held at once by one block of resamples (32 MB)
_GROUPS = 200  # groups of items left out in turn by the jackknife behind BCa; with fewer items, each item


def paired_bootstrap(
    base: ArrayLike,
    tuned: ArrayLike,
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    draws: Literal["two-way", "fixed"] = "two-way",
) -> Interval:
    """Interval of the mean difference between two models scored on the same items, and the same draws.

    A draw is one repetition of the whole scoring, such as one few-shot training set; an item is one test text, query or
    pair. `two-way` resamples draws and items independently of each other and keeps each drawn cell whole (the
    pigeonhole bootstrap: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2)). So it covers both
    other test texts of the same kind and other draws; resampling the pooled cells covers neither. It errs on the wide
    side: the part of the noise that belongs to single cells is counted up to three times. Because a bootstrap of few
    draws is too narrow, the percentile interval is stretched around the difference to Student's t, with Satterthwaite's
    degrees of freedom from the two variances (after Hesterberg 2015, "What teachers should know about the bootstrap").
    With only two draws it still covers a few points less than it says. It covers neither another training seed nor
    other tasks. `mean_intervals.crossed_interval` is narrower and as sure; this one needs no formula for the variance.

    Args:
        base, tuned: (draws, items) or (items,), the same per-item scores of either model, such as 0 and 1.
        resamples: number of bootstrap resamples.
        seed: of the resampling.
        confidence: between 0 and 1.
        draws: `fixed` averages the draws first and resamples items alone: the interval for these very draws.

    Raises:
        DataError: shapes differ, a score is not finite, or there are fewer than 2 items; all problems at once.
        ParameterError: `resamples`, `confidence` or `draws` out of range.
    """
    check_options(resamples, confidence, draws)
    base, tuned = paired_scores(base, tuned)
    gain = np.atleast_2d(tuned - base)
    n_draws, n_items = gain.shape
    if draws == "fixed":
        gain = gain.mean(axis=0, keepdims=True)
    rows = gain.shape[0]
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start, stop in _blocks(resamples, n_items):
        items = _counts(rng, stop - start, n_items)
        if rows > 1:
            weighted = _counts(rng, stop - start, rows) @ gain
            means[start:stop] = np.einsum("bi,bi->b", weighted, items) / (rows * n_items)
        else:
            means[start:stop] = items @ gain[0] / n_items
    difference = float(gain.mean())
    low, high = _percentiles(means, confidence)
    factor = _stretch(gain, confidence)
    if rows > 1:
        method = "paired bootstrap over draws and items"
    else:
        method = "paired bootstrap over items" + (", draws averaged" if n_draws > 1 else "")
    return Interval(
        difference=difference,
        low=difference + factor * (low - difference),
        high=difference + factor * (high - difference),
        n_items=n_items,
        n_draws=n_draws,
        method=method,
    )


def metric_bootstrap(
    base_scores: ArrayLike,
    tuned_scores: ArrayLike,
    gold: ArrayLike,
    metric: Metric,
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    method: Literal["bca", "percentile"] = "bca",
) -> Interval:
    """Interval of the difference of a metric that is no mean over items, such as Spearman's correlation.

    Items are resampled with their gold value and both models' scores together. `bca` mends bias and skewness of the
    percentile interval (Efron 1987, "Better bootstrap confidence intervals"), its acceleration from a jackknife over at
    most 200 groups of items; p is found by turning the interval round. A resample on which the metric is undefined,
    such as a constant column, is left out.

    Args:
        base_scores, tuned_scores, gold: (items,), what either model says of each item, and the truth.
        metric: takes scores and gold of shape (resamples, items), answers (resamples,); `spearman` is one.
        method: `percentile` is the plain one (Efron and Tibshirani 1993, chapter 13).

    Raises:
        DataError: shapes differ, a value is not finite, there are fewer than 2 items, or the metric is undefined.
        ParameterError: `resamples`, `confidence` or `method` out of range.
    """
    check_options(resamples, confidence, method=method)
    base, tuned, truth = paired_scores(base_scores, tuned_scores, gold)
    if base.ndim != 1:
        raise DataError(f"Scores of shape {base.shape} have more than one axis. Give one score an item.")
    point = float(metric(tuned[None], truth[None])[0] - metric(base[None], truth[None])[0])
    rng = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for start, stop in _blocks(resamples, base.size):
        chosen = rng.integers(0, base.size, (stop - start, base.size))
        resampled_truth = truth[chosen]
        differences[start:stop] = metric(tuned[chosen], resampled_truth) - metric(base[chosen], resampled_truth)
    defined = differences[np.isfinite(differences)]
    if not np.isfinite(point) or defined.size < resamples / 2:
        raise DataError(
            f"The metric is undefined on these {base.size} items ({resamples - defined.size} of {resamples} resamples)."
            " Are all gold values, or all scores, equal? Use more items, or a metric that allows this."
        )
    bias = acceleration = 0.0
    if method == "bca":
        bias = _normal_score(defined, point)
        acceleration = _acceleration(base, tuned, truth, metric)
    z = stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2]) + bias
    low, high = np.quantile(defined, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    at_zero = _normal_score(defined, 0.0) - bias
    return Interval(
        difference=point,
        low=float(low),
        high=float(high),
        n_items=base.size,
        n_draws=1,
        method="paired bootstrap over items",
        p=float(2 * stats.norm.sf(abs(at_zero / (1 + acceleration * at_zero) - bias))),
        standard_error=float(defined.std(ddof=1)) if defined.size > 1 else math.nan,
        freedom=base.size - 1,
        item_share=1.0,
    )


def draws_interval(base: ArrayLike, tuned: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Student's paired t interval over draws, for tasks that give one score a draw, such as clustering.

    It covers other draws of the same documents, not other documents: those were not resampled, and `method` says so.

    Args:
        base, tuned: (draws,), one score of either model for each draw.

    Raises:
        DataError: shapes differ, a score is not finite, or there are fewer than 2 draws; all problems at once.
        ParameterError: `confidence` out of range.
    """
    check_options(1, confidence)
    base, tuned = paired_scores(base, tuned, unit="draw")
    if base.ndim != 1:
        raise DataError(f"Scores of shape {base.shape} have more than one axis. Give one score a draw.")
    gain = tuned - base
    return student_interval(
        float(gain.mean()),
        float(gain.var(ddof=1) / gain.size),
        gain.size - 1,
        n_items=gain.size,
        n_draws=gain.size,
        method="paired t over draws, documents not resampled",
        confidence=confidence,
    )


def spearman(scores: NDArray, gold: NDArray) -> NDArray:
    """Spearman's rank correlation along the last axis; NaN where one side is constant."""
    a, b = (stats.rankdata(x, axis=-1) for x in (scores, gold))
    a, b = (x - x.mean(axis=-1, keepdims=True) for x in (a, b))
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    return np.divide((a * b).sum(axis=-1), scale, out=np.full(scale.shape, np.nan), where=scale > 0)


def _normal_score(values: NDArray, at: float) -> float:
    """The standard normal quantile of the share of values below `at`; beyond all of them, that of a normal curve."""
    share = ((values < at).mean() + (values <= at).mean()) / 2
    if 0 < share < 1:
        return float(stats.norm.ppf(share))
    least = -float(stats.norm.ppf(0.5 / values.size))
    spread = float(values.std())
    far = max(least, abs(at - float(values.mean())) / spread if spread > 0 else math.inf)
    return far if share == 1 else -far


def _acceleration(base: NDArray, tuned: NDArray, truth: NDArray, metric: Metric) -> float:
    """Skewness of the difference as groups of items are left out in turn, over six times their square root."""
    groups = np.arange(base.size) % min(base.size, _GROUPS)
    sizes = np.bincount(groups)
    parts = []
    for size in np.unique(sizes):  # groups of one size leave equally many items, so they go side by side
        wanted = np.flatnonzero(sizes == size)
        for start, stop in _blocks(wanted.size, base.size):
            kept = np.stack([np.flatnonzero(groups != k) for k in wanted[start:stop]])
            gold = truth[kept]
            parts.append(metric(tuned[kept], gold) - metric(base[kept], gold))
    pull = np.concatenate(parts)
    pull = pull[np.isfinite(pull)]
    pull = pull.mean() - pull if pull.size else pull
    scale = (pull**2).sum() ** 1.5
    return float((pull**3).sum() / (6 * scale)) if scale > 0 else 0.0


def _stretch(gain: NDArray, confidence: float) -> float:
    """How much wider than a bootstrap percentile interval Student's t interval of such a small sample is."""
    parts = []  # (variance of the mean, size) of each resampled axis
    for axis, size in enumerate(gain.shape):
        if size > 1:
            parts.append((gain.mean(axis=1 - axis).var(ddof=1) / size, size))
    total = sum(v for v, _ in parts)
    if total <= 0:
        return 1.0
    freedom = total**2 / sum(v**2 / (n - 1) for v, n in parts)
    shrunk = sum(v * (n - 1) / n for v, n in parts)  # what the bootstrap sees of the variance
    tail = (1 + confidence) / 2
    return float(stats.t.ppf(tail, freedom) / stats.norm.ppf(tail) * np.sqrt(total / shrunk))


def _percentiles(values: NDArray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _counts(rng: np.random.Generator, resamples: int, n: int) -> NDArray:
    """(resamples, n): how often each of n things is drawn in n draws with replacement."""
    chosen = rng.integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(chosen.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def _blocks(resamples: int, n_items: int) -> Iterator[tuple[int, int]]:
    size = max(1, _CHUNK // n_items)
    for start in range(0, resamples, size):
        yield start, min(start + size, resamples)
