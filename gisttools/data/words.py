"""Scores texts by BM25, the words that they share with a query."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from gisttools.data.characters import UNSPACED

_WORD = re.compile(rf"([{UNSPACED}]+)|(?:(?![{UNSPACED}])\w)+")


class WordIndex:
    """BM25 scores of a corpus (bm25s; Lucene's variant, k1 1.5, b 0.75): words of one letter or more, in small letters,
    none left out and none stemmed, for the language is not known. Of scripts without spaces each two letters that stand
    side by side are a word."""

    def __init__(self, corpus: Sequence[str]) -> None:
        import bm25s

        self._index = bm25s.BM25()
        self._size = len(corpus)
        words = [_words(text) for text in corpus]
        self._known = any(words)
        if self._known:
            self._index.index(words, show_progress=False)

    def scores(self, query: str) -> np.ndarray:
        """The score of each document, float32 (n,); 0 where they share no word."""
        known = self._index.vocab_dict if self._known else {}
        words = [word for word in _words(query) if word in known]
        return self._index.get_scores(words) if words else np.zeros(self._size, dtype=np.float32)

    def rank(self, query: str, place: int) -> int | None:
        """How many documents score higher than the one at this place; None where it shares no word with the query."""
        scores = self.scores(query)
        return int((scores > scores[place]).sum()) if scores[place] > 0 else None


def _words(text: str) -> list[str]:
    found: list[str] = []
    for word in _WORD.finditer(text.lower()):
        run = word[1]  # of letters without spaces between words
        found += [run[i : i + 2] for i in range(max(1, len(run) - 1))] if run else [word[0]]
    return found
