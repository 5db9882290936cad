"""Runs a notebook or a recipe with parameters from the command line, `gisttools run`; or shows what would run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gisttools.cli.answers import Answer
from gisttools.cli.asking import asking_here
from gisttools.cli.complete import (
    Remembering,
    complete_parameter,
    complete_profile,
    complete_what,
    recipe_of as _recipe,
)
from gisttools.common import MissingError, ParameterError, YamlProblem, did_you_mean, parse_yaml, recipes_folder

if TYPE_CHECKING:
    from gisttools.common import FinishedRun
    from gisttools.workflow import Rerun, Step

_SMOKE, _TYPED = "gisttools.smoke", "gisttools.typed"
_PARAMETERS = click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", shell_complete=complete_parameter,
    help="Set a parameter; for a recipe say STEP.NAME VALUE, or an input's NAME VALUE. The value is read as YAML: 3, "
    "1e-5, true, [a, b].",
)  # fmt: skip
_RERUN = click.option(
    "--rerun",
    type=click.Choice(["only-missing", "always", "never", "only-cache"]),
    default="only-missing",
    show_default=True,
    help="What to do with work that was done before.",
)


_WORKERS = click.option(
    "--workers", type=click.IntRange(min=1), metavar="N",
    help="Do so many steps of a recipe side by side, or a notebook's long part, as far as cores and memory allow.",
)  # fmt: skip
_CLUSTER = click.option(
    "--cluster", metavar="WHERE",
    help="Do it on a Dask cluster: local, tcp://HOST:PORT, ssh:HOST,HOST, ssh:FILE. See docs/scale.md.",
)  # fmt: skip


_INPUTS = {
    "data": "your texts: a file (CSV, TSV, JSONL, Parquet, XLSX), or a folder with train and test files; or documents",
    "text": "the column of texts, where it has no usual name",
    "label": "the column of labels, likewise",
    "test_share": "of a file without a test part: the share to test on, e.g. 0.2",
    "encoding": "of a text file that is not UTF-8, e.g. cp1252",
    "guide": "the guide model",
    "student": "the model to be tuned",
    "llm": "the address of an OpenAI-compatible endpoint that writes",
    "llm_model": "the LLM's name there",
    "domain": "what your documents are, in a few words",
    "questions": "so many questions to train on",
    "test_questions": "so many to test with",
    "sentences": "without an LLM: so many sentences to train on",
    "test": "without an LLM: a folder with people's questions and what answers them",
    "budget": "US dollars that the LLM may cost at most",
    "decisions": "questions.csv of an earlier run, edited",
}
_NUMBERS = {"test_share": float, "budget": float, "questions": int, "test_questions": int, "sentences": int}


def _inputs(command: Callable) -> Callable:
    """The options for inputs that many recipes have; `-p NAME VALUE` sets any."""
    for name, about in reversed(_INPUTS.items()):
        option = f"--{name.replace('_', '-')}"
        kind = {"type": _NUMBERS[name]} if name in _NUMBERS else {"multiple": name == "data"}
        command = click.option(option, f"input_{name}", metavar=name.upper(), help=f"Of a recipe: {about}.", **kind)(
            command
        )
    return command


class _Run(Remembering):
    """Says of a recipe that stands before --help which inputs it has."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_TYPED] = list(args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for word in ctx.meta.get(_TYPED, ()):
            told = None if word.startswith("-") else _recipe(word)
            if told and isinstance(told.get("inputs"), dict):
                rows = [(n, str((i or {}).get("about", ""))) for n, i in told["inputs"].items() if isinstance(i, dict)]
                with formatter.section(f"Inputs of {Path(word).stem}, each an option above or -p NAME VALUE"):
                    formatter.write_dl(rows)
                return


def _smoke(context: click.Context, _parameter: click.Parameter, told: bool) -> None:
    context.meta[_SMOKE] = told


def _profile(named: str | None) -> str | None:
    """The profile that --profile or --smoke names."""
    if not click.get_current_context().meta[_SMOKE]:
        return named
    if named not in (None, "smoke"):
        raise ParameterError(f"--smoke is --profile smoke, and --profile says {named!r}. Name one of them.")
    return "smoke"


