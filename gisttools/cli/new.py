"""Writes files to start from (`gisttools new`) and shows what a notebook can be told (`gisttools parameters`)."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import click

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
def task(name: str, kind: str) -> None:
    """Write NAME.yaml, a task description with comments: fill it in, and `gisttools run synthesize` reads it."""
    from gisttools.cli.task_forms import task_form  # not above: `gisttools --help` is to be quick

    path = _write_new(Path(name), lambda path: task_form(kind, path.stem, path.as_posix()))
    click.echo(f"Wrote {path}. Fill in what is empty, then:\n")
    click.echo(f'gisttools run synthesize -p task {path} -p dry_run true -p eval_files "[]" -p labelled_files "[]"')


@new.command(short_help="A recipe that trains every combination and compares.")
@click.argument("name")
def recipe(name: str) -> None:
    """Write NAME.yaml, the recipe of an ablation: change what it varies, look with --dry-run, and run it."""
    path = _write_new(Path(name), lambda path: RECIPE.format(name=json.dumps(path.stem, ensure_ascii=False)))
    click.echo(f"Wrote {path}. Change what it varies, then:\n")
    click.echo(f"gisttools run {path} --dry-run    # how many trainings, and what would do nothing")
    click.echo(f"gisttools run {path} --smoke      # does all of it work?")
    click.echo(f"gisttools run {path}")


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
def parameters(verb: str | None) -> None:
    """Show all parameters of VERB's notebook with their defaults, the few that matter first; without VERB the verbs."""
    from gisttools.workflow import VERBS, grouped

    width = shutil.get_terminal_size().columns
    if verb is None:
        _columns([(v, _first_line(model.__doc__)) for v, model in VERBS.items()], width)
        click.echo("\ngisttools parameters VERB shows those of one.")
        return
    fields = VERBS[verb].model_fields
    for i, (title, names) in enumerate(grouped(verb)):
        click.echo(("\n" if i else "") + click.style(title, bold=True))
        _columns(
            [(n, _told(fields[n].get_default(call_default_factory=True), fields[n].description)) for n in names], width
        )


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0].replace("`", "")


def _told(default: object, about: str | None) -> str:
    return f"{about or ''} [default: {json.dumps(default, ensure_ascii=False)}]".strip()


def _columns(rows: Sequence[tuple[str, str]], width: int) -> None:
    """Names, and what they are beside them, broken where the terminal ends."""
    left = max(len(name) for name, _ in rows) + 4
    for name, about in rows:
        first, *more = textwrap.wrap(about, max(width - left, 30), break_on_hyphens=False) or [""]
        click.echo(f"  {click.style(f'{name:<{left - 2}}', fg='cyan')}{first}".rstrip())
        for line in more:
            click.echo(" " * left + line)
