"""Answers the loss by row id: guide vectors, and which texts and labels are equal (`GuideStore`)."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from datasets import Dataset

from gisttools.common import DataError, cache_folder
from gisttools.data import blocks, padded_columns, slots, table_texts
from gisttools.models import (
    KEY,
    NumberedTexts,
    Reading,
    TableVectors,
    VectorCache,
    numbered,
    text_columns_as_keys,
    text_keys,
)
from gisttools.training.embedding import BatchRows
from gisttools.training.label_space import labels_by_task
from gisttools.training.labelled import LabelledRows

_TAG_SHIFT = 32
_SEVERAL, _JOIN = "MultilabelClassification", " | "  # as conversion writes several labels
_LOOKED_AT = 300  # rows whose texts tell whether the guide reads them


def sampled_texts(table: Dataset) -> list[str]:
    """Texts of some rows of a triplet table, spread over all of it."""
    return table_texts(table.select(range(0, len(table), max(1, len(table) // _LOOKED_AT)))) if len(table) else []


class GuideStore:
    """What the loss needs to know of a triplet table of N rows with at most K negatives each.

    Build it with `GuideStore.build`; hand it to `GISTLoss`; train on `training_columns()`.

    Attributes:
        table: the triplet table.
        text_ids, label_ids: int64 (N, 2 + K); columns anchor, positive, negatives. Equal texts (labels) have equal
            numbers; -1 stands for no text and for no label. Where texts may have several labels (N, 2 + K, M).
        fingerprint: 32 hex digits of the texts and labels in their order.
        reading: how much the guide reads of the texts; None where that cannot be told.
        row_ids: int64 (N,), the row's number with a tag of this table in the upper 32 bits.
    """

    def __init__(
        self,
        table: Dataset,
        text_ids: np.ndarray,
        label_ids: np.ndarray,
        fingerprint: str,
        vectors: TableVectors | None,
    ) -> None:
        self.table, self.text_ids, self.label_ids, self.fingerprint = table, text_ids, label_ids, fingerprint
        self.reading: Reading | None = None
        tag = int(fingerprint[:8], 16) >> 1 or 1  # 31 bits: ids stay positive; not 0: that would be no tag
        self.row_ids = (np.int64(tag) << _TAG_SHIFT) + np.arange(len(table), dtype=np.int64)
        self._vectors = vectors
        self._labelled: LabelledRows | None = None

    @classmethod
    def build(cls, table: Dataset, guide: VectorCache | None) -> GuideStore:
        """Number texts and labels, and embed what `guide` has not seen yet.

        Labels are compared as strings, each by itself where a row's task_type says that texts have several. One that
        two tasks of different names use, such as 0 or positive, gets a number for each task, unless these tasks have
        their labels in common (`gisttools.training.label_space`).

        Args:
            table: a triplet table.
            guide: None gives the unguided baseline, which still knows equal texts and labels.

        Raises:
            ModelError, EndpointError, DataError: as `VectorCache.embed`.
        """
        read = None if guide is None else guide.reading(sampled_texts(table), warn=True)  # before anything is embedded
        texts = NumberedTexts.of(table)
        labels = text_columns_as_keys(
            table, ("anchor_label", "positive_label", "negative_labels"), texts.most_negatives
        )
        digest = hashlib.blake2b(repr(labels.shape).encode(), digest_size=16)
        for part in (texts.keys, labels):
            digest.update(part.view(np.uint8).data)
        numbers, names, _ = numbered(_each_label(table, labels))
        label_ids = labels_by_task(numbers, names, table)
        vectors = None if guide is None else texts.embedded(guide)
        store = cls(table, texts.ids, label_ids, digest.hexdigest(), vectors)
        store.reading = read
        return store

    @property
    def guide_id(self) -> str | None:
        return self._vectors.guide_id if self._vectors else None

    @property
    def guide_prompts(self) -> list[dict[str, object]]:
        """The guide's prompts, as `RowPrompts.told`; empty without a guide."""
        return self._vectors.prompts.told() if self._vectors else []

    @property
    def negatives_per_row(self) -> int:
        return self.text_ids.shape[1] - 2

    def rows(self, row_ids: torch.Tensor) -> BatchRows:
        """Guide vectors (B, G), (B, G), (B, K, G) or None; text and label ids (B, 2 + K).

        Raises:
            DataError: a row id is of another data set, or not in the table.
        """
        ids = row_ids.detach().cpu().numpy().reshape(-1)
        rows = self.row_numbers(ids)
        text_ids, label_ids = (torch.from_numpy(x[rows]) for x in (self.text_ids, self.label_ids))
        if self._vectors is None:
            return BatchRows(None, None, None, text_ids, label_ids)
        vectors = torch.from_numpy(self._vectors.of(rows))  # of padding any; the loss masks it by its id
        return BatchRows(vectors[:, 0], vectors[:, 1], vectors[:, 2:], text_ids, label_ids)

    def labelled_texts(self) -> LabelledRows:
        """The distinct texts of the rows that carry labels, for batches of labelled texts."""
        if self._labelled is None:
            vectors = None if self._vectors is None else self._vectors.at
            self._labelled = LabelledRows(self.table, self.text_ids, self.label_ids, self.fingerprint, vectors)
        return self._labelled

    def training_columns(self) -> Dataset:
        """What `SentenceTransformerTrainer` trains on: anchor, positive, negative_1..K, and the row id as label.

        A row with fewer negatives is padded with its own positive, which the loss never counts. Texts of a table that
        lies on disk stay there.
        """
        spool = cache_folder() / "columns" / f"{self.fingerprint}.arrow" if self.table.cache_files else None
        return padded_columns(self.table, self.negatives_per_row, self.row_ids, spool)

    def row_numbers(self, ids: np.ndarray) -> np.ndarray:
        """The table's rows of row ids. Raises as `rows`."""
        if not len(ids):
            return ids
        fix = "Train on the columns that this store's training_columns() gives."
        rows = ids - (self.row_ids[0] if len(self.row_ids) else 0)
        foreign = (ids >> _TAG_SHIFT) != (self.row_ids[0] >> _TAG_SHIFT if len(self.row_ids) else 0)
        if foreign.any():
            raise DataError(
                f"{int(foreign.sum())} of {len(ids)} row ids are of another data set, or are no row ids at all "
                f"(the first: {ids[foreign][0]}). {fix}"
            )
        if rows.max() >= len(self.row_ids):
            raise DataError(f"Row {rows.max()} was asked of a guide store of {len(self.row_ids)} rows. {fix}")
        return rows


