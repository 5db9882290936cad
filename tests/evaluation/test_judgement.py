"""Several comparisons together: corrected p, guards, averages, the overall word."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from gisttools.common.errors import ParameterError
from gisttools.evaluation.comparison import (
    Comparison,
    averages,
    holm,
    items_needed,
    judge,
    overall_verdict,
    smallest_detectable,
)
from gisttools.evaluation.intervals import crossed_interval, student_interval


def row(
    verdict="not shown", *, target=True, low=-0.01, p=0.5, task="a", kind="STS", difference=0.0, error=0.01,
    freedom=100.0,
):  # fmt: skip
    return Comparison(
        task=task, task_type=kind, is_target=target, verdict=verdict, low=low, p=p, base=0.5, tuned=0.5 + difference,
        difference=difference, standard_error=error, freedom=freedom,
    )  # fmt: skip


def interval(error=0.01, freedom=1000.0, share=1.0, items=1000):
    return student_interval(0.0, error**2, freedom, n_items=items, n_draws=1, method="", item_share=share)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_what_closed_testing_by_bonferroni_rejects(p):
    # an hypothesis falls if every set of hypotheses that holds it falls, its smallest p being below alpha / size
    sets = [s for n in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), n)]
    closed = [min(1, max(len(s) * min(p[i] for i in s) for s in sets if k in s)) for k in range(len(p))]
    np.testing.assert_allclose(holm(p), closed)


def test_holm_leaves_out_what_was_no_test():
    assert holm([0.01, math.nan, 0.04]).tolist() == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)


def test_the_smallest_detectable_difference_is_shown_four_times_in_five():
    rng = np.random.default_rng(0)
    known = interval(error=1 / np.sqrt(60), freedom=59, items=60)
    gain = smallest_detectable(known) + rng.normal(size=(3000, 60))
    shown = np.mean(stats.ttest_1samp(gain, 0, axis=1).pvalue < 0.05)
    assert shown == pytest.approx(0.8, abs=0.02)


def test_that_many_items_detect_the_difference_asked_for():
    many = items_needed(interval(error=0.01, items=1000), 0.01)
    assert smallest_detectable(interval(error=0.01 * np.sqrt(1000 / many))) == pytest.approx(0.01, rel=1e-3)


def test_where_draws_vary_too_much_no_items_are_enough():
    assert math.isnan(items_needed(interval(error=0.01, share=0.2), 0.01))
    assert items_needed(interval(error=0.01, share=0.9), 0.05) > 0


def test_of_crossed_draws_more_items_lessen_the_items_part_alone():
    rng = np.random.default_rng(0)

    def crossed(items):
        gain = 0.1 * rng.normal(size=(100, 1)) + rng.normal(size=(1, items)) + 0.1 * rng.normal(size=(100, items))
        return crossed_interval(np.zeros_like(gain), gain)

    needed = items_needed(crossed(500), 0.08)
    assert 1200 < needed < 1700
    assert smallest_detectable(crossed(int(needed))) == pytest.approx(0.08, rel=0.1)


def test_where_nothing_varied_nothing_is_known_of_the_noise():
    still = interval(error=0.0)
    assert math.isnan(smallest_detectable(still))
    assert math.isnan(items_needed(still, 0.01))


@pytest.mark.parametrize(("low", "safe"), [(-0.0049, True), (-0.0051, False), (0.01, True), (math.nan, None)])
def test_a_guard_is_safe_where_the_whole_interval_lies_above_the_allowed_loss(low, safe):
    judged = judge([row(target=False, low=low)])[0]
    assert (judged.allowed_loss, judged.non_inferior) == (0.005, safe)


def test_a_target_has_no_allowed_loss():
    judged = judge([row()])[0]
    assert math.isnan(judged.allowed_loss)
    assert judged.non_inferior is None


def test_p_is_corrected_over_all_rows():
    assert [r.p_holm for r in judge([row(p=0.02), row(p=0.03, target=False)])] == pytest.approx([0.04, 0.04])


def test_nothing_to_judge_is_nothing():
    assert judge([]) == []


@pytest.mark.parametrize("loss", [-1.0, math.nan])
def test_an_allowed_loss_that_is_none_is_refused(loss):
    with pytest.raises(ParameterError, match="allowed_loss"):
        judge([row()], allowed_loss=loss)


@pytest.mark.parametrize(
    ("targets", "guards", "word"),
    [
        (["helped", "helped"], [], "HELPED"),
        (["helped", "not shown"], [], "MIXED"),
        (["helped", "hurt"], [], "MIXED"),
        (["hurt", "not shown"], [], "HURT"),
        (["not shown"], [], "NOT SHOWN"),
        (["helped"], [("not shown", -0.03)], "HELPED"),
        (["helped"], [("hurt", -0.03)], "MIXED"),
        (["helped"], [("hurt", -0.004)], "HELPED"),
        (["not shown"], [("hurt", -0.03)], "HURT"),
        (["not shown"], [("helped", 0.01)], "NOT SHOWN"),
        ([], [("helped", 0.01)], "HELPED"),
    ],
)
def test_the_overall_word_weighs_targets_and_guards(targets, guards, word):
    rows = [row(v) for v in targets] + [row(v, target=False, low=low) for v, low in guards]
    assert overall_verdict(judge(rows)) == word


def test_variances_of_fixed_tasks_add():
    total = averages([row(task="a", error=0.03, difference=0.1), row(task="b", kind="Clustering", error=0.04)])[-1]
    assert (total.name, total.n_tasks, total.difference) == ("all tasks", 2, pytest.approx(0.05))
    half = (total.high - total.low) / 2
    freedom = (0.03**2 + 0.04**2) ** 2 / ((0.03**4 + 0.04**4) / 100)
    assert half == pytest.approx(stats.t.ppf(0.975, freedom) * 0.05 / 2)


def test_subsets_of_a_task_count_as_one_task():
    total = averages([row(task="a", difference=0.3), row(task="a", difference=0.1), row(task="b", difference=0.0)])[0]
    assert (total.n_tasks, total.difference) == (2, pytest.approx(0.1))


def test_kinds_of_tasks_stand_before_the_whole():
    found = averages([row(kind="STS"), row(kind="Retrieval"), row(kind="STS")])
    assert [a.name for a in found] == ["STS", "Retrieval", "all tasks"]


def test_an_average_over_a_task_without_interval_has_none():
    total = averages([row(difference=0.2), row(task="b", error=math.nan)])[0]
    assert total.difference == pytest.approx(0.1)
    assert math.isnan(total.low)
    assert total.verdict == "not shown"


def test_averages_cover_the_truth_of_fixed_tasks():
    rng = np.random.default_rng(0)

    def covered():
        found = []
        for k, (truth, items) in enumerate([(0.1, 50), (0.0, 400), (-0.3, 30)]):
            i = crossed_interval(np.zeros(items), truth + rng.normal(size=items))
            found.append(row(task=str(k), difference=i.difference, error=i.standard_error, freedom=i.freedom))
        total = averages(found)[0]
        return total.low <= -0.2 / 3 <= total.high

    assert 0.92 <= np.mean([covered() for _ in range(500)]) <= 0.98
