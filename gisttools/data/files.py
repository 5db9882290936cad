"""Reads files of rows (CSV, TSV, JSON lines, a JSON array, Parquet, XLSX) and of lines (text), each once, a part at a
time. A folder of one data set, as `save_to_disk` writes it, counts as a file of rows.

All but Parquet and XLSX may be compressed (`.gz`, `.zst`). Text is UTF-8, or UTF-16 if it opens with that mark (BOM),
or what `encoding` says; nothing is guessed, for a wrong guess spoils texts without a word. JSON lines and a JSON array
are distinguished by how a file begins, whatever its ending. What separates fields of CSV and TSV is what the ending
says; where that does not split the header, and semicolons, tabs, bars or commas split most rows alike, these do: it is
told.

What a cell is: in CSV and TSV an empty cell is missing and every other one is its string, so that `NA`, `null`, `007`
and `1e5` are texts and labels like any other; so it is in XLSX, whose whole numbers are
written without decimals. In JSON and Parquet null is missing, and values keep their types;
`plain_name` makes a label of one.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gisttools.common import DataError, GistError, MissingError, ParameterError, did_you_mean, problems, sha256
from gisttools.data.columns import warn_once
from gisttools.data.delimited import SEPARATORS, delimited_rows, separator, told_separator
from gisttools.data.saved import SavedRows, is_saved, saved_splits
from gisttools.data.sheets import Sheet

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)
Part = dict[str, list]  # column -> values of some rows; a missing one is None
_PLAIN = (".csv", ".tsv", ".jsonl", ".json")
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_XLSX = ".xlsx"
FILE_ENDINGS = (*_PLAIN, ".parquet", _XLSX, *(f"{kind}{packing}" for kind in _PLAIN for packing in _COMPRESSIONS))
LINE_ENDINGS = (".txt", *(f".txt{packing}" for packing in _COMPRESSIONS))
_ROWS = 10_000  # of a part
_FIRST = 1000  # rows of JSON that tell the columns
_BLOCK = 1 << 20  # bytes read at a time
_SHOWN = 5
_SAMPLE = 1 << 16  # bytes that tell what separates fields
_SAVED = "save_to_disk"  # a folder
_MAGIC = (
    (b"PAR1", "a Parquet file", "Name it .parquet"),
    (
        b"PK\x03\x04",
        "a ZIP archive (or an Office document, which is one)",
        "Unpack it; name a workbook .xlsx, or save its sheet as CSV",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Office document", "Save its sheet as CSV"),
    (b"%PDF", "a PDF", "Take its texts out into a CSV or JSONL file"),
    (b"\x1f\x8b", "a gzip file", "Add .gz to its name, or unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "Add .zst to its name, or unpack it"),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV"),
)
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def file_kind(path: str | Path) -> str | None:
    """The kind of rows by a file's ending, in small letters and without the compression's: ".csv" of `a.CSV.gz`.
    None if it is none of `FILE_ENDINGS`."""
    name = Path(path).name.lower()
    ending = next((e for e in FILE_ENDINGS if name.endswith(e)), None)
    return ending and f".{ending.split('.')[1]}"


def is_lines(path: str | Path) -> bool:
    """Whether a file's ending says that it holds one text a line (`LINE_ENDINGS`)."""
    return Path(path).name.lower().endswith(LINE_ENDINGS)


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing: None, NaN, or what pandas puts in their place."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def plain_name(value: object) -> str | None:
    """The label (or id, or name) that a cell holds: a string without white space at its ends, a whole number without
    decimals (1.0 is "1"), any other scalar as `str` writes it (true is "True"). None where it is missing or blank."""
    if is_missing(value):
        return None
    whole = isinstance(value, float) and value.is_integer()
    return (str(int(value)) if whole else str(value).strip()) or None  # type: ignore[call-overload]


def column_names(path: str | Path, encoding: str | None = None) -> list[str]:
    """The columns of a file; of JSON, those of its first thousand rows.

    Raises:
        MissingError: there is no such file.
        DataError: the file is not what its ending says, or not in that encoding.
        ParameterError: there is no such encoding.
    """
    with RowFile(path, encoding) as file:
        return file.columns


