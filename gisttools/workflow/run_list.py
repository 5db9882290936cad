"""All runs of the results folder, also those that failed, were killed or are under way; and runs found by their names.

There is no index file: manifests are small, a thousand are read in a fraction of a second (`benchmarks/workflow.py`),
and what is read each time is never out of date. Nothing is written: a folder that may only be read is listed too.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from gisttools.common import MissingError, ParameterError, problems
from gisttools.workflow.manifest import LOCK, MANIFEST
from gisttools.workflow.places import results_folder, run_folder
from gisttools.workflow.runs import RUN_ID

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
