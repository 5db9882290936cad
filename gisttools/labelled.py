"""Labelled texts from an MTEB task, a data set on the hub, a file, a folder or a DataFrame: all are read alike."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gisttools.common import DataError, MissingError, ParameterError, did_you_mean
from gisttools.hub_sets import first_line, parse_hub_name
from gisttools.label_rows import LabelRows
from gisttools.mteb_sets import dataset_parts, open_task, unnested
from gisttools.row_files import FILE_ENDINGS, column_names, file_kind, read_parts

if TYPE_CHECKING:
    from datasets import Dataset

TEXT_COLUMNS = ("text", "sentence", "utterance", "query", "content", "message")
LABEL_COLUMNS = ("label_text", "label", "intent", "category", "class", "labels")


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their labels, and where they come from.

    `labels` holds one name for each text. Of a multi-label source, `label_sets` holds the sorted names of each text
    and `labels` the same joined by " | "; two texts count as of the same label if they share one. `dropped`: rows left
    out while reading, by reason.
    """

    texts: list[str]
    labels: list[str]
    source: str
    split: str
    revision: str | None = None
    language: str | None = None
    task_name: str | None = None
    label_sets: list[tuple[str, ...]] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    licence: str | None = None
    task_type: str = "Classification"

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def classes(self) -> dict[str, int]:
        """Texts per label, the largest class first; a text of several labels counts for each."""
        if self.label_sets is not None:
            return dict(Counter(name for names in self.label_sets for name in names).most_common())
        return dict(Counter(self.labels).most_common())


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read labelled texts; see `read_labelled`. `subset` may be several here, for `gisttools.sources`."""

    split: str = "train"
    subset: str | tuple[str, ...] | None = None
    revision: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    id_column: str | None = "id"
    encoding: str | None = None
    drop_empty: bool | None = None
    drop_unlabelled: bool | None = None


def read_labelled(
    source: str | Path | pd.DataFrame,
    *,
    split: str = "train",
    subset: str | None = None,
    revision: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = "id",
    encoding: str | None = None,
    drop_empty: bool | None = None,
    drop_unlabelled: bool | None = None,
) -> LabelledTexts:
    """Read labelled texts, a part at a time: only texts and labels are kept.

    Lists of labels make a multi-label source. A text of white space alone or of over a million characters, a cell
    without a label and an id that comes twice are refused, all at once.

    Args:
        source: an MTEB task of type classification, multi-label classification or clustering (`Task#subset:split`, read
            at mteb's pinned revision), a data set on the hub (`org/name#config@revision:split`), a file (CSV, TSV,
            JSONL, a JSON array or Parquet; text may be compressed: .gz, .zst), a folder that holds `<split>.jsonl` (or
            another of these endings), or a DataFrame. What a name says wins over the arguments.
        split: which split of a task, data set or folder. Of a task "train" is what the task itself trains on.
        subset: subset or language code of a multilingual MTEB task, or configuration of a hub data set.
        revision: commit of a hub data set; pin it.
        text_column, label_column: column names where they are not among the usual ones.
        id_column: values in it must not repeat, where there is such a column; None not to look. Not of MTEB tasks.
        encoding: of a text file that is not UTF-8 and has no mark (BOM) that tells.
        drop_empty, drop_unlabelled: leave rows out, counted in `dropped`, that have no text or no label. None: so for
            MTEB tasks, which nobody here can mend; else such rows are refused.

    Raises:
        MissingError: the file, task, data set, subset, revision or split does not exist.
        DataError: a column is missing, the file is not what it says, cells are empty or no texts, or there is only one
            class; all problems at once.
        ParameterError: there is no such encoding, or several subsets are asked for.
    """
    options = ReadOptions(
        split=split, subset=subset, revision=revision, text_column=text_column, label_column=label_column,
        id_column=id_column, encoding=encoding, drop_empty=drop_empty, drop_unlabelled=drop_unlabelled,
    )  # fmt: skip
    return read_source(source, options)


def read_source(source: str | Path | pd.DataFrame, options: ReadOptions) -> LabelledTexts:
    """As `read_labelled`, with the options in one object."""
    _one_subset(options)  # refused whatever the source is
    if isinstance(source, pd.DataFrame):
        return _from_frame(source, options)
    name, path = str(source), Path(source).expanduser()
    if path.is_dir():
        path = split_file(path, options.split) or path / f"{options.split}.jsonl"
    if file_kind(path) or path.exists():
        columns = column_names(path, options.encoding)
        chosen = _columns(columns, name, options)
        with open(path, "rb") as file:
            revision = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"
        parts = read_parts(path, [c for c in chosen if c], options.encoding)
        return _collect(_cells(parts, chosen), chosen, name, options.split, options, revision=revision)
    told = parse_hub_name(name)
    if told is not None:
        return _from_hub(name, options)
    if name.startswith(("/", ".", "~")) or "/" in name:
        raise MissingError(
            f"There is no file or folder {name}. Name a file, a folder with {options.split}.jsonl, or a task."
        )
    return _from_mteb(name, options)


def split_file(folder: Path, split: str) -> Path | None:
    """A folder's file for a split, `<split>` and one of `FILE_ENDINGS`; None if there is none."""
    return next((f for e in FILE_ENDINGS if (f := folder / f"{split}{e}").is_file()), None)


