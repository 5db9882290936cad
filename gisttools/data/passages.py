"""Reads what a folder of texts says, passage by passage, with where each stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gisttools.common import DataError, MissingError, problems
from gisttools.data.columns import TEXT_COLUMNS, find_column
from gisttools.data.files import FILE_ENDINGS, RowFile, file_kind, is_lines, read_lines

_PROSE = (".txt", ".md", ".rst")


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A paragraph of a document, or a row of a table.

    Attributes:
        text: itself.
        file: where it stands.
        line: its first line, or its row, from 1.
    """

    text: str
    file: Path
    line: int


def read_passages(place: str | Path, column: str | None = None) -> list[Passage]:
    """All passages of a file, or of all files of a folder and those below it, in the order of their names.

    Text, Markdown and reStructuredText are cut at empty lines; of tables each row's text is one.

    Args:
        place: a file or a folder.
        column: of tables, where it is not one of the usual names.

    Raises:
        MissingError: there is nothing at this place.
        DataError: no file there holds passages, or a table has no such column; all problems at once.
    """
    place = Path(place)
    if not place.exists():
        raise MissingError(f"There is no file and no folder {place}.")
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    known = [file for file in files if _is_prose(file) or file_kind(file.name)]
    if not known:
        raise DataError(f"{place} holds no file of the kinds {', '.join((*_PROSE, *FILE_ENDINGS))}.")
    found: list[Passage] = []
    wrong: list[str] = []
    for file in known:
        if _is_prose(file):
            found += _paragraphs(file)
            continue
        with RowFile(file) as rows:
            name = column if column in rows.columns else find_column(rows.columns, TEXT_COLUMNS) if not column else None
            if name is None:
                wrong.append(f"{file}: columns found: {', '.join(map(str, rows.columns))}. Which one is the text?")
                continue
            texts = (text for part in rows.parts([name]) for text in part[name])
            found += [Passage(text=str(text), file=file, line=i) for i, text in enumerate(texts, 1) if text]
    if wrong:
        raise DataError(problems(f"{place}: {len(wrong)} problem(s)", wrong, "Name the column of the texts."))
    return found


def _is_prose(file: Path) -> bool:
    return file.suffix.lower() in _PROSE or is_lines(file.name)


def _paragraphs(file: Path) -> Iterator[Passage]:
    held: list[str] = []
    begin = 1
    for number, line in enumerate([*read_lines(file), ""], 1):
        if line.strip():
            begin = begin if held else number
            held.append(re.sub(r"\s+", " ", line.strip()))
        elif held:
            yield Passage(text=" ".join(held), file=file, line=begin)
            held = []
