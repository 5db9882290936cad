"""Reads documents: prose (text, Markdown, reStructuredText, HTML, PDF) file by file, tables row by row.

A folder is read with all below it; what begins with a dot is not looked at. A file that cannot be read, or that holds
no text, is left out by name with its reason: one broken file does not keep a thousand others from being read.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from gisttools.common import DataError, GistError, MissingError, ParameterError, first_line, plural, problems
from gisttools.data.characters import cleaned, is_blank
from gisttools.data.columns import TEXT_COLUMNS, find_column
from gisttools.data.files import FILE_ENDINGS, LINE_ENDINGS, RowFile, code_of, file_kind, plain_name, read_lines
from gisttools.data.structure import Block, html_blocks, html_charset, markdown_blocks, plain_blocks, rst_blocks

log = logging.getLogger(__name__)
Parts = tuple[str, list[Block]]  # title and blocks
LARGEST = 64 << 20  # bytes of a file of prose, unpacked
_MARKDOWN, _PAGES = (".md", ".markdown"), (".html", ".htm", ".xhtml")
PROSE_ENDINGS = (*LINE_ENDINGS, *_MARKDOWN, ".rst", *_PAGES, ".pdf")
_PACKED = {".gz": "gzip", ".zst": "zstd"}
_TITLE_COLUMNS, _ID_COLUMNS = ("title",), ("_id", "id", "doc_id", "docid")
_SHOWN = 5
_LONGEST_REASON = 400  # characters
_UNKNOWN = "of a kind that is not read"
_LINK = "a link that leads out of the folder"
# a picture, written into the text: megabytes that say nothing
_PICTURE = re.compile(r"(data:[\w.+-]{1,50}/[\w.+-]{1,50}(?:;[\w.=-]{1,50}){0,5};base64,)[A-Za-z0-9+/=%]++")
# what ids do not hold, for files of them are read by lines and tabs; and a space at either end
_ESCAPED = re.compile(r'[\x00-\x1f\x7f"\u0085\u2028\u2029]|^\s|\s$')
_FEWEST_PAGES = 3  # of which the first and last lines are compared
INSTALL_PDF = 'pip install "gisttools[pdf]"'


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file of prose, or a row of a table.

    Attributes:
        id: the file's path below the folder that was read, as `guide/keys.md`; of a row `faq.csv:7` behind it, by the
            row's id where the table has one that never repeats, else by its number from 1.
        title: "" where it has none.
        file: where it stands.
        blocks: its paragraphs, in order, with the headings above each.
        place: what a block's `line` counts: "line", "row" or "page".
        verbatim: lines of a block are lines of the file.
    """

    id: str
    title: str
    file: Path
    blocks: tuple[Block, ...]
    place: str = "line"
    verbatim: bool = False

    @property
    def text(self) -> str:
        """Headings and paragraphs, one after the other."""
        parts: list[str] = []
        before: tuple[str, ...] = ()
        for block in self.blocks:
            parts += [h for i, h in enumerate(block.headings, 1) if block.headings[:i] != before[:i]]
            parts.append(block.text)
            before = block.headings
        return "\n\n".join(parts)


@dataclass(frozen=True, kw_only=True)
class Documents(Sequence[Document]):
    """What a file or a folder holds.

    Attributes:
        documents: in the order of their files' names, then of rows.
        left_out: why, by the file's path below the folder; also of files of which only some rows were left out.
    """

    documents: tuple[Document, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, place: int) -> Document:  # type: ignore[override]
        return self.documents[place]

    def __len__(self) -> int:
        return len(self.documents)

    def told(self) -> list[str]:
        """One line for each reason to leave something out, with its first files."""
        return _by_reason(self.left_out)


