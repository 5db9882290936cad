"""What more rows bring: the score against the number of rows trained on, and where more rows no longer pay.

Trainings of several seeds on nested subsets, each scored on the same test items, stand behind it.
Nothing here reads a file. Scores lie between 0 and 1, a point is 0.01.

What is said of a curve of scores against the number of rows: its table, its headline, and what it cost.
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
from numpy.typing import ArrayLike, NDArray

from gisttools.common import ParameterError, did_you_mean, problems
from gisttools.evaluation.intervals import Interval, satterthwaite, seed_spread, student_interval


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
        ends = self.table.iloc[[0, -1] if len(self.table) > 1 else [0]]
        rows = " → ".join(f"{n:,}" for n in ends["rows"])
        money = f" (${' → $'.join(dollars(c) for c in ends['cost_usd'])})" if self.priced else ""
        gains = " → ".join(f"{100 * g:+.1f}" for g in ends["gain"])
        return f"{rows} rows{money}: {gains} points; {self.verdict()}"

    def shown(self) -> pd.DataFrame:
        """The table as people read it: points out of 100."""
        points = ["score", "seed_sd", "gain", "low", "high", "step", "step_low", "step_high"]
        table = self.table.drop(columns=["seed_scores", "priced_rows"])
        return table.assign(**{c: (100 * table[c]).round(1) for c in points})

    def summary(self) -> dict[str, Any]:
        """The numbers of the curve, for the run's summary."""
        rows = self.table.replace({np.nan: None}).to_dict("records")
        told = {"task": self.task, "metric": self.metric, "base": self.base, "enough": self.enough}
        return {**told, "verdict": self.verdict(), "caveat": self.caveat(), "sizes": rows}

    def save(self, folder: Path) -> None:
        """Write the table as Parquet."""
        self.table.to_parquet(folder / "curve.parquet")


def dollars(amount: float) -> str:
    """A sum of dollars, without the sign: cents, and two digits of what is less."""
    if amount <= 0 or amount >= 0.995:
        return f"{amount:,.2f}"
    return f"{amount:.{max(2, 1 - math.floor(math.log10(amount)))}f}"


Part = tuple[str, str]  # a task and one of its subsets
Seed = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a model did on one part.

    Attributes:
        score: its main score.
        values: (draws, items), the items' parts in the score; None where they were not kept.
        variance: of its gain over the baseline by draws and items, for where `values` is None; NaN if not known, and 0
            of the baseline.
        freedom: degrees of freedom of `variance`.
    """

    score: float
    values: NDArray | None = None
    variance: float = 0.0
    freedom: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training and its evaluation.

    Attributes:
        name: what it is called in messages.
        rows, priced, cost: rows trained on; those of them that name a price; US dollars for them (None: not known).
        seed: of the training and of the order of rows; it tells trials of one size apart.
        base, tuned: by part, what the baseline and the tuned model did.
        metrics: by part, what the score is.
        targets: the parts that the training is meant to help.
    """

    name: str
    rows: int
    priced: int = 0
    cost: float | None = None
    seed: Seed
    base: Mapping[Part, Scored]
    tuned: Mapping[Part, Scored]
    metrics: Mapping[Part, str]
    targets: frozenset[Part] = frozenset()


