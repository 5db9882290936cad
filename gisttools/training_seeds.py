"""One training or several seeds of it against the baseline: what varies between seeds apart from what items bring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gisttools.comparison import TaskResult, compare, interval_columns
from gisttools.data import split_of
from gisttools.intervals import Interval, student_interval
from gisttools.mean_intervals import satterthwaite, seed_spread
from gisttools.task_intervals import item_values


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
