"""Compares models on one task item by item, and says what several comparisons show together.

A `Comparison` is one row of comparison.parquet: a tuned variant against the baseline on one subset of one task. Scores
lie between 0 and 1; a point is 0.01.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gisttools.common import DataError, ParameterError, is_true, problems
from gisttools.data import split_of, texts_of
from gisttools.evaluation.intervals import Interval, Verdict, satterthwaite, seed_spread, student_interval, verdict
from gisttools.evaluation.items import Split, item_values, task_interval
from gisttools.evaluation.options import ALLOWED_LOSS
from gisttools.evaluation.queries import query_rows

if TYPE_CHECKING:
    from mteb import AbsTask

POINT = 0.01
_ALPHA, _POWER = 0.05, 0.8
Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A tuned variant against the baseline on one subset of one task: a row of comparison.parquet.

    The fields are its columns, in their order. A column that an older file lacks reads as the default here: NaN, or
    None, for what is not known.

    Attributes:
        task, task_type, subset, metric: what was scored.
        base, tuned, difference: the scores (of several seeds the tuned model's mean), and tuned less base.
        low, high, p, standard_error, freedom: the 95 % interval of the difference and what it stands on; `freedom` is
            NaN where it is infinite.
        mde: the smallest difference that such a comparison detects (`smallest_detectable`).
        items_for_one_point: test items needed to detect one point.
        n_items, n_draws, method: what the interval is taken over, and how.
        verdict: `helped`, `hurt` or `not shown`.
        n_seeds, seed_error, item_error: training seeds, and the standard errors that other seeds and other items bring.
        speaks_of: `this checkpoint` for one seed, `the recipe` for several.
        is_target: is the task one that the training is meant to help? Others are guards, or second looks.
        overlap, n_test: test texts that the training table holds, of how many.
        in_train, cleaned_task: test texts in the task's own train split, and its cleaned version, as mteb tells it.
        trained_on: was the task's train split trained on?
        variant: which of the tuned variants it is.
        group: the task that mteb makes this one a part of.
        base_zero_shot, zero_shot: was the baseline, were both models, never trained on the task, as far as is known?
        p_holm: p corrected for all comparisons of the evaluation.
        allowed_loss: what a guard may lose; NaN for targets.
        non_inferior: is a larger loss of a guard ruled out? None for targets, and without an interval.
        second_look: is it another metric on the test texts of a target, such as clustering of labelled texts? It has no
            say in verdicts and averages.
    """

    task: str
    task_type: str = ""
    subset: str = "default"
    metric: str = ""
    base: float = math.nan
    tuned: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    mde: float = math.nan
    items_for_one_point: float = math.nan
    standard_error: float = math.nan
    freedom: float = math.nan
    n_draws: int | None = None
    method: str = ""
    verdict: Verdict = "not shown"
    n_items: int | None = None
    n_seeds: int | None = None
    seed_error: float = math.nan
    item_error: float = math.nan
    speaks_of: str | None = None
    is_target: bool = False
    overlap: int | None = None
    n_test: int | None = None
    in_train: int | None = None
    cleaned_task: str | None = None
    trained_on: bool | None = None
    variant: str | None = None
    group: str | None = None
    base_zero_shot: bool | None = None
    zero_shot: bool | None = None
    p_holm: float = math.nan
    allowed_loss: float = math.nan
    non_inferior: bool | None = None
    second_look: bool = False

    @property
    def scored(self) -> bool:
        """Do both models have a score here?"""
        return not math.isnan(self.difference)

    @property
    def has_interval(self) -> bool:
        return not (math.isnan(self.low) or math.isnan(self.high))


