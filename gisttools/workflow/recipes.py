"""Reads recipes: YAML files that chain notebooks, each step with its parameters; `$step` is the run of a step.

A step may have a `matrix`, parameter -> list of values, and becomes one step for each combination: `finetune` with
`matrix: {limit: [100, 250], seed: [0, 1]}` becomes `finetune[limit=100,seed=0]` and three more, the last axis turning
fastest. A later step that says `model: $finetune` becomes as many, one each; where the reference stands in a list, as
in `evaluations: [$evaluate]`, the list gets all of them. A step may have `resources`, such as `{GPU: 1}`: what its run
must have to itself where several run at once.

A recipe may have inputs: names for what its users set most, each for one or several `step.parameter`, so that
`gisttools run labelled --data tickets.csv` need not say a file three times.

A recipe may have profiles, say a `smoke` one that shows in minutes that all of it works: `step.parameter: value` lines
that replace parameters, and `skip`, a list of steps to leave out.

Combinations of a matrix that can only be the same are done once: where a parameter of the matrix does nothing next to
the others (`gisttools.workflow.idle`), as a margin without a guide, its values are one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from gisttools.common import MissingError, ParameterError, YamlProblem, did_you_mean, problems, read_yaml, value_name
from gisttools.workflow.idle import idle_names, idle_needs
from gisttools.workflow.params import PERMISSIONS, VERBS, as_declared

# (step that has the axis, parameter) -> (number of the value, value)
Combination = dict[tuple[str, str], tuple[int, Any]]


class Step(BaseModel):
    """One notebook with its parameters; with a matrix, one for each combination of its values. `profile` is set when a
    recipe is read: the one that changed this step."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    verb: str
    about: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    matrix: dict[str, list[Any]] = Field(default_factory=dict)
    profile: str = ""  # the profile that changed it, if one did
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class Input(BaseModel):
    """A name for parameters that are set together.

    `sets`: `step.parameter` that get the value; where one is a list, a single value becomes a list of one, and where
    none is, a list of one its value. `clears`:
    those that become null, such as the revision of the model that was there before. `default`: where nothing is told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    about: str = ""
    sets: list[str] = Field(min_length=1)
    clears: list[str] = Field(default_factory=list)
    default: Any = None


class Recipe(BaseModel):
    """Steps in the order in which they run.

    `inputs`: by name. `profiles`: name -> {"step.parameter": value, "skip": [step]}. `publish_to`: the fsspec URL that
    runs are published to; `--publish-to` and `$GISTTOOLS_PUBLISH_TO` go before it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    about: str = ""
    publish_to: str | None = None
    _notes: list[str] = PrivateAttr(default_factory=list)
    inputs: dict[str, Input] = Field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    steps: list[Step] = Field(min_length=1)

    @property
    def notes(self) -> list[str]:
        """What is to be said of its steps before they run, such as combinations that were left out."""
        return self._notes


def read_recipe(path: Path, overrides: Mapping[str, Any] | None = None, *, profile: str | None = None) -> Recipe:
    """Read and check a recipe; steps with a matrix come back as one step a combination.

    Args:
        path: the YAML file.
        overrides: {"step.parameter": value}, or {input: value}, or a permission (`send_texts`) for all steps; they win
            over the profile, and a step's parameter over an input. They hold for all combinations of a step; a
            parameter of its matrix gets other values.
        profile: name of one of its profiles; the steps it skips are not in the result.

    Raises:
        MissingError: no such file.
        ParameterError: it is not a recipe, there is no such profile, a step refers to one that does not stand before
            it or is skipped, or a profile or an override names no step and no input; all problems at once.
    """
    recipe = _recipe_in(path)
    told = recipe.profiles.get(profile or "", {})
    skipped = _skipped(told)
    found = [*_input_problems(recipe), *_profile_problems(recipe, profile)]
    if found:
        raise ParameterError(problems(f"{path}: {len(found)} problem(s)", found))
    given = {name: value for name, value in (overrides or {}).items() if name in recipe.inputs}
    single = _spelled_out(recipe, overrides or {}, skipped)
    # first, so that their references are checked as well
    defaults = {name: one.default for name, one in recipe.inputs.items() if one.default is not None}
    _set_inputs(recipe, defaults)
    found += _set_parameters(recipe, {name: value for name, value in told.items() if name != "skip"}, {})
    _set_inputs(recipe, given)
    found += _set_parameters(recipe, {}, single)
    found += [f"-p {name}: the profile skips this step" for name in single if name.split(".")[0] in skipped]
    steps = [step for step in recipe.steps if step.name not in skipped]
    found += _step_problems(steps, skipped)
    if found:
        raise ParameterError(problems(f"{path}: {len(found)} problem(s)", found))
    return _whole(recipe, steps, profile or "")


