"""Decides which labelled texts meet in which batch: some texts of each of some classes, and which classes these are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gisttools.common import DataError
from gisttools.training.batches import BatchPlan

POWER = 0.5  # of a class's size, by which it is drawn
_ALONE = 0.25  # of a batch, the most that texts without a companion in their class take
_TOGETHER = 4  # classes that are alike, drawn at a time


class ClassPlan(BatchPlan):
    """All batches of a training on labelled texts, as numbers of texts; otherwise as `BatchPlan`.

    A step draws classes without replacement, each with the square root of its size: a class of 5,000 texts is drawn
    70 times as often as one of a single text, not 5,000 times. Of several sets each has its share of the draws, however
    few its classes are. A class gives `texts_per_class` of its texts, in an order that begins anew when it is through,
    and more where its share is larger than that, or where there are too few classes to fill a batch. A class gives at
    least two texts; a class of one text gives a negative, to at most a quarter of a batch. A text of several classes
    comes once.

    Args:
        members: which `text` has which `label` in which `set`, as `LabelledRows.members` says.
        texts_per_class: of each class in a batch, at least 2.
        centroids: a vector for each pair of set and label, in the order of `classes_of(members)`: then classes come in
            fours, one at random and the three nearest to it.
        of_all_plans: batch_size, steps, passes, mix, seed and devices, as of `BatchPlan`, of texts in place of rows.

    Raises:
        DataError: no class has two texts.
    """

    def __init__(
        self,
        members: pd.DataFrame,
        *,
        texts_per_class: int = 4,
        centroids: np.ndarray | None = None,
        **of_all_plans: Any,
    ) -> None:
        set_of_text = members.drop_duplicates("text").sort_values("text")["set"].to_numpy()
        super().__init__(set_of_text, **of_all_plans)
        self.texts_per_class = texts_per_class
        classes = classes_of(members)
        self.classes = [texts for _, texts in classes]
        self.set_of_class = np.array([key[0] for key, _ in classes], dtype=int)
        self.sizes = np.array([len(texts) for texts in self.classes])
        if not (self.sizes > 1).any():
            raise DataError(
                f"None of {len(self.sizes)} label(s) has two texts, so that no text has a positive. Train on triplets."
            )
        self.near = None if centroids is None else _nearest(centroids, self.sizes > 1)

    def batches(self) -> Iterator[np.ndarray]:
        """The texts of each step, those of a class side by side."""
        rng = np.random.default_rng(self.seed)
        streams = [_Texts(texts, np.random.default_rng([self.seed, c])) for c, texts in enumerate(self.classes)]
        odds, of_set = self._odds()
        for step in range(self.steps):
            chances = odds
            if self.mix.batches == "one_set":
                turn = step % len(of_set) if self.mix.mix == "round_robin" else rng.choice(len(of_set), p=of_set)
                chances = np.where(self.set_of_class == turn, odds, 0)
            yield self._batch(chances, streams, rng)

    def _odds(self) -> tuple[np.ndarray, np.ndarray]:
        """How likely each class is drawn, next to the others; and each set."""
        roots = self.sizes**POWER
        texts = np.array([len(rows) for rows in self.sets], dtype=float)
        wanted = texts if self.mix.mix == "proportional" else np.asarray(self.mix.weights or np.ones(len(texts)))
        # a set of which no class has two texts has nothing to teach
        taught = np.bincount(self.set_of_class[self.sizes > 1], minlength=len(texts)) > 0
        wanted = np.where(taught, wanted, 0.0)
        whole = np.bincount(self.set_of_class, weights=roots, minlength=len(texts))
        return roots * (wanted / whole)[self.set_of_class], wanted / wanted.sum()

    def _batch(self, chances: np.ndarray, streams: Sequence[_Texts], rng: np.random.Generator) -> np.ndarray:
        possible = np.flatnonzero(chances)
        # the largest of log(odds) plus Gumbel noise are a draw without replacement
        drawn = possible[np.argsort(-np.log(chances[possible]) - rng.gumbel(size=len(possible)))]
        several = self._alike([c for c in drawn if self.sizes[c] > 1], chances)
        alone = [c for c in drawn if self.sizes[c] == 1]
        least = np.minimum(self.sizes, self.texts_per_class)
        share = len(alone) / max(1.0, len(alone) + float((self.sizes**POWER * least)[several].sum()))
        alone = alone[: int(self.whole * min(_ALONE, share) + rng.random())]  # a share below one is a chance
        counts = self._counts(several, self.whole - len(alone), self._each(chances))
        taken: dict[int, int] = {}  # text by its class
        for c, count in counts.items():
            taken |= dict.fromkeys(streams[c].take(count, taken), c)
        for c in alone:
            taken |= dict.fromkeys(streams[c].take(1, taken), c)
        return self._for_devices(taken)

    def _alike(self, drawn: list[int], chances: np.ndarray) -> list[int]:
        """The classes in the order that they are taken in: as they were drawn, or each with those nearest to it."""
        if self.near is None:
            return drawn
        found: dict[int, None] = {}
        for c in drawn:
            if c not in found:
                near = [n for n in self.near[c] if n not in found and chances[n] > 0][: _TOGETHER - 1]
                found |= dict.fromkeys([c, *near])
        return list(found)

    def _each(self, chances: np.ndarray) -> np.ndarray:
        """How many texts each class gives at a time: a class is drawn once a batch, so that one whose share is larger
        gives as many as would come of several draws."""
        share = np.where(self.sizes > 1, chances, 0.0)
        draws = self.whole / self.texts_per_class * share / share.sum()
        return self.texts_per_class * np.maximum(1, draws.astype(int))

    def _counts(self, drawn: Sequence[int], room: int, each_gives: np.ndarray) -> dict[int, int]:
        """How many texts each class gives: as many as asked for, more where there is room left, never one alone."""
        counts: dict[int, int] = {}
        for c in drawn:
            if room < 2:
                break
            counts[c] = min(int(self.sizes[c]), int(each_gives[c]), room)
            room -= counts[c]
        while room:
            fuller = [c for c in counts if counts[c] < self.sizes[c]]
            if not fuller:
                break
            each = max(1, room // len(fuller))
            for c in fuller[:room]:
                more = min(each, int(self.sizes[c]) - counts[c], room)
                counts[c] += more
                room -= more
        return counts

    def _for_devices(self, taken: dict[int, int]) -> np.ndarray:
        """The texts, as many as divide among the devices; a class that has others left gives up what is too many."""
        texts = list(taken)
        for _ in range(len(texts) % self.devices):
            counts = pd.Series(taken).value_counts()
            goes = max(reversed(texts), key=lambda t: (self.sizes[taken[t]] == 1, counts[taken[t]] > 2))
            texts.remove(goes)
            del taken[goes]
        return np.array(texts, dtype=int)


def classes_of(members: pd.DataFrame) -> list[tuple[tuple[int, int], np.ndarray]]:
    """The texts of each set and label, in the order of these."""
    return [(key, part["text"].to_numpy()) for key, part in members.groupby(["set", "label"])]


def _nearest(centroids: np.ndarray, several: np.ndarray) -> np.ndarray:
    """The nearest classes of two texts or more of each class, the nearest first."""
    unit = centroids / np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    kept = min(len(unit) - 1, 3 * _TOGETHER)
    found = []
    for begin in range(0, len(unit), 1024):
        scores = unit[begin : begin + 1024] @ unit.T
        scores[:, ~several] = -np.inf
        scores[np.arange(len(scores)), begin + np.arange(len(scores))] = -np.inf
        found.append(np.argsort(-scores, axis=1, kind="stable")[:, :kept])
    return np.concatenate(found)


class _Texts:
    """The texts of a class in an order drawn anew each time it is through."""

    def __init__(self, texts: np.ndarray, rng: np.random.Generator) -> None:
        self.texts, self.rng, self.left = texts, rng, []

    def take(self, count: int, but: dict[int, int]) -> list[int]:
        """The next ones that are not among `but`, none twice; fewer where there are no more."""
        found: dict[int, None] = {}
        later = []
        for _ in range(2 * len(self.texts)):
            if len(found) == count:
                break
            if not self.left:
                self.left = self.rng.permutation(self.texts).tolist()
            text = self.left.pop()
            if text in found:
                later.append(text)  # drawn at the end of the last turn; it keeps its place in this one
            elif text not in but:
                found[text] = None
        self.left += later
        return list(found)
