"""Finding runs: one notebook execution is one folder under `results/`, finished when its manifest is there."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gisttools.common import DataError, MissingError
from gisttools.data import is_hub_name
from gisttools.workflow.manifest import LOCK, MANIFEST, read_manifest, sha256
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
