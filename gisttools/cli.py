"""The command `gisttools`: run notebooks and recipes, list runs, and see what this machine has."""

from __future__ import annotations

import json
import sys

import click

from gisttools.commands.run import run
from gisttools.errors import GistError, did_you_mean


class _Group(click.Group):
    """Errors of the package are one readable message, not a traceback."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except GistError as error:
            if context.params.get("debug"):
                raise
            click.echo(f"\n{type(error).__name__}: {error}", err=True)
            sys.exit(1)


def _known_verb(_context: click.Context, _parameter: click.Parameter, verb: str | None) -> str | None:
    from gisttools.workflow.params import VERBS  # not above: `gisttools --help` is to be quick

    if verb is not None and verb not in VERBS:
        raise click.BadParameter(f"{verb!r} is none of {', '.join(VERBS)}.{did_you_mean(verb, VERBS)}")
    return verb


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="gisttools")
def main(debug: bool) -> None:
    """Synthetic data, GIST fine-tuning and honest evaluation for text embeddings."""


main.add_command(run)


@main.command()
@click.argument("verb", required=False, callback=_known_verb)
def runs(verb: str | None) -> None:
    """Show what has run, the newest last; VERB limits it to one notebook."""
    from gisttools.workflow.runs import finished_runs

    found = finished_runs(verb)
    if not found:
        click.echo(f"No {verb or 'notebook'} has run yet. Try: gisttools run {verb or 'quickstart'}")
    width = max((len(m["run_id"]) for m in found), default=0)
    for m in found:
        click.echo(f"{m['run_id']:<{width}}  {m['status']:<6}  {m['seconds']:>7.1f} s  {m['headline']}")


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--task", metavar="NAME", help="Score this task; else the mean of the targets.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def compare(runs: tuple[str, ...], task: str | None, as_json: bool) -> None:
    """Show which of several evaluated recipes is best, and what each parameter does.

    RUNs are evaluate runs, by id or folder; without any, the newest and all that can stand beside it: same baseline,
    same tasks. Runs that differ only in seeds are one recipe. The notebook 7_compare makes a page of the same.
    """
    from gisttools.leaderboard import leaderboard
    from gisttools.report.leaderboard_text import leaderboard_text
    from gisttools.workflow.contenders import contenders_to_compare

    board = leaderboard(contenders_to_compare(runs), task=task)
    click.echo(json.dumps(board.summary(), indent=1, ensure_ascii=False) if as_json else leaderboard_text(board))


@main.command()
@click.argument("verb", callback=_known_verb)
def parameters(verb: str) -> None:
    """Show all parameters of VERB's notebook with their defaults."""
    from gisttools.workflow.params import VERBS

    fields = VERBS[verb].model_fields
    shown = {name: json.dumps(field.get_default(call_default_factory=True)) for name, field in fields.items()}
    width, value_width = max(map(len, shown)), min(40, max(map(len, shown.values())))
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {value:<{value_width}}  {fields[name].description or ''}".rstrip())


@main.command()
@click.option("--llm", "base_url", help="Also ask this OpenAI-compatible endpoint for its models.")
def doctor(base_url: str | None) -> None:
    """Show what is installed, which devices there are, and which embedded models and endpoints answer."""
    from gisttools.doctor import checks

    bad = 0
    for ok, name, detail in checks(base_url):
        bad += ok is False
        mark = {True: click.style("ok", fg="green"), False: click.style("no", fg="red"), None: "--"}[ok]
        click.echo(f"{mark}  {name:<24} {detail}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
