"""The triplet table: its columns, how it is read, written, checked and fingerprinted.

A row is one training example. Only `anchor` and `positive` are needed; everything else is filled with nulls.
On disk it is Parquet with exactly the columns of `COLUMNS`, in memory a `datasets.Dataset`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from gisttools.errors import DataError, MissingError, problems

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
        ("negative_labels", _TEXTS),
        ("task_name", pa.string()),
        ("task_type", pa.string()),
        ("language", pa.string()),  # ISO 639-3 and script, as in mteb: eng-Latn
        # where it comes from
        ("source", pa.string()),  # llm | labelled | hub
        ("source_revision", pa.string()),
        ("seed_ids", _TEXTS),
        ("prompt_id", pa.string()),
        ("prompt_sha", pa.string()),
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
FILE_NAME = "triplets.parquet"
_SHOWN = 5  # rows named in an error message


def triplet_id(anchor: str, positive: str, negatives: Iterable[str] = ()) -> str:
    """16 hex digits that depend on the texts alone."""
    content = json.dumps([anchor, positive, list(negatives)], ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def make_triplets(rows: Iterable[Mapping] | pd.DataFrame) -> Dataset:
    """Turn rows (mappings, or a DataFrame) into a checked table with all columns of `COLUMNS`.

    `negative` (one text, may be missing) is accepted for `negatives`; `id` and `status` are filled in.

    Raises:
        DataError: a needed column is missing, a column is unknown, a text is empty, or a value is not of its column's
            type; all problems at once.
    """
    records = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    records = [{name: None if _missing(value) else value for name, value in r.items()} for r in records]
    for r in records:
        if "negative" in r and "negatives" not in r:
            negative = r.pop("negative")
            r["negatives"] = [] if negative is None else [negative]
        if r.get("negatives") is None:
            r["negatives"] = []
    validate(records)
    for r in records:
        r["status"] = r.get("status") or "accepted"
        r["id"] = triplet_id(r["anchor"], r["positive"], r["negatives"])
    return Dataset(_to_table(records))


def validate(records: list[dict], where: str = "triplet table") -> None:
    """Raise one `DataError` that lists every problem of the rows; say nothing where there is none."""
    found = []
    seen = {name for r in records for name in r}
    for column in ("anchor", "positive"):
        if records and column not in seen:
            found.append(f"column {column!r} is missing (columns: {', '.join(sorted(seen))})")
    unknown = sorted(seen - set(COLUMNS.names))
    if unknown:
        found.append(f"unknown columns: {', '.join(unknown)} (known: {', '.join(COLUMNS.names)})")
    for column in ("anchor", "positive"):
        if column in seen:
            found += _rows_where(records, lambda r, c=column: not _is_text(r.get(c)), f"{column} is empty or no text")
    found += _rows_where(records, lambda r: isinstance(r["negatives"], str), "negatives is no list of texts")
    found += _rows_where(
        records,
        lambda r: not isinstance(r["negatives"], str) and not all(map(_is_text, r["negatives"])),
        "a negative is empty or no text",
    )
    if found:
        raise DataError(problems(f"{where}: {len(found)} problem(s)", found, "Mend the rows or drop them, then retry."))


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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        pq.write_table(table.with_format("arrow")[:].cast(COLUMNS), partial, compression="zstd")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read_triplets(*paths: str | Path) -> Dataset:
    """Read one or more tables (Parquet, JSONL, CSV/TSV, or folders that hold `triplets.parquet`) into one.

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
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, memory_map=True)
            if set(table.column_names) == set(COLUMNS.names):
                return table.select(COLUMNS.names).cast(COLUMNS)
            return make_triplets(table.to_pylist()).with_format("arrow")[:]
        if path.suffix in (".jsonl", ".json"):
            lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would also cut at U+2028 in a text
            records = [json.loads(line) for line in lines if line.strip()]
            if not all(isinstance(r, dict) for r in records):
                raise DataError(f"{path}: a line is no JSON object. Write one object a line, with anchor and positive.")
        elif path.suffix in (".csv", ".tsv"):
            frame = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, encoding="utf-8-sig")
            if not isinstance(frame.index, pd.RangeIndex):
                raise DataError(f"{path}: rows have more fields than the header. Quote texts that hold a separator.")
            records = [{k: _from_cell(k, v) for k, v in r.items()} for r in frame.astype(object).to_dict("records")]
        else:
            raise DataError(f"{path}: unknown ending {path.suffix!r}. Use .parquet, .jsonl, .csv or .tsv.")
    except (pa.ArrowInvalid, json.JSONDecodeError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}. Is it what its ending says?") from error
    try:
        return make_triplets(records).with_format("arrow")[:]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _to_table(records: list[dict]) -> pa.Table:
    columns, found = [], []
    for name, kind in zip(COLUMNS.names, COLUMNS.types, strict=True):
        try:
            columns.append(pa.array([r.get(name) for r in records], kind))
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            found.append(f"column {name!r} must hold {kind}: {error}")
    if found:
        raise DataError(problems(f"triplet table: {len(found)} problem(s)", found, "Mend these values, then retry."))
    return pa.Table.from_arrays(columns, schema=COLUMNS)


def _from_cell(name: str, text: object) -> object:
    """A CSV cell as its column's type: lists, numbers and truth values are written as in JSON."""
    if not isinstance(text, str) or name not in COLUMNS.names or COLUMNS.field(name).type == pa.string():
        return text
    try:
        return json.loads(text.lower() if COLUMNS.field(name).type == pa.bool_() else text)
    except json.JSONDecodeError:
        return text


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _rows_where(records: list[dict], bad, what: str) -> list[str]:
    rows = [i for i, r in enumerate(records) if bad(r)]
    if not rows:
        return []
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return [f"{what} in row(s) {', '.join(map(str, rows[:_SHOWN]))}{more}"]
