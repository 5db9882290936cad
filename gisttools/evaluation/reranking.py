"""Puts a search's first documents in order with a cross-encoder, and measures how fast that is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gisttools.common import tqdm
from gisttools.models import Reranker

_TIMED = 3  # queries


def reordered(
    ranked: Mapping[str, Mapping[str, float]], data: Mapping[str, Any], reranker: Reranker, depth: int
) -> dict[str, dict[str, float]]:
    """The rankings of all queries (id to document to score), each with its first `depth` documents in a new order.

    Args:
        data: a retrieval task's split: `queries` with id and text, `corpus` with id, title and text.
    """
    queries = {str(row["id"]): row["text"] for row in data["queries"] if isinstance(row["text"], str)}
    wanted = {name for query, found in ranked.items() if query in queries for name in found}
    passages = {str(row["id"]): _passage(row) for row in data["corpus"] if str(row["id"]) in wanted}
    return {
        query: reranker.reorder(queries[query], found, passages, depth)
        for query, found in tqdm(ranked.items(), desc="rerank", unit="query", delay=3.0)
        if query in queries
    }


def queries_per_second(reranker: Reranker, data: Mapping[str, Any], depth: int) -> float | None:
    """How many queries with `depth` documents each it answers in a second, the search itself left out; None without
    queries."""
    queries = [row["text"] for row in data["queries"].select(range(min(_TIMED, len(data["queries"]))))]
    queries = [text for text in queries if isinstance(text, str)]
    passages = [_passage(row) for row in data["corpus"].select(range(min(depth, len(data["corpus"]))))]
    if not queries or not passages:
        return None
    reranker.scores(queries[0], passages[:8], fresh=True)
    started = time.perf_counter()
    for query in queries:
        reranker.scores(query, passages, fresh=True)
    return len(queries) / (time.perf_counter() - started)


def _passage(row: Mapping[str, Any]) -> str:
    """Title and text of a document, as mteb puts them together."""
    return f"{row.get('title') or ''} {row['text']}".strip()
