"""Files of rows, read a part at a time: CSV, TSV, JSONL, a JSON array or Parquet; what is wrong with one is told.

All but Parquet may be compressed (`.gz`, `.zst`). Text is UTF-8, or UTF-16 if it opens with that mark (BOM), or what
`encoding` says; nothing is guessed, for a wrong guess spoils texts without a word. CSV cells stay the strings they
are: `NA`, `null` and `007` are texts and labels like any other.

Rows of JSON, one after the other: a file of lines (JSONL) or one array, told apart by how it begins.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gisttools.common import DataError, GistError, MissingError, ParameterError, did_you_mean, problems

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


_PLAIN = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
FILE_ENDINGS = (*_PLAIN, *(f"{kind}{packed}" for kind in _PLAIN[:-1] for packed in _COMPRESSIONS))
_ROWS = 10_000  # of a part
_FIRST = 1000  # rows of JSON that tell the columns
_BLOCK = 1 << 20  # bytes read at a time; of CSV eight times as many, for a row must fit
_MAGIC = (
    (b"PAR1", "a Parquet file", "Name it .parquet"),
    (b"PK\x03\x04", "a ZIP archive (or an Office document, which is one)", "Unpack it, or save its sheet as CSV"),
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


def column_names(path: str | Path, encoding: str | None = None) -> list[str]:
    """The columns of a file; of JSON, those of its first thousand rows.

    Raises:
        MissingError: there is no such file.
        DataError: the file is not what its ending says, or not in that encoding.
        ParameterError: there is no such encoding.
    """
    path = Path(path)
    kind = _kind(path)
    with _told(path, kind):
        if kind == ".parquet":
            import pyarrow.parquet as pq

            _check_head(path, kind)
            return pq.read_schema(path).names
        code = _check_encoding(path, kind, encoding)
        if kind in (".csv", ".tsv"):
            return _header(path, kind, code)
        rows = itertools.islice(_json_rows(path, code), _FIRST)
        return list(dict.fromkeys(name for row in rows for name in row))


def read_parts(path: str | Path, columns: Sequence[str], encoding: str | None = None) -> Iterator[dict[str, list]]:
    """A file's rows in order, some thousands at a time: column -> values. Other columns are not kept.

    Args:
        path: its ending is one of `FILE_ENDINGS`.
        columns: names from `column_names`; JSON rows that lack one have None there.
        encoding: a codec of Python (`windows-1252`, `latin-1`, `shift_jis`) for text that is not UTF-8 and has no
            mark in front.

    Raises:
        MissingError, DataError, ParameterError: as `column_names`; also where a later row is broken.
    """
    path, columns = Path(path), list(dict.fromkeys(columns))
    kind = _kind(path)
    with _told(path, kind):
        if kind == ".parquet":
            import pyarrow.parquet as pq

            _check_head(path, kind)
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
                    yield {name: batch.column(name).to_pylist() for name in columns}
            return
        code = _check_encoding(path, kind, encoding)
        if kind in (".csv", ".tsv"):
            _header(path, kind, code)
            for batch in _open_csv(path, kind, code, columns):
                yield {name: batch.column(name).to_pylist() for name in columns}
            return
        rows = _json_rows(path, code)
        while part := list(itertools.islice(rows, _ROWS)):
            yield {name: [row.get(name) for row in part] for name in columns}


def _kind(path: Path) -> str:
    kind = file_kind(path)
    if not path.exists():
        raise MissingError(f"There is no file {path}. Name a file, a folder with train.jsonl, or an MTEB task.")
    if kind is None:
        raise DataError(f"{path}: unknown ending {path.suffix!r}. Use one of {', '.join(FILE_ENDINGS)}.")
    return kind


@contextmanager
def _told(path: Path, kind: str) -> Iterator[None]:
    """Whatever a library says about a file becomes one error that names it."""
    try:
        yield
    except GistError:
        raise
    except (ValueError, OSError, EOFError) as error:  # Arrow's and JSON's errors are ValueErrors
        why = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        if "straddling" in why:
            why = "a row is longer than 8 MB. Is a quote never closed"
        if "Expected" in why and "columns, got" in why:
            why += ". Rows have more or fewer fields than the header. Quote texts that hold a separator or a line end"
        raise DataError(f"{path} cannot be read as {kind[1:]}: {why[:500]}. Is it what its ending says?") from error


def _open_bytes(path: Path):
    """The file's bytes, unpacked."""
    import pyarrow as pa

    packed = _COMPRESSIONS.get(path.suffix.lower())
    return io.BufferedReader(pa.input_stream(str(path), compression=packed), _BLOCK) if packed else open(path, "rb")


