"""Reads the structure of prose: title, headings and paragraphs of plain text, Markdown, reStructuredText and HTML.

Each reader goes over its text once, line by line or mark by mark, so that no input takes longer than its length says.
HTML is taken apart here because Python's `html.parser`, and beautifulsoup4 on top of it, takes time that grows with the
square of what an unclosed tag is followed by: "<a " written 8,000 times, 24 kB, takes both more than ten seconds.
Markdown and reStructuredText stay as they are written, for that is what a person, an LLM and a model read alike; only
their headings are understood, and of Markdown fences and comments, of reStructuredText what a directive hides.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class Block:
    """A paragraph, a list, a table, or a piece of code.

    Attributes:
        text: itself, its lines as they are.
        line: its first line, from 1; of a row of a table the row, of PDF the page.
        headings: those that it stands under, the outermost first, the document's title left out.
        is_code: a fence of Markdown, or what HTML calls preformatted.
    """

    text: str
    line: int
    headings: tuple[str, ...] = ()
    is_code: bool = False


LONGEST_HEADING = 500  # characters; what is longer is a paragraph, however it is marked: all below would repeat it


@dataclass
class Outline:
    """Blocks as they are read, each with the headings above it."""

    blocks: list[Block] = field(default_factory=list)
    _path: list[tuple[int, str]] = field(default_factory=list)
    _all: list[tuple[int, str]] = field(default_factory=list)
    _before: int = 0  # blocks before the first heading

    def heading(self, level: int, text: str, line: int) -> None:
        """A heading of this level, 1 being the outermost."""
        text = " ".join(text.split())
        if not text:
            return
        if len(text) > LONGEST_HEADING:
            self.block(text, line)
            return
        self._before = self._before if self._all else len(self.blocks)
        self._all.append((level, text))
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, text))

    def block(self, text: str, line: int, *, is_code: bool = False) -> None:
        """A block under the headings so far; one that is blank is left out."""
        text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
        if text.strip():
            path = tuple(heading for _, heading in self._path)
            self.blocks.append(Block(text=text, line=line, headings=path, is_code=is_code))

    def done(self, told: str = "", otherwise: str = "") -> tuple[str, list[Block]]:
        """The title and the blocks. The title is what was `told`, else the only heading of the highest level where it
        is the first one of all, else `otherwise`."""
        highest = min((level for level, _ in self._all), default=0)
        tops = [text for level, text in self._all if level == highest]
        own = self._all[0][1] if len(tops) == 1 and self._all[0][0] == highest and not self._before else None
        title = " ".join((told or own or otherwise).split())[:LONGEST_HEADING]
        if own is None or own.casefold() != title.casefold():
            return title, self.blocks
        return title, [b if b.headings[:1] != (own,) else replace(b, headings=b.headings[1:]) for b in self.blocks]


def plain_blocks(lines: Iterable[str], line: int | None = None) -> list[Block]:
    """Paragraphs, cut at empty lines. `line`: where all of them stand, else each has its own."""
    outline, held, begin = Outline(), [], 1
    for number, text in enumerate([*lines, ""], 1):
        if text.strip():
            begin = begin if held else number
            held.append(text)
        elif held:
            outline.block("\n".join(held), begin if line is None else line)
            held = []
    return outline.blocks


_FENCE = re.compile(r" {0,3}(`{3,}+(?!.*`)|~{3,}+)")
_LISTED = re.compile(r"\s*(?:[-*+>]|\d{1,9}[.)])(?:\s|$)")  # what a rule below does not make a heading of
_COMMENT = re.compile(r"<!--.*?(?:-->|$)")
_FRONT = 200  # lines that front matter may have
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()\s]{0,2000}\)")
_ANCHOR = re.compile(r"\{#[^{}]{0,200}\}$")


def markdown_blocks(lines: Sequence[str]) -> tuple[str, list[Block]]:
    """The title and the blocks of Markdown: headings with `#` or underlined, fences whole, comments left out."""
    told, begin = _front_matter(lines)
    reader = _Markdown()
    for number, line in enumerate(lines[begin:], begin + 1):
        reader.read(number, line)
    reader.flush()
    return reader.outline.done(told)


def _front_matter(lines: Sequence[str]) -> tuple[str, int]:
    """The title that the lines between two rules at the top tell, and where the text begins."""
    if not lines or lines[0].strip() != "---":
        return "", 0
    end = next((i for i, line in enumerate(lines[1:_FRONT], 1) if line.strip() in ("---", "...")), None)
    if end is None:
        return "", 0
    titles = [line[6:].strip().strip("\"'") for line in lines[1:end] if line.lower().startswith("title:")]
    return titles[0] if titles else "", end + 1


class _Markdown:
    """Reads Markdown line by line."""

    def __init__(self) -> None:
        self.outline = Outline()
        self._held: list[str] = []
        self._begin = 1
        self._fence = ""
        self._in_comment = False

    def read(self, number: int, line: str) -> None:
        """The next line."""
        if self._fence:
            self._in_fence(number, line)
        elif mark := None if self._in_comment else _FENCE.match(line):
            self.flush()
            self._fence = mark[1]
            self._hold(number, line)
        else:
            self._shown(number, self._without_comments(line))

    def _shown(self, number: int, line: str) -> None:
        """A line of text without comments."""
        if (level := _hashes(line)) > 0:
            self.flush()
            self.outline.heading(level, heading_text(line.strip().strip("#")), number)
        elif self._held and (level := _underline(line)) and not _LISTED.match(self._held[0]):
            title = " ".join(self._held)
            self._held = []
            self.outline.heading(level, heading_text(title), self._begin)
        elif line.strip():
            self._hold(number, line)
        else:
            self.flush()

    def _without_comments(self, line: str) -> str:
        """What a reader sees of a line; a comment may go on over several."""
        if self._in_comment:
            end = line.find("-->")
            if end < 0:
                return ""
            self._in_comment, line = False, line[end + 3 :]
        if "<!--" not in line:
            return line
        self._in_comment = line.rfind("<!--") > line.rfind("-->")
        return _COMMENT.sub("", line)

    def flush(self) -> None:
        """What is held is a block."""
        if self._held:
            self.outline.block("\n".join(self._held), self._begin, is_code=bool(self._fence))
        self._held, self._fence = [], ""

    def _hold(self, number: int, line: str) -> None:
        self._begin = self._begin if self._held else number
        self._held.append(line)

    def _in_fence(self, number: int, line: str) -> None:
        self._hold(number, line)
        own = line.strip()
        if len(own) >= len(self._fence) and not own.strip(self._fence[0]) and own:
            self.flush()


def _hashes(line: str) -> int:
    """The level of a heading that is marked by hashes, 0 where it is none."""
    own = line.lstrip(" ")
    level = len(own) - len(own.lstrip("#"))
    marked = 0 < level <= 6 and (len(own.rstrip()) == level or own[level] in " \t")
    return level if marked and len(line) - len(own) < 4 else 0


def _underline(line: str) -> int:
    own = line.strip()
    return 1 if own and not own.strip("=") else 2 if len(own) > 1 and not own.strip("-") else 0


def heading_text(text: str) -> str:
    """A heading of Markdown without its marks: links are their words."""
    text = _ANCHOR.sub("", _LINK.sub(r"\1", text.strip()))
    return text.replace("**", "").replace("`", "").strip(" *_")


_ADORNED = frozenset("=-`:'\"~^_*+#<>.")
_SILENT = ("toctree", "contents", "image", "figure", "index", "include", "only", "meta", "highlight", "currentmodule")
_DIRECTIVE = re.compile(r"\.\. (?:\|[^|]{0,100}\| )?([\w:-]{0,60})::")


def rst_blocks(lines: Sequence[str]) -> tuple[str, list[Block]]:
    """The title and the blocks of reStructuredText: sections by their adornments in the order in which these first
    come; comments, targets and directives that show no text are left out."""
    reader = _Rst()
    at = 0
    while at < len(lines):
        at = reader.read(lines, at)
    reader.flush()
    return reader.outline.done()


class _Rst:
    """Reads reStructuredText line by line."""

    def __init__(self) -> None:
        self.outline = Outline()
        self._styles: list[tuple[str, bool]] = []
        self._held: list[str] = []
        self._begin = 1
        self._hidden = False  # inside of what a directive hides

    def read(self, lines: Sequence[str], at: int) -> int:
        """Reads the line at this place; returns the place of the next one."""
        line = lines[at]
        if self._hidden and (not line.strip() or line[0] in " \t"):
            return at + 1
        self._hidden = False
        if not self._held and (behind := self._section_at(lines, at)):
            return behind
        if line.startswith(".. ") and _is_silent(line):
            self.flush()
            self._hidden = True
        elif line.strip():
            self._begin = self._begin if self._held else at + 1
            self._held.append(line)
        else:
            self.flush()
        return at + 1

    def flush(self) -> None:
        """What is held is a block."""
        if self._held:
            self.outline.block("\n".join(self._held), self._begin)
        self._held = []

    def _section_at(self, lines: Sequence[str], at: int) -> int:
        """The place behind a heading, or a transition, that begins here; 0 where none does."""
        line, below = lines[at], lines[at + 1] if at + 1 < len(lines) else ""
        if mark := _adornment(line):
            closes = at + 2 < len(lines) and _adornment(lines[at + 2]) == mark and bool(below.strip())
            if closes:
                self._section(mark, True, below, at + 2)
            return at + 3 if closes else at + 1
        is_title = bool(line.strip()) and line[0] not in " \t"
        if not is_title or not _adornment(below) or len(below.rstrip()) < min(len(line.rstrip()), 4):
            return 0
        self._section(_adornment(below), False, line, at + 1)
        return at + 2

    def _section(self, mark: str, over: bool, title: str, line: int) -> None:
        if (mark, over) not in self._styles:
            self._styles.append((mark, over))
        self.outline.heading(self._styles.index((mark, over)) + 1, title.replace("``", "").strip(), line)


def _adornment(line: str) -> str:
    """The character that the whole line repeats, "" where it is no adornment."""
    own = line.rstrip()
    return own[0] if len(own) >= 3 and own[0] in _ADORNED and not own.strip(own[0]) else ""


def _is_silent(line: str) -> bool:
    """Does a line that opens with two dots hide what follows: a comment, a target, or a directive without text?"""
    found = _DIRECTIVE.match(line)
    return found is None or found[1] in _SILENT


_TAG = re.compile(r"</?([a-zA-Z][^\s/>]{0,100})")
_RAW = frozenset(("script", "style", "textarea", "xmp", "noembed"))
_UNSHOWN = frozenset(("head", "nav", "footer", "aside", "noscript", "template", "svg", "button", "select", "iframe"))
_PARTS = frozenset((
    "p", "div", "section", "article", "main", "header", "ul", "ol", "dl", "table", "blockquote", "pre", "figure",
    "form", "hr", "body", "details", "summary", "figcaption", "fieldset", "address",
))  # fmt: skip
_LINES = frozenset(("br", "li", "tr", "dt", "dd"))
_CELLS = frozenset(("td", "th"))
_CHARSET = re.compile(
    rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?([\w:.-]{1,40})|<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w:.-]{1,40})",
    re.IGNORECASE,
)
_NO_CHARSETS = ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "unicode-escape")  # of Python
_LATIN = ("ascii", "iso8859-1")  # read as windows-1252, as every browser does
_QUOTED = 2000  # characters of a tag in which a bracket in quotes does not end it
_ATTRIBUTES = re.compile(r"(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+>")


def html_charset(head: bytes) -> str | None:
    """The encoding that a page says it has, in its first bytes, as browsers take it; None where it is none of texts, or
    one in which these bytes would not say so (UTF-16)."""
    found = _CHARSET.search(head[:4096])
    told = (found[1] or found[2]).decode("ascii", "ignore").lower() if found else ""
    try:
        name = codecs.lookup(told).name
    except (LookupError, ValueError):
        return None
    if told in _NO_CHARSETS or name.startswith(("utf-7", "utf-16", "utf-32")):
        return None
    return "cp1252" if name in _LATIN else name


def html_blocks(text: str) -> tuple[str, list[Block]]:
    """The title and the blocks of a page. What stands in menus, footers, scripts and the like is left out, unless
    nothing else is there (a mark that is never closed)."""
    title, blocks = _Page(text, _UNSHOWN).read()
    return (title, blocks) if blocks else _Page(text, frozenset({"head"})).read()


class _Page:
    """Reads a page mark by mark."""

    def __init__(self, text: str, unshown: frozenset[str]) -> None:
        self._text, self._unshown = text, unshown
        self.outline = Outline()
        self._title: list[str] = []
        self._held: list[str] = []
        self._hidden: list[str] = []
        self._in_title = self._in_pre = self._has_begun = self._has_body = False
        self._heading = 0
        self._line, self._counted, self._begin = 1, 0, 1

    def read(self) -> tuple[str, list[Block]]:
        """The whole page."""
        text, at = self._text, 0
        while at < len(text):
            mark = text.find("<", at)
            self._words(text[at : mark if mark >= 0 else len(text)], at)
            if mark < 0:
                break
            at = self._mark(mark)
        self._flush()
        return self.outline.done("", html.unescape("".join(self._title)))

    def _mark(self, at: int) -> int:
        """Reads the mark that begins here; returns where it ends."""
        text = self._text
        if text.startswith("<!--", at):
            return _after(text, "-->", at + 4)
        if text.startswith(("<!", "<?"), at):
            return _after(text, ">", at)
        tag = _TAG.match(text, at)
        if tag is None:
            self._words("<", at)
            return at + 1
        name, closes = tag[1].lower(), text[at + 1] == "/"
        end = _end_of_tag(text, tag.end())
        if name in _RAW and not closes:
            close = re.compile(f"</{name}", re.IGNORECASE).search(text, end)
            return _after(text, ">", close.end()) if close else len(text)
        self._tag(name, closes)
        return end

    def _tag(self, name: str, closes: bool) -> None:
        if name == "title" and not self._title:
            self._in_title = not closes
        self._in_title = self._in_title and name == "title"
        if name == "body" and not self._has_body:
            self._has_body = True  # once: a page may write it a million times
            self._hidden = [other for other in self._hidden if other != "head"]
        if name in self._unshown:
            self._hide(name, closes)
        elif not self._hidden:
            self._shown(name, closes)

    def _hide(self, name: str, closes: bool) -> None:
        if not closes:
            self._flush()
            self._hidden.append(name)
        elif name in self._hidden[-20:]:  # what was left open inside ends with it
            while self._hidden.pop() != name:
                pass

    def _shown(self, name: str, closes: bool) -> None:
        if len(name) == 2 and name[0] == "h" and name[1] in "123456":
            self._flush()
            self._heading = 0 if closes else int(name[1])
        elif name in _PARTS:
            self._flush()
            self._in_pre = name == "pre" and not closes
        elif name in _LINES:
            self._held.append("\n")
        elif name in _CELLS and not closes and self._held and not self._held[-1].endswith("\n"):
            self._held.append(" | ")

    def _words(self, text: str, at: int) -> None:
        if self._in_title:
            self._title.append(text)
        elif text and not self._hidden:
            if not self._has_begun and not text.isspace():
                first = at + len(text) - len(text.lstrip())
                self._line += self._text.count("\n", self._counted, first)
                self._counted, self._begin, self._has_begun = first, self._line, True
            self._held.append(text if self._in_pre else re.sub(r"\s+", " ", text))

    def _flush(self) -> None:
        """What is held is a heading or a block."""
        text = html.unescape("".join(self._held))
        self._held, self._has_begun = [], False
        if self._heading:
            self.outline.heading(self._heading, text, self._begin)
            self._heading = 0
            return
        if not self._in_pre:
            text = "\n".join(line for part in text.split("\n") if (line := " ".join(part.split())))
        self.outline.block(text, self._begin, is_code=self._in_pre)


def _after(text: str, mark: str, at: int) -> int:
    """The place behind the next mark, or the end."""
    found = text.find(mark, at)
    return found + len(mark) if found >= 0 else len(text)


def _end_of_tag(text: str, at: int) -> int:
    """The place behind a tag; a bracket in quotes does not end it."""
    found = _ATTRIBUTES.match(text, at, at + _QUOTED)
    return found.end() if found else _after(text, ">", at)
