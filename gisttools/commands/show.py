"""`gisttools show`: one run, to be read."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from gisttools.commands import wording
from gisttools.commands.complete import complete_run

_SOME_CELLS = 3
_ONE_BY_ONE = 12  # artefacts; of more, folders are summed up


@click.command(short_help="Show one run.")
@click.argument("run", default="latest", shell_complete=complete_run)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def show(run: str, as_json: bool) -> None:
    """Show one RUN: what came out, what was set, where it comes from and what it left.

    RUN is an id, the beginning of one, a folder, or "latest", which is also meant where none is named.
    """
    from gisttools.workflow import find_run, run_facts

    facts = run_facts(find_run(run))
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    click.echo(click.style(facts["run_id"], bold=True))
    click.echo(f"{wording.status(facts['status'])}: {facts['headline']}")
    for title, lines in _parts(facts):
        if lines:
            click.echo("\n".join([f"\n{title}", *lines]))


def _parts(facts: dict[str, Any]) -> list[tuple[str, list[str]]]:
    files, error = facts["files"], facts.get("error")
    total = sum(n or 0 for n in files.values())
    return [
        ("error", _error(error) if error else []),
        ("run", _run(facts)),
        ("parameters that differ from the defaults", _parameters(facts["changed"])),
        ("parents", _relatives(facts["parents"])),
        ("children", _relatives(facts["children"])),
        (f"files ({len(files)}, {wording.size(total)})", _files(files)),
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
        rows.append(("time", f"{wording.seconds(facts['seconds'])} {took}{_slowest(facts['cells'])}"))
    rows.append(("folder", facts["folder"]))
    if facts["page"]:
        rows.append(("page", facts["page"]))
    return wording.columns(rows)


def _slowest(cells: dict[str, float]) -> str:
    slow = sorted(((n, name) for name, n in cells.items() if n >= 0.1), reverse=True)[:_SOME_CELLS]
    return f"; cells: {', '.join(f'{name} {wording.seconds(n)}' for n, name in slow)}" if slow else ""


def _parameters(changed: dict[str, dict[str, Any]]) -> list[str]:
    def told(found: dict[str, Any]) -> str:
        return f"(default {_json(found['default'])})" if "default" in found else "(no longer a parameter)"

    return wording.columns((name, _json(found["value"]), told(found)) for name, found in changed.items())


def _relatives(runs: list[dict[str, Any]]) -> list[str]:
    width = max((len(run["run_id"]) for run in runs), default=0)
    return [f"  {run['run_id']:<{width}}  {wording.status(run['status'])}  {run['headline']}" for run in runs]


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
        rows.append((name, wording.size(sum(n or 0 for n in counts)) + several + gone))
    return wording.columns(rows)


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
    return wording.columns(rows)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
