"""The row of a comparison: what it writes, an earlier version's files, and that nothing is lost on the way."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from gisttools.evaluation.comparison import (
    Average,
    Comparison,
    ScoreRow,
    comparison_table,
    read_comparisons,
    read_rows,
    to_table,
)

# as earlier versions wrote them, those of later ones at the end
COLUMNS = [
    "task", "task_type", "subset", "metric", "base", "tuned", "difference", "low", "high", "p", "mde",
    "items_for_one_point", "standard_error", "freedom", "n_draws", "method", "verdict", "n_items", "n_seeds",
    "seed_error", "item_error", "speaks_of", "is_target", "overlap", "n_test", "in_train", "cleaned_task", "trained_on",
    "variant", "group", "base_zero_shot", "zero_shot", "p_holm", "allowed_loss", "non_inferior", "second_look",
]  # fmt: skip
AVERAGES = ["variant", "tasks", "name", "n_tasks", "base", "tuned", "difference", "low", "high", "p", "verdict"]
SCORES = ["role", "task", "task_type", "split", "subset", "n_items", "n_draws", "revision", "mteb", "metric", "is_main"]
SCORES += ["score"]
WHOLE = Comparison(
    task="a", task_type="STS", subset="en", metric="ap", base=0.5, tuned=0.6, difference=0.1, low=0.05, high=0.15,
    p=0.01, mde=0.02, items_for_one_point=900.0, standard_error=0.01, freedom=99.0, n_draws=3, method="t",
    verdict="helped", n_items=100, n_seeds=2, seed_error=0.001, item_error=0.002, speaks_of="the recipe",
    is_target=True, overlap=0, n_test=100, in_train=4, cleaned_task="a.v2", trained_on=False, variant="tuned",
    group="g", base_zero_shot=True, zero_shot=False, p_holm=0.02, allowed_loss=0.005, non_inferior=True,
    second_look=False,
)  # fmt: skip


def same(one, other) -> bool:
    """Equal, NaN taken as equal to NaN."""
    return repr(asdict(one)) == repr(asdict(other))


def test_the_columns_are_those_of_earlier_versions():
    assert comparison_table([WHOLE]).columns.tolist() == comparison_table([]).columns.tolist() == COLUMNS
    assert to_table(Average, []).columns.tolist() == AVERAGES
    assert to_table(ScoreRow, []).columns.tolist() == SCORES


def test_rows_come_back_from_a_file_as_they_were(tmp_path):
    bare = Comparison(task="b", base=0.5, tuned=0.5, difference=0.0)
    rows = [WHOLE, bare, replace(WHOLE, trained_on=None, n_items=None)]
    comparison_table(rows).to_parquet(tmp_path / "comparison.parquet")
    found = read_comparisons(pd.read_parquet(tmp_path / "comparison.parquet"))
    assert all(same(one, other) for one, other in zip(rows, found, strict=True))
    assert [type(v) for v in asdict(found[0]).values()] == [type(v) for v in asdict(WHOLE).values()]


def test_columns_that_an_earlier_version_did_not_write_have_their_defaults():
    old = pd.DataFrame(
        {"task": ["a"], "metric": ["ap"], "base": [0.5], "tuned": [0.6], "difference": [0.1], "more": [1]}
    )
    assert same(read_comparisons(old)[0], Comparison(task="a", metric="ap", base=0.5, tuned=0.6, difference=0.1))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, "no number"])
def test_a_number_that_is_none_is_missing(missing):
    (row,) = read_comparisons(
        pd.DataFrame({"task": ["a"], "difference": [0.1], "low": [missing], "n_items": [missing]})
    )
    assert math.isnan(row.low)
    assert row.n_items is None


@pytest.mark.parametrize(("difference", "verdict"), [(0.1, "great"), (None, "helped"), (0.1, None)])
def test_a_verdict_that_is_none_of_the_three_or_has_no_difference_is_not_shown(difference, verdict):
    table = pd.DataFrame({"task": ["a"], "difference": [difference], "verdict": [verdict]})
    assert read_comparisons(table)[0].verdict == "not shown"


def test_averages_of_an_earlier_version_are_read():
    (row,) = read_rows(Average, pd.DataFrame({"name": ["STS"], "base": [0.5], "tuned": [0.6], "difference": [0.1]}))
    assert same(row, Average(name="STS", base=0.5, tuned=0.6, difference=0.1))
