"""Numbers the texts of a triplet table: equal texts alike, so that millions of rows that lie on disk stay there.

The table is read in blocks; what is held in memory are 16-byte keys and the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from datasets import Dataset

from gisttools.common import digest
from gisttools.data import blocks, most_negatives, slots
from gisttools.models.prompts import RowPrompts
from gisttools.models.vectors import KEY, VectorCache, text_keys

_TEXTS = ("anchor", "positive", "negatives")


@dataclass(frozen=True, kw_only=True)
class NumberedTexts:
    """The texts of a table of N rows with at most K negatives each.

    Attributes:
        table: the triplet table.
        keys: (N, 2 + K) 16-byte keys; columns anchor, positive, negatives; b"" where there is no text.
        ids: int64 (N, 2 + K); equal texts have equal numbers; -1 stands for no text.
        unique: the key of each number.
        first: where each number stands first, in the flat order of `ids`.
    """

    table: Dataset
    keys: np.ndarray
    ids: np.ndarray
    unique: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, table: Dataset) -> NumberedTexts:
        """Read the table's texts, block by block."""
        keys = text_columns_as_keys(table, _TEXTS, most_negatives(table))
        ids, unique, first = numbered(keys)
        return cls(table=table, keys=keys, ids=ids, unique=unique, first=first)

    @property
    def most_negatives(self) -> int:
        """K, the largest number of negatives of a row."""
        return self.ids.shape[1] - 2

    def embedded(self, guide: VectorCache) -> TableVectors:
        """Embed what `guide` has not seen yet, each text under the prompt of its column and of its row's task.

        Raises:
            ModelError, EndpointError, DataError: as `VectorCache.embed`.
        """
        prompts = RowPrompts.of(self.table, guide.prompts)
        alone = len({prompt for pair in prompts.pairs for prompt in pair}) < 2
        found: dict[str, tuple[VectorCache, np.ndarray]] = {}
        for prompt in dict.fromkeys(prompt for pair in prompts.pairs for prompt in pair):
            cache = guide.with_prompt(prompt)
            wanted = None if alone else np.unique(self.ids[_cells(prompts, prompt, self.ids.shape[1])])
            found[prompt] = cache, self._rows_of(cache, wanted)
        return TableVectors(ids=self.ids, prompts=prompts, caches=found, guide=guide)

    def _rows_of(self, cache: VectorCache, wanted: np.ndarray | None) -> np.ndarray:
        """The row of each number's vector, int64 (texts,); only those wanted (None for all) are embedded."""
        unknown = cache.find(self.unique) < 0
        if wanted is not None:
            asked = np.zeros(len(unknown), dtype=bool)
            asked[wanted[wanted >= 0]] = True
            unknown &= asked
        places = np.sort(self.first[unknown])
        if len(places):
            cache.fill(_texts_at(self.table, places, self.most_negatives), len(places))
        return cache.find(self.unique)


@dataclass(frozen=True, kw_only=True)
class TableVectors:
    """The guide's vectors of a table's texts: a text may have one as a query and another as a document.

    Attributes:
        ids: as in `NumberedTexts`.
        prompts: of each row.
        caches: for each prompt, where the vectors are, and the row there of each text's number, int64 (texts,).
        guide: whose they are.
    """

    ids: np.ndarray
    prompts: RowPrompts
    caches: dict[str, tuple[VectorCache, np.ndarray]]
    guide: VectorCache

    @property
    def guide_id(self) -> str:
        """The guide's; where texts stand under several prompts, of all of them."""
        used = [cache.guide_id for cache, _ in self.caches.values()]
        if len(set(used)) < 2:
            return used[0] if used else self.guide.guide_id
        return f"{self.guide.name}#{digest(repr([used, self.prompts.pairs]))}"

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of the texts of table rows, float32 (n, 2 + K, dimension); padding (-1) answers with any vector."""
        ids = self.ids[rows]
        if len(self.caches) == 1:
            ((cache, places),) = self.caches.values()
            return cache.vectors(places[ids])
        vectors: np.ndarray | None = None
        for number, (query, document) in enumerate(self.prompts.pairs):
            own = np.flatnonzero(self.prompts.which[rows] == number)
            for columns, prompt in ((slice(1), query), (slice(1, None), document)) if len(own) else ():
                cache, places = self.caches[prompt]
                part = cache.vectors(np.maximum(places[ids[own, columns]], 0))
                if vectors is None:
                    vectors = np.zeros((*ids.shape, part.shape[-1]), dtype=np.float32)
                vectors[own, columns] = part
        return np.zeros((*ids.shape, self.guide.dimension or 0), dtype=np.float32) if vectors is None else vectors

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Vectors of single texts by their rows and columns (anchor, positive, negatives), float32 (n, dimension)."""
        ids = self.ids[rows, columns]
        if len(self.caches) == 1:
            ((cache, places),) = self.caches.values()
            return cache.vectors(places[ids])
        asked = np.array(self.prompts.of_places(rows, columns), dtype=object)
        vectors = np.zeros((len(ids), self.guide.dimension or 0), dtype=np.float32)
        for prompt, (cache, places) in self.caches.items():
            own = np.flatnonzero(asked == prompt)
            if len(own):
                vectors[own] = cache.vectors(places[ids[own]])
        return vectors


def _cells(prompts: RowPrompts, prompt: str, width: int) -> np.ndarray:
    """Which texts of a table stand under a prompt, bool (N, width)."""
    cells = np.zeros((len(prompts.which), width), dtype=bool)
    for number, (query, document) in enumerate(prompts.pairs):
        own = prompts.which == number
        cells[own, :1] = query == prompt
        cells[own, 1:] = document == prompt
    return cells


def text_columns_as_keys(table: Dataset, columns: tuple[str, str, str], k: int) -> np.ndarray:
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


def numbered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
