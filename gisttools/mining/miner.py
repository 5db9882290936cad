"""Makes triplets of labelled texts by guide similarity, at any size.

`MiningOptions(strategy="gistembed")` with its defaults is the procedure of the GISTEmbed paper (arXiv 2402.16829):
every text is an anchor once; its positive is drawn from softmax(similarity / 0.05) over the 100 guide-nearest texts of
its class, its negative uniformly from all other classes; seed 1029. Where this differs from the paper's code:

- A class of one text is refused or left out; there such a text became its own positive and was dropped later.
- A text, and a copy of it, never becomes its own positive; there such rows were dropped later.
- A row whose negative equals its anchor or positive is dropped, as there; it is counted here.
- Similarities are computed inside a class only, a block at a time; there all N x N were held.
- The random numbers are NumPy's of today, so rows of the same seed are others.

`strategy="hard"` takes as negatives the nearest texts of other classes that stay under the guide's margin
(positive-aware mining: g(a, n) <= g(a, p) - (1 - margin) |g(a, p)|), no text twice in a row.

With several labels a text, a positive shares at least one with the anchor, a negative none.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from datasets import Dataset

from gisttools.common import DataError, ParameterError, problems, share_of
from gisttools.data import COLUMNS, LabelledTexts, as_dataset, make_triplets_from_columns
from gisttools.mining.classes import Classes, by_rank, by_softmax, top, uniform_among_best
from gisttools.mining.neighbours import Pool, compare
from gisttools.mining.options import MiningOptions
from gisttools.models import NumberedTexts, TableVectors, VectorCache

Allowed = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # rows, columns, scores: scores, -inf bars
Pick = Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows, scores: places among the columns, -1 for none

_EXACT_UP_TO = 50_000  # texts that are compared with each other, about a CPU minute; above, "auto" is approximate
_RECALL_ROWS = 256  # whose exact neighbours tell the recall

_KEPT, _OVER_LIMIT, _ALONE, _NO_POSITIVE, _NO_NEGATIVE, _NONE_UNDER_MARGIN, _CLASH = range(7)
_REASONS = (
    "kept",
    "over the limit",
    "class of one text",
    "no other text in its class",
    "no text of another class",
    "no negative under the margin",
    "negative equals anchor or positive",
)


@dataclass(frozen=True)
class Mined:
    """What was mined of N texts; len(anchors) + sum(dropped.values()) == N.

    Attributes:
        anchors, positives: numbers of texts, int64 (M,).
        negatives: int64 (M, K); -1 where `hard` found fewer.
        dropped: texts that are no anchors, by reason.
        recall: where search was approximate: the share of the true nearest candidates that it found, on 256 texts (the
            lower of the two where both positives and negatives were searched that way); else None.
    """

    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    dropped: dict[str, int]
    recall: float | None = None


class Miner:
    """The steps of `mine`, which all look at the same texts."""

    def __init__(
        self, texts: Sequence[str], classes: Classes, alike: np.ndarray, vectors: np.ndarray, options: MiningOptions
    ) -> None:
        self.classes, self.alike, self.vectors, self.options = classes, alike, vectors, options
        values = np.empty(len(texts), dtype=object)
        values[:] = list(texts)
        self.text_ids = pd.factorize(values)[0]
        self.has_copies = np.bincount(self.text_ids)[self.text_ids] > 1
        self.is_copy = np.ones(len(texts), dtype=bool)  # of a text that stands before
        self.is_copy[np.unique(self.text_ids, return_index=True)[1]] = False
        # one row of random numbers a text, drawn up front: neither blocks nor threads can matter
        self.draws = np.random.default_rng(options.seed).random((len(texts), 1 + options.negatives))
        self.positives = np.full(len(texts), -1, dtype=np.int64)
        self.negatives = np.full((len(texts), options.negatives), -1, dtype=np.int64)
        self.recalls: list[float] = []

    def run(self) -> Mined:
        why = np.where(self.alike <= 1, _ALONE, _KEPT).astype(np.int8)
        why[(why == _KEPT) & ~self._anchors(why == _KEPT)] = _OVER_LIMIT
        self._find_positives(why == _KEPT)
        why[(why == _KEPT) & (self.positives < 0)] = _NO_POSITIVE
        why[(why == _KEPT) & (self.alike == len(why))] = _NO_NEGATIVE
        self._find_negatives(why == _KEPT)
        none = _NONE_UNDER_MARGIN if self.options.strategy == "hard" else _CLASH
        why[(why == _KEPT) & (self.negatives < 0).all(1)] = none
        rows = np.flatnonzero(why == _KEPT)
        ids, drawn = self.text_ids, self.text_ids[self.negatives[rows]]
        clash = (drawn == ids[rows][:, None]) | (drawn == ids[self.positives[rows]][:, None])
        why[rows[(clash & (self.negatives[rows] >= 0)).any(1)]] = _CLASH
        rows = np.flatnonzero(why == _KEPT)
        counts = np.bincount(why, minlength=len(_REASONS))
        dropped = {reason: int(n) for reason, n in zip(_REASONS, counts, strict=True) if n and reason != "kept"}
        recall = min(self.recalls) if self.recalls else None
        return Mined(rows, self.positives[rows], self.negatives[rows], dropped, recall)

    def _anchors(self, usable: np.ndarray) -> np.ndarray:
        """Which texts become anchors, bool (N,)."""
        o, codes = self.options, self.classes.codes
        if not o.balanced and o.per_class is None and o.limit is None:
            return usable
        shuffled = np.random.default_rng([o.seed, 1]).permutation(np.flatnonzero(usable))
        by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
        sizes = np.bincount(codes[shuffled], minlength=len(self.classes.sizes))
        rank = np.arange(len(by_class)) - (np.cumsum(sizes) - sizes)[codes[by_class]]
        most = len(codes) if o.per_class is None else o.per_class
        if o.balanced and len(shuffled):
            most = min(most, sizes[sizes > 0].min())
            most = most if o.limit is None else min(most, o.limit // np.count_nonzero(sizes))
        among = np.zeros(len(codes), dtype=bool)
        among[by_class[rank < most]] = True
        among[shuffled[among[shuffled]][o.limit :] if o.limit is not None else []] = False
        return among

    def _find_positives(self, wanted: np.ndarray) -> None:
        o = self.options
        if o.positives == "random" and self.classes.labels is None:
            self._random_positives(np.flatnonzero(wanted))
            return

        def allowed(rows: np.ndarray, columns: np.ndarray, scores: np.ndarray) -> np.ndarray:
            if self.classes.labels is not None:
                np.putmask(scores, ~self.classes.same(rows, columns), -np.inf)
            if o.positives == "farthest":
                np.negative(scores, out=scores, where=scores > -np.inf)
            self._bar_texts(scores, columns, rows)
            return scores

        def pick(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
            draws = self.draws[rows, :1]
            if o.positives == "softmax":
                return by_softmax(scores, draws, o.temperature, o.topk)
            if o.positives == "random":
                return uniform_among_best(scores, draws, scores.shape[1])
            return by_rank(scores, 1, 0, None, draws)

        one_pool = self.classes.labels is not None
        members = (
            [np.arange(len(wanted))] if one_pool else [self.classes.members(i) for i in np.unique(self.classes.codes)]
        )
        pools = self._pools(members, exact=o.positives in ("farthest", "random"))
        self._search(pools, wanted, allowed, pick, self.positives[:, None], o.topk if o.positives == "softmax" else 1)

    def _random_positives(self, rows: np.ndarray) -> None:
        """Uniform over the class without the copies of the anchor: texts by class and text, its own range left out."""
        codes, ids = self.classes.codes, self.text_ids
        order = np.lexsort((ids, codes))
        keys = codes[order] * (ids.max() + 1) + ids[order]
        own = codes[rows] * (ids.max() + 1) + ids[rows]
        low, high = np.searchsorted(keys, own, side="left"), np.searchsorted(keys, own, side="right")
        start, left = self.classes.start[codes[rows]], self.classes.sizes[codes[rows]] - (high - low)
        place = start + (self.draws[rows, 0] * left).astype(np.int64)
        place += np.where(place >= low, high - low, 0)
        self.positives[rows] = np.where(left > 0, order[np.minimum(place, len(order) - 1)], -1)

    def _find_negatives(self, wanted: np.ndarray) -> None:
        o = self.options
        if o.strategy == "gistembed" and o.negatives_from == "uniform":
            rows = np.flatnonzero(wanted)
            self.negatives[rows] = self.classes.draw_unlike(rows, self.draws[rows, 1:])
            return

        def allowed(rows: np.ndarray, columns: np.ndarray, scores: np.ndarray) -> np.ndarray:
            positives = self.positives[rows]
            if o.strategy == "hard":
                limit = share_of((self.vectors[rows] * self.vectors[positives]).sum(1), o.margin)
                np.putmask(scores, scores > limit[:, None], -np.inf)
                scores[:, self.is_copy[columns]] = -np.inf  # no text twice in a row
            elif o.negatives_from == "least_similar":
                np.negative(scores, out=scores)
            np.putmask(scores, self.classes.same(rows, columns), -np.inf)
            self._bar_texts(scores, columns, rows)
            self._bar_texts(scores, columns, positives)
            return scores

        def pick(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
            draws = self.draws[rows, 1:]
            if o.strategy == "hard":
                return by_rank(scores, o.negatives, o.rank_from, o.rank_to, draws)
            if o.negatives_from == "softmax":
                return by_softmax(scores, draws, o.temperature)
            return uniform_among_best(scores, draws, o.least)

        pools = self._pools([np.arange(len(wanted))], exact=o.negatives_from == "least_similar", apart=self._large())
        count = o.topk if o.strategy == "gistembed" else o.rank_to or o.rank_from + o.negatives
        self._search(pools, wanted, allowed, pick, self.negatives, count)

    def _pools(self, members: list[np.ndarray], exact: bool, apart: np.ndarray | None = None) -> list[Pool]:
        found, search = [], self.options.search
        for part in members:
            large = len(part) > _EXACT_UP_TO or search == "approximate"
            found.append(Pool(self.vectors, part, large and not exact and search != "exact", self.options.seed, apart))
        return found

    def _large(self) -> np.ndarray | None:
        """Each text's class where it holds a tenth of all texts or more, else -1: of those, pairs of one class are not
        computed when negatives are sought. Smaller ones are masked, which costs less than leaving them out."""
        codes, sizes = self.classes.codes, self.classes.sizes
        return (
            np.where(10 * sizes >= len(codes), np.arange(len(sizes)), -1)[codes]
            if self.classes.labels is None
            else None
        )

    def _search(
        self, pools: list[Pool], wanted: np.ndarray, allowed: Allowed, pick: Pick, out: np.ndarray, count: int
    ) -> None:
        """Fill `out`, (N, k), for the wanted rows; rows that find nothing in near cells are searched exactly."""

        def work(rows: np.ndarray, columns: np.ndarray, scores: np.ndarray) -> None:
            places = pick(rows, allowed(rows, columns, scores))
            out[rows] = np.where(places < 0, -1, columns[places])

        compare(self.vectors, (join for pool in pools for join in pool.joins(wanted)), work)
        near = [pool for pool in pools if pool.approximate]
        if near:
            self.recalls.append(self._recall(near, wanted, allowed, count))
            empty = wanted & (out < 0).all(1)
            compare(self.vectors, (join for pool in near for join in pool.joins(empty, exact=True)), work)

    def _recall(self, pools: list[Pool], wanted: np.ndarray, allowed: Allowed, count: int) -> float:
        members = np.concatenate([pool.members for pool in pools])
        members = members[wanted[members]]
        sample = np.zeros(len(wanted), dtype=bool)
        rng = np.random.default_rng([self.options.seed, 2])
        sample[rng.choice(members, min(len(members), _RECALL_ROWS), replace=False)] = True
        found: list[set] = []
        for exact in (False, True):
            pairs: set[tuple[int, int]] = set()
            work = partial(self._note_nearest, pairs, allowed, count)
            compare(self.vectors, (join for pool in pools for join in pool.joins(sample, exact)), work)
            found.append(pairs)
        return len(found[0] & found[1]) / len(found[1]) if found[1] else 1.0

    @staticmethod
    def _note_nearest(
        pairs: set[tuple[int, int]],
        allowed: Allowed,
        count: int,
        rows: np.ndarray,
        columns: np.ndarray,
        scores: np.ndarray,
    ) -> None:
        i, j = top(allowed(rows, columns, scores), count)
        pairs.update(zip(rows[i].tolist(), columns[j].tolist(), strict=True))

    def _bar_texts(self, scores: np.ndarray, columns: np.ndarray, barred: np.ndarray) -> None:
        """Set -inf where a column holds the text barred for the row, which is decided by the text, not by rounding."""
        place = np.minimum(np.searchsorted(columns, barred), len(columns) - 1)
        there = np.flatnonzero(columns[place] == barred)
        scores[there, place[there]] = -np.inf
        rows = np.flatnonzero(self.has_copies[barred])
        if len(rows):
            equal = self.text_ids[barred[rows]][:, None] == self.text_ids[columns]
            i, j = np.nonzero(equal)
            scores[rows[i], j] = -np.inf


log = logging.getLogger(__name__)
_BLOCK = 1 << 16  # rows read or made at a time
_SCORED = 1000  # rows whose vectors are in memory at once
_LOW_RECALL = 0.8  # of an approximate search; below, its user is told


def mine(
    texts: Sequence[str],
    labels: Sequence[str] | Sequence[tuple[str, ...]],
    vectors: np.ndarray,
    options: MiningOptions | None = None,
) -> Mined:
    """Pick a positive and negatives for every text.

    Args:
        texts, labels: N of each; a label, or a tuple of labels.
        vectors: unit guide vectors, float32 (N, G).
        options: the paper's if None.

    Raises:
        DataError: the lengths differ, vectors are no unit vectors, no two texts are of different classes, or a class
            has one text only; every such class is named.
    """
    options = options or MiningOptions()
    _check_shapes(texts, labels, vectors)
    classes = Classes.of(labels)
    alike = classes.alike()[classes.codes]
    _check_classes(classes, alike, options.drop_singletons)
    return Miner(texts, classes, alike, vectors, options).run()


def triplets_from_labelled(data: LabelledTexts, guide: VectorCache, options: MiningOptions | None = None) -> Dataset:
    """A triplet table mined from labelled texts and scored by the guide. Raises as `mine` and `VectorCache.embed`.

    `mine_labelled` tells what was mined: the numbers of the rows' texts, the rows dropped, the recall.
    """
    return triplet_table(data, mine_labelled(data, guide, options), guide)


def mine_labelled(data: LabelledTexts, guide: VectorCache, options: MiningOptions | None = None) -> Mined:
    """`mine` for labelled texts, with a warning where there is less than one would think: few anchors where they are
    balanced, few negatives, or too little found by an approximate search.

    Raises:
        ParameterError: `balanced` with a `limit` below the number of classes, which leaves none.
    """
    options = options or MiningOptions()
    _check_balance(data, options)
    vectors = guide.alike(data.task_name, data.task_type).embed(data.texts)
    mined = mine(data.texts, data.label_sets or data.labels, vectors, options)
    _tell_few(data, options, mined)
    if mined.recall is not None and mined.recall < _LOW_RECALL:
        log.warning(
            "%s: the approximate search found %.0f %% of the nearest candidates. If that is too few, search = 'exact'.",
            data.source,
            100 * mined.recall,
        )
    return mined


def _class_sizes(data: LabelledTexts) -> Counter:
    """Texts of each class of two texts or more; in multi-label data a class is a set of labels."""
    counts = Counter(data.labels)
    return Counter({name: n for name, n in counts.items() if n > 1})


def _check_balance(data: LabelledTexts, options: MiningOptions) -> None:
    classes = len(_class_sizes(data))
    if options.balanced and options.limit is not None and options.limit < classes:
        raise ParameterError(
            f"limit is {options.limit} and balanced, but {data.source} has {classes} classes: not one anchor of each. "
            f"Set limit to {classes} or more."
        )


def _tell_few(data: LabelledTexts, options: MiningOptions, mined: Mined) -> None:
    sizes, anchors = _class_sizes(data), len(mined.anchors)
    if options.balanced and sizes and anchors < (options.limit or len(data.texts)) // 2:
        name, fewest = min(sizes.items(), key=lambda pair: pair[1])
        log.warning(
            "%s: balanced takes as many anchors of each class as the smallest has, %d of %r: %d rows of %d texts. For "
            "more set per_class in place of balanced, or leave small classes out.",
            data.source, fewest, name, anchors, len(data.texts),
        )  # fmt: skip
    short = int((mined.negatives < 0).any(1).sum())
    if short:
        log.warning("%s: %d of %d rows have fewer than the %d negatives asked for: no more lie under the margin.",
                    data.source, short, anchors, options.negatives)  # fmt: skip


def triplet_table(data: LabelledTexts, mined: Mined, guide: VectorCache) -> Dataset:
    """What was mined of these texts as a triplet table, scored by the guide."""
    return score_triplets(make_triplets_from_columns(_columns(data, mined), len(mined.anchors)), guide)


def score_triplets(table: Dataset, guide: VectorCache) -> Dataset:
    """Fill `guide_id`, `guide_ap`, `guide_an` and `live` of a triplet table.

    `live`: at least one given negative is no closer to the anchor than the positive, so GIST will use it. Null where
    there is no negative. Raises as `VectorCache.embed`.
    """
    filled = {"guide_id": [], "guide_ap": [], "guide_an": [], "live": []}
    texts = NumberedTexts.of(table)
    vectors = texts.embedded(guide)
    for ap, an, given in _cosines(texts, vectors):
        counts = given.sum(1)
        lists = pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), an[given])
        live = np.where(given, an, np.inf).min(1, initial=np.inf) <= ap
        filled["guide_id"].append(pa.array([vectors.guide_id] * len(ap), pa.string()))
        filled["guide_ap"].append(pa.array(ap))
        filled["guide_an"].append(lists)
        filled["live"].append(pa.array(live, mask=counts == 0))
    columns = table.with_format("arrow")[:]
    for name, parts in filled.items():
        field = COLUMNS.field(name)
        column = pa.chunked_array([part.cast(field.type) for part in parts], type=field.type)
        columns = columns.set_column(COLUMNS.get_field_index(name), field, column)
    return as_dataset(columns)


def _cosines(texts: NumberedTexts, vectors: TableVectors) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The guide's cosines, block by block: anchor-positive float32 (b,), anchor-negative float32 (b, K), and which of
    the negatives there are, bool (b, K)."""
    for begin in range(0, len(texts.ids), _SCORED):
        rows = np.arange(begin, min(begin + _SCORED, len(texts.ids)))
        part = vectors.of(rows)  # of padding (-1) any vector, left out by `given`
        cosines = (part[:, :1] * part[:, 1:]).sum(2)
        yield cosines[:, 0], cosines[:, 1:], texts.ids[rows, 2:] >= 0


