"""Figures of a synthesis: what they say, how much of it they show, and that texts stay text."""

from __future__ import annotations

import re

import pytest

from gisttools.report.drawing import to_svg
from gisttools.report.figures import acceptance, confusion

EVIL = "$x^2$ </text><script> 🙂 שלום"


def _counts(**shares: tuple[int, int]) -> dict:
    return {name: {"accepted": a, "asked": b} for name, (a, b) in shares.items()}


def _texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


# --- acceptance ----------------------------------------------------------------------------------------------------


def test_the_lowest_share_of_each_section_stands_first():
    labels = _counts(dog=(3, 4), cat=(1, 4), owl=(2, 4))
    figure = acceptance({"by_label": labels, "by_attribute": {"register": _counts(polite=(5, 6), annoyed=(1, 6))}})
    assert figure.alt == "label: cat 1 of 4, owl 2 of 4, dog 3 of 4; register: annoyed 1 of 6, polite 5 of 6"
    texts = _texts(to_svg(figure))
    assert [t for t in texts if t in labels] == ["cat", "owl", "dog"]
    assert {"LABEL", "REGISTER", "1 of 4", "5 of 6"} <= set(texts)


def test_bars_are_as_long_as_their_shares():
    figure = acceptance({"by_label": _counts(dog=(3, 4), cat=(1, 4))})
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [1, 0.25, 1, 0.75]


def test_groups_that_were_never_asked_for_and_single_values_are_left_out():
    figure = acceptance({"by_label": _counts(dog=(3, 4), cat=(0, 0)), "by_attribute": {"persona": _counts(all=(3, 4))}})
    assert figure.alt == "label: dog 3 of 4"


def test_of_many_labels_the_lowest_are_shown():
    labels = _counts(**{f"label{i}": (i, 100) for i in range(60)})
    figure = acceptance({"by_label": labels})
    assert figure.alt.count(" of 100") == 24
    assert "label0 0 of 100" in figure.alt
    assert len(to_svg(figure)) < 60_000


# --- confusion -----------------------------------------------------------------------------------------------------


def test_the_diagonal_is_blue_and_the_rest_orange_and_zeros_have_no_number():
    figure = confusion({"confusion": {"dog": {"dog": 7, "cat": 2}, "cat": {"dog": 0, "cat": 5}}})
    assert figure.alt == "12 of 14 texts sorted under the label they were written for."
    assert [t for t in _texts(to_svg(figure)) if t.isdigit()] == ["7", "2", "5"]
    right, wrong, none, _ = [patch.get_facecolor() for patch in figure.axes[0].patches]
    assert right[2] > right[0]  # more blue than red
    assert wrong[0] > wrong[2]
    assert none[3] < 1


def test_columns_that_are_no_rows_are_shown_too():
    figure = confusion({"confusion": {"dog": {"dog": 1, "(no label)": 3}}})
    assert figure.alt.startswith("1 of 4 texts")
    assert _texts(to_svg(figure)).count("(no label)") == 2


def test_of_many_labels_those_are_shown_that_are_confused_most():
    names = [f"label{i}" for i in range(50)]
    table = {a: {b: 9 if a == b else 0 for b in names} for a in names}
    table["label48"]["label49"] = 3
    texts = _texts(to_svg(confusion({"confusion": table})))
    assert {"label48", "label49", "3"} <= set(texts)
    assert len({t for t in texts if t.startswith("label")}) == 20


# --- both ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "figure",
    [
        acceptance({"by_label": _counts(**{EVIL: (1, 2), "x" * 300: (2, 2)})}),
        confusion({"confusion": {EVIL: {EVIL: 3}}}),
    ],
    ids=["acceptance", "confusion"],
)
def test_names_stay_text_and_follow_the_colours_of_the_page(figure):
    svg = to_svg(figure)
    assert "<script" not in svg
    assert "$x" in svg
    assert "var(--fig-" in svg
    assert to_svg(figure) == svg


@pytest.mark.parametrize(
    "summary", [{}, {"by_label": {}}, {"by_label": _counts(dog=(0, 0), cat=(0, 0))}, {"by_label": None}]
)
def test_no_counts_are_said_to_be_nothing_to_draw(summary):
    assert acceptance(summary).alt == "Nothing to draw: summary has no counts by label."


@pytest.mark.parametrize("summary", [{}, {"confusion": None}, {"confusion": {}}])
def test_no_blind_look_is_said_to_be_nothing_to_draw(summary):
    assert "blind is not set" in confusion(summary).alt
