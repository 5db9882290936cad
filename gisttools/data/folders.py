"""Tells which kind of evaluation task a folder of the user's own files holds, by its files and their columns.

Also what every kind needs of its cells: read by column, taken for what they should be, all problems gathered.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from gisttools.common import DataError, GistError, MissingError, ParameterError, did_you_mean, problems
from gisttools.data.characters import has_halves
from gisttools.data.columns import LABEL_COLUMNS, TEXT_COLUMNS, find_column, labelled_columns, tell_left_out
from gisttools.data.files import FILE_ENDINGS, column_names, file_kind, plain_name, read_parts
from gisttools.data.options import FileOptions
from gisttools.data.parts import DEV_SPLITS, shares_of
from gisttools.data.saved import is_saved

T = TypeVar("T")
Fit = tuple[dict[str, dict[str, str]], list[str]]  # of each file, the columns by role; and what is missing
SHOWN = 5
_CELL = 60  # characters of a cell in a message


class RowProblems:
    """What is wrong with the rows of one file: each problem once, with its first rows and the first cell seen."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._rows: dict[str, list[int]] = {}
        self._cells: dict[str, str] = {}
        self._counts: Counter = Counter()

    def add(self, what: str, row: int, cell: object = None) -> None:
        """A problem of a row, counted from 0; `cell` is what stands there, where that says more."""
        self._counts[what] += 1
        if self._counts[what] == 1 and cell is not None:
            self._cells[what] = f" (first: {repr(cell)[:_CELL]})"
        if self._counts[what] <= SHOWN:
            self._rows.setdefault(what, []).append(row)

    def lines(self) -> list[str]:
        """One line a problem."""
        return [
            f"{self.file}: {what} in row(s) {', '.join(map(str, rows))}{self._more(what)}{self._cells.get(what, '')}"
            for what, rows in self._rows.items()
        ]

    def _more(self, what: str) -> str:
        more = self._counts[what] - SHOWN
        return f" and {more} more" if more > 0 else ""


def read_columns(path: Path, columns: Mapping[str, str], encoding: str | None = None) -> dict[str, list]:
    """The cells of some columns, all rows, by what the columns are for: {"first": "sentence1"} gives {"first": [...]}.

    Raises:
        DataError: the file is broken.
    """
    found: dict[str, list] = {role: [] for role in columns}
    for part in read_parts(path, list(columns.values()), encoding):
        for role, name in columns.items():
            found[role] += part[name]
    return found


