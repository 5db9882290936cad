"""Keeps unit vectors of texts on disk, so that one guide embeds one text once, ever (`VectorCache`).

Texts are found by 16-byte keys, through an index that grows to tens of millions. The files are a matrix that only
grows, its keys, and a checksum for each chunk written:

    vectors.float32   one unit vector a row (or vectors.float16)
    keys.bin          the 16-byte key of each row
    chunks.bin        one record a chunk, written last: a row counts once its chunk is recorded
    verified.json     size and time of change of these files when their checksums were last found right

A row keeps its number forever, because others may hold it: a damaged chunk is not cut out but marked as dead.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock

from gisttools.common import DataError, ModelError, cache_folder, digest, model_name, tqdm
from gisttools.data import has_halves
from gisttools.models.guides import GivenVectors, Guide, open_guide
from gisttools.models.options import GuideOptions
from gisttools.models.prompts import Prompts
from gisttools.models.reading import Reading, read_by, reading_of

KEY = np.dtype("S16")  # NumPy pads with zero bytes when it compares, so all 16 bytes count


def text_keys(texts: Iterable[str]) -> np.ndarray:
    """One key for each text, shape (n,), dtype `KEY`; b"" (all zero) is the key of no text."""
    digests = [hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=KEY.itemsize).digest() for t in texts]
    return np.array(digests, dtype=KEY)


class KeyIndex:
    """From key to row number. Keys are held in sorted runs of growing size, so that adding n keys in small parts costs
    O(n log² n) in all, and looking one up is a binary search in at most log n runs."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # first halves (sorted), second halves, rows

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Take keys, shape (n,), with their row numbers, int64 (n,). A key that is held already keeps its row."""
        if not len(keys):
            return
        self._runs.append(_sorted(*_halves(keys), rows))
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) >= len(self._runs[-2][0]):
            last = self._runs.pop()
            self._runs[-1] = _sorted(*(np.concatenate(pair) for pair in zip(self._runs[-1], last, strict=True)))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Row numbers, int64 (n,); -1 for unknown keys."""
        first, second = _halves(keys)
        order = np.argsort(first)  # neighbours search the same memory: several times faster
        first, second = first[order], second[order]
        found = np.full(len(keys), -1, dtype=np.int64)
        for firsts, seconds, rows in self._runs:
            place = np.searchsorted(firsts, first)
            left = np.flatnonzero(found < 0)
            while len(left):  # one round, unless first halves collide
                left = left[place[left] < len(firsts)]
                left = left[firsts[place[left]] == first[left]]
                hit = seconds[place[left]] == second[left]
                found[left[hit]] = rows[place[left[hit]]]
                left = left[~hit]
                place[left] += 1
        back = np.empty_like(found)
        back[order] = found
        return back


