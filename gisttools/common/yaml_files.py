"""Reads YAML, whoever wrote it: one reader for task descriptions, prompts, recipes and parameters, that cannot hang.

What YAML takes without a word is refused: a key that stands twice (the last one would win), and aliases that unfold to
many times the file's size, such as ten lines of ten aliases each, which would be ten thousand million texts.
"""

from __future__ import annotations

import codecs
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gisttools.common.errors import DataError, MissingError, problems

if TYPE_CHECKING:
    from yaml import MappingNode, Node, SafeLoader

_TIMES = 10  # a file may unfold to so many times its size ...
_FREE = 100_000  # ... and to so many characters more
_DEEPEST = 100  # lists and mappings within one another


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds: UTF-8, or UTF-16 with its mark.

    Raises:
        MissingError: there is no such file.
        DataError: as `parse_yaml`; also where the file is in another encoding.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"There is no file {path}.")
    return parse_yaml(decoded(path.read_bytes(), path), path)


def decoded(raw: bytes, path: str | Path) -> str:
    """A text file's content, with line ends of one kind; its mark tells UTF-16, all else is UTF-8.

    Raises:
        DataError: it is in another encoding; the line is told.
    """
    is_wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = "" if is_wide else f": line {line} holds the byte 0x{raw[error.start]:02x}"
        code = "UTF-16, as its first bytes say" if is_wide else "UTF-8"
        raise DataError(f"{path} is not {code}{byte}. Save it as UTF-8.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_yaml(text: str, where: str | Path) -> Any:
    """What a text in YAML stands for.

    Args:
        text: one document.
        where: the file's name, or what else the text is called in errors.

    Raises:
        DataError: it is no YAML, a key stands twice, aliases unfold to too much, or it is nested too deeply; with the
            line, and of keys all of them at once.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _refuse_unfolding(node, where)
            _refuse_repeated_keys(loader, node, where)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise DataError(f"{where} is nested too deeply to be read. Is it the right file?") from None
    except yaml.YAMLError as error:
        fix = "Quote texts that hold a colon or a #."
        raise DataError(f"{where} is not YAML: {_said(error)}. {fix}") from error
    except (ValueError, ArithmeticError, TypeError, AttributeError, LookupError) as error:
        # of a scalar that looks like a date or a number and is none, such as 2024-13-45 or !!int x
        raise DataError(f"{where} is not YAML: {error}. Put such values in quotes.") from error


def first_lines(text: str) -> dict[str, int]:
    """The line, counted from 1, in which the text of each key of a document begins; of a block (`key: |`) the line
    below. Of a document that `parse_yaml` takes, and whose top is a mapping."""
    import yaml

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    blocks = ("|", ">")
    return {key.value: v.start_mark.line + 1 + (getattr(v, "style", None) in blocks) for key, v in node.value}


def _children(node: Node) -> Iterator[Node]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _refuse_unfolding(node: Node, where: str | Path) -> None:
    """Aliases are one node that several others hold: what it unfolds to is told by sizes alone, without unfolding."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def own(node: Node) -> int:
        return 1 + len(node.value) if isinstance(node.value, str) else 1

    def size(node: Node) -> int:
        if id(node) in open_:
            raise DataError(
                f"{where}, line {node.start_mark.line + 1}: an alias stands inside of what it names, without an end. "
                "Write the content out."
            )
        if id(node) not in sizes:
            if len(open_) >= _DEEPEST:
                raise RecursionError
            open_.add(id(node))
            sizes[id(node)] = own(node) + sum(map(size, _children(node)))
            open_.remove(id(node))
            written.append(own(node))
        return sizes[id(node)]

    written: list[int] = []
    whole = size(node)
    if whole > _TIMES * sum(written) + _FREE:
        raise DataError(
            f"{where}: its aliases (*name) unfold to {whole:,} characters, of {sum(written):,} that are written. Write "
            "out what is meant."
        )


def _refuse_repeated_keys(loader: SafeLoader, top: Node, where: str | Path) -> None:
    import yaml

    found: dict[int, str] = {}
    waiting, seen = [top], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            found |= _repeated(loader, node)
        waiting += _children(node)
    if found:
        lines = [found[line] for line in sorted(found)]
        title = f"{where}: {len(lines)} key(s) stand more than once, of which only the last would count"
        raise DataError(problems(title, lines, "Leave one of each, or rename the other."))


def _repeated(loader: SafeLoader, node: MappingNode) -> dict[int, str]:
    """By its line, each key of a mapping that stands in it before."""
    first: dict[Hashable, Node] = {}
    found = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.tag.endswith(":merge") or not isinstance(key.value, str):
            continue  # `<<` is no key, and of lists and mappings the constructor says that they are none
        name = loader.construct_object(key)
        before = first.setdefault((type(name), name), key)
        if before is not key:
            found[line] = f"line {line}: {key.value!r:.80} stands already in line {before.start_mark.line + 1}"
    return found


def _said(error: Exception) -> str:
    """What PyYAML says, with the line, in one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return " ".join(f"{place}{context + ', ' if context else ''}{said}".split())[:500].rstrip(".")