def read_parts(path: str | Path, columns: Sequence[str], encoding: str | None = None) -> Iterator[Part]:
    """A file's rows in order, some thousands at a time: column -> values. Other columns are not kept.

    Args:
        path: its ending is one of `FILE_ENDINGS`.
        columns: names from `column_names`; JSON rows that lack one have None there.
        encoding: a codec of Python (`windows-1252`, `latin-1`, `shift_jis`) for text that is not UTF-8 and has no
            mark in front.

    Raises:
        MissingError, DataError, ParameterError: as `column_names`; also where a later row is broken.
    """
    with RowFile(path, encoding) as file:
        yield from file.parts(columns)


def read_rows(path: str | Path, encoding: str | None = None) -> Iterator[dict[str, object]]:
    """A file's rows in order with all their columns; a row of JSON has only those that stand in it.

    Raises:
        MissingError, DataError, ParameterError: as `read_parts`.
    """
    with RowFile(path, encoding) as file:
        yield from file.rows()


def read_lines(path: str | Path, encoding: str | None = None) -> Iterator[str]:
    """The lines of a text file, without their ends.

    A line ends at a line feed alone, with or without a carriage return: U+2028 and the like belong to a text.

    Raises:
        MissingError, DataError, ParameterError: as `column_names`.
    """
    path = Path(path)
    _check_there(path)
    with _named(path, "txt"):
        text = _Text(path, "txt", encoding)
        try:
            for line in io.BufferedReader(text, _BLOCK):
                yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        finally:
            text.shut()


class RowFile:
    """A file of rows, opened once and read once, from front to back: its columns first, then its rows.

    Use it as a context; `column_names`, `read_parts` and `read_rows` are shortcuts.

    Args:
        path: its ending is one of `FILE_ENDINGS`.
        encoding: as in `read_parts`.
        bare: of JSON, the column that a row of a string alone stands for; without it such rows are refused.

    Attributes:
        columns: in the file's order; of JSON, those of its first thousand rows.

    Raises:
        MissingError, DataError, ParameterError: as `column_names`.
    """

    columns: list[str]

    def __init__(self, path: str | Path, encoding: str | None = None, *, bare: str | None = None) -> None:
        self.path, self._kind = Path(path), _kind_of(Path(path))
        self._text: _Text | None = None
        if self._kind == _SAVED:
            self._saved = SavedRows(self.path)
            self.columns = self._saved.columns
            return
        with _named(self.path, self._kind[1:]):
            if self._kind == ".parquet":
                self._open_parquet()
                return
            if self._kind == _XLSX:
                self._sheet = Sheet(self.path)
                self.columns = self._sheet.columns
                _refuse_twice(self.path, self.columns)
                return
            self._text = _Text(self.path, self._kind[1:], encoding)
            try:
                if self._kind in (".csv", ".tsv"):
                    self._open_csv(self._text)
                else:
                    self._open_json(self._text, bare)
            except BaseException:
                self._text.shut()
                raise

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._text is not None:
            self._text.shut()
        if self._kind == _XLSX:
            self._sheet.close()

    @property
    def revision(self) -> str:
        """12 hex digits of the file's checksum behind "sha256:"; to be asked for after the last row."""
        if self._kind == _SAVED:
            found = self._saved.checksum()
        else:
            found = sha256(self.path) if self._text is None else self._text.checksum()
        return f"sha256:{found[:12]}"

    def parts(self, columns: Sequence[str]) -> Iterator[Part]:
        """As `read_parts`."""
        columns = list(dict.fromkeys(columns))
        if self._kind == _SAVED:
            yield from self._saved.parts(columns)
            return
        with _named(self.path, self._kind[1:]):
            if self._kind == _XLSX:
                yield from self._sheet.parts(columns, _ROWS)
            elif self._kind == ".parquet":
                import pyarrow.parquet as pq

                with pq.ParquetFile(self.path) as file:
                    for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
                        yield {name: batch.column(name).to_pylist() for name in columns}
            elif self._kind in (".csv", ".tsv"):
                at = [self.columns.index(name) for name in columns]
                rows = ([row[i] or None for i in at] for row in self._csv)  # other columns are not held
                while some := list(itertools.islice(rows, _ROWS)):
                    yield dict(zip(columns, map(list, zip(*some, strict=True)), strict=True))
            else:
                while part := list(itertools.islice(self._json, _ROWS)):
                    yield {name: [row.get(name) for row in part] for name in columns}

    def rows(self) -> Iterator[dict[str, object]]:
        """As `read_rows`."""
        if self._kind in (".jsonl", ".json"):
            with _named(self.path, self._kind[1:]):
                yield from self._json
            return
        for part in self.parts(self.columns):
            for cells in zip(*part.values(), strict=True):
                yield dict(zip(part, cells, strict=True))

    def _open_parquet(self) -> None:
        import pyarrow.parquet as pq

        with open(self.path, "rb") as file:
            _check_head(self.path, "parquet", file.read(_HEAD))
        self.columns = pq.read_schema(self.path).names

    def _open_csv(self, text: _Text) -> None:
        text.keep()
        file = io.BufferedReader(text, _BLOCK)
        self._find_separator(file)
        file.detach()
        text.rewind()
        lines = io.TextIOWrapper(io.BufferedReader(text, _BLOCK), "utf-8", newline="")
        self._csv = delimited_rows(
            lines, self._separator, f"{self.path} cannot be read as {self._kind[1:]}", self._skip
        )
        self.columns = next(self._csv)
        _refuse_twice(self.path, self.columns)

    def _find_separator(self, file: io.BufferedIOBase) -> None:
        """What separates the fields: what the ending says, where that splits the header or nothing does better."""
        usual = "\t" if self._kind == ".tsv" else ","
        sample = file.read(_SAMPLE)
        told = told_separator(sample)
        self._skip, self._separator = (1, told) if told else (0, usual)
        if told:
            return
        found = separator(sample.decode("utf-8", "ignore"), usual, whole=len(sample) < _SAMPLE)
        if found != usual:
            self._separator = found
            how = f"separated by {SEPARATORS[found]}, not by {SEPARATORS[usual]}, which does not split its header"
            warn_once(log, f"{self.path}: read as {how}")

    def _open_json(self, text: _Text, bare: str | None) -> None:
        rows = json_rows(io.BufferedReader(text, _BLOCK), self.path, _BLOCK, bare)
        first = list(itertools.islice(rows, _FIRST))
        self.columns = list(dict.fromkeys(name for row in first for name in row))
        self._json = itertools.chain(first, rows)


