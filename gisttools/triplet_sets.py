"""Triplet sets by name: our own tables, and foreign sets of the hub or a file, streamed into a memory-mapped cache."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset, concatenate_datasets
from filelock import FileLock

from gisttools.common import DataError, GistError, MissingError, ParameterError, cache_folder, tqdm
from gisttools.foreign_rows import Pairs, find_shape, reaching, triplets_of
from gisttools.hub_sets import BUILDERS, HubSet, find_set, first_line, is_hub_name, open_stream
from gisttools.row_files import column_names, file_kind
from gisttools.triplets import COLUMNS, FILE_NAME, read_triplets

log = logging.getLogger(__name__)
GroupBy = Literal["source", "task_name"]
_VERSION = 2  # of the mapping; a new number makes new cache files
_BATCH = 1000
_LARGE = 1 << 28  # bytes; a table file above it is opened through the cache instead of being read whole


def read_hub_triplets(
    name: str | Path,
    *,
    rows: int | None = None,
    folder: Path | None = None,
    instructions: bool = False,
    pairs: Pairs | None = None,
    threshold: float | None = None,
) -> Dataset:
    """Read a foreign triplet set; the first time by streaming it into the cache, later from there.

    Batch after batch is mapped to the columns of `gisttools.triplets.COLUMNS` and written to one Arrow file, which
    is opened memory-mapped: no set is ever held whole (of Parquet files, a row group is). Which columns are known, and
    what a list of two strings stands for, is told in `gisttools.foreign_rows.find_shape`. A row with several positives
    gives one triplet for each. Rows without an anchor or a positive are dropped and counted in the log. `source` is
    "hub", `source_revision` the commit (of a local set the hash of its content), and `task_name` the set's name where
    no column tells it.

    Args:
        name: `org/name#config@revision:split` (see `gisttools.hub_sets`), a folder with the files of such a set, or
            one file.
        rows: rows read of the set (for trials); all if None.
        folder: where the cache lives; `cache_folder()/triplets` if None.
        instructions: put each text's instruction in front of it, where the set has some; else leave them out.
        pairs: whether lists of two strings are an "instruction" and its text, or two "texts"; by rule if None.
        threshold: of scored pairs (sentence1, sentence2, score), the least score of a pair that counts as positive; the
            other rows are left out and counted in the log.

    Raises:
        MissingError: the set, configuration, revision or split does not exist, or the network failed.
        DataError: no known columns, no usable row, scored pairs without a threshold, or a file that cannot be read.
        ParameterError: `rows` is below 1, `threshold` is not finite, or `pairs` is something else.
    """
    if rows is not None and rows < 1:
        raise ParameterError(f"rows is {rows}, must be >= 1, or None for all.")
    if pairs not in (None, "instruction", "texts"):
        raise ParameterError(f"pairs is {pairs!r}, must be 'instruction', 'texts' or None.")
    if threshold is not None and not math.isfinite(threshold):
        raise ParameterError(f"threshold is {threshold}, must be a finite number, or None for sets without scores.")
    source = find_set(name)

    def tables(counts: Counter) -> Iterator[pa.Table]:
        stream = open_stream(source)
        split = (stream.info.splits or {}).get(source.split)
        total = rows or (split.num_examples if split else None)
        batches = (stream.take(rows) if rows else stream).iter(batch_size=_BATCH)
        with tqdm(total=total, desc="triplet set", unit="row", disable=bool(total) and total < _BATCH) as bar:
            first = next(batches, {})
            shape = find_shape(first, str(name), pairs, threshold)
            for whole in itertools.chain([first], batches):
                batch = reaching(whole, shape)
                below = len(whole[shape.anchor]) - len(batch[shape.anchor])
                found = list(
                    triplets_of(
                        batch, shape, task_name=source.title, revision=source.revision, instructions=instructions
                    )
                )
                counts.update(rows=len(found) + below, below=below, dropped=sum(not triplets for triplets in found))
                bar.update(len(found) + below)
                yield pa.Table.from_pylist(list(itertools.chain.from_iterable(found)), schema=COLUMNS)

    what = [source.path, source.config, source.revision, source.split, rows, instructions, pairs, threshold]
    return _cached(source, what, tables, folder)


def triplet_tables(
    names: Sequence[str | Path],
    *,
    rows: int | None = None,
    instructions: bool = False,
    pairs: Pairs | None = None,
    threshold: float | None = None,
) -> dict[str, Dataset]:
    """Each source's table by its name, in order; foreign sets and large Parquet files stay memory-mapped.

    Args:
        names: triplet tables (files, or folders that hold `triplets.parquet`) and what `read_hub_triplets` reads. A
            file with the columns anchor and positive is a triplet table, any other one a foreign set.
        rows, instructions, pairs, threshold: as in `read_hub_triplets`, for the foreign sets alone.

    Raises:
        MissingError, DataError, ParameterError: as `read_hub_triplets` and `read_triplets`; also if a name comes twice.
    """
    twice = [name for name, times in Counter(map(str, names)).items() if times > 1]
    if twice:
        raise ParameterError(f"Named more than once: {', '.join(twice)}. Name each triplet set once.")
    found = {}
    for name in names:
        path = Path(name).expanduser()
        file = path / FILE_NAME if (path / FILE_NAME).is_file() else path
        is_foreign = not _is_table(file) if file.is_file() else path.is_dir() or is_hub_name(name)
        if is_foreign:
            found[str(name)] = read_hub_triplets(
                name, rows=rows, instructions=instructions, pairs=pairs, threshold=threshold
            )
        elif file.suffix == ".parquet" and file.is_file() and file.stat().st_size > _LARGE:
            found[str(name)] = _open_large(file)
        else:
            found[str(name)] = read_triplets(file)
    return found


def concatenate(tables: Mapping[str, Dataset]) -> Dataset:
    """All tables as one, in order; memory-mapped parts stay so.

    Raises:
        MissingError: there is no table.
    """
    if not tables:
        raise MissingError("No triplet table was named. Name a file, a run that wrote one, or a hub set.")
    return concatenate_datasets(list(tables.values()))


def number_sets(tables: Mapping[str, Dataset], by: GroupBy = "source") -> np.ndarray:
    """The set that each row of these tables, one after the other, belongs to: int (N,), numbered from 0.

    `by`: "source", each table is a set; "task_name", each task is, in the order of their names.
    """
    if by == "source":
        return np.repeat(np.arange(len(tables)), [len(table) for table in tables.values()])
    parts = [t.select_columns("task_name").with_format("arrow")[:]["task_name"].chunks for t in tables.values()]
    names = pa.chunked_array(itertools.chain.from_iterable(parts), pa.string()).fill_null("")
    codes = names.combine_chunks().dictionary_encode()  # in Arrow: as Python strings, millions of names fill gigabytes
    return np.argsort(pc.array_sort_indices(codes.dictionary))[codes.indices.to_numpy()]


def count_rows(table: Dataset, *columns: str) -> list[dict]:
    """One mapping for each combination of these columns' values, with its number of `rows`, the largest first."""
    counted = table.with_format("arrow")[:].select(columns).group_by(list(columns)).aggregate([([], "count_all")])
    found = counted.rename_columns([*columns, "rows"]).to_pylist()
    return sorted(found, key=lambda r: (-r["rows"], *(r[c] or "" for c in columns)))


