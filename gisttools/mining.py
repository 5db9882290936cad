"""Labelled texts to triplets, by guide similarity, at any size.

`MiningOptions(strategy="gistembed")` with its defaults is the procedure of the GISTEmbed paper (arXiv 2402.16829):
every text is an anchor once; its positive is drawn from softmax(similarity / 0.05) over the 100 guide-nearest texts of
its class, its negative uniformly from all other classes; seed 1029. Where this differs from the paper's code:

- A class of one text is refused or left out; there such a text became its own positive and was dropped later.
- A text, and a copy of it, never becomes its own positive; there such rows were dropped later.
- A row whose negative equals its anchor or positive is dropped, as there; it is counted here.
- Similarities are computed inside a class only, a block at a time; there all N x N were held.
- The random numbers are NumPy's of today, so rows of the same seed are others.

`strategy="hard"` takes as negatives the nearest texts of other classes that stay under the guide's margin
(positive-aware mining: g(a, n) <= margin * g(a, p)), no text twice in a row.

With several labels a text, a positive shares at least one with the anchor, a negative none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from datasets import Dataset

from gisttools.classes import Classes
from gisttools.common import DataError, problems
from gisttools.data import COLUMNS, LabelledTexts, as_dataset, make_triplets_from_columns
from gisttools.miner import Mined, Miner
from gisttools.mining_options import MiningOptions
from gisttools.models import NumberedTexts, VectorCache

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


def triplets_from_labelled(
    data: LabelledTexts, guide: VectorCache, options: MiningOptions | None = None
) -> tuple[Dataset, Mined]:
    """Mine a triplet table from labelled texts and score it by the guide. Also returns what was mined: the numbers of
    the rows' texts, the rows dropped, the recall. Raises as `mine` and as `VectorCache.embed`."""
    labels = data.label_sets or data.labels
    mined = mine(data.texts, labels, guide.embed(data.texts), options)
    if mined.recall is not None and mined.recall < _LOW_RECALL:
        log.warning(
            "%s: the approximate search found %.0f %% of the nearest candidates. If that is too few, search = 'exact'.",
            data.source,
            100 * mined.recall,
        )
    table = make_triplets_from_columns(_columns(data, mined), len(mined.anchors))
    return score_triplets(table, guide), mined


def score_triplets(table: Dataset, guide: VectorCache) -> Dataset:
    """Fill `guide_id`, `guide_ap`, `guide_an` and `live` of a triplet table.

    `live`: at least one given negative is no closer to the anchor than the positive, so GIST will use it. Null where
    there is no negative. Raises as `VectorCache.embed`.
    """
    filled = {"guide_id": [], "guide_ap": [], "guide_an": [], "live": []}
    for ap, an, given in _cosines(table, guide):
        counts = given.sum(1)
        lists = pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), an[given])
        live = np.where(given, an, np.inf).min(1, initial=np.inf) <= ap
        filled["guide_id"].append(pa.array([guide.guide_id] * len(ap), pa.string()))
        filled["guide_ap"].append(pa.array(ap))
        filled["guide_an"].append(lists)
        filled["live"].append(pa.array(live, mask=counts == 0))
    columns = table.with_format("arrow")[:]
    for name, parts in filled.items():
        field = COLUMNS.field(name)
        column = pa.chunked_array([part.cast(field.type) for part in parts], type=field.type)
        columns = columns.set_column(COLUMNS.get_field_index(name), field, column)
    return as_dataset(columns)


def _cosines(table: Dataset, guide: VectorCache) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The guide's cosines, block by block: anchor-positive float32 (b,), anchor-negative float32 (b, K), and which of
    the negatives there are, bool (b, K)."""
    texts = NumberedTexts.of(table)
    rows = texts.embedded(guide)
    for begin in range(0, len(texts.ids), _SCORED):
        ids = texts.ids[begin : begin + _SCORED]
        vectors = guide.vectors(
            rows[ids]
        )  # padding (-1) answers with the last text's vector, and is left out by `given`
        cosines = (vectors[:, :1] * vectors[:, 1:]).sum(2)
        yield cosines[:, 0], cosines[:, 1:], ids[:, 2:] >= 0


def _check_shapes(texts, labels, vectors: np.ndarray) -> None:
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
        "task_type": data.task_type,
        "language": data.language,
        "source": "labelled",
        "source_revision": data.revision,
    }
