"""Finds runs: those that ended, by what they were asked; those that parameters or people name; and a list of all.

One execution of a notebook is one folder under `results/`, finished when its manifest is there. There is no index file:
manifests are small, a thousand are read in a fraction of a second (`benchmarks/workflow.py`), and what is read each
time is never out of date. Listing writes nothing: a folder that may only be read is listed too.
"""

from __future__ import annotations

import contextlib
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

from gisttools.common import (
    MANIFEST,
    STATUS_FILE,
    DataError,
    FinishedRun,
    MissingError,
    ParameterError,
    did_you_mean,
    problems,
    read_run,
    results_folder,
)
from gisttools.data import is_hub_name
from gisttools.workflow.manifest import LOCK
from gisttools.workflow.params import LATEST, PERMISSIONS, VERBS
from gisttools.workflow.places import resolve

RUN_ID = re.compile(rf"(?P<verb>{'|'.join(VERBS)})-(?P<time>\d{{8}}T\d{{6}}Z)-(?P<spec>[0-9a-f]{{8}})")
MEASURED = ("max_steps", "keep_start")  # by a clock, and by a score
Status = Literal["ok", "failed", "running", "unfinished", "damaged"]
_NAMED = 3  # damaged runs in a line
_REMOVAL = (0.0, 0.01, 0.1, 1.0)  # seconds before each try
_A_MOMENT = 60  # seconds; a new run holds its lock before it writes anything else
_PAGES = ("report.html", "leaderboard.html", "browse.html", "notebook.html")
log = logging.getLogger(__name__)


def finished_runs(verb: str | None = None) -> list[FinishedRun]:
    """All finished runs, oldest first. One whose manifest cannot be read is left out and logged: its work counts as
    not done, and `gisttools runs` shows it."""
    found, damaged = [], []
    for path in results_folder().glob(f"{verb or '*'}-*/{MANIFEST}"):
        try:
            found.append(read_run(path.parent))
        except MissingError:  # removed just now
            continue
        except DataError as error:
            log.debug("%s", error)
            damaged.append(path.parent.name)
    _tell_damaged(damaged)
    return sorted(found, key=lambda run: run.started)


_told_of: set[str] = set()  # each damaged run is named once


def _tell_damaged(names: Sequence[str]) -> None:
    new = sorted(set(names) - _told_of)
    _told_of.update(new)
    if new:
        shown = ", ".join(new[:_NAMED]) + (f" and {len(new) - _NAMED} more" if len(new) > _NAMED else "")
        level = logging.INFO if os.environ.get(STATUS_FILE) else logging.WARNING  # the runner has told it already
        log.log(level, "left out, for their manifests are damaged: %s (gisttools show RUN says how)", shown)


def latest(verb: str) -> str:
    """Id of the newest run of a verb that ended well.

    Raises:
        MissingError: there is none.
    """
    good = [run for run in finished_runs(verb) if run.ok]
    if not good:
        notebook = f"{list(VERBS).index(verb) + 1}_{verb}"
        raise MissingError(
            f"No finished {verb} run in {results_folder()}. First run {notebook}, or: gisttools run quickstart."
        )
    return good[-1].id


def find_finished(spec: str, verb: str) -> FinishedRun | None:
    """The newest run of this spec that ended well, if there is one; one that lacks nothing before others."""
    return answering(run for run in finished_runs(verb) if run.spec_hash == spec).get(spec)


def answering(runs: Iterable[FinishedRun]) -> dict[str, FinishedRun]:
    """By spec the run that answers for it, of runs from the oldest on: the newest that ended well, of those that lack
    nothing if there are such."""
    well = [run for run in runs if run.ok]
    return {run.spec_hash: run for whole in (False, True) for run in well if not (whole and run.missing)}


def as_run(name: object) -> Path | None:
    """Folder of the run that a parameter's value names, by id or path; None if it is something else."""
    if not isinstance(name, str | Path):
        return None
    folder = Path(name) if Path(name).is_dir() else results_folder() / name
    verb, *rest = folder.name.split("-")
    return folder if verb in VERBS and folder.is_dir() and len(rest) == 2 else None


