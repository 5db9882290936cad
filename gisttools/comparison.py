"""Two models' results on one task, item by item: differences, intervals, and the single answers behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gisttools.data import split_of, texts_of
from gisttools.intervals import Interval, verdict
from gisttools.judgement import POINT, items_needed, smallest_seen
from gisttools.same_task import check_same_task
from gisttools.task_intervals import task_interval


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
