"""Two models' results on one task, item by item: differences, intervals, and the single answers behind them.

Whether two results are of the same task: the same data, split, subsets and version of mteb.

What several comparisons say together: many tests at once, losses that are allowed, averages, one overall word.

Works on rows of the comparison table (`comparison.compare`), as dicts; scores lie between 0 and 1, a point is 0.01.

One training or several seeds of it against the baseline: what varies between seeds apart from what items bring.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gisttools.common import DataError, ParameterError, problems
from gisttools.data import split_of, texts_of
from gisttools.evaluation.intervals import Interval, satterthwaite, seed_spread, student_interval, verdict
from gisttools.evaluation.items import item_values, task_interval

# what a task is, beside its name; the revision of a folder's task is a hash of its data
_WHAT = {
    "revision": "revision of the data",
    "split": "split",
    "subsets": "subsets",
    "mteb": "version of mteb",
}
_MEND = "Evaluate all of them anew on the same data, or leave one out."


def check_same_task(name: str, seen: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse results of one task that was not the same task for all models.

    Args:
        name: of the task.
        seen: by model, what its result says of the task (`revision`, `split`, `subsets`, `mteb`).

    Raises:
        DataError: they differ; everything that does, with the values.
    """
    if found := _differences(name, seen):
        raise DataError(problems(f"{name}: these results cannot be compared:", found, _MEND))


