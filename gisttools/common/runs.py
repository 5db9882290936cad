"""Reads finished runs: manifest, summary, artefacts and tables, each file checked against its checksum.

A run is one execution of a notebook and leaves a folder; it is finished when its manifest is there. A manifest that an
earlier version wrote lacks what came later: what it does not tell is empty.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gisttools.common.errors import DataError, MissingError, first_line, problems
from gisttools.common.files import sha256

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
SUMMARY = "summary.json"


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """One finished run, that ended well or failed. Make it with `read_run`."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.manifest.get("run_id") or self.folder.name

    @property
    def verb(self) -> str:
        return self.manifest["verb"]

    @property
    def status(self) -> str:
        """`ok` or `failed`."""
        return self.manifest["status"]

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def headline(self) -> str:
        return self.manifest.get("headline") or ""

    @property
    def missing(self) -> str:
        """What it still lacks, and what to do about it; empty where the work is done. Such a run is used as it is, and
        the work goes on when it is asked for again."""
        return str(self.manifest.get("missing") or "")

    @property
    def started(self) -> datetime:
        return datetime.fromisoformat(self.manifest["started"])

    @property
    def seconds(self) -> float | None:
        return self.manifest.get("seconds")

    @property
    def parameters(self) -> dict[str, Any]:
        """As they were told then: those that came later are missing."""
        return self.manifest.get("parameters") or {}

    @property
    def spec_hash(self) -> str:
        return self.manifest.get("spec_hash") or ""

    @property
    def parents(self) -> list[str]:
        """Ids of the runs that it read."""
        return [str(parent) for parent in self.manifest.get("parents") or ()]

    @property
    def smoke(self) -> bool:
        """Whether a recipe's profile `smoke` cut it, or a run that it stands on, short: its numbers mean nothing."""
        return self.manifest.get("profile") == "smoke"

    @property
    def artefacts(self) -> dict[str, str]:
        """Checksum (SHA-256) of each file that it wrote, by its path in the folder."""
        return self.manifest.get("artefacts") or {}

    @property
    def error(self) -> str:
        """What a failed run says of its failure."""
        told = self.manifest.get("error") or ""
        return str((told.get("message") or told) if isinstance(told, Mapping) else told)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The numbers that it left; empty where it left none.

        Raises:
            DataError: the file is not the one that the run wrote, or is no JSON object.
        """
        path = self.artefact(SUMMARY) if SUMMARY in self.artefacts else self.find(SUMMARY)
        return {} if path is None else _json_object(path)

    def changed(self, names: Iterable[str] | None = None) -> list[str]:
        """Those of its artefacts, or of `names`, that are missing or not as the run wrote them."""
        return [n for n in (self.artefacts if names is None else names) if not self._is_as_written(n)]

    def artefact(self, name: str) -> Path:
        """The file, or the folder of files, that the run wrote.

        Raises:
            MissingError: the run wrote none of this name.
            DataError: it changed since.
        """
        wanted = [known for known in self.artefacts if known == name or known.startswith(f"{name}/")]
        if not wanted:
            raise MissingError(f"Run {self.id} has no artefact {name}; it has {', '.join(self.artefacts)}.")
        self._refuse_changed(wanted)
        return self.folder / name

    def find(self, name: str) -> Path | None:
        """The file `name`, checked where the manifest tells a checksum; None where there is none.

        Raises:
            DataError: it changed since the run wrote it.
        """
        path = self.folder / name
        if not path.exists():
            return None
        self._refuse_changed([name] if name in self.artefacts else [])
        return path

    def table(self, name: str) -> pd.DataFrame | None:
        """The Parquet artefact `name`, or None where the run has none.

        Raises:
            DataError: the file is not the one that the run wrote, or is no Parquet.
        """
        import pandas as pd

        path = self.find(name)
        if path is None:
            return None
        with _readable(path):
            return pd.read_parquet(path)

    def head(self, name: str, rows: int) -> pd.DataFrame | None:
        """The first rows of the Parquet artefact `name`, however long it is; raises as `table` does."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.find(name)
        if path is None:
            return None
        with _readable(path), pq.ParquetFile(path) as file:
            first = next(file.iter_batches(batch_size=rows), None)
        return None if first is None else pa.Table.from_batches([first]).to_pandas()

    def text(self, name: str) -> str | None:
        """The text artefact `name`, or None where the run has none; raises as `find` does."""
        path = self.find(name)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")

    def _is_as_written(self, name: str) -> bool:
        try:
            return sha256(self.folder / name) == self.artefacts[name].removeprefix("sha256:")
        except OSError:  # gone, a folder in its place, or a disk that does not give it back
            return False

    def _refuse_changed(self, names: Iterable[str]) -> None:
        if changed := self.changed(names):
            raise DataError(
                f"Run {self.id}: {', '.join(changed)} changed since the run. Run it again, or bring the file back."
            )


