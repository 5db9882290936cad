"""Reads folders that the library `datasets` wrote by `save_to_disk`: one data set, or a dictionary of splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from gisttools.common import DataError, first_line, sha256

_STATE, _INFO, _DICT = "state.json", "dataset_info.json", "dataset_dict.json"
_ROWS = 10_000


def is_saved(path: str | Path) -> bool:
    """Whether a folder holds one data set."""
    return (Path(path) / _STATE).is_file() and (Path(path) / _INFO).is_file()


def saved_split(folder: Path, split: str) -> Path | None:
    """The data set of a split: a folder of that name in it, or the folder itself where it holds that split. One whose
    split has no name is its train split."""
    if is_saved(folder / split):
        return folder / split
    if not is_saved(folder):
        return None
    try:
        own = json.loads((folder / _STATE).read_text(encoding="utf-8")).get("_split")
    except (OSError, ValueError, AttributeError):
        own = None  # what is wrong with it is said when it is read
    return folder if split == (own or "train") else None


def saved_splits(folder: Path) -> list[str]:
    """The names of the splits that a folder holds, where it holds a dictionary of them."""
    return sorted(p.name for p in folder.iterdir() if is_saved(p)) if (folder / _DICT).is_file() else []


class SavedRows:
    """One data set, read a part at a time.

    Attributes:
        columns: in their order.

    Raises:
        DataError: the folder is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        from datasets import load_from_disk

        try:
            self._rows = load_from_disk(str(path))
        except Exception as error:  # the library raises whatever Arrow, JSON or its own classes do
            raise DataError(
                f"{path} cannot be read as a folder of save_to_disk: {first_line(error)} Is it whole? Save it again."
            ) from error
        if self._rows.__class__.__name__ != "Dataset":
            raise DataError(f"{path} holds several splits ({', '.join(self._rows)}). Name the folder of one.")
        self.columns = list(self._rows.column_names)

    def parts(self, columns: Sequence[str]) -> Iterator[dict[str, list]]:
        """The rows in order; numbers that stand for class names become those names."""
        from datasets import ClassLabel

        self._check()
        kept = self._rows.select_columns(list(columns))
        inner = {c: getattr(kept.features[c], "feature", kept.features[c]) for c in columns}
        named = {c: kind.names for c, kind in inner.items() if isinstance(kind, ClassLabel)}
        for batch in kept.with_format("arrow").iter(batch_size=_ROWS):
            part = {c: batch.column(c).to_pylist() for c in columns}
            yield part | {c: [_class_name(value, names) for value in part[c]] for c, names in named.items()}

    def _check(self) -> None:
        """Offsets that point outside would be read as they are."""
        import pyarrow as pa

        try:
            for batch in self._rows.data.table.to_batches(_ROWS):
                batch.validate(full=True)
        except pa.ArrowException as error:
            raise DataError(f"{self._path} is damaged: {first_line(error)} Save it again.") from error

    def checksum(self) -> str:
        """SHA-256 of all its files."""
        digest = hashlib.sha256()
        for file in sorted(p for p in self._path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(self._path).as_posix()}\n{sha256(file)}\n".encode())
        return digest.hexdigest()


def _class_name(value: object, names: Sequence[str]) -> object:
    """The name of a class by its number; None where there is none (-1)."""
    if isinstance(value, list):
        return [_class_name(v, names) for v in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
