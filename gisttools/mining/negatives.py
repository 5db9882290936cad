"""Finds hard negatives for pairs of a query and a document that answers it, in a corpus: by a guide, by BM25, or both.

A document may be a negative n of query q and positive p if g(q, n) <= g(q, p) - (1 - margin) |g(q, p)|, g being the
guide's cosine (positive-aware mining: G. de Souza P. Moreira et al., *NV-Retriever*, arXiv 2407.15831, who take 95 % of
the positive's similarity), and if it is no answer to q that is known. Of those that may, the nearest by the guide are
taken, those with the highest BM25 score, or both in turns.

Memory is linear: similarities are made a block of queries at a time, and what is kept are numbers of documents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from gisttools.common import DataError, share_of
from gisttools.data import COLUMNS, WordIndex, as_dataset, triplet_id
from gisttools.mining.classes import by_rank
from gisttools.mining.neighbours import Join, compare
from gisttools.mining.options import MiningOptions
from gisttools.models import VectorCache, is_search


@dataclass(frozen=True)
class MinedNegatives:
    """Negatives of each query and each of its positives.

    Attributes:
        queries, positives: numbers of queries and documents, int64 (M,); by query, then in the order of its positives.
        negatives: numbers of documents, int64 (M, K), the hardest first; -1 where there are fewer.
    """

    queries: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray


def mine_negatives(
    queries: Sequence[str],
    corpus: Sequence[str],
    relevant: Sequence[Sequence[int]],
    vectors: tuple[np.ndarray, np.ndarray],
    options: MiningOptions | None = None,
) -> MinedNegatives:
    """Hard negatives for every query and each of its positives, none of them an answer to it that is known, nor equal
    to the query.

    Args:
        queries: (Q,).
        corpus: (N,), different texts.
        relevant: of each query, the numbers of all documents that answer it.
        vectors: unit guide vectors of queries, float32 (Q, G), and of the corpus, float32 (N, G).
        options: `negatives`, `margin`, `rank_from`, `rank_to`, `hard_from` and `seed` count; the strategy is hard.

    Raises:
        DataError: texts of the corpus repeat, or shapes do not fit.
    """
    options = options or MiningOptions(strategy="hard")
    if len(set(corpus)) < len(corpus):
        raise DataError("The corpus holds texts more than once. Give each once, with all queries that it answers.")
    if any(len(texts) != len(part) for texts, part in ((queries, vectors[0]), (corpus, vectors[1]))):
        raise DataError(f"There are {len(queries)} queries and {len(corpus)} documents, but vectors of other numbers.")
    search = _Search(queries, corpus, relevant, np.concatenate(vectors), options)
    rows, columns = np.arange(len(queries)), np.arange(len(corpus)) + len(queries)
    if len(queries) and len(corpus):
        compare(search.vectors, [Join(rows, [columns])], search.block)
    return MinedNegatives(search.owner, search.positives, search.negatives)


class _Search:
    """What blocks of similarities are searched for, and what was found."""

    def __init__(
        self,
        queries: Sequence[str],
        corpus: Sequence[str],
        relevant: Sequence[Sequence[int]],
        vectors: np.ndarray,
        options: MiningOptions,
    ) -> None:
        self.queries, self.vectors, self.options = queries, vectors, options
        own = [list(dict.fromkeys(part)) for part in relevant]
        self.counts = np.array([len(part) for part in own], dtype=np.int64)
        self.begins = np.cumsum(self.counts) - self.counts
        self.owner = np.repeat(np.arange(len(queries)), self.counts)
        self.positives = np.array([place for part in own for place in part], dtype=np.int64)
        places = {text: place for place, text in enumerate(corpus)}
        self.equal = np.array([places.get(text, -1) for text in queries], dtype=np.int64)
        self.negatives = np.full((len(self.owner), options.negatives), -1, dtype=np.int64)
        # drawn up front: neither blocks nor threads can matter
        self.draws = np.random.default_rng(options.seed).random(self.negatives.shape)
        self.words = None if options.hard_from == "guide" else WordIndex(corpus)

    def block(self, rows: np.ndarray, columns: np.ndarray, scores: np.ndarray) -> None:
        """Fill the negatives of these queries, whose similarities with the whole corpus these are."""
        for i, query in enumerate(rows.tolist()):
            scores[i, self.positives[self.owner_rows(query)]] = -np.inf
            if self.equal[query] >= 0:
                scores[i, self.equal[query]] = -np.inf
        words = None if self.words is None else np.stack([self.words.scores(self.queries[q]) for q in rows.tolist()])
        for place in range(int(self.counts[rows].max(initial=0))):
            some = np.flatnonzero(self.counts[rows] > place)
            pairs = self.begins[rows[some]] + place
            found = scores[some]
            theta = (self.vectors[rows[some]] * self.vectors[len(self.queries) + self.positives[pairs]]).sum(1)
            found[found > share_of(theta, self.options.margin)[:, None]] = -np.inf
            self.negatives[pairs] = self._picked(found, None if words is None else words[some], self.draws[pairs])

    def owner_rows(self, query: int) -> slice:
        """The pairs of a query."""
        return slice(int(self.begins[query]), int(self.begins[query] + self.counts[query]))

    def _picked(self, scores: np.ndarray, words: np.ndarray | None, draws: np.ndarray) -> np.ndarray:
        """The negatives of each row among the documents that are not barred, (b, K)."""
        o = self.options
        depth = o.rank_to or o.rank_from + o.negatives
        lists = [_ranked(scores, depth)] if o.hard_from != "bm25" else []
        if words is not None:
            lists.append(_ranked(np.where((scores > -np.inf) & (words > 0), words, -np.inf), depth))
        ranked = lists[0] if len(lists) == 1 else _in_turns(lists[0], lists[1], depth)
        value = np.where(ranked >= 0, -np.arange(depth, dtype=np.float32), -np.inf)  # ranks as scores, to be picked by
        places = by_rank(value, o.negatives, o.rank_from, o.rank_to, draws)
        return np.where(places >= 0, np.take_along_axis(ranked, np.maximum(places, 0), axis=1), -1)


def _ranked(scores: np.ndarray, depth: int) -> np.ndarray:
    """The best columns of each row, the best first, of equal ones the first; -1 where all others are barred."""
    return by_rank(scores, depth, 0, None, np.empty((len(scores), 0)))


def _in_turns(first: np.ndarray, second: np.ndarray, depth: int) -> np.ndarray:
    """One of each in turns, each document once, (b, depth)."""
    found = np.full((len(first), depth), -1, dtype=np.int64)
    for row, both in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        turns = dict.fromkeys(place for pair in zip(*both, strict=True) for place in pair if place >= 0)
        own = list(turns)[:depth]
        found[row, : len(own)] = own
    return found


@dataclass
class _Group:
    """Rows of one task, whose texts are searched together."""

    rows: list[int] = field(default_factory=list)
    queries: dict[str, int] = field(default_factory=dict)
    corpus: dict[str, int] = field(default_factory=dict)
    relevant: list[dict[int, None]] = field(default_factory=list)

    def add(self, anchor: str, positive: str) -> None:
        """A pair that belongs together."""
        query = self.queries.setdefault(anchor, len(self.queries))
        if query == len(self.relevant):
            self.relevant.append({})
        self.relevant[query][self.corpus.setdefault(positive, len(self.corpus))] = None


def bare_rows(table: Dataset) -> np.ndarray:
    """Which rows of a triplet table negatives are mined for, bool (n,): those that have none, and whose anchor is a
    query: it has no label."""
    columns = table.select_columns(["negatives", "anchor_label"]).with_format("arrow")[:]
    given = [bool(found) for found in columns["negatives"].to_pylist()]
    return ~np.array(given, dtype=bool) & np.array(columns["anchor_label"].is_null().to_pylist(), dtype=bool)


def with_hard_negatives(
    table: Dataset,
    guide: VectorCache,
    options: MiningOptions,
    *,
    known: Dataset | None = None,
    corpus: Sequence[str] = (),
) -> Dataset:
    """The table with hard negatives in the rows that have none (`bare_rows`), mined in each task apart, among its
    positives, its negatives and the corpus. Queries and documents have the guide's prompts of their own.

    Args:
        table: pairs; rows with negatives stay as they are.
        guide: decides how near is too near, and finds the nearest.
        options: as in `mine_negatives`.
        known: all pairs that are known to belong together, where the table holds a part of them.
        corpus: more documents.

    Raises:
        As `VectorCache.embed`.
    """
    wanted = bare_rows(table)
    columns = table.with_format("arrow")[:]
    told = {name: columns[name].to_pylist() for name in ("anchor", "positive", "negatives", "task_name", "task_type")}
    groups = _groups(table if known is None else known, corpus)
    for row in np.flatnonzero(wanted).tolist():
        group = groups[told["task_name"][row], told["task_type"][row]]
        group.rows.append(row)
        group.add(told["anchor"][row], told["positive"][row])
    found: dict[int, list[str]] = {}
    for (task, kind), group in groups.items():
        if group.rows:
            found |= _mined(group, guide, options, (task, kind), told)
    negatives = [found.get(row, given or []) for row, given in enumerate(told["negatives"])]
    ids = [triplet_id(*texts) for texts in zip(told["anchor"], told["positive"], negatives, strict=True)]
    sources = columns["negative_sources"].to_pylist()
    changed: Mapping[str, list[Any]] = {
        "id": ids,
        "negatives": negatives,
        "negative_sources": [["mined"] * len(found[i]) if i in found else own for i, own in enumerate(sources)],
    }
    for name, values in changed.items():
        place = COLUMNS.get_field_index(name)
        columns = columns.set_column(place, COLUMNS.field(name), pa.array(values, COLUMNS.field(name).type))
    return as_dataset(columns)


def _groups(table: Dataset, corpus: Sequence[str]) -> dict[tuple[str | None, str | None], _Group]:
    """What is known of each task."""
    groups: dict[tuple[str | None, str | None], _Group] = defaultdict(_Group)
    names = ["anchor", "positive", "negatives", "task_name", "task_type"]
    told = table.select_columns(names).with_format("arrow")[:]
    for anchor, positive, negatives, task, kind in zip(*(told[name].to_pylist() for name in names), strict=True):
        group = groups[task, kind]
        group.add(anchor, positive)
        for text in negatives or ():
            group.corpus.setdefault(text, len(group.corpus))
    for group in groups.values():
        for text in corpus:
            group.corpus.setdefault(text, len(group.corpus))
    return groups


def _mined(
    group: _Group,
    guide: VectorCache,
    options: MiningOptions,
    named: tuple[str | None, str | None],
    told: Mapping[str, list[Any]],
) -> dict[int, list[str]]:
    """The negatives of a group's rows, as texts, by row."""
    queries, corpus = list(group.queries), list(group.corpus)
    asked, answers = guide.prompts.of(*named, searches=is_search(named[1], None))
    vectors = guide.with_prompt(asked).embed(queries), guide.with_prompt(answers).embed(corpus)
    mined = mine_negatives(queries, corpus, [list(part) for part in group.relevant], vectors, options)
    rows = {pair: row for row, pair in enumerate(zip(mined.queries.tolist(), mined.positives.tolist(), strict=True))}
    found = {}
    for row in group.rows:
        place = rows[group.queries[told["anchor"][row]], group.corpus[told["positive"][row]]]
        found[row] = [corpus[n] for n in mined.negatives[place].tolist() if n >= 0]
    return found