def expand(steps: Iterable[Step]) -> list[Step]:
    """The steps with each matrix spelled out. Every `$name` must refer to a step that stands before.

    A step that refers to several expanded steps gets the combinations that agree on the axes they share: one that names
    `$finetune` and `$evaluate` gets each training with its own evaluation.
    """
    made: dict[str, list[tuple[Combination, Step]]] = {}
    for step in steps:
        made[step.name] = []
        for own in _own_combinations(step):
            parameters = step.parameters | {name: value for (_, name), (_, value) in own.items()}
            followed = [v[1:] for v in parameters.values() if is_reference(v)]
            for combination in _joined(made[name] for name in dict.fromkeys(followed)):
                whole = combination | own
                filled = {name: _refer(value, whole, made) for name, value in parameters.items()}
                told = {"name": step.name + _label(whole), "parameters": filled, "matrix": {}}
                made[step.name].append((whole, step.model_copy(update=told)))
    return [step for several in made.values() for _, step in several]


def _own_combinations(step: Step) -> list[Combination]:
    """The combinations of a step's matrix, without axes that do nothing in them; of those that are the same, one."""
    found: dict[str, Combination] = {}
    for choice in product(*(list(enumerate(values)) for values in step.matrix.values())):
        own = {(step.name, name): picked for name, picked in zip(step.matrix, choice, strict=True)}
        given = {name: value for (_, name), (_, value) in own.items()}
        nothing = without_effect(step.verb, step.parameters | given, step.matrix)
        does = {n: _meant(step.verb, n, None if n in nothing else v, idle=n in nothing) for n, v in given.items()}
        kept = {axis: picked for axis, picked in own.items() if axis[1] not in nothing}
        found.setdefault(repr(does), kept)
    return list(found.values())


def _meant(verb: str, name: str, value: Any, *, idle: bool) -> Any:
    """A value as its parameter takes it; its default, where it does nothing or is equal to that."""
    field = VERBS[verb].model_fields.get(name) if verb in VERBS else None
    if field is None:
        return value
    meant = as_declared(value, field.annotation)
    return field.default if idle or meant == field.default else meant


def without_effect(verb: str, given: Mapping[str, Any], axes: Iterable[str]) -> set[str]:
    """Which of these parameters do nothing next to the others, as a margin without a guide, and are not the default."""
    nothing: set[str] = set()
    model, axes = VERBS.get(verb), set(axes)
    if model is not None:
        known = model.model_fields
        given = {n: as_declared(v, known[n].annotation) if n in known else v for n, v in given.items()}
    while model is not None and axes:
        told = {name: value for name, value in given.items() if name not in nothing}
        try:
            idle = idle_names(verb, model.model_construct(**told)) & axes
        except (
            TypeError,
            AttributeError,
            IndexError,
        ):  # a value of a wrong kind, which is told where parameters are checked
            return set()
        if not idle:
            break
        nothing |= idle
    return nothing


def _collapsed_note(step: Step) -> list[str]:
    """What is said of combinations that are done once: how many, and which parameters do nothing in them."""
    left = math.prod(map(len, step.matrix.values())) - len(_own_combinations(step))
    if not left:
        return []
    idle: set[str] = set()
    for choice in product(*step.matrix.values()):
        given = dict(zip(step.matrix, choice, strict=True))
        idle |= without_effect(step.verb, step.parameters | given, step.matrix)
    why = "; ".join(f"{name} needs {' or '.join(idle_needs(step.verb, name))}" for name in step.matrix if name in idle)
    several = "combination is" if left == 1 else "combinations are"
    return [f"{step.name}: {left} {several} left out, being the same as others. {why}."]


def _whole(recipe: Recipe, steps: Sequence[Step], profile: str) -> Recipe:
    """The recipe with these steps spelled out, those that the profile changes marked, and its notes."""
    changed = _changed_by_profile(recipe, recipe.profiles.get(profile, {}))
    steps = [step.model_copy(update={"profile": profile}) if step.name in changed else step for step in steps]
    whole = recipe.model_copy(update={"steps": expand(steps)})
    whole._notes = [note for step in steps for note in _collapsed_note(step)]
    return whole


def _changed_by_profile(recipe: Recipe, told: Mapping[str, Any]) -> set[str]:
    """The steps that a profile changes in more than their seeds."""
    steps = {step.name: step for step in recipe.steps}
    found = set()
    for key in told:
        step, _, parameter = key.partition(".")
        if step in steps and parameter and not parameter.endswith("seed"):
            found.add(step)
    return found


