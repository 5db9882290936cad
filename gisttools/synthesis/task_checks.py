"""What can be wrong with a task description, in words: values that YAML misread, unknown keys, contradictions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gisttools.common import did_you_mean
from gisttools.synthesis.kinds import KINDS, STARTS
from gisttools.synthesis.task import Label, Task

_LISTS = ("registers", "personas", "lengths", "difficulties", "passages", "search_terms", "texts")


def bare_words(node: object, where: str = "") -> Iterator[str]:
    """YAML 1.1 reads no, yes, on, off as booleans, 12 as a number and 2024-01-01 as a date."""
    hint = "Put it in quotes."
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                yield f"{where or 'top level'}: the key {key!r} is a {type(key).__name__}, not a text. {hint}"
            yield from bare_words(value, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from bare_words(value, f"{where}[{i}]")
    elif node is not None and not isinstance(node, str):
        yield f"{where}: {node!r} is a {type(node).__name__}, not a text. {hint}"


def in_words(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as a line for the file's writer."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = Label.model_fields if len(error["loc"]) == 3 else Task.model_fields
        return f"{where}: unknown key.{did_you_mean(str(error['loc'][-1]), known)} Known: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{where}: is missing"
    if error["type"] == "string_pattern_mismatch":
        return f"{where}: {error['input']!r} is no language and script such as eng-Latn or deu-Latn"
    return f"{where}: {error['msg']} (found {error['input']!r:.80})"


def contradictions(task: Task) -> Iterator[str]:
    """What fits its type, but not the rest."""
    yield from _starts(task)
    if (task.kind == "bitext") != (task.target_language is not None):
        yield f"target_language: bitext needs it and no other kind has it; this is {task.kind}"
    elif task.target_language == task.language:
        yield f"target_language: is {task.language} as well"
    hard = [f"{kind} from {start}" for kind, spec in KINDS.items() for start in spec.hard_prompts]
    if task.negatives is not None and not any(getattr(task, start) for start in task.spec.hard_prompts):
        yield f"negatives: only {', '.join(hard)} has the choice; leave it out"
    for key in ("name", "description", "domain"):
        if not getattr(task, key).strip():
            yield f"{key}: is empty"
    for key in _LISTS:
        if key in task.model_fields_set and not getattr(task, key):
            yield f"{key}: is an empty list; leave it out" + (" to get the default" if key not in STARTS else "")
        yield from (f"{key}[{i}]: is empty" for i, t in enumerate(getattr(task, key)) if not t.strip())
    for i, pattern in enumerate(task.forbidden):
        try:
            if re.compile(pattern).search(""):
                yield f"forbidden[{i}]: {pattern!r} matches every text"
        except re.error as error:
            yield f"forbidden[{i}]: {pattern!r} is no regular expression: {error}"
    for name, line in task.topics.items():
        if not name.strip() or not line.strip():
            yield f"topics.{name}: is empty"
    yield from _labels(task)


def _starts(task: Task) -> Iterator[str]:
    given, known = [key for key in STARTS if getattr(task, key)], list(task.spec.prompts)
    wanted = f"a task of kind {task.kind} starts from one of: {', '.join(known)}"
    if len(given) != 1:
        yield f"{wanted}; given: {', '.join(given) or 'none'}"
    elif given[0] not in known:
        yield f"{given[0]}: {wanted}"


def _labels(task: Task) -> Iterator[str]:
    if task.labels and len(task.labels) < 2:
        yield f"labels: {len(task.labels)} given, at least 2 are needed"
    owner: dict[str, str] = {}
    for name, label in task.labels.items():
        if not name.strip():
            yield "labels: a label has an empty name"
        if not label.about.strip():
            yield f"labels.{name}.about: is empty"
        for other in label.confusable:
            if other == name:
                yield f"labels.{name}.confusable: names itself"
            elif other not in task.labels:
                yield f"labels.{name}.confusable: there is no label {other!r}.{did_you_mean(other, task.labels)}"
        for i, text in enumerate(label.seeds):
            if not text.strip():
                yield f"labels.{name}.seeds[{i}]: is empty"
            elif owner.setdefault(text, name) != name:
                yield f"labels.{name}.seeds[{i}]: {text!r:.60} is also a seed of {owner[text]}"
