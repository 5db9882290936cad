"""mteb tasks by name, by benchmark (`MTEB(eng, v2)`), or by what they are (`type:STS`, `type:STS language:deu`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import mteb
from mteb.abstasks.aggregated_task import AbsTaskAggregate

from gisttools.common import MissingError, ParameterError, did_you_mean, problems
from gisttools.data import eval_task, mteb_task, task_names

_CONDITIONS = ("type", "language")


@dataclass(frozen=True)
class Selected:
    """A task that a name stands for. `group`: the task that mteb makes of this one and others, such as
    CQADupstackRetrieval. `told`: it was named itself, not as one of several."""

    name: str
    make: Callable[[], Any]
    group: str | None = None
    told: bool = True


def select_tasks(names: Sequence[str], *, subsets: Sequence[str] | None = None) -> list[Selected]:
    """The tasks that names stand for, in order; one that several benchmarks or conditions bring counts once.

    Args:
        names: of tasks; of benchmarks, such as `MTEB(eng, v1)`; or conditions that all must hold, `type:` one of mteb's
            types of tasks and `language:` an ISO 639-3 code, with a space between them. Only public tasks about text
            that no newer one has taken the place of are found by conditions.
        subsets: language subsets of multilingual tasks; all if None. A benchmark has its own, and so has `language:`.

    Raises:
        MissingError: no task or benchmark has a name, or conditions fit none.
        ParameterError: a condition is unknown.
    """
    found: list[Selected] = []
    for name in names:
        if name.partition(":")[0] in _CONDITIONS:
            made = [_restricted(task, told=False) for task in _by_conditions(name)]
        elif name in task_names() or "(" not in name:
            task = mteb_task(name)  # fails early, with the nearest names
            if isinstance(task, AbsTaskAggregate):
                made = _parts(task, told=False)
            else:
                made = [Selected(name, partial(eval_task, name, subsets))]
        else:
            made = _of_benchmark(name)
        seen = {selected.name for selected in found}
        found += [selected for selected in made if selected.told or selected.name not in seen]
    told = {selected.name for selected in found if selected.told}
    return [selected for selected in found if selected.told or selected.name not in told]


def _of_benchmark(name: str) -> list[Selected]:
    try:
        tasks = mteb.get_benchmark(name).tasks
    except KeyError:
        known = [benchmark.name for benchmark in mteb.get_benchmarks()]
        raise MissingError(
            f"mteb has no task and no benchmark {name!r}.{did_you_mean(name, [*known, *task_names()])} "
            "See mteb.get_benchmarks() for all names."
        ) from None
    made = []
    for task in tasks:
        made += _parts(task, told=False) if isinstance(task, AbsTaskAggregate) else [_restricted(task, told=False)]
    return made


def _parts(task: Any, *, told: bool) -> list[Selected]:
    """The tasks that mteb puts together to one: each is scored, and averages count them as that one."""
    return [_restricted(part, told=told, group=task.metadata.name) for part in task.tasks]


def _restricted(task: Any, *, told: bool, group: str | None = None) -> Selected:
    name, splits, subsets = task.metadata.name, list(task.eval_splits), list(task.hf_subsets)
    if "test" in splits:
        splits = ["test"]
    whole = subsets == list(task.metadata.hf_subsets)
    return Selected(
        name, lambda: mteb.get_task(name, eval_splits=splits, hf_subsets=None if whole else subsets), group, told
    )


def _by_conditions(told: str) -> list[Any]:
    from typing import get_args

    from mteb.abstasks.task_metadata import TaskType

    wrong, wanted = [], {}
    for condition in told.split():
        key, _, value = condition.partition(":")
        if key not in _CONDITIONS or not value:
            wrong.append(f"{condition!r} is no condition; write type:STS or language:deu")
        elif key == "type" and value not in get_args(TaskType):
            wrong.append(f"there is no type {value!r}.{did_you_mean(value, get_args(TaskType))}")
        else:
            wanted[key] = [value]
    if wrong:
        raise ParameterError(problems(f"tasks: {told!r} has {len(wrong)} problem(s)", wrong))
    try:
        tasks = list(
            mteb.get_tasks(
                task_types=wanted.get("type"),
                languages=wanted.get("language"),
                modalities=["text"],
                exclusive_modality_filter=True,
                exclude_aggregate=True,
            )
        )
    except (KeyError, ValueError) as error:
        first = str(error).strip("'\"").splitlines()[0]
        raise ParameterError(
            f"tasks: {told!r} cannot be looked up: {first}. Write an ISO 639-3 code, e.g. deu."
        ) from None
    if not tasks:
        raise MissingError(f"mteb has no task for {told!r}. Drop a condition, or name tasks.")
    return tasks
