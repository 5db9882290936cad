"""Cells of evaluation files: read by column, taken for what they should be, and what is wrong with them gathered."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gisttools.common import DataError, GistError, problems
from gisttools.row_files import file_kind, read_parts

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


def read_columns(path: Path, columns: Mapping[str, str]) -> dict[str, list]:
    """The cells of some columns, all rows, by what the columns are for: {"first": "sentence1"} gives {"first": [...]}.

    Raises:
        DataError: the file is broken.
    """
    found: dict[str, list] = {role: [] for role in columns}
    for part in read_parts(path, list(columns.values())):
        for role, name in columns.items():
            found[role] += part[name]
    return found


def together(jobs: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """What every job returns; what several of them refuse is one error.

    Raises:
        GistError: as the job that failed; a DataError with all messages where several did.
    """
    found, errors = {}, []
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
    """An id as a string: 7, 7.0 and "7" are one id. None if the cell holds none."""
    if isinstance(cell, float):
        return str(int(cell)) if math.isfinite(cell) and cell.is_integer() else None
    found = str(cell).strip() if isinstance(cell, str | int) and not isinstance(cell, bool) else ""
    return found or None


def texts_in(cell: object, path: Path) -> list | None:
    """The texts of a cell: a list, in CSV and TSV one written as JSON, or a single text. None if it is neither."""
    if isinstance(cell, str):
        return json_list(cell) if file_kind(path) in (".csv", ".tsv") and is_json_list(cell) else [cell]
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


def refuse(title: str, found: list[str], mend: str) -> None:
    """Nothing, or one error for all that was found.

    Raises:
        DataError: something was found.
    """
    if found:
        raise DataError(problems(f"{title}: {len(found)} problem(s), rows counted from 0", found, mend))
