"""Says which labels of several tasks are the same: equal names, in tasks that have their names in common.

`positive` of one task and `0` of two need not mean the same, so equal names of different tasks are different labels.
But rows that an LLM wrote for a task, a second file of it, and the same task in another language have its labels.
"""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from datasets import Dataset

from gisttools.data import blocks
from gisttools.models import KEY, text_keys

log = logging.getLogger(__name__)
_IN_COMMON = 0.9  # of the labels of the task that has fewer
_FEWEST, _FEWEST_WRITTEN = 3, 2  # labels in common, and where an LLM wrote for one of the two tasks
_NUMERALS = 1000  # 0 to 999 say nothing by their names


def labels_by_task(label_ids: np.ndarray, label_keys: np.ndarray, table: Dataset) -> np.ndarray:
    """The label ids, with new ones for labels that several tasks use and do not share: one for each task, and one for
    rows of no task.

    Two tasks share their labels where nine in ten names of the one with fewer are names of the other, and three of
    them are no numbers. Where all rows of one were written by an LLM, two of any kind are enough.

    Args:
        label_ids: int (N, 2 + K) or (N, 2 + K, M), equal for equal names; -1 is none.
        label_keys: of each id.
        table: the N rows, with their task_name and source.
    """
    tasks, names, written = _tasks(table)
    if len(names) < 2:
        return label_ids
    told = tasks.reshape(-1, *[1] * (label_ids.ndim - 1))
    known = (label_ids >= 0) & (told >= 0)
    found = pd.unique((label_ids * len(names) + told)[known])
    numerals = np.flatnonzero(np.isin(label_keys, np.array(text_keys([str(i) for i in range(_NUMERALS)]), KEY)))
    labels: dict[int, set[int]] = {}
    for pair in found.tolist():
        labels.setdefault(pair % len(names), set()).add(pair // len(names))
    shared = _shared(labels, written, set(numerals.tolist()))
    for few, many in shared.items():
        log.info("labels of %s and of %s are taken for the same", names[few], names[many])
    space = np.array([_end(shared, task) for task in range(len(names))])
    told = np.where(told < 0, -1, space[told])
    pairs = pd.unique((label_ids * len(names) + told)[known])
    times = np.bincount(pairs // len(names), minlength=label_ids.max(initial=-1) + 2)
    apart = times[label_ids] > 1  # -1 reads the last place, which no label has
    return np.where(apart, label_ids + len(times) * (told + 1), label_ids)


def _tasks(table: Dataset) -> tuple[np.ndarray, list[str], list[bool]]:
    """The number of each row's task (N,), -1 where none is told; their names; and whether an LLM wrote all of a task's
    rows."""
    tasks, by_llm, begin = np.full(len(table), -1), np.zeros(len(table), bool), 0
    names: dict[str, int] = {}
    for block in blocks(table, ["task_name", "source"]):
        told = block["task_name"].combine_chunks().dictionary_encode()
        numbers = np.array([names.setdefault(name, len(names)) for name in told.dictionary.to_pylist()] + [-1])
        here = slice(begin, begin + len(block))
        tasks[here] = numbers[pc.fill_null(told.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)]
        by_llm[here] = pc.fill_null(pc.equal(block["source"], "llm"), False).to_numpy()
        begin += len(block)
    others = set(tasks[~by_llm].tolist())
    return tasks, list(names), [task not in others for task in range(len(names))]


def _shared(labels: dict[int, set[int]], written: list[bool], numerals: set[int]) -> dict[int, int]:
    """By task, a larger one that has its labels."""
    shared: dict[int, int] = {}
    order = sorted(labels, key=lambda task: (len(labels[task]), task))
    for place, few in enumerate(order):
        for many in reversed(order[place + 1 :]):
            common, by_llm = labels[few] & labels[many], written[few] or written[many]
            telling = common if by_llm else common - numerals
            enough = len(telling) >= (_FEWEST_WRITTEN if by_llm else _FEWEST)
            if enough and len(common) >= _IN_COMMON * len(labels[few]):
                shared[few] = many
                break
    return shared


def _end(shared: dict[int, int], task: int) -> int:
    while task in shared:
        task = shared[task]
    return task
