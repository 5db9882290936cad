"""Metrics taken apart: what items add up to is scikit-learn's score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import average_precision_score, f1_score

from gisttools.common.errors import DataError
from gisttools.evaluation.items import average_precision, f1_values, own_label_f1


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 5))
def test_the_mean_of_f1_values_is_scikit_learns_macro_f1(seed, items, classes):
    rng = np.random.default_rng(seed)
    truth, answers = rng.integers(0, classes, items), rng.integers(0, classes + 1, (3, items))
    expected = [f1_score(truth, a, average="macro") for a in answers]
    np.testing.assert_allclose(f1_values(answers, truth).mean(axis=1), expected)


def test_the_mean_of_f1_values_of_several_labels_is_scikit_learns():
    rng = np.random.default_rng(0)
    truth, answers = rng.random((40, 5)) < 0.3, rng.random((3, 40, 5)) < 0.3
    truth[:, 4] = answers[:, :, 4] = False  # a label that never occurs counts as 0
    expected = [f1_score(truth, a, average="macro", zero_division=0) for a in answers]
    np.testing.assert_allclose(f1_values(answers, truth).mean(axis=1), expected)


def test_f1_values_tell_how_f1_changes_as_an_item_gains_weight():
    rng = np.random.default_rng(0)
    truth, answer = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    step = 1e-6
    for item in range(50):
        weights = np.ones(50)
        weights[item] += step
        more = f1_score(truth, answer, average="macro", sample_weight=weights)
        slope = (more - f1_score(truth, answer, average="macro")) / step
        value = f1_values(answer[None], truth)[0]
        assert value[item] - value.mean() == pytest.approx(50 * slope, abs=1e-3)


def test_their_spread_is_that_of_a_bootstrap():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 400)
    answer = np.where(rng.random(400) < 0.7, truth, rng.integers(0, 4, 400))
    chosen = rng.integers(0, 400, (400, 400))
    loop = [f1_score(truth[c], answer[c], average="macro") for c in chosen]
    assert f1_values(answer[None], truth)[0].std() / 20 == pytest.approx(np.std(loop), rel=0.1)


def test_labels_may_be_strings():
    assert f1_values([["a", "b", "b"]], ["a", "b", "a"]).mean() == pytest.approx(2 / 3)


def test_answers_of_another_size_are_refused():
    with pytest.raises(DataError, match=r"\(2, 3\) do not fit true labels of shape \(4,\)"):
        f1_values(np.zeros((2, 3)), np.zeros(4))


@given(st.integers(0, 10_000), st.integers(2, 60))
def test_the_mean_of_own_label_f1_is_f1_by_support(seed, items):
    answers = np.random.default_rng(seed).integers(0, items, items)
    expected = f1_score(np.arange(items), answers, average="weighted", zero_division=0)
    assert own_label_f1(answers, np.arange(items)).mean() == pytest.approx(expected)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(2, 40), st.booleans())
def test_average_precision_is_scikit_learns_with_ties(seed, items, ties):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (4, items)) / 4 if ties else rng.random((4, items))
    truth = rng.integers(0, 2, (4, items)).astype(float)
    truth[:, 0] = 1
    expected = [average_precision_score(g, s) for g, s in zip(truth, scores, strict=True)]
    np.testing.assert_allclose(average_precision(scores, truth), expected)


def test_average_precision_of_nothing_positive_is_undefined():
    assert np.isnan(average_precision(np.arange(3.0), np.zeros(3)))
