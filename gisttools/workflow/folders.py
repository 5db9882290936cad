"""All there is to say of one run: outcome, what was set, where it comes from, what was made of it, files and times.

Finding runs: one notebook execution is one folder under `results/`, finished when its manifest is there.

All runs of the results folder, also those that failed, were killed or are under way; and runs found by their names.

There is no index file: manifests are small, a thousand are read in a fraction of a second (`benchmarks/workflow.py`),
and what is read each time is never out of date. Nothing is written: a folder that may only be read is listed too.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from gisttools.common import DataError, MissingError, ParameterError, problems, sha256
from gisttools.data import is_hub_name
from gisttools.workflow.manifest import LOCK, MANIFEST, read_manifest
from gisttools.workflow.params import VERBS
from gisttools.workflow.places import resolve, results_folder, run_folder

RUN_ID = re.compile(rf"(?P<verb>{'|'.join(VERBS)})-(?P<time>\d{{8}}T\d{{6}}Z)-(?P<spec>[0-9a-f]{{8}})")
log = logging.getLogger(__name__)


def finished_runs(verb: str | None = None) -> list[dict[str, Any]]:
    """Manifests of all finished runs, oldest first. One that cannot be read is left out and logged: its work counts as
    not done, and `gisttools runs` shows it."""
    found = []
    for path in results_folder().glob(f"{verb or '*'}-*/{MANIFEST}"):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:  # removed just now
            continue
        except ValueError as error:
            log.warning("%s is damaged and left out: %s", path, error)
    return sorted(found, key=lambda m: m["started"])


def latest(verb: str) -> str:
    """Id of the newest run of a verb that ended well.

    Raises:
        MissingError: there is none.
    """
    good = [m for m in finished_runs(verb) if m["status"] == "ok"]
    if not good:
        raise MissingError(f"No finished {verb} run in {results_folder()}. Run that notebook first.")
    return good[-1]["run_id"]


def artefact(name: str, file: str) -> Path:
    """A file of a run, checked against its checksum; or `name` itself, where that is a path and no run.

    Raises:
        MissingError: neither a run nor a file.
        DataError: the file is not the one that the run wrote.
    """
    folder = as_run(name)
    if folder is None:
        return resolve(name)
    manifest = good_manifest(folder)
    path = folder / file
    if path.is_dir():
        wanted = {k: v for k, v in manifest["artefacts"].items() if k.startswith(f"{file}/")}
    else:
        wanted = {k: v for k, v in manifest["artefacts"].items() if k == file}
    if not wanted:
        raise MissingError(f"Run {folder.name} has no artefact {file}; it has {', '.join(manifest['artefacts'])}.")
    changed = [k for k, v in wanted.items() if not (folder / k).exists() or sha256(folder / k) != v]
    if changed:
        raise DataError(f"Run {folder.name}: {', '.join(changed)} changed since the run. Run it again.")
    return path


def read_summary(run: str) -> dict[str, Any]:
    """The numbers that a finished run left; raises as `artefact` does."""
    return json.loads(artefact(run, "summary.json").read_text(encoding="utf-8"))


def inputs(names: Iterable[str], file: str) -> list[str]:
    """`artefact` for several names; those of hub sets (`org/name@revision`) stay as they are."""

    def one(name: str) -> str:
        on_hub = as_run(name) is None and is_hub_name(name) and not resolve(name).exists()
        return name if on_hub else str(artefact(name, file))

    return [one(name) for name in names]


def lineage(runs: Iterable[str]) -> list[dict[str, Any]]:
    """Manifests of these runs and of all they came from that are still there, nearest first."""
    found, queue = {}, list(runs)
    while queue:
        run = queue.pop(0)
        if run not in found and (results_folder() / run / MANIFEST).exists():
            found[run] = read_manifest(run)
            queue += found[run]["parents"]
    return list(found.values())


def as_run(name: Any) -> Path | None:
    """Folder of the run that a parameter's value names, by id or path; None if it is something else."""
    if not isinstance(name, str | Path):
        return None
    folder = Path(name) if Path(name).is_dir() else results_folder() / name
    verb = folder.name.split("-")[0]
    return folder if verb in VERBS and folder.is_dir() and len(folder.name.split("-")) == 3 else None


