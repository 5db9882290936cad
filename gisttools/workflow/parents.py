"""Tells which runs a notebook's parameters name; "latest" and an empty list are resolved to those they name now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gisttools.common import MANIFEST, MissingError, read_run, results_folder
from gisttools.workflow.folders import RUN_ID, as_run, finished_runs, latest, open_run, run_folder, told_parameters
from gisttools.workflow.params import CompareParams, Params


def parents_of(params: Params) -> list[str]:
    """Ids of the runs that the parameters name.

    Raises:
        MissingError: a run is not there, or is unfinished.
        DataError: a run failed.
    """
    values = [v for value in named(params).values() for v in (value if isinstance(value, list) else [value])]
    found = {}
    for value in values:
        if isinstance(value, str) and value:
            folder = run_folder(value) if RUN_ID.fullmatch(Path(value).name) else as_run(value)
            if folder is not None:
                found[open_run(folder).id] = folder
    return list(found)


def named(params: Params) -> dict[str, Any]:
    """The parameters as a dict; `evaluation = "latest"` and `evaluations = []` name the runs they stand for now."""
    values = params.model_dump()
    if values.get("evaluation") == "latest":
        values["evaluation"] = latest("evaluate")
    if values.get("evaluations") == []:
        values["evaluations"] = _to_compare() if isinstance(params, CompareParams) else evaluations_by_size()
    return values


def _to_compare() -> list[str]:
    from gisttools.workflow.evaluations import contenders_to_compare

    return list(dict.fromkeys(contender.evaluation for contender in contenders_to_compare()))


def evaluations_by_size() -> list[str]:
    """Ids of the newest evaluate run of a finetune run with a limit, and of all that differ from it in limit and seeds
    alone, oldest first; of one limit and seeds the newest.

    Raises:
        MissingError: there is none.
    """
    own = ("limit", "limit_seed", "seed")
    found: dict[str, dict[tuple, str]] = {}
    for run in finished_runs("evaluate"):
        told = told_parameters(run)
        model = as_run(told.pop("model"))
        if not run.ok or model is None or not (model / MANIFEST).exists():
            continue
        training = read_run(model)
        given = told_parameters(training)
        if training.verb == "finetune" and given["limit"] is not None:
            size = tuple(given.pop(name) for name in own)
            alike = json.dumps([told, given], sort_keys=True)
            found[alike] = found.pop(alike, {}) | {size: run.id}  # the newest kind last
    if not found:
        raise MissingError(
            f"No finished evaluate run in {results_folder()} is of a finetune run with a limit. Name evaluations, or "
            "run the recipe that makes them: gisttools run cost_to_gain.yaml."
        )
    return list(found[next(reversed(found))].values())


def evaluations_of(names: list[str]) -> list[str]:
    """The evaluate runs that a notebook's `evaluations` name."""
    return names or evaluations_by_size()
