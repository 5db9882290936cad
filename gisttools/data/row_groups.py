"""Leaves groups of rows out of triplet tables, by what is known of them: what they bring is seen by training without.

A group is what some columns must hold, all of them: `{"source": "llm", "anchor_label": "card_arrival"}`. A list of
values means any of them; a value of a column of numbers is a comparison, such as `{"guide_ap": "< 0.5"}`; and
`attributes.form` is what the LLM was told of the form, and so on.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from datasets import Dataset

from gisttools.common import ParameterError, did_you_mean, problems
from gisttools.data.options import RowGroup
from gisttools.data.triplets import COLUMNS

_TEXT = [name for name in COLUMNS.names if COLUMNS.field(name).type == pa.string() and name != "attributes"]
_NUMBERS = [name for name in COLUMNS.names if pa.types.is_floating(COLUMNS.field(name).type)]
_ATTRIBUTE = "attributes."
_COMPARISON = re.compile(r"\s*(<=|>=|<|>)\s*([+-]?\d*\.?\d+)\s*")
_OPERATORS: dict[str, Callable] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def without_groups(tables: Mapping[str, Dataset], groups: Sequence[RowGroup]) -> dict[str, Dataset]:
    """The tables without the rows that are of any of the groups, in their order.

    Raises:
        ParameterError: a group names a column that there is not, compares what is no number, or holds no row; or no row
            is left. All problems at once.
    """
    if not groups:
        return dict(tables)
    if wrong := wrong_groups(groups):
        raise ParameterError(problems("leave_out:", wrong))
    of_group = [{name: _members(table, group) for name, table in tables.items()} for group in groups]
    empty = [
        f"no row is of the group {_words(group)}"
        for group, members in zip(groups, of_group, strict=True)
        if not any(rows.any() for rows in members.values())
    ]
    kept = {name: ~np.logical_or.reduce([members[name] for members in of_group]) for name in tables}
    if not any(rows.any() for rows in kept.values()):
        empty.append("no row is left")
    if empty:
        raise ParameterError(problems("leave_out:", empty))
    return {name: table.select(np.flatnonzero(kept[name])) for name, table in tables.items()}


def wrong_groups(groups: Sequence[RowGroup]) -> list[str]:
    """What is wrong with groups whatever the rows, a line each."""
    found = []
    for group in groups:
        if not group:
            found.append("a group says nothing: name a column and what it holds")
        for name, value in group.items():
            if name in _NUMBERS:
                if not isinstance(value, str) or not _COMPARISON.fullmatch(value):
                    found.append(f"{name} is a number, and {value!r} no comparison: say e.g. '< 0.5'")
            elif name not in _TEXT and not name.startswith(_ATTRIBUTE):
                known = [*_TEXT, *_NUMBERS]
                found.append(
                    f"there is no column {name!r} to tell rows by; there are {', '.join(known)} and {_ATTRIBUTE}NAME."
                    f"{did_you_mean(name, known)}"
                )
    return found


def _members(table: Dataset, group: RowGroup) -> np.ndarray:
    """Which rows are of a group, bool (n,)."""
    found = np.ones(len(table), dtype=bool)
    for name, value in group.items():
        column = "attributes" if name.startswith(_ATTRIBUTE) else name
        cells = table.select_columns([column]).with_format("arrow")[:][column].to_pylist() if len(table) else []
        if name in _NUMBERS:
            sign, number = _COMPARISON.fullmatch(value).groups()  # type: ignore[union-attr, arg-type]  # see `wrong_groups`
            fits = [cell is not None and _OPERATORS[sign](cell, float(number)) for cell in cells]
        else:
            told = {str(one) for one in (value if isinstance(value, list) else [value])}
            if column != name:
                cells = [_attribute(cell, name.removeprefix(_ATTRIBUTE)) for cell in cells]
            fits = [cell is not None and str(cell) in told for cell in cells]
        found &= np.array(fits, dtype=bool)
    return found


def _attribute(cell: str | None, name: str) -> object:
    """None where a table of the user's holds something else than an object."""
    try:
        told = json.loads(cell or "{}")
    except ValueError:
        return None
    return told.get(name) if isinstance(told, dict) else None


def _words(group: RowGroup) -> str:
    return json.dumps(group, ensure_ascii=False)