def _halves(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    halves = np.ascontiguousarray(keys, dtype=KEY).view("<u8").reshape(-1, 2)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def _sorted(first: np.ndarray, second: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(first, kind="stable")  # stable merges sorted runs quickly
    return first[order], second[order], rows[order]


log = logging.getLogger(__name__)
_RECORD = np.dtype([(name, "<u4") for name in ("rows", "alive", "dimension", "keys", "vectors", "own")])


class VectorFolder:
    """Vectors by key in a folder that any number of processes read, and one at a time appends to.

    Args:
        folder: made if it does not exist.
        dtype: of the numbers on disk; vectors are always given and answered as float32.
        about: what `meta.json` tells a human.
    """

    def __init__(self, folder: Path, dtype: Literal["float32", "float16"], about: dict) -> None:
        self.folder, self._dtype = folder, np.dtype(dtype)
        self._vectors, self._keys = folder / f"vectors.{dtype}", folder / "keys.bin"
        self._chunks, self._verified = folder / "chunks.bin", folder / "verified.json"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock")
        self._known, self._index = np.zeros(0, _RECORD), KeyIndex()
        self._map: np.ndarray | None = None
        with self.writing():
            _replace(folder / "meta.json", json.dumps(about, indent=1).encode())

    @property
    def dimension(self) -> int | None:
        """Numbers a vector; None while there is none."""
        return int(self._known["dimension"][0]) if len(self._known) else None

    @property
    def alive(self) -> int:
        """Vectors that are not damaged."""
        return int(self._known["rows"][self._known["alive"] > 0].sum(dtype=np.int64))

    def __len__(self) -> int:
        return int(self._known["rows"].sum(dtype=np.int64))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Row numbers, int64 (n,), of keys, shape (n,); -1 for keys that are not here."""
        return self._index.find(keys)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """float32 (*rows.shape, dimension) of rows that `find` answered, read from the memory map."""
        if self._map is None or len(self._map) < len(self):
            shape = (len(self), self.dimension or 0)
            self._map = np.memmap(self._vectors, dtype=self._dtype, mode="r", shape=shape).view(np.ndarray)
        return np.asarray(self._map[rows], dtype=np.float32)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The right to append: the files are sound, and what other processes appended is known."""
        with self._lock:
            self._repair()
            self._refresh()
            yield

    def append(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Add a chunk, durably; inside `writing()` only. keys (n,) new here, vectors (n, dimension).

        Raises:
            ModelError: the vectors are not as long as those that are here.
        """
        if self.dimension not in (None, vectors.shape[1]):
            raise ModelError(
                f"The guide gives vectors of {vectors.shape[1]} numbers; those kept in {self.folder} have "
                f"{self.dimension}. It is not the same model any more: name another one, or remove that folder."
            )
        parts = {self._vectors: np.ascontiguousarray(vectors, self._dtype), self._keys: np.ascontiguousarray(keys, KEY)}
        sums = [zlib.crc32(parts[path].view(np.uint8).data) for path in (self._keys, self._vectors)]
        record = np.array([(len(keys), 1, vectors.shape[1], *sums, 0)], _RECORD)
        record["own"] = _own_sum(record[0])
        for path, data in [*parts.items(), (self._chunks, record)]:
            with open(path, "ab") as file:
                file.write(data.tobytes())
                file.flush()
                os.fsync(file.fileno())
        self._note_verified()
        self._refresh()

    def _refresh(self) -> None:
        """Learn of the chunks that were recorded since."""
        records = self._records()
        if not np.array_equal(records[: len(self._known)], self._known):  # a chunk died: number anew
            self._known, self._index, self._map = np.zeros(0, _RECORD), KeyIndex(), None
        begin, new = len(self), records[len(self._known) :]
        count = int(new["rows"].sum(dtype=np.int64))
        if count:
            keys = np.fromfile(self._keys, dtype=KEY, count=count, offset=begin * KEY.itemsize)
            alive = np.repeat(new["alive"] > 0, new["rows"])
            self._index.add(keys[alive], begin + np.flatnonzero(alive))
        self._known = records

    def _records(self) -> np.ndarray:
        """The recorded chunks, up to the first record that is not whole."""
        data = self._chunks.read_bytes() if self._chunks.exists() else b""
        records = np.frombuffer(data[: len(data) // _RECORD.itemsize * _RECORD.itemsize], _RECORD)
        known = len(self._known) if np.array_equal(records[: len(self._known)], self._known) else 0
        good = [record["own"] == _own_sum(record) for record in records[known:]]
        return records[: known + (good.index(False) if False in good else len(good))].copy()

    def _repair(self) -> None:
        """Verify what changed since the last time: drop unrecorded rows, mark damaged chunks as dead."""
        if self._state() == self._noted():
            return
        for path in (self._vectors, self._keys, self._chunks):
            path.touch()
        records, dead, begin = self._records(), 0, 0
        total, dimension = int(records["rows"].sum(dtype=np.int64)), int(records["dimension"].max(initial=1))
        lost = self._chunks.stat().st_size // _RECORD.itemsize - len(records)
        # a half-written end is cut; an end that got lost is filled with zeros, which no checksum takes for vectors
        os.truncate(self._keys, total * KEY.itemsize)
        os.truncate(self._vectors, total * dimension * self._dtype.itemsize)
        if total:
            keys = np.memmap(self._keys, KEY, "r", shape=(total,)).view(np.uint8).reshape(total, -1)
            vectors = np.memmap(self._vectors, self._dtype, "r", shape=(total, dimension)).view(np.uint8)
            for record in records:
                part = slice(begin, begin + int(record["rows"]))
                begin = part.stop
                if record["alive"] and (zlib.crc32(keys[part].data), zlib.crc32(vectors[part].data)) != (
                    record["keys"], record["vectors"]
                ):  # fmt: skip
                    record["alive"], dead = 0, dead + int(record["rows"])
                    record["own"] = _own_sum(record)
        if dead or lost:
            what = f"{dead} vectors" if dead else "the record of some vectors"
            log.warning("%s: %s are damaged; what is missing is made again when needed", self.folder, what)
        _replace(self._chunks, records.tobytes())
        self._note_verified()

    def _state(self) -> dict[str, list[int]]:
        files = [path for path in (self._vectors, self._keys, self._chunks) if path.exists()]
        return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}

    def _noted(self) -> dict | None:
        try:
            return json.loads(self._verified.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _note_verified(self) -> None:
        _replace(self._verified, json.dumps(self._state()).encode())


def _own_sum(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[: -_RECORD["own"].itemsize])  # the sum itself comes last


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)


_SECONDS_WITHOUT_BAR = 3.0
_TOKENIZED = 10_000  # texts at a time


class VectorCache:
    """Unit vectors of texts by one guide, kept on disk and read from a memory map.

    The cache is named by what decides a vector (weights, pooling, length limit, prompt, precision, or the endpoint's
    address and model): a changed guide never answers with an old vector. Each chunk of vectors is on disk as soon as
    it is done, with a checksum. Any number of processes may use it at once.

    Texts are embedded with the prompt that the guide has for texts that are alike, if any; `with_prompt` and `alike`
    give the vectors under another one.

    Args:
        guide: a name, or all of `GuideOptions`.
        folder: where caches live; `cache_folder()/guides` if None.

    Raises:
        MissingError, ModelError, ParameterError, DataError: as `gisttools.models.open_guide`.
    """

    def __init__(self, guide: str | GuideOptions, *, folder: Path | None = None) -> None:
        self._options = GuideOptions(name=guide) if isinstance(guide, str) else guide
        self.name, self._home = self._options.name, folder or cache_folder() / "guides"
        self.guide: Guide | GivenVectors = open_guide(self._options)
        self._read = KeyIndex()  # of texts that were asked for: 1 where the guide reads it, else 0
        self._by_prompt: dict[str, VectorCache] = {}
        self._open_files()

    def _open_files(self) -> None:
        key = digest(f"{self.guide.identity}|{self._options.dtype}")
        self.guide_id = f"{self.name}#{key}"
        self.folder = self._home / key
        about = {
            "guide_id": self.guide_id,
            "revision": self._options.revision,
            "prompt": getattr(self.guide, "prompt", None),
            "identity": self.guide.identity,
        }
        self._files = VectorFolder(self.folder, self._options.dtype, about)
        if isinstance(self.guide, GivenVectors):
            self._take_in(self.guide)

    @property
    def prompts(self) -> Prompts:
        """What the guide puts before queries, documents and texts that are alike."""
        return self.guide.prompts

    def with_prompt(self, prompt: str) -> VectorCache:
        """The vectors of the same guide with this prompt before every text, "" for none; each prompt has its own."""
        if isinstance(self.guide, GivenVectors):
            return self
        if prompt not in self._by_prompt:
            other = copy.copy(self)
            other.guide = self.guide.with_prompt(prompt)
            if other.guide.identity == self.guide.identity:
                other = self
            else:
                other._open_files()
            self._by_prompt[prompt] = other
        return self._by_prompt[prompt]

    def alike(self, task: str | None, kind: str | None) -> VectorCache:
        """The vectors of texts that are compared with their like, for a task and type of task as mteb names them."""
        return self.with_prompt(self.prompts.of(task, kind, searches=False)[0])

    @property
    def dimension(self) -> int | None:
        """Numbers a vector; None for an endpoint that has not been asked yet."""
        return self._files.dimension or self.guide.dimension

    def reads(self, texts: Sequence[str]) -> np.ndarray:
        """Of which texts the guide knows most tokens (`LEAST_READ`), bool (n,): of the others a vector says little.
        True where that cannot be told, as of endpoints and of files of vectors."""
        tokenizer = getattr(self.guide, "tokenizer", None)
        if tokenizer is None or not len(texts):
            return np.ones(len(texts), dtype=bool)
        keys = text_keys(texts)
        unknown = np.flatnonzero(self._read.find(keys) < 0)
        if len(unknown):
            unknown = unknown[np.unique(keys[unknown], return_index=True)[1]]
            for begin in range(0, len(unknown), _TOKENIZED):
                part = unknown[begin : begin + _TOKENIZED]
                self._read.add(keys[part], read_by(tokenizer, [texts[i] for i in part.tolist()]).astype(np.int64))
        return self._read.find(keys) > 0

    def reading(self, texts: Sequence[str], *, warn: bool = False) -> Reading | None:
        """How much the guide reads of texts, of a thousand of them where there are more; None where that cannot be
        told. `warn`: say it where it is too little, before these texts are embedded."""
        tokenizer = getattr(self.guide, "tokenizer", None)
        found = None if tokenizer is None else reading_of(tokenizer, texts)
        if warn and found and (trouble := found.trouble(f"Guide {self.name}")):
            log.warning("%s", trouble)
        return found

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 (n, dimension); texts not seen before are embedded and kept.

        Raises:
            ModelError: a vector is not finite or all zero.
            DataError: a file of vectors does not hold a text, or a text holds half a character.
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
        desc = f"embedding with {model_name(self.name)}"
        with tqdm(total=total, desc=desc, unit="text", mininterval=1, delay=_SECONDS_WITHOUT_BAR) as bar:
            for texts in blocks:
                if isinstance(self.guide, GivenVectors):
                    raise self.guide.missing(total, texts)
                if halves := [text for text in texts if has_halves(text)]:
                    raise DataError(
                        f"{len(halves)} text(s) hold half a surrogate pair, which is no character, such as "
                        f"{halves[0]!r:.60}. Write them anew, or leave them out."
                    )
                log.info("%s embeds %d texts", self.name, len(texts))
                # the longest first: too little memory shows at once, and the time left is never told too short
                texts = sorted(texts, key=len, reverse=True)
                for begin in range(0, len(texts), self.guide.portion):
                    portion = texts[begin : begin + self.guide.portion]
                    self._embed(self.guide, portion)
                    bar.update(len(portion))

    def _embed(self, guide: Guide, texts: list[str]) -> None:
        with self._files.writing():  # another process may have added some, or be about to
            keys = text_keys(texts)
            todo = np.flatnonzero(self.find(keys) < 0)
            if not len(todo):
                return
            with closing(guide.stream([texts[i] for i in todo])) as parts:
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
