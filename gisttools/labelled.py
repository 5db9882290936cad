"""Labelled texts from an MTEB classification task, a data set on the hub, or a file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gisttools.errors import DataError, MissingError, did_you_mean, problems

TEXT_COLUMNS = ("text", "sentence", "utterance", "query", "content", "message")
LABEL_COLUMNS = ("label_text", "label", "intent", "category", "class", "labels")
FILE_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
_SHOWN = 5


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with one label each, and where they come from."""

    texts: list[str]
    labels: list[str]
    source: str
    split: str
    revision: str | None = None
    language: str | None = None
    task_name: str | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def classes(self) -> dict[str, int]:
        """Texts per label, the largest class first."""
        return dict(Counter(self.labels).most_common())


def read_labelled(
    source: str | Path | pd.DataFrame,
    *,
    split: str = "train",
    subset: str | None = None,
    revision: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> LabelledTexts:
    """Read labelled texts.

    Args:
        source: the name of an MTEB classification task (read at mteb's pinned revision), a data set on the hub
            (`org/name`), a file (CSV, TSV, JSONL or Parquet), a folder that holds `<split>.jsonl` (or another of
            these endings), or a DataFrame.
        split: which split of a task, data set or folder.
        subset: language subset of a multilingual MTEB task, or configuration of a hub data set.
        revision: commit of a hub data set; pin it.
        text_column, label_column: column names where they are not among the usual ones.

    Raises:
        MissingError: the file, task, data set, subset or split does not exist.
        DataError: a column is missing, a text or label is empty, or there is only one class; all problems at once.
    """
    if isinstance(source, pd.DataFrame):
        return _from_frame(source, "DataFrame", split, text_column, label_column)
    name = str(source)
    path = Path(source).expanduser()
    if path.is_dir():
        files = [path / f"{split}{ending}" for ending in FILE_ENDINGS]
        path = next((f for f in files if f.exists()), files[2])
    if path.suffix in FILE_ENDINGS or path.exists():
        frame = _read_file(path)
        revision = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        return _from_frame(frame, name, split, text_column, label_column, revision=revision)
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise MissingError(f"There is no file or folder {name}. Name a file, a folder with {split}.jsonl, or a task.")
    if "/" in name:
        frame = _read_hub(name, split, subset, revision)
        return _from_frame(frame, name, split, text_column, label_column, revision=revision)
    return _read_mteb(name, split, subset)


def _from_frame(
    frame: pd.DataFrame,
    source: str,
    split: str,
    text_column: str | None,
    label_column: str | None,
    **origin: str | None,
) -> LabelledTexts:
    text_column = _column(frame, source, "text", text_column, TEXT_COLUMNS)
    label_column = _column(frame, source, "label", label_column, LABEL_COLUMNS)
    texts, labels = frame[text_column].tolist(), frame[label_column].tolist()
    found = _bad_rows(texts, lambda t: not isinstance(t, str) or not t.strip(), f"{text_column!r} is empty or no text")
    found += _bad_rows(labels, _no_label, f"{label_column!r} is empty")
    names = [_label_name(x) for x in labels]
    if not found and len(set(names)) < 2:
        seen = f"is only the label {names[0]!r}" if names else "are no rows at all"
        found.append(f"there {seen}; triplets need at least two classes")
    if found:
        raise DataError(
            problems(f"{source}, split {split}: {len(found)} problem(s)", found, "Mend or drop these rows.")
        )
    return LabelledTexts(texts, names, source, split, **origin)


def _column(frame: pd.DataFrame, source: str, what: str, told: str | None, usual: tuple[str, ...]) -> str:
    names = list(frame.columns)
    if told is not None:
        if told not in names:
            raise DataError(
                f"{source} has no column {told!r}.{did_you_mean(told, map(str, names))} "
                f"Its columns: {', '.join(map(str, names))}. Set {what}_column to one of them."
            )
        return told
    for name in usual:
        if name in names:
            return name
    raise DataError(
        f"{source} has none of the usual {what} columns ({', '.join(usual)}). "
        f"Its columns: {', '.join(map(str, names))}. Set {what}_column to one of them."
    )


def _bad_rows(values: list, bad, what: str) -> list[str]:
    rows = [i for i, v in enumerate(values) if bad(v)]
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return [f"{what} in row(s) {', '.join(map(str, rows[:_SHOWN]))}{more}"] if rows else []


def _no_label(value: object) -> bool:
    return value is None or value is pd.NA or value != value or (isinstance(value, str) and not value.strip())


def _label_name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _read_file(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise MissingError(f"There is no file {path}. Name a file, a folder with train.jsonl, or an MTEB task.")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would also cut at U+2028 in a text
            return pd.DataFrame([json.loads(line) for line in lines if line.strip()])
        if path.suffix in (".csv", ".tsv"):
            separator = "\t" if path.suffix == ".tsv" else ","
            frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            if not isinstance(frame.index, pd.RangeIndex):  # pandas would take the first fields as row names
                raise DataError(f"{path}: rows have more fields than the header. Quote texts that hold a separator.")
            return frame
    except (ValueError, OSError, pd.errors.ParserError) as error:
        why = str(error).strip().rstrip(".")
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {why}. Is it what its ending says?") from error
    raise DataError(f"{path}: unknown ending {path.suffix!r}. Use one of {', '.join(FILE_ENDINGS)}.")


def _read_hub(name: str, split: str, config: str | None, revision: str | None) -> pd.DataFrame:
    from datasets import ClassLabel, load_dataset

    try:
        data = load_dataset(name, config, split=split, revision=revision)
    except Exception as error:  # the library raises many kinds, down to plain ValueError
        raise MissingError(
            f"Data set {name} (config {config}, split {split}, revision {revision}) cannot be read: "
            f"{_first_line(error)} Check the names and the network; for a file, give its path."
        ) from error
    frame = data.to_pandas()
    for column, feature in data.features.items():
        if isinstance(feature, ClassLabel):
            frame[column] = [feature.int2str(int(v)) for v in frame[column]]
    return frame


def _read_mteb(name: str, split: str, subset: str | None) -> LabelledTexts:
    task = mteb_task(name)
    if not hasattr(task, "label_column_name") or task.metadata.type != "Classification":
        raise DataError(
            f"MTEB task {name} is of type {task.metadata.type}; triplets are made from classification tasks."
        )
    if split == "train":
        split = task.train_split
    subsets = list(task.metadata.hf_subsets)
    if subset is None and len(subsets) > 1:
        subset = "en" if "en" in subsets else subsets[0]
    subset = subset or subsets[0]
    if subset not in subsets:
        raise MissingError(
            f"MTEB task {name} has no subset {subset!r}.{did_you_mean(subset, subsets)} It has: {subsets}."
        )
    task.hf_subsets = [subset]
    load_task(task)
    data = task.dataset.get(subset, task.dataset)
    if split not in data:
        raise MissingError(f"MTEB task {name} has no split {split!r}; it has {', '.join(data)}.")
    frame = data[split].to_pandas()
    label_column = "label_text" if "label_text" in frame.columns else task.label_column_name
    languages = task.metadata.eval_langs
    language = (languages[subset] if isinstance(languages, dict) else languages)[0]
    read = _from_frame(
        frame,
        name,
        split,
        task.input_column_name,
        label_column,
        revision=task.metadata.dataset["revision"],
        language=language,
        task_name=name,
    )
    return read


def mteb_task(name: str):
    """The mteb task of that name, fresh (tasks hold random state).

    Raises:
        MissingError: mteb knows no such task; the message holds the nearest names.
    """
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError:
        from mteb.get_tasks import _TASKS_REGISTRY as known

        raise MissingError(
            f"There is no file and no MTEB task {name!r}.{did_you_mean(name, known)} "
            "See mteb.get_tasks() for all names, or give a path or a hub name (org/name)."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def load_task(task) -> None:
    """Load a task's data; a failure names the task and what to do."""
    try:
        task.load_data()
    except Exception as error:  # as many kinds as tasks have ways to load
        raise MissingError(
            f"The data of MTEB task {task.metadata.name} ({task.metadata.dataset['path']} at revision "
            f"{task.metadata.dataset['revision']}) cannot be loaded: {_first_line(error)} "
            "Check the network, or load it once where there is one and set HF_HOME."
        ) from error