def _refuse_twice(path: Path, columns: list[str]) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names {', '.join(twice)} more than once. Rename one of them.")


def json_rows(file: io.BufferedReader, path: Path, block: int = 1 << 20, bare: str | None = None) -> Iterator[dict]:
    """The objects of an array, or one for each line that is not empty.

    Args:
        file: bytes of UTF-8 without a mark.
        path: what to call the file in errors.
        block: characters read at a time of an array, which is never held whole.
        bare: as in `RowFile`.

    Raises:
        DataError: lines that are no objects (the first of them are listed), or an array that is broken.
    """
    is_array = file.peek(4096).lstrip().startswith(b"[")
    yield from _array_rows(path, file, block, bare) if is_array else _line_rows(path, file, bare)


def _line_rows(path: Path, file: Iterable[bytes], bare: str | None) -> Iterator[dict]:
    found, bad, decode = [], 0, _DECODER.decode
    for number, line in enumerate(file, 1):  # ends at \n alone: str.splitlines would also cut at U+2028 in a text
        if not line.strip():
            continue
        try:
            row, why = _as_row(decode(line.decode("utf-8")), bare)
        except (ValueError, DataError) as error:
            row, why = None, str(error)
        except RecursionError:
            row, why = None, "it is nested too deeply"
        if row is None:
            bad += 1
            found += [f"line {number}: {why}"] if bad <= _SHOWN else []
        elif not bad:
            yield row
    if bad:
        more = [f"and {bad - _SHOWN} more lines"] if bad > _SHOWN else []
        what, such = ("JSON object", "") if bare is None else ("JSON string and no object", ", or a string alone")
        title = f"{path} cannot be read as jsonl: {bad} line(s) hold no {what}"
        fix = f'Each line is one row, such as {{"text": ..., "label": ...}}{such}.'
        raise DataError(problems(title, [*found, *more], fix))


