"""Characters that do not belong into a text are found by their surroundings; what a script needs survives."""

from __future__ import annotations

import unicodedata

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from gisttools.common.errors import DataError
from gisttools.data.characters import broken, cleaned, count_unseen, is_blank, unseen
from gisttools.data.labelled import read_labelled
from gisttools.data.triplets import make_triplets

KEPT = {
    "family": "👨‍👩‍👧 family",
    "skin": "👩🏽‍🚀 up",
    "rainbow flag": "🏳️‍🌈",
    "key cap": "1️⃣ one",
    "heart": "❤️ ok",
    "text style": "✔︎ done",
    "flag of tags": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "persian": "می\u200cخواهم",
    "devanagari": "क्\u200dष and क्\u200cष",
    "sinhala": "ශ්\u200dරී",
    "malayalam": "നന്\u200d",
    "thai": "ภาษา\u200bไทย",
    "khmer": "ភាសា\u200bខ្មែរ",
    "soft hyphen": "soft\u00adhyphen",
    "hebrew": "שלום \u200fabc\u200e",
    "isolates": "\u2067שלום\u2069 x",
    "embedding": "ab \u202bשלום\u202c x",
    "arabic": "\u061cمرحبا 12",
    "ideographic": "葛\U000e0100飾区",
    "combining": "a\u0301 e\u0301",
    "white space": "plain\ttext\nof\u00a0lines\u2028here",
    "typography": "naïve — “quotes” …",
    "braille": "⠓⠑\u2800⠇⠇",
    "jamo": "\u1112\u1161\u11ab",
}  # fmt: skip
CLEANED = {
    "abc\u202ecba": ("abccba", "marks of direction"),
    "א\u202eabc\u202c": ("אabc", "marks of direction"),
    "\u2066abc\u2069 d": ("abc d", "marks of direction"),
    "abc\u200f d": ("abc d", "marks of direction"),
    "pay\u200bpal": ("paypal", "zero-width characters"),
    "a\u200db\u200cc": ("abc", "zero-width characters"),
    "\ufeffabc": ("abc", "zero-width characters"),
    "a\u2060b\u2063c\u00ad": ("abc\u00ad", "zero-width characters"),
    "\u3164name": ("name", "zero-width characters"),
    "hi\U000e0041\U000e0042\U000e0020": ("hi", "tags"),
    "🏴\U000e0041\U000e0042": ("🏴", "tags"),
    "e\ufe0f\ufe0f\ufe0f\U000e0121x": ("e\ufe0fx", "variation selectors"),
    "😀" + "".join(chr(0xE0100 + i) for i in b"secret") + "!": ("😀!", "variation selectors"),
}
BROKEN = {
    "a\x00b": "control characters",
    "caf\x00e9": "control characters",
    "bell\x07": "control characters",
    "a\x7fb": "control characters",
    "a\x93b": "control characters",
    "\x1b[31mred\x1b[0m": "terminal sequences",
    "\x1b]8;;http://x\x07link\x1b]8;;\x07": "terminal sequences",
    "\x9b31mred": "terminal sequences",
    "x\ufffdy": "replacement characters (U+FFFD)",
    "\ud83d half": "half surrogate pairs",
    "a\ue000": "private use characters",
    "a\U000f1234": "private use characters",
    "a\ufdd0": "no characters",
    "a\uffff": "no characters",
    "a\U0010fffe": "no characters",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_what_a_script_needs_stays(text):
    assert (cleaned(text), broken(text), unseen(text), is_blank(text)) == (text, None, [], False)


@pytest.mark.parametrize("text", CLEANED, ids=ascii)
def test_what_nobody_sees_is_taken_out_and_named(text):
    assert (cleaned(text), unseen(text)) == (CLEANED[text][0], [CLEANED[text][1]])
    assert broken(text) is None
    assert cleaned(cleaned(text)) == cleaned(text)


@pytest.mark.parametrize("text", BROKEN, ids=ascii)
def test_what_stands_for_something_lost_is_named_and_stays_where_it_is(text):
    assert broken(text) == BROKEN[text]
    assert BROKEN[text] in unseen(text)
    assert broken(cleaned(text)) == BROKEN[text]


@pytest.mark.parametrize(
    "text", ["\u200b\u200b", "\u3164", "\u2800 \u2800", "\ufeff", "\U000e0041", " \u00a0\u2028", "\u202e", ""]
)
def test_a_text_of_which_nothing_shows_is_blank(text):
    assert is_blank(text)


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_cleaning_takes_only_what_does_not_show_and_twice_is_once(text):
    clean = cleaned(text)
    shown = [c for c in text if unicodedata.category(c) not in ("Cf", "Mn", "Lo", "So")]
    assert [c for c in clean if unicodedata.category(c) not in ("Cf", "Mn", "Lo", "So")] == shown
    assert cleaned(clean) == clean


def test_texts_are_counted_once_a_kind():
    assert count_unseen(["a", "\x00\x00", "\x00\u202e", "b\u202e"]) == {
        "control characters": 2,
        "marks of direction": 2,
    }


def test_labelled_texts_of_the_users_are_left_as_they_are_and_it_is_told(tmp_path, caplog):
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a\\u0000b", "label": "x"}\n{"text": "c", "label": "y"}\n', encoding="utf-8")
    assert read_labelled(path).texts == ["a\x00b", "c"]
    assert "t.jsonl: texts hold characters that do not show" in caplog.text
    assert "control characters in 1" in caplog.text


@pytest.mark.parametrize("blank", ["\u200b\u200b", "\u3164", "\ufeff"], ids=ascii)
def test_a_text_of_which_nothing_shows_is_refused_as_empty_everywhere(blank):
    with pytest.raises(DataError, match="is empty or no text"):
        read_labelled(pd.DataFrame({"text": [blank, "b"], "label": ["x", "y"]}))
    with pytest.raises(DataError, match="anchor is empty or no text"):
        make_triplets([{"anchor": blank, "positive": "p"}])
