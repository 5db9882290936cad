"""Where what was computed once is kept: vectors, answers of LLMs, scores."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$GISTTOOLS_CACHE`, else `~/.cache/gisttools`."""
    return Path(os.environ.get("GISTTOOLS_CACHE") or "~/.cache/gisttools").expanduser()