def read_documents(
    place: str | Path, *, column: str | None = None, encoding: str | None = None, strict: bool = False
) -> Documents:
    """All documents of a file, or of a folder and those below it.

    Args:
        place: a file or a folder.
        column: of tables, which one holds the text, where it is none of the usual names.
        encoding: of text that is not UTF-8 and does not say what it is, such as cp1252.
        strict: refuse what would be left out.

    Raises:
        MissingError: there is nothing at this place.
        DataError: no file there is of a kind that is read, or none of them can be; or, where `strict`, anything was
            left out but files of other kinds. All problems at once.
        ParameterError: there is no such encoding.
    """
    place = Path(place).expanduser()
    if not os.path.exists(place):  # pathlib raises where a folder above is shut
        raise MissingError(f"There is no file and no folder {place}, or it may not be read.")
    code_of(b"", encoding)
    root = place if place.is_dir() else place.parent
    left_out: dict[str, str] = {}
    files = list(_files(place, left_out))
    left_out |= {_name(file, root): _UNKNOWN for file in files if not _is_read(file)}
    if not any(map(_is_read, files)):
        raise DataError(f"{place} holds no file of the kinds {', '.join((*PROSE_ENDINGS, *FILE_ENDINGS))}.")
    found: list[Document] = []
    for file in filter(_is_read, files):
        documents, why = _read(file, root, column, encoding)
        found += documents
        if why:
            left_out[_name(file, root)] = why
    wrong = _by_reason({name: why for name, why in left_out.items() if why != _UNKNOWN})
    if not found or (strict and wrong):
        fix = "Correct these files, or take them out of the folder. The column of the texts can be named."
        raise DataError(problems(f"{place}: {len(wrong)} problem(s)", wrong, fix))
    if left_out:
        log.warning("%s: left out of %s: %s", place, plural(len(files), "file"), "; ".join(_by_reason(left_out)))
    return Documents(documents=tuple(found), left_out=left_out)