@click.command(cls=_Run, short_help="Run a notebook or a recipe.")
@click.argument("what", shell_complete=complete_what)
@_inputs
@_PARAMETERS
@click.option(
    "--profile", metavar="NAME", shell_complete=complete_profile, help="Run a recipe under one of its profiles."
)
@click.option(
    "--smoke", is_flag=True, expose_value=False, callback=_smoke,
    help="Short for --profile smoke: does all of the recipe work?",
)  # fmt: skip
@_RERUN
@_WORKERS
@_CLUSTER
@click.option("--dry-run", is_flag=True, help="Only show what would run, and what is done already.")
@click.option("--publish-to", metavar="URL", help="Publish what ends well: s3://bucket/folder, gs://..., file:///...")
@asking_here()
def run(
    what: str,
    parameters: tuple[tuple[str, str], ...],
    profile: str | None,
    rerun: Rerun,
    workers: int | None,
    cluster: str | None,
    dry_run: bool,
    publish_to: str | None,
    **inputs: Any,
) -> Answer | None:
    """Run WHAT: a notebook (3_finetune, finetune) or a recipe (quickstart, a YAML file)."""
    from gisttools.workflow import PUBLISH_TO, VERBS, Step, checked_recipe, run_notebook, run_recipe

    if publish_to:
        os.environ[PUBLISH_TO] = publish_to  # for this command, kernels and workers
    named = {
        n: list(v) if isinstance(v, tuple) else v for n in _INPUTS if (v := inputs[f"input_{n}"]) not in (None, ())
    }
    given = named | {name: _value(name, text) for name, text in parameters}
    profile = _profile(profile)
    verb = re.sub(r"^\d_", "", Path(what).stem)
    if Path(what).suffix in (".yaml", ".yml") or verb not in VERBS:
        path = _recipe_of(what, VERBS)
        if dry_run:
            recipe = checked_recipe(path, overrides=given, profile=profile)
            return _preview(path.stem, recipe.steps, rerun, notes=recipe.notes)
        done = run_recipe(path, overrides=given, profile=profile, rerun=rerun, workers=workers, cluster=cluster)
    elif named:
        known = ", ".join(_with_inputs())
        options = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise ParameterError(
            f"{options}: inputs of recipes ({known}), and {what} is a notebook. Say -p NAME VALUE; "
            f"gisttools parameters {verb} lists its names."
        )
    elif profile is not None:
        there = (recipes_folder() / f"{verb}.yaml").is_file()
        fix = f"Say {verb}.yaml for the recipe." if there else "Leave out the profile."
        raise ParameterError(f"Profiles belong to recipes, and {what} is a notebook. {fix}")
    elif dry_run:
        return _preview(verb, [Step(name=verb, verb=verb, parameters=given)], rerun)
    elif workers in (None, 1) and cluster is None:
        done = [run_notebook(verb, given, rerun=rerun)]
    else:
        from gisttools.workflow import run_single  # loads what embeds and scores, seconds that a mistake need not wait

        done = [run_single(verb, given, rerun=rerun, workers=workers, cluster=cluster)]
    if os.environ.get("RANK", "0") != "0":  # the first of several processes says what came out
        return None
    return Answer(data=partial(_facts, done), lines=[*_result(done[-1]), *_use(done), *_places(done)])


def _facts(done: Sequence[FinishedRun]) -> dict[str, Any]:
    """What came out, and of each run that belongs to it what `gisttools runs` says of it and the numbers it left."""
    last = done[-1]
    rows = [
        {
            "run_id": run.id,
            "verb": run.verb,
            "status": run.status,
            "headline": run.headline,
            "missing": run.missing or None,
            "seconds": run.seconds,
            "folder": run.folder,
            "summary": run.summary,
        }
        for run in done
    ]
    told = {"headline": last.headline, "smoke": last.smoke, "missing": last.missing or None}
    return {**told, "model": _model_of(done), "report": _page_of(last), "runs": rows}


def _recipe_of(what: str, verbs: Collection[str]) -> Path:
    """The recipe's file, by path or by its name in the project."""
    path = Path(what) if Path(what).is_file() else recipes_folder() / f"{Path(what).stem}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in recipes_folder().glob("*.yaml"))
        raise MissingError(
            f"There is no notebook and no recipe {what!r}.{did_you_mean(what, [*verbs, *known])} "
            f"Notebooks: {', '.join(verbs)}. Recipes: {', '.join(known)}."
        )
    return path


