"""A triplet table's texts as Arrow columns, block by block, without making Python objects or copies of what lies on
disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint

_BLOCK = 10_000  # rows


def blocks(table: Dataset, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The table's columns in blocks of at most 10,000 rows; a block of a memory-mapped table is a view of the map."""
    view = table.select_columns(list(columns)).with_format("arrow")
    for begin in range(0, len(view), _BLOCK):
        yield view[begin : begin + _BLOCK]


def most_negatives(table: Dataset) -> int:
    """The largest number of negatives that a row of the table has."""
    counts = (pc.max(pc.list_value_length(block["negatives"])).as_py() for block in blocks(table, ["negatives"]))
    return max((count or 0 for count in counts), default=0)


def slots(block: pa.Table, columns: Sequence[str], k: int) -> list[pa.Array]:
    """Two text columns and one of lists of texts as 2 + k columns of texts; null where a list is shorter."""
    first, second, lists = (_whole(block[name]) for name in columns)
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    flat, starts = lists.flatten(), np.cumsum(counts) - counts
    if k == 1 and (counts == 1).all():
        return [first, second, flat]
    places = (pa.array(starts + i, mask=counts <= i) for i in range(k))
    return [first, second, *(flat.take(place) for place in places)]


def padded_columns(table: Dataset, k: int, row_ids: np.ndarray, spool: Path | None = None) -> Dataset:
    """anchor, positive, negative_1..k and label (the row ids); missing negatives are filled with the positive.

    Anchors, positives and, with one negative in each row, negatives are views of the table. Other negatives are
    gathered: into memory, or into the file `spool` (taken as it is where it exists), which is memory-mapped.
    """
    names = [f"negative_{i + 1}" for i in range(k)]
    schema = pa.schema([(name, pa.string()) for name in names])
    if spool is None or k == 0:
        negatives = pa.Table.from_batches(_negatives(table, schema), schema)
    else:
        if not spool.exists():
            _write(_negatives(table, schema), schema, spool)
        negatives = pa.ipc.open_stream(pa.memory_map(str(spool))).read_all()
    texts = [pa.concat_tables(blocks(table, [name])) if len(table) else None for name in ("anchor", "positive")]
    columns = [pa.chunked_array([], pa.string()) if t is None else t.column(0) for t in texts]
    columns += [*negatives.columns, pa.chunked_array([pa.array(row_ids, pa.int64())])]
    return as_dataset(pa.Table.from_arrays(columns, names=["anchor", "positive", *names, "label"]))


def as_dataset(table: pa.Table) -> Dataset:
    """The table as a `Dataset`, without the hash over all its texts that `Dataset` would compute for its caches."""
    return Dataset(table, fingerprint=generate_random_fingerprint())


def _negatives(table: Dataset, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for block in blocks(table, ["positive", "negatives"]) if len(schema) else ():
        _, positive, *negatives = slots(block, ["positive", "positive", "negatives"], len(schema))
        yield pa.RecordBatch.from_arrays(
            [n if n.null_count == 0 else pc.coalesce(n, positive) for n in negatives], schema=schema
        )


def _write(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies even one chunk
