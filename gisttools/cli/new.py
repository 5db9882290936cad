"""Writes files to start from (`gisttools new`) and shows what a notebook can be told (`gisttools parameters`)."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gisttools.cli.complete import complete_verb, known_verb
from gisttools.common import ParameterError

# as in gisttools.synthesis.task, which a test compares; not imported, for `gisttools --help` is to be quick
_KINDS = ("classification", "clustering", "retrieval", "reranking", "sts", "bitext")


@click.group()
def new() -> None:
    """Write a file to start from."""


@new.command()
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(_KINDS), default="classification", show_default=True, help="Of training data."
)
def task(name: str, kind: str) -> None:
    """Write NAME.yaml, a task description with comments: fill it in, and `gisttools run synthesize` reads it."""
    from gisttools.cli.task_forms import task_form  # not above: `gisttools --help` is to be quick

    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(task_form(kind, path.stem, path.as_posix()))
    except FileExistsError:
        raise ParameterError(f"There is a file {path} already. Choose another name, or remove it.") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be written: {error}. Choose another place.") from None
    click.echo(f"Wrote {path}. Fill in what is empty, then:\n")
    click.echo(f'gisttools run synthesize -p task {path} -p dry_run true -p eval_files "[]" -p labelled_files "[]"')


@click.command(short_help="Show what a notebook can be told.")
@click.argument("verb", callback=known_verb, shell_complete=complete_verb)
def parameters(verb: str) -> None:
    """Show all parameters of VERB's notebook with their defaults."""
    from gisttools.workflow import VERBS

    fields = VERBS[verb].model_fields
    shown = {name: json.dumps(field.get_default(call_default_factory=True)) for name, field in fields.items()}
    width, value_width = max(map(len, shown)), min(40, max(map(len, shown.values())))
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {value:<{value_width}}  {fields[name].description or ''}".rstrip())
