"""What several comparisons say together: many tests at once, losses that are allowed, averages, one overall word.

Works on rows of the comparison table (`comparison.compare`), as dicts; scores lie between 0 and 1, a point is 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gisttools.common import ParameterError
from gisttools.intervals import Interval, student_interval, verdict

POINT = 0.01
ALLOWED_LOSS = 0.5  # points
_ALPHA, _POWER = 0.05, 0.8


def holm(p: ArrayLike) -> NDArray:
    """p values corrected for there being several of them (Holm 1979, "A simple sequentially rejective multiple test
    procedure"). (tests,) to (tests,); one that is NaN was no test and stays NaN."""
    p = np.asarray(p, dtype=np.float64)
    corrected = np.full(p.shape, np.nan)
    order = np.argsort(p)  # NaN stands last
    order = order[: int(np.isfinite(p).sum())]
    steps = p[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def smallest_seen(interval: Interval) -> float:
    """The smallest true difference that such a comparison shows four times in five (power 0.8, alpha 0.05, two-sided).

    NaN where the standard error is not known, or where nothing varied and so nothing is known of the noise.
    """
    error = interval.standard_error
    return _reach(interval.freedom) * error if error > 0 else math.nan


def items_needed(interval: Interval, difference: float) -> float:
    """How many test items it takes to see a difference of that size four times in five, other things equal.

    NaN where it is not known, or where no number of items would do: then the draws alone vary too much.
    """
    variance, share = interval.standard_error**2, interval.item_share
    if not (variance > 0 and share >= 0):
        return math.nan
    left = (difference / _reach(interval.freedom)) ** 2 - variance * (1 - share)
    return float(math.ceil(variance * share * interval.n_items / left)) if left > 0 else math.nan


def judge(rows: Sequence[Mapping[str, Any]], *, allowed_loss: float = ALLOWED_LOSS) -> list[dict[str, Any]]:
    """The rows of one evaluation with what can only be said of all of them, or of guards.

    `p_holm` is p corrected over all rows. Of guards (`is_target` false) `allowed_loss` is the loss they may have, in
    the unit of the scores, and `non_inferior` whether the whole interval lies above it: a 95 % interval makes that a
    one-sided test at 2.5 %. Both are missing for targets; `non_inferior` also where there is no interval.

    Args:
        rows: with `p`, `low` and `is_target`.
        allowed_loss: in points.

    Raises:
        ParameterError: `allowed_loss` is negative or no number.
    """
    if not allowed_loss >= 0:
        raise ParameterError(f"allowed_loss is {allowed_loss} points; give 0 or more, such as {ALLOWED_LOSS}.")
    found = []
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        guard, known = not row["is_target"], not math.isnan(row["low"])
        found.append(
            {
                **row,
                "p_holm": float(corrected),
                "allowed_loss": allowed_loss * POINT if guard else math.nan,
                "non_inferior": bool(row["low"] > -allowed_loss * POINT) if guard and known else None,
            }
        )
    return found


def overall_verdict(rows: Iterable[Mapping[str, Any]]) -> Literal["HELPED", "HURT", "MIXED", "NOT SHOWN"]:
    """One word for targets and guards together.

    HELPED: every target was helped and no guard was hurt. MIXED: some target was helped, but not all, or a guard was
    hurt. HURT: something was hurt and no target helped. NOT SHOWN: none of these. A guard is hurt where its verdict
    says so and the loss may be more than what is allowed. A guard that is only unclear changes nothing here, so say
    beside it which guards are not shown to be safe.

    Args:
        rows: from `judge`; where no row is a target, all are taken as targets.
    """
    rows = list(rows)
    targets = {row["verdict"] for row in rows if row["is_target"]} or {row["verdict"] for row in rows}
    guards = [row for row in rows if not row["is_target"]] if any(row["is_target"] for row in rows) else []
    lost = any(row["verdict"] == "hurt" and not _true(row.get("non_inferior")) for row in guards)
    if "helped" in targets:
        return "HELPED" if targets == {"helped"} and not lost else "MIXED"
    return "HURT" if lost or "hurt" in targets else "NOT SHOWN"


def averages(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean differences by kind of task and over all, with intervals: rows `name`, `n_tasks`, `base`, `tuned`,
    `difference`, `low`, `high`, `p`, `verdict`.

    The tasks are fixed: the interval speaks of these tasks with other items and draws, not of other tasks. So the
    variances of the tasks add (as if their items were independent: two tasks over the same texts make it too narrow),
    with Satterthwaite's degrees of freedom. Subsets of a task are averaged first, as mteb does. Where a row has no
    interval the average has none.

    Args:
        rows: of the comparison table, with `standard_error` and `freedom`.
    """
    rows = list(rows)
    groups = {kind: [r for r in rows if r["task_type"] == kind] for kind in dict.fromkeys(r["task_type"] for r in rows)}
    if len(groups) > 1:
        groups["all tasks"] = rows
    return [_average(name, part) for name, part in groups.items()]


def _average(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = [row["task"] for row in rows]
    weights = np.asarray([1 / (len(set(names)) * names.count(n)) for n in names])
    base, tuned, errors, freedoms = (
        np.asarray([row[key] for row in rows], dtype=float) for key in ("base", "tuned", "standard_error", "freedom")
    )
    parts = (weights * errors) ** 2
    variance = float(parts.sum())
    # tasks of which nothing varied have no degrees of freedom and add none
    below = float((parts[parts > 0] ** 2 / freedoms[parts > 0]).sum())
    interval = student_interval(
        float(weights @ (tuned - base)),
        variance,
        variance**2 / below if below > 0 else math.inf,
        n_items=0,
        n_draws=0,
        method="",
    )
    known = not math.isnan(variance)
    return {
        "name": name,
        "n_tasks": len(set(names)),
        "base": float(weights @ base),
        "tuned": float(weights @ tuned),
        "difference": interval.difference,
        "low": interval.low if known else math.nan,
        "high": interval.high if known else math.nan,
        "p": interval.p if known else math.nan,
        "verdict": verdict(interval) if known else "not shown",
    }


def _reach(freedom: float) -> float:
    return float(stats.t.ppf(1 - _ALPHA / 2, freedom) + stats.t.ppf(_POWER, freedom))


def _true(value: object) -> bool:
    return isinstance(value, bool | np.bool_) and bool(value)