@dataclass(frozen=True, kw_only=True)
class Average:
    """A mean difference over some tasks: a row of averages.parquet.

    Attributes:
        variant: whose.
        tasks: which tasks: `all`, `targets`, `not trained on` or `zero-shot`.
        name: a kind of task, or `all tasks`.
        n_tasks: how many tasks it is over.
        base, tuned, difference, low, high, p, verdict: as in `Comparison`.
    """

    variant: str | None = None
    tasks: str = "all"
    name: str
    n_tasks: int | None = None
    base: float = math.nan
    tuned: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    verdict: Verdict = "not shown"


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One metric of one model on one subset and split of a task: a row of scores.parquet.

    Attributes:
        role: whose score it is, such as base; empty where that is not told.
        task, task_type, split, subset, n_items, n_draws: what was scored.
        revision, mteb: of the data, and the version of mteb.
        metric, is_main, score: as mteb calls the metric, whether it is the task's main one, and the score.
    """

    role: str = ""
    task: str
    task_type: str = ""
    split: str | None = None
    subset: str = "default"
    n_items: int | None = None
    n_draws: int | None = None
    revision: str | None = None
    mteb: str | None = None
    metric: str
    is_main: bool = True
    score: float = math.nan


def to_table(kind: type[Row], rows: Iterable[Row]) -> pd.DataFrame:
    """Rows of `kind` as a table with all of its columns, also where there are no rows."""
    return pd.DataFrame([vars(row) for row in rows], columns=[f.name for f in fields(kind)])  # type: ignore[arg-type]


def read_rows(kind: type[Row], table: pd.DataFrame) -> list[Row]:
    """Rows of a table as `kind`: `Comparison`, `Average` or `ScoreRow`. A column or a value that is not there reads as
    the field's default; columns that `kind` does not have are left out."""
    read = {f.name: _READ[str(f.type)] for f in fields(kind) if f.name in table}  # type: ignore[arg-type]
    found = []
    for record in table[list(read)].to_dict("records"):
        values = {name: read[name](value) for name, value in record.items() if not _missing(value)}
        found.append(kind(**{name: value for name, value in values.items() if value is not None}))
    return found


def comparison_table(rows: Iterable[Comparison]) -> pd.DataFrame:
    """The table that comparison.parquet holds."""
    return to_table(Comparison, rows)


def read_comparisons(table: pd.DataFrame) -> list[Comparison]:
    """The rows of a comparison.parquet of this or an earlier version; see `Comparison` for what a missing column means.
    A row without scores of both models has no verdict but `not shown`."""
    rows = read_rows(Comparison, table)
    return [row if row.scored else replace(row, verdict="not shown") for row in rows]


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values; what is not known is null."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


_READ: dict[str, Callable[[Any], Any]] = {
    "str": str,
    "str | None": str,
    "Kind": str,
    "float": _number,
    "float | None": _number,
    "int": _whole,
    "int | None": _whole,
    "bool": is_true,
    "bool | None": is_true,
    "Verdict": lambda value: value if value in get_args(Verdict) else None,
}


# what a task is, next to its name; the revision of a folder's task is a hash of its data
_WHAT = {
    "revision": "revision of the data",
    "split": "split",
    "subsets": "subsets",
    "mteb": "version of mteb",
}
_FIX = "Evaluate all of them anew on the same data, or leave one out."


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What mteb says of one model on one task.

    Attributes:
        raw: mteb's scores by subset of the first split.
        predictions: mteb's saved predictions by subset.
        split: the first split.
        about: what the task was: revision of the data, subsets, version of mteb.
    """

    raw: Mapping[str, Mapping[str, Any]]
    predictions: Mapping[str, Any]
    split: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A comparison with the test texts behind it, and rows of the item table (of classification) or of the table of
    queries (of searches)."""

    row: Comparison
    texts: list[str]
    items: list[dict[str, Any]]
    queries: list[dict[str, Any]] = field(default_factory=list)


def compare_seeds(task: AbsTask, base: TaskResult, tuned: Sequence[TaskResult], *, seed: int = 0) -> list[Compared]:
    """A variant of one or more training seeds against the baseline: one comparison per subset of the first split.

    Of several seeds `tuned` and `difference` are means. Where the score is a mean over items, seeds are crossed with
    draws and items (`seed_spread`); elsewhere the variance of the seeds' scores, and the mean of what the seeds'
    intervals say of items, are added, which errs on the wide side. Of `items`, `tuned_draws` holds the draws of all
    seeds one after the other, `tuned_correct` their mean.

    Args:
        task: the mteb task, its data loaded.
        base: what the baseline did.
        tuned: what each seed's model did, at least one.
        seed: of the bootstrap.

    Raises:
        DataError: the results are not of the same task, or saved predictions do not give the score that mteb reports.
    """
    each = [compare(task, base, one, seed=seed) for one in tuned]
    return [_together(task, base, tuned, parts) for parts in zip(*each, strict=True)]


