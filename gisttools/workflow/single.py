"""Runs a single notebook with workers: its long part is shared out before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gisttools.common import FinishedRun, MissingError, ParameterError
from gisttools.workflow.cluster import open_executor
from gisttools.workflow.execute import Rerun, run_notebook
from gisttools.workflow.machine import surroundings
from gisttools.workflow.params import SHARED, check_params
from gisttools.workflow.permission import with_permission
from gisttools.workflow.recipes import Step
from gisttools.workflow.schedule import run_steps
from gisttools.workflow.shards import share_out
from gisttools.workflow.spec import settled


def run_single(
    verb: str,
    parameters: Mapping[str, Any],
    *,
    rerun: Rerun = "only-missing",
    workers: int | None = None,
    cluster: str | None = None,
) -> FinishedRun:
    """Run one notebook; returns the finished run. Raises as `run_notebook` and `open_executor`.

    Args:
        verb, parameters, rerun: as in `run_notebook`.
        workers, cluster: where its scores (`evaluate`) or guide vectors (`finetune`, `convert`, `synthesize` on
            documents) are made side by side beforehand. On a cluster the notebook itself runs on a worker.
    """
    if workers in (None, 1) and cluster is None:
        return run_notebook(verb, parameters, rerun=rerun)
    if cluster is None and verb not in SHARED:
        raise ParameterError(
            f"--workers is for recipes and for {', '.join(SHARED)}; {verb} has nothing to share out. Leave it out."
        )
    told = settled(check_params(verb, parameters), tell=True)
    parameters = told.model_dump(include={*parameters, *told.changed()})
    if rerun in ("only-missing", "only-cache"):
        try:
            return run_notebook(verb, parameters, rerun="only-cache")
        except MissingError:
            if rerun == "only-cache":
                raise
    parameters = with_permission(verb, parameters)
    with open_executor(workers, cluster) as executor:
        assert executor is not None  # there are several workers, or a cluster
        if cluster is not None:
            return run_steps([Step(name=verb, verb=verb, parameters=dict(parameters))], executor, rerun=rerun)[0]
        with surroundings() as place:
            share_out(check_params(verb, parameters), executor, place)
    return run_notebook(verb, parameters, rerun=rerun)
