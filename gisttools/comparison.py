"""Two models' results on one task, item by item: differences, intervals, and the single answers behind them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from gisttools.errors import DataError
from gisttools.eval_sets import split_of, texts_of
from gisttools.statistics import Interval, draws_interval, metric_bootstrap, paired_bootstrap, spearman, verdict


@dataclass(frozen=True)
class TaskResult:
    """What one model did on one task."""

    scores: list[dict]  # rows of the score table, without role
    raw: dict  # mteb's scores by subset of the first split
    predictions: dict  # mteb's saved predictions by subset
    split: str
    embed_seconds: float
    embedded: int


def compare(task, base: TaskResult, tuned: TaskResult, *, seed: int = 0) -> list[dict[str, Any]]:
    """One row of the comparison table per subset of the task's first split, with its `texts` and `items` beside.

    Args:
        task: the mteb task, its data loaded.
        base, tuned: what either model did on it.
        seed: of the bootstrap.

    Raises:
        DataError: saved predictions do not give the score that mteb reports.
    """
    rows = []
    for subset in tuned.raw:
        data = split_of(task, subset, tuned.split)
        interval, items = _interval(task, data, base, tuned, subset, seed)
        rows.append(
            {
                "task": task.metadata.name,
                "task_type": task.metadata.type,
                "subset": subset,
                "metric": task.metadata.main_score,
                "base": float(base.raw[subset]["main_score"]),
                "tuned": float(tuned.raw[subset]["main_score"]),
                "difference": float(tuned.raw[subset]["main_score"] - base.raw[subset]["main_score"]),
                "low": interval.low if interval else np.nan,
                "high": interval.high if interval else np.nan,
                "n_items": None if data is None else len(data),
                "n_draws": interval.n_draws if interval else None,
                "method": interval.method if interval else "no interval for this kind of task yet",
                "verdict": verdict(interval) if interval else "not shown",
                "texts": texts_of(task, data),
                "items": items,
            }
        )
    return rows


def _interval(
    task, data, base: TaskResult, tuned: TaskResult, subset: str, seed: int
) -> tuple[Interval | None, list[dict]]:
    kind, metric = task.metadata.type, task.metadata.main_score
    predictions = [r.predictions.get(subset) for r in (base, tuned)]
    if kind == "Classification" and metric == "accuracy" and all(predictions):
        gold = np.asarray(data[task.label_column_name])
        answers = [np.asarray(p) for p in predictions]
        correct = [(a == gold).astype(float) for a in answers]
        for result, c in zip((base, tuned), correct, strict=True):
            if abs(c.mean() - result.raw[subset]["accuracy"]) > 1e-6:
                raise DataError(
                    f"{task.metadata.name}: saved predictions give accuracy {c.mean():.4f}, mteb reports "
                    f"{result.raw[subset]['accuracy']:.4f}. Was the data changed while it ran?"
                )
        return paired_bootstrap(*correct, seed=seed), _items(task, data, gold, answers, correct)
    if kind == "Classification" and "scores_per_experiment" in tuned.raw[subset]:
        values = [[e[metric] for e in r.raw[subset]["scores_per_experiment"]] for r in (base, tuned)]
        return draws_interval(*values), []
    if kind == "STS" and all(predictions):
        values = [p.get("cosine_scores") for p in predictions]
        if all(values):
            return metric_bootstrap(*values, data["score"], spearman, seed=seed), []
    if kind == "Clustering" and "v_measures" in tuned.raw[subset]:
        values = [_flat(r.raw[subset]["v_measures"]) for r in (base, tuned)]
        return draws_interval(*values), []
    return None, []


def _items(task, data, gold: np.ndarray, answers: list[np.ndarray], correct: list[np.ndarray]) -> list[dict]:
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
        }
        for i, text in enumerate(data[task.input_column_name])
    ]


def _flat(values) -> list[float]:
    return [x for level in values.values() for x in level] if isinstance(values, dict) else list(values)
