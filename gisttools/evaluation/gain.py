"""Works out what more rows bring: the score by the number of rows trained on, and where more no longer pay.

Trainings of several seeds on nested subsets, each scored on the same test items, stand behind it. Reads no files.
Scores lie between 0 and 1, a point is 0.01.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gisttools.common import ParameterError, dollars, problems
from gisttools.evaluation.comparison import json_rows
from gisttools.evaluation.contenders import (
    Contender,
    Part,
    mean_known,
    mean_score,
    metric_name,
    paired_gain,
    standard_deviation,
    task_name,
    weights_of,
)
from gisttools.evaluation.intervals import Interval

_Seeds = tuple[int, int]  # of a training and of the order of its rows


@dataclass(frozen=True, kw_only=True)
class GainCurve:
    """The score by size.

    Attributes:
        table: one row a size, ascending: rows, cost_usd (NaN: not known), priced_rows (rows that name a price), seeds,
            score and its standard deviation over seeds (seed_sd); gain over the baseline with low and high; gain over
            the size before (step, step_low, step_high; NaN for the first); seed_scores, one a seed.
        task, metric: what was scored.
        base: the baseline's score.
        enough: more rows than these no longer pay (`enough`); 0 where training is not shown to help at
            all, the largest size where more rows still paid, None where intervals are missing.
        may_hide: the largest gain that a larger size may have over it for all that is known: the highest upper end of
            an interval.
    """

    table: pd.DataFrame
    task: str
    metric: str
    base: float
    enough: int | None
    may_hide: float

    @property
    def sizes(self) -> list[int]:
        return self.table["rows"].tolist()

    @property
    def priced(self) -> bool:
        """Whether the dollars of every size are known, and are not all nothing."""
        costs = self.table["cost_usd"]
        return bool(costs.notna().all() and (costs > 0).any())

    def no_price(self) -> str:
        """Why there is no curve against dollars."""
        costs = self.table["cost_usd"]
        if costs.notna().all():
            return "No curve against dollars: these rows cost nothing."
        of = "these rows" if costs.isna().all() else "the rows of some sizes"
        return (
            f"No curve against dollars: the price of {of} is not known. Labelled texts have none; of rows that an LLM "
            "wrote, 1_synthesize tells it where price_in and price_out are set."
        )

    def verdict(self) -> str:
        """Where more rows no longer pay, in a few words."""
        if self.enough is None:
            return "whether more rows pay is not known: intervals are missing"
        if self.enough == 0:
            return "no size is shown to help"
        if len(self.sizes) == 1:
            return "one size does not say whether more would pay"
        if self.enough == self.sizes[-1]:
            return f"still pays at {self.enough:,} rows, the most tried"
        return f"more than {self.enough:,} rows no longer pays"

    def caveat(self) -> str:
        """What the verdict does not rule out."""
        if self.enough is None or self.enough == self.sizes[-1]:
            return ""
        beaten = f"No larger size is shown to beat {self.enough:,} rows" if self.enough else "No size is shown to help"
        return f"{beaten}; up to {100 * self.may_hide:.1f} points may hide in the noise of seeds and test items."

    def headline(self) -> str:
        """One line: the smallest and the largest size, their gains, and the verdict."""
        if self.table.empty:
            return "no size was trained on and scored"
        ends = self.table.iloc[[0, -1] if len(self.table) > 1 else [0]]
        rows = " → ".join(f"{n:,}" for n in ends["rows"])
        money = f" ({' → '.join(dollars(c) for c in ends['cost_usd'])})" if self.priced else ""
        gains = " → ".join(f"{100 * g:+.1f}" for g in ends["gain"])
        return f"{rows} rows{money}: {gains} points; {self.verdict()}"

    def shown(self) -> pd.DataFrame:
        """The table as people read it: points out of 100."""
        points = ["score", "seed_sd", "gain", "low", "high", "step", "step_low", "step_high"]
        table = self.table.drop(columns=["seed_scores", "priced_rows"])
        return table.assign(**{c: (100 * table[c]).round(1) for c in points})

    def summary(self) -> dict[str, Any]:
        """The numbers of the curve, for the run's summary."""
        told = {"task": self.task, "metric": self.metric, "base": self.base, "enough": self.enough}
        return {**told, "verdict": self.verdict(), "caveat": self.caveat(), "sizes": json_rows(self.table)}

    def save(self, folder: Path) -> None:
        """Write the table as Parquet."""
        self.table.to_parquet(folder / "curve.parquet")