def _check_shapes(texts: Sequence[str], labels: Sequence[str] | Sequence[tuple[str, ...]], vectors: np.ndarray) -> None:
    shape = np.shape(vectors)
    if len(texts) != len(labels) or len(shape) != 2 or shape[0] != len(texts):
        raise DataError(
            f"Mining needs as many labels and vectors as texts: {len(texts)} texts, {len(labels)} labels, vectors of "
            f"shape {shape}."
        )
    for begin in range(0, len(vectors), _BLOCK):
        part = vectors[begin : begin + _BLOCK]
        squares = np.einsum("ij,ij->i", part, part)
        bad = np.flatnonzero(~(np.abs(squares - 1) < 0.01))
        if len(bad):
            raise DataError(
                f"Vector {begin + bad[0]} has the squared length {squares[bad[0]]:.4g}; mining needs unit vectors, as "
                "VectorCache.embed gives them. Divide each by its length."
            )


def _check_classes(classes: Classes, alike: np.ndarray, drop_singletons: bool) -> None:
    if len(alike) == 0 or (alike == len(alike)).all():
        many = len(classes.names) > 1
        seen = (
            "every text shares a label with every other"
            if many
            else f"only {classes.names[0]!r}"
            if len(alike)
            else "none"
        )
        raise DataError(f"Triplets need at least two classes; there is {seen}.")
    single = [classes.names[i] for i in np.unique(classes.codes[alike <= 1])]
    if single and not drop_singletons:
        raise DataError(
            problems(
                f"{len(single)} class(es) of one text, which has no positive:",
                single,
                "Add a text to each, merge them, or set drop_singletons = true to leave them out.",
            )
        )