def run_folder(name: str | Path) -> Path:
    """Folder of a run, by path or id.

    Raises:
        MissingError: there is no such run; the message holds the nearest ids.
    """
    for folder in (Path(name), results_folder() / str(name)):
        if folder.is_dir():
            return folder
    known = [f.name for f in results_folder().glob("*-*") if f.is_dir()]
    raise MissingError(
        f"There is no run {str(name)!r} in {results_folder()}.{did_you_mean(str(name), known)} See `gisttools runs`."
    )


def open_run(name: str | Path) -> FinishedRun:
    """The run of this id or path, which ended well.

    Raises:
        MissingError: it is not there, or unfinished.
        DataError: it failed, or its manifest cannot be read.
    """
    run = read_run(run_folder(name))
    if not run.ok:
        why = run.error.split("\n")[0].rstrip(".")
        raise DataError(f"Run {run.id} failed ({why or 'it does not say why'}). Run it again.")
    return run


def told_parameters(run: FinishedRun) -> dict[str, Any]:
    """A run's parameters; those that came after its time are what their defaults are, and those that were left to the
    step what it chose, but for what it measured: there, seeds of one training differ. Permissions are left out."""
    defaults = VERBS[run.verb].defaults() if run.verb in VERBS else {}
    resolved = run.manifest.get("resolved") or {}
    chosen = {name: value for name, value in resolved.items() if name not in MEASURED}
    told = {**defaults, **run.parameters, **chosen}
    return {name: value for name, value in told.items() if name not in PERMISSIONS}


def paths(names: list[str]) -> list[str]:
    """Names that are paths, relative to the project where need be; runs are their folders, other names as they are. A
    kind may stand behind (`folder#kind`)."""
    found = []
    for name in names:
        path, mark, kind = name.partition("#")
        if (run := as_run(path)) is not None:
            found.append(f"{run}{mark}{kind}")
        else:
            found.append(f"{resolve(path)}{mark}{kind}" if Path(path).suffix or resolve(path).exists() else name)
    return found


def artefact(name: str, file: str) -> Path:
    """A file of a run, checked against its checksum; or `name` itself, where that is a path and no run.

    Raises:
        MissingError: neither a run nor a file.
        DataError: the file is not the one that the run wrote.
    """
    folder = as_run(name)
    return resolve(name) if folder is None else open_run(folder).artefact(file)


def inputs(names: Iterable[str], file: str) -> list[str]:
    """`artefact` for several names; those of hub sets (`org/name@revision`) stay as they are."""

    def one(name: str) -> str:
        on_hub = as_run(name) is None and is_hub_name(name) and not resolve(name).exists()
        return name if on_hub else str(artefact(name, file))

    return [one(name) for name in names]


