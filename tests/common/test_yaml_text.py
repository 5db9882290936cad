"""YAML as its writers mean it, bounded, and no key twice."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, strategies as st

from gisttools.common import YamlProblem, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("n", "n"), ("true", True), ("False", False),
        ("1e-4", 1e-4), ("1E5", 1e5), ("-2.5e+3", -2500.0), ("1.", 1.0), (".5", 0.5), ("12", 12), ("-3", -3),
        ("0x1F", 31), ("0o17", 15), ("012", "012"), ("1_000", "1_000"), ("12:30", "12:30"), ("", None),
        ("2024-01-01", "2024-01-01"),
        ("~", None), ("null", None), ("None", "None"), ("'12'", "12"), ("[no, 1e-5, a]", ["no", 1e-5, "a"]),
        ("{a: no}", {"a": "no"}), (".inf", math.inf), ("deu-Latn", "deu-Latn"), ("NaN", "NaN"),
    ],
)  # fmt: skip
def test_the_core_schema(text, value) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_a_key_that_stands_twice_is_named_with_both_lines() -> None:
    with pytest.raises(YamlProblem, match=r"line 4: the key 'a' stands in line 1 already"):
        parse_yaml("a: 1\nb:\n  a: 2\na: 3\n")


def test_a_key_of_an_anchor_may_be_set_anew() -> None:
    assert parse_yaml("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n")["y"] == {"a": 1, "b": 3}


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 30)]
    began = time.monotonic()
    with pytest.raises(YamlProblem, match="more than 1,000,000 values"):
        parse_yaml("\n".join(["l0: &l0 [x]", *levels]))
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "a: &a\n  - b: *a"])
def test_what_holds_itself_is_refused(text) -> None:
    with pytest.raises(YamlProblem, match="holds itself"):
        parse_yaml(text)


@given(st.text() | st.binary() | st.text("{}[]&*:-,'\"\n <>!%@|?#ab1.", max_size=40))
def test_any_text_is_a_value_or_a_problem_in_one_line(text) -> None:
    try:
        parse_yaml(text)
    except YamlProblem as error:
        told = str(error)
    else:
        return
    assert told.strip()
    assert "\n" not in told


@pytest.mark.parametrize(
    "text", ["[" * 5000, "9" * 5000, "? [a]\n: b", "!!python/object:os.system x", "\x00", "a: b: c"]
)
def test_what_breaks_other_readers_is_a_problem(text) -> None:
    with pytest.raises(YamlProblem):
        parse_yaml(text)
