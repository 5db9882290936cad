"""Whether the files of finished runs are still those that the runs wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gisttools.workflow.manifest import read_manifest, sha256
from gisttools.workflow.run_list import listed


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
    changed, missing, size = [], [], 0
    artefacts = read_manifest(folder)["artefacts"]
    for name, checksum in artefacts.items():
        path = folder / name
        try:
            found = sha256(path)
            size += path.stat().st_size
        except FileNotFoundError:
            missing.append(name)
            continue
        except OSError:  # a folder in its place, or a disk that does not give it back
            found = ""
        if found != checksum:
            changed.append(name)
    return Verified(
        run_id=folder.name, files=len(artefacts), bytes=size, changed=tuple(changed), missing=tuple(missing)
    )
