"""Says which parameters of a recipe's steps do not go together, before anything runs: what one step leaves and another
one needs, by what is told of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gisttools.data import parse_eval_name, task_name
from gisttools.workflow.params import (
    ConvertParams,
    EvaluateParams,
    FinetuneParams,
    Params,
    ReadParams,
    SynthesizeParams,
)

Steps = Mapping[str, Params]


def step_problems(steps: Steps) -> list[str]:
    """What does not go together, a line each, by the checked parameters of all steps."""
    found: list[str] = []
    for name, params in steps.items():
        if isinstance(params, EvaluateParams):
            found += (f"{name}: {line}" for line in _evaluation(params, steps))
        if isinstance(params, FinetuneParams):
            found += (f"{name}: {line}" for line in _soup(params, steps))
        if isinstance(params, SynthesizeParams):
            found += (f"{name}: {line}" for line in _documents(name, params, steps))
    return list(dict.fromkeys(found))


def _named(value: str | list[str] | None, steps: Steps) -> dict[str, Params]:
    """The steps that a parameter names, as `$name`."""
    told = value if isinstance(value, list) else [value] if value else []
    names = [one.removeprefix("$") for one in told if one.startswith("$")]
    return {name: steps[name] for name in names if name in steps}


def _trainings(value: str | list[str] | None, steps: Steps) -> list[FinetuneParams]:
    return [params for params in _named(value, steps).values() if isinstance(params, FinetuneParams)]


def _documents(name: str, params: SynthesizeParams, steps: Steps) -> Iterator[str]:
    """A test on documents of which none are held back."""
    read = next(iter(_named(params.documents, steps).values()), None)
    if not isinstance(read, ReadParams) or read.test_share is not None:
        return
    held = "the documents are read with test_share null, so that none are held back to test on"
    if params.test_rows:
        yield f"test_rows is {params.test_rows}, but {held}"
    for other, its in steps.items():
        for key in ("files", "eval_files"):
            if f"${name}" in (getattr(its, key, None) or ()):
                yield f"{other} has ${name} among its {key}, but {held}"


def _evaluation(params: EvaluateParams, steps: Steps) -> Iterator[str]:
    if params.guards == [] and not (params.files or params.tasks):
        yield "files, tasks and guards are empty, so there is nothing to score"
    trained = _trainings(params.model, steps)
    alone = len(trained) == (1 if isinstance(params.model, str) else len(params.model))
    if trained and alone and "guide" in params.references and all(t.guide is None for t in trained):
        yield "references has 'guide', but the models are trained without one"
    students = list(dict.fromkeys(t.student for t in trained))
    if params.baseline is None and len(students) > 1:
        yield f"baseline is null, but the students differ: {', '.join(students)}. Name one, or evaluate each by itself"
    paths = list(dict.fromkeys(parse_eval_name(file)[0] for file in params.files if not file.startswith("$")))
    by_name: dict[str, list[str]] = {}
    for path in paths:
        by_name.setdefault(task_name(path), []).append(str(path))
    for name, alike in by_name.items():
        if len(alike) > 1:
            yield f"files {' and '.join(alike)} would give tasks of one name, {name}. Rename one"
    yield from _shares(params, paths, steps)


def _shares(params: EvaluateParams, paths: list[Path], steps: Steps) -> Iterator[str]:
    """Files of which one step holds back other texts than are scored here."""
    for other, its in steps.items():
        if not isinstance(its, ConvertParams) or its.test_share == params.test_share:
            continue
        for path in (path for path in paths if path in {Path(source) for source in its.sources}):
            yield (
                f"test_share is {params.test_share}, and {its.test_share} in {other}: texts of {path} that are scored "
                "here would be trained on. Say the same in both"
            )


def _soup(params: FinetuneParams, steps: Steps) -> Iterator[str]:
    others = dict.fromkeys(t.student for t in _trainings(params.soup, steps) if t.student != params.student)
    if others:
        yield f"soup averages trainings of {', '.join(others)}, and student is {params.student}: name one student"
