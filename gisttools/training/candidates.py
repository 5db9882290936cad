"""Decides, for a block of rows, which candidates of the loss are negatives, which are positives, and which are neither.

Vectors lie in one matrix, anchors above positives above negatives, and the scores of a row in one line, so that a
block costs few and large operations:

    [anchors | positives | negatives] against the row's anchor, [positives] against the row's positive

Of labelled texts there is one column, and each text is scored against all others: [anchors] against the row's anchor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gisttools.training.loss_inputs import Batch, Unit
from gisttools.training.options import LossOptions

_TINY = 1e-30


class Layout:
    """Where things lie: the candidates of an anchor among all vectors, and the columns of a block of scores."""

    def __init__(self, b: int, vectors: int, options: LossOptions, one_column: bool) -> None:
        self.b, self.one_column = b, one_column
        self.anchor_columns = b * (options.contrast_anchors or one_column)  # the first columns; the positives follow
        self.candidates = slice(b - self.anchor_columns, None)  # scored against the anchor
        self.width_anchor = vectors - b + self.anchor_columns
        self.contrast_positives = options.contrast_positives and not one_column
        self.width = self.width_anchor + b * self.contrast_positives

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
        """Ids (B, 2 + K, ...) of all columns of a block of scores."""
        parts = [ids[:, 0]] if self.anchor_columns else []
        parts += [] if self.one_column else [ids[:, 1], ids[:, 2:].flatten(0, 1)]
        return torch.cat([*parts, ids[:, 1]] if self.contrast_positives else parts)

    def fill_own(self, block: Tensor, rows: slice, value: bool | float) -> None:
        """Write to where a row meets itself, anchor and anchor, positive and positive."""
        if self.anchor_columns:
            block[:, rows].fill_diagonal_(value)
        if self.contrast_positives:
            block[:, self.width_anchor :][:, rows].fill_diagonal_(value)

    def fill_target(self, block: Tensor, rows: slice, value: bool | float) -> None:
        """Write to the rows' own positives, where there are such."""
        if not self.one_column:
            self.target(block, rows).fill_(value)


@dataclass(frozen=True, kw_only=True)
class Positives:
    """The positives of a block of rows among what is scored against the anchor.

    Attributes:
        weight: (rows, width_anchor), 0 where a candidate is none; in no measure yet.
        total: (rows,) sums of the weights; 0 for a row without positives.
        even: are all weights 0 or 1?
    """

    weight: Tensor
    total: Tensor
    even: bool

    def mean_of(self, values: Tensor) -> Tensor:
        """Weighted means (rows, 1) of values like the weights; 0 for a row without positives."""
        return ((self.weight * values).sum(1) / self.divisor)[:, None]

    @property
    def divisor(self) -> Tensor:
        """`total`, or 1 where there is nothing to divide."""
        return torch.where(self.total > 0, self.total, 1)

    def effective(self) -> Tensor:
        """Effective numbers of positives (rows,): 1 / sum of squared weights, where these sum to 1."""
        return self.total if self.even else self.total.square() / self.weight.square().sum(1).clamp_min(_TINY)

    def by_guide(self, guide: Tensor, temperature: float) -> Positives:
        """Weighed by softmax(guide cosine / temperature) as well."""
        weight = torch.softmax(self.weight.log().add_(guide, alpha=1 / temperature), 1)
        weight.mul_((self.total > 0)[:, None]).nan_to_num_()
        return Positives(weight=weight, total=(self.total > 0).to(weight.dtype), even=False)


