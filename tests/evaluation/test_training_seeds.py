"""Several training seeds: their noise apart from that of items, and results of other tasks refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from gisttools.common.errors import DataError
from gisttools.evaluation.comparison import TaskResult, compare_seeds
from gisttools.evaluation.intervals import seed_spread

ITEMS, DRAWS = 60, 5


def task(kind: str, metric: str, **columns):
    data = Dataset.from_dict({"text": [f"text {i}" for i in range(ITEMS)], **columns})
    about = SimpleNamespace(name="t", type=kind, main_score=metric)
    return SimpleNamespace(
        metadata=about, dataset=DatasetDict({"test": data}), label_column_name="label", input_column_name="text",
        label_names=["no", "yes"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).integers(0, 2, ITEMS)


def answered(labels, seed: int, right: float, **about) -> TaskResult:
    random = np.random.default_rng(seed)
    correct = random.random((DRAWS, ITEMS)) < right
    answers = np.where(correct, labels, 1 - labels)
    score = float(correct.mean())
    raw = {"default": {"main_score": score, "accuracy": score, "scores_per_experiment": [{"accuracy": 0}] * DRAWS}}
    return TaskResult(raw=raw, predictions={"default": answers.tolist()}, split="test", about=about)


def test_of_a_mean_over_items_seeds_are_crossed_with_draws_and_items(labels):
    base, tuned = answered(labels, 0, 0.5), [answered(labels, s, 0.8) for s in (1, 2, 3)]
    (found,) = compare_seeds(task("Classification", "accuracy", label=labels.tolist()), base, tuned)
    right = [(np.asarray(r.predictions["default"]) == labels).astype(float) for r in (base, *tuned)]
    spread = seed_spread(right[0], np.stack(right[1:]))
    row = found.row
    assert (row.low, row.high) == (spread.interval.low, spread.interval.high)
    assert (row.seed_error, row.item_error) == (spread.seed_error, spread.item_error)
    assert (row.n_seeds, row.speaks_of, row.n_items) == (3, "the recipe", ITEMS)
    assert row.difference == pytest.approx(spread.interval.difference)
    assert len(found.items[0]["tuned_draws"]) == 3 * DRAWS


def correlated(truth, seed: int, noise: float) -> TaskResult:
    from scipy import stats

    scores = truth + noise * np.random.default_rng(seed).standard_normal(ITEMS)
    value = float(stats.spearmanr(scores, truth)[0])
    raw = {"default": {"main_score": value, "cosine_spearman": value}}
    return TaskResult(raw=raw, predictions={"default": {"cosine_scores": scores.tolist()}}, split="test")


def test_of_a_correlation_the_variances_of_seeds_and_items_add(labels):
    truth = np.linspace(0, 1, ITEMS)
    base, tuned = correlated(truth, 0, 1.0), [correlated(truth, s, 0.3) for s in (1, 2, 3)]
    made = task("STS", "cosine_spearman", score=truth.tolist())
    row = compare_seeds(made, base, tuned)[0].row
    alone = [compare_seeds(made, base, [one])[0].row for one in tuned]
    assert row.difference == pytest.approx(np.mean([r.difference for r in alone]))
    of_seeds = np.var([r.difference for r in alone], ddof=1) / 3
    of_items = np.mean([r.standard_error**2 for r in alone])
    assert row.standard_error**2 == pytest.approx(of_seeds + of_items)
    assert row.low < row.difference < row.high
    assert row.method.startswith("3 training seeds, and items: ")


def test_more_seeds_that_agree_do_not_widen_the_interval_much(labels):
    base, one = answered(labels, 0, 0.5), answered(labels, 1, 0.8)
    made = task("Classification", "accuracy", label=labels.tolist())
    alone, twice = (compare_seeds(made, base, seeds)[0].row for seeds in ([one], [one, one]))
    assert twice.difference == pytest.approx(alone.difference)
    assert twice.seed_error == 0
    assert twice.high - twice.low == pytest.approx(alone.high - alone.low, rel=0.05)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("revision", ("abc", "def"), "revision of the data: abc .base., def .tuned."),
        ("subsets", (["en"], ["en", "de"]), "subsets: .'en'. .base., .'en', 'de'. .tuned."),
        ("mteb", ("2.26", "2.27"), "version of mteb: 2.26 .base., 2.27 .tuned."),
    ],
)
def test_results_of_another_task_are_refused(labels, key, values, message):
    base, tuned = (answered(labels, i, 0.7, **{key: value}) for i, value in enumerate(values))
    with pytest.raises(DataError, match=rf"t: these results cannot be compared:\n  - t, {message}"):
        compare_seeds(task("Classification", "accuracy", label=labels.tolist()), base, [tuned])


def test_another_split_is_refused(labels):
    base, tuned = answered(labels, 0, 0.7), answered(labels, 1, 0.7)
    other = replace(tuned, split="validation")
    with pytest.raises(DataError, match=r"t, split: test \(base\), validation \(tuned\)"):
        compare_seeds(task("Classification", "accuracy", label=labels.tolist()), base, [other])
