"""Steps with a matrix: one step for each combination of values, and later steps that follow along.

`finetune` with `matrix: {limit: [100, 250], seed: [0, 1]}` becomes `finetune[limit=100,seed=0]` and three more, the
last axis turning fastest. A later step that says `model: $finetune` becomes as many, one each; where the reference
stands in a list, as in `evaluations: [$evaluate]`, the list gets all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gisttools.workflow.recipe import Step

# (step that has the axis, parameter) -> (number of the value, value)
Combination = dict[tuple[str, str], tuple[int, Any]]


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


def expand(steps: Iterable[Step]) -> list[Step]:
    """The steps with each matrix spelled out. Every `$name` must refer to a step that stands before.

    A step that refers to several expanded steps gets the combinations that agree on the axes they share: one that names
    `$finetune` and `$evaluate` gets each training with its own evaluation.
    """
    made: dict[str, list[tuple[Combination, Step]]] = {}
    for step in steps:
        made[step.name] = []
        for choice in product(*(list(enumerate(values)) for values in step.matrix.values())):
            own = {(step.name, name): picked for name, picked in zip(step.matrix, choice, strict=True)}
            parameters = step.parameters | {name: value for (_, name), (_, value) in own.items()}
            followed = [v[1:] for v in parameters.values() if is_reference(v)]
            for combination in _joined(made[name] for name in dict.fromkeys(followed)):
                whole = combination | own
                filled = {name: _refer(value, whole, made) for name, value in parameters.items()}
                told = {"name": step.name + _label(whole), "parameters": filled, "matrix": {}}
                made[step.name].append((whole, step.model_copy(update=told)))
    return [step for several in made.values() for _, step in several]


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
    said = [f"{name if times[name] == 1 else f'{step}.{name}'}={value}" for (step, name), (_, value) in whole.items()]
    return f"[{','.join(said)}]" if said else ""
