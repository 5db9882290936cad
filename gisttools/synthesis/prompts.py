"""Prompts: one YAML file for each kind of training data, rendered to chat messages.

Templates are Jinja2 in a sandbox, and an undefined variable is an error. Texts come in as values, never as templates;
the `json` filter quotes them.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import yaml
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, ValidationError

import gisttools
from gisttools.errors import DataError, MissingError, ParameterError, problems

FOLDER = Path(gisttools.__file__).parents[1] / "prompts"

_environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
_environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)


class Example(BaseModel):
    """An earlier turn of the conversation: values that are rendered as a question, and the answer to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: dict
    answer: dict


class Prompt(BaseModel):
    """One prompt file; `variables` says what each variable of the templates holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    description: str
    variables: dict[str, str]
    system: str
    user: str
    output: dict
    examples: tuple[Example, ...]
    prompt_sha: str

    @property
    def prompt_id(self) -> str:
        """Name and version, as `classification@1`."""
        return f"{self.name}@{self.version}"

    def render(self, values: dict) -> list[dict[str, str]]:
        """The chat messages: system, a question and an answer for each example, the question.

        Raises:
            ParameterError: variables are missing or unknown; all of them at once.
            DataError: a template cannot be rendered.
        """
        found = [f"{v} is missing: {self.variables[v]}" for v in self.variables if v not in values]
        found += [f"{v} is not a variable of this prompt" for v in values if v not in self.variables]
        if found:
            raise ParameterError(problems(f"Prompt {self.prompt_id}: {len(found)} problem(s)", found))
        messages = [("system", self._fill(self.system, values))]
        for example in self.examples:
            messages.append(("user", self._fill(self.user, example.values)))
            messages.append(("assistant", json.dumps(example.answer, ensure_ascii=False)))
        messages.append(("user", self._fill(self.user, values)))
        return [{"role": role, "content": content} for role, content in messages]

    def _fill(self, template: str, values: dict) -> str:
        try:
            return _compiled(template).render(values).strip()
        except TemplateError as error:
            raise DataError(f"Prompt {self.prompt_id} cannot be rendered: {error}. Mend its template.") from error


@lru_cache(maxsize=64)  # compiling takes a hundred times as long as rendering
def _compiled(template: str) -> Template:
    return _environment.from_string(template)


def load_prompt(name: str | Path) -> Prompt:
    """Read a prompt: the name of a file in the repository's `prompts/` folder, without ending, or a path.

    Raises:
        MissingError: there is no such file.
        DataError: it is not a prompt file; all problems at once.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml"))) or "none"
        raise MissingError(f"No prompt at {path}. Known by name: {known}; or give the path of a YAML file.")
    raw = path.read_bytes().replace(b"\r\n", b"\n")  # a checkout with other line ends is the same prompt
    try:
        content = yaml.safe_load(raw)
        prompt = Prompt.model_validate({**content, "prompt_sha": hashlib.sha256(raw).hexdigest()[:16]})
    except (yaml.YAMLError, TypeError) as error:
        raise DataError(f"{path} is not readable as a YAML prompt: {error}.") from error
    except ValidationError as error:
        found = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Mend the file, then retry.")) from None
    return prompt
