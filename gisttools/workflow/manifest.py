"""The manifest: what a run was, on what machine, with what outcome. Written last, whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from gisttools.common import MissingError
from gisttools.workflow.places import project_root, run_folder
from gisttools.workflow.scrub import key_variables, scrub

MANIFEST = "manifest.json"
LOCK = ".lock"  # held as long as the run is under way
_PACKAGES = ("gisttools", "torch", "sentence-transformers", "transformers", "mteb", "datasets", "openai", "numpy")
_NOT_ARTEFACTS = {MANIFEST, LOCK, "log.txt", "status.txt", "notebook.ipynb", "notebook.html"}


def read_manifest(run: str | Path) -> dict[str, Any]:
    """The manifest of a finished run, by folder or id.

    Raises:
        MissingError: there is no such run, or it is unfinished.
    """
    folder = run_folder(run)
    path = folder / MANIFEST
    if not path.exists():
        raise MissingError(f"Run {folder.name} is unfinished: it has no {MANIFEST}. Run it again.")
    return json.loads(path.read_text(encoding="utf-8"))


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
    partial = folder / f".{MANIFEST}.partial"
    text = scrub(json.dumps(manifest, indent=1, ensure_ascii=False), key_variables(content.get("parameters", {})))
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / MANIFEST)


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
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": memory,
        "gpu": gpus,
        "platform": platform.platform(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


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


def sha256(path: Path) -> str:
    """Checksum of a file, in hex."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
