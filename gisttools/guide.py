"""`GuideStore`: what the loss needs to know of a triplet table, asked by row id; and the guide's scores of a table.

A table is read in blocks and its texts are held as numbers, so that millions of rows that lie on disk stay there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset

from gisttools.columns import as_dataset, blocks, most_negatives, padded_columns, slots
from gisttools.embedding import BatchRows
from gisttools.errors import DataError
from gisttools.text_keys import KEY, text_keys
from gisttools.triplets import COLUMNS
from gisttools.vectors import VectorCache, cache_folder

_SCORED = 1000  # rows whose vectors are in memory at once
_TAG_SHIFT = 32


class GuideStore:
    """What the loss needs to know of a triplet table of N rows with at most K negatives each.

    Build it with `GuideStore.build`; hand it to `GISTLoss`; train on `training_columns()`.

    Attributes:
        table: the triplet table.
        text_ids, label_ids: int64 (N, 2 + K); columns anchor, positive, negatives. Equal texts (labels) have equal
            numbers; -1 stands for no text and for no label.
        fingerprint: 32 hex digits of the texts and labels in their order.
        row_ids: int64 (N,), the row's number with a tag of this table in the upper 32 bits.
    """

    def __init__(
        self,
        table: Dataset,
        text_ids: np.ndarray,
        label_ids: np.ndarray,
        fingerprint: str,
        cache: VectorCache | None,
        cache_rows: np.ndarray | None,
    ) -> None:
        self.table, self.text_ids, self.label_ids, self.fingerprint = table, text_ids, label_ids, fingerprint
        tag = int(fingerprint[:8], 16) >> 1 or 1  # 31 bits: ids stay positive; not 0: that would be no tag
        self.row_ids = (np.int64(tag) << _TAG_SHIFT) + np.arange(len(table), dtype=np.int64)
        self._cache, self._cache_rows = cache, cache_rows

    @classmethod
    def build(cls, table: Dataset, guide: VectorCache | None) -> GuideStore:
        """Number texts and labels, and embed what `guide` has not seen yet.

        Labels are compared as strings. One that two tasks of different names use, such as 0 or positive, is told apart
        by the task.

        Args:
            table: a triplet table.
            guide: None gives the unguided baseline, which still knows equal texts and labels.

        Raises:
            ModelError, EndpointError, DataError: as `VectorCache.embed`.
        """
        k = most_negatives(table)
        keys = _keys(table, ("anchor", "positive", "negatives"), k)
        labels = _keys(table, ("anchor_label", "positive_label", "negative_labels"), k)
        digest = hashlib.blake2b(repr(keys.shape).encode(), digest_size=16)
        for part in (keys, labels):
            digest.update(part.view(np.uint8).data)
        fingerprint = digest.hexdigest()
        text_ids, unique, first = _number(keys)
        label_ids = _by_task(_number(labels)[0], _task_keys(table))
        del keys, labels
        if guide is None:
            return cls(table, text_ids, label_ids, fingerprint, None, None)
        unknown = np.sort(first[guide.find(unique) < 0])
        if len(unknown):
            guide.fill(_texts_at(table, unknown, k), len(unknown))
        return cls(table, text_ids, label_ids, fingerprint, guide, guide.find(unique))

    @property
    def guide_id(self) -> str | None:
        return self._cache.guide_id if self._cache else None

    @property
    def negatives_per_row(self) -> int:
        return self.text_ids.shape[1] - 2

    def rows(self, row_ids: torch.Tensor) -> BatchRows:
        """Guide vectors (B, G), (B, G), (B, K, G) or None; text and label ids (B, 2 + K).

        Raises:
            DataError: a row id is of another data set, or not in the table.
        """
        ids = row_ids.detach().cpu().numpy().reshape(-1)
        rows = self._row_numbers(ids)
        text_ids, label_ids = (torch.from_numpy(x[rows]) for x in (self.text_ids, self.label_ids))
        if self._cache is None:
            return BatchRows(None, None, None, text_ids, label_ids)
        vectors = torch.from_numpy(self._vectors(text_ids.numpy()))
        return BatchRows(vectors[:, 0], vectors[:, 1], vectors[:, 2:], text_ids, label_ids)

    def training_columns(self) -> Dataset:
        """What `SentenceTransformerTrainer` trains on: anchor, positive, negative_1..K, and the row id as label.

        A row with fewer negatives is padded with its own positive, which the loss never counts. Texts of a table that
        lies on disk stay there.
        """
        spool = cache_folder() / "columns" / f"{self.fingerprint}.arrow" if self.table.cache_files else None
        return padded_columns(self.table, self.negatives_per_row, self.row_ids, spool)

    def scores(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The guide's cosines, block by block: anchor-positive float32 (b,), anchor-negative float32 (b, K), and which
        of the negatives there are, bool (b, K). Needs a guide."""
        for begin in range(0, len(self.text_ids), _SCORED):
            ids = self.text_ids[begin : begin + _SCORED]
            vectors = self._vectors(ids)
            anchors = vectors[:, :1]
            cosines = (anchors * vectors[:, 1:]).sum(2)
            yield cosines[:, 0], cosines[:, 1:], ids[:, 2:] >= 0

    def _vectors(self, text_ids: np.ndarray) -> np.ndarray:
        # padding (-1) answers with the last text's vector; the loss masks it by its id
        return self._cache.vectors(self._cache_rows[text_ids])

    def _row_numbers(self, ids: np.ndarray) -> np.ndarray:
        if not len(ids):
            return ids
        mend = "Train on the columns that this store's training_columns() gives."
        rows = ids - (self.row_ids[0] if len(self.row_ids) else 0)
        foreign = (ids >> _TAG_SHIFT) != (self.row_ids[0] >> _TAG_SHIFT if len(self.row_ids) else 0)
        if foreign.any():
            raise DataError(
                f"{int(foreign.sum())} of {len(ids)} row ids are of another data set, or are no row ids at all "
                f"(the first: {ids[foreign][0]}). {mend}"
            )
        if rows.max() >= len(self.row_ids):
            raise DataError(f"Row {rows.max()} was asked of a guide store of {len(self.row_ids)} rows. {mend}")
        return rows


