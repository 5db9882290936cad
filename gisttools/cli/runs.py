"""Looks after runs: `gisttools runs` lists them, `show` tells one, `compare` which evaluated recipe is best.

`clean` removes runs that nobody needs, after asking; `verify` checks that files are still those that the runs wrote;
`publish` copies a finished run to where others can read it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from gisttools.cli.answers import NO, Answer
from gisttools.cli.complete import Remembering, complete_parameter, complete_run, complete_verb, known_verb
from gisttools.common import GistError, ParameterError, YamlProblem, did_you_mean, parse_yaml, results_folder

if TYPE_CHECKING:
    from gisttools.workflow import Kind, ListedRun, Removal

COLOURS = {"ok": "green", "failed": "red", "running": "cyan", "unfinished": "yellow", "damaged": "red"}


def byte_size(count: int) -> str:
    """A number of bytes, in decimal units.

    >>> byte_size(999), byte_size(1_500), byte_size(90_868_376)
    ('999 B', '1.5 kB', '90.9 MB')
    """
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.95:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def elapsed(count: float | None) -> str:
    """A duration; a dash where it is not known.

    >>> elapsed(1.25), elapsed(75), elapsed(3700), elapsed(None)
    ('1.2 s', '1 min 15 s', '1 h 1 min', '-')
    """
    if count is None:
        return "-"
    if count < 60:
        return f"{count:.1f} s"
    minutes, rest = divmod(round(count), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def coloured(name: str | None, width: int = 0) -> str:
    """A status, in its colour where there are colours."""
    return click.style(f"{name or 'gone':<{width}}", fg=COLOURS.get(name or ""))


def aligned(rows: Iterable[Sequence[object]], indent: str = "  ") -> list[str]:
    """Rows of cells as lines, all columns but the last padded to their widest cell."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)][:-1] if texts else []
    return [
        indent + "  ".join([*(f"{c:<{w}}" for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in texts
    ]


_STATUS = ("ok", "failed", "running", "unfinished", "damaged")
_SORT: dict[str, Callable[[ListedRun], Any]] = {
    "started": lambda run: run.started,
    "seconds": lambda run: run.seconds or 0,
    "verb": lambda run: (run.verb, run.started),
    "status": lambda run: (run.status, run.started),
    "headline": lambda run: run.headline,
}
_REVERSE = "gisttools.reverse"
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


def _reverse(context: click.Context, _parameter: click.Parameter, told: bool) -> None:
    context.meta[_REVERSE] = told


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
@click.option("--reverse", is_flag=True, expose_value=False, callback=_reverse, help="The largest, or newest, first.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Only so many, the newest or largest.")
def runs(
    verb: str | None,
    states: tuple[str, ...],
    text: str | None,
    parameters: tuple[tuple[str, str], ...],
    since: datetime | None,
    sort: str,
    last: int | None,
) -> Answer:
    """Show what has run, the newest last; VERB limits it to one notebook."""
    from gisttools.workflow import all_runs

    tests: list[Callable[[ListedRun], bool]] = [
        lambda run: not states or run.status in states,
        lambda run: text is None or text.casefold() in _text_of(run),
        lambda run: since is None or run.started >= since,
        *(partial(_has, name=name, value=_value(name, told, verb)) for name, told in parameters),
    ]
    every = [run for run in all_runs() if verb is None or run.verb == verb]
    found = sorted((run for run in every if all(test(run) for test in tests)), key=_SORT[sort])
    found = found[-last:] if last else found
    found = found[::-1] if click.get_current_context().meta[_REVERSE] else found
    return Answer(data=(run.as_dict() for run in found), lines=_list(found, len(every), verb))


def _list(found: Sequence[ListedRun], of: int, verb: str | None) -> Iterator[str]:
    if not of:
        yield f"No {verb or 'notebook'} has run yet. Try: gisttools run {verb or 'quickstart'}"
    elif not found:
        yield f"None of {of} runs is like that."
    else:
        columns = shutil.get_terminal_size().columns
        width, status_width = (max(len(getattr(run, name)) for run in found) for name in ("run_id", "status"))
        for run in found:
            status = coloured(run.status, status_width)
            told = f"{run.run_id:<{width}}  {status}  {elapsed(run.seconds):>11}"
            yield from _beside(told, f"SMOKE: {run.headline}" if run.run and run.run.smoke else run.headline, columns)


def _beside(told: str, headline: str, columns: int) -> Iterator[str]:
    """A line with the headline behind it, or below it where the terminal is too narrow; nothing is cut."""
    if len(click.unstyle(told)) + 2 + len(headline) <= columns:
        yield f"{told}  {headline}".rstrip()
        return
    yield told
    yield from (f"    {line}" for line in textwrap.wrap(headline, max(columns - 4, 30), break_on_hyphens=False))


def _value(name: str, text: str, verb: str | None) -> object:
    from gisttools.workflow import VERBS

    known = {field for v, model in VERBS.items() if verb in (None, v) for field in model.model_fields}
    if name not in known:
        of = verb or "any notebook"
        raise click.BadParameter(f"{name!r} is no parameter of {of}.{did_you_mean(name, known)}", param_hint="-p")
    try:
        return parse_yaml(text)
    except YamlProblem:
        return text


def _has(run: ListedRun, name: str, value: object) -> bool:
    if name not in run.parameters:
        return False
    own = run.parameters[name]
    return _equal(own, value) or (isinstance(own, list) and any(_equal(one, value) for one in own))


def _equal(own: object, value: object) -> bool:
    """Whether a parameter has this value: 1 is not true, and YAML's text 1e-5 is a number."""
    if isinstance(own, float) and isinstance(value, str):
        try:
            return own == float(value)
        except ValueError:
            return False
    return own == value and isinstance(own, bool) == isinstance(value, bool)


def _text_of(run: ListedRun) -> str:
    told = [run.parameters, run.run.error if run.run else ""]
    return f"{run.run_id}\n{run.headline}\n{json.dumps(told, ensure_ascii=False)}".casefold()


_SOME_CELLS = 3
_ONE_BY_ONE = 12  # artefacts; of more, folders are summed up


@click.command(short_help="Show one run.")
@click.argument("run", default="latest", shell_complete=complete_run)
def show(run: str) -> Answer:
    """Show one RUN: what came out, what was set, where it comes from and what it left.

    RUN is an id, the beginning of one, a folder, or "latest", which is also meant where none is named.
    """
    from gisttools.workflow import find_run, run_facts

    facts = run_facts(find_run(run))
    return Answer(data=facts, lines=_told(facts))


def _told(facts: dict[str, Any]) -> Iterator[str]:
    yield click.style(facts["run_id"], bold=True)
    yield f"{coloured(facts['status'])}: {facts['headline']}"
    for title, lines in _parts(facts):
        if lines:
            yield "\n".join([f"\n{title}", *lines])


def _parts(facts: dict[str, Any]) -> list[tuple[str, list[str]]]:
    files, error = facts["files"], facts.get("error")
    total = sum(n or 0 for n in files.values())
    return [
        ("error", _error(error) if error else []),
        ("run", _run(facts)),
        ("warnings", [f"  {line}" for line in facts["warnings"]]),
        ("parameters that differ from the defaults", _parameters(facts["changed"])),
        ("chosen by the step", aligned((name, _json(value)) for name, value in facts["resolved"].items())),
        ("parents", _relatives(facts["parents"])),
        ("children", _relatives(facts["children"])),
        (f"files ({len(files)}, {byte_size(total)})", _files(files)),
        ("made with", _made_with(facts)),
    ]


def _error(error: dict[str, Any]) -> list[str]:
    where = [f"  in cell {error['cell']!r}"] if error.get("cell") else []
    return [*(f"  {line}" for line in (error.get("message") or "").splitlines()), *where]


def _run(facts: dict[str, Any]) -> list[str]:
    started = datetime.fromisoformat(facts["started"]).astimezone()
    took = "so far" if facts["status"] == "running" else "in all"
    rows = [("started", f"{started:%Y-%m-%d %H:%M:%S %Z}".rstrip())]
    if facts["seconds"] is not None:
        rows.append(("time", f"{elapsed(facts['seconds'])} {took}{_slowest(facts['cells'])}"))
    rows.append(("folder", facts["folder"]))
    if facts["page"]:
        rows.append(("page", facts["page"]))
    return aligned(rows)


def _slowest(cells: dict[str, float]) -> str:
    slow = sorted(((n, name) for name, n in cells.items() if n >= 0.1), reverse=True)[:_SOME_CELLS]
    return f"; cells: {', '.join(f'{name} {elapsed(n)}' for n, name in slow)}" if slow else ""


def _parameters(changed: dict[str, dict[str, Any]]) -> list[str]:
    def told(found: dict[str, Any]) -> str:
        return f"(default {_json(found['default'])})" if "default" in found else "(no longer a parameter)"

    return aligned((name, _json(found["value"]), told(found)) for name, found in changed.items())


def _relatives(runs: list[dict[str, Any]]) -> list[str]:
    width = max((len(run["run_id"]) for run in runs), default=0)
    return [f"  {run['run_id']:<{width}}  {coloured(run['status'])}  {run['headline']}" for run in runs]


def _files(files: dict[str, int | None]) -> list[str]:
    groups: dict[str, list[int | None]] = {}
    for name, count in files.items():
        top, slash, _ = name.partition("/")
        groups.setdefault(top + slash if len(files) > _ONE_BY_ONE else name, []).append(count)
    rows = []
    for name, counts in groups.items():
        several = f" ({len(counts)} files)" if name.endswith("/") else ""
        missing = sum(n is None for n in counts)
        gone = "" if not missing else ", missing" if len(counts) == 1 else f", {missing} missing"
        rows.append((name, byte_size(sum(n or 0 for n in counts)) + several + gone))
    return aligned(rows)


def _made_with(facts: dict[str, Any]) -> list[str]:
    rows = []
    if versions := facts.get("versions"):
        rows.append(("versions", ", ".join(f"{name} {v}" for name, v in versions.items() if v)))
    if machine := facts.get("hardware"):
        memory = f", {machine['memory_gb']} GB" if machine.get("memory_gb") else ""
        gpus = f", {', '.join(machine['gpu'])}" if machine.get("gpu") else ""
        rows.append(("machine", f"{machine.get('cpu')}, {machine.get('cores')} cores{memory}{gpus}"))
    if (git := facts.get("git")) and git.get("sha"):
        rows.append(("git", git["sha"][:12] + (" with changes" if git.get("dirty") else "")))
    if facts.get("spec_hash"):
        rows.append(("spec", facts["spec_hash"][:16]))
    return aligned(rows)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


_KINDS = ("unfinished", "failed", "superseded")


@click.command(short_help="Remove runs that nobody needs, after asking.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option("--only", "kinds", type=click.Choice(_KINDS), multiple=True, help="Only these; may be repeated.")
@click.option("--checkpoints", is_flag=True, help="Also checkpoints of trainings that were stopped.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clean(runs: tuple[str, ...], kinds: tuple[Kind, ...], checkpoints: bool, yes: bool) -> Answer:
    """Remove runs that were stopped, failed, or ran again later with the same spec; or the RUNs that are named.

    Shows what would go and how large it is, and asks. What other finished runs depend on stays, and so does a run under
    way. With --json nobody is asked: without --yes nothing is removed.
    """
    from gisttools.workflow import find_runs, removable, removable_by_name, stale_checkpoints

    if runs and (kinds or checkpoints):
        raise ParameterError("Name runs, or say which kinds: both at once is not clear.")

    def candidates() -> list[Removal]:
        if runs:
            return removable_by_name(find_runs(runs))
        return (removable(kinds) if kinds else removable()) + (stale_checkpoints() if checkpoints else [])

    found, removed, failed = candidates(), [], []
    said = ["There is nothing to remove."]
    if found and not _agreed(found, yes):
        return Answer(data={"found": _as_rows(found), "removed": [], "failed": []}, lines=["Nothing was removed."])
    if found:
        still = {r.folder for r in candidates()}  # while the question stood, another run may have begun to need one
        removed, failed = _remove([r for r in found if r.folder in still])
        said = [f"Removed {len(removed)}, {_size(removed)}."]
    if not runs and not checkpoints and (left := stale_checkpoints()):
        said.append(
            f"Kept: checkpoints of stopped trainings ({_size(left)}), which go on from them when run again. "
            "--checkpoints removes them."
        )
    data = {"found": _as_rows(found), "removed": [r.folder for r in removed], "failed": failed}
    return Answer(data=data, lines=said, status=NO if failed else 0)


def _size(found: Iterable[Removal]) -> str:
    return byte_size(sum(r.bytes for r in found))


def _as_rows(found: Sequence[Removal]) -> list[dict[str, Any]]:
    return [{"folder": r.folder, "bytes": r.bytes, "why": r.why} for r in found]


def _agreed(found: Sequence[Removal], yes: bool) -> bool:
    """Show what would go, and ask unless yes is said already."""
    for line in aligned([(r.folder.name, byte_size(r.bytes), r.why) for r in found]):
        click.echo(line)
    total = f"{len(found)} folder{'s' if len(found) > 1 else ''}, {_size(found)}"
    as_json = click.get_current_context().find_root().params["as_json"]
    return yes or (not as_json and click.confirm(f"Remove {total}?"))


def _remove(removals: Sequence[Removal]) -> tuple[list[Removal], list[str]]:
    """What was removed, and why some was not."""
    from gisttools.workflow import remove

    removed, failed = [], []
    for removal in removals:
        try:
            remove(removal)
            removed.append(removal)
        except GistError as error:
            failed.append(str(error))
            click.echo(str(error), err=True)
    return removed, failed


@click.command(short_help="Check runs against their checksums.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
def verify(runs: tuple[str, ...]) -> Answer:
    """Check the artefacts of finished runs against their checksums; all runs, where no RUN is named.

    The exit status is 3 if anything changed or is missing.
    """
    from gisttools.workflow import all_runs, find_runs, verify_run

    folders = find_runs(runs) or [run.folder for run in all_runs() if run.finished or run.status == "damaged"]
    every = []
    for folder in folders:
        every.append(found := verify_run(folder))
        mark = click.style("ok", fg="green") if found.ok else click.style("no", fg="red")
        click.echo(f"{mark}  {found.run_id}  {found.files} files, {byte_size(found.bytes)}")
        for what, names in (("changed", found.changed), ("missing", found.missing)):
            for name in names:
                click.echo(f"      {what}: {name}")
        if found.damaged:
            click.echo("      changed: manifest.json cannot be read")
    bad = sum(not found.ok for found in every)
    files, read = sum(found.files for found in every), byte_size(sum(found.bytes for found in every))
    told = f"{bad} not as written" if bad else "all as written"
    lines = [f"{len(folders)} run{'' if len(folders) == 1 else 's'}, {files} files, {read}: {told}"]
    lines += ["Run what changed again; `gisttools clean RUN` removes it."] if bad else []
    return Answer(data=[asdict(f) | {"ok": f.ok} for f in every], lines=lines, status=NO if bad else 0)


@click.command(short_help="Copy a finished run to a URL.")
@click.argument("run", shell_complete=complete_run)
@click.argument("url", required=False)
def publish(run: str, url: str | None) -> Answer:
    """Publish RUN, and the runs that it came from, to URL: s3://bucket/folder, gs://..., file:///...

    Without URL to $GISTTOOLS_PUBLISH_TO. What is there already is not written again.
    """
    from gisttools.workflow import PUBLISH_TO, find_runs, load_env_files, publish

    load_env_files()
    url = url or os.environ.get(PUBLISH_TO)
    if not url:
        raise ParameterError(f"Say where to: gisttools publish {run} s3://bucket/folder, or set {PUBLISH_TO}.")
    (folder,) = find_runs([run])
    written = [f"{url.rstrip('/')}/{name}" for name in publish(folder, url)]
    lines = [f"published {name}" for name in written] or [f"{folder.name} is already there."]
    return Answer(data={"run": folder.name, "url": url, "published": written}, lines=lines)


@click.command(short_help="Show which evaluated recipe is best.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option("--task", metavar="NAME", help="Score this task; else the mean of the targets.")
def compare(runs: tuple[str, ...], task: str | None) -> Answer:
    """Show which of several evaluated recipes is best, and what each parameter does.

    RUNs are evaluate runs, by id or folder; without any, the newest and all that can be compared with it: same
    baseline, same tasks. Runs that differ only in seeds are one recipe. The notebook 7_compare makes a page of it.
    """
    from gisttools.evaluation import leaderboard
    from gisttools.report import leaderboard_text
    from gisttools.workflow import contenders_to_compare, find_runs

    names = [f.name if f.parent == results_folder() else str(f) for f in find_runs(runs)]
    board = leaderboard(contenders_to_compare(names), task=task)
    return Answer(data=board.summary(), lines=[leaderboard_text(board)])
