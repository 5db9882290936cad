"""Labelled texts to triplets, by guide similarity, in blocks.

`strategy="gistembed"` is the procedure of the GISTEmbed paper (arXiv 2402.16829): every text is an anchor once; its
positive is drawn from the softmax of the guide's similarities over the nearest texts of its class, its negatives
uniformly from all other classes. Where this differs from the paper's code: a text never becomes its own positive, and
similarities are computed inside a class only, one block of rows at a time.

`strategy="hard"` draws positives alike and takes as negatives the nearest texts of other classes that stay under the
guide's margin (positive-aware mining: g(a, n) <= margin * g(a, p)).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from datasets import Dataset

from gisttools.errors import DataError, ParameterError, problems
from gisttools.guide import score_triplets
from gisttools.labelled import LabelledTexts
from gisttools.triplets import make_triplets
from gisttools.vectors import VectorCache

_BLOCK_VALUES = 4_000_000  # similarities held at a time
_SLICE = 32  # rows of one matrix product

Strategy = Literal["gistembed", "hard"]


@dataclass(frozen=True)
class Mined:
    """Indices into the texts: anchors (M,), positives (M,), negatives (M, K); and rows dropped, by reason."""

    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    dropped: dict[str, int]


def mine(
    texts: Sequence[str],
    labels: Sequence[str],
    vectors: np.ndarray,
    *,
    strategy: Strategy = "gistembed",
    negatives: int = 1,
    topk: int = 100,
    temperature: float = 0.05,
    margin: float = 0.95,
    drop_singletons: bool = False,
    seed: int = 1029,
) -> Mined:
    """Pick a positive and negatives for every text.

    Args:
        texts, labels: N of each.
        vectors: unit guide vectors, shape (N, G).
        negatives: negatives per row.
        topk, temperature: the positive is drawn from softmax(similarity / temperature) over the `topk` nearest.
        margin: `hard` only; a negative's similarity to the anchor is at most this share of the positive's.
        drop_singletons: drop classes of one text instead of refusing them.
        seed: the same seed gives the same rows, whatever the block size.

    Raises:
        ParameterError: an option is out of range.
        DataError: fewer than two classes, or a class of one text; every such class is named.
    """
    _check_options(strategy, negatives, topk, temperature)
    names, y = np.unique(np.asarray(labels), return_inverse=True)
    sizes = np.bincount(y)
    _check_classes(names, sizes, drop_singletons)
    _, text_ids = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
    draws = np.random.default_rng(seed).random((len(texts), 1 + negatives))  # drawn up front: blocks cannot matter

    positives = _draw_positives(vectors, y, text_ids, draws[:, 0], topk, temperature)
    if strategy == "gistembed":
        chosen = _draw_uniform_negatives(y, sizes, draws[:, 1:])
    else:
        chosen = _nearest_negatives(vectors, y, text_ids, positives, negatives, margin)

    anchors = np.arange(len(texts))
    reasons = np.full(len(texts), "", dtype=object)
    reasons[sizes[y] == 1] = "class of one text"
    reasons[(reasons == "") & (positives < 0)] = "no other text in its class"
    reasons[(reasons == "") & (chosen < 0).all(1)] = "no negative under the margin"
    safe = np.where(chosen < 0, 0, chosen)
    clash = (text_ids[safe] == text_ids[:, None]) | (text_ids[safe] == text_ids[positives][:, None])
    reasons[(reasons == "") & (clash & (chosen >= 0)).any(1)] = "negative equals anchor or positive"
    keep = reasons == ""
    return Mined(anchors[keep], positives[keep], chosen[keep], dict(Counter(reasons[~keep])))


def triplets_from_labelled(data: LabelledTexts, guide: VectorCache, **options) -> tuple[Dataset, dict[str, int]]:
    """Mine a triplet table from labelled texts; `options` are those of `mine`. Also returns the rows dropped."""
    mined = mine(data.texts, data.labels, guide.embed(data.texts), **options)
    rows = []
    for a, p, ns in zip(mined.anchors, mined.positives, mined.negatives, strict=True):
        ns = ns[ns >= 0]
        rows.append(
            {
                "anchor": data.texts[a],
                "positive": data.texts[p],
                "negatives": [data.texts[n] for n in ns],
                "anchor_label": data.labels[a],
                "positive_label": data.labels[p],
                "negative_labels": [data.labels[n] for n in ns],
                "task_name": data.task_name or data.source,
                "task_type": "Classification",
                "language": data.language,
                "source": "labelled",
                "source_revision": data.revision,
            }
        )
    return score_triplets(make_triplets(rows), guide), mined.dropped


def _check_options(strategy: str, negatives: int, topk: int, temperature: float) -> None:
    found = []
    if strategy not in ("gistembed", "hard"):
        found.append(f"strategy is {strategy!r}, must be 'gistembed' or 'hard'")
    if negatives < 1:
        found.append(f"negatives is {negatives}, must be >= 1")
    if topk < 1:
        found.append(f"topk is {topk}, must be >= 1")
    if not temperature > 0:
        found.append(f"temperature is {temperature}, must be > 0")
    if found:
        raise ParameterError(problems("mining:", found))


def _check_classes(names: np.ndarray, sizes: np.ndarray, drop_singletons: bool) -> None:
    if len(names) < 2:
        seen = f"only {str(names[0])!r}" if len(names) else "none"
        raise DataError(f"Triplets need at least two classes; there is {seen}.")
    single = [str(n) for n, size in zip(names, sizes, strict=True) if size == 1]
    if single and not drop_singletons:
        raise DataError(
            problems(
                f"{len(single)} class(es) of one text, which has no positive:",
                single,
                "Add a text to each, merge them, or set drop_singletons = true to leave them out.",
            )
        )


def _draw_positives(vectors, y, text_ids, draws, topk: int, temperature: float) -> np.ndarray:
    positives = np.full(len(y), -1, dtype=np.int64)
    for label in range(y.max() + 1):
        members = np.flatnonzero(y == label)
        block, others = _block_rows(len(members)), vectors[members]
        for begin in range(0, len(members), block):
            rows = members[begin : begin + block]
            scores = _similarities(vectors[rows], others)
            scores[text_ids[rows][:, None] == text_ids[members]] = -np.inf  # itself and its copies
            if len(members) > topk:
                cut = np.partition(scores, -topk, axis=1)[:, -topk][:, None]
                scores[scores < cut] = -np.inf
            best = scores.max(1, keepdims=True)
            some = np.isfinite(best[:, 0])
            weights = np.exp((scores[some] - best[some]) / temperature).cumsum(1)
            picks = (weights < draws[rows[some]][:, None] * weights[:, -1:]).sum(1)
            positives[rows[some]] = members[picks]
    return positives


def _block_rows(columns: int) -> int:
    return max(1, _BLOCK_VALUES // columns // _SLICE) * _SLICE


def _similarities(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Products in slices of one height, at the same places for any block size: BLAS rounds by the shape it is given."""
    return np.concatenate([rows[i : i + _SLICE] @ others.T for i in range(0, len(rows), _SLICE)])


