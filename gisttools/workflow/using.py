"""Finds the model that a run left to be used, and tells whether another one is worse than it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gisttools.common import FinishedRun, MissingError, ParameterError, results_folder
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.folders import as_run, finished_runs, open_run, told_parameters
from gisttools.workflow.params import LATEST
from gisttools.workflow.places import resolve

if TYPE_CHECKING:
    from gisttools.evaluation import Comparison

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
        for run in reversed(finished_runs("evaluate")):
            if run.ok and (run.folder / MODEL).is_dir():
                return run.folder / MODEL
        raise MissingError(f"No evaluate run in {results_folder()} left a model. Run a recipe first: labelled.")
    if as_run(name) is None:
        folder = resolve(name)
        if not folder.is_dir():
            raise MissingError(f"There is no model folder and no run {name!r}.")
        return folder
    run = open_run(name)
    holders = (
        [run, *(open_run(parent) for parent in run.manifest.get("parents", []))] if run.verb == "report" else [run]
    )
    for holder in holders:
        if (holder.folder / MODEL).is_dir():
            return holder.folder / MODEL
    raise MissingError(f"{run.id} left no folder {MODEL}/. Name an evaluate run that did, or a model folder.")


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


def check_against(model: str, against: str, allowed_loss: float) -> tuple[FinishedRun, list[Checked]]:
    """Evaluate a model on what an evaluate run scored, with that run's tuned model as the baseline.

    Args:
        model: as the parameter `model` of `4_evaluate`.
        against: an evaluate run.
        allowed_loss: in points.

    Returns:
        The evaluate run that was made (or had been), and how the model does on each task, guards last.

    Raises:
        ParameterError: `against` is no evaluate run, or the loss is negative.
        GistError: as the evaluation.
    """
    import pandas as pd

    from gisttools.evaluation import read_comparisons

    if not allowed_loss >= 0:
        raise ParameterError(f"allowed_loss is {allowed_loss} points; give 0 or more, such as 0.5.")
    run = open_run(against)
    if run.verb != "evaluate":
        raise ParameterError(f"{run.id} is a {run.verb} run. Name an evaluate run: gisttools runs evaluate.")
    told = told_parameters(run)
    before = told["model"] if isinstance(told["model"], str) else told["model"][0]
    given = {name: value for name, value in told.items() if name not in _OTHERWISE}
    given |= {"model": model, "baseline": before, "baseline_revision": told["model_revision"], "candidates": False}
    done = run_notebook("evaluate", given)
    rows = read_comparisons(pd.read_parquet(done.artefact("comparison.parquet")))
    # clustering of texts that are classified too is a second look at them
    looked = [row for row in rows if row.task_type != "Clustering"] or rows
    ordered = sorted(looked, key=lambda row: not row.is_target)
    return done, [Checked(task=row.task, row=row, word=judged(row, allowed_loss)) for row in ordered]


def judged(row: Comparison, allowed_loss: float) -> Literal["worse", "open", "held"]:
    """Whether a loss is shown and larger than allowed, not ruled out, or ruled out."""
    allowed = allowed_loss / 100
    if row.high < 0 and row.difference < -allowed:
        return "worse"
    return "held" if row.low > -allowed else "open"
