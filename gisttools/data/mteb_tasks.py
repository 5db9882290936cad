"""Opens MTEB tasks at mteb's pinned revision, and reads labelled texts of those that have some.

These are tasks of classification, multi-label classification and clustering.

A task is named as in mteb, and may name a subset and a split: `MassiveIntentClassification#de:validation`. A subset is
mteb's own code or a language's ("de", "deu"). Without one, a task of many languages gives its English subset.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gisttools.common import DataError, MissingError, did_you_mean, first_line

if TYPE_CHECKING:
    from datasets import Dataset
    from mteb.abstasks import AbsTask

log = logging.getLogger(__name__)
TYPES = ("Classification", "MultilabelClassification", "Clustering")
_NAME = re.compile(r"(?P<task>[^#:]+)(?:#(?P<subset>[^#:]+))?(?::(?P<split>[^#:]+))?")
_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class TaskRows:
    """The rows of one split and subset of a task, and what its metadata says of them."""

    rows: Dataset
    task_name: str
    text_column: str
    label_column: str
    split: str
    subset: str
    revision: str
    language: str
    licence: str | None
    task_type: str


def parse_task_name(name: str) -> tuple[str, str | None, str | None]:
    """Task, subset and split of `Task#subset:split`; None for what the name leaves out."""
    found = _NAME.fullmatch(name)
    return (found["task"], found["subset"], found["split"]) if found else (name, None, None)


def mteb_task(name: str) -> AbsTask:
    """The mteb task of that name, fresh (tasks hold random state).

    Raises:
        MissingError: mteb knows no such task; the message holds the nearest names.
    """
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError:
        raise MissingError(
            f"There is no file and no MTEB task {name!r}.{did_you_mean(name, task_names())} "
            "See mteb.get_tasks() for all names, or give a path or a hub name (org/name)."
        ) from None


def task_names() -> set[str]:
    """The names of all tasks that the installed mteb knows."""
    from mteb.get_tasks import _TASKS_REGISTRY as known

    return set(known)


def load_task(task: AbsTask) -> None:
    """Load a task's data; a failure names the task and what to do. Ids of a search that are repeated are warned of."""
    if getattr(task, "data_loaded", False):
        return
    try:
        task.load_data()
    except Exception as error:
        raise MissingError(
            f"The data of MTEB task {task.metadata.name} ({task.metadata.dataset['path']} at revision "
            f"{task.metadata.dataset['revision']}) cannot be loaded: {first_line(error)} "
            "Check the network, or load it once where there is one and set HF_HOME."
        ) from error
    for told in repeated_ids(task.dataset):
        log.warning(
            "%s: %s. Judgements cannot tell which text they mean, so its scores say little.", task.metadata.name, told
        )


def repeated_ids(data: Any) -> list[str]:
    """What is wrong with the ids of a search, of each subset and split that a task has loaded: in words, [] where they
    are all distinct, and of tasks of other types."""
    if not hasattr(data, "items"):
        return []
    if "corpus" not in data:
        return [told for part in data.values() for told in repeated_ids(part)]
    found = []
    for name in ("corpus", "queries"):
        rows = data.get(name)
        if rows is not None and "id" in getattr(rows, "column_names", ()):
            ids = rows.with_format("arrow")[:]["id"].to_pylist()
            if len(set(ids)) < len(ids):
                times = Counter(ids)
                repeated = [one for one, count in times.items() if count > 1]
                found.append(f"repeated ids in its {name}: {len(repeated)}, such as {repeated[0]!r}")
    return found


def open_task(name: str, *, subset: str | None = None, split: str | None = None) -> TaskRows:
    """The rows to train on of a task.

    Args:
        name: `Task`, `Task#subset`, `Task:split` or `Task#subset:split`; what the name says wins.
        subset: one of the task's subsets or a language code; English if None (or the first subset).
        split: None or "train" stand for the split that the task itself trains on (`task.train_split`).

    Raises:
        MissingError: mteb knows no such task, subset or split, or its data is out of reach.
        DataError: the task is of a type without labels, or not about texts; or its train split is one it is scored
            on and the name does not ask for that split.
    """
    name, named_subset, named_split = parse_task_name(name)
    task = mteb_task(name)
    _refuse_other_types(task, name)
    chosen = subset_of(task, named_subset or subset)
    wanted = named_split or split or "train"
    if wanted == "train":
        wanted = _train_split(task, name, is_named=named_split is not None)
    task.hf_subsets = [chosen]
    load_task(task)
    data = task.dataset.get(chosen, task.dataset)
    if wanted not in data:
        known = ", ".join(map(str, data))
        hint = f" A split it is scored on must be asked for: {name}:{next(iter(data))}." if named_split is None else ""
        raise MissingError(f"MTEB task {name} has no split {wanted!r}; it has {known}.{hint}")
    rows, about = data[wanted], task.metadata
    return TaskRows(
        rows=rows,
        task_name=name,
        text_column=task.input_column_name,
        label_column="label_text" if "label_text" in rows.column_names else task.label_column_name,
        split=wanted,
        subset=chosen,
        revision=about.dataset["revision"],
        language=about.hf_subsets_to_langscripts[chosen][0],
        licence=about.license if about.license != "not specified" else None,
        task_type=about.type,
    )