def _with_inputs() -> list[str]:
    """The project's recipes that have inputs."""
    return [path.stem for path in sorted(recipes_folder().glob("*.yaml")) if _recipe(path.stem).get("inputs")]


def _result(run: FinishedRun) -> Iterator[str]:
    mark = click.style("SMOKE RUN, its numbers mean nothing: ", fg="yellow") if run.smoke else ""
    yield f"\n{mark}{_with_verdict(run.headline)}"
    if run.missing:
        yield f"Not finished: {run.missing}"


def _with_verdict(headline: str) -> str:
    """A headline, its verdict in a colour where there are colours."""
    colours = {"HELPED": "green", "HURT": "red"}
    return re.sub(r"\b(HELPED|HURT)\b", lambda m: click.style(m.group(), fg=colours[m.group()], bold=True), headline)


def _places(done: Sequence[FinishedRun]) -> Iterator[str]:
    """Where the model and the page lie, as the last lines: they are what people open next."""
    places = [("Model", _model_of(done)), ("Report", _page_of(done[-1]))]
    if not any(path for _, path in places):
        places = [("Folder", done[-1].folder)]
    yield ""
    for title, path in places:
        if path is not None:
            yield f"{click.style(f'{title}:', bold=True)} {' ' * (6 - len(title))}{_short(path)}"


def _model_of(done: Sequence[FinishedRun]) -> Path | None:
    """The folder of the model that an evaluation left, the first of two, else of the last one that was trained."""
    left = [
        run.folder / model["folder"]
        for run in reversed(done)
        if run.verb == "evaluate"
        for model in (run.summary.get("advice") or {}).get("models") or []
    ]
    evaluated = [run.parameters.get("model") for run in done if run.verb == "evaluate"]
    named = evaluated[-1] if evaluated else None
    meant = {Path(str(name)).name for name in ([named] if isinstance(named, str) else named or [])}
    trained = [
        run.folder / "model"
        for run in reversed(done)
        if run.verb == "finetune" and (not evaluated or meant == {run.id})  # of several none is the one
    ]
    return next((folder for folder in [*left, *trained] if folder.is_dir()), None)


def _page_of(run: FinishedRun) -> Path | None:
    pages = (run.folder / name for name in ("report.html", "leaderboard.html", "browse.html"))
    return next((page for page in pages if page.exists()), None)


def _short(path: Path) -> Path:
    """Seen from here where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _use(done: Sequence[FinishedRun]) -> Iterator[str]:
    """How to use the model that the last evaluation left."""
    for run in reversed(done):
        models = (run.summary.get("advice") or {}).get("models") if run.verb == "evaluate" else None
        if not models:
            continue
        from gisttools.evaluation import python_lines, shell_lines

        for model in models:
            folder = _short(run.folder / model["folder"])
            told = {**model, "text_column": run.parameters.get("text_column")}
            yield f"\n{click.style('Use it', bold=True)} ({model['name']}):"
            for line in [*shell_lines(folder, told), *(line for line in python_lines(folder, told) if line)]:
                yield f"  {line}"
        return


def _preview(name: str, steps: Sequence[Step], rerun: Rerun, notes: Sequence[str] = ()) -> Answer:
    from gisttools.workflow import preview

    previews = preview(steps, rerun=rerun)
    count = {state: sum(p.state == state for p in previews) for state in ("done", "to run", "refused")}
    lines = [f"{name}: {', '.join(f'{n} {state}' for state, n in count.items() if n)}. Nothing was run.\n"]
    lines += [f"{note}\n" for note in notes]
    for i, step in enumerate(previews, 1):
        first, *rest = step.lines()
        lines += [f"[{i}/{len(previews)}] {first}", *rest]
    rows = [
        {
            "step": p.step.name,
            "verb": p.step.verb,
            "state": p.state,
            "run": p.run.id if p.run else None,
            "after": p.after,
            "note": p.note or None,
            "changed": p.params.changed(),
        }
        for p in previews
    ]
    return Answer(data={"notes": notes, "steps": rows}, lines=lines)


def _value(name: str, text: str) -> object:
    try:
        return parse_yaml(text)
    except YamlProblem as error:
        raise ParameterError(f"-p {name} {text!r} is not YAML: {error}. Quote it.") from None