def _differences(name: str, seen: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    for key, what in _WHAT.items():
        values = {who: told[key] for who, told in seen.items() if key in told}
        if len({repr(value) for value in values.values()}) > 1:
            found.append(f"{name}, {what}: " + ", ".join(f"{value} ({who})" for who, value in values.items()))
    return found


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


@dataclass(frozen=True)
class TaskResult:
    """What one model did on one task."""

    scores: list[dict]  # rows of the score table, without role
    raw: dict  # mteb's scores by subset of the first split
    predictions: dict  # mteb's saved predictions by subset
    split: str
    embed_seconds: float
    embedded: int
    about: dict = field(default_factory=dict)  # what the task was: revision of the data, splits, version of mteb


def compare(task, base: TaskResult, tuned: TaskResult, *, seed: int = 0) -> list[dict[str, Any]]:
    """One row of the comparison table per subset of the task's first split, with its `texts` and `items` beside.

    Args:
        task: the mteb task, its data loaded.
        base, tuned: what either model did on it.
        seed: of the bootstrap.

    Raises:
        DataError: the two are not of the same task (data, splits, version of mteb), or saved predictions do not give
            the accuracy that mteb reports.
    """
    check_same_task(task.metadata.name, {"base": _told(base), "tuned": _told(tuned)})
    rows = []
    for subset in tuned.raw:
        data = split_of(task, subset, tuned.split)
        raw = [r.raw[subset] for r in (base, tuned)]
        predictions = [r.predictions.get(subset) for r in (base, tuned)]
        interval = task_interval(task, data, raw, predictions, seed=seed)
        before, after = (float(r["main_score"]) for r in raw)
        rows.append(
            {
                "task": task.metadata.name,
                "task_type": task.metadata.type,
                "subset": subset,
                "metric": task.metadata.main_score,
                "base": before,
                "tuned": after,
                "difference": after - before,
                **interval_columns(interval),
                "n_items": _size(data, interval),
                "texts": texts_of(task, data),
                "items": _items(task, subset, data, predictions),
            }
        )
    return rows


def _told(result: TaskResult) -> dict[str, Any]:
    told = {key: result.about[key] for key in ("revision", "subsets", "mteb") if key in result.about}
    return {**told, "split": result.split}


def interval_columns(interval: Interval | None) -> dict[str, Any]:
    """What the comparison table says of an interval; where there is none, that there is none."""
    if interval is None:
        numbers = ("low", "high", "p", "mde", "items_for_one_point", "standard_error", "freedom")
        nothing: dict[str, Any] = dict.fromkeys(numbers, np.nan)
        return {**nothing, "n_draws": None, "method": "no interval for this kind of task yet", "verdict": "not shown"}
    return {
        "low": interval.low,
        "high": interval.high,
        "p": interval.p,
        "mde": smallest_seen(interval),
        "items_for_one_point": items_needed(interval, POINT),
        "standard_error": interval.standard_error,
        "freedom": interval.freedom if np.isfinite(interval.freedom) else np.nan,
        "n_draws": interval.n_draws,
        "method": interval.method,
        "verdict": verdict(interval),
    }


def _size(data, interval: Interval | None) -> int | None:
    """Items of the split; of retrieval tasks the queries, of one row that holds all pairs the pairs."""
    if data is None:
        return None
    if isinstance(data, Mapping) or len(data) == 1:
        return interval.n_items if interval else None
    return len(data)


def _items(task, subset: str, data, predictions: Sequence[Any]) -> list[dict]:
    """Each text of a classification task that has one label, with the answers of both models; `base_draws` and
    `tuned_draws` say of each few-shot draw whether the answer was right."""
    whole = task.metadata.type == "Classification" and data is not None and all(predictions)
    if not whole or any(len(draw) != len(data) for p in predictions for draw in p):
        return []
    gold = np.asarray(data[task.label_column_name])
    answers = [np.asarray(p) for p in predictions]
    correct = [a == gold for a in answers]
    names = getattr(task, "label_names", None)
    if names is None and "label_text" in data.column_names:
        names = dict(zip(gold.tolist(), data["label_text"], strict=True))

    def name(label) -> str:
        return str(names[int(label)]) if names else str(label)

    majority = [[Counter(column).most_common(1)[0][0] for column in a.T.tolist()] for a in answers]
    return [
        {
            "task": task.metadata.name,
            "item": i,
            "text": text,
            "gold": name(gold[i]),
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


def compare_seeds(task: Any, base: TaskResult, tuned: Sequence[TaskResult], *, seed: int = 0) -> list[dict[str, Any]]:
    """As `comparison.compare`, over several seeds of one recipe.

    Besides its columns: `n_seeds`; `seed_error` and `item_error`, the standard errors that other seeds and other items
    (with their draws) bring; `speaks_of`, `this checkpoint` for one seed and `the recipe` for several. Of several seeds
    `tuned` and `difference` are means. Where the score is a mean over items, seeds are crossed with draws and items
    (`mean_intervals.seed_spread`); elsewhere the variance of the seeds' scores, and the mean of what the seeds'
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
    return [_together(task, base, tuned, rows) for rows in zip(*each, strict=True)]


def _together(task: Any, base: TaskResult, tuned: Sequence[TaskResult], rows: Sequence[dict]) -> dict[str, Any]:
    first = rows[0]
    if len(rows) == 1:
        alone = {"n_seeds": 1, "seed_error": np.nan, "item_error": first["standard_error"]}
        return {**first, **alone, "speaks_of": "this checkpoint"}
    subset, scores = first["subset"], [row["tuned"] for row in rows]
    results = [base, *tuned]
    values = item_values(
        task,
        split_of(task, subset, base.split),
        [r.raw[subset] for r in results],
        [r.predictions.get(subset) for r in results],
    )
    if values is not None:
        spread = seed_spread(values[0], np.stack(values[1:]))
        interval, seed_error, item_error = spread.interval, spread.seed_error, spread.item_error
    else:
        interval, seed_error, item_error = _added(rows)
    return {
        **first,
        "tuned": float(np.mean(scores)),
        "difference": float(np.mean(scores)) - first["base"],
        **interval_columns(interval),
        "n_items": first["n_items"],
        "n_draws": first["n_draws"],
        "items": [_one_item(parts) for parts in zip(*(row["items"] for row in rows), strict=True)],
        "n_seeds": len(rows),
        "seed_error": seed_error,
        "item_error": item_error,
        "speaks_of": "the recipe",
    }


def _added(rows: Sequence[Mapping[str, Any]]) -> tuple[Interval | None, float, float]:
    """The interval of the mean difference, where items' parts in the score are not known, and its two errors."""
    differences = np.asarray([row["difference"] for row in rows])
    errors, freedoms = (np.asarray([row[k] for row in rows], dtype=float) for k in ("standard_error", "freedom"))
    seeds, of_seeds = len(rows), float(differences.var(ddof=1) / len(rows))
    of_items = float((errors**2).mean())
    if np.isnan(of_items):
        return None, float(np.sqrt(of_seeds)), np.nan
    whole = of_seeds + of_items
    freedom = float(np.nanmin(np.where(np.isnan(freedoms), np.inf, freedoms)))
    interval = student_interval(
        float(differences.mean()),
        whole,
        satterthwaite(whole, [(of_seeds, seeds - 1), (of_items, freedom)]),
        n_items=rows[0]["n_items"] or 0,
        n_draws=rows[0]["n_draws"] or 1,
        method=f"{seeds} training seeds, and items: {rows[0]['method']}",
        item_share=of_items / whole if whole > 0 and rows[0]["n_draws"] == 1 else np.nan,
    )
    return interval, float(np.sqrt(of_seeds)), float(np.sqrt(of_items))


def _one_item(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        **parts[0],
        "tuned_correct": float(np.mean([p["tuned_correct"] for p in parts])),
        "tuned_answer": Counter(p["tuned_answer"] for p in parts).most_common(1)[0][0],
        "tuned_draws": [right for p in parts for right in p["tuned_draws"]],
    }
