"""Writes the manifest: what a run was, on what machine, with what result; last, and whole or not at all.

Secrets stay out of what a run leaves: they are redacted in its text files, in artefacts before their checksums.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gisttools.common import (
    MANIFEST,
    NEW_STATUS,
    NOTICES,
    cpu_name,
    known_secrets,
    may_hold,
    project_root,
    redact,
    redact_shapes,
    sha256,
    whole_file,
    without_secrets,
    write_whole,
)

if TYPE_CHECKING:
    from pyarrow import DataType, RecordBatch

PROFILE = "GISTTOOLS_PROFILE"  # the profile of a recipe that changed the step under way
LOCK = ".lock"  # held as long as the run is under way
_PACKAGES = ("gisttools", "torch", "sentence-transformers", "transformers", "mteb", "datasets", "openai", "numpy")
_NOT_ARTEFACTS = {MANIFEST, LOCK, "log.txt", "status.txt", NEW_STATUS, NOTICES, "notebook.ipynb", "notebook.html"}
_TEXT = {".ipynb", ".html", ".json", ".jsonl", ".txt", ".log", ".md", ".csv", ".tex", ".svg", ".yaml", ".yml", ".tsv"}
_TABLE = ".parquet"
_MODELS = {"model", "reranker"}  # vocabularies and weights: nothing that a key could get into but the card


def scrub(text: str, variables: Iterable[str] = ()) -> str:
    """`text` without secrets: values of environment variables that are named like one or named in `variables`, and what
    looks like a key."""
    return without_secrets(text, variables)


def key_variables(parameters: Mapping[str, Any]) -> list[str]:
    """The environment variables that parameters name as holders of keys (`llm_key_variable`, ...)."""
    inner = [one for v in parameters.values() if isinstance(v, list) for one in v if isinstance(one, dict)]
    told = [(k, v) for mapping in (parameters, *inner) for k, v in mapping.items()]
    return [v for k, v in told if k.endswith("key_variable") and isinstance(v, str) and v]


def scrub_files(paths: Iterable[Path], variables: Iterable[str] = ()) -> None:
    """Redact secrets in those of the files that hold text."""
    secrets = known_secrets(variables)
    for path in paths:
        if path.suffix == _TABLE and path.is_file():
            scrub_table(path, secrets)
        elif path.suffix in _TEXT and path.is_file():
            text = path.read_bytes().decode("utf-8", errors="surrogateescape")
            clean = redact_shapes(redact(text, secrets))
            if clean != text:
                path.write_bytes(clean.encode("utf-8", errors="surrogateescape"))


def scrub_table(path: Path, secrets: Sequence[str]) -> None:
    """Redact these in the texts of a Parquet file, which is written anew only where it held one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not secrets:
        return
    with pq.ParquetFile(path) as file:
        texts = [i for i, field in enumerate(file.schema_arrow) if _holds_text(field.type)]
        names = [file.schema_arrow.names[i] for i in texts]
        if not any(_held(part, secrets) for part in file.iter_batches(columns=names)):
            return
        with whole_file(path) as partial, pq.ParquetWriter(partial, file.schema_arrow, compression="zstd") as out:
            for part in file.iter_batches():
                columns = [
                    pa.array(_redacted(c.to_pylist(), secrets), c.type) if i in texts else c
                    for i, c in enumerate(part.columns)
                ]
                out.write_batch(pa.RecordBatch.from_arrays(columns, schema=file.schema_arrow))


def _held(part: RecordBatch, secrets: Sequence[str]) -> bool:
    """Whether texts hold a secret; that most hold none is seen without looking at each."""
    raw = [buffer for column in part.columns for buffer in column.buffers() if buffer is not None]
    if not any(may_hold(buffer.to_pybytes(), secrets) for buffer in raw):
        return False
    return any(_redacted(texts, secrets) != texts for texts in (column.to_pylist() for column in part.columns))


def _holds_text(kind: DataType) -> bool:
    import pyarrow.types as kinds

    if kinds.is_dictionary(kind):
        return _holds_text(kind.value_type)
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return kinds.is_string(kind) or kinds.is_large_string(kind) or any(map(_holds_text, inner))


def _redacted(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, list):
        return [_redacted(v, secrets) for v in value]
    if isinstance(value, dict):
        return {k: _redacted(v, secrets) for k, v in value.items()}
    return tuple(_redacted(v, secrets) for v in value) if isinstance(value, tuple) else value


def artefact_texts(folder: Path) -> list[Path]:
    """Files of a run that may hold text, tables among them."""
    found = (p for p in sorted(folder.rglob("*")) if p.suffix in _TEXT or p.suffix == _TABLE)
    return [p for p in found if _MODELS.isdisjoint(p.relative_to(folder).parts[:-1]) or p.suffix == ".md"]


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Complete `content` with versions, hardware, git state and artefact checksums, and write it."""
    files = [
        p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in _NOT_ARTEFACTS and p.suffix != ".log"
    ]
    manifest = {
        "run_id": folder.name,
        **content,
        "git": _git(),
        "versions": {p: _version(p) for p in _PACKAGES} | {"python": platform.python_version()},
        "hardware": hardware(),
        "artefacts": {p.relative_to(folder).as_posix(): sha256(p) for p in files},
    }
    text = scrub(json.dumps(manifest, indent=1, ensure_ascii=False), key_variables(content.get("parameters", {})))
    write_whole(folder / MANIFEST, text)


def hardware() -> dict[str, Any]:
    """CPU, cores, memory and GPUs of this machine, as far as they can be told."""
    gpus = []
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": memory,
        "gpu": gpus,
        "platform": platform.platform(),
    }


def _git() -> dict[str, Any]:
    def ask(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(project_root()), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    status = ask("status", "--porcelain")
    return {"sha": ask("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