def gain_curve(trials: Sequence[Trial], *, task: str | None = None) -> GainCurve:
    """The score by size, with its gains over the baseline and over the size before.

    Args:
        trials: of one baseline on the same tasks. Sizes are compared over the seeds that both of them have.
        task: the task that is scored; None for the mean of the targets, or of all tasks where none is a target.

    Raises:
        ParameterError: there is no trial, two are of one size and seed, they have other tasks, or none has `task`; all
            problems at once.
    """
    weights = _weights(trials, task)
    sizes: dict[int, dict[Seed, Trial]] = defaultdict(dict)
    for trial in sorted(trials, key=lambda t: (t.rows, t.seed)):
        sizes[trial.rows][trial.seed] = trial
    levels = [None, *sizes.values()]  # the baseline first
    lows, highs = np.full((2, len(levels), len(levels)), np.nan)
    table = []
    for j, (rows, of) in enumerate(sizes.items(), 1):
        gains = [_over(levels[i], of, weights) for i in range(j)]
        lows[:j, j], highs[:j, j] = zip(*((g.low, g.high) for g in gains), strict=True)
        scores = [_mean(t.tuned, weights) for t in of.values()]
        row: dict[str, Any] = {"rows": rows, **_cost(list(of.values())), "seeds": len(of)}
        row |= {"score": float(np.mean(scores)), "seed_sd": _sd(scores), **_columns(("gain", "low", "high"), gains[0])}
        row |= _columns(("step", "step_low", "step_high"), gains[-1] if j > 1 else None)
        table.append(row | {"seed_scores": scores})
    place, known = enough(lows)
    tasks, metrics = {name for name, _ in weights}, {trials[0].metrics[part] for part in weights}
    return GainCurve(
        table=pd.DataFrame(table),
        task=tasks.pop() if len(tasks) == 1 else f"mean of {len(tasks)} tasks",
        metric=metrics.pop() if len(metrics) == 1 else "score",
        base=float(np.mean([_mean(t.base, weights) for t in trials])),
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


def paired_gain(
    before: Sequence[Mapping[Part, Scored]], after: Sequence[Mapping[Part, Scored]], weights: Mapping[Part, float]
) -> Interval:
    """The interval of the difference in the weighted score of two sets of models, one a seed in the same order.

    Where both sides kept their items, seeds are crossed with draws and items (`mean_intervals.seed_spread`). Elsewhere
    the items' noise is that of either side's gain over the baseline, as if one had nothing to do with the other: they
    share items and baseline, so this errs on the wide side. Of several parts the items' variances add, and so do the
    seeds' standard errors, as if a seed that is good for one task were good for all. With one seed the interval speaks
    of these checkpoints. Rows are fixed: it does not speak of other rows, unless seeds draw them.
    """
    n, seed_error, variances = len(after), 0.0, []
    for part, weight in weights.items():
        sides = [[models[part] for models in side] for side in (before, after)]
        values = [scored.values for side in sides for scored in side]
        if all(v is not None and v.shape == values[0].shape for v in values):
            spread = seed_spread(np.stack(values[:n]), np.stack(values[n:]))
            of_seeds, of_items, freedom = spread.seed_error, spread.item_error**2, spread.item_freedom
        else:
            of_seeds = _sd([a.score - b.score for b, a in zip(*sides, strict=True)]) / math.sqrt(n)
            of_items = sum(float(np.mean([scored.variance for scored in side])) for side in sides)
            freedom = min(scored.freedom for side in sides for scored in side)
        seed_error += weight * of_seeds if n > 1 else 0.0
        variances.append((weight**2 * of_items, freedom))
    variances.append((seed_error**2, n - 1))
    whole = sum(variance for variance, _ in variances)
    differences = [_mean(a, weights) - _mean(b, weights) for b, a in zip(before, after, strict=True)]
    return student_interval(
        float(np.mean(differences)), whole, satterthwaite(whole, variances), n_items=0, n_draws=0, method=""
    )


def _over(before: Mapping[Seed, Trial] | None, after: Mapping[Seed, Trial], weights: Mapping[Part, float]) -> Interval:
    """The gain of one size over another, or over the baseline; without an interval where they share no seed."""
    if before is None:
        return paired_gain([t.base for t in after.values()], [t.tuned for t in after.values()], weights)
    shared = [seed for seed in after if seed in before]
    if shared:
        return paired_gain([before[s].tuned for s in shared], [after[s].tuned for s in shared], weights)
    means = [np.mean([_mean(t.tuned, weights) for t in of.values()]) for of in (before, after)]
    return Interval(
        difference=float(means[1] - means[0]), low=math.nan, high=math.nan, n_items=0, n_draws=0,
        method="no seed in common",
    )  # fmt: skip


def _weights(trials: Sequence[Trial], task: str | None) -> dict[Part, float]:
    """The parts that are scored, and what each counts."""
    if not trials:
        raise ParameterError("There is no evaluation to draw a curve from. Name some in evaluations.")
    first, found, seen = trials[0], [], {}
    for trial in trials:
        other = seen.setdefault((trial.rows, trial.seed), trial.name)
        if other != trial.name:
            found.append(f"{other} and {trial.name} have both {trial.rows} rows and seeds {trial.seed}; leave one out")
        if trial.tuned.keys() != first.tuned.keys():
            one, other = (", ".join(sorted({name for name, _ in t.tuned})) for t in (first, trial))
            found.append(f"{first.name} scored {one}, but {trial.name} {other}")
    names = list(dict.fromkeys(name for name, _ in first.tuned))
    if task is not None and task not in names:
        found.append(f"task = {task!r} is none of {', '.join(names)}.{did_you_mean(task, names)}")
    if found:
        raise ParameterError(problems(f"cost_to_gain: {len(found)} problem(s)", found))
    parts = [part for part in first.tuned if part[0] == task] if task else list(first.targets) or list(first.tuned)
    return task_weights([part for part in first.tuned if part in parts])


def task_weights(parts: Sequence[Part]) -> dict[Part, float]:
    """What each part counts in a mean: each task as much as any other, and so each subset of a task."""
    names = [name for name, _ in parts]
    return {part: 1 / (len(set(names)) * names.count(part[0])) for part in parts}


def _mean(scores: Mapping[Part, Scored], weights: Mapping[Part, float]) -> float:
    return sum(weight * scores[part].score for part, weight in weights.items())


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _cost(trials: Sequence[Trial]) -> dict[str, float | int]:
    costs = [t.cost for t in trials]
    return {
        "cost_usd": math.nan if None in costs else float(np.mean(costs)),
        "priced_rows": max(t.priced for t in trials),
    }


def _columns(names: tuple[str, str, str], interval: Interval | None) -> dict[str, float]:
    values = (interval.difference, interval.low, interval.high) if interval else (math.nan,) * 3
    return dict(zip(names, values, strict=True))
