"""Computes the GIST loss one block of rows at a time: mask, scores, softmax and analytic gradients in a single pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gisttools.training.candidates import MASKED, Layout, Mask
from gisttools.training.loss_inputs import Batch
from gisttools.training.options import LossOptions

TOLD = ("rows", "alone", "unopposed", "positives")  # what `_SeveralPositives.told` are
_DEEP = -80.0  # of a lower score float32 has no sigmoid
_FEWEST_ROWS = 256  # flatter blocks make slow matrix products
_CPU_BLOCK_BYTES, _GPU_BLOCK_BYTES = 4 << 20, 256 << 20  # scores of one row block: fit a CPU's cache, fill a GPU
_CPU_PART_BYTES = 1 << 20  # of its part that is worked on at a time, which stays in the cache nearest to a core


class RowBlocks(torch.autograd.Function):
    """Mean loss of some rows, and gradients for all vectors of the batch. Also how often each column of the scores was
    masked, which `count_masked` sums up, and the numbers of `TOLD`; zeros where neither is asked for.

    The rows are all, but where vectors were gathered from several devices: then each device scores its own rows against
    everybody's candidates, and divides by its share of the rows that count on all of them, so that the mean over the
    devices is the loss of the whole batch. `vectors` are those of the batch, for autograd to see.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """inputs: the batch's three student tensors, then batch, options, want_grad, tell and a slice of rows."""
        *vectors, batch, options, want_grad, tell, own = inputs
        student, guide = batch.unit()
        unit, b, scale, count = student.vectors, len(batch.anchor), 1.0 / options.temperature, own.stop - own.start
        layout = Layout(b, len(unit), options, batch.one_column)
        mask = Mask(guide, batch, layout, options, unit, tell)
        grad = torch.zeros_like(unit) if want_grad else unit.new_empty(0)
        row_bytes, on_cpu = layout.width * unit.element_size(), unit.device.type == "cpu"
        size = options.block_rows or max(_FEWEST_ROWS, (_CPU_BLOCK_BYTES if on_cpu else _GPU_BLOCK_BYTES) // row_bytes)
        size = min(size, count)
        part = min(size, max(1, _CPU_PART_BYTES // row_bytes)) if on_cpu else size
        # written again by each block: fresh memory of this size would cost more than what is computed in it
        scores, weights = (unit.new_empty(size, layout.width) for _ in range(2))
        weigh = (_SeveralPositives if options.of_same_label == "positive" else _OnePositive)(mask, part)
        total = unit.new_zeros(())

        for rows in _slices(own.start, own.stop, size):
            block, its_weights = scores[: rows.stop - rows.start], weights[: rows.stop - rows.start]
            layout.scores(unit, rows, scale, block)
            mask.guide_scores(rows, its_weights)
            parts = zip(_slices(rows.start, rows.stop, part), block.split(part), its_weights.split(part), strict=True)
            for some, some_scores, some_weights in parts:
                total -= weigh(some, some_scores, some_weights, want_grad)
            if want_grad:
                layout.add_gradients(grad, its_weights, unit, rows, scale)
        told = weigh.told() if tell else unit.new_zeros(len(TOLD))
        divisor: Tensor | int = count
        if batch.one_column:
            counting = weigh.counting() if count == b else mask.rows_with_positives(part) * (count / b)
            divisor = torch.where(counting > 0, counting, 1)
        if want_grad:
            grad.div_(divisor)
            # back through the division by the length
            grad.addcmul_(unit, (grad * unit).sum(1, keepdim=True), value=-1.0).div_(student.norms)
            ctx.save_for_backward(grad)
            ctx.given = [(x.shape, x.device, x.dtype) for x in vectors]
        ctx.mark_non_differentiable(mask.masked, told)
        return total / divisor, mask.masked, told

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor, _masked: Tensor, _told: Tensor) -> tuple[Tensor | None, ...]:
        grad = ctx.saved_tensors[0] * upstream
        parts = grad.split([shape[:-1].numel() for shape, _, _ in ctx.given])
        given = zip(parts, ctx.given, strict=True)
        return *(part.view(shape).to(device, dtype) for part, (shape, device, dtype) in given), *[None] * 5


def _slices(begin: int, end: int, size: int) -> Iterator[slice]:
    """begin..end, `size` at a time."""
    return (slice(at, min(at + size, end)) for at in range(begin, end, size))


class _OnePositive:
    """Called with some rows and their scores, gives the sum of their log-probabilities, and writes to `weights`, which
    holds the guide's cosines, the gradient of the loss with respect to the scores. It writes over the scores."""

    def __init__(self, mask: Mask, part: int) -> None:
        self.mask, self.layout, self.rows = mask, mask.layout, 0
        self.spare = mask.masked.new_empty(part, mask.layout.width)
        self.share = mask.options.distill

    def __call__(self, rows: slice, scores: Tensor, weights: Tensor, want_grad: bool) -> Tensor:
        self.rows += len(scores)
        if not self.share:
            return self._picked(rows, scores, weights, want_grad)
        divergence, gradient = self._taught(rows, scores, weights)
        log_p = self._picked(rows, scores, weights, want_grad).mul_(1 - self.share)
        if want_grad:
            weights.mul_(1 - self.share).add_(gradient, alpha=self.share)
        return log_p.sub_(divergence, alpha=self.share)

    def _taught(self, rows: slice, scores: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the divergences KL(t || q) of the student's softmax from the guide's, and q - t, its gradient."""
        options = self.mask.options
        left_out = torch.empty_like(scores)
        self.mask.meaningless(rows, left_out, self.spare[: len(scores)])
        left_out.mul_(MASKED)
        log_q = torch.log_softmax(scores + left_out, dim=1)
        log_t = torch.log_softmax((guide / (options.distill_temperature or options.temperature)).add_(left_out), dim=1)
        t = log_t.exp()
        divergence = torch.where(t > 0, t * (log_t - log_q), 0).sum()
        return divergence, log_q.exp_().sub_(t)

    def _picked(self, rows: slice, scores: Tensor, weights: Tensor, want_grad: bool) -> Tensor:
        """With the one positive as the target."""
        spare = self.spare[: len(scores)]
        self.mask.dropped(rows, weights, spare)
        scores.add_(weights, alpha=MASKED)
        target = self.layout.target(scores, rows)
        if self.mask.options.candidates == "hard":
            scores.add_(torch.lt(scores, target[:, None], out=spare), alpha=MASKED)
        # exp and logsumexp are several times slower on CPUs than softmax, so the latter is read off the former:
        # the largest weight of a row is exp(max - log_z)
        torch.softmax(scores, dim=1, out=weights)
        log_p = (target - scores.amax(1)).add_(weights.amax(1).log_()).sum()
        if want_grad:
            self.layout.target(weights, rows).sub_(1.0)  # d(log_z - target) / d(scores)
        return log_p

    def told(self) -> Tensor:
        return self.spare.new_zeros(len(TOLD))

    def counting(self) -> Tensor:
        return self.spare.new_tensor(self.rows)  # each has its own positive


class _SeveralPositives:
    """As `_OnePositive`, of the mean over each row's positives p of log(e^z_p + sum over negatives e^z_n) - z_p.

    With log_n the log of the sum, that is -log sigma_p with sigma_p = sigmoid(z_p - log_n); 1 - sigma_p is how hard p
    is pulled, and the negatives are pushed by the sum of it, each by its share.
    """

    def __init__(self, mask: Mask, part: int) -> None:
        like, layout = mask.masked, mask.layout
        self.mask, self.layout = mask, layout
        self.spares = [like.new_empty(part, width) for width in (layout.width, layout.width_anchor)]
        self.one, self.on_cpu = like.new_ones(()), like.device.type == "cpu"
        # z is a cosine / temperature, and so is the largest of those that log_n sums up
        self.deepest = -2 / mask.options.temperature - math.log(layout.width) - 1
        # (rows, 1) of the rows so far: sums of weights, logs of the sums over negatives, effective numbers
        self.found: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, rows: slice, scores: Tensor, weights: Tensor, want_grad: bool) -> Tensor:
        spare, others = (buffer[: len(scores)] for buffer in self.spares)
        w = self.layout.width_anchor
        found = self.mask.split(rows, weights, spare, others)
        share, z = found.share, scores[:, :w]
        # what is no positive is put so far above that its sigma is 1 and its logarithm 0
        above = torch.add(z, others, alpha=-MASKED, out=others)
        if self.mask.options.candidates == "hard":
            weights.add_(torch.lt(scores, above.amin(1, keepdim=True), out=spare))
        opposed = scores.add_(weights, alpha=MASKED)
        torch.softmax(opposed, dim=1, out=weights)
        log_n = opposed.amax(1, keepdim=True) - weights.amax(1, keepdim=True).log_()
        above.sub_(log_n)
        self.found.append((found.total, log_n, found.effective()))
        # several times slower than sigmoid and log are, but for scores that these two cannot tell from 0
        extreme = not self.on_cpu or (self.deepest < _DEEP and float(above.amin()) < _DEEP)
        log_sigma = logsigmoid(above) if extreme else None
        sigma = above.sigmoid_()
        log_sigma = torch.log(sigma, out=z) if log_sigma is None else log_sigma
        if found.weight is not None:
            log_sigma.mul_(found.weight)
        log_p = log_sigma.sum(1).dot(share.flatten())
        if want_grad:
            pull = torch.sub(self.one, sigma, out=sigma)
            if found.weight is not None:
                pull.mul_(found.weight)
            weights.mul_(pull.sum(1, keepdim=True).mul_(share))
            weights[:, :w].addcmul_(pull, share, value=-1)
        return log_p

    def told(self) -> Tensor:
        """Over the rows so far: how many have a positive, how many none, how many positives and no negative; and the
        sum of their effective numbers of positives."""
        total, log_n, effective = (torch.cat(x) for x in zip(*self.found, strict=True))
        has_positive = total > 0
        rows = has_positive.sum()
        unopposed = has_positive.logical_and_(log_n < MASKED / 2).sum()
        return torch.stack([rows, len(total) - rows, unopposed, effective.sum()]).to(total.dtype)

    def counting(self) -> Tensor:
        """How many of the rows so far have a positive."""
        return (torch.cat([total for total, _, _ in self.found]) > 0).sum()


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
