"""Everything that reads YAML goes through one reader: what would be taken silently or hang is refused, by file."""

from __future__ import annotations

import time

import pytest

from gisttools.common import YamlProblem, first_lines, parse_yaml, read_yaml
from gisttools.common.errors import DataError, ParameterError
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import read_task
from gisttools.workflow.recipes import read_recipe

LISTS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12))
BOMBS = {"lists": LISTS, "merges": MERGES, "itself": "a: &a [*a]\n", "deep": "[" * 5_000}
READERS = [read_task, load_prompt, read_recipe]


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("read", READERS)
def test_a_bomb_is_refused_at_once_by_every_reader(tmp_path, read, bomb):
    path = tmp_path / "bomb.yaml"
    path.write_text(bomb, encoding="utf-8")
    begin = time.monotonic()
    with pytest.raises((DataError, ParameterError), match=r"bomb\.yaml"):
        read(path)
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("read", READERS)
def test_every_key_that_stands_twice_is_named_with_its_lines_by_every_reader(tmp_path, read):
    path = tmp_path / "twice.yaml"
    path.write_text("name: x\nlabels:\n  a: {b: 1, b: 2}\n  c: 1\n  'a': 3\nname: y\n", encoding="utf-8")
    with pytest.raises((DataError, ParameterError), match=r"twice\.yaml") as caught:
        read(path)
    for line, name, before in ((3, "b", 3), (5, "a", 3), (6, "name", 1)):
        assert f"line {line}: the key '{name}' stands in line {before} already" in str(caught.value)


def test_equal_keys_that_are_written_otherwise_are_one_key_and_different_ones_are_two():
    with pytest.raises(YamlProblem, match="line 2: the key 'TRUE'"):
        parse_yaml("true: 1\nTRUE: 2\n")
    assert parse_yaml("1: a\n'1': b\n") == {1: "a", "1": "b"}


def test_what_an_alias_brings_is_no_key_that_stands_twice():
    text = "w: &w {a: 0}\np: {q: &x {<<: *w, a: 1}}\ny: {<<: *x, a: 2}\n"
    assert parse_yaml(text) == {"w": {"a": 0}, "p": {"q": {"a": 1}}, "y": {"a": 2}}


@pytest.mark.parametrize(
    "text",
    ["a: [", "!!int x", "!!int ''", "!!float x", "!!bool x", "a: *no", "a: !!python/object:os x", "? [1]\n: 2",
     "a: \x00b", "--- a\n--- b\n", f"a: {'9' * 5000}", "a: !!binary x", "!!timestamp x", "!!timestamp 2024-13-45",
     "!!omap [a]", "!!pairs [a]", "a: 'b", "%YAML 9.9\n---\na", "a: b: c", "- a\nb: c"],
)  # fmt: skip
def test_what_is_no_yaml_is_one_error(text):
    with pytest.raises(YamlProblem):
        parse_yaml(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_make_no_difference(tmp_path, encoding, end):
    path = tmp_path / "f.yaml"
    path.write_bytes(f"a: é{end}b: |{end}  c{end}  d{end}".encode(encoding))
    assert read_yaml(path) == {"a": "é", "b": "c\nd\n"}


def test_another_encoding_is_refused_by_file_line_and_byte(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes("name: b\nkind: é\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"f\.yaml .*line 2 holds the byte 0xe9.*UTF-8"):
        read_task(path)


def test_the_first_lines_of_blocks():
    assert first_lines("a: b\nc: |\n  d\ne: 'f'\n") == {"c": 3}
