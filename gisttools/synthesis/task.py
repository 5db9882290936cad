"""The task description: what the texts are for, which labels there are, and in which ways texts should differ.

It is a YAML file that a person writes, so everything that is wrong with it is said at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from gisttools.errors import DataError, MissingError, did_you_mean, problems

REGISTERS = ("neutral", "polite", "annoyed", "casual")
PERSONAS = ("an ordinary person", "a person in a hurry", "a person who is new to this", "a person who knows this well")
LENGTHS = ("a few words", "one sentence", "two sentences")


class Label(BaseModel):
    """One class: a line on what belongs to it, classes it is easily confused with, and a few real texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: StrictStr
    confusable: tuple[StrictStr, ...] = ()
    seeds: tuple[StrictStr, ...] = ()


class Task(BaseModel):
    """A task description; `registers`, `personas`, `lengths` are phrases that the prompt inserts as they stand.

    `forbidden` lists regular expressions (case does not matter) that show that a text is not what was asked for,
    such as words that only the other side of a conversation uses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StrictStr
    kind: Literal["classification"]
    description: StrictStr
    domain: StrictStr
    language: StrictStr = Field(pattern=r"^[a-z]{3}-[A-Z][a-z]{3}$")  # ISO 639-3 and script, as in mteb
    labels: dict[StrictStr, Label]
    registers: tuple[StrictStr, ...] = REGISTERS
    personas: tuple[StrictStr, ...] = PERSONAS
    lengths: tuple[StrictStr, ...] = LENGTHS
    forbidden: tuple[StrictStr, ...] = ()

    @property
    def seeds(self) -> list[str]:
        """Every seed text of every label."""
        return [text for label in self.labels.values() for text in label.seeds]

    def table(self) -> pd.DataFrame:
        """One row a label: label, about, confusable (names with commas), seeds (their number)."""
        rows = [(n, x.about, ", ".join(x.confusable), len(x.seeds)) for n, x in self.labels.items()]
        return pd.DataFrame(rows, columns=["label", "about", "confusable", "seeds"])


def read_task(path: str | Path) -> Task:
    """Read a task description from a YAML file.

    Raises:
        MissingError: there is no such file.
        DataError: it is no YAML, or not a task description; all problems at once.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"No task description at {path}. prompts/tasks/ holds examples to copy.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not readable as YAML: {error}. Quote texts that hold a colon or a #.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold keys and values, but holds a {type(content).__name__}.")
    found = list(_bare_words(content))
    if found:  # what is not even text cannot be checked further
        raise DataError(problems(f"{path}: {len(found)} value(s) that YAML did not read as text", found))
    try:
        task = Task.model_validate(content)
    except ValidationError as error:
        found = [_in_words(e) for e in error.errors()]
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Mend the file, then retry.")) from None
    found = list(_contradictions(task))
    if found:
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Mend the file, then retry."))
    return task


def _bare_words(node: object, where: str = "") -> Iterator[str]:
    """YAML 1.1 reads no, yes, on, off as booleans, 12 as a number and 2024-01-01 as a date."""
    hint = "Put it in quotes."
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                yield f"{where or 'top level'}: the key {key!r} is a {type(key).__name__}, not a text. {hint}"
            yield from _bare_words(value, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _bare_words(value, f"{where}[{i}]")
    elif node is not None and not isinstance(node, str):
        yield f"{where}: {node!r} is a {type(node).__name__}, not a text. {hint}"


def _in_words(error: dict) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = Label.model_fields if len(error["loc"]) == 3 else Task.model_fields
        return f"{where}: unknown key.{did_you_mean(str(error['loc'][-1]), known)} Known: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{where}: is missing"
    if error["type"] == "string_pattern_mismatch":
        return f"{where}: {error['input']!r} is no language and script such as eng-Latn or deu-Latn"
    return f"{where}: {error['msg']} (found {error['input']!r:.80})"


def _contradictions(task: Task) -> Iterator[str]:
    if len(task.labels) < 2:
        yield f"labels: {len(task.labels)} given, at least 2 are needed"
    for key in ("name", "description", "domain"):
        if not getattr(task, key).strip():
            yield f"{key}: is empty"
    for key in ("registers", "personas", "lengths"):
        if not getattr(task, key):
            yield f"{key}: is an empty list; leave it out to get the default"
        yield from (f"{key}[{i}]: is empty" for i, t in enumerate(getattr(task, key)) if not t.strip())
    for i, pattern in enumerate(task.forbidden):
        try:
            if re.compile(pattern).search(""):
                yield f"forbidden[{i}]: {pattern!r} matches every text"
        except re.error as error:
            yield f"forbidden[{i}]: {pattern!r} is no regular expression: {error}"
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
