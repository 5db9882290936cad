"""Guide models and the store of their vectors.

`VectorCache` keeps every text's vector on disk: one guide embeds one text once, ever, across runs. `GuideStore` is a
view on it for one triplet table; the loss asks it by row id.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from filelock import FileLock

from gisttools.embedding import BatchRows
from gisttools.errors import DataError, ModelError
from gisttools.models import open_model, weights_sha
from gisttools.progress import tqdm
from gisttools.triplets import COLUMNS

log = logging.getLogger(__name__)
_KEY_BYTES = 16
_CHUNK = 2048  # texts embedded between two writes; an interrupted build loses at most these


def cache_folder() -> Path:
    """`$GISTTOOLS_CACHE`, else `~/.cache/gisttools`."""
    return Path(os.environ.get("GISTTOOLS_CACHE") or "~/.cache/gisttools").expanduser()


class VectorCache:
    """Unit vectors of texts by one guide, on disk.

    The cache is named by the model's weights, pooling, length limit and prompt: a changed model never answers with an
    old vector. `vectors.f32` is a matrix that only grows, `keys.bin` holds one 16-byte text hash for each of its rows.

    Args:
        name, revision: as in `gisttools.models.open_model`.
        prompt: text put before every text, or None.
        folder: where caches live; `cache_folder()/guides` if None.
    """

    def __init__(
        self, name: str, revision: str | None = None, *, prompt: str | None = None, folder: Path | None = None
    ) -> None:
        self.name, self.prompt = name, prompt
        self.model = open_model(name, revision)
        key = hashlib.blake2b(f"{weights_sha(self.model)}|{prompt}".encode(), digest_size=6).hexdigest()
        self.guide_id = f"{name}#{key}"
        self.dimension = self.model.get_embedding_dimension()
        self.folder = (folder or cache_folder() / "guides") / key
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            meta = {"guide_id": self.guide_id, "revision": revision, "prompt": prompt, "dimension": self.dimension}
            (self.folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
            self._cut_unfinished()
        self._index: dict[bytes, int] = {}
        self._read_index()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 (n, dimension); texts not seen before are embedded and kept."""
        return np.asarray(self.vectors(self.add(texts)))

    def add(self, texts: Sequence[str]) -> np.ndarray:
        """Make sure that every text has a vector; return its row in the matrix, int64 (n,)."""
        keys = [_key(t) for t in texts]
        missing = dict.fromkeys(k for k in keys if k not in self._index)
        if missing:
            with self._lock():  # another process may have added some, or be about to
                self._cut_unfinished()
                self._read_index()
                by_key = dict(zip(keys, texts, strict=True))
                self._embed_missing([by_key[k] for k in missing if k not in self._index])
        return np.fromiter((self._index[k] for k in keys), dtype=np.int64, count=len(keys))

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """float32 (*rows.shape, dimension), read from the memory map."""
        if not self._index:
            return np.zeros((*rows.shape, self.dimension), dtype=np.float32)
        # as many rows as are known here: another process may be writing more at this moment
        shape = (len(self._index), self.dimension)
        return np.memmap(self.folder / "vectors.f32", dtype=np.float32, mode="r", shape=shape)[rows]

    def _embed_missing(self, texts: list[str]) -> None:
        log.info("%s embeds %d texts", self.name, len(texts))
        texts.sort(key=len)  # batches of like length
        with tqdm(total=len(texts), desc="guide", unit="text", disable=len(texts) < _CHUNK, mininterval=1) as bar:
            for begin in range(0, len(texts), _CHUNK):
                part = texts[begin : begin + _CHUNK]
                vectors = self.model.encode(
                    part, prompt=self.prompt, normalize_embeddings=True, show_progress_bar=False, batch_size=32
                )
                if not np.isfinite(vectors).all():
                    bad = part[int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])]
                    raise ModelError(f"Guide {self.name} gives a vector that is not finite for the text {bad[:80]!r}.")
                with open(self.folder / "vectors.f32", "ab") as f:
                    f.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
                with open(self.folder / "keys.bin", "ab") as f:  # after the vectors: a key always has its vector
                    f.write(b"".join(map(_key, part)))
                bar.update(len(part))
        self._read_index()

    def _read_index(self) -> None:
        path = self.folder / "keys.bin"
        data = path.read_bytes() if path.exists() else b""
        for row in range(len(self._index), len(data) // _KEY_BYTES):
            self._index[data[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]] = row

    def _cut_unfinished(self) -> None:
        """Drop the half-written end that a killed build may have left."""
        vectors, keys = self.folder / "vectors.f32", self.folder / "keys.bin"
        for path in (vectors, keys):
            path.touch()
        rows = min(vectors.stat().st_size // (4 * self.dimension), keys.stat().st_size // _KEY_BYTES)
        os.truncate(vectors, rows * 4 * self.dimension)
        os.truncate(keys, rows * _KEY_BYTES)

    def _lock(self) -> FileLock:
        return FileLock(self.folder / ".lock")


class GuideStore:
    """What the loss needs to know of a triplet table, by row id: guide vectors, equal texts, equal labels.

    Build it with `GuideStore.build`; hand it to `GISTLoss`; train on `training_columns()`.
    """

    def __init__(self, table: Dataset, text_ids: np.ndarray, label_ids: np.ndarray, cache, cache_rows) -> None:
        self.table, self.text_ids, self.label_ids = table, text_ids, label_ids
        self._cache: VectorCache | None = cache
        self._cache_rows: np.ndarray | None = cache_rows

    @classmethod
    def build(cls, table: Dataset, guide: VectorCache | None) -> GuideStore:
        """Embed what `guide` has not seen yet and number texts and labels.

        Args:
            table: a triplet table of N rows with at most K negatives each.
            guide: None gives the unguided baseline, which still knows equal texts and labels.
        """
        negatives = table["negatives"][:]
        k = max(map(len, negatives), default=0)
        columns = [table["anchor"][:], table["positive"][:]]
        texts = [[a, p, *n, *[None] * (k - len(n))] for a, p, n in zip(*columns, negatives, strict=True)]
        labels = [
            [al, pl, *(nl or []), *[None] * (k - len(nl or []))]
            for al, pl, nl in zip(
                table["anchor_label"][:], table["positive_label"][:], table["negative_labels"][:], strict=True
            )
        ]
        text_ids, unique = _number(texts)
        label_ids, _ = _number(labels)
        return cls(table, text_ids, label_ids, guide, guide.add(unique) if guide else None)

    @property
    def guide_id(self) -> str | None:
        return self._cache.guide_id if self._cache else None

    @property
    def negatives_per_row(self) -> int:
        return self.text_ids.shape[1] - 2

    def rows(self, row_ids: torch.Tensor) -> BatchRows:
        """Guide vectors (B, G), (B, G), (B, K, G) or None; text and label ids (B, 2 + K).

        Raises:
            DataError: a row id is not in the table.
        """
        ids = row_ids.detach().cpu().numpy().reshape(-1)
        if len(ids) and (ids.min() < 0 or ids.max() >= len(self.text_ids)):
            raise DataError(
                f"Row ids {ids.min()} to {ids.max()} asked of a guide store of {len(self.text_ids)} rows. "
                "Train on the columns that this store's training_columns() gives."
            )
        text_ids, label_ids = (torch.from_numpy(x[ids]) for x in (self.text_ids, self.label_ids))
        if self._cache is None:
            return BatchRows(None, None, None, text_ids, label_ids)
        # padding (-1) answers with the last text's vector; the loss masks it by its id
        vectors = torch.from_numpy(self._cache.vectors(self._cache_rows[text_ids.numpy()]))
        return BatchRows(vectors[:, 0], vectors[:, 1], vectors[:, 2:], text_ids, label_ids)

    def training_columns(self) -> Dataset:
        """What `SentenceTransformerTrainer` trains on: anchor, positive, negative_1..K, and the row id as label."""
        k = self.negatives_per_row
        columns = {"anchor": self.table["anchor"][:], "positive": self.table["positive"][:]}
        for i in range(k):
            # a row with fewer negatives is padded with its own positive, which the loss never counts
            columns[f"negative_{i + 1}"] = [
                n[i] if len(n) > i else p for n, p in zip(self.table["negatives"][:], columns["positive"], strict=True)
            ]
        return Dataset.from_dict({**columns, "label": range(len(self.table))})


def score_triplets(table: Dataset, guide: VectorCache) -> Dataset:
    """Fill `guide_id`, `guide_ap`, `guide_an` and `live` of a triplet table.

    `live`: at least one given negative is no closer to the anchor than the positive, so GIST will use it. Null where
    there is no negative.
    """
    a, p = (guide.embed(table[c][:]) for c in ("anchor", "positive"))
    ap, negatives = (a * p).sum(1), table["negatives"][:]
    counts = [len(n) for n in negatives]
    flat = (guide.embed([n for ns in negatives for n in ns]) * np.repeat(a, counts, axis=0)).sum(1)
    an = [x.tolist() for x in np.split(flat, np.cumsum(counts)[:-1])] if counts else []
    live = [bool(min(scores) <= limit) if scores else None for scores, limit in zip(an, ap.tolist(), strict=True)]
    filled = {"guide_id": [guide.guide_id] * len(table), "guide_ap": ap, "guide_an": an, "live": live}
    columns = table.with_format("arrow")[:]
    for name, values in filled.items():
        field = COLUMNS.field(name)
        columns = columns.set_column(COLUMNS.get_field_index(name), field, pa.array(values, type=field.type))
    return Dataset(columns)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


def _number(rows: list[list[str | None]]) -> tuple[np.ndarray, list[str]]:
    """Number equal strings alike, None as -1; the strings in order of their numbers."""
    numbers: dict[str, int] = {}
    ids = [[-1 if x is None else numbers.setdefault(x, len(numbers)) for x in row] for row in rows]
    return np.asarray(ids, dtype=np.int64).reshape(len(rows), -1), list(numbers)