def references(step: Step) -> list[str]:
    """Names of the steps that this step's parameters refer to."""
    values = [*step.parameters.values(), *(v for several in step.matrix.values() for v in several)]
    single = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return [v[1:] for v in single if is_reference(v)]


def fill(step: Step, runs: Mapping[str, str]) -> dict[str, Any]:
    """The step's parameters with each `$name` replaced by that step's run id."""

    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(v) for v in value]
        return runs[value[1:]] if is_reference(value) else value

    return {name: one(value) for name, value in step.parameters.items()}


def is_reference(value: Any) -> bool:
    """Whether a parameter's value stands for the run of a step."""
    return isinstance(value, str) and value.startswith("$")


def set_parameter(step: Step, name: str, value: Any) -> None:
    """Set a parameter of all of a step's combinations; where it is an axis, its values: a list, or the only one."""
    if name in step.matrix:
        step.matrix[name] = value if isinstance(value, list) else [value]
    else:
        step.parameters[name] = value


def matrix_problems(step: Step) -> list[str]:
    """What is wrong with a step's matrix."""
    found = []
    for name, values in step.matrix.items():
        twice = [repr(v) for i, v in enumerate(values) if v in values[:i]]
        if not values:
            found.append(f"step {step.name!r}: matrix {name} has no values")
        if twice:
            found.append(f"step {step.name!r}: matrix {name} names {', '.join(dict.fromkeys(twice))} more than once")
        if name in step.parameters:
            found.append(f"step {step.name!r}: {name} stands in parameters and in matrix; leave one of them out")
    return found


def _recipe_in(path: Path) -> Recipe:
    if not path.is_file():
        raise MissingError(f"There is no recipe {path}. See notebooks/recipes/.")
    try:
        return Recipe.model_validate(read_yaml(path))
    except YamlProblem as error:
        lines = [str(error)]
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    raise ParameterError(problems(f"{path} is not a recipe:", lines))


def _spelled_out(recipe: Recipe, overrides: Mapping[str, Any], skipped: Sequence[str]) -> dict[str, Any]:
    """The overrides that are no inputs; a permission that names no step is one for all steps that know it."""
    found: dict[str, Any] = {}
    given = {name: value for name, value in overrides.items() if name not in recipe.inputs}
    for name in [n for n in given if n in PERMISSIONS]:
        value = given.pop(name)
        kept = [s for s in recipe.steps if s.name not in skipped and s.verb in VERBS]
        found |= {f"{s.name}.{name}": value for s in kept if name in VERBS[s.verb].model_fields}
    return found | given