def _array_rows(path: Path, file: io.BufferedReader, block: int, bare: str | None) -> Iterator[dict]:
    """The objects of one JSON array, decoded one after the other: the text is never held whole."""
    text, number = io.TextIOWrapper(file, "utf-8", newline=""), 0
    held, at, wanted = text.read(block), 0, "["
    while True:
        at = next((i for i in range(at, len(held)) if held[i] not in " \t\r\n"), len(held))
        try:
            if at == len(held):
                raise json.JSONDecodeError("the array is not closed", held, at)
            if held[at] == "]" and (wanted == "," or (wanted == "{" and not number)):
                break
            if wanted in "[,":
                if held[at] != wanted:
                    raise DataError(f"{path}: after row {number} of the array stands {held[at]!r}, not a comma.")
                at, wanted = at + 1, "{"
                continue
            value, at = _value(held, at, path, number)
        except json.JSONDecodeError as error:
            more = text.read(max(block, len(held) - at))
            if not more:
                raise DataError(
                    f"{path} cannot be read as json: row {number} of the array: {error.msg}. Is the file whole?"
                ) from error
            held, at = held[at:] + more, 0
            continue
        row, why = _as_row(value, bare)
        if row is None:
            raise DataError(f"{path}: row {number} of the array {why}.")
        yield row
        number, wanted = number + 1, ","
    if (held[at + 1 :] + text.read()).strip():
        raise DataError(f"{path}: something stands after the array's end. Is it several files in one?")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object that names no key more than once: the last one would count, without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = dict.fromkeys(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise DataError(f"{', '.join(map(repr, twice))} stands more than once in an object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _value(held: str, at: int, path: Path, number: int) -> tuple[object, int]:
    """The row of an array that begins here, and where it ends. Raises JSONDecodeError where it is not whole."""
    try:
        return _DECODER.raw_decode(held, at)
    except DataError as error:
        raise DataError(f"{path}: row {number} of the array: {error}. Rename one of them.") from None


def _as_row(value: object, bare: str | None) -> tuple[dict | None, str | None]:
    """The row that a JSON value is, or None and why it is none."""
    if isinstance(value, dict):
        return value, None
    if bare is not None and isinstance(value, str):
        return {bare: value}, None
    kinds = {list: "a list", str: "a string", type(None): "null"}
    return None, f"is no object but {kinds.get(type(value), f'a {type(value).__name__}')}"


_HEAD = 64  # bytes that tell a file of another kind


class _Text(io.RawIOBase):
    """A file's text, decompressed, as UTF-8 without a mark, read once from front to back.

    Each byte is checked to fit the encoding before anybody sees it, and the file's own bytes are hashed on the way.
    """

    def __init__(self, path: Path, kind: str, encoding: str | None) -> None:
        import pyarrow as pa

        self._path = path
        self._disk = _Hashed(path)
        self._line, self._in_line = 1, 0  # where the next block begins
        self._kept: list[bytes] | None = None  # what was read since `keep`
        try:
            packing = _COMPRESSIONS.get(path.suffix.lower())
            self._bytes = pa.CompressedInputStream(pa.PythonFile(self._disk, "r"), packing) if packing else self._disk
            head = self._bytes.read(_BLOCK)
            _check_head(path, kind, head[:_HEAD])
            self._code = code_of(head, encoding)
            self._decoder = codecs.getincrementaldecoder(self._code)()
            self._ready = memoryview(self._checked(head).removeprefix(codecs.BOM_UTF8))
        except BaseException:
            self.shut()
            raise

    def shut(self) -> None:
        """Close the file. `close` does not: it is called by readers on top of this one, as soon as they end."""
        self._disk.close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._ready and not self._ended:
            self._ready = memoryview(self._checked(self._bytes.read(_BLOCK)))
        view = memoryview(buffer)
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        if self._kept is not None:
            self._kept.append(bytes(self._ready[:size]))
        self._ready = self._ready[size:]
        return size

    def keep(self) -> None:
        """Keep what is read from here on, for `rewind`."""
        self._kept = []

    def rewind(self) -> None:
        """Go back to where `keep` was called, without reading the file again."""
        self._ready = memoryview(b"".join([*(self._kept or ()), self._ready]))
        self._kept = None

    def checksum(self) -> str:
        """SHA-256 of the whole file; what is left of it is read for that."""
        while self._disk.read(_BLOCK):
            pass
        return self._disk.sha.hexdigest()

    def _checked(self, block: bytes) -> bytes:
        """The file's next block as UTF-8; an empty one is its end."""
        self._ended = not block
        try:
            text = self._decoder.decode(block, self._ended)
        except UnicodeError as error:
            where = self._place(error, block) if isinstance(error, UnicodeDecodeError) else str(error)
            raise DataError(f"{self._path} is not {self._code.upper()}: {where}.{_fix(self._code)}") from error
        self._line += block.count(b"\n")
        at = block.rfind(b"\n")
        self._in_line = len(block) - at - 1 if at >= 0 else self._in_line + len(block)
        return block if self._code == "utf-8" else text.encode("utf-8")

    def _place(self, error: UnicodeDecodeError, block: bytes) -> str:
        """Line and byte of what does not fit; `error.object` is the block after what was left of the one before."""
        if self._code.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
            return str(error)  # a line end is no single byte there
        before = error.object[: error.start]
        at = before.rfind(b"\n")
        left_over = len(error.object) - len(block)
        column = len(before) - at - 1 if at >= 0 else self._in_line - left_over + len(before)
        line = self._line + before.count(b"\n")
        return f"line {line} holds the byte 0x{error.object[error.start]:02x} after {column} bytes"


class _Hashed(io.RawIOBase):
    """A file's bytes as they lie on disk, hashed as they are read."""

    def __init__(self, path: Path) -> None:
        self._file, self.sha = io.FileIO(path), hashlib.sha256()

    def close(self) -> None:
        self._file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        size = self._file.readinto(buffer) or 0
        self.sha.update(memoryview(buffer)[:size])
        return size


def _check_there(path: Path) -> None:
    if not path.exists():
        raise MissingError(f"There is no file {path}. Name a file, a folder with train.jsonl, or an MTEB task.")


def _kind_of(path: Path) -> str:
    _check_there(path)
    kind = _SAVED if is_saved(path) else file_kind(path)
    if path.is_dir() and kind != _SAVED:
        splits = ", ".join(saved_splits(path))
        raise DataError(
            f"{path} is a folder, not a file of rows. "
            + (f"It holds the splits {splits} of save_to_disk: name one of them." if splits else "Name a file in it.")
        )
    if kind is None:
        raise DataError(f"{path}: unknown ending {path.suffix!r}. Use one of {', '.join(FILE_ENDINGS)}.")
    return kind


def _check_head(path: Path, kind: str, head: bytes) -> None:
    """Refuse a file that opens as one of another kind does."""
    found = next(((what, fix) for magic, what, fix in _MAGIC if head.startswith(magic)), None)
    if found is None and head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        found = "a web page (or XML)", "Download the file itself, not the page that shows it"
    if found and not (kind == "parquet" and head.startswith(b"PAR1")):
        raise DataError(f"{path} cannot be read as {kind}: it is {found[0]}. {found[1]}.")


def code_of(head: bytes, encoding: str | None) -> str:
    """The codec that a mark in front tells, else the one that was named, else UTF-8."""
    try:
        named = codecs.lookup(encoding or "utf-8").name
    except LookupError:
        usual = ("utf-8", "utf-16", "windows-1252", "latin-1", "iso-8859-15", "shift_jis", "gb18030", "koi8-r")
        raise ParameterError(
            f"encoding is {encoding!r}, which is no encoding known here.{did_you_mean(str(encoding), usual)} "
            f"Usual ones: {', '.join(usual)}; None for UTF-8."
        ) from None
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8" if head.startswith(codecs.BOM_UTF8) else named


def _fix(code: str) -> str:
    if code != "utf-8":
        return " Set encoding to the one that it was written in, or save it as UTF-8."
    return (
        " Set encoding to the one that it was written in, such as windows-1252, or save it as UTF-8. If other lines "
        "are UTF-8, encodings are mixed: correct that line."
    )


def _arrow_error() -> type[Exception]:
    """Arrow's own error, of which some are no ValueErrors."""
    import pyarrow as pa

    return pa.ArrowException


@contextmanager
def _named(path: Path, kind: str) -> Iterator[None]:
    """Whatever a library says about a file becomes one error that names it."""
    try:
        yield
    except GistError:
        raise
    except RecursionError as error:
        raise DataError(f"{path} cannot be read as {kind}: it is nested too deeply. Is it the right file?") from error
    except (ValueError, OSError, EOFError, OverflowError, TypeError, LookupError, _arrow_error()) as error:
        why = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise DataError(f"{path} cannot be read as {kind}: {why[:500]}. Is it what its ending says?") from error
