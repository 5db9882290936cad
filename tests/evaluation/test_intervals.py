"""Intervals: against brute force, against simulated truth, and what they refuse."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from gisttools.common.errors import DataError, ParameterError
from gisttools.evaluation.intervals import (
    Interval,
    draws_interval,
    metric_bootstrap,
    paired_bootstrap,
    spearman,
    verdict,
)

TRUE = 0.1


def crossed(rng, draws, items, *, by_draw, by_item, by_cell):
    """Differences with a known mean and noise of draws, of items and of single cells."""
    noise = by_draw * rng.normal(size=(draws, 1)) + by_item * rng.normal(size=(1, items))
    return TRUE + noise + by_cell * rng.normal(size=(draws, items))


def covered(interval):
    return interval.low <= TRUE <= interval.high


def coverage(make_interval, draws, items, sims=400, **noise):
    rng = np.random.default_rng(5)
    return np.mean([covered(make_interval(crossed(rng, draws, items, **noise), k)) for k in range(sims)])


def two_way(gain, seed):
    return paired_bootstrap(np.zeros_like(gain), gain, resamples=300, seed=seed)


def pooled(gain, seed):
    flat = gain.ravel()
    return paired_bootstrap(np.zeros_like(flat), flat, resamples=300, seed=seed)


def test_two_way_interval_covers_the_truth_under_crossed_noise():
    assert coverage(two_way, 6, 30, by_draw=0.2, by_item=0.4, by_cell=0.4) >= 0.93


def test_pooling_the_cells_does_not_cover_it():
    assert coverage(pooled, 6, 30, by_draw=0.2, by_item=0.4, by_cell=0.4) < 0.80


def test_few_noisy_draws_are_still_covered():
    assert coverage(two_way, 3, 30, by_draw=0.3, by_item=0.1, by_cell=0.1) >= 0.92


def test_one_draw_covers_under_item_noise():
    assert coverage(two_way, 1, 60, by_draw=0.0, by_item=0.4, by_cell=0.4) >= 0.92


def test_two_way_spread_is_that_of_a_brute_force_loop():
    rng = np.random.default_rng(0)
    gain = crossed(rng, 40, 60, by_draw=0.1, by_item=0.3, by_cell=0.3)
    loop = np.empty(4000)
    for k in range(loop.size):
        rows, columns = rng.integers(0, 40, 40), rng.integers(0, 60, 60)
        loop[k] = gain[np.ix_(rows, columns)].mean()
    low, high = np.quantile(loop, [0.025, 0.975])
    interval = paired_bootstrap(np.zeros_like(gain), gain, resamples=4000)
    assert (interval.high - interval.low) / (high - low) == pytest.approx(1.03, abs=0.06)  # a little wider: few draws
    assert interval.difference == pytest.approx(gain.mean())


def test_resampling_in_blocks_changes_nothing(monkeypatch):
    gain = np.random.default_rng(1).normal(size=50)
    whole = paired_bootstrap(np.zeros_like(gain), gain)
    monkeypatch.setattr("gisttools.evaluation.intervals._CHUNK", 350)
    assert paired_bootstrap(np.zeros_like(gain), gain) == whole


def test_same_seed_same_interval_other_seed_other_interval():
    gain = np.random.default_rng(1).normal(size=(3, 50))
    a, b, c = (paired_bootstrap(np.zeros_like(gain), gain, seed=s) for s in (1, 1, 2))
    assert a == b
    assert (a.low, a.high) != (c.low, c.high)


def test_pairing_removes_what_both_models_share():
    rng = np.random.default_rng(2)
    hard = rng.normal(size=(5, 100))
    interval = paired_bootstrap(hard, hard + 0.1)
    assert interval.low == pytest.approx(0.1)
    assert interval.high == pytest.approx(0.1)


def test_swapping_the_models_turns_the_interval_round():
    rng = np.random.default_rng(3)
    base, tuned = rng.random((4, 30)), rng.random((4, 30)) + 0.3
    there, back = paired_bootstrap(base, tuned), paired_bootstrap(tuned, base)
    assert there.difference > 0
    assert back.difference == pytest.approx(-there.difference)
    assert back.low == pytest.approx(-there.high, abs=0.01)


def test_fixed_draws_are_narrower_than_two_way():
    gain = crossed(np.random.default_rng(4), 6, 80, by_draw=0.5, by_item=0.3, by_cell=0.3)
    fixed, both = (paired_bootstrap(np.zeros_like(gain), gain, draws=d) for d in ("fixed", "two-way"))
    assert fixed.high - fixed.low < 0.5 * (both.high - both.low)
    assert "draws averaged" in fixed.method
    assert fixed.n_draws == both.n_draws == 6


def test_equal_models_are_not_shown():
    scores = np.random.default_rng(0).random((3, 20))
    assert verdict(paired_bootstrap(scores, scores)) == "not shown"


@pytest.mark.parametrize(("low", "high", "word"), [(0.1, 0.2, "helped"), (-0.2, -0.1, "hurt"), (0.0, 0.2, "not shown")])
def test_verdict_needs_the_whole_interval_on_one_side(low, high, word):
    interval = Interval(difference=(low + high) / 2, low=low, high=high, n_items=9, n_draws=1, method="")
    assert verdict(interval) == word


def test_spearman_is_scipys_on_every_row_with_ties():
    rng = np.random.default_rng(0)
    scores, gold = rng.random((5, 40)), rng.integers(0, 5, (5, 40))
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(scores, gold, strict=True)]
    np.testing.assert_allclose(spearman(scores, gold), expected)


def test_metric_bootstrap_is_the_brute_force_loop():
    rng = np.random.default_rng(0)
    gold = rng.random(40)
    base, tuned = gold + rng.normal(size=40), gold + 0.3 * rng.normal(size=40)
    interval = metric_bootstrap(base, tuned, gold, spearman, resamples=200, seed=7, method="percentile")
    chosen = np.random.default_rng(7).integers(0, 40, (200, 40))
    loop = [stats.spearmanr(tuned[c], gold[c]).statistic - stats.spearmanr(base[c], gold[c]).statistic for c in chosen]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(loop, [0.025, 0.975])))
    assert interval.difference == pytest.approx(
        stats.spearmanr(tuned, gold).statistic - stats.spearmanr(base, gold).statistic
    )


def test_bca_is_scipys_on_the_same_resamples():
    rng = np.random.default_rng(0)
    gold = rng.exponential(size=60)
    base, tuned = gold + rng.normal(size=60), gold + 0.3 * rng.normal(size=60)
    interval = metric_bootstrap(base, tuned, gold, spearman, resamples=999, seed=7)

    def difference(b, t, g, axis=-1):
        return spearman(t, g) - spearman(b, g)

    chosen = np.random.default_rng(7).integers(0, 60, (999, 60))
    ours = SimpleNamespace(bootstrap_distribution=difference(base[chosen], tuned[chosen], gold[chosen]))
    expected = stats.bootstrap(
        (base, tuned, gold),
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

    def mean(scores, gold):
        return scores.mean(axis=-1)

    end = getattr(metric_bootstrap(base, tuned, np.zeros(80), mean), at)
    assert metric_bootstrap(base, tuned - end, np.zeros(80), mean).p == pytest.approx(0.05, abs=0.002)


def test_bootstrap_p_far_from_zero_is_small_but_no_nought():
    rng = np.random.default_rng(0)
    gold = rng.random(200)
    interval = metric_bootstrap(rng.random(200), gold + 0.1 * rng.random(200), gold, spearman, resamples=200)
    assert 0 < interval.p < 1e-6


def test_sts_intervals_cover_the_truth():
    # normal scores correlated by r with gold have Spearman's correlation 6 / pi asin(r / 2)
    rng = np.random.default_rng(0)
    truth = 6 / np.pi * (np.arcsin(0.9 / 2) - np.arcsin(0.8 / 2))

    def covered():
        gold, shared, a, b = rng.normal(size=(4, 70))
        base = 0.8 * gold + 0.6 * (shared + a) / np.sqrt(2)
        tuned = 0.9 * gold + np.sqrt(1 - 0.81) * (shared + b) / np.sqrt(2)
        interval = metric_bootstrap(base, tuned, gold, spearman, resamples=200)
        return interval.low <= truth <= interval.high

    assert 0.92 <= np.mean([covered() for _ in range(200)]) <= 0.98


def test_metric_bootstrap_of_a_mean_is_the_paired_bootstrap():
    rng = np.random.default_rng(0)
    base, tuned = rng.random(200), rng.random(200) + 0.1
    by_metric = metric_bootstrap(base, tuned, np.zeros(200), lambda s, g: s.mean(axis=-1))
    by_mean = paired_bootstrap(base, tuned)
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
        paired_bootstrap([[0.0, np.nan, 1.0]], [[1.0]])
    assert "NaN" in str(caught.value)
    assert "at least 2" in str(caught.value)


@pytest.mark.parametrize("call", [paired_bootstrap, draws_interval])
def test_one_item_is_refused(call):
    with pytest.raises(DataError, match="at least 2"):
        call([1.0], [0.0])


def test_draws_interval_refuses_items():
    with pytest.raises(DataError, match="one score a draw"):
        draws_interval(np.ones((2, 5)), np.ones((2, 5)))


def test_a_constant_gold_is_refused_as_undefined():
    with pytest.raises(DataError, match="undefined"):
        metric_bootstrap(np.arange(5), np.arange(5), np.ones(5), spearman)


def test_every_bad_option_is_named_at_once():
    with pytest.raises(ParameterError, match="resamples is 0") as caught:
        paired_bootstrap([0, 1], [1, 1], resamples=0, confidence=95, draws="both")
    assert "confidence is 95" in str(caught.value)
    assert "'both'" in str(caught.value)


def test_an_unknown_kind_of_bootstrap_is_refused():
    with pytest.raises(ParameterError, match="method is 'basic'"):
        metric_bootstrap([0, 1], [1, 1], [0, 1], spearman, method="basic")
