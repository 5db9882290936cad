"""The one reader of YAML: what would be taken without a word or hang is refused, with the line."""

from __future__ import annotations

import time

import pytest

from gisttools.common import DataError, parse_yaml, read_yaml
from gisttools.common.errors import ParameterError
from gisttools.common.yaml_files import first_lines
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import read_task
from gisttools.workflow.recipes import read_recipe

LISTS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)
TEXTS = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n"
BOMBS = {"lists": LISTS, "merges": MERGES, "texts": TEXTS, "itself": "a: &a [*a]\n", "deep": "[" * 20_000}
READERS = [read_yaml, read_task, load_prompt, read_recipe]


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("read", READERS)
def test_a_bomb_is_refused_at_once_by_every_reader(tmp_path, read, bomb):
    path = tmp_path / "bomb.yaml"
    path.write_text(bomb, encoding="utf-8")
    begin = time.monotonic()
    with pytest.raises((DataError, ParameterError), match=r"bomb\.yaml"):
        read(path)
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize("read", READERS)
def test_every_key_that_stands_twice_is_named_with_its_lines_by_every_reader(tmp_path, read):
    path = tmp_path / "twice.yaml"
    path.write_text("name: x\nlabels:\n  a: {about: x}\n  b: {about: y}\n  'a': {about: z}\nname: y\n", encoding="utf-8")
    with pytest.raises((DataError, ParameterError), match=r"twice\.yaml") as caught:
        read(path)
    assert "line 5: 'a' stands already in line 3" in str(caught.value)
    assert "line 6: 'name' stands already in line 1" in str(caught.value)


def test_equal_keys_that_are_written_otherwise_are_one_key_and_different_ones_are_two():
    with pytest.raises(DataError, match="line 2: 'true' stands already in line 1"):
        parse_yaml("yes: 1\ntrue: 2\n", "f")
    assert parse_yaml("1: a\n'1': b\n", "f") == {1: "a", "1": "b"}
    assert parse_yaml("x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n", "f")["y"] == {"a": 2}


def test_aliases_in_measure_are_taken():
    text = "a: &a [one text, another text]\n" + "".join(f"b{i}: *a\n" for i in range(300))
    assert parse_yaml(text, "f")["b299"] == ["one text", "another text"]


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: 2024-13-45", "!!int x", "!!int ''", "!!float x", "a: *no", "a: !!python/object:os x", "? [1]\n: 2",
     "a: \x00b", "--- a\n--- b\n", f"a: {'9' * 5000}", "a: !!binary x", "!!timestamp x", "!!omap [a]", "\ta: b",
     "a: 'b", "%YAML 9.9\n---\na", "a: b: c", "- a\nb: c"],
)  # fmt: skip
def test_what_is_no_yaml_is_one_error_that_names_the_file(text):
    with pytest.raises(DataError, match=r"^f\.yaml"):
        parse_yaml(text, "f.yaml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_make_no_difference(tmp_path, encoding, end):
    path = tmp_path / "f.yaml"
    path.write_bytes(f"a: é{end}b: |{end}  c{end}  d{end}".encode(encoding))
    assert read_yaml(path) == {"a": "é", "b": "c\nd\n"}


def test_another_encoding_is_refused_by_line_and_byte(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes("a: b\nc: é\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"f\.yaml is not UTF-8: line 2 holds the byte 0xe9"):
        read_yaml(path)


def test_the_first_lines_of_texts():
    assert first_lines("a: b\nc: |\n  d\ne: 'f'\n") == {"a": 1, "c": 3, "e": 4}
