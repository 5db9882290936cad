"""Finds near-duplicates: pairs of texts whose character trigrams have at least a given Jaccard similarity.

Trigrams are read from the text with a space before and after it, so that a text of one or two letters has some too.
They suit short texts: above 0.8 are pairs that differ in a letter or a full stop in some thirty characters, or in one
small word of a sentence; in texts of two or three words any other letter makes another text. Word order counts for
little. Beyond some ten thousand characters trigrams say less and less: most of a language's trigrams then stand in any
text.

Candidates are found by MinHash in bands (A. Broder 1997; P. Indyk and R. Motwani 1998), with all texts of a part hashed
at once, and the sets themselves decide: no pair is a false alarm. A pair right at the threshold is missed once in ten
thousand times at most, a more similar one hardly ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
_BITS = 21  # of a code point; three of them make a trigram a number, with nothing lost
_CHARACTERS = 500_000  # hashed at once
_HASHES = 192
_MISSED = 1e-4
_CANDIDATES = 1_000_000  # at once, where the texts allow it
_COMPARED = 4_000_000  # members of sets at once
_HASHED = 1_000_000  # members hashed at once


def trigrams(text: str) -> set[str]:
    """The different runs of three characters of a text with a space before and after it."""
    text = f" {text} "
    return {text[i : i + 3] for i in range(len(text) - 2)}


def jaccard(text: str, other: str) -> float:
    """Members that the trigrams of both texts share, as a part of all; 0 where both are empty."""
    a, b = trigrams(text), trigrams(other)
    return len(a & b) / max(len(a | b), 1)


def near_pairs(texts: Sequence[str], others: Sequence[str], threshold: float) -> Iterator[Pairs]:
    """The pairs (i, j) with `jaccard(texts[i], others[j]) >= threshold`, each once, in parts; i ascends over all parts
    where there are at least as many texts as others, else j does.

    The smaller side is indexed, the larger one walks past it; memory grows with the smaller side, by about 8 bytes for
    each trigram of a text and 400 for the text.

    Args:
        texts, others: texts as they are to be compared (see `gisttools.data.normalise`).
        threshold: above 0, at most 1.

    Yields:
        Rows of `texts` and of `others`, int64 (n,), and the similarity, float64 (n,).
    """
    if len(texts) < len(others):
        for j, i, score in near_pairs(others, texts, threshold):
            yield i, j, score
        return
    index = NearIndex(others, threshold)
    begin = 0
    for part in _parts(texts):
        for i, j, score in index.find(part):
            yield i + begin, j, score
        begin += len(part)


def bands(threshold: float) -> tuple[int, int]:
    """(bands, hashes in each): the longest bands with which a pair at the threshold is missed once in 10,000 at most.

    Two texts are candidates if all hashes of one band are equal, each of which is as likely as they are similar.
    """
    fit = (r for r in range(_HASHES, 1, -1) if (1 - threshold**r) ** (_HASHES // r) <= _MISSED)
    length = next(fit, 1)
    return _HASHES // length, length


class NearIndex:
    """Texts that others are compared with: given at once, or added one after the other as they are accepted.

    A row is the place of a text in the order of `texts` and of the calls of `add`.

    Args:
        texts, threshold: as in `near_pairs`; there may be no texts yet.
    """

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self._threshold, self._bands = threshold, bands(threshold)
        parts = [_members(part) for part in _parts(texts)]
        self._known = _different(np.concatenate([np.empty(0, np.uint64), *(codes for codes, *_ in parts)]))
        self._sizes = np.concatenate([np.empty(0, np.int64), *(np.diff(begins) for *_, begins in parts)])
        members = [np.searchsorted(self._known, codes)[member] for codes, member, _ in parts]
        self._sets = self._rows(np.concatenate([np.empty(0, np.int64), *members]), self._sizes)
        hashed = [_band_keys(*part, *self._bands) for part in parts]
        keys = np.concatenate([np.empty((self._bands[0], 0), np.uint64), *hashed], axis=1)
        self._order = np.argsort(keys, axis=1).astype(np.int32)
        self._keys = np.take_along_axis(keys, self._order, axis=1)
        self._added: list[np.ndarray] = []  # the trigrams of each, as sorted numbers
        self._added_by_key: list[dict[int, list[int]]] = [{} for _ in range(self._bands[0])]

    def __len__(self) -> int:
        return len(self._sizes) + len(self._added)

    def add(self, text: str) -> int:
        """Remember one more text; returns its row."""
        codes, member, begins = _members([text])
        if len(codes):
            keys = _band_keys(codes, member, begins, *self._bands)[:, 0]
            for rows, key in zip(self._added_by_key, keys.tolist(), strict=True):
                rows.setdefault(key, []).append(len(self._added))
        self._added.append(codes)
        return len(self) - 1

    def near(self, text: str) -> dict[int, float]:
        """The rows of all texts at least as similar as the threshold, each with its similarity, the nearest first."""
        pairs = (zip(rows.tolist(), scores.tolist(), strict=True) for _, rows, scores in self.find([text]))
        return dict(sorted((pair for part in pairs for pair in part), key=lambda pair: (-pair[1], pair[0])))

    def find(self, texts: Sequence[str]) -> Iterator[Pairs]:
        """Pairs of rows of `texts` and of the index, and how similar they are."""
        codes, member, begins = _members(texts)
        keys = _band_keys(codes, member, begins, *self._bands)
        if len(self._sizes):
            yield from self._find_given(codes, member, begins, keys)
        for i, own in enumerate(keys.T.tolist() if self._added else ()):
            yield self._find_added(i, codes[member[begins[i] : begins[i + 1]]], own)

    def _find_added(self, i: int, codes: np.ndarray, keys: list[int]) -> Pairs:
        """Pairs of the text in row i, whose trigrams and band keys these are, with added texts."""
        found = {j for by_key, key in zip(self._added_by_key, keys, strict=True) for j in by_key.get(key, ())}
        rows = np.array(sorted(found) if len(codes) else [], dtype=np.int64)
        if not len(rows):
            return rows, rows, rows.astype(np.float64)
        others = [self._added[j] for j in rows.tolist()]
        sizes = np.array([len(other) for other in others])
        shared = np.isin(np.concatenate(others), codes)
        both = np.add.reduceat(shared, np.cumsum(sizes) - sizes, dtype=np.int64)
        score = both / (len(codes) + sizes - both)
        near = score >= self._threshold
        return np.full(near.sum(), i), rows[near] + len(self._sizes), score[near]

    def _find_given(
        self, codes: np.ndarray, member: np.ndarray, begins: np.ndarray, keys: np.ndarray
    ) -> Iterator[Pairs]:
        first = np.stack([np.searchsorted(own, asked) for own, asked in zip(self._keys, keys, strict=True)])
        last = [np.searchsorted(own, asked, side="right") for own, asked in zip(self._keys, keys, strict=True)]
        found = np.where(np.diff(begins) > 0, np.stack(last) - first, 0)
        place = np.searchsorted(self._known, codes)
        unknown = place == len(self._known)
        unknown[~unknown] = self._known[place[~unknown]] != codes[~unknown]
        place[unknown] = -1
        sizes, members = np.diff(begins), place[member]
        known = members >= 0
        sets = self._rows(members[known], np.diff(np.concatenate([[0], np.cumsum(known)])[begins]))
        for begin, end in runs(found.sum(axis=0), _CANDIDATES):
            i, j = self._candidates(first[:, begin:end], found[:, begin:end])
            i += begin
            small, large = np.minimum(sizes[i], self._sizes[j]), np.maximum(sizes[i], self._sizes[j])
            keep = small >= self._threshold * large * (1 - 1e-9)
            i, j, total = i[keep], j[keep], (small + large)[keep]
            for a, b in runs(total, _COMPARED):
                left, right = i[a:b], j[a:b]
                both = sets[left].multiply(self._sets[right]).sum(axis=1)
                score = both / (total[a:b] - both)
                near = score >= self._threshold
                yield left[near], right[near], score[near]

    def _candidates(self, first: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Different pairs of a row asked for and a row of the index that share a band."""
        band, row = np.nonzero(found)
        counts = found[band, row]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        j = self._order[np.repeat(band, counts), np.repeat(first[band, row], counts) + within]
        return np.divmod(_different(np.repeat(row, counts) * np.int64(len(self._sizes)) + j), max(len(self._sizes), 1))

    def _rows(self, members: np.ndarray, sizes: np.ndarray) -> csr_array:
        from scipy.sparse import csr_array

        begins = np.concatenate([[0], np.cumsum(sizes)])
        ones = np.ones(len(members), dtype=np.int32)
        return csr_array((ones, members.astype(np.int32), begins), shape=(len(sizes), len(self._known)))


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Texts in order, some `_CHARACTERS` at a time."""
    for begin, end in runs(np.array([len(t) + 2 for t in texts], dtype=np.int64), _CHARACTERS):
        yield texts[begin:end]


def runs(sizes: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """Begin and end of runs whose sizes sum up to at most `limit`; of a single one where that is larger."""
    ends, begin = np.cumsum(sizes), 0
    while begin < len(sizes):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + limit, side="right")))
        yield begin, end
        begin = end


def _members(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different trigrams as sorted numbers; of all texts in turn, the places of theirs there; where each begins."""
    letters = np.frombuffer("".join(f" {t} " for t in texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    letters = letters.astype(np.uint64)
    owner = np.repeat(np.arange(len(texts)), [len(t) for t in texts])
    at = np.arange(len(owner)) + 2 * owner
    codes = letters[at] << np.uint64(2 * _BITS) | letters[at + 1] << np.uint64(_BITS) | letters[at + 2]
    codes, member = np.unique(codes, return_inverse=True)
    owner, member = np.divmod(_different(owner * len(codes) + member), max(len(codes), 1))
    return codes, member, np.searchsorted(owner, np.arange(len(texts) + 1))


def _different(numbers: np.ndarray) -> np.ndarray:
    """Each number once, sorted: `np.unique` hashes them first, which took ten times as long here."""
    numbers = np.sort(numbers)
    return numbers[np.concatenate([[True], numbers[1:] != numbers[:-1]])] if len(numbers) else numbers


def _band_keys(codes: np.ndarray, member: np.ndarray, begins: np.ndarray, n: int, length: int) -> np.ndarray:
    """One number for each band and text, uint64 (n, texts): equal where all hashes of the band are."""
    random = np.random.default_rng(20240624)
    factors = random.integers(0, 1 << 63, (n, length), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = _mix(codes)
    keys = np.zeros((n, len(begins) - 1), dtype=np.uint64)
    full = np.diff(begins) > 0
    if not len(member):
        return keys
    step = max(1, _HASHED // (length * len(member)))  # bands at once: one text needs few calls, many little memory
    for band in range(0, n, step):
        for factor in factors[band : band + step].T:
            hashes = (_mix(mixed * factor[:, None]) >> np.uint64(32)).astype(np.uint32)
            least = np.minimum.reduceat(hashes[:, member], begins[:-1][full], axis=1)
            keys[band : band + step, full] = _mix(keys[band : band + step, full] ^ least)
    return keys


def _mix(numbers: np.ndarray) -> np.ndarray:
    """Each bit depends on all bits: the finaliser of splitmix64 (G. Steele, D. Lea and C. Flood 2014)."""
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return numbers ^ numbers >> np.uint64(31)
