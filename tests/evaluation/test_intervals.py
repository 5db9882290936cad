"""Intervals: against brute force, against simulated truth, and what they refuse."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from gisttools.common.errors import DataError, ParameterError
from gisttools.evaluation.intervals import (
    Interval,
    crossed_interval,
    draws_interval,
    metric_bootstrap,
    spearman,
    verdict,
)


def test_resampling_in_blocks_changes_nothing(monkeypatch):
    base, tuned, truth = np.random.default_rng(1).normal(size=(3, 50))
    whole = metric_bootstrap(base, tuned, truth, spearman)
    monkeypatch.setattr("gisttools.evaluation.intervals._CHUNK", 350)
    assert metric_bootstrap(base, tuned, truth, spearman) == whole


def test_same_seed_same_interval_other_seed_other_interval():
    base, tuned, truth = np.random.default_rng(1).normal(size=(3, 50))
    a, b, c = (metric_bootstrap(base, tuned, truth, spearman, seed=s) for s in (1, 1, 2))
    assert a == b
    assert (a.low, a.high) != (c.low, c.high)


@pytest.mark.parametrize(("low", "high", "word"), [(0.1, 0.2, "helped"), (-0.2, -0.1, "hurt"), (0.0, 0.2, "not shown")])
def test_verdict_needs_the_whole_interval_on_one_side(low, high, word):
    interval = Interval(difference=(low + high) / 2, low=low, high=high, n_items=9, n_draws=1, method="")
    assert verdict(interval) == word


def test_spearman_is_scipys_on_every_row_with_ties():
    rng = np.random.default_rng(0)
    scores, truth = rng.random((5, 40)), rng.integers(0, 5, (5, 40))
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(scores, truth, strict=True)]
    np.testing.assert_allclose(spearman(scores, truth), expected)


def test_metric_bootstrap_is_the_brute_force_loop():
    rng = np.random.default_rng(0)
    truth = rng.random(40)
    base, tuned = truth + rng.normal(size=40), truth + 0.3 * rng.normal(size=40)
    interval = metric_bootstrap(base, tuned, truth, spearman, resamples=200, seed=7, method="percentile")
    chosen = np.random.default_rng(7).integers(0, 40, (200, 40))
    loop = [
        stats.spearmanr(tuned[c], truth[c]).statistic - stats.spearmanr(base[c], truth[c]).statistic for c in chosen
    ]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(loop, [0.025, 0.975])))
    assert interval.difference == pytest.approx(
        stats.spearmanr(tuned, truth).statistic - stats.spearmanr(base, truth).statistic
    )


def test_bca_is_scipys_on_the_same_resamples():
    rng = np.random.default_rng(0)
    truth = rng.exponential(size=60)
    base, tuned = truth + rng.normal(size=60), truth + 0.3 * rng.normal(size=60)
    interval = metric_bootstrap(base, tuned, truth, spearman, resamples=999, seed=7)

    def difference(b, t, g, axis=-1):
        return spearman(t, g) - spearman(b, g)

    chosen = np.random.default_rng(7).integers(0, 60, (999, 60))
    ours = SimpleNamespace(bootstrap_distribution=difference(base[chosen], tuned[chosen], truth[chosen]))
    expected = stats.bootstrap(
        (base, tuned, truth),
        difference,
        paired=True,
        vectorized=True,
        n_resamples=0,
        method="BCa",
        bootstrap_result=ours,
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize("at", ["low", "high"])
def test_bootstrap_p_is_five_percent_where_an_end_touches_zero(at):
    rng = np.random.default_rng(0)
    base, tuned = rng.exponential(size=(2, 80))

    def mean(scores, truth):
        return scores.mean(axis=-1)

    end = getattr(metric_bootstrap(base, tuned, np.zeros(80), mean), at)
    assert metric_bootstrap(base, tuned - end, np.zeros(80), mean).p == pytest.approx(0.05, abs=0.002)


def test_bootstrap_p_far_from_zero_is_small_but_no_nought():
    rng = np.random.default_rng(0)
    truth = rng.random(200)
    interval = metric_bootstrap(rng.random(200), truth + 0.1 * rng.random(200), truth, spearman, resamples=200)
    assert 0 < interval.p < 1e-6


def test_sts_intervals_cover_the_truth():
    # normal scores correlated by r with the truth have Spearman's correlation 6 / pi asin(r / 2)
    rng = np.random.default_rng(0)
    aim = 6 / np.pi * (np.arcsin(0.9 / 2) - np.arcsin(0.8 / 2))

    def covered():
        truth, shared, a, b = rng.normal(size=(4, 70))
        base = 0.8 * truth + 0.6 * (shared + a) / np.sqrt(2)
        tuned = 0.9 * truth + np.sqrt(1 - 0.81) * (shared + b) / np.sqrt(2)
        interval = metric_bootstrap(base, tuned, truth, spearman, resamples=200)
        return interval.low <= aim <= interval.high

    assert 0.92 <= np.mean([covered() for _ in range(200)]) <= 0.98


def test_metric_bootstrap_of_a_mean_is_the_paired_t():
    rng = np.random.default_rng(0)
    base, tuned = rng.random(200), rng.random(200) + 0.1
    by_metric = metric_bootstrap(base, tuned, np.zeros(200), lambda s, g: s.mean(axis=-1))
    by_mean = crossed_interval(base, tuned)
    assert (by_metric.low, by_metric.high) == pytest.approx((by_mean.low, by_mean.high), abs=0.01)


def test_draws_interval_is_scipys_paired_t():
    rng = np.random.default_rng(0)
    base, tuned = rng.random(10), rng.random(10)
    expected = stats.ttest_rel(tuned, base).confidence_interval(0.95)
    interval = draws_interval(base, tuned)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert "documents not resampled" in interval.method


def test_every_problem_of_the_scores_is_named_at_once():
    with pytest.raises(DataError, match=r"shapes differ") as caught:
        crossed_interval([[0.0, np.nan, 1.0]], [[1.0]])
    assert "NaN" in str(caught.value)
    assert "at least 2" in str(caught.value)


@pytest.mark.parametrize("call", [crossed_interval, draws_interval])
def test_one_item_is_refused(call):
    with pytest.raises(DataError, match="at least 2"):
        call([1.0], [0.0])


def test_draws_interval_refuses_items():
    with pytest.raises(DataError, match="one score a draw"):
        draws_interval(np.ones((2, 5)), np.ones((2, 5)))


def test_a_constant_truth_is_refused_as_undefined():
    with pytest.raises(DataError, match="undefined"):
        metric_bootstrap(np.arange(5), np.arange(5), np.ones(5), spearman)


def test_every_bad_option_is_named_at_once():
    with pytest.raises(ParameterError, match="resamples is 0") as caught:
        metric_bootstrap([0, 1], [1, 1], [0, 1], spearman, resamples=0, confidence=95, method="both")
    assert "confidence is 95" in str(caught.value)
    assert "'both'" in str(caught.value)


def test_an_unknown_kind_of_bootstrap_is_refused():
    with pytest.raises(ParameterError, match="method is 'basic'"):
        metric_bootstrap([0, 1], [1, 1], [0, 1], spearman, method="basic")
