"""`MiningOptions`: how labelled texts become triplets, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from gisttools.common import ParameterError, problems

Strategy = Literal["gistembed", "hard"]
Positives = Literal["softmax", "nearest", "farthest", "random"]
NegativesFrom = Literal["uniform", "softmax", "least_similar"]
Search = Literal["auto", "exact", "approximate"]


@dataclass(frozen=True, kw_only=True)
class MiningOptions:
    """How to mine; the defaults are the GISTEmbed paper's procedure. Similarities are the guide's cosines.

    Attributes:
        strategy: `gistembed` draws negatives from all other classes; `hard` takes the nearest texts of other classes
            whose similarity to the anchor is at most `margin` times the positive's.
        negatives: negatives per row. `hard` gives fewer where there are not so many.
        positives: a row's positive is drawn from the `softmax` of similarity / `temperature` over the `topk` nearest
            texts of the anchor's class (ties at the end included), or is the `nearest`, the `farthest` or a `random`
            one of that class.
        topk, temperature: of the softmax. `temperature` is also that of `negatives_from="softmax"`.
        negatives_from: `gistembed` only. `uniform` over the texts of other classes; from the `softmax` of similarity /
            `temperature` over them; or uniform over the `least` ones least similar to the anchor. With replacement.
        least: of `negatives_from="least_similar"`.
        margin: `hard` only, see there.
        rank_from, rank_to: `hard` only. The `rank_from` nearest allowed texts are skipped. Where `rank_to` is told,
            negatives are drawn at random, without replacement, from the ranks rank_from <= rank < rank_to.
        per_class: at most so many anchors of a class, drawn at random. Texts that are no anchors still serve as
            positives and negatives. In multi-label data a class is a set of labels.
        limit: at most so many anchors in all, drawn at random after `per_class`.
        balanced: equally many anchors of each class: as many as the smallest class (of two texts or more) has, and no
            more than `per_class` and `limit` allow.
        drop_singletons: leave out texts that are alone in their class instead of refusing them. They still serve as
            negatives.
        search: `exact` compares all texts of a class (`hard` and drawing negatives by similarity: all texts) with each
            other. `approximate` looks into the nearest cells of a k-means partition. `auto` is exact up to 50,000
            texts that are compared with each other.
        seed: the same seed gives the same rows, whatever the number of threads.

    Raises:
        ParameterError: options are out of range or do not go together; all problems at once.
    """

    strategy: Strategy = "gistembed"
    negatives: int = 1
    positives: Positives = "softmax"
    topk: int = 100
    temperature: float = 0.05
    negatives_from: NegativesFrom = "uniform"
    least: int = 100
    margin: float = 0.95
    rank_from: int = 0
    rank_to: int | None = None
    per_class: int | None = None
    limit: int | None = None
    balanced: bool = False
    drop_singletons: bool = False
    search: Search = "auto"
    seed: int = 1029

    def __post_init__(self) -> None:
        found = [
            f"{name} is {getattr(self, name)!r}, must be one of {', '.join(get_args(kind))}"
            for name, kind in (
                ("strategy", Strategy),
                ("positives", Positives),
                ("negatives_from", NegativesFrom),
                ("search", Search),
            )
            if getattr(self, name) not in get_args(kind)
        ]
        for name, least in (("negatives", 1), ("topk", 1), ("least", 1), ("per_class", 1), ("limit", 1),
                            ("rank_from", 0), ("seed", 0)):  # fmt: skip
            value = getattr(self, name)
            if value is None and name in ("per_class", "limit"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                found.append(f"{name} is {value!r}, must be a whole number >= {least}")
        found += [
            f"{name} is {getattr(self, name)!r}, must be a number > 0"
            for name in ("temperature", "margin")
            if not _is_number(getattr(self, name)) or not 0 < getattr(self, name) < float("inf")
        ]
        found += self._together() if not found else []
        if found:
            raise ParameterError(problems(f"Mining: {len(found)} problem(s)", found))

    def _together(self) -> list[str]:
        found = []
        if self.strategy == "hard" and self.negatives_from != "uniform":
            found.append(f"negatives_from is {self.negatives_from!r}, which needs strategy 'gistembed'")
        if self.strategy != "hard" and (self.rank_from or self.rank_to is not None):
            found.append("rank_from and rank_to need strategy 'hard'")
        if self.rank_to is not None and (
            not isinstance(self.rank_to, int) or self.rank_to < self.rank_from + self.negatives
        ):
            found.append(
                f"rank_to is {self.rank_to!r}, must be a whole number >= rank_from + negatives "
                f"({self.rank_from + self.negatives})"
            )
        far = [
            f"{name} is {value!r}"
            for name, value in (("positives", self.positives), ("negatives_from", self.negatives_from))
            if value in ("farthest", "least_similar")
        ]
        if far and self.search == "approximate":
            found.append(f"{' and '.join(far)}, but approximate search finds near texts only: use search 'exact'")
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
