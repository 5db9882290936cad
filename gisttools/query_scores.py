"""What each query of a retrieval or reranking task adds to the score, from the documents that mteb saved.

mteb averages what trec_eval says of each query; so does this module, with the same code (pytrec_eval comes with mteb).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TREC = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit_rate": "success"}
_AT = re.compile(r"(ndcg|map|recall|precision|hit_rate|mrr)_at_(\d+)")


def query_scores(
    ranked: Mapping[str, Mapping[str, float]],
    relevant: Mapping[str, Mapping[str, int]],
    metric: str,
    *,
    ignore_identical_ids: bool = False,
    skip_first_result: bool = False,
) -> dict[str, float] | None:
    """Each query's score by its id; None for a metric that is no mean over queries.

    Args:
        ranked: mteb's saved predictions: scores of documents, by query and document id.
        relevant: how relevant documents are, by query and document id; queries that none is relevant to are left out.
        metric: as mteb calls it, such as `ndcg_at_10`, `map_at_1000`, `mrr_at_10`, `recall_at_5` or `accuracy`.
        ignore_identical_ids, skip_first_result: as the task has them.
    """
    import pytrec_eval

    named = _AT.fullmatch("recall_at_1" if metric == "accuracy" else metric)
    if named is None:
        return None
    name, k = named[1], int(named[2])
    gold = {query: {d: int(r) for d, r in found.items()} for query, found in relevant.items() if found}
    run = {query: dict(documents) for query, documents in ranked.items() if query in gold}
    if ignore_identical_ids:
        run = {query: {d: s for d, s in documents.items() if d != query} for query, documents in run.items()}
    if skip_first_result:
        run = {q: dict(sorted(found.items(), key=lambda pair: pair[1], reverse=True)[1:]) for q, found in run.items()}
    if name == "mrr":
        return {query: _reciprocal_rank(documents, gold[query], k) for query, documents in run.items()}
    scores = pytrec_eval.RelevanceEvaluator(gold, {f"{_TREC[name]}.{k}"}).evaluate(run)
    return {query: float(found[f"{_TREC[name]}_{k}"]) for query, found in scores.items()}


def source_documents(relevant: Mapping[str, Mapping[str, int]], queries: list[str]) -> list[tuple[str, ...]]:
    """The documents each query was written for: queries that share all of theirs are no independent items."""
    return [tuple(sorted(d for d, r in relevant[q].items() if r > 0)) or (q,) for q in queries]


def _reciprocal_rank(documents: Mapping[str, float], relevant: Mapping[str, int], k: int) -> float:
    # equal scores stand by descending id, as trec_eval has them
    top = sorted(documents.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)[:k]
    return next((1 / rank for rank, (d, _) in enumerate(top, start=1) if relevant.get(d, 0) > 0), 0.0)
