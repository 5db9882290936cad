"""Rows of JSON, one after the other: a file of lines (JSONL) or one array, told apart by how it begins."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from gisttools.common import DataError, problems

_SHOWN = 5


def json_rows(file: io.BufferedReader, path: Path, block: int = 1 << 20) -> Iterator[dict]:
    """The objects of an array, or one for each line that is not empty.

    Args:
        file: bytes of UTF-8, with or without its mark.
        path: what to call the file in errors.
        block: characters read at a time of an array, which is never held whole.

    Raises:
        DataError: lines that are no objects (the first of them are listed), or an array that is broken.
    """
    head = file.peek(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    yield from _array_rows(path, file, block) if head.startswith(b"[") else _line_rows(path, file)


def _line_rows(path: Path, file: Iterable[bytes]) -> Iterator[dict]:
    found, bad, decode = [], 0, json.JSONDecoder().decode
    for number, line in enumerate(file, 1):  # ends at \n alone: str.splitlines would also cut at U+2028 in a text
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if not line.strip():
            continue
        try:
            row = decode(line.decode("utf-8"))
            why = None if isinstance(row, dict) else f"is no object but {_what(row)}"
        except ValueError as error:
            row, why = None, str(error)
        if why is None and not bad:
            yield row
        elif why is not None:
            bad += 1
            found += [f"line {number}: {why}"] if bad <= _SHOWN else []
    if bad:
        more = [f"and {bad - _SHOWN} more lines"] if bad > _SHOWN else []
        title = f"{path} cannot be read as jsonl: {bad} line(s) hold no JSON object"
        raise DataError(problems(title, [*found, *more], 'Each line is one row, such as {"text": ..., "label": ...}.'))


def _array_rows(path: Path, file: io.BufferedReader, block: int) -> Iterator[dict]:
    """The objects of one JSON array, decoded one after the other: the text is never held whole."""
    text, decoder, number = io.TextIOWrapper(file, "utf-8-sig", newline=""), json.JSONDecoder(), 0
    held, at, wanted = text.read(block), 0, "["
    while True:
        at = next((i for i in range(at, len(held)) if held[i] not in " \t\r\n"), len(held))
        try:
            if at == len(held):
                raise json.JSONDecodeError("the array is not closed", held, at)
            if held[at] == "]" and wanted != "[" and not (wanted == "{" and number):
                break
            if wanted in "[,":
                if held[at] != wanted:
                    raise DataError(f"{path}: after row {number} of the array stands {held[at]!r}, not a comma.")
                at, wanted = at + 1, "{"
                continue
            row, at = decoder.raw_decode(held, at)
        except json.JSONDecodeError as error:
            more = text.read(max(block, len(held) - at))
            if not more:
                raise DataError(
                    f"{path} cannot be read as json: row {number} of the array: {error.msg}. Is the file whole?"
                ) from error
            held, at = held[at:] + more, 0
            continue
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number} of the array is no object but {_what(row)}.")
        yield row
        number, wanted = number + 1, ","
    if (held[at + 1 :] + text.read()).strip():
        raise DataError(f"{path}: something stands after the array's end. Is it several files in one?")


def _what(value: object) -> str:
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), f"a {type(value).__name__}")
