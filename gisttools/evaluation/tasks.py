"""Finds the tasks of an evaluation: how to make each one afresh, and whether the tuning is meant to help it.

mteb tasks are named by name, by benchmark (`MTEB(eng, v2)`), or by what they are (`type:STS language:deu`).
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import mteb
from mteb.abstasks.aggregated_task import AbsTaskAggregate

from gisttools.common import DataError, MissingError, ParameterError, did_you_mean, problems
from gisttools.data import FileOptions, eval_task, load_task, local_tasks, mteb_task, parse_eval_name, task_names

if TYPE_CHECKING:
    from mteb import AbsTask

_CONDITIONS = ("type", "language")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selected:
    """A task that a name stands for. `group`: the task that mteb makes of this one and others, such as
    CQADupstackRetrieval. `told`: it was named itself, not as one of several."""

    name: str
    make: Callable[[], AbsTask]
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


def _parts(task: AbsTask, *, told: bool) -> list[Selected]:
    """The tasks that mteb puts together to one: each is scored, and averages count them as that one."""
    return [_restricted(part, told=told, group=task.metadata.name) for part in task.tasks]


def _restricted(task: AbsTask, *, told: bool, group: str | None = None) -> Selected:
    name, splits, subsets = task.metadata.name, list(task.eval_splits), list(task.hf_subsets)
    if "test" in splits:
        splits = ["test"]
    whole = subsets == list(task.metadata.hf_subsets)
    return Selected(
        name, lambda: mteb.get_task(name, eval_splits=splits, hf_subsets=None if whole else subsets), group, told
    )


def _by_conditions(told: str) -> list[AbsTask]:
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


DEFAULT_GUARD = "STSBenchmark"
_SECONDS = 5.0  # in which the hub must answer, to be taken as reachable


@dataclass(frozen=True)
class TaskSource:
    """How to make a task afresh: tasks hold random state, so every model gets its own copy."""

    name: str
    make: Callable[[], AbsTask]
    is_target: bool
    train_source: str  # what a training table names as its source if it used this task's train split
    is_mteb: bool = True  # one of mteb's own tasks
    group: str | None = None  # the task of which mteb makes this one a part; averages count it as one
    second_look: bool = False  # another metric on the test texts of a target


def task_sources(
    tasks: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    *,
    subsets: Sequence[str] | None = None,
    guards: Sequence[str] = (),
    reading: FileOptions | None = None,
) -> list[TaskSource]:
    """Tasks of mteb, and folders of the user's own files (`gisttools.data.folder_tasks`).

    Args:
        tasks: mteb tasks the tuning is meant to help, as in `gisttools.evaluation.select_tasks`.
        files: folders and files, as `folder` or `folder#kind`; each gives one task that the tuning is meant to help,
            and classification also a clustering task.
        subsets: language subsets of multilingual tasks, e.g. ["en"]; all if None.
        guards: mteb tasks that the tuning must not hurt, named likewise.
        reading: how labelled texts of `files` are read, and the share of them to score where there is no test file.

    Raises:
        MissingError: mteb knows no task of a name, a folder is not there, or nothing was asked for.
        DataError: two of them have the same name, or a folder's files are wrong.
        ParameterError: a condition is unknown.
    """
    found = []
    for names, is_target in ((tasks, True), (guards, False)):
        for selected in select_tasks(names, subsets=subsets):
            if is_target or selected.told or selected.name not in {source.name for source in found}:
                source = TaskSource(selected.name, selected.make, is_target, selected.name, group=selected.group)
                found.append(source)
    for folder in files:
        path = str(parse_eval_name(folder)[0])
        for i, task in enumerate(local_tasks(folder, reading=reading)):
            # the first is what the files are for; clustering next to classification is a second look at the same texts
            made = partial(_local_task, folder, i, reading)
            found.append(TaskSource(task.metadata.name, made, i == 0, path, False, second_look=i > 0))
    if not found:
        raise MissingError("Nothing to evaluate: give tasks (mteb names) or files (folders).")
    twice = [f"{name} ({n} times)" for name, n in Counter(s.name for s in found).items() if n > 1]
    if twice:
        fix = "Name each task once; a folder's task is called like the folder: rename one."
        raise DataError(problems("Tasks of the same name cannot be distinguished:", twice, fix))
    return found


def _local_task(folder: str | Path, number: int, reading: FileOptions | None) -> AbsTask:
    return local_tasks(folder, reading=reading)[number]


def default_guards(tasks: Sequence[str] = ()) -> tuple[list[str], str | None]:
    """The guard of an evaluation that names none, and a note where there is none.

    It is STSBenchmark, unless that is a target or its data is out of reach: offline without it in the hub's cache, or
    the hub does not answer within seconds.
    """
    if DEFAULT_GUARD in tasks:
        return [], f"{DEFAULT_GUARD} is a target, so no guard was run."
    try:
        task = eval_task(DEFAULT_GUARD)
        if not offline():
            from huggingface_hub import HfApi

            about = task.metadata.dataset
            HfApi().dataset_info(about["path"], revision=about["revision"], timeout=_SECONDS)
        load_task(task)
    except Exception:  # what the hub's client raises differs with its version
        log.debug("%s cannot be loaded", DEFAULT_GUARD, exc_info=True)
        told = f"{DEFAULT_GUARD}, the usual guard, is out of reach here: what the tuning cost elsewhere is not known."
        return [], told
    return [DEFAULT_GUARD], None


def was_trained_on(train_source: str, trained_on: Sequence[str]) -> bool:
    """Whether a training table names this task (or the one of which it is the cleaned `.v2`), or a file of this folder,
    as a source."""
    if train_source.removesuffix(".v2") in {source.removesuffix(".v2") for source in trained_on}:
        return True
    folder = Path(train_source)
    return any(folder.resolve() in (Path(s).resolve(), Path(s).resolve().parent) for s in trained_on if folder.exists())


def offline() -> bool:
    """Is the hub not to be asked?"""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