def gain_curve(contenders: Sequence[Contender], *, task: str | None = None) -> GainCurve:
    """The score by size, with its gains over the baseline and over the size before.

    Args:
        contenders: of one baseline on the same tasks, with their rows. Sizes are compared over the training seeds that
            both of them have.
        task: the task that is scored; None for the mean of the targets, or of all tasks where none is a target.

    Raises:
        ParameterError: there is none, the rows of one are not known, two are of one size and seed, they have other
            tasks, or none has `task`; all problems at once.
    """
    weights = _checked_weights(contenders, task)
    sizes = _by_size(contenders)
    levels = [None, *sizes.values()]  # the baseline first
    lows, highs = np.full((2, len(levels), len(levels)), np.nan)
    table = []
    for j, (rows, of) in enumerate(sizes.items(), 1):
        gains = [_over(levels[i], of, weights) for i in range(j)]
        lows[:j, j], highs[:j, j] = zip(*((g.low, g.high) for g in gains), strict=True)
        scores = [mean_score(c.tuned, weights) for c in of.values()]
        table.append(
            {
                "rows": rows,
                "cost_usd": mean_known([c.cost for c in of.values()]),
                "priced_rows": max(c.priced for c in of.values()),
                "seeds": len(of),
                "score": float(np.mean(scores)),
                "seed_sd": standard_deviation(scores),
                **_columns(("gain", "low", "high"), gains[0]),
                **_columns(("step", "step_low", "step_high"), gains[-1] if j > 1 else None),
                "seed_scores": scores,
            }
        )
    place, known = enough(lows)
    return GainCurve(
        table=pd.DataFrame(table),
        task=task_name(weights),
        metric=metric_name(contenders[0], weights, several="score"),
        base=float(np.mean([mean_score(c.base, weights) for c in contenders])),
        enough=[0, *sizes][place] if known else None,
        may_hide=float(highs[place, place + 1 :].max(initial=0.0)) if known else math.nan,
    )


def enough(lows: ArrayLike) -> tuple[int, bool]:
    """The smallest size that no larger one is shown to beat: more rows than that no longer pay.

    It is not enough to look at the next size: of small steps each may be lost in noise while all together are not. A
    size is shown to beat another where the whole interval of its gain over that one lies above zero.

    Args:
        lows: (sizes, sizes), at [i, j] with j > i the lower end of the interval of size j's gain over size i, NaN where
            there is none; in ascending order, the baseline (no rows) first.

    Returns:
        Its place (the last one: more rows still paid), and whether all intervals that say so are there.
    """
    lows = np.asarray(lows, dtype=float)
    place = next(i for i in range(len(lows)) if not (lows[i, i + 1 :] > 0).any())
    return place, not np.isnan(lows[place, place + 1 :]).any()


def _by_size(contenders: Sequence[Contender]) -> dict[int, dict[_Seeds, Contender]]:
    """By their rows and then by their seeds, both ascending."""
    sizes: dict[int, dict[_Seeds, Contender]] = defaultdict(dict)
    for rows, contender in sorted(((c.rows or 0, c) for c in contenders), key=lambda p: (p[0], p[1].training_seeds)):
        sizes[rows][contender.training_seeds] = contender
    return sizes


def _over(
    before: Mapping[_Seeds, Contender] | None, after: Mapping[_Seeds, Contender], weights: Mapping[Part, float]
) -> Interval:
    """The gain of one size over another, or over the baseline; without an interval where they share no seed."""
    if before is None:
        return paired_gain([c.base for c in after.values()], [c.tuned for c in after.values()], weights)
    shared = [seed for seed in after if seed in before]
    if shared:
        return paired_gain([before[s].tuned for s in shared], [after[s].tuned for s in shared], weights)
    means = [np.mean([mean_score(c.tuned, weights) for c in of.values()]) for of in (before, after)]
    return Interval(
        difference=float(means[1] - means[0]), low=math.nan, high=math.nan, n_items=0, n_draws=0,
        method="no seed in common",
    )  # fmt: skip


def _checked_weights(contenders: Sequence[Contender], task: str | None) -> dict[Part, float]:
    """The parts that are scored, and what each counts."""
    if not contenders:
        raise ParameterError("There is no evaluation to draw a curve from. Name some in evaluations.")
    first, found, weights = contenders[0], [], {}
    seen: dict[tuple[int, _Seeds], str] = {}
    for c in contenders:
        if c.rows is None:
            found.append(f"{c.name} is of a model whose rows are not known")
        elif (other := seen.setdefault((c.rows, c.training_seeds), c.name)) != c.name:
            found.append(f"{other} and {c.name} have both {c.rows} rows and seeds {c.training_seeds}; leave one out")
        if c.tuned.keys() != first.tuned.keys():
            one, another = (", ".join(sorted({name for name, _ in of.tuned})) for of in (first, c))
            found.append(f"{first.name} scored {one}, but {c.name} {another}")
    try:
        weights = weights_of(first, task)
    except ParameterError as error:
        found.append(str(error))
    if found:
        raise ParameterError(problems(f"cost_to_gain: {len(found)} problem(s)", found))
    return weights


def _columns(names: tuple[str, str, str], interval: Interval | None) -> dict[str, float]:
    values = (interval.difference, interval.low, interval.high) if interval else (math.nan,) * 3
    return dict(zip(names, values, strict=True))