def _columns(data: LabelledTexts, mined: Mined) -> dict[str, pa.ChunkedArray | str | None]:
    texts, labels = (pa.array(x, pa.large_string()) for x in (data.texts, data.labels))

    def taken(values: pa.Array, numbers: np.ndarray) -> pa.ChunkedArray:
        if numbers.ndim == 1:
            parts = [
                values.take(pa.array(numbers[i : i + _BLOCK])).cast(pa.string()) for i in range(0, len(numbers), _BLOCK)
            ]
            return pa.chunked_array(parts, pa.string())
        parts = []
        for i in range(0, len(numbers), _BLOCK):
            given = numbers[i : i + _BLOCK] >= 0
            flat = values.take(pa.array(numbers[i : i + _BLOCK][given])).cast(pa.string())
            ends = np.concatenate([[0], np.cumsum(given.sum(1))]).astype(np.int32)
            parts.append(pa.ListArray.from_arrays(ends, flat))
        return pa.chunked_array(parts, pa.list_(pa.string()))

    return {
        "anchor": taken(texts, mined.anchors),
        "positive": taken(texts, mined.positives),
        "negatives": taken(texts, mined.negatives),
        "anchor_label": taken(labels, mined.anchors),
        "positive_label": taken(labels, mined.positives),
        "negative_labels": taken(labels, mined.negatives),
        "task_name": data.task_name or data.source,
        # a label's name may hold the mark that joins several: only this says which it is
        "task_type": data.task_type if data.label_sets is None else "MultilabelClassification",
        "language": data.language,
        "source": "labelled",
        "source_revision": data.revision,
    }
