"""Reads labelled texts from an MTEB task, a data set on the hub, a file, a folder or a DataFrame, all of them alike.

Whatever the source, cells become texts and labels in `LabelRows`, which refuses all that is wrong at once, or drops it.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gisttools.common import DataError, MissingError, ParameterError, did_you_mean, first_line, problems
from gisttools.data.characters import is_blank, tell_unseen
from gisttools.data.columns import labelled_columns, tell_left_out
from gisttools.data.files import Part, RowFile, file_kind, is_missing, plain_name
from gisttools.data.hub import HubSet, parse_hub_name
from gisttools.data.mteb_tasks import dataset_parts, open_task, unnested
from gisttools.data.options import ReadOptions
from gisttools.data.parts import shares_of, split_file
from gisttools.data.relabelling import decided
from gisttools.data.saved import is_saved, saved_split, saved_splits
from gisttools.data.splitting import split_parts
from gisttools.data.suspicions import ids_in, odd_labels, too_many_labels, wrong_labels

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)
LONGEST = 1_000_000  # characters of a text; beyond it something else than a text was read
_SHOWN = 5
_JOIN = " | "


@dataclass(kw_only=True)
class LabelRows:
    """Rows as they come, part by part: `add` takes cells, `finish` says what is wrong with all of them.

    A label is any scalar, by its `plain_name`. A list is a set of labels. Columns where every list holds one label are
    single-label.
    """

    text_column: str
    label_column: str
    drop_empty: bool = False
    drop_unlabelled: bool = False
    trusted: bool = False  # a published task: what its columns hold is known
    text_named: bool = False  # by the user, who knows what the column holds
    texts: list[str] = field(default_factory=list)
    sets: list[tuple[str, ...]] = field(default_factory=list)
    dropped: Counter = field(default_factory=Counter)
    rows: int = 0
    _problems: dict[str, list[int]] = field(default_factory=dict)
    _problem_counts: Counter = field(default_factory=Counter)
    _names: dict = field(default_factory=dict)
    _known: dict = field(default_factory=dict)
    _ids: list = field(default_factory=list)

    def add(self, texts: Sequence, labels: Sequence, ids: Sequence | None = None) -> None:
        """Take the cells of some rows; `ids`, if there are any, are looked at in `finish`."""
        for row, (text, label) in enumerate(zip(texts, labels, strict=True), self.rows):
            wrong = wrong_text(text)
            if wrong == _EMPTY and self.drop_empty and not _is_other(text):
                self.dropped["empty text"] += 1
                continue
            found = self._set_of(label)
            if found == () and self.drop_unlabelled:
                self.dropped["no label"] += 1
                continue
            if wrong:
                self._problem(f"{self.text_column!r} {wrong}", row)
            if not found:
                self._problem(f"{self.label_column!r} is empty" if found == () else self._no_label(label), row)
            if found and not wrong:
                self.texts.append(text)
                self.sets.append(found)
        self.rows += len(texts)
        if ids is not None:
            import pyarrow as pa

            names = map(plain_name, ids)
            told = [n if n is None else n.encode(errors="backslashreplace").decode() for n in names]
            self._ids.append(pa.array(told, pa.string()))

    def finish(self, where: str) -> None:
        """Nothing, or one error for everything that is wrong.

        Raises:
            DataError: cells are empty or nothing that can be used, ids come twice, or there are fewer than two labels.
        """
        found = [self._line(what, rows) for what, rows in self._problems.items()] + self._repeated()
        classes = sorted({name for names in self._known for name in names})
        if not found and len(classes) < 2:
            seen = f"is only the label {classes[0]!r}" if classes else "are no rows at all"
            left = f" ({dict(self.dropped)} dropped)" if self.dropped else ""
            found.append(f"there {seen}{left}; at least two classes are needed")
        if not found and not self.trusted:
            found += self._suspicions(where)
        if found:
            fix = (
                "Correct or drop these rows; drop_empty and drop_unlabelled leave out rows without a text or a label."
                if any(what.endswith(("empty", _EMPTY)) for what in self._problems)
                else "Correct or drop these rows."
            )
            raise DataError(problems(f"{where}: {len(found)} problem(s), rows counted from 0", found, fix))

    def _suspicions(self, where: str) -> list[str]:
        """What the columns cannot be meant to hold; what they may not be meant to hold is told."""
        labels = self.labels
        counts = Counter(labels)
        found = wrong_labels(labels, counts)
        if not found and self.label_sets is None:
            for told in odd_labels(counts):
                log.warning("%s: %s.", where, told)
        if many := too_many_labels(labels, counts):
            log.warning("%s: %r: %s. Is another column meant?", where, self.label_column, many)
        if ids := ids_in(self.texts):
            what = f"{self.text_column!r} holds {ids} in place of texts, such as {self.texts[0]!r:.60}"
            if self.text_named:
                log.warning("%s: %s.", where, what)
            else:
                found.append(f"{what}; name the column of texts, or say text_column: {self.text_column} if it is meant")
        return found

    @property
    def label_sets(self) -> list[tuple[str, ...]] | None:
        """The sorted labels of each text, if any text has several; else None."""
        return self.sets if any(len(names) > 1 for names in self._known) else None

    @property
    def labels(self) -> list[str]:
        """One label for each text; several are joined by " | "."""
        joined = {names: _JOIN.join(names) for names in self._known}
        return [joined[names] for names in self.sets]

    def _set_of(self, value: object) -> tuple[str, ...] | None:
        """A cell's labels, sorted; () if it has none, None if it cannot be read. Equal ones are one object."""
        if hasattr(value, "tolist"):
            value = value.tolist()  # of NumPy
        if isinstance(value, list | tuple | set | frozenset):
            each = [self._set_of(v) for v in value if not isinstance(v, list | tuple | set | frozenset)]
            known = [names for names in each if names is not None]
            return self._one({name for names in known for name in names}) if len(known) == len(value) else None
        if isinstance(value, bytes):
            return None
        try:
            return self._names[type(value), value]  # by type: True, 1 and 1.0 are equal
        except TypeError:
            return None  # a mapping or the like
        except KeyError:
            name = plain_name(value)
        if name is not None and _unencodable(name):
            return None
        return self._names.setdefault((type(value), value), self._one(set() if name is None else {name}))

    def _one(self, names: set[str]) -> tuple[str, ...]:
        found = tuple(sorted(names))
        return self._known.setdefault(found, found) if found else ()

    def _no_label(self, value: object) -> str:
        return f"{self.label_column!r} is no label but a {type(value).__name__} that cannot be named"

    def _problem(self, what: str, row: int) -> None:
        self._problem_counts[what] += 1
        rows = self._problems.setdefault(what, [])
        if len(rows) < _SHOWN:
            rows.append(row)

    def _line(self, what: str, rows: list[int]) -> str:
        more = self._problem_counts[what] - len(rows)
        return f"{what} in row(s) {', '.join(map(str, rows))}{f' and {more} more' if more else ''}"

    def _repeated(self) -> list[str]:
        if not self._ids:
            return []
        import pyarrow as pa
        import pyarrow.compute as pc

        counted = pc.value_counts(pa.chunked_array(self._ids).drop_null())
        counts = counted.field("counts").to_numpy(zero_copy_only=False)
        twice = counted.filter(pa.array(counts > 1))
        if not len(twice):
            return []
        shown = ", ".join(f"{x['values']!r} ({x['counts']} times)" for x in twice[:_SHOWN].to_pylist())
        more = f" and {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""
        return [f"ids come more than once: {shown}{more}; set id_column to None if they are no ids"]