def _from_frame(frame: pd.DataFrame, options: ReadOptions) -> LabelledTexts:
    names = list(frame.columns)
    chosen = _columns(names, "DataFrame", options)
    twice = [c for c in chosen if c and names.count(c) > 1]
    if twice:
        raise DataError(f"DataFrame has the column {twice[0]!r} more than once. Rename one of them.")
    parts = iter([{c: frame[c].tolist() for c in chosen if c}])
    return _collect(_cells(parts, chosen), chosen, "DataFrame", options.split, options)


def _one_subset(options: ReadOptions) -> str | None:
    if options.subset is None or isinstance(options.subset, str):
        return options.subset
    raise ParameterError(
        f"subset is {options.subset!r}, must be one name; gisttools.sources.read_sources reads several."
    )


def _from_hub(name: str, options: ReadOptions) -> LabelledTexts:
    told = parse_hub_name(name)
    config, revision = told.config or _one_subset(options), told.revision or options.revision
    split = told.split if ":" in name else options.split
    data = _load_hub(told.path, config, split, revision)
    found = re.search(r"@([0-9a-f]{40})/", " ".join(data.info.download_checksums or ()))
    chosen = _columns(data.column_names, name, options)
    cells = _cells(dataset_parts(data, [c for c in dict.fromkeys(chosen) if c]), chosen)
    licence = data.info.license or None
    return _collect(cells, chosen, name, split, options, revision=found[1] if found else revision, licence=licence)


def _load_hub(path: str, config: str | None, split: str, revision: str | None) -> Dataset:
    from datasets import load_dataset

    try:
        return load_dataset(path, config, split=split, revision=revision)
    except Exception as error:  # the library raises many kinds, down to plain ValueError
        raise MissingError(
            f"Data set {path} (config {config}, split {split}, revision {revision}) cannot be read: "
            f"{first_line(error)} Check the names and the network; for a file, give its path."
        ) from error


def _from_mteb(name: str, options: ReadOptions) -> LabelledTexts:
    task = open_task(name, subset=_one_subset(options), split=options.split)
    text, label = options.text_column or task.text_column, options.label_column or task.label_column
    told = ReadOptions(text_column=text, label_column=label, id_column=None)
    chosen = _columns(task.rows.column_names, name, told)
    cells = ((t, x, None, n) for t, x, n in unnested(dataset_parts(task.rows, [text, label]), text, label))
    return _collect(
        cells, chosen, name, task.split, options, published=True, revision=task.revision, language=task.language,
        task_name=task.task_name, licence=task.licence, task_type=task.task_type,
    )  # fmt: skip


def _collect(
    cells: Iterable[tuple[list, list, list | None, int]],
    chosen: tuple[str, str, str | None],
    source: str,
    split: str,
    options: ReadOptions,
    *,
    published: bool = False,
    **origin: str | None,
) -> LabelledTexts:
    rows = LabelRows(
        text_column=chosen[0],
        label_column=chosen[1],
        drop_empty=published if options.drop_empty is None else options.drop_empty,
        drop_unlabelled=published if options.drop_unlabelled is None else options.drop_unlabelled,
    )
    for texts, labels, ids, repeated in cells:
        rows.add(texts, labels, ids)
        rows.dropped.update({"repeated in another sample": repeated} if repeated else {})
    rows.finish(f"{source}, split {split}")
    return LabelledTexts(
        rows.texts, rows.labels, source, split, label_sets=rows.label_sets, dropped=dict(rows.dropped), **origin
    )


def _cells(
    parts: Iterator[dict[str, list]], chosen: tuple[str, str, str | None]
) -> Iterator[tuple[list, list, list | None, int]]:
    text, label, ids = chosen
    return ((part[text], part[label], part[ids] if ids else None, 0) for part in parts)


def _columns(names: list, source: str, options: ReadOptions) -> tuple[str, str, str | None]:
    text = _column(names, source, "text", options.text_column, TEXT_COLUMNS)
    label = _column(names, source, "label", options.label_column, LABEL_COLUMNS)
    ids = options.id_column
    if ids is not None and ids not in names:
        if ids != ReadOptions.id_column:
            _column(names, source, "id", ids, ())
        ids = None
    return text, label, ids if ids not in (text, label) else None


def _column(names: list, source: str, what: str, told: str | None, usual: tuple[str, ...]) -> str:
    listed = ", ".join(map(str, names))
    if told is not None:
        if told not in names:
            raise DataError(
                f"{source} has no column {told!r}.{did_you_mean(told, map(str, names))} "
                f"Its columns: {listed}. Set {what}_column to one of them."
            )
        return told
    for name in usual:
        if name in names:
            return name
    raise DataError(
        f"{source} has none of the usual {what} columns ({', '.join(usual)}). "
        f"Its columns: {listed}. Set {what}_column to one of them."
    )
