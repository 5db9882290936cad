"""Scores of single queries: their mean is what mteb reports, whatever the metric, ties and ids."""

from __future__ import annotations

import numpy as np
import pytest
from mteb._evaluators.retrieval_evaluator import RetrievalEvaluator
from mteb._evaluators.retrieval_metrics import make_score_dict

from gisttools.evaluation.items import query_scores, source_documents


@pytest.fixture(scope="module")
def searched():
    """Ranked documents with ties, of which some share the query's id, and graded relevance."""
    rng = np.random.default_rng(0)
    names = [f"d{i}" for i in range(30)]
    queries = [f"d{i}" for i in range(5)] + [f"q{i}" for i in range(12)]
    ranked = {q: {d: float(rng.integers(0, 8)) / 8 for d in names if rng.random() < 0.8} for q in queries}
    relevant = {q: {str(d): int(rng.integers(0, 3)) for d in rng.choice(names, 4, replace=False)} for q in queries}
    return ranked, relevant


def mteb_scores(ranked, relevant, **options):
    ranked = {q: dict(d) for q, d in ranked.items()}  # mteb takes documents out of what it is given
    found = RetrievalEvaluator.evaluate(None, relevant, ranked, (1, 3, 5, 10), **options)
    names = ["ndcg", "_map", "recall", "precision", "naucs", "mrr", "naucs_mrr", "hit_rate"]
    return make_score_dict(**dict(zip(names, found[1:], strict=True)), task_scores={})


@pytest.mark.parametrize(
    "options", [{}, {"ignore_identical_ids": True}, {"skip_first_result": True}], ids=["plain", "own id", "first"]
)
@pytest.mark.parametrize(
    "metric", ["ndcg_at_10", "map_at_5", "recall_at_3", "precision_at_1", "hit_rate_at_3", "mrr_at_10", "accuracy"]
)
def test_the_mean_over_queries_is_mtebs_score(searched, metric, options):
    scores = query_scores(*searched, metric, **options)
    expected = mteb_scores(*searched, **options)[metric]
    mean = np.mean(list(scores.values()))
    assert (mean if metric.startswith("mrr") else round(mean, 5)) == pytest.approx(expected, abs=1e-6)


def test_queries_that_nothing_is_relevant_to_are_left_out(searched):
    ranked, relevant = searched
    assert "q0" not in query_scores(ranked, {**relevant, "q0": {}}, "ndcg_at_10")


@pytest.mark.parametrize("metric", ["p-MRR", "max_over_subqueries_map_at_1000", "nauc_ndcg_at_10_max"])
def test_a_metric_that_is_no_mean_over_queries_has_none(searched, metric):
    assert query_scores(*searched, metric) is None


def test_queries_of_one_document_share_their_source():
    relevant = {"a": {"x": 1, "y": 0}, "b": {"x": 1}, "c": {"x": 1, "y": 1}, "d": {"y": 0}, "e": {"y": 0}}
    a, b, c, d, e = source_documents(relevant, list("abcde"))
    assert a == b
    assert len({b, c, d, e}) == 4


def test_documents_whose_chunks_answer_one_question_are_one_source():
    """A question with answers in two documents depends on what is asked on either."""
    ids = {name: f"{name}.md#1-0000000{i}" for i, name in enumerate("abcd")}
    relevant = {"1": {ids["a"]: 1}, "2": {ids["a"]: 1, ids["b"]: 1}, "3": {ids["b"]: 1}, "4": {ids["c"]: 1}}
    one, two, three, four = source_documents(relevant, list("1234"))
    assert one == two == three != four
