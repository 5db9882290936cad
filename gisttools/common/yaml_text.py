"""Reads YAML as its writers mean it: by the core schema of YAML 1.2, no key twice, nothing that grows without bound.

YAML 1.1, which most libraries read, takes `no` for a truth value, `1e-4` for a text, `12:30` for a number and
`2024-01-01` for a date; here they are a text, a number, a text and a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gisttools.common.errors import DataError

_MOST_VALUES = 1_000_000  # of a file, aliases spelled out
_TAG = "tag:yaml.org,2002:"
_CORE = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)\.[0-9]*|(?:0|[1-9][0-9]*)(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "merge": (r"<<", ["<"]),
}


class YamlProblem(DataError):
    """A text is no YAML that is read here; the message names the line and what is wrong, in one line."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema; `yaml_implicit_resolvers` is its own."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  # PyYAML's own way

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        try:
            return int(text, 0)
        except ValueError as error:  # thousands of digits
            raise YamlProblem(f"line {node.start_mark.line + 1}: {text[:40]!r} is no number ({error})") from None

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        return float(self.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


for _name, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_yaml_float)


def parse_yaml(text: str | bytes) -> Any:
    """The value of one YAML document.

    Raises:
        YamlProblem: it is no YAML, names a key twice, or holds itself or more than a million values.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _size(node, {}, set()) > _MOST_VALUES:
                raise YamlProblem(f"its aliases (*name) stand for more than {_MOST_VALUES:,} values. Spell them out")
            if twice := list(_keys_again(loader, node)):
                raise YamlProblem("; ".join(twice))
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise YamlProblem(f"{line}{' '.join(filter(None, (error.context, error.problem)))}") from None
    except yaml.reader.ReaderError as error:
        if isinstance(text, bytes) and error.encoding != "unicode":
            number = text.count(b"\n", 0, error.position) + 1
            what = f"line {number} holds the byte 0x{error.character:02x}, which is not {error.encoding.upper()}"
            raise YamlProblem(f"{what}. Save it as UTF-8") from None
        raise YamlProblem(" ".join(str(error).split())) from None
    except yaml.YAMLError as error:
        raise YamlProblem(" ".join(str(error).split())) from None
    except RecursionError:
        raise YamlProblem("it is nested too deeply") from None
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:  # `!!timestamp no`
        raise YamlProblem(" ".join(str(error).split())) from None


def read_yaml(path: Path) -> Any:
    """The value in a YAML file. Raises as `parse_yaml`, and OSError."""
    return parse_yaml(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))


def first_lines(text: str | bytes) -> dict[str, int]:
    """The line, counted from 1, in which each block of text (`key: |`) of a document begins, by its key. The document
    is one that `parse_yaml` takes, and its top a mapping."""
    pairs = yaml.compose(text, Loader=yaml.SafeLoader).value
    blocks = ((key, value) for key, value in pairs if isinstance(value, yaml.ScalarNode) and value.style == "|")
    return {key.value: value.start_mark.line + 2 for key, value in blocks}


def _keys_again(loader: yaml.SafeLoader, top: yaml.Node) -> Iterator[str]:
    """Every key that stands in its mapping before. `<<` is no key, and what it brings may be set anew."""
    waiting, looked_at = [top], set()
    while waiting:
        node = waiting.pop()
        if id(node) in looked_at:
            continue
        looked_at.add(id(node))
        waiting += reversed(_below(node))
        first: dict[object, int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
                continue
            value, line = loader.construct_object(key), key.start_mark.line + 1
            if (type(value), value) in first:
                yield f"line {line}: the key {key.value!r} stands in line {first[type(value), value]} already"
            first.setdefault((type(value), value), line)


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _size(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Values below a node, as if each alias were spelled out."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in above:
        raise YamlProblem(f"line {node.start_mark.line + 1}: it holds itself, by an alias (*name)")
    above.add(id(node))
    known[id(node)] = 1 + sum(_size(part, known, above) for part in _below(node))
    above.remove(id(node))
    return known[id(node)]
