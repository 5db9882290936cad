"""Turns the rows of triplets that carry labels into what they are made of: distinct texts, each with all its labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from datasets import Dataset

from gisttools.common import DataError
from gisttools.data import as_dataset, blocks, slots
from gisttools.training.embedding import BatchRows

_TAG_SHIFT = 32
_ENOUGH = 1000  # texts of a class tell where it lies


class LabelledRows:
    """The M distinct labelled texts of a triplet table, for batches of one column; see `GuideStore.labelled_texts`.

    Texts of rows whose anchor has no label are left out: the positive's label may be a grade there. A text that stands
    under several labels has them all.

    Attributes:
        members: one row for each text and label of each set: `set`, `label`, `text` (its number here).
        text_ids: int64 (M,), in the numbering of the table.
        label_ids: int64 (M, L), filled up with -1; L is 1 where no text has several.
        row_ids: int64 (M,), the text's number with a tag of this table in the upper 32 bits.
        left_out: rows of the table without a label.
    """

    def __init__(
        self,
        table: Dataset,
        text_ids: np.ndarray,
        label_ids: np.ndarray,
        fingerprint: str,
        vectors: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
    ) -> None:
        """`text_ids` and `label_ids` as in `GuideStore`; `vectors` answers rows and columns of the table's texts with
        the guide's."""
        self.table, self._vectors, self._k = table, vectors, text_ids.shape[1] - 2
        self._pairs, self.left_out = _pairs(text_ids, label_ids)
        known = self._pairs.drop_duplicates("id")
        self.text_ids, self._places = known["id"].to_numpy(), known["place"].to_numpy()
        number = pd.Series(np.arange(len(known)), index=self.text_ids)
        self._pairs["text"] = number[self._pairs["id"]].to_numpy()
        one_of_each = self._pairs.drop_duplicates(["text", "label"])
        slot = one_of_each.groupby("text").cumcount().to_numpy()
        self.label_ids = np.full((len(known), slot.max(initial=0) + 1), -1, dtype=np.int64)
        self.label_ids[one_of_each["text"], slot] = one_of_each["label"]
        tag = (int(fingerprint[8:16], 16) >> 1) | 1  # other than the table's own rows have
        self.row_ids = (np.int64(tag) << _TAG_SHIFT) + np.arange(len(known), dtype=np.int64)

    def members(self, set_of_row: np.ndarray) -> pd.DataFrame:
        """Which text (its number here) has which `label` in which `set`, given the set of each row of the table."""
        found = pd.DataFrame(
            {
                "set": set_of_row[self._pairs["place"] // (2 + self._k)],
                "label": self._pairs["label"].to_numpy(),
                "text": self._pairs["text"].to_numpy(),
            }
        )
        return found.drop_duplicates(ignore_index=True)

    def guide_vectors(self, texts: np.ndarray) -> np.ndarray | None:
        """The guide's vectors of texts by their numbers here; None without a guide."""
        return None if self._vectors is None else self._vectors(*self._places_of(texts))

    def places_of(self, row_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where texts stand in the table, by their row ids: rows, and columns (anchor, positive, negatives)."""
        return self._places_of(row_ids - (self.row_ids[0] if len(self.row_ids) else 0))

    def centroid(self, texts: np.ndarray) -> np.ndarray:
        """The mean of the guide's vectors of some texts; there is a guide."""
        vectors = self.guide_vectors(texts[:_ENOUGH])
        assert vectors is not None
        return vectors.mean(0)

    def rows(self, row_ids: torch.Tensor) -> BatchRows:
        """Guide vectors (B, G) or None; text ids (B, 1); label ids (B, 1), or (B, 1, L) where a text has several.

        Raises:
            DataError: a row id is none of these texts'.
        """
        ids = row_ids.detach().cpu().numpy().reshape(-1)
        texts: np.ndarray = ids - (self.row_ids[0] if len(self.row_ids) else 0)
        wrong = [int(i) for i, text in zip(ids, texts, strict=True) if not 0 <= text < len(self.row_ids)]
        if wrong:
            raise DataError(
                f"Row id {wrong[0]} is of no labelled text of this store. "
                "Train on the columns that its labelled_texts().training_columns() gives."
            )
        labels = torch.from_numpy(self.label_ids[texts])
        guide = self.guide_vectors(texts)
        return BatchRows(
            None if guide is None else torch.from_numpy(guide),
            None,
            None,
            torch.from_numpy(self.text_ids[texts])[:, None],
            labels[:, None] if labels.shape[1] > 1 else labels,
        )

    def training_columns(self) -> Dataset:
        """What `SentenceTransformerTrainer` trains on: the text, and its row id as label."""
        columns = [pa.array(self._texts(), pa.string()), pa.array(self.row_ids, pa.int64())]
        return as_dataset(pa.Table.from_arrays(columns, names=["text", "label"]))

    def _places_of(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.divmod(self._places[texts], 2 + self._k)

    def _texts(self) -> list[str]:
        columns, width, begin = ("anchor", "positive", "negatives"), 2 + self._k, 0
        texts = np.empty(len(self._places), dtype=object)
        row, column = np.divmod(self._places, width)
        for block in blocks(self.table, columns):
            here = (begin <= row) & (row < begin + len(block))
            for slot, found in enumerate(slots(block, columns, self._k)):
                wanted = np.flatnonzero(here & (column == slot))
                texts[wanted] = found.take(pa.array(row[wanted] - begin)).to_pylist()
            begin += len(block)
        return texts.tolist()


def _pairs(text_ids: np.ndarray, label_ids: np.ndarray) -> tuple[pd.DataFrame, int]:
    """Each text with each of its labels and where it stands with it: `id`, `label`, `place` (flat); and how many rows
    have an anchor without a label."""
    labels = label_ids if label_ids.ndim == 3 else label_ids[..., None]
    labelled = np.any(labels[:, :1] >= 0, axis=(1, 2))
    row, column, slot = np.nonzero((labels >= 0) & (text_ids >= 0)[..., None] & labelled[:, None, None])
    found = pd.DataFrame(
        {
            "id": text_ids[row, column],
            "label": labels[row, column, slot],
            "place": row * text_ids.shape[1] + column,
        }
    )
    return found, int((~labelled).sum())
