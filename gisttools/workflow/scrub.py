"""Secrets stay out of what a run leaves: values of key-like environment variables are replaced in its text files."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
_SHORTEST = 8  # shorter values would blot out ordinary words
_FILES = ("notebook.*", "manifest.json", "*.txt", "*.log")  # no artefact: their checksums are taken already


def scrub(text: str) -> str:
    """`text` with the value of every environment variable that is named like a secret replaced by `***`."""
    values = [v for name, v in os.environ.items() if _NAMES.search(name) and len(v) >= _SHORTEST]
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def scrub_folder(folder: Path) -> None:
    """Scrub the executed notebook, the manifest and the logs of a run."""
    for pattern in _FILES:
        for path in folder.glob(pattern):
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            clean = scrub(text)
            if clean != text:
                path.write_text(clean, encoding="utf-8", errors="surrogateescape")