_EMPTY = "is empty or no text"
_KINDS = {list: "list", dict: "mapping", bytes: "binary value", tuple: "list"}


def wrong_text(text: object) -> str | None:
    """Why a cell is no text to embed, or None."""
    if isinstance(text, list | dict | bytes | tuple):
        return f"is no text but a {_KINDS[type(text)]}"
    if not isinstance(text, str) or not text or text.isspace() or (not text.isascii() and is_blank(text)):
        return _EMPTY
    if len(text) > LONGEST:
        return f"is longer than {LONGEST:,} characters"
    return "holds half a surrogate pair, which is no character" if _unencodable(text) else None


def _unencodable(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _is_other(text: object) -> bool:
    return not isinstance(text, str) and not is_missing(text)


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their labels, and where they come from.

    `labels` holds one name for each text. Of a multi-label source, `label_sets` holds the sorted names of each text
    and `labels` the same joined by " | "; two texts count as of the same label if they share one. `dropped`: rows left
    out while reading, by reason. `parts`: where a file was split on the fly, the texts of each part, by split.
    `relabelled`: texts whose label was changed by `relabel`.
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
    parts: dict[str, int] = field(default_factory=dict)
    relabelled: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def parts_told(self) -> str:
        """How the file was split on the fly, in words; "" where it was not."""
        told = ", ".join(f"{n:,} texts to {_USES[name]} on" for name, n in self.parts.items())
        return f"split by content, near copies on one side: {told}" if told else ""

    @property
    def classes(self) -> dict[str, int]:
        """Texts per label, the largest class first; a text of several labels counts for each."""
        if self.label_sets is not None:
            return dict(Counter(name for names in self.label_sets for name in names).most_common())
        return dict(Counter(self.labels).most_common())


def read_labelled(source: str | Path | pd.DataFrame, options: ReadOptions | None = None) -> LabelledTexts:
    """Read labelled texts, a part at a time: only texts and labels are kept.

    Lists of labels make a multi-label source. A text of white space alone or of over a million characters, a cell
    without a label and an id that comes twice are refused, all at once.

    Args:
        source: an MTEB task of type classification, multi-label classification or clustering (`Task#subset:split`, read
            at mteb's pinned revision), a data set on the hub (`org/name#config@revision:split`), a file (CSV, TSV,
            JSONL, a JSON array, Parquet, XLSX; text may be compressed: .gz, .zst), a folder that holds `<split>.jsonl`
            (or another of these endings), or a DataFrame. What a name says wins over the arguments.
        options: split, subset, revision, columns, encoding; whether rows without text or label are refused or left
            out, counted in `dropped`: unless told, those of MTEB tasks are, for nobody here can correct them. With
            `test_share` (`dev_share`) a DataFrame, a file, or a folder without that file is split by content, and
            `split` says which part is read; after that `relabel` changes labels, which is counted.

    Raises:
        MissingError: the file, task, data set, subset, revision or split does not exist.
        DataError: a column is missing, the file is not what it says, cells are empty or no texts, or there is only one
            class; all problems at once. Or nothing can be split.
        ParameterError: there is no such encoding, or several subsets are asked for.
    """
    options = options or ReadOptions()
    _one_subset(options)  # refused whatever the source is
    if isinstance(source, pd.DataFrame):
        return _repaired(_part(_from_frame(source, options), options.split, options.shares), options)
    name, path = str(source), Path(source).expanduser()
    shares = shares_of(path, options)
    if path.is_dir():
        if not is_saved(path) and options.split not in ("train", *shares):
            shares = {}  # the folder has a file of its own for that split
        wanted = "train" if options.split in shares else options.split
        path = split_file(path, wanted) or (path if is_saved(path) and shares else _no_split(path, wanted))
    if file_kind(path) or path.exists():
        with RowFile(path, options.encoding) as file:
            chosen = _columns(file.columns, name, options)
            cells = _cells(file.parts([c for c in chosen if c]), chosen)
            found = _collect(cells, chosen, name, options.split, options)
            return _repaired(_part(replace(found, revision=file.revision), options.split, shares), options)
    on_hub = parse_hub_name(name)
    if on_hub is not None:
        return _repaired(_from_hub(name, on_hub, options), options)
    if name.startswith(("/", ".", "~")) or "/" in name:
        raise MissingError(
            f"There is no file or folder {name}. Name a file, a folder with {options.split}.jsonl, or a task."
        )
    return _from_mteb(name, options)


def _repaired(texts: LabelledTexts, options: ReadOptions) -> LabelledTexts:
    """With the labels that `relabel` decides, and without the texts that it drops.

    Raises:
        MissingError, DataError: as `gisttools.data.relabelling.read_decisions`; or a text has several labels.
    """
    if options.relabel is None:
        return texts
    if texts.label_sets is not None:
        raise DataError(f"{texts.source}: relabel is for texts of one label each, and here some have several.")
    labels = decided(texts.texts, texts.labels, options.relabel)
    kept = [(text, new) for text, new in zip(texts.texts, labels, strict=True) if new is not None]
    changed = sum(new not in (old, None) for old, new in zip(texts.labels, labels, strict=True))
    gone = len(labels) - len(kept)
    dropped = {**texts.dropped, "dropped by relabel": gone} if gone else texts.dropped
    log.info(
        "%s, split %s: %d labels changed and %d texts dropped by relabel", texts.source, texts.split, changed, gone
    )
    return replace(
        texts, texts=[text for text, _ in kept], labels=[new for _, new in kept], dropped=dropped, relabelled=changed
    )


def _part(texts: LabelledTexts, split: str, shares: Mapping[str, float]) -> LabelledTexts:
    """One part of what is split on the fly; all of it where nothing is.

    Raises:
        ParameterError: there is no such part.
        DataError: nothing can be split.
    """
    if not shares:
        return texts
    known = ("train", *shares)
    if split not in known:
        raise ParameterError(f"split is {split!r}; {texts.source} is split into {', '.join(known)}. Name one of them.")
    parts = split_parts(texts.texts, texts.labels, shares, where=texts.source)
    counts = {name: int((parts == name).sum()) for name in known}
    rows = np.flatnonzero(parts == split).tolist()
    found = replace(
        texts,
        texts=[texts.texts[row] for row in rows],
        labels=[texts.labels[row] for row in rows],
        label_sets=None if texts.label_sets is None else [texts.label_sets[row] for row in rows],
        parts=counts,
    )
    log.info("%s: %s", texts.source, found.parts_told)
    return found


_USES = {"train": "train", "test": "test", "dev": "choose"}


def _no_split(folder: Path, split: str) -> Path:
    """A file that is not there, for a folder without that split.

    Raises:
        MissingError: the folder holds other splits, which are named.
    """
    others = saved_splits(folder) or (["train"] if saved_split(folder, "train") else [])
    if others:
        raise MissingError(f"{folder} has no split {split!r}, but {', '.join(others)}. Set split to one of them.")
    return folder / f"{split}.jsonl"


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
    raise ParameterError(f"subset is {options.subset!r}, must be one name; gisttools.data.read_sources reads several.")


def _from_hub(name: str, on_hub: HubSet, options: ReadOptions) -> LabelledTexts:
    config, revision = on_hub.config or _one_subset(options), on_hub.revision or options.revision
    split = on_hub.split if ":" in name else options.split
    data = _load_hub(on_hub.path, config, split, revision)
    found = re.search(r"@([0-9a-f]{40})/", " ".join(data.info.download_checksums or ()))
    chosen = _columns(data.column_names, name, options)
    cells = _cells(dataset_parts(data, [c for c in dict.fromkeys(chosen) if c]), chosen)
    read = _collect(cells, chosen, name, split, options)
    return replace(read, revision=found[1] if found else revision, licence=data.info.license or None)


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
    named = ReadOptions(text_column=text, label_column=label, id_column=None)
    chosen = _columns(task.rows.column_names, name, named)
    cells = ((t, x, None, n) for t, x, n in unnested(dataset_parts(task.rows, [text, label]), text, label))
    read = _collect(cells, chosen, name, task.split, options, published=True)
    return replace(
        read, revision=task.revision, language=task.language, task_name=task.task_name, licence=task.licence,
        task_type=task.task_type,
    )  # fmt: skip


def _collect(
    cells: Iterable[tuple[list, list, list | None, int]],
    chosen: tuple[str, str, str | None],
    source: str,
    split: str,
    options: ReadOptions,
    *,
    published: bool = False,
) -> LabelledTexts:
    rows = LabelRows(
        text_column=chosen[0],
        label_column=chosen[1],
        drop_empty=published if options.drop_empty is None else options.drop_empty,
        drop_unlabelled=published if options.drop_unlabelled is None else options.drop_unlabelled,
        trusted=published,
        text_named=options.text_column is not None,
    )
    for texts, labels, ids, repeated in cells:
        rows.add(texts, labels, ids)
        rows.dropped.update({"repeated in another sample": repeated} if repeated else {})
    rows.finish(f"{source}, split {split}")
    tell_unseen(source, rows.texts)
    return LabelledTexts(rows.texts, rows.labels, source, split, label_sets=rows.label_sets, dropped=dict(rows.dropped))


def _cells(parts: Iterator[Part], chosen: tuple[str, str, str | None]) -> Iterator[tuple[list, list, list | None, int]]:
    text, label, ids = chosen
    return ((part[text], part[label], part[ids] if ids else None, 0) for part in parts)


def _columns(names: list, source: str, options: ReadOptions) -> tuple[str, str, str | None]:
    found, wrong = labelled_columns(source, names, options.text_column, options.label_column)
    ids = options.id_column
    if ids is not None and ids not in names:
        if ids != ReadOptions.defaults()["id_column"]:
            listed = ", ".join(map(str, names))
            close = did_you_mean(ids, map(str, names))
            wrong.append(
                f"{source} has no column {ids!r}.{close} Columns found: {listed}. Set id_column to one of them."
            )
        ids = None
    if wrong:
        raise DataError("\n".join(wrong))
    text, label = found["text"], found["label"]
    ids = ids if ids not in (text, label) else None
    tell_left_out(source, (name for name in names if name not in (text, label, ids)))
    return text, label, ids
