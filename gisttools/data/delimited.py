"""Rows of CSV and TSV: what separates their fields, and the rows themselves, by Python's own parser.

Arrow's is faster, and reads ahead in threads of its own, which come back to a Python file for as long as the
interpreter is there: on a busy machine a process that was done with a CSV ended in a crash now and then.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence

from gisttools.common import DataError, problems

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}
LONGEST = 8 << 20  # characters of a field or a line: more of them are a quote that is never closed
_TOLD = re.compile(rb"sep=([,;\t|])\r?\n", re.IGNORECASE)
_LOOKED_AT = 200  # rows that tell what separates fields
_SHOWN = 5


def told_separator(sample: bytes) -> str | None:
    """What a first line of Excel's (`sep=;`) says, which is no row."""
    told = _TOLD.match(sample)
    return told[1].decode() if told else None


def separator(sample: str, usual: str, *, whole: bool) -> str:
    """What separates the fields of a file that begins like this. Another one than usual counts only where the usual one
    does not split the header, and it splits the header and most rows into equally many fields.

    `whole`: the sample is all of the file; else its last row is not looked at.
    """
    splits = {mark: _fields(sample, mark, whole) for mark in SEPARATORS}
    even = {mark: sizes[0] for mark, sizes in splits.items() if sizes and sizes[0] > 1 and _are_even(sizes)}
    if not splits[usual] or splits[usual][0] > 1 or not even:
        return usual
    return max(even, key=lambda mark: even[mark])


def _are_even(sizes: Sequence[int]) -> bool:
    """Whether most rows have as many fields as the header; of the others it is told when they are read."""
    return 2 * sizes.count(sizes[0]) > len(sizes)


def _fields(sample: str, mark: str, whole: bool) -> list[int]:
    """The number of fields of the sample's rows, empty ones left out."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=mark)
    sizes: list[int] = []
    try:
        sizes += (len(row) for row in itertools.islice(reader, _LOOKED_AT) if row)
    except csv.Error:
        return sizes  # a field that is longer than the parser's limit
    return sizes if whole or len(sizes) < 2 else sizes[:-1]


def delimited_rows(text: io.TextIOBase, separator: str, title: str, skip: int = 0) -> Iterator[list[str]]:
    """The header, then the rows; an empty line is none.

    Args:
        text: with its line ends as they are.
        separator: what stands between two fields.
        title: what errors begin with.
        skip: how many lines come before the header.

    Raises:
        DataError: there is no header; rows have more or fewer fields than it (the first of them are listed, and no row
            after them is given); a quote is never closed; a field or a line is longer than `LONGEST`.
    """
    wanted, found, bad = 0, list[str](), 0
    for line, row in _numbered(text, separator, title, skip):
        wanted = wanted or len(row)
        if len(row) != wanted:
            bad += 1
            found += [f"line {line}: {len(row)} field(s), {_short(row)}"] if bad <= _SHOWN else []
        elif not bad:
            yield row
    if not wanted:
        raise DataError(f"{title}: it is empty.")
    if bad:
        more = [f"and {bad - _SHOWN} more"] if bad > _SHOWN else []
        why = f"{title}: {bad} row(s) have more or fewer fields than the header, which has {wanted}."
        raise DataError(problems(why, [*found, *more], "Quote texts that hold a separator or a line end."))


def _numbered(text: io.TextIOBase, separator: str, title: str, skip: int) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, each behind the number of the line that it begins in."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))  # there is one for the process
    ended = False

    def lines() -> Iterator[str]:
        nonlocal ended
        while line := text.readline(LONGEST + 1):
            if len(line) > LONGEST:
                raise DataError(f"{title}: a line is longer than {LONGEST >> 20} MB. Is it what its ending says?")
            yield line
        ended = True

    for _ in range(skip):
        text.readline()
    first = skip + 1
    reader = csv.reader(lines(), delimiter=separator)
    try:
        for row in reader:
            if ended:  # the parser gives a whole row before it asks for what comes after
                raise DataError(f"{title}: a quote in the row of line {first} is never closed.")
            if row:
                yield first, row
            first = skip + reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{title}: {error}, in the row of line {first}. Is a quote never closed?") from error


def _short(row: Sequence[str]) -> str:
    """The beginning of a row for a message."""
    text = " ".join(" | ".join(row).split())
    return repr(f"{text[:77]}..." if len(text) > 80 else text)