def good_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run that ended well. Raises MissingError where it is unfinished, DataError where it failed."""
    manifest = read_manifest(folder)
    if manifest["status"] != "ok":
        why = (manifest["error"] or {}).get("message", "").split("\n")[0].rstrip(".")
        raise DataError(f"Run {folder.name} failed ({why or 'it does not say why'}). Run it again.")
    return manifest


def find_finished(spec: str, verb: str) -> dict[str, Any] | None:
    """The newest run of this spec that ended well, if there is one."""
    found = [m for m in finished_runs(verb) if m["spec_hash"] == spec and m["status"] == "ok"]
    return found[-1] if found else None


def remove_unfinished(spec: str, verb: str) -> None:
    """Delete folders that a killed run of this spec left without a manifest; one that is under way stays."""
    for folder in results_folder().glob(f"{verb}-*-{spec[:8]}"):
        try:
            with FileLock(folder / LOCK, timeout=0):
                if not (folder / MANIFEST).exists():
                    shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            continue
        (folder / LOCK).unlink(missing_ok=True)


def evaluation_folder(name: str) -> Path:
    """Folder of an evaluate run, by id or path; "latest" is the newest that ended well."""
    return run_folder(latest("evaluate") if name == "latest" else name)


Status = Literal["ok", "failed", "running", "unfinished", "damaged"]
LATEST = "latest"
_A_MOMENT = 60  # seconds; a new run holds its lock before it writes anything else
_NEEDED = {"verb", "status", "headline", "started", "seconds", "parameters", "spec_hash", "parents", "artefacts"}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One run. `manifest` is empty where there is none yet, or none that can be read. `unfinished`: it was killed."""

    folder: Path
    status: Status
    manifest: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def verb(self) -> str:
        return self.manifest.get("verb") or self.run_id.split("-")[0]

    @property
    def finished(self) -> bool:
        return self.status in ("ok", "failed")

    @property
    def started(self) -> datetime:
        if self.manifest:
            return datetime.fromisoformat(self.manifest["started"])
        stamp = RUN_ID.fullmatch(self.run_id)
        if stamp is None:  # a renamed folder
            return datetime.fromtimestamp(self.folder.stat().st_mtime, UTC)
        return datetime.strptime(stamp["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    @property
    def seconds(self) -> float | None:
        """How long it took; of one under way, how long it has been."""
        if self.status == "running":
            return round((datetime.now(UTC) - self.started).total_seconds(), 1)
        return self.manifest.get("seconds")

    @property
    def headline(self) -> str:
        """What came out, or what there is to say instead."""
        if self.status == "running":
            try:
                return (self.folder / "status.txt").read_text(encoding="utf-8").strip() or "under way"
            except OSError:
                return "under way"
        told = {"unfinished": "was stopped before its end", "damaged": f"its {MANIFEST} cannot be read"}
        return told.get(self.status) or self.manifest["headline"]

    def as_dict(self) -> dict[str, Any]:
        """JSON values: the manifest, with the status and the folder."""
        own = {
            "run_id": self.run_id,
            "verb": self.verb,
            "status": self.status,
            "headline": self.headline,
            "started": self.started.isoformat(timespec="milliseconds"),
            "seconds": self.seconds,
            "folder": str(self.folder),
        }
        return {**own, **self.manifest}


def all_runs() -> list[Listed]:
    """Every run of the results folder, oldest first."""
    try:
        folders = [f for f in results_folder().iterdir() if RUN_ID.fullmatch(f.name) and f.is_dir()]
    except FileNotFoundError:
        return []
    found = [run for run in map(listed, folders) if run is not None]
    return sorted(found, key=lambda run: (run.started, run.run_id))


def listed(folder: Path) -> Listed | None:
    """One run by its folder; None if it was removed just now."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not folder.is_dir():
            return None
        return Listed(folder=folder, status="running" if under_way(folder) else "unfinished", manifest={})
    except ValueError:  # no JSON, or no UTF-8
        manifest = None
    if not _is_manifest(manifest):
        return Listed(folder=folder, status="damaged", manifest={})
    return Listed(folder=folder, status=manifest["status"], manifest=manifest)


def _is_manifest(content: Any) -> bool:
    if not isinstance(content, dict) or not content.keys() >= _NEEDED or content["status"] not in ("ok", "failed"):
        return False
    try:
        return datetime.fromisoformat(content["started"]).tzinfo is not None
    except (TypeError, ValueError):
        return False


def under_way(folder: Path) -> bool:
    """Whether a process on this machine works in this run's folder."""
    try:
        names = os.listdir(folder)
        if LOCK not in names:
            return False
        if names == [LOCK] and time.time() - folder.stat().st_mtime < _A_MOMENT:
            return True  # made or removed just now
        with FileLock(folder / LOCK, timeout=0):
            pass
        if names != [LOCK] == os.listdir(folder):  # removed meanwhile, and FileLock has made folder and lock anew
            (folder / LOCK).unlink()
            folder.rmdir()
        return False
    except Timeout:
        return True
    except OSError:  # it is gone, or may only be read: nobody works in it
        return False


def find_run(name: str) -> Path:
    """Folder of the run that a person names: an id, a folder, the beginning of an id, or "latest".

    Raises:
        MissingError: there is none; the message holds the nearest ids.
        ParameterError: several ids begin like this.
    """
    if name == LATEST:
        if not (runs := all_runs()):
            raise MissingError(f"Nothing has run yet in {results_folder()}. Try: gisttools run quickstart.")
        return runs[-1].folder
    for folder in (results_folder() / name, Path(name).resolve()):
        if folder.is_dir() and (RUN_ID.fullmatch(folder.name) or (folder / MANIFEST).is_file()):
            return results_folder() / folder.name if folder.parent == results_folder().resolve() else folder
    there = results_folder().glob(f"{_literally(name)}*") if name and "/" not in name else []
    ids = sorted(f.name for f in there if RUN_ID.fullmatch(f.name))
    if len(ids) > 1:
        shown = ids[-5:] if len(ids) <= 5 else [f"... {len(ids) - 5} more", *ids[-5:]]
        raise ParameterError(problems(f"{len(ids)} runs begin with {name!r}:", shown, "Say more of the id."))
    return results_folder() / ids[0] if ids else _refuse(name)


def find_runs(names: Sequence[str]) -> list[Path]:
    """`find_run` for several, each once; what is wrong with any is said at once."""
    found, wrong = [], []
    for name in names:
        try:
            found.append(find_run(name))
        except (MissingError, ParameterError) as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise MissingError(problems(f"{len(wrong)} of {len(names)} runs were not found:", map(str, wrong)))
    return list(dict.fromkeys(found))


def _refuse(name: str) -> Path:
    folder = run_folder(name)  # raises, with suggestions, where nothing is there
    raise MissingError(f"{folder} is no run: its name is no run's id, and it has no {MANIFEST}. See `gisttools runs`.")


def _literally(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


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
