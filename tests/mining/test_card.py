"""The data card: its numbers, that it is the same each time, that JSON holds it and that no text breaks its tables."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings, strategies as st

from gisttools.data.labelled import LabelledTexts
from gisttools.data.overlap import drop_overlap, find_duplicates
from gisttools.data.triplets import make_triplets
from gisttools.mining.card import data_card
from gisttools.mining.noise import label_noise

ROWS = [
    {"anchor": "a" * n, "positive": "bb", "negatives": ["ccc"] * (n % 2), "language": "eng-Latn", "source": "labelled"}
    for n in range(1, 101)
]
DATA = LabelledTexts(["one", "two", "three", "four"], ["x", "y", "x", "x"], "my_set", "train", revision="abc")
TWO = make_triplets(ROWS[:2])
PLAIN = data_card(TWO, [LabelledTexts(["one", "two"], ["x", "y"], "s", "train")], dropped={"r": 1}).markdown()


def tables(page: str) -> list[list[str]]:
    """Lines of each table of a page, each checked to have the cells of its head."""
    found = [block.split("\n") for block in re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE)]
    for lines in found:
        cells = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines if line}
        assert len(cells) == 1
    return found


def test_numbers_of_the_table():
    facts = data_card(make_triplets(ROWS)).facts
    assert (facts["triplets"], facts["negatives"]) == (100, 50)
    anchor = facts["characters"]["anchor"]
    assert anchor == {"least": 1, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "most": 100}
    assert facts["languages"] == {"eng-Latn": 100}


def test_sources_with_their_classes():
    source = data_card(make_triplets(ROWS), [DATA]).facts["sources"][0]
    assert (source["source"], source["revision"], source["texts"], source["classes"]) == ("my_set", "abc", 4, 2)
    assert (source["largest_class"], source["smallest_class"]) == (["x", 3], ["y", 1])


def test_what_was_not_checked_is_told_from_what_was_not_found():
    table = make_triplets(ROWS)
    assert data_card(table).markdown().count("Not checked.") == 3
    left, overlap = drop_overlap(table, {"test": ["nothing of it"]})
    card = data_card(
        left, duplicates=find_duplicates(["one"]), overlap=overlap, noise={"one": label_noise(["one"], ["x"])}
    )
    assert "Not checked." not in card.markdown()
    assert "None found." in card.markdown()
    assert "| semantic | not asked | not checked |" in card.markdown()
    assert card.facts["label_noise"]["one"]["texts nearer to another class"] is None


def test_duplicates_and_overlap_are_counted_by_tier():
    overlap = drop_overlap(make_triplets(ROWS), {"mine": ["BB", "aaa"], "other": ["aaa"]})[1]
    facts = data_card(make_triplets(ROWS[:0]), overlap=overlap, duplicates=find_duplicates(["no", "No", "x"])).facts
    assert facts["duplicates"] == {"exact": 2, "near": 0, "semantic": None}
    assert facts["overlap"]["triplets"] == 100
    assert {name: counts["exact"] for name, counts in facts["overlap"]["sets"].items()} == {"mine": 2, "other": 1}


def test_the_card_is_the_same_each_time_and_json_holds_it():
    cards = [data_card(make_triplets(ROWS), [DATA], dropped={"no positive": 3}) for _ in range(2)]
    assert cards[0] == cards[1]
    assert json.loads(json.dumps(cards[0].facts)) == cards[0].facts
    assert cards[0].markdown() == cards[1].markdown()


@settings(max_examples=40)
@given(
    st.text(min_size=1) | st.sampled_from(["a|b", "\\|", "x\n\n# y", "<script>", "`", "[a](b)", "\u2028|", "\ud800"])
)
def test_no_text_breaks_a_table_or_adds_a_line(text):
    hostile = LabelledTexts(["one", "two"], [text, f"{text}y"], text, text, revision=text, language=text)
    page = data_card(TWO, [hostile], dropped={text: 1}).markdown()
    assert [len(lines) for lines in tables(page)] == [len(lines) for lines in tables(PLAIN)]
    assert len(page.splitlines()) == len(PLAIN.splitlines())


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "![x](http://a.b/c.png)", "**bold**", "`code`"])
def test_markup_in_the_data_stays_text(text):
    page = data_card(make_triplets(ROWS[:1]), [LabelledTexts(["a", "b"], ["x", "y"], text, "train")]).markdown()
    assert text not in page
    assert re.sub(r"\\(.)", r"\1", page).count(text) == 3


def test_an_empty_table_has_a_card_too():
    card = data_card(make_triplets(ROWS[:0]))
    assert card.facts["characters"] == {"anchor": None, "positive": None, "negatives": None}
    assert "There are no triplets." in card.markdown()


def test_characters_that_do_not_show_are_counted_by_kind_in_all_texts():
    rows = [
        {"anchor": "a\x00", "positive": "b\u202e", "negatives": ["a\x1b[0m", "plain"]},
        {"anchor": "a\x00", "positive": "\u0645\u06cc\u200c\u062e", "negatives": []},
    ]
    card = data_card(make_triplets(rows)).with_cleaned(3)
    assert card.facts["unseen"] == {"control characters": 1, "marks of direction": 1, "terminal sequences": 1}
    assert card.facts["cleaned"] == 3
    assert "| terminal sequences | 1 |" in card.markdown()
    assert "Taken out of 3 row(s) before." in card.markdown()
