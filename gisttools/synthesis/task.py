"""The task description: what the texts are for, what they are written from, and in which ways they should differ.

It is a YAML file that a person writes, so everything that is wrong with it is said at once (`task_checks`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError

from gisttools.common import DataError, MissingError, problems
from gisttools.synthesis.kinds import KINDS, STARTS, Kind
from gisttools.synthesis.languages import PATTERN

REGISTERS = ("neutral", "polite", "annoyed", "casual")
PERSONAS = ("an ordinary person", "a person in a hurry", "a person who is new to this", "a person who knows this well")
LENGTHS = ("a few words", "one sentence", "two sentences")
DIFFICULTIES = ("plain", "less obvious")
WHOLE = "all"  # the one group of a task that starts from passages or texts


class Label(BaseModel):
    """One class or theme: a line on what belongs to it, classes it is easily confused with, and a few real texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: StrictStr
    confusable: tuple[StrictStr, ...] = ()
    seeds: tuple[StrictStr, ...] = ()


def _lines(value: Any) -> Any:
    """A plain list of topics is one whose lines are their names."""
    plain = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return {name: name for name in value} if plain else value


class Task(BaseModel):
    """A task description.

    `registers`, `personas`, `lengths` and `difficulties` are phrases that the prompt inserts as they stand. `forbidden`
    lists regular expressions (case does not matter) that show that a text is not what was asked for, such as words that
    only the other side of a conversation uses. A task starts from exactly one of `kinds.STARTS`, one that its kind
    knows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StrictStr
    kind: Literal["classification", "clustering", "retrieval", "reranking", "sts", "bitext"]
    description: StrictStr
    domain: StrictStr
    language: StrictStr = Field(pattern=PATTERN)
    target_language: StrictStr | None = Field(None, pattern=PATTERN)  # of bitext
    labels: dict[StrictStr, Label] = {}
    topics: Annotated[dict[StrictStr, StrictStr], BeforeValidator(_lines)] = {}
    passages: tuple[StrictStr, ...] = ()
    search_terms: tuple[StrictStr, ...] = ()
    texts: tuple[StrictStr, ...] = ()
    negatives: Literal["written", "mined"] | None = None  # None: as the prompt of the kind has it
    registers: tuple[StrictStr, ...] = REGISTERS
    personas: tuple[StrictStr, ...] = PERSONAS
    lengths: tuple[StrictStr, ...] = LENGTHS
    difficulties: tuple[StrictStr, ...] = DIFFICULTIES
    forbidden: tuple[StrictStr, ...] = ()

    @property
    def spec(self) -> Kind:
        """What there is to know of its kind."""
        return KINDS[self.kind]

    @property
    def start(self) -> str:
        """What it starts from: one of `kinds.STARTS`."""
        return next(name for name in STARTS if getattr(self, name))

    @property
    def prompt(self) -> str:
        """Name of the prompt file that it uses unless another one is told."""
        hard = self.spec.hard_prompts if self.negatives == "written" else {}
        return hard.get(self.start) or self.spec.prompts[self.start]

    @property
    def groups(self) -> dict[str, str]:
        """What rows are shared out equally between, with a line each: labels, topics, search terms, or one for all."""
        if self.labels:
            return {name: label.about for name, label in self.labels.items()}
        return dict(self.topics) or {term: term for term in self.search_terms} or {WHOLE: self.description}

    @property
    def seeds(self) -> list[str]:
        """Every text that the user gave: seeds of labels, passages, texts."""
        return [*(text for label in self.labels.values() for text in label.seeds), *self.passages, *self.texts]

    def table(self) -> pd.DataFrame:
        """One row a label (label, about, confusable, seeds), topic or search term; else the first texts."""
        if self.labels:
            rows = [(n, x.about, ", ".join(x.confusable), len(x.seeds)) for n, x in self.labels.items()]
            return pd.DataFrame(rows, columns=["label", "about", "confusable", "seeds"])
        if self.topics:
            return pd.DataFrame(list(self.topics.items()), columns=["topic", "about"])
        return pd.DataFrame({self.start: list(getattr(self, self.start))}).head(20)


def read_task(path: str | Path) -> Task:
    """Read a task description from a YAML file. `passages`, `texts` and `search_terms` may name a file beside it: one
    text a line (.txt), or a file of rows with a column text.

    Raises:
        MissingError: there is no such file, or one that it names.
        DataError: it is no YAML, or not a task description; all problems at once.
    """
    from gisttools.synthesis import task_checks  # it needs the models above

    path = Path(path)
    if not path.is_file():
        raise MissingError(f"No task description at {path}. prompts/tasks/ holds examples to copy.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not readable as YAML: {error}. Quote texts that hold a colon or a #.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold keys and values, but holds a {type(content).__name__}.")
    found = list(task_checks.bare_words(content))
    if found:  # what is not even text cannot be checked further
        raise DataError(problems(f"{path}: {len(found)} value(s) that YAML did not read as text", found))
    content |= {key: read_texts(path.parent / content[key]) for key in files_in(content)}
    try:
        task = Task.model_validate(content)
    except ValidationError as error:
        found = [task_checks.in_words(e) for e in error.errors()]
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Mend the file, then retry.")) from None
    found = list(task_checks.contradictions(task))
    if found:
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Mend the file, then retry."))
    return task


def files_in(content: dict) -> list[str]:
    """The keys of a task file that name a file instead of holding texts."""
    return [key for key in ("passages", "search_terms", "texts") if isinstance(content.get(key), str)]


def read_texts(path: Path) -> list[str]:
    """The texts of a file, each once: its lines (.txt), or the column text, passage or document of its rows.

    Raises:
        MissingError: there is no such file.
        DataError: it is of another kind, or has no such column.
    """
    from gisttools.data import column_names, file_kind, read_parts

    if not os.path.isfile(path):  # Path.is_file refuses names as long as a text that should stand in a list
        raise MissingError(f"There is no file {str(path)[:300]}, which the task description names. Correct its path.")
    if path.suffix.lower() == ".txt":
        try:
            texts = path.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8: {error}. Save it as UTF-8.") from error
    elif file_kind(path) is None:
        raise DataError(f"{path}: texts are read from .txt, .csv, .tsv, .jsonl, .json or .parquet. Convert it.")
    else:
        there = column_names(path)
        column = next((c for c in ("text", "passage", "document") if c in there), None)
        if column is None:
            raise DataError(f"{path} has no column text, passage or document, but {', '.join(there)}. Rename one.")
        texts = [str(t) for part in read_parts(path, [column]) for t in part[column] if t is not None]
    return list(dict.fromkeys(t.strip() for t in texts if t.strip()))
