"""`gisttools new`: files to start from."""

from __future__ import annotations

from pathlib import Path

import click

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
    from gisttools.commands.task_forms import task_form

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
