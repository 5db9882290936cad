"""Prompts: one YAML file for each kind of training data, rendered to chat messages.

Templates are Jinja2 in a sandbox, and an undefined variable is an error. Texts come in as values, never as templates;
the `json` filter quotes them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, ValidationError

import gisttools
from gisttools.errors import DataError, MissingError, ParameterError, problems

FOLDER = Path(gisttools.__file__).parents[1] / "prompts"

_environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
_environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)


class Shot(BaseModel):
    """An earlier turn of the conversation, rendered once for each text of `seeds` with that text as `seed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    assistant: str


class Prompt(BaseModel):
    """One prompt file; `variables` says what each variable holds, `examples` are values that tests render."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    description: str
    variables: dict[str, str]
    system: str
    shot: Shot
    user: str
    output: dict
    examples: tuple[dict, ...]
    prompt_sha: str

    @property
    def prompt_id(self) -> str:
        """Name and version, as `classification@1`."""
        return f"{self.name}@{self.version}"

    def render(self, values: dict) -> list[dict[str, str]]:
        """The chat messages: system, two for each of `values["seeds"]`, user.

        Raises:
            ParameterError: variables are missing or unknown; all of them at once.
        """
        found = [f"{v} is missing: {self.variables[v]}" for v in self.variables if v not in values]
        found += [f"{v} is not a variable of this prompt" for v in values if v not in self.variables]
        if found:
            raise ParameterError(problems(f"Prompt {self.prompt_id}: {len(found)} problem(s)", found))
        messages = [("system", self.system, values)]
        for seed in values["seeds"]:
            messages += [("user", self.shot.user, values | {"seed": seed})]
            messages += [("assistant", self.shot.assistant, values | {"seed": seed})]
        messages += [("user", self.user, values)]
        try:
            return [{"role": r, "content": _environment.from_string(t).render(v).strip()} for r, t, v in messages]
        except TemplateError as error:
            raise DataError(f"Prompt {self.prompt_id} cannot be rendered: {error}. Mend its template.") from error


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
    if "seeds" not in prompt.variables:
        raise DataError(f"{path}: the variable 'seeds' is missing; give it, with one line on what it holds.")
    return prompt