def _cached(
    source: HubSet, what: list, tables: Callable[[Counter], Iterator[pa.Table]], folder: Path | None
) -> Dataset:
    """The Arrow file for `what`, written from `tables(counts)` if it is not there yet: whole, or not at all."""
    if folder is None:
        folder = cache_folder() / "triplets"
    key = hashlib.blake2b(json.dumps([_VERSION, *what]).encode(), digest_size=8).hexdigest()
    target, partial = folder / key, folder / f"{key}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{key}.lock"):
        if not target.exists():
            shutil.rmtree(partial, ignore_errors=True)  # of a killed build
            partial.mkdir()
            try:
                _write(source, tables, partial)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    counts = json.loads((target / "meta.json").read_text(encoding="utf-8"))
    under = f"; {counts['below']} are below the threshold" if counts["below"] else ""
    said = "%(path)s: %(triplets)d triplets of %(rows)d rows; %(dropped)d lack an anchor or a positive"
    log.info(said + under, counts)
    return Dataset.from_file(str(target / "data.arrow"))


def _write(source: HubSet, tables: Callable[[Counter], Iterator[pa.Table]], folder: Path) -> None:
    counts = Counter(rows=0, dropped=0, below=0, triplets=0)
    try:
        with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, COLUMNS) as out:
            for table in tables(counts):
                out.write_table(table)
                counts["triplets"] += len(table)
    except GistError:
        raise
    except Exception as error:  # from the network down to a JSON parser
        if source.is_local:
            raise DataError(f"{source.path} cannot be read: {first_line(error)} Is it what its ending says?") from error
        raise MissingError(
            f"{source.path} broke off after {counts['rows']} rows: {first_line(error)} Check the network, then retry."
        ) from error
    if counts["rows"] and counts["below"] == counts["rows"]:
        raise DataError(f"{source.path}: none of its {counts['rows']} scores reaches the threshold. Lower it.")
    if not counts["triplets"]:
        raise DataError(f"{source.path}: none of its {counts['rows']} rows has an anchor and a positive with text.")
    meta = {"path": source.path, "config": source.config, "split": source.split, "revision": source.revision, **counts}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _is_table(path: Path) -> bool:
    """Whether a file has the columns of a triplet table; what cannot be told is left to `read_triplets` to refuse."""
    if file_kind(path) is None:
        return True
    if path.suffix not in BUILDERS:
        return False  # compressed
    try:
        if path.suffix in (".json", ".jsonl"):
            with open(path, encoding="utf-8-sig") as file:
                if file.read(1) == "[":  # one array, as MEDI's own file: no line of ours, and it may be huge
                    return False
        columns = column_names(path)
    except (GistError, ValueError, OSError):
        return True
    return not columns or {"anchor", "positive"} <= set(columns)


def _open_large(path: Path) -> Dataset:
    file = pq.ParquetFile(path)
    if set(file.schema_arrow.names) != set(COLUMNS.names):
        return read_triplets(path)

    def tables(counts: Counter) -> Iterator[pa.Table]:
        for batch in file.iter_batches(batch_size=_BATCH):
            counts["rows"] += len(batch)
            yield pa.Table.from_batches([batch]).select(COLUMNS.names).cast(COLUMNS)

    state = path.stat()
    source = HubSet(path=str(path.resolve()), is_local=True)
    return _cached(source, [source.path, state.st_size, state.st_mtime_ns], tables, None)
