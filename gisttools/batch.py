"""What the loss is given: its options and one batch of vectors, both checked, all problems named at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor

from gisttools.errors import DataError, ParameterError, problems

MarginStrategy = Literal["absolute", "relative"]
Candidates = Literal["all", "hard"]


@dataclass(frozen=True)
class Options:
    """The options of `gist_loss`, checked."""

    temperature: float = 0.01
    margin: float = 0.0
    margin_strategy: MarginStrategy = "absolute"
    contrast_anchors: bool = True
    contrast_positives: bool = True
    candidates: Candidates = "all"
    block_rows: int | None = None

    def __post_init__(self) -> None:
        found = []
        if not self.temperature > 0:
            found.append(f"temperature is {self.temperature}, must be > 0")
        if self.margin_strategy not in ("absolute", "relative"):
            found.append(f"margin_strategy is {self.margin_strategy!r}, must be 'absolute' or 'relative'")
        if self.candidates not in ("all", "hard"):
            found.append(f"candidates is {self.candidates!r}, must be 'all' or 'hard'")
        if self.block_rows is not None and self.block_rows < 1:
            found.append(f"block_rows is {self.block_rows}, must be >= 1 or None")
        if found:
            raise ParameterError(problems("gist_loss:", found))


@dataclass(frozen=True)
class Batch:
    """Everything the loss needs, checked; negatives have shape (B, K, .) with K >= 0."""

    anchor: Tensor
    positive: Tensor
    negatives: Tensor
    guide: tuple[Tensor, Tensor, Tensor] | None
    text_ids: Tensor | None
    label_ids: Tensor | None

    @classmethod
    def make(cls, anchor, positive, negatives, guide_anchor, guide_positive, guide_negatives, text_ids, label_ids):
        if anchor.ndim != 2:
            raise DataError(f"gist_loss: anchor has shape {tuple(anchor.shape)}, must be (B, D)")
        (b, d), found = anchor.shape, []

        def as_3d(x: Tensor | None, dim: int) -> Tensor:
            if x is None:
                return anchor.new_zeros(b, 0, dim)
            return x[:, None] if x.ndim == 2 else x

        def check(name: str, x: Tensor, shape: tuple[int, ...]) -> None:
            if tuple(x.shape) != shape:
                found.append(f"{name} has shape {tuple(x.shape)}, must be {shape}")

        negatives = as_3d(negatives, d)
        k = negatives.shape[1] if negatives.ndim == 3 else 0
        check("positive", positive, (b, d))
        check("negatives", negatives, (b, k, d))
        guide = None
        if guide_anchor is not None or guide_positive is not None:
            if guide_anchor is None or guide_positive is None or (k and guide_negatives is None):
                found.append("guide vectors are needed for anchor, positive and negatives alike; some are None")
            else:
                g = guide_anchor.shape[-1]
                guide = (guide_anchor, guide_positive, as_3d(guide_negatives if k else None, g))
                check("guide_anchor", guide[0], (b, g))
                check("guide_positive", guide[1], (b, g))
                check("guide_negatives", guide[2], (b, k, g))
        for name, ids in (("text_ids", text_ids), ("label_ids", label_ids)):
            if ids is not None:
                check(name, ids, (b, 2 + k))
        if found:
            raise DataError(problems("gist_loss: shapes do not fit (B rows, K negatives a row):", found))
        return cls(anchor, positive, negatives, guide, text_ids, label_ids)

    def gathered(self) -> Batch:
        """The batches of all devices one after the other, by rank; student vectors keep their gradients."""

        def plain(x: Tensor | None) -> Tensor | None:
            return None if x is None else all_gather(x.to(self.anchor.device).contiguous())

        students = (all_gather_with_grad(x.contiguous()) for x in (self.anchor, self.positive, self.negatives))
        guide = None if self.guide is None else tuple(plain(x) for x in self.guide)
        return Batch(*students, guide, plain(self.text_ids), plain(self.label_ids))
