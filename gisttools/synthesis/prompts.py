"""Reads prompts, one YAML file for each kind of training data, and renders them to chat messages.

Templates are Jinja2 in a sandbox (`templates`), and an undefined variable is an error. Texts come in as values, never
as templates; the `json` filter quotes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from gisttools.common import (
    DataError,
    MissingError,
    ParameterError,
    YamlProblem,
    did_you_mean,
    first_lines,
    parse_yaml,
    problems,
    prompts_folder,
)
from gisttools.synthesis.llm.forms import fault
from gisttools.synthesis.templates import TemplateFault, own_words, render, variables_of

SUBJECT = "subject"  # in `row`: the text that the call started from, not one of the answer


class Example(BaseModel):
    """An earlier turn of the conversation: values that are rendered as a question, and the answer to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: dict
    answer: dict


class Row(BaseModel):
    """Which field of the answer, or `subject`, is which text of a triplet. An anchor alone may be a list of texts.

    Without `positive` rows are put together from texts of equal label, without `negatives` these are mined. `grades`
    are of positive and negatives, of reranking.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    anchor: str
    positive: str | None = None
    negatives: tuple[str, ...] = ()
    grades: tuple[int, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """All of them, in order."""
        return (self.anchor, *((self.positive,) if self.positive else ()), *self.negatives)


class Form(Protocol):
    """What a text was written by, as far as it matters afterwards. A `Prompt` is one."""

    @property
    def prompt_id(self) -> str | None:
        """Name and version; None where nobody knows them."""

    @property
    def prompt_sha(self) -> str | None:
        """Hash of its file."""

    @property
    def variables(self) -> Mapping[str, str]:
        """What was told to the LLM, by name."""

    @property
    def output(self) -> dict:
        """JSON schema of the answer, an object of texts."""

    @property
    def layout(self) -> Row:
        """Which of them is which text of a triplet."""

    def own_texts(self) -> Sequence[str]:
        """What it says itself: what a text of the LLM must not repeat."""


class Prompt(BaseModel):
    """One prompt file; `variables` says what each variable of the templates holds. A prompt without `row` makes no
    rows, as that of the ideas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    description: str
    variables: dict[str, str]
    system: str
    user: str
    output: dict
    row: Row | None = None
    examples: tuple[Example, ...]
    prompt_sha: str
    _file: str = PrivateAttr("")  # where it stands, and in which line a template begins: for errors
    _lines: dict[str, int] = PrivateAttr(default_factory=dict)

    @property
    def prompt_id(self) -> str:
        """Name and version, as `classification@1`."""
        return f"{self.name}@{self.version}"

    @property
    def texts(self) -> int:
        """How many texts one answer holds, at most: of a list its `maxItems`."""
        return self.output["properties"].get(self.row.anchor, {}).get("maxItems", 1) if self.row else 1

    @property
    def layout(self) -> Row:
        """Its `row`.

        Raises:
            DataError: it has none, so that its answers make no rows.
        """
        if self.row is None:
            raise DataError(
                f"Prompt {self.prompt_id} has no row, so that its answers make no rows. Name another prompt."
            )
        return self.row

    def render(self, values: dict) -> list[dict[str, str]]:
        """The chat messages: system, a question and an answer for each example, the question.

        Raises:
            ParameterError: variables are missing or unknown; all of them at once.
            DataError: a template cannot be rendered; with its file and line.
        """
        found = [f"{v} is missing: {self.variables[v]}" for v in self.variables if v not in values]
        found += [f"{v} is not a variable of this prompt" for v in values if v not in self.variables]
        if found:
            raise ParameterError(problems(f"Prompt {self.prompt_id}: {len(found)} problem(s)", found))
        messages = [("system", self._fill("system", values))]
        for example in self.examples:
            messages.append(("user", self._fill("user", example.values)))
            messages.append(("assistant", json.dumps(example.answer, ensure_ascii=False)))
        messages.append(("user", self._fill("user", values)))
        return [{"role": role, "content": content} for role, content in messages]

    def own_texts(self) -> list[str]:
        """What it says itself, without the values: what a text of the LLM must not repeat."""
        values = [v for e in self.examples for v in (*e.answer.values(), *e.values.values())]
        written = [str(text) for v in values for text in (v if isinstance(v, list) else [v])]
        return [own_words(self.system), own_words(self.user), *written]

    def where(self, key: str, line: int | None) -> str:
        """Where a line of a template stands; lines count from 1, in the template and in the file."""
        at = [self._file or f"Prompt {self.prompt_id}", key, *([f"line {line}"] if line else [])]
        in_file = f" (line {self._lines[key] + line - 1} of the file)" if line and key in self._lines else ""
        return ", ".join(at) + in_file

    def _fill(self, key: str, values: dict[str, Any]) -> str:
        try:
            # line breaks of texts are escaped by `json`, so that these are the template's own
            return "\n".join(line.strip() for line in render(getattr(self, key), values).strip().split("\n"))
        except TemplateFault as fault_:
            at = self.where(key, fault_.line)
            raise DataError(f"{at}: it cannot be rendered. {fault_}. Fix the template.") from fault_


