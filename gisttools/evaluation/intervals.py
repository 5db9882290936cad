"""Gives a difference between two models its interval, its p and the word for it.

Means over items have closed formulas: draws crossed with items, items in clusters, training seeds. A metric that is no
mean over items, such as Spearman's correlation, is resampled (`metric_bootstrap`). Needs numpy and scipy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gisttools.common import DataError, ParameterError, problems


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A difference (tuned minus base, in the unit of the scores) and its confidence interval.

    `p` is two-sided and agrees with the interval: below 1 − confidence where zero lies outside. `item_share` is the
    part of the variance that more test items would lessen. What was not worked out is NaN.
    """

    difference: float
    low: float
    high: float
    n_items: int
    n_draws: int
    method: str
    p: float = math.nan
    standard_error: float = math.nan
    freedom: float = math.inf  # degrees of freedom behind the standard error
    item_share: float = math.nan


_ROUNDING = 1e-9  # of sums of equal numbers
_RULE_OF_THREE = -math.log(0.025) / 1.96  # as a standard error, of one of n items
Verdict = Literal["helped", "hurt", "not shown"]


def verdict(interval: Interval) -> Verdict:
    """`helped` or `hurt` where the whole interval lies on one side of zero, else `not shown`."""
    if interval.low > 0:
        return "helped"
    return "hurt" if interval.high < 0 else "not shown"


def student_interval(
    difference: float,
    variance: float,
    freedom: float,
    *,
    n_items: int,
    n_draws: int,
    method: str,
    item_share: float = math.nan,
    confidence: float = 0.95,
) -> Interval:
    """Student's t interval of a difference of known variance and degrees of freedom, with its two-sided p."""
    error = math.sqrt(max(variance, 0.0))
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    # where nothing varied, a difference is the same everywhere, or there is none
    p = float(2 * stats.t.sf(abs(difference) / error, freedom)) if error > 0 else float(difference == 0)
    return Interval(
        difference=difference,
        low=difference - half,
        high=difference + half,
        n_items=n_items,
        n_draws=n_draws,
        method=method,
        p=p,
        standard_error=error,
        freedom=float(freedom),
        item_share=item_share,
    )


def noise(variance: float, difference: float, sample: int) -> float:
    """The variance of a mean over so many items, clusters or draws, of scores that lie between 0 and 1.

    Where none of them varied, the variance that was seen is 0, and says nothing of those that were not: of n items that
    all agree, up to 3.7 / n of all others may not (the rule of three, Hanley and Lippman-Hand 1983, "If nothing goes
    wrong, is everything all right?", at 97.5 %). That bound stands in for it, so that six items that all gain a point
    are a gain and five are none, as by the sign test.
    """
    scale = max(1.0, abs(difference))
    if variance > (_ROUNDING * scale) ** 2:
        return variance
    return (_RULE_OF_THREE * scale / sample) ** 2


def paired_scores(*arrays: ArrayLike, unit: str = "item") -> list[NDArray]:
    """The arrays as float64, of one shape, (items,) or (draws, items), and finite.

    Raises:
        DataError: they are not; all problems at once.
    """
    values = [np.asarray(a, dtype=np.float64) for a in arrays]
    found = []
    if len({v.shape for v in values}) > 1:
        found.append(f"shapes differ: {', '.join(str(v.shape) for v in values)}")
    for name, v in zip(("base", "tuned", "truth"), values, strict=False):
        if v.ndim not in (1, 2):
            found.append(f"{name} has {v.ndim} axes instead of 1 or 2")
        elif v.shape[-1] < 2:
            found.append(f"{name} has {v.shape[-1]} {unit}(s); an interval needs at least 2")
        elif v.shape[0] == 0:
            found.append(f"{name} has no draws")
        if bad := int((~np.isfinite(v)).sum()):
            found.append(f"{name} holds {bad} value(s) that are NaN or infinite")
    if found:
        fix = f"Score both models on the same {unit}s and leave none out."
        raise DataError(problems(f"scores: {len(found)} problem(s)", found, fix))
    return values


def check_options(resamples: int, confidence: float, method: str = "bca") -> None:
    """Refuse options out of range, all at once, with `ParameterError`."""
    found = []
    if resamples < 1:
        found.append(f"resamples is {resamples}; it must be at least 1")
    if not 0 < confidence < 1:
        found.append(f"confidence is {confidence}; it must lie between 0 and 1, such as 0.95")
    if method not in ("bca", "percentile"):
        found.append(f"method is {method!r}; it must be 'bca' or 'percentile'")
    if found:
        raise ParameterError(problems(f"interval: {len(found)} problem(s)", found))


