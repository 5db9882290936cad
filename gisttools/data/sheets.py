"""Reads the first sheet of an XLSX workbook as rows of strings, as if it had been saved as CSV; needs openpyxl."""

from __future__ import annotations

import datetime
import itertools
import logging
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from gisttools.common import DataError, MissingError, first_line

log = logging.getLogger(__name__)
# what openpyxl, zipfile and the parser of XML raise; the latter's error is a SyntaxError
_BROKEN = (zipfile.BadZipFile, zlib.error, LookupError, ValueError, TypeError, OSError, EOFError, SyntaxError)
_OLD = b"\xd0\xcf\x11\xe0"  # an old Office document, or an encrypted one


class Sheet:
    """The first sheet of a workbook. Its first row that is not empty names the columns; columns without a name are not
    read. Of a formula the value counts that was last worked out.

    Attributes:
        columns: in their order.

    Raises:
        MissingError: openpyxl is not installed.
        DataError: the file is no workbook, is encrypted, or its first sheet is empty.
    """

    columns: list[str]

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            head = file.read(4)
        if head == _OLD:
            raise DataError(f"{path} is protected by a password, or an old Office document. Save its sheet as CSV.")
        if head != b"PK\x03\x04":
            raise DataError(f"{path} cannot be read as xlsx: it is no workbook. Is it what its ending says?")
        try:
            import openpyxl
        except ImportError:
            raise MissingError(
                f"{path}: reading XLSX needs openpyxl. Say pip install 'gisttools[xlsx]', or save the sheet as CSV."
            ) from None
        try:
            self._book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        except _BROKEN as error:
            raise DataError(f"{path} cannot be read as xlsx: {str(error).strip() or type(error).__name__}.") from error
        sheets = self._book.worksheets
        if not sheets:
            raise DataError(f"{path} has no sheet with rows.")
        sheets[0].reset_dimensions()  # what the file says of its size is often wrong
        self._rows = self._filled(sheets[0].iter_rows())
        header = [_cell(c) for c in next(self._rows, ())]
        self._places = {str(name): i for i, name in enumerate(header) if name is not None}
        self.columns = [str(name) for name in header if name is not None]
        if not self.columns:
            raise DataError(f"{path}: the first sheet, {sheets[0].title!r}, is empty. Put the rows there.")
        if len(sheets) > 1:
            others = ", ".join(repr(sheet.title) for sheet in sheets[1:])
            log.warning("%s: only its first sheet is read, %r, not %s", path, sheets[0].title, others)

    def parts(self, columns: Sequence[str], size: int) -> Iterator[dict[str, list]]:
        """The rows in order, `size` at a time: column -> strings, None where a cell is empty."""
        while rows := list(itertools.islice(self._rows, size)):
            yield {name: [_at(row, self._places[name]) for row in rows] for name in columns}

    def _filled(self, rows: Iterator[Sequence]) -> Iterator[Sequence]:
        try:
            yield from (row for row in rows if any(_cell(c) is not None for c in row))
        except _BROKEN as error:
            raise DataError(f"{self._path} is damaged: {first_line(error)} Save it again.") from error

    def close(self) -> None:
        """Close the file."""
        self._book.close()


def _at(row: Sequence, place: int) -> str | None:
    return _cell(row[place]) if place < len(row) else None


def _cell(cell: object) -> str | None:
    """What a cell shows, as CSV would hold it; None where it is empty or holds an error such as #N/A."""
    value = getattr(cell, "value", None)
    if value is None or getattr(cell, "data_type", "") == "e":
        return None
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value) or None
