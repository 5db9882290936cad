"""Writes files to start from (`gisttools new`) and shows what a notebook can be told (`gisttools parameters`)."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from gisttools.cli.answers import Answer
from gisttools.cli.complete import complete_verb, known_verb
from gisttools.common import ParameterError

# as in gisttools.synthesis.task, which a test compares; not imported, for `gisttools --help` is to be quick
_KINDS = ("classification", "clustering", "retrieval", "reranking", "sts", "bitext")


@click.group()
def new() -> None:
    """Write a file to start from."""


@new.command(short_help="A task description for an LLM that writes texts.")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(_KINDS), default="classification", show_default=True, help="Of training data."
)
def task(name: str, kind: str) -> Answer:
    """Write NAME.yaml, a task description with comments: fill it in, and `gisttools run synthesize` reads it."""
    from gisttools.cli.task_forms import task_form  # not above: `gisttools --help` is to be quick

    path = _write_new(Path(name), lambda path: task_form(kind, path.stem, path.as_posix()))
    line = f"gisttools run synthesize -p task {path} -p dry_run true"
    return _written(path, "Fill in what is empty", [line])


@new.command(short_help="A recipe that trains every combination and compares.")
@click.argument("name")
def recipe(name: str) -> Answer:
    """Write NAME.yaml, the recipe of an ablation: change what it varies, look with --dry-run, and run it."""
    path = _write_new(Path(name), lambda path: RECIPE.format(name=json.dumps(path.stem, ensure_ascii=False)))
    lines = [
        f"gisttools run {path} --dry-run    # how many trainings, and what would do nothing",
        f"gisttools run {path} --smoke      # does all of it work?",
        f"gisttools run {path}",
    ]
    return _written(path, "Change what it varies", lines)


# docs/ablation.md shows it; a test compares
RECIPE = """\
# Every combination of the matrix is trained, and all are compared on the same test texts. Below three seeds no verdict.
name: {name}
profiles: {{smoke: {{finetune.seed: [1], finetune.max_steps: 5}}}}
steps:
  - name: convert
    verb: convert
    parameters: {{sources: [data/support_intents]}}
  - name: finetune
    verb: finetune
    parameters: {{triplets: [$convert], train_on: triplets, max_steps: 75}}
    matrix: {{guide: [null, "embedded:all-MiniLM-L6-v2"], margin: [0.0, 0.1], seed: [1, 2, 3]}}
  - name: evaluate
    verb: evaluate
    parameters: {{model: $finetune, baseline: null, files: [data/support_intents], candidates: false}}
  - {{name: compare, verb: compare, parameters: {{evaluations: [$evaluate]}}}}
"""


def _written(path: Path, do: str, lines: Sequence[str]) -> Answer:
    """What was written, what to do with it, and the commands that come next."""
    return Answer(data={"file": path, "do": do, "next": lines}, lines=[f"Wrote {path}. {do}, then:\n", *lines])


def _write_new(path: Path, text: Callable[[Path], str]) -> Path:
    """Write what `text` makes of the path, .yaml added where it lacks, and never over a file."""
    path = path if path.suffix in (".yaml", ".yml") else path.with_name(f"{path.name}.yaml")
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text(path))
    except FileExistsError:
        raise ParameterError(f"There is a file {path} already. Choose another name, or remove it.") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be written: {error}. Choose another place.") from None
    return path


@click.command(short_help="Show what a notebook can be told.")
@click.argument("verb", required=False, callback=known_verb, shell_complete=complete_verb)
def parameters(verb: str | None) -> Answer:
    """Show all parameters of VERB's notebook with their defaults, the few that matter first; without VERB the verbs."""
    from gisttools.workflow import VERBS, grouped

    if verb is None:
        verbs = [{"verb": v, "about": _first_line(model.__doc__)} for v, model in VERBS.items()]
        told = [*_columns([(v["verb"], v["about"]) for v in verbs]), "\ngisttools parameters VERB shows those of one."]
        return Answer(data=verbs, lines=told)
    fields, schema = VERBS[verb].model_fields, VERBS[verb].model_json_schema()
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "group": title,
            "about": fields[name].description,
            "default": fields[name].get_default(call_default_factory=True),
            "schema": _schema(schema, name),
        }
        for title, names in grouped(verb)
        for name in names
    ]
    return Answer(data=rows, lines=_groups(rows))


def _schema(whole: dict[str, Any], name: str) -> dict[str, Any]:
    """The JSON schema of one parameter, with the definitions that it refers to."""
    own = {k: v for k, v in whole["properties"][name].items() if k not in ("title", "description", "default")}
    return own | ({"$defs": whole["$defs"]} if "$ref" in json.dumps(own) else {})


def _groups(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    for i, title in enumerate(dict.fromkeys(row["group"] for row in rows)):
        yield ("\n" if i else "") + click.style(title, bold=True)
        yield from _columns([(r["name"], _told(r["default"], r["about"])) for r in rows if r["group"] == title])


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0].replace("`", "")


def _told(default: object, about: str | None) -> str:
    return f"{about or ''} [default: {json.dumps(default, ensure_ascii=False)}]".strip()


def _columns(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Names, and what they are beside them, broken where the terminal ends."""
    width = shutil.get_terminal_size().columns
    left = max(len(name) for name, _ in rows) + 4
    for name, about in rows:
        first, *more = textwrap.wrap(about, max(width - left, 30), break_on_hyphens=False) or [""]
        yield f"  {click.style(f'{name:<{left - 2}}', fg='cyan')}{first}".rstrip()
        yield from (" " * left + line for line in more)
