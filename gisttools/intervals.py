"""What a comparison of two models answers with: a difference, its interval and p, and the word for it.

Stands on the ground: numpy and scipy only. Where the intervals come from: `statistics` by resampling, `mean_intervals`
by formula.
"""

from __future__ import annotations

import math
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


def verdict(interval: Interval) -> Literal["helped", "hurt", "not shown"]:
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


def paired_scores(*arrays: ArrayLike, unit: str = "item") -> list[NDArray]:
    """The arrays as float64, of one shape, (items,) or (draws, items), and finite.

    Raises:
        DataError: they are not; all problems at once.
    """
    values = [np.asarray(a, dtype=np.float64) for a in arrays]
    found = []
    if len({v.shape for v in values}) > 1:
        found.append(f"shapes differ: {', '.join(str(v.shape) for v in values)}")
    for name, v in zip(("base", "tuned", "gold"), values, strict=False):
        if v.ndim not in (1, 2):
            found.append(f"{name} has {v.ndim} axes instead of 1 or 2")
        elif v.shape[-1] < 2:
            found.append(f"{name} has {v.shape[-1]} {unit}(s); an interval needs at least 2")
        elif v.shape[0] == 0:
            found.append(f"{name} has no draws")
        if bad := int((~np.isfinite(v)).sum()):
            found.append(f"{name} holds {bad} value(s) that are NaN or infinite")
    if found:
        mend = f"Score both models on the same {unit}s and leave none out."
        raise DataError(problems(f"scores: {len(found)} problem(s)", found, mend))
    return values


def check_options(resamples: int, confidence: float, draws: str = "fixed", method: str = "bca") -> None:
    """Refuse options out of range, all at once, with `ParameterError`."""
    found = []
    if resamples < 1:
        found.append(f"resamples is {resamples}; it must be at least 1")
    if not 0 < confidence < 1:
        found.append(f"confidence is {confidence}; it must lie between 0 and 1, such as 0.95")
    if draws not in ("two-way", "fixed"):
        found.append(f"draws is {draws!r}; it must be 'two-way' or 'fixed'")
    if method not in ("bca", "percentile"):
        found.append(f"method is {method!r}; it must be 'bca' or 'percentile'")
    if found:
        raise ParameterError(problems(f"interval: {len(found)} problem(s)", found))
