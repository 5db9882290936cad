"""Intervals of mean differences from their variances: draws crossed with items, items in clusters, training seeds.

They are closed formulas of what varies, so they are quick, and the same on every machine. For a metric that is no mean,
see `statistics.metric_bootstrap` and `f1_values`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gisttools.common import DataError
from gisttools.intervals import Interval, check_options, paired_scores, student_interval


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
    errors of its parts, `item_freedom` the degrees of freedom of the second; `speaks_of` is `this checkpoint` for one
    seed and `the recipe` for several."""

    interval: Interval
    seed_error: float
    item_error: float
    item_freedom: float
    speaks_of: str


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
        parts.whole,
        parts.freedom,
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
        variance,
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
        spread * (of_items + of_draws),
        gain.size - 1,
        n_items=n_items,
        n_draws=gain.size,
        method="paired t over draws that resample documents",
        item_share=of_items / (of_items + of_draws),
        confidence=confidence,
    )


def seed_spread(base: ArrayLike, tuned: ArrayLike, *, confidence: float = 0.95) -> SeedSpread:
    """The difference over several training seeds, its seeds' noise told apart from that of draws and items.

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
    whole = of_seeds + over_seeds.whole
    parts = [(of_seeds, seeds - 1), (over_seeds.whole, over_seeds.freedom)]
    interval = student_interval(
        float(gain.mean()),
        whole,
        satterthwaite(whole, parts),
        n_items=gain.shape[-1],
        n_draws=gain.shape[1] if gain.ndim == 3 else 1,
        method=f"{seeds} training seeds crossed with test items" if seeds > 1 else "one training seed, test items",
        item_share=over_seeds.column_share * over_seeds.whole / whole if whole > 0 else np.nan,
        confidence=confidence,
    )
    return SeedSpread(
        interval=interval,
        seed_error=float(np.sqrt(of_seeds)) if seeds > 1 else np.nan,
        item_error=float(np.sqrt(over_seeds.whole)),
        item_freedom=float(over_seeds.freedom),
        speaks_of="the recipe" if seeds > 1 else "this checkpoint",
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
