"""Computes the GIST loss one block of rows at a time: mask, scores, softmax and analytic gradients in a single pass.

`Batch` is what the loss is given, checked, with all problems named at once. Vectors lie in one matrix, anchors above
positives above negatives, and the scores of a row in one line, so that a block costs few and large operations:

    [anchors | positives | negatives] against the row's anchor, [positives] against the row's positive
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor

from gisttools.common import DataError, problems, relative_threshold
from gisttools.training.options import LossOptions, MaskOptions

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
    """Everything the loss needs, checked; negatives have shape (B, K, .) with K >= 0."""

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
        positive: Tensor,
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
        negatives = _as_3d(negatives, anchor, d)
        k = negatives.shape[1] if negatives.ndim == 3 else 0
        students = {"anchor": anchor, "positive": positive, "negatives": negatives}
        shapes = [("positive", positive, (b, d)), ("negatives", negatives, (b, k, d))]
        found, guide = [], None
        if guide_anchor is not None and guide_positive is not None and (guide_negatives is not None or not k):
            g = guide_anchor.shape[-1] if guide_anchor.ndim else 0
            guide = (guide_anchor, guide_positive, _as_3d(guide_negatives, anchor, g))
            wanted = ((b, g), (b, g), (b, k, g))
            shapes += [(f"guide_{name}", x, shape) for name, x, shape in zip(students, guide, wanted, strict=True)]
        elif any(x is not None for x in (guide_anchor, guide_positive, guide_negatives)):
            found.append("guide vectors are needed for anchor, positive and negatives alike; some are None")
        ids = {name: x for name, x in (("text_ids", text_ids), ("label_ids", label_ids)) if x is not None}
        shapes += [(name, x, (b, 2 + k)) for name, x in ids.items()]
        found += filter(None, (_wrong_shape(*checked) for checked in shapes))
        found += filter(None, (_no_floats(*student) for student in students.items()))
        found += filter(None, (_no_whole_numbers(*given) for given in ids.items()))
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


_MASKED = -1e30  # not -inf: a row that is masked whole must give a weight of 0, not NaN
_FEWEST_ROWS = 256  # flatter blocks make slow matrix products
_CPU_BLOCK_BYTES, _GPU_BLOCK_BYTES = 4 << 20, 256 << 20  # scores of one row block: fit a CPU's cache, fill a GPU


class RowBlocks(torch.autograd.Function):
    """Mean loss of the rows first..first+count, and gradients for all vectors of the batch. Also how often each column
    of the scores was masked; `count_masked` sums this up.

    `first` and `count` are 0 and B, but where vectors were gathered from several devices: then each device scores its
    own rows against everybody's candidates. `vectors` are those of the batch, for autograd to see.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        """inputs: the batch's three student tensors, then batch, options, want_grad, first and count."""
        *vectors, batch, options, want_grad, first, count = inputs
        student, guide = batch.unit()
        unit, b, scale = student.vectors, len(batch.anchor), 1.0 / options.temperature
        layout = _Layout(b, len(unit), options)
        mask = _Mask(guide, batch, layout, options, unit.dtype)
        grad = torch.zeros_like(unit) if want_grad else unit.new_empty(0)
        budget = _CPU_BLOCK_BYTES if unit.device.type == "cpu" else _GPU_BLOCK_BYTES
        size = options.block_rows or max(_FEWEST_ROWS, budget // (layout.width * unit.element_size()))
        # written again by each block: fresh memory of this size would cost more than what is computed in it
        buffers = [unit.new_empty(min(size, count), layout.width) for _ in range(2)]
        total = unit.new_zeros(())

        for start in range(first, first + count, size):
            rows = slice(start, min(start + size, first + count))
            scores, spare = (buffer[: rows.stop - rows.start] for buffer in buffers)
            layout.scores(unit, rows, scores).mul_(scale).add_(mask.dropped(rows, spare), alpha=_MASKED)
            target = layout.target(scores, rows)
            if options.candidates == "hard":
                scores.masked_fill_(scores < target[:, None], _MASKED)
            # exp and logsumexp are several times slower on CPUs than softmax, so the latter is read off the former:
            # the largest weight of a row is exp(max - log_z)
            weights = torch.softmax(scores, dim=1, out=spare)
            total += (scores.amax(1) - weights.amax(1).log_() - target).sum()
            if want_grad:
                layout.target(weights, rows).sub_(1.0)  # d(log_z - target) / d(scores)
                layout.add_gradients(grad, weights, unit, rows, scale)
        if want_grad:
            grad.div_(count)
            # back through the division by the length
            grad.addcmul_(unit, (grad * unit).sum(1, keepdim=True), value=-1.0).div_(student.norms)
            ctx.save_for_backward(grad)
            ctx.given = [(x.shape, x.device, x.dtype) for x in vectors]
        ctx.mark_non_differentiable(mask.masked)
        return total / count, mask.masked

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor, _masked: Tensor) -> tuple[Tensor | None, ...]:
        grad = ctx.saved_tensors[0] * upstream
        parts = grad.split([shape[:-1].numel() for shape, _, _ in ctx.given])
        given = zip(parts, ctx.given, strict=True)
        return *(part.view(shape).to(device, dtype) for part, (shape, device, dtype) in given), *[None] * 5


def count_masked(by_column: Tensor, batch: Batch, options: LossOptions, rows: int) -> Tensor:
    """(4, 2): how many candidates of `rows` rows were masked and how many there were, in ap, aa, pp and an. A row's own
    texts and padding are no candidates."""
    b, real, aa, pp = len(batch.anchor), _count_real(batch), options.contrast_anchors, options.contrast_positives
    given = batch.negatives[..., 0].numel()
    anchors, positives, negatives, again = (x.sum() for x in by_column.long().split([b * aa, b, given, b * pp]))
    pairs = rows * (b - 1)
    masked = torch.stack([positives, anchors - rows * aa, again - rows * pp, negatives - rows * (given - real)])
    return torch.stack([masked, masked.new_tensor([pairs, pairs * aa, pairs * pp, rows * real])], dim=1)


def _count_real(batch: Batch) -> int:
    """Negatives that are no padding; where the ids of a store lie on the CPU, without waiting for the device."""
    return batch.negatives[..., 0].numel() if batch.text_ids is None else int((batch.text_ids[:, 2:] >= 0).sum())


class _Layout:
    """Where things lie: the candidates of an anchor among all vectors, and the columns of a block of scores."""

    def __init__(self, b: int, vectors: int, options: LossOptions) -> None:
        self.b = b
        self.anchor_columns = b * options.contrast_anchors  # the first columns; the positives follow
        self.candidates = slice(b - self.anchor_columns, None)  # scored against the anchor
        self.width_anchor = vectors - b + self.anchor_columns
        self.contrast_positives = options.contrast_positives
        self.width = self.width_anchor + b * options.contrast_positives

    def scores(self, unit: Tensor, rows: slice, out: Tensor) -> Tensor:
        """(rows, width)"""
        b, w = self.b, self.width_anchor
        torch.mm(unit[rows], unit[self.candidates].T, out=out[:, :w])
        if self.contrast_positives:
            positives = unit[b : 2 * b]
            torch.mm(positives[rows], positives.T, out=out[:, w:])
        return out

    def target(self, scores: Tensor, rows: slice) -> Tensor:
        """The row's own positive, as a view."""
        return scores[:, self.anchor_columns + rows.start :].diagonal()

    def add_gradients(self, grad: Tensor, weights: Tensor, unit: Tensor, rows: slice, scale: float) -> None:
        b, w = self.b, self.width_anchor
        against_anchor = weights[:, :w]
        grad[self.candidates].addmm_(against_anchor.T, unit[rows], alpha=scale)
        grad[rows].addmm_(against_anchor, unit[self.candidates], alpha=scale)
        if self.contrast_positives:
            positives, against_positive = unit[b : 2 * b], weights[:, w:]
            grad[b : 2 * b].addmm_(against_positive.T, positives[rows], alpha=scale)
            grad[b : 2 * b][rows].addmm_(against_positive, positives, alpha=scale)

    def side_by_side(self, ids: Tensor) -> Tensor:
        """Ids (B, 2 + K) of all columns of a block of scores."""
        parts = [ids[:, 0]] if self.anchor_columns else []
        parts += [ids[:, 1], ids[:, 2:].flatten()]
        return torch.cat([*parts, ids[:, 1]] if self.contrast_positives else parts)


