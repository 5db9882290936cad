"""A cross-encoder on top of a search: puts its first documents in order, and says how fast that is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from gisttools.common import tqdm
from gisttools.models import Reranker

_TIMED = 3  # queries
Rankings: TypeAlias = Mapping[str, Mapping[str, float]]  # scores by query and document


@dataclass(frozen=True, kw_only=True)
class Reranking:
    """A cross-encoder on top of a search.

    Attributes:
        name: what it is called on the page.
        reranker: reads query and document together.
        depth: documents of each query that it puts in order.
    """

    name: str
    reranker: Reranker
    depth: int = 50

    def reordered(self, ranked: Rankings, data: Mapping[str, Any]) -> Rankings:
        """The rankings of all queries, each with its first documents in a new order.

        Args:
            ranked: of a search.
            data: a retrieval task's split: `queries` with id and text, `corpus` with id, title and text.
        """
        queries = {str(row["id"]): row["text"] for row in data["queries"] if isinstance(row["text"], str)}
        wanted = {name for query, found in ranked.items() if query in queries for name in found}
        passages = {str(row["id"]): _passage(row) for row in data["corpus"] if str(row["id"]) in wanted}
        return {
            query: self.reranker.reorder(queries[query], found, passages, self.depth)
            for query, found in tqdm(ranked.items(), desc="rerank", unit="query", delay=3.0)
            if query in queries
        }

    def queries_per_second(self, data: Mapping[str, Any]) -> float | None:
        """How many queries it answers in a second, the search itself left out; None without queries."""
        queries, corpus = data["queries"], data["corpus"]
        texts = [row["text"] for row in queries.select(range(min(_TIMED, len(queries))))]
        texts = [text for text in texts if isinstance(text, str)]
        passages = [_passage(row) for row in corpus.select(range(min(self.depth, len(corpus))))]
        if not texts or not passages:
            return None
        self.reranker.scores(texts[0], passages[:8], fresh=True)  # to warm up
        started = time.perf_counter()
        for text in texts:
            self.reranker.scores(text, passages, fresh=True)
        return len(texts) / (time.perf_counter() - started)


def _passage(row: Mapping[str, Any]) -> str:
    """Title and text of a document, as mteb puts them together."""
    return f"{row.get('title') or ''} {row['text']}".strip()