def together(jobs: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """What every job returns; what several of them refuse is one error.

    Raises:
        GistError: as the job that failed; a DataError with all messages where several did.
    """
    found: dict[str, T] = {}
    errors = []
    for name, job in jobs.items():
        try:
            found[name] = job()
        except GistError as error:
            errors.append(error)
    if len(errors) > 1:
        raise DataError("\n".join(map(str, errors)))
    if errors:
        raise errors[0]
    return found


def number(cell: object) -> float | None:
    """A finite number, also one that is written as a string; None if the cell is none."""
    try:
        found = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def truth(cell: object) -> int | None:
    """0 or 1, of numbers, truth values, and these as strings; None if the cell is neither."""
    if isinstance(cell, str) and cell.strip().lower() in ("true", "false"):
        return int(cell.strip().lower() == "true")
    found = number(cell)
    return int(found) if found in (0.0, 1.0) else None


def identity(cell: object) -> str | None:
    """An id as a string: 7, 7.0 and "7" are one id. None if the cell holds none, or half a character."""
    is_id = isinstance(cell, str | int | float) and not isinstance(cell, bool)
    if not is_id or (isinstance(cell, float) and not cell.is_integer()) or (isinstance(cell, str) and has_halves(cell)):
        return None
    return plain_name(cell)


def texts_in(cell: object, path: Path) -> list | None:
    """The texts of a cell: a list, in CSV and TSV one written as JSON, or a single text. None if it is neither."""
    if isinstance(cell, str):
        return json_list(cell) if file_kind(path) in (".csv", ".tsv", ".xlsx") and is_json_list(cell) else [cell]
    return cell if isinstance(cell, list) else [] if cell is None else None


def is_json_list(cell: object) -> bool:
    """Whether a string is a list in JSON."""
    return isinstance(cell, str) and cell.lstrip().startswith("[") and isinstance(json_list(cell), list)


def json_list(cell: str) -> list | None:
    """The list that a string holds in JSON, or None."""
    try:
        found = json.loads(cell)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def some(values: Iterable) -> str:
    """The first of some values, and how many more there are."""
    values = list(values)
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(repr(v) for v in values[:SHOWN]) + more


def refuse(title: str, found: list[str], fix: str) -> None:
    """Nothing, or one error for all that was found.

    Raises:
        DataError: something was found.
    """
    if found:
        raise DataError(problems(f"{title}: {len(found)} problem(s), rows counted from 0", found, fix))


KINDS = {
    "classification": "train and {split} files with a text and a label column",
    "multilabel_classification": "train and {split} files with a text and a label column, whose cells are lists",
    "clustering": "a {split} file with a text and a label column",
    "pair_classification": "a {split} file with two text columns and a label, 0 or 1",
    "sts": "a {split} file with two text columns and a score",
    "retrieval": "files corpus (id, text), queries (id, text) and qrels (query-id, corpus-id, score)",
    "reranking": "a {split} file with the columns query, positive and negative, the last two lists of texts",
}
_ENDINGS = "Files end in .jsonl, .json, .csv, .tsv, .parquet or .xlsx; text may be compressed (.gz, .zst)."
_LABELLED = ("classification", "multilabel_classification", "clustering")
_LEARNED = ("classification", "multilabel_classification")  # by a classifier, from train texts
PAIR_COLUMNS = (
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("sent1", "sent2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("query", "passage"),
    ("query", "document"),
)
_TRUTHS, _SCORES = ("label", "labels", "is_duplicate"), ("score", "similarity_score", "similarity")
_CANDIDATES = {
    "query": ("query", "anchor", "question"),
    "positive": ("positive", "positives", "pos"),
    "negative": ("negative", "negatives", "neg", "negs", "hard_negative", "hard_negatives"),
}
_SEARCHED: dict[str, dict[str, tuple[str, ...]]] = {
    "corpus": {"id": ("_id", "id"), "text": ("text",)},
    "queries": {"id": ("_id", "id"), "text": ("text", "query")},
    "qrels": {
        "query": ("query-id", "query_id"),
        "document": ("corpus-id", "corpus_id"),
        "score": ("score", "relevance"),
    },
}


@dataclass(frozen=True)
class EvalFolder:
    """What a folder holds, or a single file.

    `kind` is one of `KINDS`; where no name says, "classification" also stands for multi-label data, which only the
    label cells distinguish. `files`: by "train" and "test" (the file of the split that is scored), or "corpus",
    "queries" and "qrels"; where a file is split on the fly, "train" and "test" are one file. `columns`: of each of
    these files, the columns by what they are for. `reading`: how labelled texts are read.
    """

    path: Path
    kind: str
    named: bool
    split: str
    files: dict[str, Path]
    columns: dict[str, dict[str, str]]
    reading: FileOptions = field(default_factory=FileOptions)

    @property
    def name(self) -> str:
        """What a task of it is called: like the folder, or like the file without its ending."""
        return task_name(self.path)


def task_name(path: Path) -> str:
    """What a task of a folder or a file is called: like the folder, or like the file without its ending."""
    path = path.resolve()
    ending = "" if path.is_dir() else next((e for e in FILE_ENDINGS if path.name.lower().endswith(e)), "")
    return path.name[: len(path.name) - len(ending)] or path.name


def parse_eval_name(name: str | Path) -> tuple[Path, str | None]:
    """The folder (or file) and the kind of `folder` or `folder#kind`; None where the name has none.

    Raises:
        ParameterError: there is such a folder, but no such kind.
    """
    path = Path(name).expanduser()
    folder, mark, named = str(path).rpartition("#")
    if path.exists() or not mark or not Path(folder).exists():
        return path, None
    plain = {kind.replace("_", ""): kind for kind in KINDS}
    kind = plain.get("".join(c for c in named.lower() if c.isalnum()))
    if kind is None:
        raise ParameterError(
            f"{name}: {named!r} is no kind of task.{did_you_mean(named.lower(), KINDS)} Say {folder}# and one of "
            f"{', '.join(KINDS)}, or nothing, and the files tell."
        )
    return Path(folder), kind


def has_split(name: str | Path, split: str) -> bool:
    """Whether a folder has a file for that split, of rows or of judgements (`qrels/<split>`)."""
    path, _ = parse_eval_name(name)
    return bool(_named(path, split) or _named(path / "qrels", split))


def eval_folder(
    name: str | Path, split: str = "test", reading: FileOptions | None = None, *, tell: bool = True
) -> EvalFolder:
    """What kind of task a folder holds, or a single file, with its files and columns.

    Args:
        name: a folder or a file, or `folder#kind` where the files would tell of several kinds, or of another.
        split: which split is scored.
        reading: columns and encoding of labelled texts, and the share of them that is scored where there is no file for
            that split. A single file of labelled texts needs such a share, to be classified.
        tell: say which columns are of no use.

    Raises:
        MissingError: there is no such folder or file, or it holds nothing for that split.
        DataError: no kind fits, several do, the one that was named does not, or a file cannot be read; with what was
            found, what each kind needs and what is missing.
        ParameterError: there is no such kind.
    """
    reading = reading or FileOptions()
    path, named = parse_eval_name(name)
    if not path.exists():
        raise MissingError(f"There is no folder or file {path}. Name one that holds {split} texts. {_ENDINGS}")
    files = _files(path, split, reading)
    columns = together({key: partial(column_names, file, reading.encoding) for key, file in files.items()
                        if key != "train"})  # fmt: skip
    fits = _fits(path, split, files, columns, named, reading)
    fitting = [kind for kind, (_, missing) in fits.items() if not missing]
    fitting = _most_specific(fitting, fits, reading) if named is None else [named] if named in fitting else []
    if fitting == ["clustering"] and named is None and path.is_file():
        fitting = []  # to classify is what most people want of labelled texts: they are asked
    if len(fitting) == 1:
        found = EvalFolder(path, fitting[0], named is not None, split, files, fits[fitting[0]][0], reading)
        if tell:
            _tell_left_out(files, columns, found.columns)
        return found
    if fitting:
        lines = [f"found: {_seen(path, files, columns)}"]
        title = f"{path}: its files tell of several kinds of task: {', '.join(fitting)}."
        fix = f"Say which one is meant, such as {path}#{fitting[-1]}, or keep the other files elsewhere."
        raise DataError(problems(title, lines, fix))
    raise _question(path, split, files, named, reading) or _no_kind(path, split, files, columns, named, fits)


def _fits(
    path: Path,
    split: str,
    files: dict[str, Path],
    columns: dict[str, list[str]],
    named: str | None,
    reading: FileOptions,
) -> dict[str, Fit]:
    whole = {"test": path} if path.is_file() else files  # for kinds that are not split on the fly
    return {
        kind: _fit(kind, split, files if kind in _LABELLED else whole, columns, named == kind, reading)
        for kind in KINDS
    }


def _no_kind(
    path: Path,
    split: str,
    files: dict[str, Path],
    columns: Mapping[str, list[str]],
    named: str | None,
    fits: Mapping[str, Fit],
) -> GistError:
    """What each kind lacks."""
    lines = [f"found: {_seen(path, files, columns)}"]
    for kind in [named] if named else sorted(KINDS, key=lambda kind: len(fits[kind][1])):  # the nearest first
        lines.append(f"{kind} needs {KINDS[kind].format(split=split)}; missing: {', '.join(fits[kind][1])}")
    title = f"{path}: no {f'{named} task' if named else 'task'} can be made of it."
    message = problems(title, lines, f"Add or rename what is missing. {_ENDINGS}")
    scored = "test" in files or set(_SEARCHED) & set(files)
    return DataError(message) if scored else MissingError(message)


def _question(
    path: Path, split: str, files: Mapping[str, Path], named: str | None, reading: FileOptions
) -> GistError | None:
    """What to ask of labelled texts in a single file, or without a file to score: which column is which, or to split
    them. None where they may be no labelled texts."""
    file = files.get("train") or files.get("test") or _only_file(path)
    if file is None or named not in (None, *_LABELLED) or set(_SEARCHED) & set(files):
        return None
    columns = column_names(file, reading.encoding)
    found, wrong = labelled_columns(file, columns, reading.text_column, reading.label_column)
    if wrong:
        meant = path.is_file() or found or reading.text_column or reading.label_column
        return DataError("\n".join(wrong)) if meant and len(set(files.values())) < 2 else None
    return _offer(path, split, file, "train" in files) if path.is_file() or "test" not in files else None


def _offer(path: Path, split: str, file: Path, is_train: bool) -> GistError:
    """To split labelled texts on the fly."""
    share = f"{'dev' if split in DEV_SPLITS else split}_share"
    if path.is_file():
        where, name = f"{path} is one file", ""
        cluster = f" {file}#clustering only looks for clusters, in all of it."
    else:
        where, cluster = f"{path} holds no {split}.jsonl or the like next to {file.name}", ""
        name = "" if is_train else f", and name {file} itself"
    option = " (gisttools run: --test-share 0.2)" if split == "test" else ""
    return MissingError(
        f"{where}, of labelled texts without a {split} split. Hold a part back: set {share} to 0.2{option}{name}; near "
        f"copies stay on one side. Or name a folder with train and {split} files.{cluster}"
    )


def _only_file(path: Path) -> Path | None:
    """A folder's only file of rows, whatever it is called."""
    files = [p for p in path.iterdir() if p.is_file() and file_kind(p)] if path.is_dir() else []
    return files[0] if len(files) == 1 else None


def _tell_left_out(
    files: Mapping[str, Path], columns: Mapping[str, list[str]], chosen: Mapping[str, Mapping[str, str]]
) -> None:
    """Say which columns of each file are of no use; an id is none to wonder about."""
    for key, roles in chosen.items():
        tell_left_out(files[key], (name for name in columns[key] if name not in (*roles.values(), "id", "idx")))


def _named(folder: Path, stem: str) -> list[Path]:
    """The files of that name, and what `save_to_disk` wrote under it."""
    files = [f for ending in FILE_ENDINGS if (f := folder / f"{stem}{ending}").is_file()]
    return files + ([folder / stem] if is_saved(folder / stem) else [])


def _files(path: Path, split: str, reading: FileOptions) -> dict[str, Path]:
    """The files that count, by their role."""
    shared = ("dev" if split in DEV_SPLITS else split) in shares_of(path, reading)
    if path.is_file():
        return {"test": path, **({"train": path} if shared else {})}
    found = {"train": _named(path, "train"), "test": _named(path, split)}
    if shared:
        found["train"] = found["train"] or ([path] if is_saved(path) else [])
        found["test"] = found["train"]
    elif is_saved(path):  # one data set, which is scored whatever its split is called
        found["test"] = [path]
    found |= {stem: _named(path, stem) for stem in _SEARCHED}
    inside = _named(path / "qrels", split)
    if inside or split != "test":  # a file qrels is that of the test split
        found["qrels"] = inside
    twice = [f"{', '.join(f.name for f in files)} are all its {key}" for key, files in found.items() if len(files) > 1]
    if twice:
        raise DataError(problems(f"{path}: it is not clear which files count:", twice, "Leave one of each."))
    return {key: files[0] for key, files in found.items() if files}


def _fit(
    kind: str, split: str, files: dict[str, Path], columns: dict[str, list[str]], named: bool, reading: FileOptions
) -> Fit:
    """The columns of each file by role, and what is missing."""
    if kind == "retrieval":
        return _fit_retrieval(split, files, columns)
    missing = ["train.jsonl"] if kind in _LEARNED and "train" not in files else []
    if "test" not in files or (kind not in _LABELLED and files["test"] == files.get("train")):
        return {}, [*missing, f"{split}.jsonl"]
    names = columns["test"]
    if kind == "reranking":
        roles, lacks = _chosen(names, _CANDIDATES)
    elif kind in ("sts", "pair_classification"):
        usual, other = (_SCORES, _TRUTHS) if kind == "sts" else (_TRUTHS, _SCORES)
        roles, lacks = _fit_pairs(names, (*usual, *other) if named else usual)  # others will do if the kind was named
    else:
        roles, _ = labelled_columns(files["test"].name, names, reading.text_column, reading.label_column)
        text, label = reading.text_column, reading.label_column
        wanted = {"text": text or " or ".join(TEXT_COLUMNS), "label": label or " or ".join(LABEL_COLUMNS)}
        lacks = [what for role, what in wanted.items() if role not in roles]
    return {"test": roles}, [*missing, *(f"a column {what} in {files['test'].name}" for what in lacks)]


def _fit_retrieval(split: str, files: dict[str, Path], columns: dict[str, list[str]]) -> Fit:
    found: dict[str, dict[str, str]] = {}
    absent = []
    for stem, wanted in _SEARCHED.items():
        if stem not in files:
            absent.append(f"qrels/{split}.tsv" if stem == "qrels" else f"{stem}.jsonl")
            continue
        found[stem], lacks = _chosen(columns[stem], wanted)
        absent += [f"a column {what} in {files[stem].name}" for what in lacks]
        if stem == "corpus" and (title := find_column(columns[stem], ("title",))):
            found[stem]["title"] = title
    return found, absent


def _fit_pairs(names: list[str], values: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    roles, lacks = _chosen(names, {"value": values})
    both = ((find_column(names, (first,)), find_column(names, (second,))) for first, second in PAIR_COLUMNS)
    pair = next(((first, second) for first, second in both if first and second), None)
    if pair is None:
        return roles, [f"pair such as {', '.join(' and '.join(p) for p in PAIR_COLUMNS[:3])}", *lacks]
    return {**roles, "first": pair[0], "second": pair[1]}, lacks


def _chosen(names: list[str], wanted: dict[str, tuple[str, ...]]) -> tuple[dict[str, str], list[str]]:
    found = {role: find_column(names, usual) for role, usual in wanted.items()}
    lacks = [" or ".join(wanted[role]) for role, name in found.items() if name is None]
    return {role: name for role, name in found.items() if name is not None}, lacks


def _most_specific(fitting: list[str], fits: dict[str, Fit], reading: FileOptions) -> list[str]:
    """Without the kinds that another one includes, or that take a column of it for something else. Where a column of
    labelled texts was named, they are meant."""
    fitting = [kind for kind in fitting if kind != "multilabel_classification"]  # cells tell it, once they are read
    if (reading.text_column or reading.label_column) and (labelled := [k for k in fitting if k in _LABELLED]):
        return labelled[:1]
    taken: set[str] = set()
    for kind in {"pair_classification", "sts", "reranking"}.intersection(fitting):
        taken |= set(fits[kind][0]["test"].values()) - {fits[kind][0]["test"].get("value")}
    labelled = [k for k in ("classification", "clustering") if k in fitting]
    used = fits["clustering"][0].get("test", {}).get("text") in taken
    dropped = labelled if used else labelled[1:]
    return [kind for kind in fitting if kind not in dropped]


def _seen(path: Path, files: dict[str, Path], columns: Mapping[str, Iterable[str]]) -> str:
    """All files of the folder, with the columns of those that were looked into."""
    looked = {files[key]: f" (columns {', '.join(names)})" for key, names in columns.items()}
    if path.is_file():
        return f"{path.name}{looked.get(path, '')}"
    inside = sorted(p for p in path.glob("qrels/*") if p.is_file())
    here = [*sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")), *inside]
    shown = [f"{p.relative_to(path).as_posix()}{looked.get(p, '')}" for p in here[:12]]
    return ", ".join([*shown, *([f"and {len(here) - 12} more files"] if len(here) > 12 else [])]) or "no files"
