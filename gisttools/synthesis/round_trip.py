"""Looks whether a question leads back to the chunk that it was written on, among all chunks, by a guide and by BM25.

Rows stay pairs: negatives are mined when the questions are known, in `2_convert`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gisttools.data import WordIndex
from gisttools.synthesis.judge import Candidate, Embed
from gisttools.synthesis.options import Checks
from gisttools.synthesis.task import Task

_BLOCK = 256  # questions compared with all chunks at a time


class DocumentPartners:
    """Rows whose positive is a chunk of documents.

    Args:
        task: its documents, those held back included, are what is searched.
        checks: `top_k` and `found_by` count.
        embed_questions, embed_chunks: unit vectors (n, dim) by the guide, behind its prompts for either.
    """

    def __init__(self, task: Task, checks: Checks, embed_questions: Embed, embed_chunks: Embed) -> None:
        self._checks, self._embed = checks, embed_questions
        ids: dict[str, str] = {}
        for name, text in (*task.documents.items(), *task.held_back.items()):
            ids.setdefault(text, name)
        texts, self._ids = list(ids), list(ids.values())
        self._places = {text: place for place, text in enumerate(texts)}
        self._vectors = np.asarray(embed_chunks(texts))
        asks_words = checks.top_k is not None and checks.found_by != "guide"
        self._words = WordIndex(texts) if asks_words else None

    def complete(self, passed: Sequence[Candidate], open_rows: Sequence[Candidate]) -> None:
        """Fill the guide's score of each open row, and the reason round-trip where its chunk is not found again."""
        for begin in range(0, len(open_rows), _BLOCK):
            block = open_rows[begin : begin + _BLOCK]
            scores = np.asarray(self._embed([c.anchor_text for c in block])) @ self._vectors.T
            for c, row in zip(block, scores, strict=True):
                place = self._places[c.positive_text]
                c.guide_ap = float(row[place])
                c.reason = None if self._found(c, int((row > row[place]).sum()), place) else "round-trip"

    def nearer(self, c: Candidate, most: int) -> list[str]:
        """Ids of the chunks, at most so many, that the guide finds nearer to a question than its own, the nearest
        first; none for a guide that does not read it."""
        if not c.read:
            return []
        scores = self._vectors @ np.asarray(self._embed([c.anchor_text]))[0]
        own = scores[self._places[c.positive_text]]
        order = np.argsort(-scores, kind="stable")[: most + 1].tolist()
        return [self._ids[place] for place in order if scores[place] > own][:most]

    def _found(self, c: Candidate, rank: int, place: int) -> bool:
        """Whether a question leads back; a guide that does not read it is not heard."""
        most, by = self._checks.top_k, self._checks.found_by
        if most is None:
            return True
        told = [rank < most] if c.read and by != "bm25" else []
        if self._words is not None:
            by_words = self._words.rank(c.anchor_text, place)
            told.append(by_words is not None and by_words < most)
        return not told or (any(told) if by == "either" else all(told))
