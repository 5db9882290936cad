"""Texts that a new one must not repeat, equally or nearly.

MinHash LSH (datasketch) proposes near duplicates, the Jaccard similarity of character trigrams decides: there are no
false alarms. It grows text by text, unlike `gisttools.data.near_duplicates`, which compares whole sets.
"""

from __future__ import annotations

from collections.abc import Iterable

from gisttools.data import normalise

NEAR_DUPLICATE = 0.7  # Jaccard similarity of character trigrams
_PERMUTATIONS = 64


class Seen:
    """Texts seen so far."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        from datasketch import MinHashLSH

        # A low threshold finds nearly all candidates; the exact similarity then decides.
        self._index = MinHashLSH(threshold=NEAR_DUPLICATE - 0.25, num_perm=_PERMUTATIONS)
        self._texts: set[str] = (
            set()
        )  # their trigrams are made anew when they are asked for: they take fifty times as much
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Remember a text."""
        text = normalise(text)
        if text not in self._texts:
            self._texts.add(text)
            self._index.insert(text, _minhash(_shingles(text)))

    def repeats(self, text: str) -> str | None:
        """duplicate, near-duplicate or None."""
        text = normalise(text)
        if text in self._texts:
            return "duplicate"
        own = _shingles(text)
        for other in map(_shingles, self._index.query(_minhash(own))):
            if len(own & other) / len(own | other) >= NEAR_DUPLICATE:
                return "near-duplicate"
        return None


def _shingles(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


def _minhash(shingles: set[str]) -> object:
    from datasketch import MinHash

    digest = MinHash(num_perm=_PERMUTATIONS)
    digest.update_batch([s.encode("utf-8", "surrogatepass") for s in shingles])
    return digest
