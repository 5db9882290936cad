"""What the rows of an evaluation say together, variant by variant: the overall word, and averages by kind of task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from gisttools.judgement import averages, overall_verdict

AVERAGE_COLUMNS = {
    "variant": "str", "tasks": "str", "name": "str", "n_tasks": "int64", "base": "float64", "tuned": "float64",
    "difference": "float64", "low": "float64", "high": "float64", "p": "float64", "verdict": "str",
}  # fmt: skip
# which tasks an average is over; the first is always there, others where they are fewer, and some are left
_SELECTIONS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "all": lambda row: True,
    "targets": lambda row: bool(row["is_target"]),
    "not trained on": lambda row: row["trained_on"] is not True,
    "zero-shot": lambda row: row["zero_shot"] is True,
}


def average_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Mean differences by variant, over all tasks and by kind, as `judgement.averages` gives them.

    `tasks` says which tasks they are over: `all`; `targets`; `not trained on`, without those whose train split the
    training table used; `zero-shot`, those that neither model is known to have been trained on, by mteb's lists of
    training sets and the training table. Tasks that mteb puts together to one count as one.

    Args:
        rows: of the comparison table, judged.
    """
    found = []
    for variant, own in by_variant(rows).items():
        counted = [{**row, "task": row["group"] or row["task"]} for row in own]
        for name, chosen in _SELECTIONS.items():
            part = [row for row in counted if chosen(row)]
            if name == "all" or 0 < len(part) < len(counted):
                found += [{"variant": variant, "tasks": name, **average} for average in averages(part)]
    return pd.DataFrame(found, columns=list(AVERAGE_COLUMNS)).astype(AVERAGE_COLUMNS)


def verdict_of(rows: Iterable[Mapping[str, Any]], failed_targets: int = 0) -> str:
    """The overall word for one variant's rows; a target that could not be scored counts as one not shown."""
    lost = {"is_target": True, "verdict": "not shown", "non_inferior": None}
    return overall_verdict([*rows, *[lost] * failed_targets])


def by_variant(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows by their variant, in order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["variant"], []).append(row)
    return found