class _Mask:
    """Which candidates of a block of rows do not count, and how many these were."""

    def __init__(
        self, guide: Unit | None, batch: Batch, layout: _Layout, options: MaskOptions, dtype: torch.dtype
    ) -> None:
        self.layout = layout
        device = batch.anchor.device
        self.guide: tuple[Tensor, Tensor] | None = None  # its vectors, and the cosine (B, 1) above which a row masks
        if guide is not None:
            b = layout.b
            theta = (guide.vectors[:b] * guide.vectors[b : 2 * b]).sum(1, keepdim=True)
            absolute = options.margin_strategy == "absolute"
            limit = theta - options.margin if absolute else relative_threshold(theta, options.margin)
            self.guide = guide.vectors, limit
        self.equal: list[tuple[Tensor, Tensor]] = []  # an id of the row (B, 1) that no candidate (width,) may have
        if batch.text_ids is not None:
            ids = batch.text_ids.to(device)
            candidates = layout.side_by_side(ids)
            self.equal += [(ids[:, :1], candidates), (ids[:, 1:2], candidates)]
            if _count_real(batch) < batch.negatives[..., 0].numel():
                self.equal.append((torch.full_like(ids[:, :1], -1), candidates))  # padding
        if batch.label_ids is not None:
            ids = batch.label_ids.to(device)
            own = ids[:, :1]
            self.equal.append((own.masked_fill(own < 0, -2), layout.side_by_side(ids)))  # unknown equals nothing
        self.masked = torch.zeros(layout.width, dtype=dtype, device=device)

    def dropped(self, rows: slice, out: Tensor) -> Tensor:
        """(rows, width): 1 where a candidate does not count, else 0; counted by column. As numbers and not as truth
        values, which CPUs are several times slower to write and to apply."""
        layout = self.layout
        if self.guide is not None:
            vectors, limit = self.guide
            layout.scores(vectors, rows, out).gt_(limit[rows])
        else:
            out.zero_()
        if self.equal:
            equal = torch.zeros_like(out, dtype=torch.bool)
            for own, candidates in self.equal:
                equal |= candidates == own[rows]
            torch.maximum(out, equal.to(out.dtype), out=out)
        if layout.anchor_columns:
            out[:, rows].fill_diagonal_(1.0)
        if layout.contrast_positives:
            out[:, layout.width_anchor :][:, rows].fill_diagonal_(1.0)
        layout.target(out, rows).zero_()  # the positive is the target, never a candidate
        self.masked += out.sum(0)
        return out
