"""Does a text belong to its label? By the guide's vectors: the nearest centre of a label, or the nearest known texts.

A *check* judges a unit vector (dim) and a label's name: label-mismatch, off-topic, or None where it belongs there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

_FARTHEST_SEEDS = 0.1  # share of the seeds that may be farther from their label than a text must be


class LabelCheck(Protocol):
    """What judges the label of a text."""

    def judge(self, vector: np.ndarray, label: str) -> str | None:
        """label-mismatch or off-topic, where a unit vector (dim) does not belong to the label; else None."""


class LabelCentroids:
    """Mean guide vector of each label: does a text belong to it?

    Args:
        vectors: (n, dim), of seeds and labels' lines.
        label_of: (n) names of their labels.
        is_seed: (n) True for seeds. They also set how near to its label a text must be: no farther than all but the
            farthest tenth of the seeds, each measured without itself.
    """

    def __init__(self, vectors: np.ndarray, label_of: Sequence[str], is_seed: Sequence[bool]) -> None:
        self.names = list(dict.fromkeys(label_of))
        owner = np.array([self.names.index(name) for name in label_of])
        sums = np.stack([vectors[owner == i].sum(axis=0) for i in range(len(self.names))])
        self._centroids = _unit(sums)
        seeds = np.flatnonzero(is_seed)
        others = _unit(sums[owner[seeds]] - vectors[seeds])
        own = np.einsum("nd,nd->n", others, vectors[seeds])
        self.floor = float(np.quantile(own, _FARTHEST_SEEDS)) if len(seeds) else -1.0

    def judge(self, vector: np.ndarray, label: str) -> str | None:
        """label-mismatch or off-topic, where a unit vector (dim) does not belong to the label; else None."""
        cosines = self._centroids @ vector
        nearest = int(np.argmax(cosines))
        if self.names[nearest] != label:
            return "label-mismatch"
        return "off-topic" if cosines[nearest] < self.floor else None


class NearestLabelled:
    """The labels of the nearest known texts: does a text stand among those of its own?

    Args:
        vectors: (n, dim), unit vectors of texts whose label is known.
        label_of: (n) their labels.
        k: so many nearest texts vote, fewer where the smallest label has fewer. A tie goes to the nearer texts.
    """

    def __init__(self, vectors: np.ndarray, label_of: Sequence[str], k: int = 5) -> None:
        self._vectors, self._labels = vectors, list(label_of)
        smallest = min(self._labels.count(name) for name in set(self._labels))
        self.k = max(1, min(k, smallest))

    def judge(self, vector: np.ndarray, label: str) -> str | None:
        """label-mismatch, where most of the k nearest known texts have another label; else None."""
        cosines = self._vectors @ vector
        nearest = np.argsort(-cosines, kind="stable")[: self.k]
        votes: dict[str, tuple[int, float]] = {}
        for i in nearest.tolist():
            count, total = votes.get(self._labels[i], (0, 0.0))
            votes[self._labels[i]] = (count + 1, total + float(cosines[i]))
        return None if max(votes, key=votes.__getitem__) == label else "label-mismatch"


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
