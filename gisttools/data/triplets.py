"""Reads, writes, checks and fingerprints the triplet table, and gives its columns to training block by block.

A row is one training example. Only `anchor` and `positive` are needed; everything else is filled with nulls.
On disk it is Parquet with exactly the columns of `COLUMNS`, in memory a `datasets.Dataset`, whose blocks are Arrow
columns: no Python objects, and no copies of what lies on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint

from gisttools.common import DataError, MissingError, problems, whole_file
from gisttools.data.characters import is_blank
from gisttools.data.columns import misspelt, negative_columns, tell_left_out
from gisttools.data.files import file_kind, is_missing, plain_name, read_rows
from gisttools.data.suspicions import refuse_ids

_TEXTS = pa.list_(pa.string())
COLUMNS = pa.schema(
    [
        # the example
        ("id", pa.string()),  # hash of the texts
        ("anchor", pa.string()),
        ("positive", pa.string()),
        ("negatives", _TEXTS),  # may be empty
        # what is known about the texts
        ("anchor_label", pa.string()),
        ("positive_label", pa.string()),
        ("negative_labels", _TEXTS),  # of graded passages (reranking) positive_label and these are the grades
        ("task_name", pa.string()),
        ("task_type", pa.string()),
        ("language", pa.string()),  # ISO 639-3 and script, as in mteb: eng-Latn; of translations both
        # where it comes from
        ("source", pa.string()),  # llm | labelled | hub | sentence
        ("source_revision", pa.string()),
        ("seed_ids", _TEXTS),
        ("prompt_id", pa.string()),
        ("prompt_sha", pa.string()),
        ("attributes", pa.string()),  # JSON: in which way the LLM was to write
        ("negative_sources", _TEXTS),  # of each negative: written | replaced | mined | label
        ("llm_model", pa.string()),
        ("call_key", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost_usd", pa.float64()),
        # what the guide thinks of it (cosines)
        ("guide_id", pa.string()),
        ("guide_ap", pa.float32()),
        ("guide_an", pa.list_(pa.float32())),
        ("live", pa.bool_()),  # does at least one given negative survive the guide's mask?
        # what became of it
        ("status", pa.string()),  # accepted | rejected
        ("reject_reason", pa.string()),
    ]
)
_LABELS = ("anchor_label", "positive_label", "negative_labels")
FILE_NAME = "triplets.parquet"
Record: TypeAlias = dict[str, Any]  # a row by column; `validate` checks what its values are
Column: TypeAlias = pa.ChunkedArray | pa.Array | pa.Scalar | str | None
_BLOCK = 10_000  # rows that are Python objects at a time
_SHOWN = 5  # rows named in an error message


def triplet_id(anchor: str, positive: str, negatives: Iterable[str] = ()) -> str:
    """16 hex digits that depend on the texts alone."""
    content = json.dumps([anchor, positive, list(negatives)], ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def make_triplets(rows: Iterable[Mapping] | pd.DataFrame, *, first: int = 0) -> Dataset:
    """Turn rows (mappings, or a DataFrame) into a checked table with all columns of `COLUMNS`.

    `negative` (one text, may be missing) is accepted for `negatives`; `id` and `status` are filled in.

    Args:
        rows: of a table.
        first: number of the first row, in errors.

    Raises:
        DataError: a needed column is missing, a column is unknown, a text is empty, or a value is not of its column's
            type; all problems at once.
    """
    given = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    records: list[Record] = [{name: None if is_missing(value) else value for name, value in r.items()} for r in given]
    for r in records:
        if "negative" in r and "negatives" not in r:
            negative = r.pop("negative")
            r["negatives"] = [] if negative is None else [negative]
        if r.get("negatives") is None:
            r["negatives"] = []
    validate(records, first=first)
    for r in records:
        r["status"] = r.get("status") or "accepted"
        r["id"] = triplet_id(r["anchor"], r["positive"], r["negatives"])
    return Dataset(_to_table(records))


def make_triplets_from_columns(columns: Mapping[str, Column], rows: int) -> Dataset:
    """As `make_triplets`, from Arrow columns: a million rows without a million dicts.

    Args:
        columns: by name; a single text, or None, stands for a column that holds it in every row.
        rows: how many there are.

    Raises:
        DataError: as `make_triplets`; also a column of another length. All problems at once.
    """
    found = [f"column {name!r} is missing" for name in ("anchor", "positive") if name not in columns]
    found += _unknown(columns)
    given = {"negatives": pa.scalar([], _TEXTS), "status": "accepted", **columns}
    whole = {}
    for field in COLUMNS:
        column = given.get(field.name)
        try:
            whole[field.name] = _whole_column(column, field.type, rows)
        except pa.ArrowException as error:
            found.append(f"column {field.name!r} must hold {field.type}: {error}")
            continue
        if len(whole[field.name]) != rows:
            found.append(f"column {field.name!r} has {len(whole[field.name])} rows, not {rows}")
    for name in ("anchor", "positive"):
        if name in columns and name in whole:
            found += _in_rows(_blank(whole[name]), f"{name} is empty or no text")
    if "negatives" in whole:
        lists = whole["negatives"]
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        parents = np.repeat(np.arange(len(counts)), counts)
        found += _in_rows(np.unique(parents[_blank(pc.list_flatten(lists))]), "a negative is empty or no text")
    if found:
        raise DataError(problems(f"triplet table: {len(found)} problem(s)", found, "Correct the columns, then retry."))
    ids = []
    for begin in range(0, rows, _BLOCK):
        texts = (whole[name].slice(begin, _BLOCK).to_pylist() for name in ("anchor", "positive", "negatives"))
        ids.append(pa.array([triplet_id(a, p, n) for a, p, n in zip(*texts, strict=True)], pa.string()))
    whole["id"] = pa.chunked_array(ids, pa.string())
    table = pa.Table.from_arrays([whole[name] for name in COLUMNS.names], schema=COLUMNS)
    return Dataset(table, fingerprint=generate_random_fingerprint())  # the usual one hashes all texts


def validate(records: list[Record], where: str = "triplet table", *, first: int = 0) -> None:
    """Raise one `DataError` that lists every problem of the rows; say nothing where there is none."""
    found = []
    seen = {name for r in records for name in r}
    for column in ("anchor", "positive"):
        if records and column not in seen:
            found.append(f"column {column!r} is missing (columns: {', '.join(sorted(seen))})")
    found += _unknown(seen)
    checks: list[tuple[Callable[[Record], bool], str]] = [
        (lambda r: "anchor" in seen and not _is_text(r.get("anchor")), "anchor is empty or no text"),
        (lambda r: "positive" in seen and not _is_text(r.get("positive")), "positive is empty or no text"),
        (lambda r: not _is_list(r["negatives"]), "negatives is no list of texts"),
        (lambda r: _is_list(r["negatives"]) and not all(map(_is_text, r["negatives"])),
         "a negative is empty or no text"),
    ]  # fmt: skip
    for is_wrong, what in checks:
        found += _in_rows([i for i, r in enumerate(records, first) if is_wrong(r)], what)
    if found:
        raise DataError(problems(f"{where}: {len(found)} problem(s)", found, "Correct or drop the rows, then retry."))


def _unknown(names: Iterable[str]) -> list[str]:
    unknown = sorted(set(names) - set(COLUMNS.names))
    return [f"unknown columns: {', '.join(unknown)} (known: {', '.join(COLUMNS.names)})"] if unknown else []


def write_triplets(table: Dataset | Iterable[Mapping] | pd.DataFrame, path: str | Path) -> Path:
    """Write a table to `path` (a file, or a folder that gets `triplets.parquet`); the file appears whole or not.

    Raises:
        DataError: the rows are no triplets, or the path ends like a file of another kind.
    """
    path = Path(path)
    if path.suffix in (".jsonl", ".json", ".csv", ".tsv"):
        raise DataError(f"{path}: triplet tables are written as Parquet. Name a .parquet file or a folder.")
    if path.suffix != ".parquet":
        path = path / FILE_NAME
    if not isinstance(table, Dataset):
        table = make_triplets(table)
    with whole_file(path) as partial:
        pq.write_table(table.with_format("arrow")[:].cast(COLUMNS), partial, compression="zstd")
    return path


def read_triplets(*paths: str | Path) -> Dataset:
    """Read one or more tables into one: files of rows (see `gisttools.data.files`), or folders that hold
    `triplets.parquet`.

    Raises:
        MissingError: a path does not exist.
        DataError: a file is not a triplet table.
    """
    if not paths:
        raise MissingError("No triplet table was named. Name a file, or the folder of a finished run that wrote one.")
    tables = [_read_one(Path(p)) for p in paths]
    return Dataset(pa.concat_tables(tables))


def fingerprint(table: Dataset) -> str:
    """16 hex digits that depend on the texts and labels and their order, not on file format or other columns."""
    digest = hashlib.sha256()
    for column in ("id", "anchor_label", "positive_label", "negative_labels"):
        digest.update(json.dumps(table[column][:], ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _read_one(path: Path) -> pa.Table:
    if path.is_dir():
        path = path / FILE_NAME
    if not path.exists():
        raise MissingError(f"No triplet table at {path}. Name a file, or the folder of a finished run that wrote one.")
    if _is_own(path):
        return pq.read_table(path, memory_map=True).select(COLUMNS.names).cast(COLUMNS)
    return _checked(path, read_rows(path), 0, set())


def _is_own(path: Path) -> bool:
    """Whether a file is Parquet with exactly the columns of `COLUMNS`, labels as strings: a table that we wrote."""
    if file_kind(path) != ".parquet":
        return False
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return False  # what it is instead, the reader of rows says
    if sorted(schema.names) != sorted(COLUMNS.names):
        return False
    kinds = (schema.field(name).type for name in _LABELS)
    names = (kind.value_type if pa.types.is_list(kind) else kind for kind in kinds)
    return all(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind) for kind in names)


def read_blocks(path: Path) -> Iterator[pa.Table]:
    """A file's rows as checked tables of some thousands, so that a large one is never held whole.

    Raises:
        DataError: the file is not a triplet table; the problems of the first block that has some.
    """
    if _is_own(path):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=_BLOCK):
            yield pa.Table.from_batches([batch]).select(COLUMNS.names).cast(COLUMNS)
        return
    rows, first, told = read_rows(path), 0, set[str]()
    while block := list(itertools.islice(rows, _BLOCK)):
        yield _checked(path, block, first, told)
        first += len(block)


def _checked(path: Path, rows: Iterable[dict], first: int, told: set[str]) -> pa.Table:
    """The table of a file's rows, of which the first has this number. Columns that no table has are left out; `told`
    are those of which that was said. One that is nearly named like a column of texts or labels is refused."""
    records, others = [], dict[str, None]()
    for row in rows:
        records.append(_record(row, others))
    if first == 0:
        refuse_ids(path, *([r[c] for r in records if isinstance(r.get(c), str)] for c in ("anchor", "positive")))
    wrong = misspelt(others)
    tell_left_out(path, (name for name in others if name not in told and name not in wrong))
    told.update(others)
    if wrong and records:
        records[0].update(dict.fromkeys(wrong))
    try:
        return make_triplets(records, first=first).with_format("arrow")[:]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _record(row: Mapping[str, object], others: dict[str, None]) -> Record:
    """A row of a file by the table's columns, with the negatives of all columns in one list; `others` are left over."""
    several = [name for name in negative_columns(row) if name not in ("negatives", "negative_passages")]
    record = {name: _from_cell(name, value) for name, value in row.items() if name in COLUMNS.names}
    others.update(dict.fromkeys(n for n in row if n not in COLUMNS.names and n not in several))
    if several:
        given = record.get("negatives")
        cells = [*([given] if given is not None else []), *(_from_cell("negatives", row[name]) for name in several)]
        lists = (cell if isinstance(cell, list) else [cell] for cell in cells if not is_missing(cell))
        record["negatives"] = [text for texts in lists for text in texts]
    return record


