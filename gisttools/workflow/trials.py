"""Trials of several sizes, read from evaluate runs and the finetune runs that they scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gisttools.errors import DataError, ParameterError, problems
from gisttools.gain import Scored, Trial
from gisttools.workflow.manifest import read_manifest
from gisttools.workflow.runs import artefact, as_run, read_summary

_COLUMNS = ("task", "subset", "metric", "base", "tuned", "standard_error", "freedom", "is_target")


def read_trials(evaluations: Sequence[str]) -> list[Trial]:
    """One trial for each evaluate run, by id or path.

    Raises:
        ParameterError: one is no evaluate run, its model is no finetune run, or baselines differ; all problems at once.
        DataError: a run failed, or its files changed since.
        MissingError: a run or an artefact is not there.
    """
    found, trials, baselines = [], [], {}
    for name in evaluations:
        folder = as_run(name)
        manifest = None if folder is None else read_manifest(folder)
        if manifest is None or manifest["verb"] != "evaluate":
            found.append(f"{name} is no evaluate run" + (f" but one of {manifest['verb']}" if manifest else ""))
            continue
        model = manifest["parameters"]["model"]
        training = as_run(model)
        if training is None or read_manifest(training)["verb"] != "finetune":
            found.append(f"{name} is of {model}, which is no finetune run: its rows are not known")
            continue
        told = read_summary(name)
        baselines.setdefault(f"{told['base']} ({(told.get('revisions') or {}).get('base')})", name)  # the first of each
        trials.append(_trial(name, model, read_manifest(training)["parameters"]))
    if len(baselines) > 1:
        found.append("baselines differ: " + ", ".join(f"{name} against {b}" for b, name in baselines.items()))
    if found:
        mend = "Name evaluate runs of finetune runs, all with the same baseline."
        raise ParameterError(problems(f"evaluations: {len(found)} problem(s)", found, mend))
    return trials


def _trial(name: str, model: str, parameters: dict[str, Any]) -> Trial:
    summary = read_summary(model)
    comparison, items = (pd.read_parquet(artefact(name, f"{n}.parquet")) for n in ("comparison", "items"))
    if lacking := [c for c in _COLUMNS if c not in comparison]:
        raise DataError(f"Run {name}: comparison.parquet lacks {', '.join(lacking)}. Evaluate again.")
    base, tuned = {}, {}
    for row in comparison.itertuples():
        values = _values(items, row.task, row.subset)
        freedom = row.freedom if np.isfinite(row.freedom) else np.inf
        base[row.task, row.subset] = Scored(score=row.base, values=values[0])
        tuned[row.task, row.subset] = Scored(
            score=row.tuned, values=values[1], variance=row.standard_error**2, freedom=freedom
        )
    return Trial(
        name=name,
        rows=summary.get("rows", summary["triplets"]),
        priced=summary.get("rows_priced", 0),
        cost=summary.get("rows_cost_usd"),
        seed=(parameters["seed"], parameters.get("limit_seed", 0)),
        base=base,
        tuned=tuned,
        metrics={(r.task, r.subset): r.metric for r in comparison.itertuples()},
        targets=frozenset((r.task, r.subset) for r in comparison.itertuples() if r.is_target),
    )


def _values(items: pd.DataFrame, task: str, subset: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What base and tuned model got right, (draws, items) each, or None where the run did not keep it."""
    if "base_draws" not in items:
        return None, None
    rows = items[(items["task"] == task) & (items["subset"] == subset)].sort_values("item")
    if len(rows) < 2:
        return None, None
    return tuple(np.stack(rows[c].to_numpy()).T.astype(float) for c in ("base_draws", "tuned_draws"))
