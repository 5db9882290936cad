"""The texts of evaluation sets, by task and by folder: what a training table must not hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gisttools.common import MissingError
from gisttools.eval_files import eval_folder
from gisttools.label_files import read_scored
from gisttools.mteb_sets import load_task, mteb_task
from gisttools.pair_files import read_pairs
from gisttools.search_files import read_candidates, read_searched


def eval_sets(
    tasks: Sequence[str] = (), folders: Sequence[str | Path] = (), *, subsets: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """The test texts of mteb tasks and of folders, by name; each text once, in order. Of pairs both texts count, of
    retrieval and reranking the queries.

    Args:
        tasks: names of mteb tasks.
        folders: `folder` or `folder#kind`, as in `gisttools.local_tasks`; train files need not be there.
        subsets: language subsets of multilingual tasks; all if None.

    Raises:
        MissingError: a task, its data, a subset or a file is missing.
        DataError: a file cannot be read, or a folder is no evaluation set.
        ParameterError: there is no such kind.
    """
    found = {str(folder): list(dict.fromkeys(_texts_of_folder(folder))) for folder in folders}
    for name in tasks:
        task = eval_task(name, subsets)
        load_task(task)
        found[name] = all_texts_of(task)
    return found


def _texts_of_folder(name: str | Path) -> list[str]:
    folder = eval_folder(name)
    if folder.kind in ("pair_classification", "sts"):
        return read_pairs(folder).test_texts
    if folder.kind == "retrieval":
        return read_searched(folder).test_texts
    return read_candidates(folder).test_texts if folder.kind == "reranking" else read_scored(folder).texts


def all_texts_of(task) -> list[str]:
    """The texts of all subsets and evaluation splits of a loaded task, each once, in order."""
    parts = [split_of(task, s, split) for s in task.hf_subsets for split in task.eval_splits]
    return list(dict.fromkeys(text for part in parts for text in texts_of(task, part)))


def eval_task(name: str, subsets: Sequence[str] | None = None):
    """The mteb task of that name, fresh and not loaded yet: its test split alone where it has one, and of a
    multilingual task the subsets that are asked for (all if None).

    Raises:
        MissingError: mteb knows no such task, or it has none of the subsets.
    """
    import mteb

    task = mteb_task(name)
    if subsets is not None and task.metadata.is_multilingual:
        wanted = [s for s in task.metadata.hf_subsets if s in subsets]
        if not wanted:
            raise MissingError(
                f"Task {name} has none of the subsets {list(subsets)}; it has {task.metadata.hf_subsets}."
            )
        task = mteb.get_task(name, hf_subsets=wanted)
    if "test" in task.metadata.eval_splits:
        task = mteb.get_task(name, eval_splits=["test"], hf_subsets=list(task.hf_subsets))
    return task


def split_of(task, subset: str, split: str):
    """The data of one subset and split of a loaded task, or None where it keeps them otherwise."""
    data = task.dataset or {}
    data = data.get(subset, data)
    return data.get(split) if hasattr(data, "get") else None


def texts_of(task, data) -> list[str]:
    """The texts of one split (from `split_of`), as far as the task keeps them in plain columns. Of retrieval tasks
    the queries: a corpus is there to be searched, and to know its documents is no cheating."""
    if isinstance(data, dict) and "queries" in data:
        return [text for text in data["queries"]["text"] if isinstance(text, str)]
    if not hasattr(data, "column_names"):
        return []
    names = ("input_column_name", "input1_column_name", "input2_column_name")
    columns = [*(getattr(task, name, None) for name in names), *(getattr(task, "column_names", None) or ())]
    texts = [x for c in columns if isinstance(c, str) and c in data.column_names for x in data[c]]
    return [t for x in texts for t in (x if isinstance(x, list) else [x]) if isinstance(t, str)]
