"""Computes the GIST loss one block of rows at a time: mask, scores, softmax and analytic gradients in a single pass."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gisttools.training.candidates import Layout, Mask, Positives
from gisttools.training.loss_inputs import Batch
from gisttools.training.options import LossOptions

_MASKED = -1e30  # not -inf: a row that is masked whole must give a weight of 0, not NaN
_DEEP = -80.0  # of a lower score float32 has no sigmoid
_FEWEST_ROWS = 256  # flatter blocks make slow matrix products
_CPU_BLOCK_BYTES, _GPU_BLOCK_BYTES = 4 << 20, 256 << 20  # scores of one row block: fit a CPU's cache, fill a GPU


class RowBlocks(torch.autograd.Function):
    """Mean loss of the rows first..first+count, and gradients for all vectors of the batch. Also how often each column
    of the scores was masked, which `count_masked` sums up, and a `_Tally` of positives.

    `first` and `count` are 0 and B, but where vectors were gathered from several devices: then each device scores its
    own rows against everybody's candidates, and divides by its share of the rows that count on all of them, so that
    the mean over the devices is the loss of the whole batch. `vectors` are those of the batch, for autograd to see.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """inputs: the batch's three student tensors, then batch, options, want_grad, first and count."""
        *vectors, batch, options, want_grad, first, count = inputs
        student, guide = batch.unit()
        unit, b, scale = student.vectors, len(batch.anchor), 1.0 / options.temperature
        layout = Layout(b, len(unit), options, batch.one_column)
        mask = Mask(guide, batch, layout, options, unit.dtype)
        grad = torch.zeros_like(unit) if want_grad else unit.new_empty(0)
        budget = _CPU_BLOCK_BYTES if unit.device.type == "cpu" else _GPU_BLOCK_BYTES
        size = options.block_rows or max(_FEWEST_ROWS, budget // (layout.width * unit.element_size()))
        several = options.of_same_label == "positive"
        # written again by each block: fresh memory of this size would cost more than what is computed in it
        buffers = [unit.new_empty(min(size, count), layout.width) for _ in range(4 if several else 2)]
        total = unit.new_zeros(())
        tally = _Tally(unit)
        weigh = _several_positives if several else _one_positive

        for start in range(first, first + count, size):
            rows = slice(start, min(start + size, first + count))
            scores, *spares = (buffer[: rows.stop - rows.start] for buffer in buffers)
            layout.scores(unit, rows, scores).mul_(scale)
            loss, weights = weigh(scores, spares, rows, layout, mask, options, tally, want_grad)
            total += loss
            if want_grad:
                layout.add_gradients(grad, weights, unit, rows, scale)
        divisor: Tensor | int = count
        if batch.one_column:
            counting = tally.rows_with_positives if count == b else mask.rows_with_positives(size) * (count / b)
            divisor = torch.where(counting > 0, counting, 1)
        if want_grad:
            grad.div_(divisor)
            # back through the division by the length
            grad.addcmul_(unit, (grad * unit).sum(1, keepdim=True), value=-1.0).div_(student.norms)
            ctx.save_for_backward(grad)
            ctx.given = [(x.shape, x.device, x.dtype) for x in vectors]
        told = tally.numbers
        ctx.mark_non_differentiable(mask.masked, told)
        return total / divisor, mask.masked, told

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor, _masked: Tensor, _told: Tensor) -> tuple[Tensor | None, ...]:
        grad = ctx.saved_tensors[0] * upstream
        parts = grad.split([shape[:-1].numel() for shape, _, _ in ctx.given])
        given = zip(parts, ctx.given, strict=True)
        return *(part.view(shape).to(device, dtype) for part, (shape, device, dtype) in given), *[None] * 5


TOLD = ("rows", "alone", "unopposed", "positives")  # what `_Tally.numbers` are


class _Tally:
    """Counts, over the rows scored: `rows` with a positive, `alone` without one, `unopposed` with positives and no
    negative, and the sum of the effective numbers of `positives`, 1 / sum of squared weights."""

    def __init__(self, like: Tensor) -> None:
        self.numbers = like.new_zeros(len(TOLD))

    @property
    def rows_with_positives(self) -> Tensor:
        return self.numbers[0]

    def add(self, found: Positives, log_n: Tensor) -> None:
        """The positives of a block of rows, and the log of the sum over each row's negatives."""
        has_positive, effective = found.total > 0, found.effective().sum()
        unopposed = (has_positive & (log_n < _MASKED / 2)).sum()
        self.numbers += torch.stack([has_positive.sum(), (~has_positive).sum(), unopposed, effective])


