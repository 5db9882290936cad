"""Finds the model that a run left to be used, and tells whether another one is worse than it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gisttools.common import FinishedRun, MissingError, ParameterError, results_folder
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.folders import as_run, find_run, finished_runs, open_run, told_parameters
from gisttools.workflow.inputs import origin_of, tasks_of
from gisttools.workflow.params import LATEST, EvaluateParams, check_params
from gisttools.workflow.places import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gisttools.evaluation import Comparison

_ROUNDING = 1e-6  # of a score that was kept, and one that is computed again
MODEL = "model"  # the folder of an evaluate run that holds what is to be used
# of the earlier evaluation: which models it scored, and what is not asked here
_OTHERWISE = {"model", "model_revision", "baseline", "baseline_revision", "references", "candidates", "cross_entropy"}


def model_folder(name: str) -> Path:
    """The folder of a model to be used: a folder as it is; of an evaluate run, or a report of one, its `model/`;
    "latest": of the newest evaluate run that has one.

    Raises:
        MissingError: there is none.
        DataError: the run failed.
    """
    if name == LATEST:
        return _latest().folder / MODEL
    if as_run(name) is None:
        folder = resolve(name)
        if not folder.is_dir():
            raise MissingError(f"There is no model folder and no run {name!r}. See `gisttools runs evaluate`.")
        return folder
    run = open_run(name)
    holders = (
        [run, *(open_run(parent) for parent in run.manifest.get("parents", []))] if run.verb == "report" else [run]
    )
    for holder in holders:
        if (holder.folder / MODEL).is_dir():
            return holder.folder / MODEL
    raise MissingError(f"{run.id} left no folder {MODEL}/. Name an evaluate run that did, or a model folder.")


def _latest() -> FinishedRun:
    """The newest evaluate run that left a model to be used; a check leaves none. Raises MissingError."""
    for run in reversed(finished_runs("evaluate")):
        if run.ok and (run.folder / MODEL).is_dir():
            return run
    raise MissingError(f"No evaluate run in {results_folder()} left a model. Run a recipe first: labelled.")


def model_named(name: str) -> str:
    """What `gisttools.models.open_model` opens for a name: as `model_folder` of a run and of "latest"; a folder, an
    embedded model and a name of the hub as they are.

    Raises:
        MissingError, DataError: as `model_folder`.
    """
    if name == LATEST or as_run(name) is not None:
        return str(model_folder(name))
    folder = resolve(name)
    return str(folder) if folder.is_dir() else name


@dataclass(frozen=True, kw_only=True)
class Checked:
    """How a model does on a task, compared with the one of an earlier run.

    Attributes:
        task: its name.
        row: the comparison, of the model with the earlier one.
        word: `worse`: it is shown to be worse, and the loss is larger than allowed; `open`: a larger loss than allowed
            is not ruled out; `held`: it is.
    """

    task: str
    row: Comparison
    word: Literal["worse", "open", "held"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """How a model does, compared with the one of an earlier run.

    Attributes:
        run: the evaluate run that was made (or had been).
        against: the earlier evaluate run, and `before`, its tuned model.
        tasks: how the model does on each task, guards last.
        notes: what a reader must know, such as that the test texts changed since the earlier run.
    """

    run: FinishedRun
    against: FinishedRun
    before: str
    tasks: list[Checked]
    notes: list[str]


def check_against(model: str, against: str, allowed_loss: float) -> Check:
    """Evaluate a model on what an evaluate run scored, with that run's tuned model as the baseline.

    Args:
        model: as the parameter `model` of `4_evaluate`.
        against: an evaluate run: its id or the beginning of it, its folder; "latest", the newest that left a model.
        allowed_loss: in points.

    Raises:
        MissingError: there is no such run.
        ParameterError: `against` is no evaluate run, or the loss is negative.
        DataError: either model was trained on texts that it would be tested on.
        GistError: as the evaluation.
    """
    import pandas as pd

    from gisttools.evaluation import read_comparisons

    if not allowed_loss >= 0:
        raise ParameterError(f"allowed_loss is {allowed_loss} points; give 0 or more, such as 0.5.")
    run = _latest() if against == LATEST else open_run(str(find_run(against)))
    if run.verb != "evaluate":
        raise ParameterError(f"{run.id} is a {run.verb} run. Name an evaluate run: gisttools runs evaluate.")
    told = told_parameters(run)
    before = told["model"] if isinstance(told["model"], str) else told["model"][0]
    given = {name: value for name, value in told.items() if name not in _OTHERWISE}
    given |= {"model": model, "baseline": before, "baseline_revision": told["model_revision"], "candidates": False}
    _refuse_trained_on(before, check_params("evaluate", given))
    done = run_notebook("evaluate", given)
    rows, earlier = (read_comparisons(pd.read_parquet(r.artefact("comparison.parquet"))) for r in (done, run))
    # clustering of texts that are classified too is a second look at them
    looked = [row for row in rows if row.task_type != "Clustering"] or rows
    ordered = sorted(looked, key=lambda row: not row.is_target)
    found = [Checked(task=row.task, row=row, word=judged(row, allowed_loss)) for row in ordered]
    # of several models the earlier scores are means, and only the first is held against the new one
    notes = _changed(looked, earlier, run) if isinstance(told["model"], str) else []
    return Check(run=done, against=run, before=before, tasks=found, notes=notes)


def _refuse_trained_on(before: str, params: EvaluateParams) -> None:
    """Raises DataError where the earlier model was trained on texts of the tasks as they are now, which the evaluation
    asks of the new one alone."""
    from gisttools.evaluation import Findings, Variant, overlap_with

    texts = origin_of(before).training_texts
    if texts and not params.allow_overlap:
        sources, _ = tasks_of(params)
        overlap_with(sources, [Variant(name=before, roles=(), training_texts=texts)], Findings(), allow=False)


def _changed(rows: Sequence[Comparison], earlier: Sequence[Comparison], run: FinishedRun) -> list[str]:
    """On which tasks the earlier model has another score now: their texts are others, or the machine or versions."""
    scores = {(row.task, row.subset): row.tuned for row in earlier}
    found = []
    for row in rows:
        was = scores.get((row.task, row.subset))
        if was is not None and abs(was - row.base) > _ROUNDING:
            found.append(
                f"{row.task}: the model of {run.id} scored {100 * was:.1f} in that run and {100 * row.base:.1f} now, "
                "so the texts, or what computes the scores, changed since. Both models were scored as of now."
            )
    return found


def judged(row: Comparison, allowed_loss: float) -> Literal["worse", "open", "held"]:
    """Whether a loss is shown and larger than allowed, not ruled out, or ruled out."""
    allowed = allowed_loss / 100
    if row.high < 0 and row.difference < -allowed:
        return "worse"
    return "held" if row.low > -allowed else "open"
