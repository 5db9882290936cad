"""`VectorCache`: unit vectors of texts by one guide, on disk, so that one guide embeds one text once, ever."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from gisttools.common import ModelError, ParameterError, cache_folder, tqdm
from gisttools.given_vectors import GivenVectors
from gisttools.guides import Precision, open_guide
from gisttools.text_keys import text_keys
from gisttools.vector_folder import VectorFolder

log = logging.getLogger(__name__)
_SECONDS_WITHOUT_BAR = 3.0


class VectorCache:
    """Unit vectors of texts by one guide, kept on disk and read from a memory map.

    The cache is named by what decides a vector (weights, pooling, length limit, prompt, precision, or the endpoint's
    address and model): a changed guide never answers with an old vector. Each chunk of vectors is on disk as soon as
    it is done, with a checksum. Any number of processes may use it at once.

    Args:
        name, revision, prompt, base_url, key_variable, precision: as in `gisttools.guides.open_guide`.
        folder: where caches live; `cache_folder()/guides` if None.
        dtype: of the numbers on disk. float16 halves the space; cosines then move by about 1e-4.

    Raises:
        MissingError, ModelError, ParameterError, DataError: as `open_guide`.
    """

    def __init__(
        self,
        name: str,
        revision: str | None = None,
        *,
        prompt: str | None = None,
        folder: Path | None = None,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        precision: Precision = "auto",
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        if dtype not in ("float32", "float16"):
            raise ParameterError(f"dtype is {dtype!r}, must be 'float32' or 'float16'.")
        self.name, self.prompt = name, prompt
        self.guide = open_guide(
            name, revision, prompt=prompt, base_url=base_url, key_variable=key_variable, precision=precision
        )
        key = hashlib.blake2b(f"{self.guide.identity}|{dtype}".encode(), digest_size=8).hexdigest()
        self.guide_id = f"{name}#{key}"
        self.folder = (folder or cache_folder() / "guides") / key
        about = {"guide_id": self.guide_id, "revision": revision, "prompt": prompt, "identity": self.guide.identity}
        self._files = VectorFolder(self.folder, dtype, about)
        if isinstance(self.guide, GivenVectors):
            self._take_in(self.guide)

    @property
    def dimension(self) -> int | None:
        """Numbers a vector; None for an endpoint that has not been asked yet."""
        return self._files.dimension or self.guide.dimension

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 (n, dimension); texts not seen before are embedded and kept.

        Raises:
            ModelError: a vector is not finite or all zero.
            DataError: a file of vectors does not hold a text.
            EndpointError: an endpoint fails; what it answered before is kept.
        """
        return self.vectors(self.add(texts))

    def add(self, texts: Sequence[str]) -> np.ndarray:
        """Make sure that every text has a vector; return its row in the matrix, int64 (n,). Raises as `embed`."""
        keys = text_keys(texts)
        rows = self.find(keys)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            missing = [texts[unknown[i]] for i in np.unique(keys[unknown], return_index=True)[1]]
            self.fill([missing], len(missing))
            rows = self.find(keys)
        return rows

    def fill(self, blocks: Iterable[Sequence[str]], total: int) -> None:
        """Embed, block by block, the texts that are not here yet. A block is sorted by length before it is embedded,
        so some ten thousand texts make a good one. Raises as `embed`.

        Args:
            blocks: texts, none twice.
            total: how many they are in all, for the progress bar.
        """
        with tqdm(total=total, desc="guide", unit="text", mininterval=1, delay=_SECONDS_WITHOUT_BAR) as bar:
            for texts in blocks:
                if isinstance(self.guide, GivenVectors):
                    raise self.guide.missing(total, texts)
                log.info("%s embeds %d texts", self.name, len(texts))
                # the longest first: too little memory shows at once, and the time left is never told too short
                texts = sorted(texts, key=len, reverse=True)
                for begin in range(0, len(texts), self.guide.portion):
                    portion = texts[begin : begin + self.guide.portion]
                    self._embed(portion)
                    bar.update(len(portion))

    def _embed(self, texts: list[str]) -> None:
        with self._files.writing():  # another process may have added some, or be about to
            keys = text_keys(texts)
            todo = np.flatnonzero(self.find(keys) < 0)
            if not len(todo):
                return
            with closing(self.guide.stream([texts[i] for i in todo])) as parts:
                for numbers, vectors in parts:
                    part = todo[numbers]
                    self._files.append(keys[part], _unit(vectors, [texts[i] for i in part], self.name))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Rows, int64 (n,), of keys that `text_keys` gives; -1 for texts that have no vector here."""
        return self._files.find(keys)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """float32 (*rows.shape, dimension), read from the memory map."""
        if not rows.size:
            return np.zeros((*rows.shape, self.dimension or 0), dtype=np.float32)
        return self._files.read(rows)

    def _take_in(self, guide: GivenVectors) -> None:
        """Copy given vectors into the memory-mapped matrix, once for each content of the file."""
        done = self.folder / "complete"
        with self._files.writing():
            if done.exists() and done.read_text(encoding="utf-8") == str(self._files.alive):
                return
            log.info("%s: taking in given vectors", self.name)
            for texts, vectors in guide.items():
                keys, first = np.unique(text_keys(texts), return_index=True)
                new = self.find(keys) < 0  # of a text that stands there twice, the first counts
                part = first[new]
                if len(part):
                    self._files.append(keys[new], _unit(vectors[part], [texts[i] for i in part], self.name))
            done.write_text(str(self._files.alive), encoding="utf-8")


def _unit(vectors: np.ndarray, texts: list[str], name: str) -> np.ndarray:
    """Vectors of length 1, float32. Raises ModelError, naming the first text, where one is not finite or all zero."""
    norms = np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))
    if len(bad):
        what = "all zero" if norms[bad[0], 0] == 0 else "not finite"
        raise ModelError(
            f"Guide {name} gives a vector that is {what} for the text {texts[bad[0]][:80]!r}"
            f"{f' and {len(bad) - 1} more' if len(bad) > 1 else ''}. Leave such texts out, use precision='float32', "
            "or use another guide."
        )
    return (vectors / norms).astype(np.float32)