def remove_unfinished(spec: str, verb: str) -> None:
    """Delete folders that a killed run of this spec left without a manifest; one that is under way stays."""
    for moved in results_folder().glob(f".removed-{verb}-*"):  # their removal was cut short
        shutil.rmtree(moved, ignore_errors=True)
    for folder in results_folder().glob(f"{verb}-*-{spec[:8]}"):
        try:
            with FileLock(folder / LOCK, timeout=0):
                if not (folder / MANIFEST).exists():
                    _remove(folder)
        except Timeout:
            continue
        (folder / LOCK).unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Moved out of the way first: for a second after its parent was killed, a kernel may still write into it, and what
    it had begun to open then comes into the moved folder, also between the last file removed and the folder."""
    aside = folder.with_name(f".removed-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(OSError):  # a system that moves no folder with open files
        folder = folder.rename(aside)
    for pause in _REMOVAL:
        time.sleep(pause)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run in whatever state. `run` is None where there is no manifest yet, or none that can be read. `unfinished`: it
    was killed."""

    folder: Path
    status: Status
    run: FinishedRun | None = None

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Empty where there is none."""
        return self.run.manifest if self.run else {}

    @property
    def verb(self) -> str:
        return self.run.verb if self.run else self.run_id.split("-")[0]

    @property
    def parents(self) -> list[str]:
        return self.run.parents if self.run else []

    @property
    def parameters(self) -> dict[str, Any]:
        return self.run.parameters if self.run else {}

    @property
    def finished(self) -> bool:
        return self.status in ("ok", "failed")

    @property
    def started(self) -> datetime:
        if self.run:
            return self.run.started
        stamp = RUN_ID.fullmatch(self.run_id)
        if stamp is None:  # a renamed folder
            return datetime.fromtimestamp(self.folder.stat().st_mtime, UTC)
        return datetime.strptime(stamp["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    @property
    def seconds(self) -> float | None:
        """How long it took; of one under way, how long it has been."""
        if self.status == "running":
            return round((datetime.now(UTC) - self.started).total_seconds(), 1)
        return self.run.seconds if self.run else None

    @property
    def headline(self) -> str:
        """What came out, or what there is to say instead."""
        if self.run:
            return self.run.headline
        if self.status == "running":
            try:
                return (self.folder / "status.txt").read_text(encoding="utf-8").strip() or "under way"
            except OSError:
                return "under way"
        return "was stopped before its end" if self.status == "unfinished" else f"its {MANIFEST} cannot be read"

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


def all_runs() -> list[ListedRun]:
    """Every run of the results folder, oldest first."""
    try:
        folders = [f for f in results_folder().iterdir() if RUN_ID.fullmatch(f.name) and f.is_dir()]
    except FileNotFoundError:
        return []
    found = [run for run in map(listed, folders) if run is not None]
    return sorted(found, key=lambda run: (run.started, run.run_id))


def listed(folder: Path) -> ListedRun | None:
    """One run by its folder; None if it was removed just now."""
    try:
        run = read_run(folder)
    except MissingError:
        if not folder.is_dir():
            return None
        return ListedRun(folder=folder, status="running" if under_way(folder) else "unfinished")
    except DataError:
        return ListedRun(folder=folder, status="damaged")
    return ListedRun(folder=folder, status="ok" if run.ok else "failed", run=run)


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


def run_facts(folder: Path) -> dict[str, Any]:
    """What `gisttools show` says of a run, as JSON values.

    Besides what the manifest holds: `changed` (parameter -> value and default, where they differ), `resolved`
    (parameter that was left to the step -> what it chose), `warnings`, `parents` and `children`
    (id, verb, status, headline; status None of one that is no longer there), `files` (name -> bytes; of a
    run that left no manifest all that it wrote), `cells` (seconds by cell, of an executed notebook), `page` (what to
    open first).

    Raises:
        MissingError: it was removed just now.
    """
    run = listed(folder)
    if run is None:
        raise MissingError(f"Run {folder.name} is no longer there. See `gisttools runs`.")
    told = run.run.manifest if run.run else {}
    runs = {other.run_id: other for other in all_runs()}
    children = [r for r in runs.values() if run.run_id in r.parents]
    return {
        **run.as_dict(),
        "changed": changed_parameters(run),
        "resolved": told.get("resolved") or {},
        "warnings": told.get("warnings") or [],
        "parents": [_brief(name, runs) for name in run.parents],
        "children": [_brief(r.run_id, runs) for r in children],
        "files": _files(run),
        "cells": _cell_seconds(folder / "notebook.ipynb"),
        "page": next((str(folder / name) for name in _PAGES if (folder / name).is_file()), None),
    }


def changed_parameters(run: ListedRun) -> dict[str, dict[str, Any]]:
    """Parameter -> value and default, of those that differ. A parameter that exists no more has no default."""
    defaults = VERBS[run.verb].defaults() if run.verb in VERBS else {}
    found = {}
    for name, value in run.parameters.items():
        if name not in defaults:
            found[name] = {"value": value}
        elif value != defaults[name]:
            found[name] = {"value": value, "default": defaults[name]}
    return found


def _brief(name: str, runs: dict[str, ListedRun]) -> dict[str, Any]:
    run = runs.get(name) or (listed(results_folder() / name) if (results_folder() / name).is_dir() else None)
    if run is None:
        return {"run_id": name, "verb": name.split("-")[0], "status": None, "headline": "no longer there"}
    return {"run_id": run.run_id, "verb": run.verb, "status": run.status, "headline": run.headline}


def _files(run: ListedRun) -> dict[str, int | None]:
    names: Iterable[str] = run.run.artefacts if run.run else ()
    if run.run is None:
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
