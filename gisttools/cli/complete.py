"""Offers what fits when Tab is pressed: verbs, recipes, run ids, parameter names and values; and checks verbs.

A completion must be silent: what cannot be read offers nothing.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from gisttools.common import GistError, did_you_mean, read_yaml, recipes_folder, results_folder

if typing.TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_ARGUMENTS = "gisttools.arguments"


class Remembering(click.Command):
    """A command that tells completions what was typed before: of `-p NAME VALUE` click itself does not say which."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def known_verb(_context: click.Context, _parameter: click.Parameter, verb: str | None) -> str | None:
    """A callback that refuses what is no verb."""
    from gisttools.workflow import VERBS

    if verb is not None and verb not in VERBS:
        raise click.BadParameter(f"{verb!r} is none of {', '.join(VERBS)}.{did_you_mean(verb, VERBS)}")
    return verb


def complete_verb(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Verbs."""
    from gisttools.workflow import VERBS

    return _beginning(VERBS, incomplete)


def complete_what(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What `gisttools run` takes: verbs, recipes, or a file."""
    from gisttools.workflow import VERBS

    return _beginning([*VERBS, *(p.stem for p in _recipes())], incomplete) or [CompletionItem(incomplete, type="file")]


def complete_profile(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Profiles of the recipe that stands before."""
    return _beginning(recipe_of(_what(context)).get("profiles") or {}, incomplete)


def complete_run(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Run ids, the newest first, and "latest"."""
    from gisttools.workflow import RUN_ID

    ids = [m for m in map(RUN_ID.fullmatch, _names_of_runs()) if m]
    ids.sort(key=lambda m: m["time"], reverse=True)
    return _beginning(["latest", *(m.group() for m in ids)], incomplete)


def complete_parameter(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """After -p a parameter's name (of a recipe STEP.NAME), then its values where there are few, else a file."""
    typed: Sequence[str] = context.meta.get(_ARGUMENTS, ())
    fields = _fields(context)
    if len(typed) > 1 and typed[-2] in parameter.opts:
        return _beginning(_values(fields.get(typed[-1])), incomplete) or [CompletionItem(incomplete, type="file")]
    told = {name: field.description for name, field in fields.items()}
    return [CompletionItem(name, help=about) for name, about in told.items() if name.startswith(incomplete)]


def _fields(context: click.Context) -> dict[str, FieldInfo]:
    """The parameters that can be named: of the verb, of the steps of the recipe, or of all verbs."""
    from gisttools.workflow import VERBS

    what = _what(context)
    verb = Path(what).stem.split("_", 1)[-1] if Path(what).stem[:1].isdigit() else Path(what).stem
    if verb in VERBS and Path(what).suffix not in (".yaml", ".yml"):
        return dict(VERBS[verb].model_fields)
    if what:
        steps = [s for s in recipe_of(what).get("steps") or [] if s.get("verb") in VERBS]
        inputs = recipe_of(what).get("inputs")
        fields = {f"{s['name']}.{name}": f for s in steps for name, f in VERBS[s["verb"]].model_fields.items()}
        return _as_fields(inputs if isinstance(inputs, dict) else {}, fields) | fields
    return {name: field for model in VERBS.values() for name, field in model.model_fields.items()}


def _as_fields(inputs: dict, fields: dict[str, FieldInfo]) -> dict[str, FieldInfo]:
    """A recipe's inputs, each like the first parameter that it sets."""
    sets = {name: (one.get("sets") or [""])[0] for name, one in inputs.items() if isinstance(one, dict)}
    return {name: fields[place] for name, place in sets.items() if place in fields}


def _values(field: FieldInfo | None) -> list[str]:
    """The words that a parameter may be set to."""
    found: list[str] = []
    queue: list[object] = [field.annotation if field else None]
    while queue:
        kind = queue.pop(0)
        if kind is bool:
            found += ["true", "false"]
        elif kind is type(None):
            found.append("null")
        elif typing.get_origin(kind) is typing.Literal:
            found += [str(value) for value in typing.get_args(kind)]
        elif typing.get_origin(kind) is not list:
            queue += typing.get_args(kind)
    return found if found != ["null"] else []


def _what(context: click.Context) -> str:
    """The notebook or recipe that was named. While -p is incomplete click has not read it yet."""
    told = context.params.get("what") or context.params.get("verb")
    left = [a for a in context.args if not a.startswith("-")]
    return str(told or (left[0] if left else ""))


def _recipes() -> list[Path]:
    try:
        return sorted(recipes_folder().glob("*.yaml"))
    except GistError:  # no project here
        return []


def recipe_of(what: str) -> dict[str, typing.Any]:
    """What the file of a recipe holds, by its path or name; {} where there is none, or it cannot be read."""
    path = Path(what) if Path(what).is_file() else next((p for p in _recipes() if p.stem == Path(what).stem), None)
    try:
        content = read_yaml(path) if path else None
    except (OSError, ValueError, GistError):
        content = None
    return content if isinstance(content, dict) else {}


def _names_of_runs() -> list[str]:
    try:
        return [path.name for path in results_folder().iterdir()]
    except (OSError, GistError):
        return []


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
