"""Keeps files: where caches lie, writes that leave a whole file or none, checksums of content."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """`$GISTTOOLS_CACHE`, else `~/.cache/gisttools`: vectors, answers of LLMs, scores, all that was computed once."""
    return Path(os.environ.get("GISTTOOLS_CACHE") or "~/.cache/gisttools").expanduser()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` at the end of the block, and is removed where the block fails.

    It lies in the same folder, which is made if need be, and has a name of its own in every process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that is there whole or not at all; text as UTF-8, a lone surrogate as a question mark."""
    with whole_file(path) as partial:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


def sha256(path: Path) -> str:
    """Checksum of a file's content, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: str | bytes, size: int = 8) -> str:
    """BLAKE2b of a text or of bytes, `size` bytes long, as hex: what names things in caches."""
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=size).hexdigest()
