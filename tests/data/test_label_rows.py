"""Cells as texts and labels: names of labels, sets of labels, and every refusal or drop."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from gisttools.common.errors import DataError
from gisttools.data.labelled import LONGEST, LabelRows


def collect(texts: list, labels: list, ids: list | None = None, **told) -> LabelRows:
    rows = LabelRows(text_column="text", label_column="label", **told)
    rows.add(texts, labels, ids)
    rows.finish("the set")
    return rows


@pytest.mark.parametrize(
    ("label", "name"),
    [(1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "True"), (" a ", "a"), (np.int64(3), "3"), (np.float64(2), "2"),
     (np.bool_(False), "False"), (Decimal("2.5"), "2.5"), (["a"], "a"), (np.array(["a"]), "a"), ({"a"}, "a")],
)  # fmt: skip
def test_a_label_of_any_scalar_has_its_name(label, name):
    assert collect(["t", "u"], [label, "other"]).labels == [name, "other"]


def test_equal_values_of_other_types_keep_their_own_names():
    assert collect(["t", "u", "v"], [1, True, 1.0]).labels == ["1", "True", "1"]


def test_lists_of_several_labels_are_sets_sorted_and_without_copies():
    rows = collect(["t", "u", "v"], [["b", "a", "b"], ["c"], np.array(["a", "c"])])
    assert rows.label_sets == [("a", "b"), ("c",), ("a", "c")]
    assert rows.labels == ["a | b", "c", "a | c"]


def test_lists_of_one_label_each_are_single_labels():
    rows = collect(["t", "u"], [["b"], ["a", "a"]])
    assert rows.label_sets is None
    assert rows.labels == ["b", "a"]


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, pd.NaT, "", " \n", [], [None], np.nan])
def test_a_row_without_a_label_is_refused_or_dropped_and_counted(nothing):
    with pytest.raises(DataError, match=r"'label' is empty in row\(s\) 1"):
        collect(["t", "u", "v"], ["a", nothing, "b"])
    rows = collect(["t", "u", "v"], ["a", nothing, "b"], drop_unlabelled=True)
    assert (rows.texts, rows.labels, rows.dropped) == (["t", "v"], ["a", "b"], {"no label": 1})


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, "", " \n\u2003"])
def test_a_row_without_a_text_is_refused_or_dropped_and_counted(nothing):
    with pytest.raises(DataError, match=r"'text' is empty or no text in row\(s\) 1\n.*drop_empty"):
        collect(["t", nothing, "v"], ["a", "a", "b"])
    rows = collect(["t", nothing, "v"], ["a", "a", "b"], drop_empty=True)
    assert (rows.texts, rows.labels, rows.dropped) == (["t", "v"], ["a", "b"], {"empty text": 1})


def test_what_is_no_text_is_never_dropped_in_silence():
    with pytest.raises(DataError, match=r"'text' is empty or no text in row\(s\) 0"):
        collect([3, "u"], ["a", "b"], drop_empty=True)


@pytest.mark.parametrize("label", [{"a": 1}, [["a"], ["b"]], [{"a": 1}]])
def test_a_label_that_cannot_be_named_is_refused_even_where_empty_ones_are_dropped(label):
    with pytest.raises(DataError, match=r"'label' is no label but a \w+ that cannot be named in row\(s\) 0"):
        collect(["t", "u", "v"], [label, "a", "b"], drop_unlabelled=True)


def test_a_long_text_is_taken_up_to_the_limit():
    assert len(collect(["x" * LONGEST, "u"], ["a", "b"]).texts[0]) == LONGEST
    with pytest.raises(DataError, match=r"'text' is longer than 1,000,000 characters in row\(s\) 1"):
        collect(["t", "x" * (LONGEST + 1)], ["a", "b"])


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(DataError, match=r"'text' holds half a surrogate pair.* in row\(s\) 0"):
        collect(["\ud83d", "u"], ["a", "b"])


def test_all_problems_come_at_once_with_the_first_rows_counted_over_all_parts():
    rows = LabelRows(text_column="text", label_column="label")
    rows.add(["t"] * 3, ["a"] * 3, ["1", "2", "3"])
    rows.add([""] * 7, ["b"] * 6 + [None], ["4", "5", "1", "6", "7", "8", "9"])
    with pytest.raises(DataError) as caught:
        rows.finish("the set")
    said = str(caught.value)
    assert "the set: 3 problem(s), rows counted from 0" in said
    assert "'text' is empty or no text in row(s) 3, 4, 5, 6, 7 and 2 more" in said
    assert "'label' is empty in row(s) 9" in said
    assert "ids come more than once: '1' (2 times)" in said


def test_ids_that_are_missing_do_not_repeat():
    assert collect(["t", "u", "v"], ["a", "b", "a"], [None, None, 3]).texts == ["t", "u", "v"]


def test_one_class_is_refused_with_what_was_dropped():
    with pytest.raises(DataError, match=r"only the label 'a' \(\{'no label': 1\} dropped\); at least two classes"):
        collect(["t", "u"], ["a", None], drop_unlabelled=True)


def test_a_set_of_two_labels_is_two_classes():
    assert collect(["t", "u"], [["a", "b"], ["a", "b"]]).label_sets == [("a", "b"), ("a", "b")]
