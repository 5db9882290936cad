"""Makes runs in Python, without a notebook: reports, curves and leaderboards read them like any other run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gisttools.common import digest, results_folder
from gisttools.workflow.params import check_params
from gisttools.workflow.parents import parents_of
from gisttools.workflow.session import Run


def new_run(verb: str, parameters: Mapping[str, Any]) -> Run:
    """A run in a new folder among the results; write into `run.folder`, then call `run.finish(summary, headline)`.

        run = new_run("finetune", {"triplets": ["triplets.parquet"], "student": "embedded:wordllama-256"})
        trained = finetune(loss, run.path("model"))
        run.finish(trained.summary(made_from), headline=trained.headline())

    Args:
        verb: what was done, by the name of its notebook: `finetune`, `evaluate`, ...
        parameters: those of that notebook that say what is done; others have their defaults. Runs are named by folder.

    Raises:
        ParameterError: unknown names, wrong types, values out of range.
        MissingError, DataError: a run that is named is not there, or failed.
    """
    params, started = check_params(verb, parameters), datetime.now(UTC)
    spec = digest(json.dumps([verb, params.model_dump(), started.isoformat()]), 32)
    folder = results_folder() / f"{verb}-{started:%Y%m%dT%H%M%SZ}-{spec[:8]}"
    folder.mkdir(parents=True)
    return Run(verb=verb, params=params, folder=folder, spec=spec, started=started, parents=parents_of(params))