def _one_positive(
    scores: Tensor,
    spares: list[Tensor],
    rows: slice,
    layout: Layout,
    mask: Mask,
    options: LossOptions,
    tally: _Tally,
    want_grad: bool,
) -> tuple[Tensor, Tensor]:
    """Of a block of scores the sum of the rows' losses, and the gradient with respect to the scores."""
    (spare,) = spares
    scores.add_(mask.dropped(rows, spare), alpha=_MASKED)
    target = layout.target(scores, rows)
    if options.candidates == "hard":
        scores.masked_fill_(scores < target[:, None], _MASKED)
    # exp and logsumexp are several times slower on CPUs than softmax, so the latter is read off the former:
    # the largest weight of a row is exp(max - log_z)
    weights = torch.softmax(scores, dim=1, out=spare)
    loss = (scores.amax(1) - weights.amax(1).log_() - target).sum()
    if want_grad:
        layout.target(weights, rows).sub_(1.0)  # d(log_z - target) / d(scores)
    return loss, weights


def _several_positives(
    scores: Tensor,
    spares: list[Tensor],
    rows: slice,
    layout: Layout,
    mask: Mask,
    options: LossOptions,
    tally: _Tally,
    want_grad: bool,
) -> tuple[Tensor, Tensor]:
    """As `_one_positive`, of the mean over each row's positives p of log(e^z_p + sum over negatives e^z_n) - z_p.

    With log_n the log of the sum, that is -log sigma_p with sigma_p = sigmoid(z_p - log_n); 1 - sigma_p is how hard p
    is pulled, and the negatives are pushed by the sum of it, each by its share.
    """
    spare, opposed, weight = spares
    w = layout.width_anchor
    dropped, found = mask.split(rows, spare, weight[:, :w])
    torch.add(scores, dropped, alpha=_MASKED, out=opposed)
    z, pull = scores[:, :w], opposed[:, :w]
    if options.candidates == "hard":
        lowest = z.masked_fill(found.weight == 0, math.inf).amin(1, keepdim=True)
        opposed.masked_fill_(scores < lowest, _MASKED)
    weights = torch.softmax(opposed, dim=1, out=spare)
    log_n = opposed.amax(1) - weights.amax(1).log_()
    above = z.sub_(log_n[:, None])
    # what is no positive is made 0, which has a finite logarithm of its sigmoid
    above = above.mul_(found.weight) if found.even else above.masked_fill_(found.weight == 0, 0)
    tally.add(found, log_n)
    sigma = torch.sigmoid(above, out=pull)
    # several times slower than sigmoid and log are, but for scores that these two cannot tell from 0
    extreme = above.device.type != "cpu" or float(above.amin()) < _DEEP
    log_sigma = logsigmoid(above) if extreme else torch.log(sigma, out=above)
    share = 1 / found.divisor[:, None]
    loss = -(log_sigma.mul_(found.weight).sum(1, keepdim=True) * share).sum()
    if want_grad:
        torch.addcmul(found.weight, found.weight, sigma, value=-1, out=pull)
        weights.mul_(pull.sum(1, keepdim=True).mul_(share))
        weights[:, :w].addcmul_(pull, share, value=-1)
    return loss, weights


def count_masked(by_column: Tensor, batch: Batch, options: LossOptions, rows: int) -> Tensor:
    """(4, 2): how many candidates of `rows` rows were masked and how many there were, in ap, aa, pp and an. A row's own
    texts and padding are no candidates."""
    b, real, ap = len(batch.anchor), batch.real_negatives(), not batch.one_column
    aa, pp = options.contrast_anchors or not ap, options.contrast_positives and ap
    given = batch.negatives[..., 0].numel()
    anchors, positives, negatives, again = (x.sum() for x in by_column.long().split([b * aa, b * ap, given, b * pp]))
    pairs = rows * (b - 1)
    masked = torch.stack([positives, anchors - rows * aa, again - rows * pp, negatives - rows * (given - real)])
    return torch.stack([masked, masked.new_tensor([pairs * ap, pairs * aa, pairs * pp, rows * real])], dim=1)
