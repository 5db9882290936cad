"""Removes runs that nobody needs, and verifies that the files of finished ones are still those that they wrote.

What a finished run depends on stays, and so does a run under way. A run is removed manifest first: what is left by a
removal that was stopped is an unfinished run, never a finished one without its files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock, Timeout

from gisttools.common import MANIFEST, GistError, ParameterError, problems, read_run, results_folder
from gisttools.workflow.folders import RUN_ID, ListedRun, all_runs, answering, listed, under_way
from gisttools.workflow.manifest import LOCK

Kind = Literal["unfinished", "failed", "superseded"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_YOUNG = 60  # seconds: a run makes its folder before its lock
_SAYS_ITS_INPUTS = ("log.txt", "notebook.ipynb", MANIFEST)  # of a run without a readable manifest


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A folder that may go, and why. `bytes`: what that frees."""

    folder: Path
    why: str
    bytes: int


def removable(kinds: Collection[Kind] = KINDS) -> list[Removal]:
    """Runs that were killed, failed, or are not what answers for their spec (`answering`), as far as no other run
    needs them."""
    runs = all_runs()
    newest = {spec: run.id for spec, run in answering(run.run for run in runs if run.run).items()}
    why: dict[str, str] = {}
    for run in runs:
        if run.status == "unfinished" and "unfinished" in kinds and _age(run.folder) > _YOUNG:
            why[run.run_id] = "unfinished"
        elif run.status == "failed" and "failed" in kinds:
            why[run.run_id] = "failed"
        elif "superseded" in kinds and (later := _later(run, newest)):
            why[run.run_id] = f"superseded by {later}"
    needed = _needed_by(runs, (run for run in runs if run.run_id not in why))
    return [_removal(run.folder, why[run.run_id]) for run in runs if run.run_id in why and run.run_id not in needed]


def _later(run: ListedRun, newest: Mapping[str, str]) -> str | None:
    """Id of the run that answers for the spec of this one, which ended well too."""
    later = newest.get(run.run.spec_hash) if run.run and run.run.ok and run.run.spec_hash else None
    return later if later != run.run_id else None


def removable_by_name(folders: Sequence[Path]) -> list[Removal]:
    """These runs, whatever became of them.

    Raises:
        ParameterError: some are under way, lie elsewhere, or other runs depend on them; all reasons at once.
    """
    runs, names = all_runs(), {folder.name for folder in folders}
    wrong = [f"{f} does not lie in {results_folder()}" for f in folders if f.parent != results_folder()]
    wrong += [f"{folder.name} is no run's id" for folder in folders if not RUN_ID.fullmatch(folder.name)]
    wrong += [f"{folder.name} is under way" for folder in folders if under_way(folder)]
    for run in runs:
        killed = run.status == "unfinished" and _age(run.folder) > _YOUNG
        if run.run_id not in names and not killed:
            needed = _needed_by(runs, [run]) & names
            wrong += [f"{run.run_id} ({run.status}) depends on {name}" for name in sorted(needed)]
    if wrong:
        raise ParameterError(
            problems(f"{len(wrong)} reason(s) not to remove:", wrong, "Name what depends on them too, or wait.")
        )
    return [_removal(folder, "named") for folder in folders]


def stale_checkpoints() -> list[Removal]:
    """Checkpoints of trainings that were stopped; the same training, run again, would go on from them."""
    busy = (RUN_ID.fullmatch(run.run_id) for run in all_runs() if run.status == "running")
    specs = tuple(f"{run['verb']}-{run['spec']}" for run in busy if run)
    folders = sorted(p for p in results_folder().glob(".checkpoints/*") if p.is_dir())
    idle = [p for p in folders if not p.name.startswith(specs) and _age(p) > _YOUNG]
    return [_removal(p, "checkpoints of a stopped training") for p in idle]


def remove(removal: Removal) -> None:
    """Remove a folder.

    Raises:
        GistError: it is a link, a run has begun to work in it since it was listed, or the system does not let go of it.
    """
    folder = removal.folder
    if folder.is_symlink():
        raise GistError(f"{folder} is a link to {folder.resolve()}. Remove both by hand.")
    try:
        if RUN_ID.fullmatch(folder.name) is None:  # checkpoints
            _remove_tree(folder)
            return
        with FileLock(folder / LOCK, timeout=1):  # who lists runs just now holds it for a moment
            (folder / MANIFEST).unlink(missing_ok=True)
            for path in folder.iterdir():
                if path.name != LOCK:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        _remove_tree(folder)
    except Timeout:
        raise GistError(f"{folder.name} is under way. Wait for its end, or stop it first.") from None
    except OSError as error:
        if folder.exists():  # else another process was as quick
            raise GistError(f"{folder} could not be removed: {error}. Remove it by hand.") from error


def _remove_tree(folder: Path) -> None:
    """Remove it although others may look into it: who asks just now whether a run is under way makes its lock anew."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
        if not folder.exists():
            return
    shutil.rmtree(folder)


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(_bytes(os.path.join(root, name)) for root, _, names in os.walk(folder) for name in names)


def _removal(folder: Path, why: str) -> Removal:
    return Removal(folder=folder, why=why, bytes=folder_bytes(folder))


def _needed_by(runs: Iterable[ListedRun], kept: Iterable[ListedRun]) -> set[str]:
    """Ids of all that these runs came from, near and far."""
    known = {run.run_id: run for run in runs}
    needed: set[str] = set()
    queue = [parent for run in kept for parent in _inputs(run)]
    while queue:
        if (name := queue.pop()) not in needed:
            needed.add(name)
            queue += _inputs(known[name]) if name in known else []
    return needed


def _inputs(run: ListedRun) -> set[str]:
    """Ids of the runs that a run reads: its parents, and those whose files its parameters name by path. Without a
    manifest all that stand in what it has written so far."""
    if run.run:
        return {*run.parents, *_ids_in(json.dumps(run.parameters))} - {run.run_id}
    found: set[str] = set()
    for name in _SAYS_ITS_INPUTS:
        try:
            found |= _ids_in((run.folder / name).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return found - {run.run_id}


def _ids_in(text: str) -> set[str]:
    return {match.group() for match in RUN_ID.finditer(text)}


def _age(folder: Path) -> float:
    """Seconds since something was made or removed in it; 0 if it is gone."""
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0


def _bytes(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:  # removed just now
        return 0


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of one run: artefacts and bytes that were read, and names of those that are not as they were."""

    run_id: str
    files: int
    bytes: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    damaged: bool = False  # the manifest itself

    @property
    def ok(self) -> bool:
        return not (self.changed or self.missing or self.damaged)


def verify_run(folder: Path) -> Verified:
    """Read all artefacts of a run and compare them with the checksums of its manifest.

    Raises:
        MissingError: the run is unfinished.
    """
    run = listed(folder)
    if run is not None and run.status == "damaged":
        return Verified(run_id=folder.name, files=0, bytes=0, damaged=True)
    finished = read_run(folder)
    names = list(finished.artefacts)
    changed = finished.changed()
    missing = [name for name in changed if not (folder / name).exists()]
    return Verified(
        run_id=folder.name,
        files=len(names),
        bytes=sum((folder / name).stat().st_size for name in names if (folder / name).is_file()),
        changed=tuple(name for name in changed if name not in missing),
        missing=tuple(missing),
    )