def _refuse_other_types(task: AbsTask, name: str) -> None:
    about = task.metadata
    if about.type not in TYPES or not hasattr(task, "label_column_name"):
        raise DataError(
            f"MTEB task {name} is of type {about.type}{'' if about.type not in TYPES else ', made of other tasks'}; "
            f"triplets are made from tasks with labels: {', '.join(TYPES)}."
        )
    if list(about.modalities) != ["text"] or not isinstance(task.input_column_name, str):
        raise DataError(f"MTEB task {name} is about {', '.join(about.modalities)}; only tasks about text can be read.")


def _train_split(task: AbsTask, name: str, *, is_named: bool) -> str:
    """The split that a task trains on; refused where it is one that it is scored on, unless a name asks for it."""
    split = getattr(task, "train_split", "train")
    if not is_named and (split in task.metadata.eval_splits or getattr(task, "is_cross_validation", False)):
        raise DataError(
            f"MTEB task {name} is scored on the split that it trains on, {split!r}: its score would tell nothing "
            f"after training on it. If you do not evaluate on it, say {name}:{split}."
        )
    return split


def dataset_parts(rows: Dataset, columns: list[str]) -> Iterator[dict[str, list]]:
    """The columns of a data set, some thousands of rows at a time; numbers that stand for class names become those
    names, and -1, which stands for none, None."""
    from datasets import ClassLabel

    kept = rows.select_columns(columns)
    named = {}
    for column in columns:
        inner = getattr(kept.features[column], "feature", kept.features[column])
        if isinstance(inner, ClassLabel):
            named[column] = inner.names
    for batch in kept.with_format("arrow").iter(batch_size=_ROWS):
        part = {column: batch.column(column).to_pylist() for column in columns}
        for column, names in named.items():
            part[column] = [_class_name(value, names) for value in part[column]]
        yield part


def unnested(parts: Iterator[dict[str, list]], text: str, label: str) -> Iterator[tuple[list, list, int]]:
    """Texts, labels and how many were left out, part by part. Where a row holds lists of texts and of their labels
    (older clustering tasks: each row is a sample), each text counts once with the same label."""
    seen: set[tuple] = set()
    for part in parts:
        texts, labels, repeated = [], [], 0
        for cell, names in zip(part[text], part[label], strict=True):
            if not isinstance(cell, list):
                texts.append(cell)
                labels.append(names)
                continue
            for pair in zip(cell, names, strict=True):
                key = (pair[0], str(pair[1]))
                repeated += key in seen
                if key not in seen:
                    seen.add(key)
                    texts.append(pair[0])
                    labels.append(pair[1])
        yield texts, labels, repeated


def train_texts_in_test(name: str, subset: str | None = None) -> dict[str, int] | None:
    """How many texts of each split that a task is scored on stand in its train split as well, as mteb counted them
    (equal to the letter); None where it did not.

    Args:
        name: a task.
        subset: count one subset alone; all together if None.

    Raises:
        MissingError: mteb knows no such task or subset.
    """
    task = mteb_task(name)
    chosen = subset_of(task, subset) if subset else None
    found = {}
    for split, stats in (task.metadata.descriptive_stats or {}).items():
        if chosen and "hf_subset_descriptive_stats" in stats:
            stats = stats["hf_subset_descriptive_stats"].get(chosen, {})
        if split in task.metadata.eval_splits and stats.get("samples_in_train") is not None:
            found[split] = stats["samples_in_train"]
    return found or None


def cleaned_task(name: str) -> str | None:
    """The task `<name>.v2`, which mteb cleaned of empty, repeated and leaked texts; None where there is none.

    Raises:
        MissingError: mteb knows no task of this name.
    """
    known = task_names()
    if name not in known:
        mteb_task(name)
    return f"{name}.v2" if f"{name}.v2" in known else None


def subset_of(task: AbsTask, wanted: str | None = None) -> str:
    """The subset of a task that a subset's name or a language code stands for; English, or else the first, if None.

    Raises:
        MissingError: there is no such subset, or several of that language.
    """
    scripts = task.metadata.hf_subsets_to_langscripts
    name = task.metadata.name
    if wanted is None:
        english = next((s for s, codes in scripts.items() if list(codes) == ["eng-Latn"]), next(iter(scripts)))
        return "en" if "en" in scripts else english
    if wanted in scripts:
        return wanted
    spoken = [s for s, codes in scripts.items() if [c.split("-")[0] for c in codes] == [wanted]]
    spoken = spoken or [s for s, codes in scripts.items() if list(codes) == [wanted]]
    if len(spoken) == 1:
        return spoken[0]
    why = f"has several of {wanted!r}: {', '.join(spoken)}. Name one." if spoken else f"has no subset {wanted!r}."
    raise MissingError(
        f"MTEB task {name} {why}{did_you_mean(wanted, scripts)}" + ("" if spoken else f" It has: {list(scripts)}.")
    )


def _class_name(value: int | list | None, names: list[str]) -> str | list | None:
    if isinstance(value, list):
        return [_class_name(v, names) for v in value if v != -1]
    return None if value is None or value == -1 else names[value]