def one_text(output: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an answer as that of one of its texts: a list becomes what it is a list of."""
    properties = {name: node.get("items", node) for name, node in output["properties"].items()}
    return {**output, "properties": properties}


def find_prompt(name: str | Path, folder: str | Path | None = None) -> Path:
    """The file of a prompt: a path, or a name (without ending) in a folder of the user's or in `prompts/`.

    Raises:
        MissingError: there is no such file.
    """
    path = Path(name)
    folders = [*([Path(folder)] if folder else []), prompts_folder()]
    tries = [path] if path.suffix in (".yaml", ".yml") else [f / f"{name}.yaml" for f in folders]
    found = next((p for p in tries if p.is_file()), None)
    if found is None:
        known = sorted({p.stem for f in folders for p in f.glob("*.yaml")})
        raise MissingError(
            f"No prompt at {tries[0]}.{did_you_mean(path.stem, known)} Known by name: {', '.join(known) or 'none'}; "
            "or give the path of a YAML file."
        )
    return found


def load_prompt(name: str | Path, folder: str | Path | None = None) -> Prompt:
    """Read a prompt, by path or by name; see `find_prompt`.

    Raises:
        MissingError: there is no such file.
        DataError: it is not a prompt file; all problems at once.
    """
    path = find_prompt(name, folder)
    raw = path.read_bytes().replace(b"\r\n", b"\n")  # a checkout with other line ends is the same prompt
    try:
        content = parse_yaml(raw)
    except YamlProblem as error:
        raise DataError(f"{path} is not readable as a YAML prompt: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold keys and values, as a prompt does, but holds a {type(content).__name__}.")
    try:
        prompt = Prompt.model_validate({**content, "prompt_sha": hashlib.sha256(raw).hexdigest()[:16]})
    except ValidationError as error:
        found = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Fix the file, then retry.")) from None
    prompt._file, prompt._lines = str(path), first_lines(raw)
    found = [*_template_problems(prompt), *_output_problems(prompt)]
    found = found or _example_problems(prompt)
    if found:
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Fix the file, then retry."))
    return prompt


def _template_problems(prompt: Prompt) -> list[str]:
    found: list[str] = []
    used: set[str] = set()
    for key in ("system", "user"):
        try:
            used |= variables_of(getattr(prompt, key))
        except TemplateFault as error:
            found.append(f"{prompt.where(key, error.line)}: {error}")
    known = set(prompt.variables)
    found += [f"variables: {v} is used, but not listed" for v in sorted(used - known)]
    if not found:
        found += [f"variables: {v} is listed, but not used" for v in sorted(known - used)]
    for i, example in enumerate(prompt.examples):
        given = set(example.values)
        found += [f"examples[{i}].values: {v} is missing" for v in sorted(known - given)]
        found += [f"examples[{i}].values: {v} is no variable" for v in sorted(given - known)]
    return found


def _example_problems(prompt: Prompt) -> list[str]:
    """What goes wrong where the examples are put in: a template that fails does so before anything is asked."""
    found = []
    for i, example in enumerate(prompt.examples):
        try:
            prompt._fill("user", example.values)
        except DataError as error:
            found.append(f"examples[{i}]: {error}")
    return found


def _output_problems(prompt: Prompt) -> list[str]:
    properties: object = prompt.output.get("properties")
    if prompt.output.get("type") != "object" or not isinstance(properties, dict) or not properties:
        return ["output: must be the JSON schema of an object with properties"]
    found = [
        f"output.properties.{name}: must be a schema such as {{type: string}}, but is {node!r}"
        for name, node in properties.items()
        if not isinstance(node, dict)
    ]
    if found:
        return found
    for i, example in enumerate(prompt.examples):
        wrong = fault(example.answer, prompt.output)
        found += [f"examples[{i}].answer does not fit the output: {wrong}"] if wrong else []
    return found + (_row_problems(prompt.row, properties) if prompt.row else [])


def _lists_texts(node: dict) -> bool:
    items, most, least = node.get("items"), node.get("maxItems"), node.get("minItems", 0)
    if not (isinstance(items, dict) and items.get("type") == "string" and type(most) is int and type(least) is int):
        return False
    return most >= max(1, least)


def _row_problems(row: Row, properties: dict[str, dict]) -> list[str]:
    texts = {name for name, node in properties.items() if node.get("type") == "string"} | {SUBJECT}
    lists = {name for name, node in properties.items() if node.get("type") == "array"}
    if row.fields == (row.anchor,) and row.anchor in lists:  # a row is made of each
        if not _lists_texts(properties[row.anchor]):
            return [
                f"output.properties.{row.anchor}: a list of texts needs items: {{type: string}} and maxItems, "
                "a whole number from 1 (and minItems) on"
            ]
        texts.add(row.anchor)
    found = [
        f"row: {name} is no text of the output ({', '.join(properties)}) and not {SUBJECT!r}"
        for name in row.fields
        if name not in texts
    ]
    found += [f"row: {name} of the output is used for nothing" for name in sorted(set(properties) - set(row.fields))]
    if len(set(row.fields)) < len(row.fields):
        found.append(f"row: one text is used twice ({', '.join(row.fields)})")
    if row.grades and len(row.grades) != 1 + len(row.negatives):
        found.append(f"row.grades: {len(row.grades)} for {1 + len(row.negatives)} passages")
    if row.grades and list(row.grades) != sorted(set(row.grades), reverse=True):
        found.append("row.grades: must fall from the positive to the last negative")
    if row.negatives and row.positive is None:
        found.append("row: negatives without a positive")
    return found
