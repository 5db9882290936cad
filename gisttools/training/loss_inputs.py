"""Checks what the loss is given, with all problems named at once, and brings vectors to length 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor

from gisttools.common import DataError, problems

_SMALLEST = 1e-12  # a vector shorter than this has no direction


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
    """Everything the loss needs, checked; negatives have shape (B, K, .) with K >= 0. A batch of labelled texts has no
    positive: that has shape (0, .), and ids have one column."""

    anchor: Tensor
    positive: Tensor
    negatives: Tensor
    guide: tuple[Tensor, Tensor, Tensor] | None
    text_ids: Tensor | None
    label_ids: Tensor | None

    @classmethod
    def make(
        cls,
        anchor: Tensor,
        positive: Tensor | None,
        negatives: Tensor | None,
        guide_anchor: Tensor | None,
        guide_positive: Tensor | None,
        guide_negatives: Tensor | None,
        text_ids: Tensor | None,
        label_ids: Tensor | None,
    ) -> Batch:
        """The arguments of `gist_loss`, checked. Raises DataError: shapes or dtypes do not fit; all of them at once."""
        if anchor.ndim != 2 or not anchor.numel():
            raise DataError(f"gist_loss: anchor has shape {tuple(anchor.shape)}, must be (B, D), both at least 1")
        b, d = anchor.shape
        found, p = [], b
        if positive is None:  # each text is a row, and the others' candidate
            found, p, positive = _too_many(negatives, guide_positive), 0, anchor.new_zeros(0, d)
            guide_positive = _none_like(guide_anchor)
        negatives = _as_3d(negatives, anchor, d)
        k = negatives.shape[1] if negatives.ndim == 3 else 0
        students = {"anchor": anchor, "positive": positive, "negatives": negatives}
        shapes = [("positive", positive, (p, d)), ("negatives", negatives, (b, k, d))]
        guide = None
        if guide_anchor is not None and guide_positive is not None and (guide_negatives is not None or not k):
            g = guide_anchor.shape[-1] if guide_anchor.ndim else 0
            guide = (guide_anchor, guide_positive, _as_3d(guide_negatives, anchor, g))
            wanted = ((b, g), (p, g), (b, k, g))
            shapes += [(f"guide_{name}", x, shape) for name, x, shape in zip(students, guide, wanted, strict=True)]
        elif any(x is not None for x in (guide_anchor, guide_positive, guide_negatives)):
            found.append("guide vectors are needed for anchor, positive and negatives alike; some are None")
        ids = _given(text_ids=text_ids, label_ids=label_ids)
        shapes += _id_shapes(ids, (b, 2 + k if p else 1))
        found += filter(None, (_wrong_shape(*checked) for checked in shapes))
        found += filter(None, (_no_floats(*student) for student in students.items()))
        found += filter(None, (_no_whole_numbers(*given) for given in ids.items()))
        if found:
            raise DataError(problems("gist_loss: shapes or dtypes do not fit (B rows, K negatives a row):", found))
        return cls(anchor, positive, negatives, guide, text_ids, label_ids)

    @property
    def one_column(self) -> bool:
        """Is it a batch of labelled texts, each of them a row and all others' candidate?"""
        return not len(self.positive)

    def real_negatives(self) -> int:
        """Negatives that are no padding; where the ids of a store lie on the CPU, without waiting for the device."""
        return self.negatives[..., 0].numel() if self.text_ids is None else int((self.text_ids[:, 2:] >= 0).sum())

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
        return units[0], units[1] if self.guide is not None else None

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
                    found[text] = _FIXES[name.startswith("guide_"), what]
        if found:
            raise DataError(problems("gist_loss: vectors that have no cosine:", found, " ".join(set(found.values()))))

    def gathered(self) -> Batch:
        """The batches of all devices one after the other, by rank; student vectors keep their gradients."""

        def plain(x: Tensor) -> Tensor:
            return all_gather(x.to(self.anchor.device).contiguous())

        vectors = (self.anchor, self.positive, self.negatives)
        anchor, positive, negatives = (all_gather_with_grad(x.contiguous()) for x in vectors)
        guide = None if self.guide is None else (plain(self.guide[0]), plain(self.guide[1]), plain(self.guide[2]))
        text_ids, label_ids = (None if ids is None else plain(ids) for ids in (self.text_ids, self.label_ids))
        return Batch(anchor, positive, negatives, guide, text_ids, label_ids)


def _too_many(negatives: Tensor | None, guide_positive: Tensor | None) -> list[str]:
    """What a batch of labelled texts may not have."""
    given = _given(negatives=negatives, guide_positive=guide_positive)
    return [f"{name} given, but no positive" for name in given]


def _given(**tensors: Tensor | None) -> dict[str, Tensor]:
    return {name: x for name, x in tensors.items() if x is not None}


def _none_like(vectors: Tensor | None) -> Tensor | None:
    return None if vectors is None else vectors.new_zeros(0, vectors.shape[-1])


def _id_shapes(ids: Mapping[str, Tensor], shape: tuple[int, ...]) -> list[tuple[str, Tensor, tuple[int, ...]]]:
    """What shape each of the ids must have; labels may have a further dimension, of several a text."""
    several = {name: x.shape[2:] if name == "label_ids" and x.ndim == 3 else () for name, x in ids.items()}
    return [(name, x, (*shape, *several[name])) for name, x in ids.items()]


def _wrong_shape(name: str, x: Tensor, shape: tuple[int, ...]) -> str | None:
    return None if tuple(x.shape) == shape else f"{name} has shape {tuple(x.shape)}, must be {shape}"


def _no_floats(name: str, x: Tensor) -> str | None:
    return None if x.is_floating_point() else f"{name} has dtype {x.dtype}, must be floating point"


def _no_whole_numbers(name: str, x: Tensor) -> str | None:
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        return f"{name} has dtype {x.dtype}, must be whole numbers (torch.int64)"
    return None


def _as_3d(x: Tensor | None, anchor: Tensor, dim: int) -> Tensor:
    """Negatives (B, K, dim) of (B, dim) or of none."""
    if x is None:
        return anchor.new_zeros(len(anchor), 0, dim)
    return x[:, None] if x.ndim == 2 else x


_FIXES = {
    (False, "not finite"): "The student overflowed or diverged: train in bfloat16 or float32 in place of float16, "
    "or with a lower learning rate.",
    (False, "zero"): "The student gives zero vectors: look for texts without any known token.",
    (True, "not finite"): "The guide gives vectors that are not finite: embed its texts again in float32.",
    (True, "zero"): "The guide gives zero vectors: look for texts without any known token, or take another guide.",
}


def _wide(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What scores are computed in."""
    return torch.float64 if dtype == torch.float64 and device.type != "mps" else torch.float32
