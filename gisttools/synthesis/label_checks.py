"""Asks whether a text belongs to its label, by the guide's vectors of texts whose label is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

MISMATCH = "label-mismatch"
_FARTHEST = {"centroids": 0.1, "classifier": 0.02}  # share of known texts that may be farther than a text must be
_CLEARLY = 3.0  # another label is so many times as likely
_SURELY = 10.0  # and a text is moved to a label so many times as likely as any other: `benchmarks/writers.py --judges`
_PENALTY = 10.0  # C of the logistic regression, on unit vectors
_MOST = 100  # texts of a label that it is fitted on; more change little and take minutes


class LabelCheck(Protocol):
    """What judges the label of a text."""

    def judge(self, vector: np.ndarray, label: str) -> str | None:
        """label-mismatch or off-topic, where a unit vector (dim) does not belong to the label; else None."""

    def surely(self, vector: np.ndarray) -> str | None:
        """The label that a text with this unit vector (dim) surely has; None where that is not sure."""


class LabelCentroids:
    """Mean guide vector of each label: does a text belong to it?

    Args:
        vectors: (n, dim), of seeds and labels' lines.
        label_of: (n) names of their labels.
        is_seed: (n) True for seeds. They also set how near to its label a text must be: no farther than all but this
            share of the seeds, `farthest`, each measured without itself.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        label_of: Sequence[str],
        is_seed: Sequence[bool],
        *,
        farthest: float = _FARTHEST["centroids"],
    ) -> None:
        self.names = list(dict.fromkeys(label_of))
        owner = np.array([self.names.index(name) for name in label_of])
        sums = np.stack([vectors[owner == i].sum(axis=0) for i in range(len(self.names))])
        self._centroids = _unit(sums)
        seeds = np.flatnonzero(is_seed)
        others = _unit(sums[owner[seeds]] - vectors[seeds])
        own = np.einsum("nd,nd->n", others, vectors[seeds])
        self.floor = float(np.quantile(own, farthest)) if len(seeds) else -1.0

    def cosine(self, vector: np.ndarray, label: str) -> float:
        """Of a unit vector (dim) and the centre of a label."""
        return float(self._centroids[self.names.index(label)] @ vector)

    def judge(self, vector: np.ndarray, label: str) -> str | None:
        """label-mismatch or off-topic, where a unit vector (dim) does not belong to the label; else None."""
        cosines = self._centroids @ vector
        nearest = int(np.argmax(cosines))
        if self.names[nearest] != label:
            return MISMATCH
        return "off-topic" if cosines[nearest] < self.floor else None

    def surely(self, vector: np.ndarray) -> str | None:
        """None: cosines are no chances."""
        return None


class LabelClassifier:
    """Logistic regression on the texts whose label is known: is another label clearly likelier than a text's own?

    Of texts that an LLM wrote and that are labelled right, a centre loses those that stand at its edge, from which most
    is learnt: `benchmarks/writers.py`.

    Args:
        vectors: (n, dim), unit vectors of texts and labels' lines.
        label_of: (n) names of their labels.
        is_text: (n) False for lines. Texts also set how near to the centre of its label a text must be: no farther than
            all but the farthest fiftieth of them, each measured without itself.
    """

    def __init__(self, vectors: np.ndarray, label_of: Sequence[str], is_text: Sequence[bool]) -> None:
        from sklearn.linear_model import LogisticRegression

        centres = LabelCentroids(vectors, label_of, is_text, farthest=_FARTHEST["classifier"])
        self.floor, self.names, self._centres = centres.floor, centres.names, centres
        rows = _at_most(label_of, _MOST)
        self._model, self._place = None, {}
        if len(self.names) > 1:
            weights = LogisticRegression(C=_PENALTY, max_iter=300, class_weight="balanced")
            self._model = weights.fit(vectors[rows], [label_of[i] for i in rows])
            self._place = {name: i for i, name in enumerate(self._model.classes_)}

    def judge(self, vector: np.ndarray, label: str) -> str | None:
        """label-mismatch or off-topic, where a unit vector (dim) does not belong to the label; else None."""
        if self._model is not None:
            (chances,) = self._model.predict_proba(vector[None])
            if chances[self._place[label]] * _CLEARLY < chances.max():
                return MISMATCH
        return "off-topic" if self._centres.cosine(vector, label) < self.floor else None

    def surely(self, vector: np.ndarray) -> str | None:
        """The label that is ten times as likely as any other, if the text is no farther from its centre than others."""
        if self._model is None:
            return None
        (chances,) = self._model.predict_proba(vector[None])
        second, first = np.sort(chances)[-2:]
        best = str(self._model.classes_[int(chances.argmax())])
        return best if first > _SURELY * second and self._centres.cosine(vector, best) >= self.floor else None


def _at_most(label_of: Sequence[str], most: int) -> list[int]:
    """Places of the first so many of each label."""
    seen: Counter[str] = Counter()
    rows = []
    for i, name in enumerate(label_of):
        seen[name] += 1
        if seen[name] <= most:
            rows.append(i)
    return rows


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
        return None if max(votes, key=votes.__getitem__) == label else MISMATCH

    def surely(self, vector: np.ndarray) -> str | None:
        """None: five votes are too few."""
        return None


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
