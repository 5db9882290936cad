"""The GIST loss, one block of rows at a time: mask, scores, softmax and analytic gradients in a single pass.

`gisttools.loss` checks and normalises what comes in here; nothing else should import this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gisttools.batch import Batch, Options

_MASKED = -1e30  # not -inf: a row that is masked whole must give a weight of 0, not NaN
_FEWEST_ROWS = 256  # flatter blocks make slow matrix products
_CPU_BLOCK_BYTES, _GPU_BLOCK_BYTES = 4 << 20, 256 << 20  # scores of one row block: fit a CPU's cache, fill a GPU


@dataclass(frozen=True)
class Ids:
    """Text and label ids (B, 2 + K) on the device of the scores, how many negatives are real, and if any id is -1."""

    text: Tensor | None
    label: Tensor | None
    real: int
    padded: bool

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> Ids:
        text, label = batch.text_ids, batch.label_ids
        # counted before they move, for the ids of a store lie on the CPU and are read without waiting for the device
        present = None if text is None else text >= 0
        real = batch.negatives[..., 0].numel() if text is None else int(present[:, 2:].sum())
        padded = text is not None and not bool(present.all())
        return cls(*(x if x is None else x.to(device) for x in (text, label)), real, padded)


class RowBlocks(torch.autograd.Function):
    """Mean loss of the rows first..first+count, and gradients for all vectors; vectors come normalised.

    `first` and `count` are 0 and B, but where vectors were gathered from several devices: then each device scores its
    own rows against everybody's candidates.
    """

    @staticmethod
    def forward(ctx, a, p, n, guide, ids: Ids, options: Options, want_grad: bool, first: int, count: int):
        b, k = len(a), len(n) // max(len(a), 1)
        mask = _Mask(guide, ids, b, k, options)
        against_anchor = _candidates(a, p, n, options)
        columns = len(against_anchor) + b * options.contrast_positives
        budget = _CPU_BLOCK_BYTES if a.device.type == "cpu" else _GPU_BLOCK_BYTES
        size = options.block_rows or max(_FEWEST_ROWS, budget // (columns * a.element_size()))
        scale = 1.0 / options.temperature
        grads = [torch.zeros_like(x) for x in (against_anchor, a, p)] if want_grad else None
        total, masked = a.new_zeros(()), torch.zeros(4, dtype=torch.int64, device=a.device)

        for start in range(first, first + count, size):
            rows = torch.arange(start, min(start + size, first + count), device=a.device)
            local = torch.arange(len(rows), device=a.device)
            a_rows = a[rows] * scale
            keep = mask.against_anchor(rows, masked)
            scores = (a_rows @ against_anchor.T).masked_fill_(~keep, _MASKED)
            target = scores[local, rows]
            if options.candidates == "hard":
                scores.masked_fill_(scores < target[:, None], _MASKED)
            weights, log_z = _softmax(scores)
            if options.contrast_positives:
                p_rows = p[rows] * scale
                keep = mask.against_positive(rows, masked)
                pp_scores = (p_rows @ p.T).masked_fill_(~keep, _MASKED)
                if options.candidates == "hard":
                    pp_scores.masked_fill_(pp_scores < target[:, None], _MASKED)
                pp_weights, pp_log_z = _softmax(pp_scores)
                both = torch.logaddexp(log_z, pp_log_z)
                weights *= (log_z - both).exp_()[:, None]
                pp_weights *= (pp_log_z - both).exp_()[:, None]
                log_z = both
            total += (log_z - target).sum()
            if want_grad:
                weights[local, rows] -= 1.0  # d(log_z - target) / d(scores)
                grads[0].addmm_(weights.T, a_rows)
                grads[1][rows] += weights @ against_anchor * scale
                if options.contrast_positives:
                    grads[2].addmm_(pp_weights.T, p_rows)
                    grads[2][rows] += pp_weights @ p * scale
        if want_grad:
            grad_c, grad_a, grad_p = (grad.div_(count) for grad in grads)
            grad_p += grad_c[:b]
            if options.contrast_anchors:
                grad_a += grad_c[b : 2 * b]
            ctx.save_for_backward(grad_a, grad_p, grad_c[len(grad_c) - len(n) :])
        counts = torch.stack([masked, torch.tensor(mask.candidates, device=a.device) * count // b], dim=1)
        ctx.mark_non_differentiable(counts)
        return total / count, counts

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream, _counts):
        return *(g * upstream for g in ctx.saved_tensors), *[None] * 6


def _candidates(anchor: Tensor, positive: Tensor, negatives: Tensor, options: Options) -> Tensor:
    """What is scored against the anchor, side by side: [positives | anchors, if asked | negatives]."""
    return torch.cat([positive, anchor, negatives] if options.contrast_anchors else [positive, negatives])


def _softmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax and log-sum-exp of each row. exp and logsumexp are several times slower on CPUs than softmax, so the
    latter is read off the former: the largest weight w of a row is exp(max - log_z)."""
    weights = torch.softmax(scores, dim=1)
    return weights, scores.amax(1) - weights.amax(1).log()