Metric = Callable[[NDArray, NDArray], NDArray]
_CHUNK = 4_000_000  # numbers held at once by one block of resamples (32 MB)
_GROUPS = 200  # groups of items left out in turn by the jackknife behind BCa; with fewer items, each item


def metric_bootstrap(
    base_scores: ArrayLike,
    tuned_scores: ArrayLike,
    truth: ArrayLike,
    metric: Metric,
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    method: Literal["bca", "percentile"] = "bca",
) -> Interval:
    """Interval of the difference of a metric that is no mean over items, such as Spearman's correlation.

    Items are resampled with their true value and both models' scores together. `bca` corrects bias and skewness of the
    percentile interval (Efron 1987, "Better bootstrap confidence intervals"), its acceleration from a jackknife over at
    most 200 groups of items; p is found by turning the interval round. A resample on which the metric is undefined,
    such as a constant column, is left out.

    Args:
        base_scores, tuned_scores, truth: (items,), what either model says of each item, and its true value.
        metric: takes scores and true values of shape (resamples, items), answers (resamples,); `spearman` is one.
        method: `percentile` is the plain one (Efron and Tibshirani 1993, chapter 13).

    Raises:
        DataError: shapes differ, a value is not finite, there are fewer than 2 items, or the metric is undefined.
        ParameterError: `resamples`, `confidence` or `method` out of range.
    """
    check_options(resamples, confidence, method)
    base, tuned, true = paired_scores(base_scores, tuned_scores, truth)
    if base.ndim != 1:
        raise DataError(f"Scores of shape {base.shape} have more than one axis. Give one score an item.")
    point = float(metric(tuned[None], true[None])[0] - metric(base[None], true[None])[0])
    rng = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for start, stop in _blocks(resamples, base.size):
        chosen = rng.integers(0, base.size, (stop - start, base.size))
        resampled = true[chosen]
        differences[start:stop] = metric(tuned[chosen], resampled) - metric(base[chosen], resampled)
    defined = differences[np.isfinite(differences)]
    if np.isfinite(point) and defined.size and np.ptp(defined) <= _ROUNDING and not np.array_equal(base, tuned):
        return student_interval(
            point, noise(0.0, point, base.size), base.size - 1, n_items=base.size, n_draws=1,
            method="items that all agree", item_share=1.0, confidence=confidence,
        )  # fmt: skip
    if not np.isfinite(point) or defined.size < resamples / 2:
        raise DataError(
            f"The metric is undefined on these {base.size} items ({resamples - defined.size} of {resamples} resamples)."
            " Are all true values, or all scores, equal? Use more items, or a metric that allows this."
        )
    bias = acceleration = 0.0
    if method == "bca":
        bias = _normal_score(defined, point)
        acceleration = _acceleration(base, tuned, true, metric)
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
        noise(float(gain.var(ddof=1) / gain.size), gain.mean(), gain.size),
        gain.size - 1,
        n_items=gain.size,
        n_draws=gain.size,
        method="paired t over draws, documents not resampled",
        confidence=confidence,
    )


def spearman(scores: NDArray, truth: NDArray) -> NDArray:
    """Spearman's rank correlation along the last axis; NaN where one side is constant."""
    a, b = (stats.rankdata(x, axis=-1) for x in (scores, truth))
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
            left = truth[kept]
            parts.append(metric(tuned[kept], left) - metric(base[kept], left))
    pull = np.concatenate(parts)
    pull = pull[np.isfinite(pull)]
    pull = pull.mean() - pull if pull.size else pull
    scale = (pull**2).sum() ** 1.5
    return float((pull**3).sum() / (6 * scale)) if scale > 0 else 0.0


