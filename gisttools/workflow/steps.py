"""Running the steps of a recipe, each a notebook that reads what earlier ones wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gisttools.workflow.execute import Rerun
from gisttools.workflow.executors import open_executor
from gisttools.workflow.params import check_params
from gisttools.workflow.publishing import PUBLISH_TO
from gisttools.workflow.recipe import Recipe, fill, read_recipe
from gisttools.workflow.step_graph import run_steps
from gisttools.workflow.surroundings import environment


def run_recipe(
    path: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    profile: str | None = None,
    rerun: Rerun = "only-missing",
    workers: int | None = None,
    cluster: str | None = None,
) -> list[dict]:
    """Run the steps of a recipe, under one of its profiles if told; returns their manifests.

    Args:
        path, overrides, profile: as in `read_recipe`.
        rerun: as in `run_notebook`.
        workers, cluster: where steps that do not refer to one another run side by side, as in `open_executor`; None
            runs one after the other.

    Raises:
        ParameterError: the recipe or the parameters of any step are wrong (before anything runs).
        MissingError, EndpointError: there is no such cluster.
        RunFailed: steps failed; what does not refer to them is done, and what is done will not be done again.
    """
    recipe = checked_recipe(path, overrides=overrides, profile=profile)
    # an address told for this very command goes before that of the recipe
    told = {PUBLISH_TO: recipe.publish_to} if recipe.publish_to and not os.environ.get(PUBLISH_TO) else {}
    with environment(told), open_executor(workers, cluster) as executor:
        return run_steps(recipe.steps, executor, rerun=rerun)


def checked_recipe(path: Path, *, overrides: Mapping[str, Any] | None = None, profile: str | None = None) -> Recipe:
    """A recipe whose steps all have right parameters. Arguments and errors as of `run_recipe`."""
    recipe = read_recipe(path, overrides, profile=profile)
    for step in recipe.steps:  # all parameters first: nothing runs if a later step cannot
        check_params(step.verb, fill(step, {s.name: f"${s.name}" for s in recipe.steps}))
    return recipe
