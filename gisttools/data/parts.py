"""Says which parts a folder has of its own, and by which shares the rest is split on the fly; loads nothing slow."""

from __future__ import annotations

from pathlib import Path

from gisttools.data.files import FILE_ENDINGS
from gisttools.data.options import FileOptions
from gisttools.data.saved import is_saved, saved_split

DEV_SPLITS = ("dev", "validation", "valid")


def shares_of(path: Path, options: FileOptions) -> dict[str, float]:
    """The shares by which a file or folder is split on the fly, by split: those that are told, and for which a folder
    has no file of its own."""
    if not path.is_dir() or is_saved(path):
        return options.shares
    names = {"test": ("test",), "dev": DEV_SPLITS}
    return {split: s for split, s in options.shares.items() if not any(split_file(path, n) for n in names[split])}


def split_file(folder: Path, split: str) -> Path | None:
    """A folder's file for a split, `<split>` and one of `FILE_ENDINGS`, or the data set that `save_to_disk` wrote for
    it; None if there is none."""
    found = next((f for e in FILE_ENDINGS if (f := folder / f"{split}{e}").is_file()), None)
    return found or saved_split(folder, split)