def _by_reason(left_out: Mapping[str, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, why in left_out.items():
        by_reason.setdefault(why, []).append(name)
    return [f"{_some(names)}: {why}" for why, names in by_reason.items()]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _files(place: Path, left_out: dict[str, str]) -> Iterator[Path]:
    """The files below, by name; hidden ones are not looked at, folders that are not entered are told in `left_out`."""
    if place.is_file():
        yield place
        return

    def refused(error: OSError) -> None:
        left_out[_name(Path(error.filename), place)] = _why(error, Path(error.filename))

    found: list[Path] = []
    for folder, folders, names in os.walk(place, onerror=refused):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for link in (own for name in folders if (own := Path(folder, name)).is_symlink()):
            left_out[_name(link, place)] = "a link to a folder, which is not followed"
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    for file in sorted(found):
        try:
            if file.is_file():
                yield file
            else:
                left_out[_name(file, place)] = "a link to nothing, or no file (a pipe, a socket)"
        except OSError as error:
            left_out[_name(file, place)] = _why(error, file)


def _is_read(file: Path) -> bool:
    return file.name.lower().endswith(PROSE_ENDINGS) or file_kind(file) is not None


def _name(file: Path, root: Path) -> str:
    """The path below the folder, as an id."""
    return _as_id(file.relative_to(root).as_posix())


def _as_id(name: str) -> str:
    """Bytes that are no UTF-8 stay apart; what would end a field or a line of a table is written as in addresses."""
    plain = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", plain)


def _read(file: Path, root: Path, column: str | None, encoding: str | None) -> tuple[list[Document], str]:
    """The documents of a file, and what was left out of it and why ("" for nothing)."""
    if file.is_symlink() and not file.resolve().is_relative_to(root.resolve()):
        return [], _LINK
    try:
        if file_kind(file):
            _check_size(file, packed_only=True)
            return _rows(file, _name(file, root), column, _encoding_of(file, encoding))
        _check_size(file)
        title, blocks = _prose(file, _encoding_of(file, encoding))
    except ParameterError:
        raise
    except (GistError, OSError, RecursionError, zipfile.BadZipFile) as error:
        return [], _why(error, file)
    blocks = [kept for block in blocks if (kept := _sound(block)) is not None]
    if not blocks:
        return [], "no text"
    name = file.name.lower()
    is_pdf = name.endswith(".pdf")
    document = Document(
        id=_name(file, root),
        title=_encodable(title),
        file=file,
        blocks=tuple(blocks),
        place="page" if is_pdf else "line",
        verbatim=not is_pdf and not name.endswith(_PAGES),
    )
    return [document], ""


def _why(error: Exception, file: Path) -> str:
    """What is wrong, without the file's name, which stands in front of it already."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, PermissionError):
        return "may not be read by this user"
    return re.sub(rf"^{re.escape(str(file))}:? ?", "", " ".join(str(error).split())[:_LONGEST_REASON])


def _check_size(file: Path, *, packed_only: bool = False) -> None:
    """Raises DataError where a file is larger than `LARGEST`, unpacked; tables that are not packed may be."""
    if file.suffix.lower() in _PACKED:
        too_large = _unpacked(file) > LARGEST
    elif zipfile.is_zipfile(file):  # a workbook
        with zipfile.ZipFile(file) as book:
            too_large = sum(part.file_size for part in book.infolist()) > LARGEST
    else:
        too_large = not packed_only and file.stat().st_size > LARGEST
    if too_large:
        raise DataError(f"{file}: larger than {LARGEST >> 20} MB. Split it, or leave it out")


def _unpacked(file: Path) -> int:
    """Bytes of a compressed file, counted up to a little more than `LARGEST`: a small file may unpack without end."""
    size = 0
    for part in _parts(file):
        size += len(part)
        if size > LARGEST:
            break
    return size


def _parts(file: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(file)) as raw, pa.input_stream(raw, _PACKED.get(file.suffix.lower())) as stream:
            while part := stream.read(1 << 20):
                yield part
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: {first_line(error)}") from error


def _encoding_of(file: Path, told: str | None) -> str | None:
    """The encoding that was told, for a file that is not UTF-8: one that is would be read wrongly without a word."""
    if told is None or file_kind(file) in (".parquet", ".xlsx"):
        return None
    try:
        decoder = codecs.getincrementaldecoder("utf-8")()
        for part in _parts(file):
            decoder.decode(part)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return told
    return None


def _prose(file: Path, encoding: str | None) -> Parts:
    name = file.name.lower()
    if name.endswith(".pdf"):
        return _pdf(file)
    if name.endswith(_PAGES):
        return html_blocks(_decoded(file, encoding))
    lines = list(read_lines(file, encoding))
    if name.endswith(_MARKDOWN):
        return markdown_blocks(lines)
    return rst_blocks(lines) if name.endswith(".rst") else ("", plain_blocks(lines))


def _decoded(file: Path, encoding: str | None) -> str:
    """The text of a page: by the mark in front, by what it says itself, else by `encoding`, else UTF-8."""
    raw = file.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    if b"\0" in raw[:4096]:
        raise DataError(f"{file}: holds bytes that are no text")
    if raw.startswith(b"\xef\xbb\xbf"):
        return raw[3:].decode("utf-8", "replace")
    for code in (html_charset(raw), encoding, "utf-8"):
        try:
            return raw.decode(code or "utf-8")
        except (LookupError, ValueError):  # no such encoding, one of bytes to bytes, or another one
            continue
    raise DataError(f"{file}: neither what it says nor UTF-8. Set encoding to the one that it was written in")


def _sound(block: Block) -> Block | None:
    """The block without what nobody sees; None where nothing is left."""
    text = _encodable(cleaned(_PICTURE.sub(r"\1", block.text.replace("\0", ""))))
    return None if is_blank(text) else replace(block, text=text, headings=tuple(map(_encodable, block.headings)))


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


class _Row(NamedTuple):
    number: int
    text: str
    title: str
    own: str | None  # its id


def _rows(file: Path, name: str, column: str | None, encoding: str | None) -> tuple[list[Document], str]:
    """A document for each row that has a text, and how many have none."""
    with RowFile(file, encoding) as table:
        found = find_column(table.columns, (column.lower(),) if column else TEXT_COLUMNS)
        if found is None:
            return [], f"columns found: {', '.join(map(str, table.columns)) or 'none'}. Which one is the text?"
        title = find_column([c for c in table.columns if c != found], _TITLE_COLUMNS)
        own = find_column(table.columns, _ID_COLUMNS)
        rows: list[_Row] = []
        bare: list[int] = []
        for part in table.parts([c for c in (found, title, own) if c is not None]):
            titles, ids = (part[c] if c else [None] * len(part[found]) for c in (title, own))
            for text, head, key in zip(part[found], titles, ids, strict=True):
                number = len(rows) + len(bare) + 1
                if isinstance(text, str) and not is_blank(text):
                    rows.append(_Row(number, text, head if isinstance(head, str) else "", _own_name(key)))
                else:
                    bare.append(number)
    why = f"{plural(len(bare), 'row')} without text ({_some([str(row) for row in bare])})" if bare else ""
    return _documents(file, name, rows), why or ("" if rows else "no text")


def _own_name(cell: object) -> str | None:
    """An id as a string; None for what is none."""
    return plain_name(cell) if isinstance(cell, str | int) and not isinstance(cell, bool) else None


def _documents(file: Path, name: str, rows: Sequence[_Row]) -> list[Document]:
    ids = Counter(row.own for row in rows)
    by_id = not ids[None] and max(ids.values(), default=0) < 2
    found = []
    for row in rows:
        blocks = [kept for b in plain_blocks(row.text.split("\n"), row.number) if (kept := _sound(b)) is not None]
        key = _as_id(str(row.own)) if by_id else str(row.number)
        title = _encodable(" ".join(row.title.split()))
        document = Document(id=f"{name}:{key}", title=title, file=file, blocks=tuple(blocks), place="row")
        found += [document] if blocks else []
    return found


def _pdf(file: Path) -> Parts:
    """The pages' text, without lines that open or close most pages (running heads, page numbers)."""
    try:
        from pypdf import PdfReader
    except ImportError:
        raise MissingError(f"{file}: PDF needs the package pypdf. Install it: {INSTALL_PDF}") from None
    try:
        reader = PdfReader(str(file))
        title = str((reader.metadata.title if reader.metadata else "") or "")
        pages = [page.extract_text() or "" for page in reader.pages]
    except Exception as error:  # pypdf lets through whatever a broken file brings about
        raise DataError(f"{file}: cannot be read as PDF: {first_line(error)}") from error
    if not any(page.strip() for page in pages):
        raise DataError(f"{file}: no text: its pages may be pictures, which need to be recognised (OCR) first")
    blocks: list[Block] = []
    for number, lines in enumerate(_without_running_heads([page.split("\n") for page in pages]), 1):
        blocks += plain_blocks(lines, number)
    return title, blocks


def _without_running_heads(pages: Sequence[list[str]]) -> Sequence[list[str]]:
    """Pages without their first and last line where it opens or closes half of them, numbers aside."""
    if len(pages) < _FEWEST_PAGES:
        return pages
    kept = pages
    for end in (0, -1):
        heads = Counter(_masked(filled[end]) for lines in kept if (filled := [x for x in lines if x.strip()]))
        usual = {head for head, n in heads.items() if n >= max(_FEWEST_PAGES, len(pages) / 2)}
        kept = [_without(lines, end, usual) for lines in kept]
    return kept


def _without(lines: list[str], end: int, heads: set[str]) -> list[str]:
    filled = [place for place, line in enumerate(lines) if line.strip()]
    if len(filled) < 2 or _masked(lines[filled[end]]) not in heads:
        return lines
    return [line for place, line in enumerate(lines) if place != filled[end]]


def _masked(line: str) -> str:
    return re.sub(r"\d+", "#", " ".join(line.split()))
