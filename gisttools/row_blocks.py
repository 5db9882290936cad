"""The GIST loss, one block of rows at a time: mask, scores, softmax and analytic gradients in a single pass.

`gisttools.loss` checks what comes in here; nothing else should import this module. Vectors lie in one matrix, anchors
above positives above negatives, and the scores of a row in one line, so that a block costs few and large operations:

    [anchors | positives | negatives] against the row's anchor, [positives] against the row's positive
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gisttools.batch import Batch, Options, Unit

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
    def forward(ctx, *inputs):
        *vectors, batch, options, want_grad, first, count = inputs
        student, guide = batch.unit()
        unit, b, scale = student.vectors, len(batch.anchor), 1.0 / options.temperature
        layout = _Layout(b, len(unit), options)
        mask = _Mask(guide, batch, layout, options, unit.dtype)
        grad = torch.zeros_like(unit) if want_grad else None
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
    def backward(ctx, upstream, _masked):
        grad = ctx.saved_tensors[0] * upstream
        parts = grad.split([shape[:-1].numel() for shape, _, _ in ctx.given])
        given = zip(parts, ctx.given, strict=True)
        return *(part.view(shape).to(device, dtype) for part, (shape, device, dtype) in given), *[None] * 5


def count_masked(by_column: Tensor, batch: Batch, options: Options, rows: int) -> Tensor:
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

    def __init__(self, b: int, vectors: int, options: Options) -> None:
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

    def __init__(self, guide: Unit | None, batch: Batch, layout: _Layout, options: Options, dtype: torch.dtype) -> None:
        self.b, self.layout = layout.b, layout
        device = batch.anchor.device
        self.guide = self.limit = None
        if guide is not None:
            self.guide, b = guide.vectors, self.b
            theta = (guide.vectors[:b] * guide.vectors[b : 2 * b]).sum(1, keepdim=True)
            slack = options.margin if options.margin_strategy == "absolute" else theta.abs() * options.margin
            self.limit = theta - slack
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
            layout.scores(self.guide, rows, out).gt_(self.limit[rows])
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