def _percentiles(values: NDArray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _blocks(resamples: int, n_items: int) -> Iterator[tuple[int, int]]:
    size = max(1, _CHUNK // n_items)
    for start in range(0, resamples, size):
        yield start, min(start + size, resamples)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Estimated variances of a mean: by rows, by columns, and the part of single cells that both of them hold."""

    rows: float
    columns: float
    cells: float
    freedom: float
    column_share: float  # the part of the whole that more columns would lessen

    @property
    def whole(self) -> float:
        return max(self.rows - self.cells, 0.0) + max(self.columns - self.cells, 0.0) + self.cells


@dataclass(frozen=True, kw_only=True)
class SeedSpread:
    """A difference over training seeds: `interval` holds all noise; `seed_error` and `item_error` are the standard
    errors of its parts, `item_freedom` the degrees of freedom of the second."""

    interval: Interval
    seed_error: float
    item_error: float
    item_freedom: float


def crossed_interval(base: ArrayLike, tuned: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Interval of the mean difference where every draw is scored on every item, and both are samples.

    The variance of a mean over crossed draws and items is V = V_draw + V_item − V_cell: the spread of the draws' means
    and that of the items' means both hold the noise of single cells, which must not count twice. Neither part is let
    below zero. The interval is Student's, with Satterthwaite's degrees of freedom (Satterthwaite 1946, "An approximate
    distribution of estimates of variance components"; the two-way random effects model as in Searle, Casella and
    McCulloch 1992, "Variance Components", chapter 4). With one draw it is the paired t interval over items.

    Args:
        base, tuned: (draws, items) or (items,), the same per-item scores of either model, such as 0 and 1.
        confidence: between 0 and 1.

    Raises:
        DataError: shapes differ, a score is not finite, or there are fewer than 2 items; all problems at once.
        ParameterError: `confidence` out of range.
    """
    check_options(1, confidence)
    base, tuned = paired_scores(base, tuned)
    gain = np.atleast_2d(tuned - base)
    n_draws, n_items = gain.shape
    parts = _crossed(gain)
    return student_interval(
        float(gain.mean()),
        noise(parts.whole, gain.mean(), n_items),
        parts.freedom if np.isfinite(parts.freedom) else n_items - 1,
        n_items=n_items,
        n_draws=n_draws,
        method="two-way variance over draws and items" if n_draws > 1 else "paired t over items",
        item_share=parts.column_share,
        confidence=confidence,
    )


def clustered_interval(
    base: ArrayLike, tuned: ArrayLike, clusters: Sequence[Hashable], *, confidence: float = 0.95
) -> Interval:
    """Interval of the mean difference over items that come in clusters, such as queries written from one document.

    Items of a cluster are not independent, so whole clusters count as the sample (the cluster-robust variance of a
    mean: Cameron and Miller 2015, "A practitioner's guide to cluster-robust inference"). The degrees of freedom are
    Kish's effective number of clusters less one, which unequal clusters make smaller. Clusters of one item each give
    the paired t interval.

    Args:
        base, tuned: (items,), the same per-item scores of either model.
        clusters: (items,), which cluster each item belongs to.
        confidence: between 0 and 1.

    Raises:
        DataError: shapes differ, a score is not finite, or there are fewer than 2 clusters.
        ParameterError: `confidence` out of range.
    """
    check_options(1, confidence)
    base, tuned = paired_scores(base, tuned)
    gain = tuned - base
    number = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    if gain.ndim != 1 or len(clusters) != gain.size:
        raise DataError(f"Scores of shape {gain.shape} have {len(clusters)} cluster names. Give one an item.")
    if len(number) < 2:
        raise DataError(f"All {gain.size} items are one cluster: nothing says how much others would differ.")
    index = np.asarray([number[name] for name in clusters])
    sizes = np.bincount(index).astype(float)
    pulls = np.bincount(index, weights=gain - gain.mean())
    variance = len(number) / (len(number) - 1) * float((pulls**2).sum()) / gain.size**2
    effective = float(sizes.sum() ** 2 / (sizes**2).sum())
    alone = len(number) == gain.size
    return student_interval(
        float(gain.mean()),
        noise(variance, gain.mean(), len(number)),
        max(effective - 1, 1.0),
        n_items=gain.size,
        n_draws=1,
        method="paired t over items" if alone else f"paired t over items in {len(number)} clusters",
        item_share=1.0,
        confidence=confidence,
    )


def resampled_interval(
    base: ArrayLike, tuned: ArrayLike, *, n_items: int, drawn: int, confidence: float = 0.95
) -> Interval:
    """Interval over draws that are themselves resamples of the items, as mteb's clustering draws its documents.

    A draw takes `drawn` of `n_items` items with replacement, so the spread of the draws' differences is a bootstrap
    estimate of what other items would change (scaled by drawn / n_items, the m out of n bootstrap: Bickel, Götze and
    van Zwet 1997, "Resampling fewer than n observations"). The average over a few draws adds its own noise to that.

    Args:
        base, tuned: (draws,), one score of either model for each draw, the same items drawn for both.
        n_items: items there were to draw from.
        drawn: items in a draw.
        confidence: between 0 and 1.

    Raises:
        DataError: shapes differ, a score is not finite, or there are fewer than 2 draws.
        ParameterError: `confidence` out of range.
    """
    check_options(1, confidence)
    base, tuned = paired_scores(base, tuned, unit="draw")
    gain = tuned - base
    if gain.ndim != 1 or n_items < 1 or drawn < 1:
        raise DataError(f"Scores of shape {gain.shape} over {drawn} of {n_items} items: give one score a draw.")
    spread = float(gain.var(ddof=1))
    of_items, of_draws = drawn / n_items, 1 / gain.size  # in units of the spread
    return student_interval(
        float(gain.mean()),
        noise(spread * (of_items + of_draws), gain.mean(), n_items),
        gain.size - 1,
        n_items=n_items,
        n_draws=gain.size,
        method="paired t over draws that resample documents",
        item_share=of_items / (of_items + of_draws),
        confidence=confidence,
    )


def seed_spread(base: ArrayLike, tuned: ArrayLike, *, confidence: float = 0.95) -> SeedSpread:
    """The difference over several training seeds, with the noise of seeds apart from that of draws and items.

    Seeds, draws and items are crossed. Without several seeds nothing is known of another training: the interval then
    speaks of this checkpoint alone.

    Args:
        base, tuned: (seeds, items) or (seeds, draws, items), the same per-item scores; the base model's may be one
            row, (items,) or (draws, items), that stands for all seeds.
        confidence: between 0 and 1.

    Raises:
        DataError: shapes differ, a score is not finite, or there are fewer than 2 items.
        ParameterError: `confidence` out of range.
    """
    check_options(1, confidence)
    tuned = np.asarray(tuned, dtype=np.float64)
    base = np.asarray(base, dtype=np.float64)
    if tuned.ndim not in (2, 3) or base.shape not in (tuned.shape, tuned.shape[1:]):
        raise DataError(
            f"Base scores of shape {base.shape} and tuned ones of shape {tuned.shape} do not pair. Give (seeds, items)"
            " or (seeds, draws, items), and base scores of the same shape or of one seed."
        )
    base = np.broadcast_to(base, tuned.shape)
    paired_scores(base.reshape(-1, tuned.shape[-1]), tuned.reshape(-1, tuned.shape[-1]))
    gain = tuned - base
    seeds = gain.shape[0]
    over_seeds = _crossed(np.atleast_2d(gain.mean(axis=0)))
    by_seed = _crossed(gain if gain.ndim == 2 else gain.mean(axis=1))
    of_seeds = max(by_seed.rows - by_seed.cells, 0.0)
    of_items = noise(over_seeds.whole, gain.mean(), gain.shape[-1])
    whole = of_seeds + of_items
    free = over_seeds.freedom if np.isfinite(over_seeds.freedom) else gain.shape[-1] - 1
    parts = [(of_seeds, seeds - 1), (of_items, free)]
    interval = student_interval(
        float(gain.mean()),
        whole,
        satterthwaite(whole, parts),
        n_items=gain.shape[-1],
        n_draws=gain.shape[1] if gain.ndim == 3 else 1,
        method=f"{seeds} training seeds crossed with test items" if seeds > 1 else "one training seed, test items",
        item_share=over_seeds.column_share * of_items / whole,
        confidence=confidence,
    )
    return SeedSpread(
        interval=interval,
        seed_error=float(np.sqrt(of_seeds)) if seeds > 1 else np.nan,
        item_error=float(np.sqrt(of_items)),
        item_freedom=float(free),
    )


def _crossed(gain: NDArray) -> _Parts:
    """The parts of the variance of a matrix's mean, (rows, columns); with one row the columns are all there is."""
    n_rows, n_columns = gain.shape
    by_column = gain.mean(axis=0)
    columns = float(by_column.var(ddof=1) / n_columns)
    if n_rows == 1:
        return _Parts(rows=0.0, columns=columns, cells=0.0, freedom=n_columns - 1, column_share=1.0)
    by_row = gain.mean(axis=1)
    rows = float(by_row.var(ddof=1) / n_rows)
    rest = gain - by_row[:, None] - by_column[None] + gain.mean()
    free = (n_rows - 1) * (n_columns - 1)
    cells = float((rest**2).sum() / free / gain.size)
    parts = _Parts(rows=rows, columns=columns, cells=cells, freedom=0.0, column_share=np.nan)
    return _Parts(
        rows=rows,
        columns=columns,
        cells=cells,
        freedom=satterthwaite(parts.whole, [(rows, n_rows - 1), (columns, n_columns - 1), (cells, free)]),
        column_share=1 - max(rows - cells, 0.0) / parts.whole if parts.whole > 0 else np.nan,
    )


def satterthwaite(whole: float, parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a variance that is made of estimated ones: `parts` are (variance, its freedom)."""
    below = sum(v**2 / f for v, f in parts if f > 0)
    return max(whole**2 / below, 1.0) if below > 0 else np.inf
