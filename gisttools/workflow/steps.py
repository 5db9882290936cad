"""Running the steps of a recipe, each a notebook that reads what earlier ones wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gisttools.workflow.execute import Rerun, run_notebook
from gisttools.workflow.params import check_params
from gisttools.workflow.recipe import fill, read_recipe


def run_recipe(
    path: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    profile: str | None = None,
    rerun: Rerun = "only-missing",
) -> list[dict]:
    """Run the steps of a recipe, under one of its profiles if told, one after the other; returns their manifests.

    Raises:
        ParameterError: the recipe or the parameters of any step are wrong (before anything runs).
        RunFailed: a step failed; earlier steps are done and will not be run again.
    """
    recipe = read_recipe(path, overrides, profile=profile)
    for step in recipe.steps:  # all parameters first: nothing runs if a later step cannot
        check_params(step.verb, fill(step, {s.name: f"${s.name}" for s in recipe.steps}))
    manifests, runs = [], {}
    for i, step in enumerate(recipe.steps, 1):
        title = f"[{i}/{len(recipe.steps)}] {step.name}" + (f": {step.about}" if step.about else "")
        manifests.append(run_notebook(step.verb, fill(step, runs), rerun=rerun, title=title))
        runs[step.name] = manifests[-1]["run_id"]
    return manifests
