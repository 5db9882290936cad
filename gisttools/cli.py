"""The command `gisttools`: run notebooks and recipes, list runs, and see what this machine has."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import click
import yaml

from gisttools.errors import GistError, MissingError, ParameterError, did_you_mean

_PARAMETERS = click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE",
    help="Set a parameter; for a recipe say STEP.NAME VALUE. The value is read as YAML: 3, 1e-5, true, [a, b].",
)  # fmt: skip
_RERUN = click.option(
    "--rerun",
    type=click.Choice(["only-missing", "always", "never", "only-cache"]),
    default="only-missing",
    show_default=True,
    help="What to do with work that was done before.",
)


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


@main.command()
@click.argument("what")
@_PARAMETERS
@click.option("--profile", metavar="NAME", help="Run a recipe under one of its profiles.")
@click.option("--smoke", is_flag=True, help="Short for --profile smoke: does all of the recipe work?")
@_RERUN
def run(what: str, parameters: tuple[tuple[str, str], ...], profile: str | None, smoke: bool, rerun: str) -> None:
    """Run WHAT: a notebook (3_finetune, finetune) or a recipe (quickstart, a YAML file)."""
    from gisttools.workflow.execute import run_notebook, run_recipe
    from gisttools.workflow.params import VERBS
    from gisttools.workflow.places import project_root, results_folder

    given = {name: _value(name, text) for name, text in parameters}
    if smoke and profile not in (None, "smoke"):
        raise ParameterError(f"--smoke is --profile smoke, and --profile says {profile!r}. Name one of them.")
    profile = "smoke" if smoke else profile
    verb = re.sub(r"^\d_", "", Path(what).stem)
    recipes = project_root() / "notebooks" / "recipes"
    if Path(what).suffix in (".yaml", ".yml") or verb not in VERBS:
        path = Path(what) if Path(what).is_file() else recipes / f"{Path(what).stem}.yaml"
        if not path.is_file():
            known = sorted(p.stem for p in recipes.glob("*.yaml"))
            raise MissingError(
                f"There is no notebook and no recipe {what!r}.{did_you_mean(what, [*VERBS, *known])} "
                f"Notebooks: {', '.join(VERBS)}. Recipes: {', '.join(known)}."
            )
        manifests = run_recipe(path, overrides=given, profile=profile, rerun=rerun)
    elif profile is not None:
        mend = f"Say {verb}.yaml for the recipe." if (recipes / f"{verb}.yaml").is_file() else "Leave out the profile."
        raise ParameterError(f"Profiles belong to recipes, and {what} is a notebook. {mend}")
    else:
        manifests = [run_notebook(verb, given, rerun=rerun)]
    if os.environ.get("RANK", "0") != "0":
        return  # the first of several processes says what came out
    last = manifests[-1]
    click.echo(f"\n{last['headline']}")
    folder = results_folder() / last["run_id"]
    pages = [folder / name for name in ("report.html", "leaderboard.html") if (folder / name).exists()]
    click.echo(pages[0] if pages else folder)


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


def _value(name: str, text: str):
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParameterError(f"-p {name} {text!r} is not YAML: {error}. Quote it.") from None


if __name__ == "__main__":
    main()
