"""`gisttools runs`: what has run, filtered and sorted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
import yaml

from gisttools.commands import wording
from gisttools.commands.complete import Remembering, complete_parameter, complete_verb, known_verb
from gisttools.common import did_you_mean

if TYPE_CHECKING:
    from gisttools.workflow import Listed

_STATUS = ("ok", "failed", "running", "unfinished", "damaged")
_SORT: dict[str, Callable[[Listed], Any]] = {
    "started": lambda run: run.started,
    "seconds": lambda run: run.seconds or 0,
    "verb": lambda run: (run.verb, run.started),
    "status": lambda run: (run.status, run.started),
    "headline": lambda run: run.headline,
}
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _since(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    if ago := re.fullmatch(r"(\d{1,6})([mhdw])", text.strip()):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a date (2026-01-31) nor a time ago (90m, 12h, 3d, 2w)."
        ) from None


@click.command(cls=Remembering, short_help="Show what has run, filtered and sorted.")
@click.argument("verb", required=False, callback=known_verb, shell_complete=complete_verb)
@click.option("--status", "states", type=click.Choice(_STATUS), multiple=True, help="Only these; may be repeated.")
@click.option("--text", metavar="WORDS", help="Only runs whose id, headline, parameters or error hold this text.")
@click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", shell_complete=complete_parameter,
    help="Only runs with this value of a parameter, read as YAML; of a list, one of its values.",
)  # fmt: skip
@click.option("--since", metavar="WHEN", callback=_since, help="Only runs started since: 2026-01-31, 90m, 12h, 3d, 2w.")
@click.option("--sort", type=click.Choice(list(_SORT)), default="started", show_default=True, help="The largest last.")
@click.option("--reverse", is_flag=True, help="The largest, or newest, first.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Only so many, the newest or largest.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known of each as JSON.")
def runs(
    verb: str | None,
    states: tuple[str, ...],
    text: str | None,
    parameters: tuple[tuple[str, str], ...],
    since: datetime | None,
    sort: str,
    reverse: bool,
    last: int | None,
    as_json: bool,
) -> None:
    """Show what has run, the newest last; VERB limits it to one notebook."""
    from gisttools.workflow import all_runs

    wanted = [(name, _value(name, told, verb)) for name, told in parameters]
    every = [run for run in all_runs() if verb is None or run.verb == verb]
    found = [
        run
        for run in every
        if (not states or run.status in states)
        and (text is None or text.casefold() in _text_of(run))
        and all(_has(run, name, value) for name, value in wanted)
        and (since is None or run.started >= since)
    ]
    found.sort(key=_SORT[sort])
    found = found[-last:] if last else found
    if reverse:
        found.reverse()
    if as_json:
        click.echo(json.dumps([run.as_dict() for run in found], indent=1, ensure_ascii=False))
    elif not every:
        click.echo(f"No {verb or 'notebook'} has run yet. Try: gisttools run {verb or 'quickstart'}")
    elif not found:
        click.echo(f"None of {len(every)} runs is like that.")
    else:
        width, status_width = (max(len(getattr(run, name)) for run in found) for name in ("run_id", "status"))
        for run in found:
            status = wording.status(run.status, status_width)
            click.echo(f"{run.run_id:<{width}}  {status}  {wording.seconds(run.seconds):>11}  {run.headline}")


def _value(name: str, text: str, verb: str | None) -> Any:
    from gisttools.workflow import VERBS

    known = {field for v, model in VERBS.items() if verb in (None, v) for field in model.model_fields}
    if name not in known:
        of = verb or "any notebook"
        raise click.BadParameter(f"{name!r} is no parameter of {of}.{did_you_mean(name, known)}", param_hint="-p")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _has(run: Listed, name: str, value: Any) -> bool:
    if name not in run.manifest.get("parameters", {}):
        return False
    own = run.manifest["parameters"][name]
    return _equal(own, value) or (isinstance(own, list) and any(_equal(one, value) for one in own))


def _equal(own: Any, value: Any) -> bool:
    """Whether a parameter has this value: 1 is not true, and YAML's text 1e-5 is a number."""
    if isinstance(own, float) and isinstance(value, str):
        try:
            return own == float(value)
        except ValueError:
            return False
    return own == value and isinstance(own, bool) == isinstance(value, bool)


def _text_of(run: Listed) -> str:
    told = [run.manifest.get("parameters", {}), (run.manifest.get("error") or {}).get("message", "")]
    return f"{run.run_id}\n{run.headline}\n{json.dumps(told, ensure_ascii=False)}".casefold()
