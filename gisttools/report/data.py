"""Reads what a report is made of: an evaluate run and the runs it descends from, each file against its checksum."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from gisttools.common import SUMMARY, DataError, FinishedRun, GistError, MissingError, ancestors, problems, read_run
from gisttools.evaluation import Average, Comparison, read_comparisons, read_rows
from gisttools.report.drawing import with_columns

_COMPARISON = ("task", "metric", "base", "tuned", "difference", "low", "high", "verdict")
_SCORES = ("role", "task", "metric", "score")
_FIRST = 2000  # rows read of a mined table, to show a few
_OPTIONAL = {  # columns of scores that a writer may leave out, and what their absence means
    "task_type": "",
    "split": "",
    "subset": "default",
    "is_main": True,
    "n_items": None,
    "n_draws": None,
    "revision": None,
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
    comparison: tuple[Comparison, ...]
    others: tuple[Comparison, ...] = ()
    items: pd.DataFrame | None = None
    queries: pd.DataFrame | None = None  # of searches, what each scored
    overlap: pd.DataFrame | None = None  # test texts that the training table holds
    references: pd.DataFrame | None = None  # scores of other models on the same tasks
    averages: tuple[Average, ...] = ()  # mean differences by category
    failed: pd.DataFrame | None = None  # tasks that could not be scored
    candidates: pd.DataFrame | None = None  # every way to do the targets, as `CandidateScore`
    answers: pd.DataFrame | None = None  # of these to every test text
    classes: pd.DataFrame | None = None  # precision and recall of these by class
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
    beside: Mapping[str, FinishedRun] = field(default_factory=dict)  # trainings that are only compared with, by id
    missing: tuple[str, ...] = ()  # ancestors that cannot be read, each with its reason

    def __post_init__(self) -> None:
        """A table without rows is none, so that whoever reads it asks once."""
        for name in (
            "items",
            "queries",
            "references",
            "failed",
            "candidates",
            "answers",
            "classes",
            "embedding",
            "history",
            "masked",
        ):
            table = getattr(self, name)
            if table is not None and table.empty:
                object.__setattr__(self, name, None)
        for name in ("accepted", "rejected", "mined", "left_out"):
            object.__setattr__(self, name, _filled(getattr(self, name)))
        object.__setattr__(self, "scores", with_columns(self.scores, *_SCORES, *_OPTIONAL))

    @property
    def finetune(self) -> FinishedRun | None:
        return self.finetunes[0] if self.finetunes else None

    @property
    def tuned_before(self) -> tuple[FinishedRun, ...]:
        """The trainings that the student had gone through, the nearest first; others were averaged, or chosen from."""
        runs, found = {run.id: run for run in self.finetunes}, []
        one = self.finetune
        while one is not None:
            one = runs.pop(str(one.parameters.get("student")).rstrip("/").rpartition("/")[2], None)
            found += [one] if one else []
        return tuple(found)

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
    run = _evaluation(evaluate_run)
    scores = _scores(run)
    first, others = _split(read_comparisons(_needed(run, "comparison.parquet", _COMPARISON)))
    variant = first[0].variant
    came_from, missing = ancestors(run, Path(results), _beside(run))
    for one in (run, *came_from):
        one.find(SUMMARY)  # what changed is refused here, not half-way through the page
    by_verb = {v: tuple(r for r in came_from if r.verb == v) for v in ("finetune", "convert", "synthesize")}
    nearest = by_verb["finetune"][0] if by_verb["finetune"] else None
    items = _optional(run, "items.parquet", ("task", "text", "gold"))
    averages = _optional(run, "averages.parquet", ("name", "base", "tuned", "difference"))
    return ReportData(
        evaluate=run,
        scores=scores,
        comparison=first,
        others=others,
        items=_of(items, variant),
        queries=_of(_optional(run, "queries.parquet", ("task", "query", "text", "base", "tuned")), variant),
        overlap=run.table("overlap.parquet"),
        references=_optional(run, "references.parquet", ("name", "task", "metric", "score")),
        averages=() if averages is None else tuple(read_rows(Average, _of(averages, variant))),
        failed=_optional(run, "failed.parquet", ("task", "error")),
        candidates=_optional(run, "candidates.parquet", ("task", "subset", "name", "kind", "score", "best")),
        answers=_optional(
            run,
            "answers.parquet",
            ("task", "subset", "item", "text", "gold", "candidate", "seed", "answer", "probability"),
        ),
        classes=_optional(run, "classes.parquet", ("task", "subset", "candidate", "seed", "label", "support")),
        embedding=_optional(run, "embedding.parquet", ("role", "kind", "value")),
        finetunes=by_verb["finetune"],
        history=nearest.table("history.parquet") if nearest else None,
        masked=_optional(nearest, "masked_examples.parquet", ("anchor", "candidate", "masked_by")) if nearest else None,
        converts=by_verb["convert"],
        syntheses=by_verb["synthesize"],
        accepted=_filled({r.id: r.table("triplets.parquet") for r in by_verb["synthesize"]}),
        rejected=_filled({r.id: r.table("rejected.parquet") for r in by_verb["synthesize"]}),
        mined=_filled({r.id: r.head("triplets.parquet", _FIRST) for r in by_verb["convert"]}),
        left_out=_filled({r.id: r.table("overlap.parquet") for r in by_verb["convert"]}),
        beside=_trainings(_beside(run), Path(results)),
        missing=tuple(missing),
    )


def _beside(run: FinishedRun) -> set[str]:
    """Ids of trainings that an evaluation only shows beside: the models did not come from them."""
    told = run.parameters
    named = told.get("model") or []
    ours = {Path(str(name)).name for name in [*([named] if isinstance(named, str) else named), told.get("baseline")]}
    return {Path(str(name)).name for name in told.get("references") or []} - ours


def _trainings(names: Collection[str], results: Path) -> dict[str, FinishedRun]:
    """Those of these that are trainings and are there."""
    found = {}
    for name in names:
        with suppress(GistError):
            found[name] = read_run(results / name)
    return {name: run for name, run in found.items() if run.verb == "finetune"}


def _evaluation(folder: str | Path) -> FinishedRun:
    """An evaluate run that ended well."""
    run = read_run(folder)
    if run.verb != "evaluate":
        raise DataError(f"{run.folder} is a run of {run.verb!r}, not 'evaluate'. A report starts from an evaluate run.")
    if not run.ok:
        error = f" ({run.error[:300]})" if run.error else ""
        raise DataError(f"{run.folder} has status {run.status!r}{error}. Evaluate again, then report.")
    return run


def _split(rows: Sequence[Comparison]) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
    """The rows of the first variant, and those of the others; a single one needs no name."""
    if len({row.variant for row in rows} - {None}) < 2:
        return tuple(replace(row, variant=None) for row in rows), ()
    first = rows[0].variant
    return tuple(row for row in rows if row.variant == first), tuple(row for row in rows if row.variant != first)


def _needed(run: FinishedRun, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    table = run.table(name)
    if table is None:
        raise MissingError(f"{run.folder} holds no {name}. Run the evaluation again; a report cannot do without it.")
    lacking = [f"column {c!r} is missing" for c in columns if c not in table]
    if lacking:
        raise DataError(problems(f"{run.folder / name}: {len(lacking)} problem(s)", lacking, "Evaluate again."))
    if table.empty:
        raise DataError(f"{run.folder / name} has no rows. Evaluate at least one task with both models.")
    return table


def _scores(run: FinishedRun) -> pd.DataFrame:
    table = _needed(run, "scores.parquet", _SCORES)
    table = table.assign(**{column: value for column, value in _OPTIONAL.items() if column not in table})
    # a column of nothing but nulls comes back as objects
    return table.assign(**{c: pd.to_numeric(table[c], errors="coerce") for c in ("score", "n_items", "n_draws")})


def _of(table: pd.DataFrame | None, variant: str | None) -> pd.DataFrame | None:
    """The variant's rows; all where there is only one."""
    if table is None or variant is None or "variant" not in table:
        return table
    return table[table["variant"] == variant].reset_index(drop=True)


def _optional(run: FinishedRun, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """A table that a run may have; None where it has none, or no rows, or lacks what is read of it."""
    table = run.table(name)
    return None if table is None or table.empty or set(columns) - set(table) else table


def _filled(tables: Mapping[str, pd.DataFrame | None]) -> dict[str, pd.DataFrame]:
    """Those that are there and have rows."""
    return {run_id: table for run_id, table in tables.items() if table is not None and not table.empty}
