"""Intervals by formula: against scipy, against simulated truth, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from gisttools.common.errors import DataError, ParameterError
from gisttools.evaluation.intervals import (
    clustered_interval,
    crossed_interval,
    metric_bootstrap,
    resampled_interval,
    seed_spread,
    spearman,
    verdict,
)
from gisttools.evaluation.items import f1_values

TRUE = 0.1
MATRICES = arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(2, 9)), elements=st.floats(-1, 1, width=16))


def crossed(rng, draws, items, *, by_draw=0.0, by_item=0.0, by_cell=0.0):
    noise = by_draw * rng.normal(size=(draws, 1)) + by_item * rng.normal(size=(1, items))
    return TRUE + noise + by_cell * rng.normal(size=(draws, items))


def covers(make, sims=1000):
    rng = np.random.default_rng(3)
    return np.mean([i.low <= TRUE <= i.high for i in (make(rng) for _ in range(sims))])


def against_nothing(gain):
    return crossed_interval(np.zeros_like(gain), gain)


@pytest.mark.parametrize("by_draw", [0.0, 0.01, 0.05])
def test_two_way_variance_covers_the_truth_of_a_thousand_items_and_ten_draws(by_draw):
    share = covers(lambda r: against_nothing(crossed(r, 10, 1000, by_draw=by_draw, by_item=0.3, by_cell=0.3)), 700)
    assert 0.92 <= share <= 0.98


def test_two_way_variance_covers_the_truth_of_zeros_and_ones():
    def interval(rng):
        easy = np.clip(0.6 + 0.3 * rng.normal(size=300), 0, 1)
        base = rng.random((10, 300)) < easy
        tuned = rng.random((10, 300)) < np.clip(easy + rng.normal(TRUE, 0.1, 300) + rng.normal(0, 0.01, (10, 1)), 0, 1)
        # what is estimated is the mean over items of the clipped chances
        return crossed_interval(base, tuned)

    rng = np.random.default_rng(0)
    easy = np.clip(0.6 + 0.3 * rng.normal(size=1_000_000), 0, 1)
    truth = np.mean(np.clip(easy + rng.normal(TRUE, np.hypot(0.1, 0.01), easy.size), 0, 1) - easy)
    rng = np.random.default_rng(3)
    share = np.mean([i.low <= truth <= i.high for i in (interval(rng) for _ in range(700))])
    assert 0.92 <= share <= 0.98


def test_items_alone_and_pooled_cells_do_not_cover_it():
    noise = {"by_draw": 0.05, "by_item": 0.3, "by_cell": 0.3}
    assert covers(lambda r: against_nothing(crossed(r, 10, 1000, **noise).mean(axis=0)), 300) < 0.8
    assert covers(lambda r: against_nothing(crossed(r, 10, 1000, **noise).ravel()), 300) < 0.6


def test_with_draws_of_no_effect_it_is_as_wide_as_the_paired_t_over_items():
    gain = crossed(np.random.default_rng(0), 10, 2000, by_item=0.5)
    found, t = against_nothing(gain), stats.ttest_1samp(gain[0], 0)
    assert found.high - found.low == pytest.approx(np.ptp(t.confidence_interval()), rel=1e-6)


def test_a_few_noisy_draws_are_still_covered():
    assert covers(lambda r: against_nothing(crossed(r, 3, 30, by_draw=0.3, by_item=0.1, by_cell=0.1))) >= 0.92


def test_pairing_removes_what_both_models_share():
    rng = np.random.default_rng(2)
    hard, own = rng.normal(size=(5, 100)), 0.001 * rng.normal(size=(5, 100))
    found = crossed_interval(hard, hard + own + TRUE)
    assert (found.low, found.high) == pytest.approx((TRUE, TRUE), abs=0.001)


@pytest.mark.parametrize(("items", "shown"), [(2, "not shown"), (5, "not shown"), (6, "helped"), (40, "helped")])
@pytest.mark.parametrize("draws", [None, 3])
def test_items_that_all_agree_say_no_more_than_a_sign_test(items, shown, draws):
    shape = (items,) if draws is None else (draws, items)
    for found in (
        crossed_interval(np.zeros(shape), np.ones(shape)),
        clustered_interval(np.zeros(items), np.ones(items), list(range(items))),
        seed_spread(np.zeros((2, items)), np.ones((2, items))).interval,
    ):
        assert (verdict(found), found.difference) == (shown, 1.0)
        assert found.low < 1 < found.high


def test_where_no_item_differs_those_that_were_not_seen_still_may():
    for items, scores in ((10, np.ones(10)), (1000, np.ones(1000))):
        found = crossed_interval(scores, scores)
        assert found.high == -found.low == pytest.approx(3.7 / items, rel=0.2)


def test_rounding_is_no_noise():
    found = crossed_interval([0.1, 0.2], [0.3, 0.4])  # whose gains differ in their last bits
    assert (verdict(found), found.difference) == ("not shown", pytest.approx(0.2))


def test_a_correlation_of_three_items_shows_nothing():
    found = metric_bootstrap([3, 2, 1], [1, 2, 3], [1, 2, 3], spearman)
    assert (verdict(found), found.difference) == ("not shown", 2.0)


def test_equal_models_are_not_shown():
    scores = np.random.default_rng(0).random((3, 20))
    assert verdict(crossed_interval(scores, scores)) == "not shown"


def test_one_draw_is_scipys_paired_t():
    base, tuned = np.random.default_rng(0).random((2, 40))
    expected = stats.ttest_rel(tuned, base)
    found = crossed_interval(base, tuned)
    assert (found.low, found.high, found.p) == pytest.approx((*expected.confidence_interval(), expected.pvalue))


def test_the_variance_is_that_of_a_brute_force_analysis_of_variance():
    gain = np.random.default_rng(0).normal(size=(4, 6))
    rows, columns = gain.mean(1), gain.mean(0)
    rest = np.array([[gain[i, j] - rows[i] - columns[j] + gain.mean() for j in range(6)] for i in range(4)])
    parts = np.array([6 * rows.var(ddof=1), 4 * columns.var(ddof=1), (rest**2).sum() / 15]) / 24
    kept = [max(parts[0] - parts[2], 0), max(parts[1] - parts[2], 0), parts[2]]
    found = against_nothing(gain)
    assert found.standard_error**2 == pytest.approx(sum(kept))
    assert found.freedom == pytest.approx(max(sum(kept) ** 2 / (parts**2 / [3, 5, 15]).sum(), 1))


@given(MATRICES)
def test_p_and_verdict_agree(gain):
    found = against_nothing(gain)
    assert (verdict(found) != "not shown") == (found.p < 0.05)


@given(MATRICES)
def test_swapping_the_models_turns_the_interval_round(gain):
    there, back = against_nothing(gain), crossed_interval(gain, np.zeros_like(gain))
    assert (back.low, back.high, back.p) == pytest.approx((-there.high, -there.low, there.p))


def test_clusters_of_one_item_are_the_paired_t():
    base, tuned = np.random.default_rng(0).random((2, 30))
    found, expected = clustered_interval(base, tuned, range(30)), crossed_interval(base, tuned)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.method == "paired t over items"


def test_whole_copies_of_items_add_nothing():
    base, tuned = np.random.default_rng(0).random((2, 30))
    found = clustered_interval(np.tile(base, 4), np.tile(tuned, 4), list(range(30)) * 4)
    expected = crossed_interval(base, tuned)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def queries(rng):
    """120 queries of 60 documents of very different share: what a document brings, all its queries have."""
    document = np.concatenate([np.arange(60), rng.integers(0, 20, 60)])
    gain = TRUE + 0.3 * rng.normal(size=60)[document] + 0.2 * rng.normal(size=120)
    return gain, document


def test_clusters_cover_the_truth_where_queries_share_documents():
    assert 0.92 <= covers(lambda r: clustered_interval(np.zeros(120), *queries(r))) <= 0.98


def test_queries_taken_as_independent_do_not_cover_it():
    assert covers(lambda r: against_nothing(queries(r)[0])) < 0.90


def test_draws_that_resample_documents_cover_other_documents():
    def interval(rng):
        documents = TRUE + rng.normal(size=200)
        return resampled_interval(
            np.zeros(10), documents[rng.integers(0, 200, (10, 200))].mean(axis=1), n_items=200, drawn=200
        )

    assert 0.92 <= covers(interval) <= 0.98


def test_larger_draws_of_the_same_documents_are_no_surer():
    base, tuned = np.random.default_rng(0).random((2, 10))
    once, twice = (resampled_interval(base, tuned, n_items=100, drawn=n) for n in (100, 200))
    assert twice.standard_error > once.standard_error


def test_f1_over_crossed_draws_and_items_covers_the_truth():
    def draw(rng, items):
        right = rng.integers(0, 4, items)
        hard = rng.random(items)
        said = [np.where(hard + 0.2 * rng.normal(size=(8, items)) < c, right, rng.integers(0, 4, (8, items)))
                for c in (0.5, 0.6)]  # fmt: skip
        return [f1_values(s, right) for s in said]

    truth = np.subtract(*(v.mean() for v in draw(np.random.default_rng(1), 50_000)[::-1]))
    rng = np.random.default_rng(3)
    found = [crossed_interval(*draw(rng, 300)) for _ in range(300)]
    assert 0.92 <= np.mean([i.low <= truth <= i.high for i in found]) <= 0.98


def test_the_noise_of_seeds_is_kept_apart_from_that_of_items():
    rng = np.random.default_rng(0)
    gain = crossed(rng, 200, 400, by_draw=0.05, by_item=0.4, by_cell=0.1)
    found = seed_spread(np.zeros(400), gain)
    assert found.seed_error == pytest.approx(0.05 / np.sqrt(200), rel=0.15)
    assert found.item_error == pytest.approx(0.4 / np.sqrt(400), rel=0.15)


@pytest.mark.parametrize("draws", [0, 5])
def test_several_seeds_cover_other_trainings(draws):
    def interval(rng):
        gain = crossed(rng, 3, 200, by_draw=0.05, by_item=0.3)[:, None].repeat(max(draws, 1), axis=1)
        gain = gain + 0.2 * rng.normal(size=gain.shape)
        gain = gain + 0.03 * rng.normal(size=(1, draws, 1)) if draws else gain[:, 0]
        return seed_spread(np.zeros_like(gain), gain).interval

    assert covers(interval) >= 0.92


def test_the_interval_of_one_seed_is_that_of_its_checkpoint_alone():
    gain = crossed(np.random.default_rng(0), 1, 50, by_item=0.3)
    found = seed_spread(np.zeros((1, 50)), gain)
    assert np.isnan(found.seed_error)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (against_nothing(gain).low, against_nothing(gain).high)
    )


def test_one_cluster_is_refused():
    with pytest.raises(DataError, match="one cluster"):
        clustered_interval([0.0, 1.0], [1.0, 1.0], ["a", "a"])


def test_cluster_names_must_be_as_many_as_items():
    with pytest.raises(DataError, match="3 cluster names"):
        clustered_interval([0.0, 1.0], [1.0, 1.0], ["a", "b", "c"])


def test_seeds_that_do_not_pair_are_refused():
    with pytest.raises(DataError, match="do not pair"):
        seed_spread(np.zeros(4), np.zeros((3, 5)))


@pytest.mark.parametrize("call", [crossed_interval, lambda a, b, **k: clustered_interval(a, b, [0, 1], **k)])
def test_a_confidence_out_of_range_is_refused(call):
    with pytest.raises(ParameterError, match="confidence is 95"):
        call([0.0, 1.0], [1.0, 1.0], confidence=95)