def compare(task: AbsTask, base: TaskResult, tuned: TaskResult, *, seed: int = 0) -> list[Compared]:
    """One comparison of two models per subset of the task's first split.

    Args:
        task: the mteb task, its data loaded.
        base, tuned: what either model did on it.
        seed: of the bootstrap.

    Raises:
        DataError: the two are not of the same task (data, splits, version of mteb), or saved predictions do not give
            the accuracy that mteb reports.
    """
    check_same_task(task.metadata.name, {"base": _told(base), "tuned": _told(tuned)})
    found = []
    for subset in tuned.raw:
        data = split_of(task, subset, tuned.split)
        raw = [r.raw[subset] for r in (base, tuned)]
        predictions = [r.predictions.get(subset) for r in (base, tuned)]
        interval = task_interval(task, data, raw, predictions, seed=seed)
        before, after = (float(r["main_score"]) for r in raw)
        row = Comparison(
            task=task.metadata.name,
            task_type=task.metadata.type,
            subset=subset,
            metric=task.metadata.main_score,
            base=before,
            tuned=after,
            difference=after - before,
            n_items=_size(data, interval),
        )
        row, items = _with_interval(row, interval), _items(task, subset, data, predictions)
        found.append(Compared(row=row, texts=texts_of(task, data), items=items))
    return found


