"""One finished run as a report reads it: manifest, summary and tables, each file checked against its checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gisttools.common import DataError, MissingError, problems


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run: its folder, its manifest and its summary."""

    folder: Path
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.manifest["run_id"]

    @property
    def verb(self) -> str:
        return self.manifest["verb"]

    def table(self, name: str) -> pd.DataFrame | None:
        """The Parquet artefact `name`, or None where the run has none.

        Raises:
            DataError: the file is not the one the manifest was written for, or is no Parquet.
        """
        path = self._checked(name)
        if path is None:
            return None
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors derive from these
            raise DataError(f"{path} cannot be read as Parquet: {error}. Run the step again.") from error

    def head(self, name: str, rows: int) -> pd.DataFrame | None:
        """The first rows of the Parquet artefact `name`, however long it is; raises as `table` does."""
        path = self._checked(name)
        if path is None:
            return None
        try:
            with pq.ParquetFile(path) as file:
                first = next(file.iter_batches(batch_size=rows), None)
                return None if first is None else pa.Table.from_batches([first]).to_pandas()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as Parquet: {error}. Run the step again.") from error

    def text(self, name: str) -> str | None:
        """The text artefact `name`, or None where the run has none."""
        path = self._checked(name)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")

    def _checked(self, name: str) -> Path | None:
        path = self.folder / name
        if not path.exists():
            return None
        _check_sum(path, name, self.manifest.get("artefacts") or {})
        return path


def read_run(folder: str | Path) -> Run:
    """Read a run's manifest and summary.

    Raises:
        MissingError: there is no such folder, or it holds no manifest: the run is unfinished.
        DataError: manifest or summary is not JSON, or lacks what it must have.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingError(f"No run folder at {folder}. Name the folder of a finished run, results/RUN_ID.")
    if not (folder / "manifest.json").exists():
        raise MissingError(f"{folder} holds no manifest.json: the run is unfinished or was stopped. Run it again.")
    manifest = _read_json(folder / "manifest.json")
    needed = ("run_id", "verb", "status")
    lacking = [f"{k} is missing or no text" for k in needed if not isinstance(manifest.get(k), str)]
    if lacking:
        raise DataError(problems(f"{folder / 'manifest.json'}:", lacking, "Run the step again."))
    summary = folder / "summary.json"
    if summary.exists():
        _check_sum(summary, summary.name, manifest.get("artefacts") or {})
    return Run(folder=folder, manifest=manifest, summary=_read_json(summary) if summary.exists() else {})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}. Was it edited by hand? Run the step again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__} instead of an object. Run the step again.")
    return _whole_text(content)


def _whole_text(value: Any) -> Any:
    """JSON can name half a surrogate pair, which no file can hold as UTF-8; such a half becomes a question mark."""
    if isinstance(value, dict):
        return {_whole_text(k): _whole_text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_whole_text(v) for v in value]
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _check_sum(path: Path, name: str, expected: Mapping[str, str]) -> None:
    wanted = expected.get(name)
    if wanted is None:
        return
    with path.open("rb") as file:
        seen = hashlib.file_digest(file, "sha256").hexdigest()
    if seen != wanted.removeprefix("sha256:"):
        raise DataError(
            f"{path} is not the file its manifest was written for (sha256 {seen[:12]}…, manifest {wanted[:12]}…)."
            " It was changed after the run: run the step again, or bring the file back."
        )
