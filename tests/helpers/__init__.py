"""What tests share besides fixtures: where the project is, the embedded models, and helpers, one module each."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PROMPTS_FOLDER = ROOT / "prompts"
MINILM = "embedded:all-MiniLM-L6-v2"
WORDLLAMA = "embedded:wordllama-256"


def files_under(folder: Path) -> list[str]:
    """Every file and folder below, to show that nothing was left behind."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def parquet(columns: dict) -> bytes:
    """A table as the content of a Parquet file, for `make_run`."""
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer)
    return buffer.getvalue()


class TextGuide(NamedTuple):
    """A guide for a synthesis: a function from texts to unit vectors, and a name."""

    embed: Callable
    guide_id: str