def _to_table(records: list[dict]) -> pa.Table:
    columns, found = [], []
    for name, kind in zip(COLUMNS.names, COLUMNS.types, strict=True):
        try:
            columns.append(pa.array([r.get(name) for r in records], kind))
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            found.append(f"column {name!r} must hold {kind}: {error}")
    if found:
        raise DataError(problems(f"triplet table: {len(found)} problem(s)", found, "Correct these values, then retry."))
    return pa.Table.from_arrays(columns, schema=COLUMNS)


def _whole_column(column: Column, kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    """The column in its type; negatives that are null become empty lists, as in `make_triplets`."""
    given = pa.scalar(column, kind) if column is None or isinstance(column, str) else column
    whole = (pa.repeat(given, rows) if isinstance(given, pa.Scalar) else given).cast(kind)
    return whole if isinstance(whole, pa.ChunkedArray) else pa.chunked_array([whole], kind)


def _blank(texts: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Where there is no text, or only white space."""
    blank = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), True)
    return np.flatnonzero(blank.to_numpy(zero_copy_only=False) if isinstance(blank, pa.Array) else blank.to_numpy())


def _from_cell(name: str, value: object) -> object:
    """A file's cell as its column's type: labels by their plain names; in CSV lists, numbers and truth values are
    written as in JSON."""
    kind = COLUMNS.field(name).type if name in COLUMNS.names else pa.string()
    if isinstance(value, str) and kind != pa.string():
        with contextlib.suppress(ValueError):
            value = json.loads(value.lower() if kind == pa.bool_() else value)
    if name in _LABELS:
        return [_label(x) for x in value] if isinstance(value, list) else _label(value)
    return value


def _label(value: object) -> object:
    return value if isinstance(value, list | dict) else plain_name(value)


def _is_list(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | Mapping)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and (value.isascii() or not is_blank(value))


def _in_rows(rows: Sequence[int] | np.ndarray, what: str) -> list[str]:
    if not len(rows):
        return []
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return [f"{what} in row(s) {', '.join(map(str, rows[:_SHOWN]))}{more}"]


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
    with whole_file(path) as partial, pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies even one chunk
