"""Keeps what was read of documents: their chunks, which of them are to test on, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gisttools.common import DataError, MissingError, first_line, plural, whole_file
from gisttools.data.chunks import Chunk, CountTokens, count_words, make_chunks, split_chunks
from gisttools.data.documents import read_documents
from gisttools.data.options import ChunkOptions

CHUNKS_FILE = "chunks.parquet"
CORPUS_FILE = "corpus.parquet"  # the texts among which negatives of the pairs beside it are found
TRAIN, TEST = "train", "test"
_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("document", pa.string()),
        ("title", pa.string()),
        ("headings", pa.list_(pa.string())),
        ("text", pa.string()),
        ("tokens", pa.int32()),
        ("file", pa.string()),
        ("line", pa.int32()),
        ("part", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ReadChunks:
    """The chunks of a folder of documents.

    Attributes:
        name: of the folder, or of the file without its ending.
        chunks: in the order of the documents.
        test: which ones are held back to test on, bool (n,): whole documents.
        facts: what was left out and dropped, the languages, as JSON values; empty of a table that was read again.
    """

    name: str
    chunks: tuple[Chunk, ...]
    test: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    def documents(self, *, test: bool) -> int:
        """How many documents are to test on, or to train on."""
        return len({c.document for c, is_test in zip(self.chunks, self.test.tolist(), strict=True) if is_test == test})

    def summary(self) -> dict[str, Any]:
        """The numbers of a run."""
        tokens = [chunk.tokens for chunk in self.chunks]
        return {
            "name": self.name,
            "documents": self.documents(test=False) + self.documents(test=True),
            "test_documents": self.documents(test=True),
            "chunks": len(self.chunks),
            "test_chunks": int(self.test.sum()),
            "tokens": sum(tokens),
            "longest": max(tokens, default=0),
            **self.facts,
        }

    def headline(self) -> str:
        """One line: how many documents and chunks, how many to test on, what was left out."""
        s = self.summary()
        line = f"{plural(s['chunks'], 'chunk')} of {plural(s['documents'], 'document')}"
        line += f", {s['test_chunks']:,} of {s['test_documents']:,} held back to test on" if s["test_chunks"] else ""
        left, dropped = len(self.facts.get("left_out") or ()), sum((self.facts.get("dropped") or {}).values())
        line += f"; {plural(left, 'file')} left out, or in part" if left else ""
        return line + (f"; {plural(dropped, 'near copy')} dropped" if dropped else "")

    def table(self) -> pd.DataFrame:
        """One row a chunk, some columns, to look at."""
        part = np.where(self.test, TEST, TRAIN)
        rows = [(c.document, c.heading, c.text, c.tokens, p) for c, p in zip(self.chunks, part, strict=True)]
        return pd.DataFrame(rows, columns=["document", "heading", "text", "tokens", "part"])

    def left_out(self) -> pd.DataFrame:
        """Files that were left out, or of which some rows were, with the reason."""
        return pd.DataFrame(list((self.facts.get("left_out") or {}).items()), columns=["file", "why"])

    def save(self, folder: str | Path) -> None:
        """Write `chunks.parquet`."""
        parts = np.where(self.test, TEST, TRAIN).tolist()
        names = [name for name in _COLUMNS.names if name not in ("headings", "file", "part")]
        columns: dict[str, list] = {name: [getattr(c, name) for c in self.chunks] for name in names}
        columns |= {"headings": [list(c.headings) for c in self.chunks], "file": [str(c.file) for c in self.chunks]}
        columns["part"] = parts
        table = pa.table([pa.array(columns[n], _COLUMNS.field(n).type) for n in _COLUMNS.names], schema=_COLUMNS)
        with whole_file(Path(folder) / CHUNKS_FILE) as path:
            pq.write_table(table.replace_schema_metadata({"name": self.name}), path)

    def save_corpus(self, folder: str | Path) -> None:
        """Write `corpus.parquet`, the chunks that are trained on, for the pairs beside it."""
        own = [c.passage for c, is_test in zip(self.chunks, self.test.tolist(), strict=True) if not is_test]
        with whole_file(Path(folder) / CORPUS_FILE) as path:
            pq.write_table(pa.table({"text": pa.array(list(dict.fromkeys(own)), pa.string())}), path)


def read_chunks(
    place: str | Path,
    options: ChunkOptions | None = None,
    count_tokens: CountTokens = count_words,
    *,
    share: float | None = 0.2,
    seed: int = 0,
    column: str | None = None,
    encoding: str | None = None,
    strict: bool = False,
) -> ReadChunks:
    """Read the documents of a file or a folder, cut them, and hold back some of them to test on.

    Args:
        place, column, encoding, strict: as `read_documents`.
        options, count_tokens: as `make_chunks`.
        share: of the chunks to test on, in whole documents; None: none.
        seed: of the choice.

    Raises:
        As `read_documents`, `make_chunks`; DataError where no document can be held back.
    """
    place = Path(place).expanduser()
    documents = read_documents(place, column=column, encoding=encoding, strict=strict)
    chunks = make_chunks(documents, options, count_tokens)
    test = np.zeros(len(chunks), dtype=bool)
    if share is not None:
        try:
            test = split_chunks(chunks, share, seed=seed)
        except DataError:
            groups = len(set(chunks.groups.tolist()))
            raise DataError(
                f"{place}: no document can be held back to test on: {plural(len(documents), 'document')}, "
                f"{groups:,} of them without near copies, of which test_share {share} leaves none. "
                "Add documents, raise test_share, or set it to null and test elsewhere."
            ) from None
    facts = {
        "left_out": dict(documents.left_out),
        "dropped": dict(chunks.dropped),
        "boilerplate": dict(list(chunks.boilerplate.items())[:20]),
        "languages": chunks.languages,
    }
    name = place.resolve().name if place.is_dir() else place.name.partition(".")[0]
    return ReadChunks(name=name, chunks=chunks.chunks, test=test, facts=facts)


def load_chunks(file: str | Path) -> ReadChunks:
    """The chunks that `ReadChunks.save` wrote.

    Raises:
        MissingError: there is no such file.
        DataError: it is no table of chunks.
    """
    path = Path(file)
    if not path.is_file():
        raise MissingError(f"There is no file {path}. Name a run of 8_read, or the {CHUNKS_FILE} that it left.")
    try:
        table = pq.read_table(path)
        name = (table.schema.metadata or {}).get(b"name", path.parent.name.encode()).decode()
        rows = table.select(_COLUMNS.names).cast(_COLUMNS).to_pylist()
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise DataError(f"{path} is no table of chunks: {first_line(error)} Name a run of 8_read.") from error
    empty = sorted({name for row in rows for name, cell in row.items() if cell is None})
    if empty:
        raise DataError(f"{path} is no table of chunks: {', '.join(empty)} must not be empty. Name a run of 8_read.")
    twice = [name for name, n in Counter(row["id"] for row in rows).items() if n > 1]
    if twice:
        raise DataError(f"{path}: {len(twice)} id(s) of chunks come more than once, such as {twice[0]!r}.")
    test = np.array([row.pop("part") == TEST for row in rows], dtype=bool)
    made = (Chunk(**{**row, "headings": tuple(row["headings"]), "file": Path(row["file"])}) for row in rows)
    return ReadChunks(name=name, chunks=tuple(made), test=test)
