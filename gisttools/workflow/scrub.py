"""Secrets stay out of what a run leaves: they are blotted out of its text files, artefacts before their checksums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gisttools.common import blot, blot_shapes, known_secrets, without_secrets

_TEXT = {".ipynb", ".html", ".json", ".jsonl", ".txt", ".log", ".md", ".csv", ".tex", ".svg", ".yaml"}
_MODEL = "model"  # vocabularies and weights: nothing that a key could get into but the card


def scrub(text: str, variables: Iterable[str] = ()) -> str:
    """`text` without secrets: values of environment variables that are named like one or named in `variables`, and what
    looks like a key."""
    return without_secrets(text, variables)


def key_variables(parameters: Mapping[str, Any]) -> list[str]:
    """The environment variables that parameters name as holders of keys (`llm_key_variable`, ...)."""
    return [v for k, v in parameters.items() if k.endswith("key_variable") and isinstance(v, str) and v]


def scrub_files(paths: Iterable[Path], variables: Iterable[str] = ()) -> None:
    """Blot secrets out of those of the files that hold text."""
    secrets = known_secrets(variables)
    for path in paths:
        if path.suffix in _TEXT and path.is_file():
            text = path.read_bytes().decode("utf-8", errors="surrogateescape")
            clean = blot_shapes(blot(text, secrets))
            if clean != text:
                path.write_bytes(clean.encode("utf-8", errors="surrogateescape"))


def artefact_texts(folder: Path) -> list[Path]:
    """Files of a run that may hold text."""
    found = (p for p in sorted(folder.rglob("*")) if p.suffix in _TEXT)
    return [p for p in found if _MODEL not in p.relative_to(folder).parts[:-1] or p.suffix == ".md"]
