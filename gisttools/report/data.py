"""Collects what a report is made of: an evaluate run, and the runs it descends from, read from their folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from gisttools.common import SUMMARY, DataError, FinishedRun, MissingError, ancestors, problems, read_run

_COMPARISON = ("task", "metric", "base", "tuned", "difference", "low", "high", "verdict")
_SCORES = ("role", "task", "metric", "score")
_FIRST = 2000  # rows read of a mined table, to show a few
_NUMBERS = {
    *("base", "tuned", "difference", "low", "high", "score", "p", "p_holm", "mde", "items_for_one_point"),
    *("standard_error", "freedom", "allowed_loss", "n_seeds", "seed_error", "item_error"),
    *("n_items", "n_draws", "overlap", "n_test", "in_train"),
}
_DEFAULTS = {  # columns a writer may leave out, and what their absence means
    **dict.fromkeys(sorted(_NUMBERS - {"base", "tuned", "difference", "low", "high", "score"})),
    "task_type": "",
    "split": "",
    "subset": "default",
    "is_main": True,
    "is_target": False,
    "trained_on": None,
    "cleaned_task": None,
    "non_inferior": None,
    "variant": None,
    "speaks_of": None,
    "revision": None,
    "method": "",
    "model": "",
}


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report says. `None` and empty tuples stand for steps that were not run here.

    Where several variants were evaluated, `comparison`, `items` and `averages` are those of the first, and `others`
    holds the comparison rows of the rest.
    """

    evaluate: FinishedRun
    scores: pd.DataFrame
    comparison: pd.DataFrame
    others: pd.DataFrame | None = None
    items: pd.DataFrame | None = None
    overlap: pd.DataFrame | None = None  # test texts that the training table holds
    references: pd.DataFrame | None = None  # scores of other models on the same tasks
    averages: pd.DataFrame | None = None  # mean differences by category
    failed: pd.DataFrame | None = None  # tasks that could not be scored
    embedding: pd.DataFrame | None = None  # as `gisttools.evaluation.maps` tells
    finetunes: tuple[FinishedRun, ...] = ()  # the nearest one first
    history: pd.DataFrame | None = None  # of the nearest one
    masked: pd.DataFrame | None = None  # candidates that it masked, as `gisttools.training.masked` tells
    converts: tuple[FinishedRun, ...] = ()
    syntheses: tuple[FinishedRun, ...] = ()
    accepted: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # synthesize run id -> rows
    rejected: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    mined: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # convert run id -> the first rows
    left_out: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # convert run id -> overlap with test texts
    missing: tuple[str, ...] = ()  # ancestors that cannot be read, each with its reason

    @property
    def finetune(self) -> FinishedRun | None:
        return self.finetunes[0] if self.finetunes else None

    @property
    def runs(self) -> tuple[FinishedRun, ...]:
        """All runs, the oldest step first."""
        return (*self.syntheses, *self.converts, *reversed(self.finetunes), self.evaluate)


def collect(evaluate_run: str | Path, results: str | Path) -> ReportData:
    """Read an evaluate run and walk up its parents.

    Args:
        evaluate_run: the folder of a finished evaluate run.
        results: the folder that holds the run folders, where parents are looked up by id.

    Raises:
        MissingError: `evaluate_run` is no folder, has no manifest (unfinished), or lacks a table it must have.
        DataError: it is no evaluate run, it failed, a table lacks columns, or a file differs from its manifest.
    """
    run = read_run(evaluate_run)
    if run.verb != "evaluate":
        raise DataError(f"{run.folder} is a run of {run.verb!r}, not 'evaluate'. A report starts from an evaluate run.")
    if not run.ok:
        error = f" ({run.error[:300]})" if run.error else ""
        raise DataError(f"{run.folder} has status {run.status!r}{error}. Evaluate again, then report.")
    scores, comparison = _needed(run, "scores.parquet", _SCORES), _needed(run, "comparison.parquet", _COMPARISON)
    came_from, missing = ancestors(run, Path(results))
    for one in (run, *came_from):
        one.find(SUMMARY)  # what changed is refused here, not half-way through the page
    by_verb = {v: tuple(r for r in came_from if r.verb == v) for v in ("finetune", "convert", "synthesize")}
    nearest = by_verb["finetune"][0] if by_verb["finetune"] else None
    items = _optional(run, "items.parquet", ("task", "text", "gold"))
    averages = _optional(run, "averages.parquet", ("name", "base", "tuned", "difference"))
    comparison, others = _split(comparison)
    first = None if others is None else comparison["variant"].iloc[0]
    firsts = {r.id: r.head("triplets.parquet", _FIRST) for r in by_verb["convert"]}
    return ReportData(
        evaluate=run,
        scores=scores,
        comparison=comparison,
        others=others,
        items=_of(items, first),
        overlap=run.table("overlap.parquet"),
        references=_optional(run, "references.parquet", ("name", "task", "metric", "score")),
        averages=_of(averages, first),
        failed=_optional(run, "failed.parquet", ("task", "error")),
        embedding=_optional(run, "embedding.parquet", ("role", "kind", "value")),
        finetunes=by_verb["finetune"],
        history=nearest.table("history.parquet") if nearest else None,
        masked=_optional(nearest, "masked_examples.parquet", ("anchor", "candidate", "masked_by")) if nearest else None,
        converts=by_verb["convert"],
        syntheses=by_verb["synthesize"],
        accepted=_tables(by_verb["synthesize"], "triplets.parquet"),
        rejected=_tables(by_verb["synthesize"], "rejected.parquet"),
        mined={run_id: t for run_id, t in firsts.items() if t is not None and not t.empty},
        left_out=_tables(by_verb["convert"], "overlap.parquet"),
        missing=tuple(missing),
    )


def _needed(run: FinishedRun, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    table = run.table(name)
    if table is None:
        raise MissingError(f"{run.folder} holds no {name}. Run the evaluation again; a report cannot do without it.")
    lacking = [f"column {c!r} is missing" for c in columns if c not in table]
    if lacking:
        raise DataError(problems(f"{run.folder / name}: {len(lacking)} problem(s)", lacking, "Evaluate again."))
    if table.empty:
        raise DataError(f"{run.folder / name} has no rows. Evaluate at least one task with both models.")
    for column, value in _DEFAULTS.items():
        if column not in table:
            table[column] = value
    for column in _NUMBERS & set(table):  # a column of nothing but nulls comes back as objects
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table


def _split(comparison: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The rows of the first variant, and those of the others, if there are any."""
    first = comparison["variant"] == comparison["variant"].iloc[0]
    if comparison["variant"].nunique() < 2:
        return comparison.assign(variant=None), None
    return comparison[first].reset_index(drop=True), comparison[~first].reset_index(drop=True)


def _of(table: pd.DataFrame | None, variant: str | None) -> pd.DataFrame | None:
    if table is None or variant is None or "variant" not in table:
        return table
    return table[table["variant"] == variant].reset_index(drop=True)


def _optional(run: FinishedRun, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """A table that a run may have; None where it has none, or no rows, or lacks what is read of it."""
    table = run.table(name)
    return None if table is None or table.empty or set(columns) - set(table) else table


def _tables(runs: tuple[FinishedRun, ...], name: str) -> dict[str, pd.DataFrame]:
    read = {run.id: run.table(name) for run in runs}
    return {run_id: table for run_id, table in read.items() if table is not None and not table.empty}