def check_same_task(name: str, seen: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse results of one task that was not the same task for all models.

    Args:
        name: of the task.
        seen: by model, what its result says of the task (`revision`, `split`, `subsets`, `mteb`).

    Raises:
        DataError: they differ; everything that does, with the values.
    """
    found = []
    for key, what in _WHAT.items():
        values = {who: told[key] for who, told in seen.items() if key in told}
        if len({repr(value) for value in values.values()}) > 1:
            found.append(f"{name}, {what}: " + ", ".join(f"{value} ({who})" for who, value in values.items()))
    if found:
        raise DataError(problems(f"{name}: these results cannot be compared:", found, _FIX))


def _told(result: TaskResult) -> dict[str, Any]:
    told = {key: result.about[key] for key in ("revision", "subsets", "mteb") if key in result.about}
    return {**told, "split": result.split}


def _with_interval(row: Comparison, interval: Interval | None) -> Comparison:
    """The row with what an interval says; where there is none, that there is none."""
    if interval is None:
        return replace(row, method="no interval for this kind of task yet")
    return replace(
        row,
        low=interval.low,
        high=interval.high,
        p=interval.p,
        mde=smallest_detectable(interval),
        items_for_one_point=items_needed(interval, POINT),
        standard_error=interval.standard_error,
        freedom=interval.freedom if math.isfinite(interval.freedom) else math.nan,
        n_draws=interval.n_draws,
        method=interval.method,
        verdict=verdict(interval),
    )


def _size(data: Split | None, interval: Interval | None) -> int | None:
    """Items of the split; of retrieval tasks the queries, of one row that holds all pairs the pairs."""
    if data is None:
        return None
    if isinstance(data, Mapping) or len(data) == 1:
        return interval.n_items if interval else None
    return len(data)


def _items(task: AbsTask, subset: str, data: Split | None, predictions: Sequence[Any]) -> list[dict[str, Any]]:
    """Each text of a classification task that has one label, with the answers of both models; `base_draws` and
    `tuned_draws` say of each few-shot draw whether the answer was right."""
    if task.metadata.type != "Classification" or data is None or isinstance(data, Mapping) or not all(predictions):
        return []
    if any(len(draw) != len(data) for p in predictions for draw in p):
        return []
    truth = np.asarray(data[task.label_column_name])
    answers = [np.asarray(p) for p in predictions]
    correct = [a == truth for a in answers]
    names = getattr(task, "label_names", None)
    if names is None and "label_text" in data.column_names:
        names = dict(zip(truth.tolist(), data["label_text"], strict=True))

    def name(label: Any) -> str:
        return str(names[int(label)]) if names else str(label)

    majority = [[Counter(column).most_common(1)[0][0] for column in a.T.tolist()] for a in answers]
    return [
        {
            "task": task.metadata.name,
            "item": i,
            "text": text,
            "gold": name(truth[i]),
            "base_correct": float(correct[0][:, i].mean()),
            "tuned_correct": float(correct[1][:, i].mean()),
            "base_answer": name(majority[0][i]),
            "tuned_answer": name(majority[1][i]),
            "subset": subset,
            "base_draws": correct[0][:, i].tolist(),
            "tuned_draws": correct[1][:, i].tolist(),
        }
        for i, text in enumerate(data[task.input_column_name])
    ]


def _together(task: AbsTask, base: TaskResult, tuned: Sequence[TaskResult], parts: Sequence[Compared]) -> Compared:
    """The comparisons of several seeds on one subset as one."""
    rows = [part.row for part in parts]
    first = rows[0]
    subset, results = first.subset, [base, *tuned]
    saved = [r.predictions.get(subset) for r in results]
    queries = query_rows(task, subset, split_of(task, subset, base.split), saved[0], saved[1:])
    if len(rows) == 1:
        alone = replace(first, n_seeds=1, item_error=first.standard_error, speaks_of="this checkpoint")
        return replace(parts[0], row=alone, queries=queries)
    values = item_values(
        task,
        split_of(task, subset, base.split),
        [r.raw[subset] for r in results],
        saved,
    )
    interval: Interval | None
    if values is not None:
        spread = seed_spread(values[0], np.stack(values[1:]))
        interval, seed_error, item_error = spread.interval, spread.seed_error, spread.item_error
    else:
        interval, seed_error, item_error = _added(rows)
    mean = float(np.mean([row.tuned for row in rows]))
    row = replace(
        _with_interval(_without_interval(first), interval),
        tuned=mean,
        difference=mean - first.base,
        n_draws=first.n_draws,
        n_seeds=len(rows),
        seed_error=seed_error,
        item_error=item_error,
        speaks_of="the recipe",
    )
    items = [_one_item(same) for same in zip(*(part.items for part in parts), strict=True)]
    return Compared(row=row, texts=parts[0].texts, items=items, queries=queries)


def _without_interval(row: Comparison) -> Comparison:
    """What was scored, and on how many items."""
    kept = ("task", "task_type", "subset", "metric", "base", "n_items")
    return Comparison(**{name: getattr(row, name) for name in kept})


def _added(rows: Sequence[Comparison]) -> tuple[Interval | None, float, float]:
    """The interval of the mean difference, where items' parts in the score are not known, and its two errors."""
    differences = np.asarray([row.difference for row in rows])
    errors = np.asarray([row.standard_error for row in rows])
    freedoms = np.asarray([row.freedom for row in rows])
    seeds, of_seeds = len(rows), float(differences.var(ddof=1) / len(rows))
    of_items = float((errors**2).mean())
    if np.isnan(of_items):
        return None, float(np.sqrt(of_seeds)), np.nan
    whole = of_seeds + of_items
    freedom = float(np.nanmin(np.where(np.isnan(freedoms), np.inf, freedoms)))
    first = rows[0]
    interval = student_interval(
        float(differences.mean()),
        whole,
        satterthwaite(whole, [(of_seeds, seeds - 1), (of_items, freedom)]),
        n_items=first.n_items or 0,
        n_draws=first.n_draws or 1,
        method=f"{seeds} training seeds, and items: {first.method}",
        item_share=of_items / whole if whole > 0 and first.n_draws == 1 else np.nan,
    )
    return interval, float(np.sqrt(of_seeds)), float(np.sqrt(of_items))


def _one_item(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        **parts[0],
        "tuned_correct": float(np.mean([p["tuned_correct"] for p in parts])),
        "tuned_answer": Counter(p["tuned_answer"] for p in parts).most_common(1)[0][0],
        "tuned_draws": [right for p in parts for right in p["tuned_draws"]],
    }


def smallest_detectable(interval: Interval) -> float:
    """The smallest true difference that such a comparison detects four times in five (power 0.8, alpha 0.05,
    two-sided).

    NaN where the standard error is not known, or where nothing varied and so nothing is known of the noise.
    """
    error = interval.standard_error
    return _reach(interval.freedom) * error if error > 0 else math.nan


def items_needed(interval: Interval, difference: float) -> float:
    """How many test items it takes to detect a difference of that size four times in five, other things equal.

    NaN where it is not known, or where no number of items would do: then the draws alone vary too much.
    """
    variance, share = interval.standard_error**2, interval.item_share
    if not (variance > 0 and share >= 0):
        return math.nan
    left = (difference / _reach(interval.freedom)) ** 2 - variance * (1 - share)
    return float(math.ceil(variance * share * interval.n_items / left)) if left > 0 else math.nan


def _reach(freedom: float) -> float:
    return float(stats.t.ppf(1 - _ALPHA / 2, freedom) + stats.t.ppf(_POWER, freedom))


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


def judge(rows: Sequence[Comparison], *, allowed_loss: float = ALLOWED_LOSS) -> list[Comparison]:
    """The rows of one evaluation with what can only be said of all of them, or of guards.

    `p_holm` is p corrected over all rows. Of guards `allowed_loss` is the loss they may have, in the unit of the
    scores, and `non_inferior` whether the whole interval lies above it: a 95 % interval makes that a one-sided test at
    2.5 %. Both are missing for targets; `non_inferior` also where there is no interval.

    Args:
        rows: of all variants and tasks.
        allowed_loss: in points.

    Raises:
        ParameterError: `allowed_loss` is negative or no number.
    """
    if not allowed_loss >= 0:
        raise ParameterError(f"allowed_loss is {allowed_loss} points; give 0 or more, such as {ALLOWED_LOSS}.")
    least = -allowed_loss * POINT
    found = []
    for row, corrected in zip(rows, holm([row.p for row in rows]), strict=True):
        row = replace(row, p_holm=float(corrected))
        if not row.is_target and not row.second_look:
            row = replace(row, allowed_loss=-least, non_inferior=None if math.isnan(row.low) else row.low > least)
        found.append(row)
    return found


Word = Literal["HELPED", "HURT", "MIXED", "NOT SHOWN"]


def overall_verdict(rows: Iterable[Comparison], failed_targets: int = 0) -> Word:
    """One word for targets and guards together.

    HELPED: every target was helped and no guard was hurt. MIXED: some target was helped, but not all, or a guard was
    hurt. HURT: something was hurt and no target helped. NOT SHOWN: none of these. A guard is hurt where its verdict
    says so and the loss may be more than what is allowed. A guard that is only unclear changes nothing here, so say
    next to the word which guards are not shown to be safe.

    Args:
        rows: from `judge`; where no row is a target, all are taken as targets.
        failed_targets: targets that could not be scored; each counts as not shown.
    """
    targets, guards = targets_and_guards([*rows, *[Comparison(task="", is_target=True)] * failed_targets])
    verdicts = {row.verdict for row in targets}
    lost = any(row.verdict == "hurt" and not row.non_inferior for row in guards)
    if "helped" in verdicts:
        return "HELPED" if verdicts == {"helped"} and not lost else "MIXED"
    return "HURT" if lost or "hurt" in verdicts else "NOT SHOWN"


def targets_and_guards(rows: Iterable[Comparison]) -> tuple[list[Comparison], list[Comparison]]:
    """The rows of targets and those of guards, without second looks; where none is a target, all are taken as such."""
    rows = [row for row in rows if not row.second_look]
    targets = [row for row in rows if row.is_target]
    return (targets, [row for row in rows if not row.is_target]) if targets else (rows, [])


def averages(rows: Iterable[Comparison]) -> list[Average]:
    """Mean differences by kind of task and over all, with intervals.

    The tasks are fixed: the interval speaks of these tasks with other items and draws, not of other tasks. So the
    variances of the tasks add (as if their items were independent: two tasks over the same texts make it too narrow),
    with Satterthwaite's degrees of freedom. Subsets of a task are averaged first, as mteb does. Where a row has no
    interval the average has none.
    """
    rows = list(rows)
    groups = {kind: [r for r in rows if r.task_type == kind] for kind in dict.fromkeys(r.task_type for r in rows)}
    if len(groups) > 1:
        groups["all tasks"] = rows
    return [average(name, part) for name, part in groups.items()]


def average(name: str, rows: Sequence[Comparison]) -> Average:
    """The mean difference over these rows, as `averages` gives it."""
    names = [row.task for row in rows]
    weights = np.asarray([1 / (len(set(names)) * names.count(n)) for n in names])
    base, tuned, errors, freedoms = (
        np.asarray(values)
        for values in zip(*((r.base, r.tuned, r.standard_error, r.freedom) for r in rows), strict=True)
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
    found = Average(
        name=name,
        n_tasks=len(set(names)),
        base=float(weights @ base),
        tuned=float(weights @ tuned),
        difference=interval.difference,
    )
    if math.isnan(variance):
        return found
    return replace(found, low=interval.low, high=interval.high, p=interval.p, verdict=verdict(interval))