def _draw_uniform_negatives(y, sizes, draws) -> np.ndarray:
    order = np.argsort(y, kind="stable")  # texts sorted by class: the others lie before and after a class's range
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = (draws * (len(y) - sizes[y])[:, None]).astype(np.int64)
    place += np.where(place >= start[y][:, None], sizes[y][:, None], 0)
    return order[place]


def _nearest_negatives(vectors, y, text_ids, positives, k: int, margin: float) -> np.ndarray:
    chosen = np.full((len(y), k), -1, dtype=np.int64)
    limit = margin * (vectors * vectors[positives]).sum(1)
    copy = np.ones(len(y), dtype=bool)
    copy[np.unique(text_ids, return_index=True)[1]] = False  # no text twice in a row
    block = _block_rows(len(y))
    for begin in range(0, len(y), block):
        rows = np.arange(begin, min(begin + block, len(y)))
        scores = _similarities(vectors[rows], vectors)
        barred = copy | (y[rows][:, None] == y) | (scores > limit[rows][:, None])
        barred |= (text_ids[rows][:, None] == text_ids) | (text_ids[positives[rows]][:, None] == text_ids)
        scores[barred] = -np.inf
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        valid = np.isfinite(np.take_along_axis(scores, nearest, axis=1))
        chosen[rows, : nearest.shape[1]] = np.where(valid, nearest, -1)
    return chosen