def _set_parameters(recipe: Recipe, given: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[str]:
    """Set what a profile gives and then what overrides it; returns what is wrong with the latter."""
    steps, found = {s.name: s for s in recipe.steps}, []
    for name, value in {**given, **overrides}.items():
        step, _, parameter = name.partition(".")
        if step in steps and parameter:
            set_parameter(steps[step], parameter, value)
        elif name not in given:
            found.append(_unknown(name, recipe))
    return found


def _unknown(name: str, recipe: Recipe) -> str:
    """That a recipe has no such input, or no such step."""
    if "." in name:
        return f"-p {name}: {_no_such(name.split('.')[0], [s.name for s in recipe.steps])}"
    inputs = f"its inputs: {', '.join(recipe.inputs)}" if recipe.inputs else "it has none"
    steps = ", ".join(s.name for s in recipe.steps)
    return (
        f"{name}: recipe {recipe.name} has no input of that name; {inputs}.{did_you_mean(name, recipe.inputs)} "
        f"Or say -p <step>.<parameter>; the steps are {steps}."
    )


def _set_inputs(recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Set all that inputs stand for."""
    steps = {step.name: step for step in recipe.steps}
    for name, value in given.items():
        for place in recipe.inputs[name].clears:
            step, _, parameter = place.partition(".")
            set_parameter(steps[step], parameter, None)
        for place in recipe.inputs[name].sets:
            step, _, parameter = place.partition(".")
            wanted = _fitted(value, steps[step].verb, parameter)
            in_matrix = parameter in steps[step].matrix and isinstance(wanted, list) and wanted is not value
            set_parameter(steps[step], parameter, [wanted] if in_matrix else wanted)


def _fitted(value: Any, verb: str, parameter: str) -> Any:
    """A single value as a list of one where a parameter takes lists alone, and the other way round."""
    kind = VERBS[verb].model_fields[parameter].annotation
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    takes_lists = any(get_origin(k) is list for k in kinds)
    if not isinstance(value, list):
        return [value] if takes_lists and str not in kinds else value
    return value[0] if len(value) == 1 and not takes_lists else value


def _input_problems(recipe: Recipe) -> list[str]:
    """What is wrong with the inputs of a recipe, whoever sets them."""
    found, steps = [], {step.name: step for step in recipe.steps}
    for name, one in recipe.inputs.items():
        if "." in name:
            found.append(f"input {name!r}: a name has no dot")
        for place in [*one.sets, *one.clears]:
            step, _, parameter = place.partition(".")
            if step not in steps or not parameter:
                found.append(f"input {name!r}: {place}: {_no_such(step, steps)}")
            elif (verb := steps[step].verb) in VERBS and parameter not in VERBS[verb].model_fields:
                close = did_you_mean(parameter, VERBS[verb].model_fields)
                found.append(f"input {name!r}: {verb} has no parameter {parameter!r}.{close}")
            elif verb not in VERBS:
                found.append(f"step {step!r}: there is no verb {verb!r}, only {', '.join(VERBS)}.")
    return found


def _profile_problems(recipe: Recipe, profile: str | None) -> list[str]:
    """What is wrong with any profile, used or not, and whether the one asked for is there."""
    found, steps = [], [s.name for s in recipe.steps]
    if profile is not None and profile not in recipe.profiles:
        there = f"its profiles: {', '.join(recipe.profiles)}" if recipe.profiles else "it has none"
        found.append(f"there is no profile {profile!r}; {there}.{did_you_mean(profile, recipe.profiles)}")
    for name, told in recipe.profiles.items():
        skip = told.get("skip", [])
        if not isinstance(skip, list) or not all(isinstance(s, str) for s in skip):
            found.append(f"profile {name!r}: skip = {skip!r} must be a list of steps")
        elif not set(steps) - set(skip):
            found.append(f"profile {name!r} skips every step")
        found += [
            f"profile {name!r} skips {s!r}, which is no step; the steps are {', '.join(steps)}.{did_you_mean(s, steps)}"
            for s in _skipped(told)
            if s not in steps
        ]
        for key in told:
            step, _, parameter = key.partition(".")
            if key != "skip" and not (step in steps and parameter):
                found.append(f"profile {name!r}: {key}: {_no_such(step, steps)}")
            elif step in _skipped(told):
                found.append(f"profile {name!r} sets {key} and skips that step")
    return found


def _step_problems(steps: list[Step], skipped: list[str]) -> list[str]:
    found, known = [], []
    for step in steps:
        if step.verb not in VERBS:
            found.append(
                f"step {step.name!r}: there is no verb {step.verb!r}, only {', '.join(VERBS)}."
                + did_you_mean(step.verb, VERBS)
            )
        if step.name in known:
            found.append(f"two steps are called {step.name!r}")
        found += matrix_problems(step)
        found += [
            f"step {step.name!r} refers to ${ref}, "
            + ("which the profile skips" if ref in skipped else "but no step of that name stands before it")
            for ref in references(step)
            if ref not in known
        ]
        known.append(step.name)
    return found


def _skipped(told: Mapping[str, Any]) -> list[str]:
    skip = told.get("skip", [])
    return [s for s in skip if isinstance(s, str)] if isinstance(skip, list) else []


def _no_such(step: str, steps: Iterable[str]) -> str:
    return f"say <step>.<parameter>; the steps are {', '.join(steps)}.{did_you_mean(step, steps)}"


def _joined(tables: Iterable[Sequence[tuple[Combination, Step]]]) -> list[Combination]:
    """All ways to take one combination of each that agree with one another."""
    found: list[Combination] = [{}]
    for table in tables:
        found = [one | other for one in found for other, _ in table if _agree(one, other)]
    return found


def _agree(one: Combination, other: Combination) -> bool:
    return all(one[axis][0] == other[axis][0] for axis in one.keys() & other.keys())


def _refer(value: Any, whole: Combination, made: Mapping[str, list[tuple[Combination, Step]]]) -> Any:
    """A parameter's value with `$name` turned into the name of one expanded step; in a list, of all of them."""
    if isinstance(value, list):
        return [x for v in value for x in (_all_of(v[1:], made) if is_reference(v) else [v])]
    if is_reference(value):
        return next(f"${step.name}" for combination, step in made[value[1:]] if _agree(combination, whole))
    return value


def _all_of(name: str, made: Mapping[str, list[tuple[Combination, Step]]]) -> list[str]:
    return [f"${step.name}" for _, step in made[name]]


def _label(whole: Combination) -> str:
    """`[limit=100,seed=0]`; an axis is named with its step where two of them have the same name."""
    times = Counter(name for _, name in whole)
    said = [
        f"{name if times[name] == 1 else f'{step}.{name}'}={value_name(value)}"
        for (step, name), (_, value) in whole.items()
    ]
    return f"[{','.join(said)}]" if said else ""