class Mask:
    """Which candidates of a block of rows do not count, and how many these were."""

    def __init__(
        self, guide: Unit | None, batch: Batch, layout: Layout, options: LossOptions, dtype: torch.dtype
    ) -> None:
        self.layout, self.options, self.dtype = layout, options, dtype
        device = batch.anchor.device
        self.guide: tuple[Tensor, Tensor | None] | None = None  # vectors, the cosine (B, 1) above which a row masks
        if guide is not None:
            b, limit = layout.b, None
            if not layout.one_column:
                theta = (guide.vectors[:b] * guide.vectors[b : 2 * b]).sum(1, keepdim=True)
                limit = options.masks_above(theta)
            self.guide = guide.vectors, limit
        self.equal: list[tuple[Tensor, Tensor]] = []  # an id of the row (B, 1) that no candidate (width,) may have
        if batch.text_ids is not None:
            ids = batch.text_ids.to(device)
            candidates = layout.side_by_side(ids)
            self.equal += [(ids[:, i : i + 1], candidates) for i in range(min(2, ids.shape[1]))]
            if batch.real_negatives() < batch.negatives[..., 0].numel():
                self.equal.append((torch.full_like(ids[:, :1], -1), candidates))  # padding
        self.labels: Labels | None = None
        if batch.label_ids is not None and options.of_same_label != "ignore":
            self.labels = Labels(batch.label_ids.to(device), layout)
        self.masked = torch.zeros(layout.width, dtype=dtype, device=device)

    def dropped(self, rows: slice, out: Tensor) -> Tensor:
        """(rows, width): 1 where a candidate does not count, else 0; counted by column. As numbers and not as truth
        values, which CPUs are several times slower to write and to apply."""
        layout = self.layout
        self._closer(rows, out, None)
        _drop(out, *self._same_and_equal(rows))
        layout.fill_own(out, rows, 1.0)
        layout.fill_target(out, rows, 0.0)  # the positive is the target, never a candidate
        self.masked += out.sum(0)
        return out

    def split(self, rows: slice, out: Tensor, weight: Tensor) -> tuple[Tensor, Positives]:
        """As `dropped`, with 1 at the positives as well, which are not counted as masked; and the positives, which are
        written to `weight`."""
        layout = self.layout
        same, equal = self._same_and_equal(rows)
        weight.copy_(self._are_positive(rows, same, equal))
        counts = weight.sum(0)
        found = self._by_labels(rows, weight)
        found = self._closer(rows, out, found) or found
        _drop(out, same, equal)
        layout.fill_own(out, rows, 1.0)
        layout.fill_target(out, rows, 1.0)
        self.masked += out.sum(0)
        self.masked[: layout.width_anchor] -= counts
        return out, found

    def rows_with_positives(self, size: int) -> Tensor:
        """Of the whole batch, `size` rows at a time; without scores."""
        rows = [slice(begin, min(begin + size, self.layout.b)) for begin in range(0, self.layout.b, size)]
        found = [self._are_positive(part, *self._same_and_equal(part)).any(1).sum() for part in rows]
        return torch.stack(found).sum().to(self.dtype)

    def _same_and_equal(self, rows: slice) -> tuple[Tensor | None, Tensor | None]:
        """(rows, width) each: a label of the anchor's; the text of the anchor or its positive, or padding."""
        equal = None
        for own, candidates in self.equal:
            found = candidates == own[rows]
            equal = found if equal is None else equal.logical_or_(found)
        return None if self.labels is None else self.labels.same(rows), equal

    def _are_positive(self, rows: slice, same: Tensor | None, equal: Tensor | None) -> Tensor:
        """(rows, width_anchor): the row's own positive and all candidates of its label, but for equal texts. What is
        scored against the positive is none."""
        layout, w = self.layout, self.layout.width_anchor
        if same is None:
            found = torch.zeros(rows.stop - rows.start, w, dtype=torch.bool, device=self.masked.device)
        else:
            found = same[:, :w].clone() if equal is None else same[:, :w] > equal[:, :w]
        if layout.anchor_columns:
            found[:, rows].fill_diagonal_(False)
        layout.fill_target(found, rows, True)
        return found

    def _by_labels(self, rows: slice, weight: Tensor) -> Positives:
        """With weights alike, or of several labels by what both texts have in common."""
        even = self.labels is None or not self.labels.several
        if self.labels is not None and not even:
            weight.mul_(self.labels.shared(rows, weight.shape[1], weight.dtype))
            self.layout.fill_target(weight, rows, 1.0)  # the own positive is one, whatever its labels are
        return Positives(weight=weight, total=weight.sum(1), even=even)

    def _closer(self, rows: slice, out: Tensor, found: Positives | None) -> Positives | None:
        """Write to `out` (rows, width) a 1 where the guide finds a candidate too close, and where one of labelled texts
        has neither label nor guide to vouch for it; return the positives as the guide weighs them."""
        layout, options, labels = self.layout, self.options, self.labels
        if self.guide is None:
            out.zero_()
            if layout.one_column and labels is not None:
                out.add_(~labels.known)
            return found
        vectors, limit = self.guide
        layout.scores(vectors, rows, out)
        if limit is not None:
            limit = limit[rows]
        if found is not None:
            guide = out[:, : layout.width_anchor]
            if limit is None:  # of labelled texts the mean over the positives has the threshold's place
                limit = options.masks_above(found.mean_of(guide))
            if options.positive_temperature is not None:
                found = found.by_guide(guide, options.positive_temperature)
        assert limit is not None
        out.gt_(limit)
        if options.guide_masks == "unlabelled" and labels is not None:
            out.mul_(~(labels.known_row[rows] & labels.known))
        return found


def _drop(out: Tensor, *which: Tensor | None) -> None:
    """Write a 1 where any of the given truth values, of the shape of `out`, is true; they are written over."""
    given = [x for x in which if x is not None]
    if given:
        for other in given[1:]:
            given[0].logical_or_(other)
        torch.maximum(out, given[0].to(out.dtype), out=out)


class Labels:
    """Which candidates have a label of the row's: of ids (B, 2 + K), or of several a text (B, 2 + K, M)."""

    def __init__(self, ids: Tensor, layout: Layout) -> None:
        self.several = ids.ndim == 3
        self.own, self.candidates = ids[:, 0], layout.side_by_side(ids)  # (B,) and (width,), or (B, M) and (width, M)
        known = (self.own >= 0, self.candidates >= 0)
        self.known_row, self.known = (x.any(1) if self.several else x for x in known)
        self.known_row = self.known_row[:, None]
        self.own = self.own.masked_fill(self.own < 0, -2)  # unknown equals nothing

    def same(self, rows: slice) -> Tensor:
        """(rows, width): whether a candidate has one of the row's labels."""
        own = self.own[rows]
        if not self.several:
            return self.candidates == own[:, None]
        found = torch.zeros(len(own), len(self.candidates), dtype=torch.bool, device=own.device)
        for one in own.unbind(1):
            for other in self.candidates.unbind(1):
                found.logical_or_(other == one[:, None])
        return found

    def shared(self, rows: slice, width: int, dtype: torch.dtype) -> Tensor:
        """(rows, width): of the labels that two texts have how many they share (Jaccard)."""
        own, others = self.own[rows], self.candidates[:width]
        both = torch.zeros(len(own), width, dtype=dtype, device=own.device)
        for one in own.unbind(1):
            for other in others.unbind(1):
                both += other == one[:, None]
        either = (own >= 0).sum(1)[:, None] + (others >= 0).sum(1) - both
        return both.div_(either.clamp_min_(1))
