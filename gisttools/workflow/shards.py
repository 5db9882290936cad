"""A single notebook with workers: what can be shared out of it is done side by side before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gisttools.common import MissingError, ParameterError
from gisttools.workflow.execute import Rerun, run_notebook
from gisttools.workflow.executors import open_executor
from gisttools.workflow.params import check_params
from gisttools.workflow.recipe import Step
from gisttools.workflow.step_graph import run_steps
from gisttools.workflow.surroundings import surroundings

SHARED = ("evaluate", "finetune", "convert")


def run_single(
    verb: str,
    parameters: Mapping[str, Any],
    *,
    rerun: Rerun = "only-missing",
    workers: int | None = None,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Run one notebook; returns its manifest. Raises as `run_notebook` and `open_executor`.

    Args:
        verb, parameters, rerun: as in `run_notebook`.
        workers, cluster: where its scores (`evaluate`) or guide vectors (`finetune`, `convert`) are made side by side
            beforehand. On a cluster the notebook itself runs on a worker.
    """
    if workers in (None, 1) and cluster is None:
        return run_notebook(verb, parameters, rerun=rerun)
    if cluster is None and verb not in SHARED:
        raise ParameterError(
            f"--workers is for recipes and for {', '.join(SHARED)}; {verb} has nothing to share out. Leave it out."
        )
    if rerun in ("only-missing", "only-cache"):
        try:
            return run_notebook(verb, parameters, rerun="only-cache")
        except MissingError:
            if rerun == "only-cache":
                raise
    params = check_params(verb, parameters)
    with open_executor(workers, cluster) as executor:
        if verb in SHARED:
            with surroundings(shared=cluster is not None) as place:
                if verb == "evaluate":
                    from gisttools.workflow.score_shards import share_scores  # these load torch

                    share_scores(parameters, executor, place)
                else:
                    from gisttools.workflow.guide_shards import share_guide_vectors

                    share_guide_vectors(params, executor, place)
        if cluster is not None:
            step = Step(name=verb, verb=verb, parameters=dict(parameters))
            return run_steps([step], executor, rerun=rerun)[0]
    return run_notebook(verb, parameters, rerun=rerun)