def _check_head(path: Path, kind: str) -> bytes:
    with _open_bytes(path) as file:
        head = file.read(64)
    found = next(((what, mend) for magic, what, mend in _MAGIC if head.startswith(magic)), None)
    if found is None and head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        found = "a web page (or XML)", "Download the file itself, not the page that shows it"
    if found and not (kind == ".parquet" and head.startswith(b"PAR1")):
        raise DataError(f"{path} cannot be read as {kind[1:]}: it is {found[0]}. {found[1]}.")
    return head


def _check_encoding(path: Path, kind: str, encoding: str | None) -> str:
    """The codec to read with, after every byte was seen to fit it."""
    head = _check_head(path, kind)
    code = _codec(encoding)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        code = "utf-16"
    elif head.startswith(codecs.BOM_UTF8):
        code = "utf-8"
    decoder = codecs.getincrementaldecoder(code)()
    try:
        with _open_bytes(path) as file:
            while block := file.read(_BLOCK):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise DataError(f"{path} is not {code.upper()}: {_first_bad(path, code) or error}.{_mend(code)}") from error
    return code


def _codec(encoding: str | None) -> str:
    try:
        return codecs.lookup(encoding or "utf-8").name
    except LookupError:
        usual = ("utf-8", "utf-16", "windows-1252", "latin-1", "iso-8859-15", "shift_jis", "gb18030", "koi8-r")
        raise ParameterError(
            f"encoding is {encoding!r}, which is no encoding known here.{did_you_mean(str(encoding), usual)} "
            f"Usual ones: {', '.join(usual)}; None for UTF-8."
        ) from None


def _first_bad(path: Path, code: str) -> str | None:
    if code.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        return None  # a line end is no single byte there
    with _open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(code)
            except UnicodeDecodeError as error:
                return f"line {number} holds the byte 0x{line[error.start]:02x} after {error.start} bytes"
    return None


def _mend(code: str) -> str:
    if code != "utf-8":
        return " Set encoding to the one that it was written in, or save it as UTF-8."
    return (
        " Set encoding to the one that it was written in, such as windows-1252, or save it as UTF-8. If other lines "
        "are UTF-8, encodings are mixed: mend that line."
    )


def _open_utf8(path: Path, code: str):
    """The file's bytes, unpacked and as UTF-8."""
    import pyarrow as pa

    file = pa.input_stream(str(path), compression=_COMPRESSIONS.get(path.suffix.lower()))
    return file if code == "utf-8" else pa.transcoding_input_stream(file, code, "utf-8")


def _open_csv(path: Path, kind: str, code: str, columns: Sequence[str] | None = None):
    """A reader of record batches; `columns` are read as strings."""
    import pyarrow as pa
    from pyarrow import csv

    return csv.open_csv(
        _open_utf8(path, code),
        read_options=csv.ReadOptions(block_size=8 * _BLOCK, use_threads=False),
        parse_options=csv.ParseOptions(delimiter="\t" if kind == ".tsv" else ",", newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns or (), pa.string()),
            strings_can_be_null=False,
        ),
    )


def _header(path: Path, kind: str, code: str) -> list[str]:
    names = _open_csv(path, kind, code).schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names {', '.join(twice)} more than once. Rename one of them.")
    return names


def _json_rows(path: Path, code: str) -> Iterator[dict]:
    with io.BufferedReader(_open_utf8(path, code), _BLOCK) as file:
        yield from json_rows(file, path, _BLOCK)
