"""What the loss is given: its options and one batch of vectors, both checked, all problems named at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor

from gisttools.common import DataError, ParameterError, problems

MarginStrategy = Literal["absolute", "relative"]
Candidates = Literal["all", "hard"]
_SMALLEST = 1e-12  # a vector shorter than this has no direction


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
        if not 0 < self.temperature < math.inf:
            found.append(f"temperature is {self.temperature}, must be > 0 and finite")
        if not math.isfinite(self.margin):
            found.append(f"margin is {self.margin}, must be finite")
        if self.margin_strategy not in ("absolute", "relative"):
            found.append(f"margin_strategy is {self.margin_strategy!r}, must be 'absolute' or 'relative'")
        if self.candidates not in ("all", "hard"):
            found.append(f"candidates is {self.candidates!r}, must be 'all' or 'hard'")
        if self.block_rows is not None and self.block_rows < 1:
            found.append(f"block_rows is {self.block_rows}, must be >= 1 or None")
        if found:
            raise ParameterError(problems("gist_loss:", found))


@dataclass(frozen=True)
class Unit:
    """Unit vectors (2B + BK, .), anchors above positives above negatives, and the lengths (2B + BK, 1) they had."""

    vectors: Tensor
    norms: Tensor

    @classmethod
    def of(cls, columns: Sequence[Tensor], device: torch.device, dtype: torch.dtype) -> Unit:
        vectors = torch.cat([x.flatten(0, -2) for x in columns])  # a copy, so that it may be divided in place
        vectors = vectors.to(device, dtype)
        norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min_(_SMALLEST / 2)
        return cls(vectors.div_(norms), norms)


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
        if anchor.ndim != 2 or not anchor.numel():
            raise DataError(f"gist_loss: anchor has shape {tuple(anchor.shape)}, must be (B, D), both at least 1")
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
        for name, x in (("anchor", anchor), ("positive", positive), ("negatives", negatives)):
            if not x.is_floating_point():
                found.append(f"{name} has dtype {x.dtype}, must be floating point")
        guide = None
        if any(x is not None for x in (guide_anchor, guide_positive, guide_negatives)):
            if guide_anchor is None or guide_positive is None or (k and guide_negatives is None):
                found.append("guide vectors are needed for anchor, positive and negatives alike; some are None")
            else:
                g = guide_anchor.shape[-1] if guide_anchor.ndim else 0
                guide = (guide_anchor, guide_positive, as_3d(guide_negatives, g))
                check("guide_anchor", guide[0], (b, g))
                check("guide_positive", guide[1], (b, g))
                check("guide_negatives", guide[2], (b, k, g))
        for name, ids in (("text_ids", text_ids), ("label_ids", label_ids)):
            if ids is not None:
                check(name, ids, (b, 2 + k))
                if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
                    found.append(f"{name} has dtype {ids.dtype}, must be whole numbers (torch.int64)")
        if found:
            raise DataError(problems("gist_loss: shapes or dtypes do not fit (B rows, K negatives a row):", found))
        return cls(anchor, positive, negatives, guide, text_ids, label_ids)

    def unit(self) -> tuple[Unit, Unit | None]:
        """Student and guide vectors brought to length 1, on the student's device and without gradients.

        In float64 if the student's are (and the device has it), else in float32. Costs one device synchronisation.

        Raises:
            DataError: a vector is not finite or is zero, so that it has no cosine. Padding may be zero.
        """
        device = self.anchor.device
        given = [(self.anchor, self.positive, self.negatives), *([self.guide] if self.guide is not None else [])]
        dtype = _wide(self.anchor.dtype, device)
        units = [Unit.of([x.detach() for x in vectors], device, dtype) for vectors in given]
        extremes = torch.stack([x.float() for unit in units for x in unit.norms.aminmax()]).tolist()
        if not all(_SMALLEST <= x < math.inf for x in extremes):
            self._name_bad_vectors()
        student, guide = units if self.guide is not None else (*units, None)
        return student, guide

    def _name_bad_vectors(self) -> None:
        padding = None if self.text_ids is None else self.text_ids[:, 2:].to(self.anchor.device) < 0
        columns = ("anchor", "positive", "negatives")
        vectors = dict(zip(columns, (self.anchor, self.positive, self.negatives), strict=True))
        if self.guide is not None:
            vectors |= {f"guide_{c}": g for c, g in zip(columns, self.guide, strict=True)}
        found = {}
        for name, x in vectors.items():
            x = x.detach().to(self.anchor.device, _wide(x.dtype, self.anchor.device))
            norms = torch.linalg.vector_norm(x, dim=-1)
            infinite, zero = ~torch.isfinite(norms), norms < _SMALLEST
            if name.endswith("negatives") and padding is not None:
                infinite &= ~padding | ~torch.isfinite(x).all(-1)
                zero &= ~padding
            for bad, what in ((infinite, "not finite"), (zero, "zero")):
                if bad.any():
                    row = int(bad.nonzero()[0, 0])
                    text = f"{name}: {int(bad.sum())} of {bad.numel()} vectors are {what}, the first in row {row}"
                    found[text] = _MENDS[name.startswith("guide_"), what]
        if found:
            raise DataError(problems("gist_loss: vectors that have no cosine:", found, " ".join(set(found.values()))))

    def gathered(self) -> Batch:
        """The batches of all devices one after the other, by rank; student vectors keep their gradients."""

        def plain(x: Tensor | None) -> Tensor | None:
            return None if x is None else all_gather(x.to(self.anchor.device).contiguous())

        vectors = (self.anchor, self.positive, self.negatives)
        anchor, positive, negatives = (all_gather_with_grad(x.contiguous()) for x in vectors)
        guide = None if self.guide is None else tuple(plain(x) for x in self.guide)
        return Batch(anchor, positive, negatives, guide, plain(self.text_ids), plain(self.label_ids))


_MENDS = {
    (False, "not finite"): "The student overflowed or diverged: train in bfloat16 or float32 in place of float16, "
    "or with a lower learning rate.",
    (False, "zero"): "The student gives zero vectors: look for texts without any known token.",
    (True, "not finite"): "The guide gives vectors that are not finite: embed its texts again in float32.",
    (True, "zero"): "The guide gives zero vectors: look for texts without any known token, or take another guide.",
}


def _wide(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What scores are computed in."""
    return torch.float64 if dtype == torch.float64 and device.type != "mps" else torch.float32