def _each_label(table: Dataset, labels: np.ndarray) -> np.ndarray:
    """The keys (N, 2 + K) of labels, or (N, 2 + K, M) where a row's task says that a text has several, joined by one
    mark: then each counts by itself, and two texts may share one of them."""
    kinds = np.concatenate([block["task_type"].to_numpy() for block in blocks(table, ["task_type"])] or [[]])
    rows = np.flatnonzero(kinds == _SEVERAL)
    columns = ("anchor_label", "positive_label", "negative_labels")
    part = table.select_columns(list(columns)).select(rows)
    joined = {
        label
        for block in (blocks(part, columns) if len(rows) else ())
        for column in slots(block, columns, labels.shape[1] - 2)
        for label in column.unique().to_pylist()
        if label is not None and _JOIN in label
    }
    if not joined:
        return labels
    split = {text_keys([label])[0]: text_keys(label.split(_JOIN)) for label in sorted(joined)}
    found = np.zeros((*labels.shape, max(map(len, split.values()))), dtype=KEY)
    found[..., 0] = labels
    known, which = np.unique(labels[rows], return_inverse=True)
    each = np.zeros((len(known), found.shape[2]), dtype=KEY)
    for number, key in enumerate(known):
        names = split.get(key, [key])
        each[number, : len(names)] = names
    found[rows] = each[which.reshape(labels[rows].shape)]
    return found
