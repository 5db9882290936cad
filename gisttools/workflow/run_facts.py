"""All there is to say of one run: outcome, what was set, where it comes from, what was made of it, files and times."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gisttools.common import MissingError
from gisttools.workflow.manifest import LOCK, MANIFEST
from gisttools.workflow.params import VERBS
from gisttools.workflow.places import results_folder
from gisttools.workflow.run_list import Listed, all_runs, listed

_PAGES = ("report.html", "leaderboard.html", "browse.html", "notebook.html")


def run_facts(folder: Path) -> dict[str, Any]:
    """What `gisttools show` says of a run, as JSON values.

    Beside the manifest: `changed` (parameter -> value and default, where they differ), `parents` and `children` (id,
    verb, status, headline; status None of one that is no longer there), `files` (name -> bytes; of a run that left no
    manifest all that it wrote), `cells` (seconds by cell, of an executed notebook), `page` (what to open first).

    Raises:
        MissingError: it was removed just now.
    """
    run = listed(folder)
    if run is None:
        raise MissingError(f"Run {folder.name} is no longer there. See `gisttools runs`.")
    runs = {other.run_id: other for other in all_runs()}
    children = [r for r in runs.values() if run.run_id in r.manifest.get("parents", ())]
    return {
        **run.as_dict(),
        "changed": changed_parameters(run),
        "parents": [_brief(name, runs) for name in run.manifest.get("parents", ())],
        "children": [_brief(r.run_id, runs) for r in children],
        "files": _files(run),
        "cells": _cell_seconds(folder / "notebook.ipynb"),
        "page": next((str(folder / name) for name in _PAGES if (folder / name).is_file()), None),
    }


def changed_parameters(run: Listed) -> dict[str, dict[str, Any]]:
    """Parameter -> value and default, of those that differ. A parameter that exists no more has no default."""
    defaults = VERBS[run.verb].defaults() if run.verb in VERBS else {}
    found = {}
    for name, value in run.manifest.get("parameters", {}).items():
        if name not in defaults:
            found[name] = {"value": value}
        elif value != defaults[name]:
            found[name] = {"value": value, "default": defaults[name]}
    return found


def _brief(name: str, runs: dict[str, Listed]) -> dict[str, Any]:
    run = runs.get(name) or (listed(results_folder() / name) if (results_folder() / name).is_dir() else None)
    if run is None:
        return {"run_id": name, "verb": name.split("-")[0], "status": None, "headline": "no longer there"}
    return {"run_id": run.run_id, "verb": run.verb, "status": run.status, "headline": run.headline}


def _files(run: Listed) -> dict[str, int | None]:
    names: Iterable[str] = run.manifest.get("artefacts", ())
    if not run.manifest:
        paths = (p for p in sorted(run.folder.rglob("*")) if p.is_file() and p.name not in (LOCK, MANIFEST))
        names = [p.relative_to(run.folder).as_posix() for p in paths]
    return {name: _size(run.folder / name) for name in names}


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _cell_seconds(notebook: Path) -> dict[str, float]:
    """Seconds of each cell that ran, by its name; empty where papermill did not run the notebook."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        told = [(str(c.get("id")), c["metadata"].get("papermill", {}).get("duration")) for c in cells]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: round(seconds, 2) for name, seconds in told if seconds is not None}
