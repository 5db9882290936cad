"""Says how labelled texts become triplets: `MiningOptions`, checked before any work."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gisttools.common import Options

Strategy = Literal["gistembed", "hard"]
Positives = Literal["softmax", "nearest", "farthest", "random"]
NegativesFrom = Literal["uniform", "softmax", "least_similar"]
Search = Literal["auto", "exact", "approximate"]
HardFrom = Literal["guide", "bm25", "both"]


class MiningOptions(Options):
    """How to mine; the defaults are the GISTEmbed paper's procedure. Similarities are the guide's cosines.

    strategy: `gistembed` draws negatives from all other classes; `hard` takes the nearest texts of other classes whose
        similarity to the anchor is at most θ − (1 − margin)·|θ|, θ being the positive's: `margin` times θ where that is
        positive. `hard` gives fewer than `negatives` where there are not so many.
    positives: a row's positive is drawn from the `softmax` of similarity / `temperature` over the `topk` nearest texts
        of the anchor's class (ties at the end included), or is the `nearest`, the `farthest` or a `random` one of that
        class.
    negatives_from: `gistembed` only. `uniform` over the texts of other classes; from the `softmax` of similarity /
        `temperature` over them; or uniform over the `least` ones least similar to the anchor. With replacement.
    hard_from: `hard`, of pairs and searches. The nearest by the `guide`, those with the highest `bm25` score, or `both`
        in turns; the guide's margin holds for all of them.
    rank_from, rank_to: `hard` only. The `rank_from` nearest allowed texts are skipped. Where `rank_to` is set,
        negatives are drawn at random, without replacement, from the ranks rank_from <= rank < rank_to.
    per_class, limit: anchors are drawn at random, `limit` after `per_class`. Texts that are no anchors still serve as
        positives and negatives. In multi-label data a class is a set of labels.
    balanced: as many anchors of each class as the smallest class (of two texts or more) has, and no more than
        `per_class` and `limit` allow.
    drop_doubted: in `convert`, of texts of one label each. The doubt is how much more the guide's classifier, which has
        seen neither the text nor a near copy, gives another label than the text's own (`labels_to_repair`). Nearly all
        wrong labels are doubted, and so are right ones that are hard: it helps where many are wrong.
    drop_singletons: texts alone in their class still serve as negatives.
    search: `exact` compares all texts of a class (`hard` and drawing negatives by similarity: all texts) with each
        other. `approximate` looks into the nearest cells of a k-means partition. `auto` is exact up to 50,000 texts
        that are compared with each other.
    seed: the same seed gives the same rows, whatever the number of threads.
    """

    about = "mining"

    strategy: Strategy = Field("gistembed", description="hard: the nearest texts of other classes")
    negatives: int = Field(1, ge=1, description="negatives per row")
    seed: int = Field(1029, ge=0, description="seed of the draws")
    positives: Positives = Field("softmax", description="within the class")
    topk: int = Field(100, ge=1, description="positives are drawn among so many nearest of the class")
    temperature: float = Field(0.05, gt=0, description="of that draw")
    negatives_from: NegativesFrom = Field("uniform", description="gistembed only")
    least: int = Field(100, ge=1, description="least_similar: among so many")
    margin: float = Field(0.95, gt=0, description="hard: largest share of the positive's similarity")
    hard_from: HardFrom = Field("guide", description="hard, of pairs and searches: who finds the negatives")
    rank_from: int = Field(0, ge=0, description="hard: so many nearest are skipped")
    rank_to: int | None = Field(None, ge=1, description="hard: negatives are drawn from the ranks below")
    per_class: int | None = Field(None, ge=1, description="most anchors of a class")
    limit: int | None = Field(None, ge=1, description="most anchors of each source; of pairs and triplets, rows")
    balanced: bool = Field(False, description="of each class as many anchors as the smallest has")
    drop_doubted: float | None = Field(
        None, ge=0, description="leave out texts whose label the guide doubts by so much, e.g. 0.2; null: none"
    )
    drop_singletons: bool = Field(False, description="leave out classes of one text instead of refusing them")
    search: Search = Field("auto", description="approximate: for very large classes")

    def conflicts(self) -> list[str]:
        """Options of one strategy given to the other, too few ranks, and what an approximate search cannot find."""
        found = super().conflicts()
        if self.strategy == "hard" and self.negatives_from != "uniform":
            found.append(f"negatives_from is {self.negatives_from!r}, which needs strategy 'gistembed'")
        if self.strategy != "hard" and (self.rank_from or self.rank_to is not None):
            found.append("rank_from and rank_to need strategy 'hard'")
        if self.strategy != "hard" and self.hard_from != "guide":
            found.append(f"hard_from is {self.hard_from!r}, which needs strategy 'hard'")
        fewest = self.rank_from + self.negatives
        if self.rank_to is not None and self.rank_to < fewest:
            found.append(f"rank_to is {self.rank_to!r}, must be a whole number >= rank_from + negatives ({fewest})")
        drawn = {"positives": self.positives, "negatives_from": self.negatives_from}
        far = [f"{name} is {value!r}" for name, value in drawn.items() if value in ("farthest", "least_similar")]
        if far and self.search == "approximate":
            found.append(f"{' and '.join(far)}, but approximate search finds near texts only: use search 'exact'")
        return found
