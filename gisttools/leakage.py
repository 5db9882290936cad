"""Test texts that stand in the training table: found before any model runs, and refused unless that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from gisttools.common import DataError, problems
from gisttools.eval_sets import all_texts_of
from gisttools.hygiene import find_overlap
from gisttools.mteb_sets import load_task

COLUMNS = {"task": "str", "text": "str", "training_text": "str", "tier": "str", "score": "float64"}
_SHOWN = 60  # characters of a text in a message


def shared_texts(
    tasks: Mapping[str, Callable[[], Any]], training_texts: Sequence[str], *, allow: bool = False
) -> pd.DataFrame:
    """Test texts of tasks that a training table holds, equal or nearly so: one row each.

    Args:
        tasks: for each name, how to make the mteb task.
        training_texts: the table's texts, each once; none means that nothing is known to be shared.
        allow: return what is shared, instead of refusing it.

    Returns:
        `task`, `text` (of the test data), `training_text`, `tier` (exact, near) and `score` (Jaccard for near).

    Raises:
        MissingError: a task's data cannot be loaded.
        DataError: test texts are shared, and that is not allowed; each task with its counts and an example.
    """
    found = [pd.DataFrame({c: pd.Series(dtype=t) for c, t in COLUMNS.items()})]
    for name, make in tasks.items() if training_texts else ():
        task = make()
        load_task(task)
        hits = find_overlap(all_texts_of(task), training_texts).rename(columns={"other": "training_text"})
        found.append(hits.assign(task=name)[list(COLUMNS)])
    shared = pd.concat([f for f in found if len(f)] or found[:1], ignore_index=True)
    if not allow:
        refuse_shared(shared)
    return shared


def refuse_shared(shared: pd.DataFrame) -> None:
    """Refuse test texts that stand in a training table, where there are any.

    Raises:
        DataError: there are; each task with its counts and an example.
    """
    if len(shared):
        raise DataError(_refusal(shared))


def _refusal(shared: pd.DataFrame) -> str:
    rows = []
    for name, hits in shared.groupby("task", sort=False):
        tiers = ", ".join(f"{n} {tier}" for tier, n in hits["tier"].value_counts().items())
        text, other = hits["text"].iloc[0][:_SHOWN], hits["training_text"].iloc[0][:_SHOWN]
        rows.append(f"{name}: {len(hits)} test texts ({tiers}), such as {text!r}, in the table as {other!r}")
    return problems(
        "The training table holds texts of the test data, so that scores there would flatter the tuned model:",
        rows,
        "Make the table again without them (2_convert leaves out what overlaps its eval_tasks and eval_files), or set "
        "allow_overlap = true to compare nevertheless: the report will say so.",
    )
