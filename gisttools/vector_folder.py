"""The files of a vector cache: a matrix that only grows, its keys, and a checksum for each chunk written.

    vectors.float32   one unit vector a row (or vectors.float16)
    keys.bin          the 16-byte key of each row
    chunks.bin        one record a chunk, written last: a row counts once its chunk is recorded
    verified.json     size and time of change of these files when their checksums were last found right

A row keeps its number for ever, because others may hold it: a damaged chunk is not cut out but marked as dead.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock

from gisttools.common import ModelError
from gisttools.text_keys import KEY, KeyIndex

log = logging.getLogger(__name__)
_RECORD = np.dtype([(name, "<u4") for name in ("rows", "alive", "dimension", "keys", "vectors", "own")])


class VectorFolder:
    """Vectors by key in a folder that any number of processes read, and one at a time appends to.

    Args:
        folder: made if it does not exist.
        dtype: of the numbers on disk; vectors are always given and answered as float32.
        about: what `meta.json` tells a human.
    """

    def __init__(self, folder: Path, dtype: Literal["float32", "float16"], about: dict) -> None:
        self.folder, self._dtype = folder, np.dtype(dtype)
        self._vectors, self._keys = folder / f"vectors.{dtype}", folder / "keys.bin"
        self._chunks, self._verified = folder / "chunks.bin", folder / "verified.json"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock")
        self._known, self._index = np.zeros(0, _RECORD), KeyIndex()
        self._map: np.ndarray | None = None
        with self.writing():
            _replace(folder / "meta.json", json.dumps(about, indent=1).encode())

    @property
    def dimension(self) -> int | None:
        """Numbers a vector; None while there is none."""
        return int(self._known["dimension"][0]) if len(self._known) else None

    @property
    def alive(self) -> int:
        """Vectors that are not damaged."""
        return int(self._known["rows"][self._known["alive"] > 0].sum(dtype=np.int64))

    def __len__(self) -> int:
        return int(self._known["rows"].sum(dtype=np.int64))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Row numbers, int64 (n,), of keys, shape (n,); -1 for keys that are not here."""
        return self._index.find(keys)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """float32 (*rows.shape, dimension) of rows that `find` answered, read from the memory map."""
        if self._map is None or len(self._map) < len(self):
            shape = (len(self), self.dimension)
            self._map = np.memmap(self._vectors, dtype=self._dtype, mode="r", shape=shape).view(np.ndarray)
        return np.asarray(self._map[rows], dtype=np.float32)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The right to append: the files are sound, and what other processes appended is known."""
        with self._lock:
            self._repair()
            self._refresh()
            yield

    def append(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Add a chunk, durably; inside `writing()` only. keys (n,) new here, vectors (n, dimension).

        Raises:
            ModelError: the vectors are not as long as those that are here.
        """
        if self.dimension not in (None, vectors.shape[1]):
            raise ModelError(
                f"The guide gives vectors of {vectors.shape[1]} numbers; those kept in {self.folder} have "
                f"{self.dimension}. It is not the same model any more: name another one, or remove that folder."
            )
        parts = {self._vectors: np.ascontiguousarray(vectors, self._dtype), self._keys: np.ascontiguousarray(keys, KEY)}
        sums = [zlib.crc32(parts[path].view(np.uint8).data) for path in (self._keys, self._vectors)]
        record = np.array([(len(keys), 1, vectors.shape[1], *sums, 0)], _RECORD)
        record["own"] = _own_sum(record[0])
        for path, data in [*parts.items(), (self._chunks, record)]:
            with open(path, "ab") as file:
                file.write(data.tobytes())
                file.flush()
                os.fsync(file.fileno())
        self._note_verified()
        self._refresh()

    def _refresh(self) -> None:
        """Learn of the chunks that were recorded since."""
        records = self._records()
        if not np.array_equal(records[: len(self._known)], self._known):  # a chunk died: number anew
            self._known, self._index, self._map = np.zeros(0, _RECORD), KeyIndex(), None
        begin, new = len(self), records[len(self._known) :]
        count = int(new["rows"].sum(dtype=np.int64))
        if count:
            keys = np.fromfile(self._keys, dtype=KEY, count=count, offset=begin * KEY.itemsize)
            alive = np.repeat(new["alive"] > 0, new["rows"])
            self._index.add(keys[alive], begin + np.flatnonzero(alive))
        self._known = records

    def _records(self) -> np.ndarray:
        """The recorded chunks, up to the first record that is not whole."""
        data = self._chunks.read_bytes() if self._chunks.exists() else b""
        records = np.frombuffer(data[: len(data) // _RECORD.itemsize * _RECORD.itemsize], _RECORD)
        known = len(self._known) if np.array_equal(records[: len(self._known)], self._known) else 0
        good = [record["own"] == _own_sum(record) for record in records[known:]]
        return records[: known + (good.index(False) if False in good else len(good))].copy()

    def _repair(self) -> None:
        """Verify what changed since the last time: drop unrecorded rows, mark damaged chunks as dead."""
        if self._state() == self._noted():
            return
        for path in (self._vectors, self._keys, self._chunks):
            path.touch()
        records, dead, begin = self._records(), 0, 0
        total, dimension = int(records["rows"].sum(dtype=np.int64)), int(records["dimension"].max(initial=1))
        lost = self._chunks.stat().st_size // _RECORD.itemsize - len(records)
        # a half-written end is cut; an end that got lost is filled with zeros, which no checksum takes for vectors
        os.truncate(self._keys, total * KEY.itemsize)
        os.truncate(self._vectors, total * dimension * self._dtype.itemsize)
        if total:
            keys = np.memmap(self._keys, KEY, "r", shape=(total,)).view(np.uint8).reshape(total, -1)
            vectors = np.memmap(self._vectors, self._dtype, "r", shape=(total, dimension)).view(np.uint8)
            for record in records:
                part = slice(begin, begin + int(record["rows"]))
                begin = part.stop
                if record["alive"] and (zlib.crc32(keys[part].data), zlib.crc32(vectors[part].data)) != (
                    record["keys"], record["vectors"]
                ):  # fmt: skip
                    record["alive"], dead = 0, dead + int(record["rows"])
                    record["own"] = _own_sum(record)
        if dead or lost:
            what = f"{dead} vectors" if dead else "the record of some vectors"
            log.warning("%s: %s are damaged; what is missing is made again when needed", self.folder, what)
        _replace(self._chunks, records.tobytes())
        self._note_verified()

    def _state(self) -> dict[str, list[int]]:
        files = [path for path in (self._vectors, self._keys, self._chunks) if path.exists()]
        return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}

    def _noted(self) -> dict | None:
        try:
            return json.loads(self._verified.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _note_verified(self) -> None:
        _replace(self._verified, json.dumps(self._state()).encode())


def _own_sum(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[: _RECORD.fields["own"][1]])


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
