"""Recipes: a YAML file that chains notebooks, each step with its parameters; `$step` stands for the run of a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gisttools.errors import MissingError, ParameterError, did_you_mean, problems
from gisttools.workflow.params import VERBS


class Step(BaseModel):
    """One notebook with its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    verb: str
    about: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class Recipe(BaseModel):
    """Steps in the order in which they run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    about: str = ""
    steps: list[Step] = Field(min_length=1)


def read_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a recipe.

    Args:
        path: the YAML file.
        overrides: {"step.parameter": value}.

    Raises:
        MissingError: no such file.
        ParameterError: it is not a recipe, a step refers to one that does not stand before it, or an override names
            no step; all problems at once.
    """
    if not path.is_file():
        raise MissingError(f"There is no recipe {path}. See notebooks/recipes/.")
    try:
        recipe = Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        lines = (
            [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            if isinstance(error, ValidationError)
            else [str(error)]
        )
        raise ParameterError(problems(f"{path} is not a recipe:", lines)) from None
    found, known, steps = [], [], {s.name: s for s in recipe.steps}
    for name, value in (overrides or {}).items():  # first, so that their references are checked as well
        step_name, _, parameter = name.partition(".")
        if step_name in steps and parameter:
            steps[step_name].parameters[parameter] = value
        else:
            found.append(
                f"-p {name}: say <step>.<parameter>; the steps are {', '.join(steps)}.{did_you_mean(step_name, steps)}"
            )
    for step in recipe.steps:
        if step.verb not in VERBS:
            found.append(
                f"step {step.name!r}: there is no verb {step.verb!r}, only {', '.join(VERBS)}."
                + did_you_mean(step.verb, VERBS)
            )
        if step.name in known:
            found.append(f"two steps are called {step.name!r}")
        found += [
            f"step {step.name!r} refers to ${ref}, but no step of that name stands before it"
            for ref in references(step)
            if ref not in known
        ]
        known.append(step.name)
    if found:
        raise ParameterError(problems(f"{path}: {len(found)} problem(s)", found))
    return recipe


def references(step: Step) -> list[str]:
    """Names of the steps that this step's parameters refer to."""
    values = [v for value in step.parameters.values() for v in (value if isinstance(value, list) else [value])]
    return [v[1:] for v in values if isinstance(v, str) and v.startswith("$")]


def fill(step: Step, runs: Mapping[str, str]) -> dict[str, Any]:
    """The step's parameters with each `$name` replaced by that step's run id."""

    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(v) for v in value]
        return runs[value[1:]] if isinstance(value, str) and value.startswith("$") else value

    return {name: one(value) for name, value in step.parameters.items()}
