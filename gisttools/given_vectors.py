"""Guide vectors that stand ready in a file: Parquet with columns text and vector, or a matrix beside its texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gisttools.common import DataError, MissingError

ENDINGS = (".parquet", ".npy")
_BLOCK = 8192


class GivenVectors:
    """Vectors made elsewhere. Any length is fine, they are made unit vectors; a file that changed is another guide.

    Args:
        path: `x.parquet` with columns `text` and `vector` (lists of n numbers), or `x.npy` of shape (rows, n) with the
            texts beside it in `x.jsonl` (one JSON string or {"text": ...} a line) or `x.txt` (one text a line).

    Raises:
        MissingError: a file does not exist.
        DataError: it does not hold texts and vectors.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path
        files = [path]
        if not path.is_file():
            raise MissingError(f"No file of vectors at {path}. Correct the guide's name.")
        if path.suffix == ".npy":
            beside = [path.with_suffix(ending) for ending in (".jsonl", ".txt") if path.with_suffix(ending).exists()]
            if not beside:
                raise MissingError(f"{path} has no texts beside it. Write {path.stem}.jsonl or {path.stem}.txt.")
            files.append(beside[0])
            self.dimension = self._matrix_width()
        else:
            self.dimension = self._column_width()
        digest = hashlib.blake2b(digest_size=16)
        for file in files:
            with open(file, "rb") as content:
                digest.update(hashlib.file_digest(content, "blake2b").digest())
        self._texts, self.identity = files[-1], f"given|{digest.hexdigest()}"

    def items(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Blocks of texts and their vectors, float (n, dimension), as they stand in the file."""
        return self._matrix_items() if self._path.suffix == ".npy" else self._column_items()

    def missing(self, count: int, texts: Sequence[str]) -> DataError:
        """The error for `count` texts that the file does not hold; `texts` are the first of them."""
        shown = ", ".join(repr(t[:80]) for t in texts[:3])
        return DataError(
            f"{self._path} holds no vector for {count} text(s), such as {shown}. Add them to the file, or name a model "
            "as the guide. Texts must be equal to the letter."
        )

    def _matrix_width(self) -> int:
        try:
            matrix = np.load(self._path, mmap_mode="r")
        except (ValueError, OSError) as error:
            raise DataError(f"{self._path} cannot be read as a matrix: {error}. Write it with numpy.save.") from error
        if matrix.ndim != 2 or matrix.dtype.kind != "f" or not matrix.shape[1]:
            raise DataError(f"{self._path} holds {matrix.dtype} of shape {matrix.shape}, no floats (rows, n).")
        return matrix.shape[1]

    def _matrix_items(self) -> Iterator[tuple[list[str], np.ndarray]]:
        matrix = np.load(self._path, mmap_mode="r")
        lines = self._texts.read_text(encoding="utf-8-sig").split("\n")  # splitlines would also cut at U+2028
        if self._texts.suffix == ".jsonl":
            texts = [self._text_of(line, number) for number, line in enumerate(lines, 1) if line.strip()]
        else:
            texts = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
        if len(texts) != len(matrix):
            raise DataError(f"{self._path} has {len(matrix)} rows, {self._texts} {len(texts)} texts: not a pair.")
        for begin in range(0, len(texts), _BLOCK):
            yield texts[begin : begin + _BLOCK], np.asarray(matrix[begin : begin + _BLOCK])

    def _text_of(self, line: str, number: int) -> str:
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            value = None
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise DataError(f'{self._texts}, line {number}: {line[:80]!r} is no JSON string and no {{"text": ...}}.')
        return text

    def _column_width(self) -> int:
        try:
            file = pq.ParquetFile(self._path)
        except pa.ArrowInvalid as error:
            raise DataError(f"{self._path} cannot be read as Parquet: {error}.") from error
        schema = file.schema_arrow
        kinds = dict(zip(schema.names, schema.types, strict=True))
        text, vector = kinds.get("text"), kinds.get("vector")
        if not (text and (pa.types.is_string(text) or pa.types.is_large_string(text)) and _is_floats(vector)):
            told = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
            raise DataError(f"{self._path} has the columns {told}; needed are text: string and vector: list of floats.")
        for batch in file.iter_batches(1, columns=["vector"]):
            return len(batch["vector"][0].as_py() or [])
        raise DataError(f"{self._path} has no rows.")

    def _column_items(self) -> Iterator[tuple[list[str], np.ndarray]]:
        for batch in pq.ParquetFile(self._path).iter_batches(_BLOCK, columns=["text", "vector"]):
            vectors = batch["vector"].flatten()
            whole = not (batch["text"].null_count or batch["vector"].null_count or vectors.null_count)
            lengths = set(batch["vector"].value_lengths().to_pylist())
            if not whole or lengths != {self.dimension}:
                raise DataError(
                    f"{self._path}: texts and vectors must all be there, vectors of one length "
                    f"(seen: {', '.join(map(str, sorted(lengths, key=str)))} numbers, nulls: {not whole})."
                )
            yield batch["text"].to_pylist(), vectors.to_numpy(zero_copy_only=False).reshape(-1, self.dimension)


def _is_floats(kind: pa.DataType | None) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return kind is not None and any(is_(kind) for is_ in lists) and pa.types.is_floating(kind.value_type)