class _Mask:
    """Which candidates of a block of rows count, and how many were masked."""

    def __init__(self, guide, ids: Ids, b: int, k: int, options: Options) -> None:
        self.b, self.options = b, options
        self.columns = b * (1 + options.contrast_anchors + k)

        def side_by_side(ids: Tensor) -> Tensor:
            return _candidates(ids[:, 0], ids[:, 1], ids[:, 2:].flatten(), options)

        self.guide = self.limit = self.text = self.label = self.present = None
        if guide is not None:
            ga, gp, gn = guide
            theta = (ga * gp).sum(-1)
            slack = options.margin if options.margin_strategy == "absolute" else theta.abs() * options.margin
            self.limit = (theta - slack)[:, None]
            self.guide = (ga, _candidates(ga, gp, gn.flatten(0, 1), options), gp)
        if ids.text is not None:
            self.text = (ids.text[:, :1], ids.text[:, 1:2], side_by_side(ids.text))
            if ids.padded:
                self.present = self.text[2] >= 0
        if ids.label is not None:
            self.label = (ids.label[:, :1], side_by_side(ids.label))
        pairs = b * (b - 1)
        self.candidates = [pairs, pairs * options.contrast_anchors, pairs * options.contrast_positives, b * ids.real]
        self.absent = b * k - ids.real

    def against_anchor(self, rows: Tensor, masked: Tensor) -> Tensor:
        """bool (rows, columns); adds to `masked` for ap, aa, an."""
        b, local = self.b, torch.arange(len(rows), device=rows.device)
        keep = self._keep(rows, None if self.guide is None else self.guide[:2], slice(None))
        keep[local, rows] = True  # the positive is the target, never a candidate
        if self.options.contrast_anchors:
            keep[local, b + rows] = False
            masked[1] += len(rows) * (b - 1) - keep[:, b : 2 * b].sum()
        negatives = keep[:, b * (1 + self.options.contrast_anchors) :]
        masked[0] += len(rows) * b - keep[:, :b].sum()
        masked[3] += negatives.numel() - negatives.sum() - self.absent * len(rows)
        return keep

    def against_positive(self, rows: Tensor, masked: Tensor) -> Tensor:
        """bool (rows, b); adds to `masked` for pp."""
        local = torch.arange(len(rows), device=rows.device)
        keep = self._keep(rows, None if self.guide is None else (self.guide[2], self.guide[2]), slice(0, self.b))
        keep[local, rows] = False
        masked[2] += len(rows) * (self.b - 1) - keep.sum()
        return keep

    def _keep(self, rows: Tensor, guide, columns: slice) -> Tensor:
        if guide is not None:
            keep = guide[0][rows] @ guide[1].T <= self.limit[rows]
        else:
            width = self.b if columns.stop else self.columns
            keep = torch.ones(len(rows), width, dtype=torch.bool, device=rows.device)
        if self.text is not None:
            anchor, positive, candidates = self.text
            keep &= (candidates[columns] != anchor[rows]) & (candidates[columns] != positive[rows])
            if self.present is not None:
                keep &= self.present[columns]
        if self.label is not None:
            anchor, candidates = self.label
            keep &= (candidates[columns] != anchor[rows]) | (anchor[rows] < 0)
        return keep