def score_triplets(table: Dataset, guide: VectorCache) -> Dataset:
    """Fill `guide_id`, `guide_ap`, `guide_an` and `live` of a triplet table.

    `live`: at least one given negative is no closer to the anchor than the positive, so GIST will use it. Null where
    there is no negative. Raises as `VectorCache.embed`.
    """
    filled = {"guide_id": [], "guide_ap": [], "guide_an": [], "live": []}
    for ap, an, given in GuideStore.build(table, guide).scores():
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


def _keys(table: Dataset, columns: tuple[str, str, str], k: int) -> np.ndarray:
    """The key of every text, shape (N, 2 + k); b"" where there is none."""
    keys = np.zeros((len(table), 2 + k), dtype=KEY)
    begin = 0
    for block in blocks(table, columns):
        for slot, texts in enumerate(slots(block, columns, k)):
            told = texts.dictionary_encode()  # hashed in Python are only the distinct ones
            known = np.append(text_keys(told.dictionary.to_pylist()), KEY.type())
            codes = pc.fill_null(told.indices, len(known) - 1).to_numpy(zero_copy_only=False)
            keys[begin : begin + len(block), slot] = known[codes]
        begin += len(block)
    return keys


def _task_keys(table: Dataset) -> np.ndarray:
    """The key of each row's task name, shape (N,); b"" where it is not told."""
    keys, begin = np.zeros(len(table), dtype=KEY), 0
    for block in blocks(table, ["task_name"]):
        told = block["task_name"].combine_chunks().dictionary_encode()
        known = np.append(text_keys(told.dictionary.to_pylist()), KEY.type())
        codes = pc.fill_null(told.indices, len(known) - 1).to_numpy(zero_copy_only=False)
        keys[begin : begin + len(block)] = known[codes]
        begin += len(block)
    return keys


def _by_task(label_ids: np.ndarray, task_keys: np.ndarray) -> np.ndarray:
    """The label ids, with new ones for labels that several known tasks use: one for each task, and one for no task."""
    tasks = _number(task_keys)[0]
    if tasks.max(initial=-1) < 1:
        return label_ids
    known = (label_ids >= 0) & (tasks >= 0)[:, None]
    count = tasks.max() + 1
    pairs = pd.unique((label_ids * count + tasks[:, None])[known])
    times = np.bincount(pairs // count, minlength=label_ids.max(initial=-1) + 2)
    shared = times[label_ids] > 1  # -1 reads the last place, which no label has
    return np.where(shared, label_ids + len(times) * (tasks[:, None] + 1), label_ids)


def _number(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Equal keys numbered alike, b"" as -1; the keys in order of their numbers; where each stands first (flat)."""
    flat = np.ascontiguousarray(keys).reshape(-1)
    halves = flat.view("<u8").reshape(-1, 2)
    ids, first = _by_hash(np.ascontiguousarray(halves[:, 0]))
    if (halves[first, 1][ids] != halves[:, 1]).any():  # two texts of one first half: sorting whole keys is slower
        _, first, ids = np.unique(flat, return_index=True, return_inverse=True)
    none = np.flatnonzero(flat[first] == b"")
    if len(none):
        ids = np.where(ids == none[0], -1, ids - (ids > none[0]))
        first = np.delete(first, none)
    return ids.reshape(keys.shape).astype(np.int64, copy=False), flat[first], first


def _by_hash(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the values in order of appearance, and where each stands first; pandas hashes and does not sort."""
    ids, known = pd.factorize(values)
    first = np.empty(len(known), dtype=np.int64)
    first[ids[::-1]] = np.arange(len(ids) - 1, -1, -1)
    return ids, first


def _texts_at(table: Dataset, places: np.ndarray, k: int) -> Iterator[list[str]]:
    """The texts at ascending flat places of the (N, 2 + k) texts of the table, block by block of rows."""
    columns, begin = ("anchor", "positive", "negatives"), 0
    for block in blocks(table, columns):
        end = begin + len(block)
        low, high = np.searchsorted(places, (begin * (2 + k), end * (2 + k)))
        rows, numbers = np.divmod(places[low:high] - begin * (2 + k), 2 + k)
        if len(rows):
            columns_of_texts = slots(block, columns, k)
            yield [t for i, texts in enumerate(columns_of_texts) for t in texts.take(rows[numbers == i]).to_pylist()]
        begin = end