def read_run(folder: str | Path) -> FinishedRun:
    """Read the manifest in a run's folder.

    Raises:
        MissingError: there is no such folder, or it holds no manifest: the run is unfinished.
        DataError: the manifest is not JSON, or lacks what every version wrote.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    try:
        manifest = _json_object(path)
    except (FileNotFoundError, NotADirectoryError):
        if not folder.is_dir():
            raise MissingError(f"There is no run folder {folder}. Name the folder of a finished run.") from None
        raise MissingError(f"Run {folder.name} is unfinished: it has no {MANIFEST}. Run it again.") from None
    except OSError as error:  # a folder in its place, no right to read it, a disk that does not give it back
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Run the step again.") from error
    if found := _manifest_problems(manifest):
        raise DataError(problems(f"{path} is no manifest:", found, "Run the step again."))
    return FinishedRun(folder=folder, manifest=manifest)


def ancestors(run: FinishedRun, results: Path, but: Collection[str] = ()) -> tuple[list[FinishedRun], list[str]]:
    """The runs that `run` came from, their parents and so on, nearest first; and what is not there, with the reason.

    Args:
        results: the folder in which parents are looked up by id.
        but: ids of parents that are left out, with what they alone came from.

    Raises:
        DataError: the manifest of one cannot be read.
    """
    found: list[FinishedRun] = []
    missing: list[str] = []
    queue, seen = [name for name in run.parents if name not in but], {run.id}
    while queue:
        run_id = queue.pop(0)
        if run_id in seen:
            continue
        seen.add(run_id)
        if Path(run_id).name != run_id:  # never leave the results folder
            missing.append(f"{run_id}: not the name of a run")
            continue
        try:
            parent = read_run(results / run_id)
        except MissingError:
            missing.append(f"{run_id}: no finished run of this name in {results.name}/")
            continue
        if not parent.ok:
            missing.append(f"{run_id}: its status is {parent.status}")
            continue
        found.append(parent)
        queue += parent.parents
    return found, missing


_KINDS: dict[str, type | tuple[type, ...]] = {
    "run_id": str, "headline": str, "missing": str, "seconds": (int, float), "spec_hash": str, "parameters": dict,
    "artefacts": dict, "parents": list, "changed": list, "error": (str, dict), "seeds": dict,
}  # fmt: skip


def _manifest_problems(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with a manifest that every version has written."""
    found = [] if isinstance(manifest.get("verb"), str) else ["verb is missing or no text"]
    if manifest.get("status") not in ("ok", "failed"):
        found.append(f"status is {manifest.get('status')!r}, must be 'ok' or 'failed'")
    try:
        aware = datetime.fromisoformat(manifest["started"]).tzinfo is not None
    except (KeyError, TypeError, ValueError):
        aware = False
    if not aware:
        found.append(f"started is {manifest.get('started')!r}, must be a time with its zone")
    for name, kind in _KINDS.items():
        if manifest.get(name) is not None and not isinstance(manifest[name], kind):
            wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            found.append(f"{name} is a {type(manifest[name]).__name__}, must be a {wanted}")
    artefacts = manifest.get("artefacts")
    if isinstance(artefacts, dict) and not all(isinstance(sha, str) for sha in artefacts.values()):
        found.append("artefacts hold a checksum that is no text")
    return found


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise DataError(
            f"{path} is not JSON: {first_line(error)} Was it edited by hand? Run the step again."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__} instead of an object. Run the step again.")
    return {_whole_text(k): _whole_text(v) for k, v in content.items()}


def _whole_text(value: Any) -> Any:
    """JSON can name half a surrogate pair, which no file can hold as UTF-8; such a half becomes a question mark."""
    if isinstance(value, dict):
        return {_whole_text(k): _whole_text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_whole_text(v) for v in value]
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise DataError(f"{path} cannot be read as Parquet: {error}. Run the step again.") from error
