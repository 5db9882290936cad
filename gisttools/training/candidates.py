"""Decides, for a block of rows, which candidates of the loss are negatives, which are positives, and which are neither.

Vectors lie in one matrix, anchors above positives above negatives, and the scores of a row in one line, so that a
block costs few and large operations:

    [anchors | positives | negatives] against the row's anchor, [positives] against the row's positive

Of labelled texts there is one column, and each text is scored against all others: [anchors] against the row's anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gisttools.training.loss_inputs import Batch, Unit
from gisttools.training.options import LossOptions

MASKED = -1e30  # not -inf: a row that is masked whole must give a weight of 0, not NaN
_TINY = 1e-30
_EXACT = 1 << 24  # from here on float32 does not tell whole numbers apart

Pairs = list[tuple[Tensor, Tensor]]  # numbers of rows (B, 1), and of the candidates (width,) of all of them


class Layout:
    """Where things lie: the candidates of an anchor among all vectors, and the columns of a block of scores."""

    def __init__(self, b: int, vectors: int, options: LossOptions, one_column: bool) -> None:
        self.b, self.one_column = b, one_column
        self.anchor_columns = b * (options.contrast_anchors or one_column)  # the first columns; the positives follow
        self.candidates = slice(b - self.anchor_columns, None)  # scored against the anchor
        self.width_anchor = vectors - b + self.anchor_columns
        self.contrast_positives = options.contrast_positives and not one_column
        self.width = self.width_anchor + b * self.contrast_positives

    def scores(self, unit: Tensor, rows: slice, scale: float, out: Tensor) -> None:
        """Write `scale` times the cosines to `out` (rows, width)."""
        b, w = self.b, self.width_anchor
        _products(unit[rows], unit[self.candidates], scale, out[:, :w])
        if self.contrast_positives:
            positives = unit[b : 2 * b]
            _products(positives[rows], positives, scale, out[:, w:])

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


def _products(left: Tensor, right: Tensor, scale: float, out: Tensor) -> None:
    torch.addmm(out, left, right.T, beta=0, alpha=scale, out=out)  # with beta 0 what `out` holds is not read


@dataclass(frozen=True, kw_only=True)
class Positives:
    """The positives of a block of rows among what is scored against the anchor.

    Attributes:
        others: (rows, width_anchor), 1 where a candidate is no positive, else 0.
        weight: the same shape, 0 where a candidate is no positive, in no measure yet; None if all positives weigh 1.
        total: (rows, 1) sums of the weights; 0 for a row without positives.
    """

    others: Tensor
    weight: Tensor | None
    total: Tensor

    def mean_of(self, values: Tensor, spare: Tensor) -> Tensor:
        """Weighted means (rows, 1) of values like the weights; 0 for a row without positives."""
        spare = spare[:, : values.shape[1]]
        if self.weight is None:
            weighed = torch.addcmul(values, values, self.others, value=-1, out=spare)
        else:
            weighed = torch.mul(values, self.weight, out=spare)
        return weighed.sum(1, keepdim=True).mul_(self.share)

    @cached_property
    def share(self) -> Tensor:
        """1 / `total`, (rows, 1); finite where that is 0."""
        return self.total.clamp_min(_TINY).reciprocal_()

    def effective(self) -> Tensor:
        """Effective numbers of positives (rows, 1): 1 / sum of squared weights, where these sum to 1."""
        if self.weight is None:
            return self.total
        return self.total.square() / self.weight.square().sum(1, keepdim=True).clamp_min_(_TINY)

    def by_guide(self, guide: Tensor, temperature: float) -> Positives:
        """Weighed by softmax(guide cosine / temperature) as well."""
        logits = torch.mul(guide, 1 / temperature)
        if self.weight is not None:
            logits.add_(self.weight.log().clamp_min_(MASKED))
        weight = torch.softmax(logits.add_(self.others, alpha=MASKED), 1)
        has_positive = (self.total > 0).to(weight.dtype)
        return Positives(others=self.others, weight=weight.mul_(has_positive), total=has_positive)


class Mask:
    """Which candidates of a block of rows do not count, and how many these were.

    Truths are the numbers 0 and 1, and ids are numbers of the scores' type: CPUs are several times faster to compare
    and to apply these than whole numbers and truth values.
    """

    def __init__(
        self, guide: Unit | None, batch: Batch, layout: Layout, options: LossOptions, like: Tensor, count: bool
    ) -> None:
        self.layout, self.options, self.count = layout, options, count
        self.guide = None if guide is None else guide.vectors
        self.limit: Tensor | None = None  # the cosine (B, 1) above which the guide masks
        if guide is not None and not layout.one_column:
            b = layout.b
            theta = (guide.vectors[:b] * guide.vectors[b : 2 * b]).sum(1, keepdim=True)
            self.limit = options.masks_above(theta)
        self.equal: Pairs = []  # the text of the anchor, or of its positive
        self.partners: Pairs = []
        self.never: Tensor | None = None  # (width,), 1 at what no row counts
        if batch.text_ids is not None and not _all_differ(batch.text_ids):  # else a row's texts are met by it alone
            ids = _exact(batch.text_ids, like)
            candidates = layout.side_by_side(ids)
            self.equal = [(ids[:, i : i + 1], candidates) for i in range(min(2, ids.shape[1]))]
            self.partners = [] if layout.one_column else _partners(ids, layout)
            if batch.real_negatives() < batch.negatives[..., 0].numel():
                self.never = (candidates < 0).to(like.dtype)  # padding
        self.labels: Labels | None = None
        if batch.label_ids is not None and options.of_same_label != "ignore":
            self.labels = Labels(_exact(batch.label_ids, like), layout)
            if layout.one_column and guide is None:
                self.never = self.labels.unknown  # nothing vouches for them
        self.masked = like.new_zeros(layout.width)

    def guide_scores(self, rows: slice, out: Tensor) -> None:
        """Write the guide's cosines, if there is one, to `out` (rows, width), where `dropped` and `split` read them."""
        if self.guide is not None:
            self.layout.scores(self.guide, rows, 1.0, out)

    def dropped(self, rows: slice, out: Tensor, spare: Tensor) -> None:
        """Write to `out` (rows, width) a 1 where a candidate does not count, else 0; and count these by column, if they
        are to be counted."""
        self._drop(rows, out, spare, None if self.limit is None else self.limit[rows])
        self.layout.fill_own(out, rows, 1.0)
        self.layout.fill_target(out, rows, 0.0)  # the positive is the target, never a candidate
        if self.count:
            self.masked += out.sum(0)

    def meaningless(self, rows: slice, out: Tensor, spare: Tensor) -> None:
        """Write to `out` (rows, width) a 1 where a score says nothing, whoever gives it: of a row's own texts, but for
        that of its anchor and its positive, and of padding."""
        _add_equal(out, self.equal, rows, spare, empty=True)
        if self.never is not None:
            torch.maximum(out, self.never, out=out)
        self.layout.fill_own(out, rows, 1.0)
        self.layout.fill_target(out, rows, 0.0)

    def split(self, rows: slice, out: Tensor, spare: Tensor, others: Tensor) -> Positives:
        """As `dropped`, with 1 at the positives as well, which are not counted as masked; and the positives, of which
        `others` (rows, width_anchor) is written."""
        layout, options = self.layout, self.options
        self._are_others(rows, others, spare)
        found = self._by_labels(rows, others)
        limit = None if self.limit is None else self.limit[rows]
        if self.guide is not None:
            guide = out[:, : layout.width_anchor]
            if limit is None:  # of labelled texts the mean over the positives has the threshold's place
                limit = options.masks_above(found.mean_of(guide, spare))
            if options.positive_temperature is not None:
                found = found.by_guide(guide, options.positive_temperature)
        self._drop(rows, out, spare, limit)
        layout.fill_own(out, rows, 1.0)
        layout.fill_target(out, rows, 1.0)
        if self.count:
            self.masked += out.sum(0)
            self.masked[: layout.width_anchor].add_(others.sum(0).sub_(len(others)))
        return found

    def rows_with_positives(self, size: int) -> Tensor:
        """Of the whole batch, `size` rows at a time; without scores."""
        b, w, found = self.layout.b, self.layout.width_anchor, self.masked.new_zeros(())
        buffers = [self.masked.new_empty(min(size, b), w) for _ in range(2)]
        for begin in range(0, b, size):
            rows = slice(begin, min(begin + size, b))
            others, spare = (buffer[: rows.stop - begin] for buffer in buffers)
            self._are_others(rows, others, spare)
            found += (others.sum(1) < w).sum()
        return found

    def _drop(self, rows: slice, out: Tensor, spare: Tensor, limit: Tensor | None) -> None:
        """Write to `out` a 1 where the guide, whose cosines it holds, finds a candidate closer than `limit` (rows, 1),
        where a candidate has a text or a label of the row's or is a partner of one of its texts, and where none
        counts."""
        labels = self.labels
        if limit is not None:
            out.gt_(limit)
            if self.options.guide_masks == "unlabelled" and labels is not None:
                out.mul_(torch.maximum(labels.unknown_rows[rows], labels.unknown, out=spare))
        pairs = [*self.equal, *self.partners, *([] if labels is None else labels.pairs)]
        _add_equal(out, pairs, rows, spare, empty=limit is None)
        if self.never is not None:
            torch.maximum(out, self.never, out=out)

    def _are_others(self, rows: slice, out: Tensor, spare: Tensor) -> None:
        """Write to `out` (rows, width_anchor) a 1 but at the row's own positive and at all candidates of its label that
        are no text of its own. What is scored against the positive is no positive."""
        layout = self.layout
        _unlike(out, [] if self.labels is None else self.labels.pairs, rows, spare)
        _add_equal(out, self.equal, rows, spare)
        if self.never is not None and not layout.one_column:
            torch.maximum(out, self.never[: out.shape[1]], out=out)
        if layout.anchor_columns:
            out[:, rows].fill_diagonal_(1.0)
        layout.fill_target(out, rows, 0.0)

    def _by_labels(self, rows: slice, others: Tensor) -> Positives:
        """With weights alike, or of several labels by what both texts have in common."""
        if self.labels is None or not self.labels.several:
            return Positives(others=others, weight=None, total=others.shape[1] - others.sum(1, keepdim=True))
        weight = self.labels.shared(rows, others)
        weight.addcmul_(weight, others, value=-1)
        self.layout.fill_target(weight, rows, 1.0)  # the own positive is one, whatever its labels are
        return Positives(others=others, weight=weight, total=weight.sum(1, keepdim=True))


class Labels:
    """Which candidates have a label of the row's: of numbers (B, 2 + K), or of several a text (B, 2 + K, M).

    Attributes:
        pairs: a label of the row, and one of each candidate; unknown ones equal nothing.
        unknown_rows, unknown: (B, 1) and (width,), 1 at rows and candidates without any known label.
    """

    def __init__(self, ids: Tensor, layout: Layout) -> None:
        self.several = ids.ndim == 3
        slots = _each_once(ids).unbind(2) if self.several else [ids]
        self.own = [slot[:, :1] for slot in slots]
        self.candidates = [layout.side_by_side(slot) for slot in slots]
        known = [own.masked_fill(own < 0, -2) for own in self.own]
        self.pairs: Pairs = [(one, other) for one in known for other in self.candidates]

    @cached_property
    def unknown_rows(self) -> Tensor:
        return _none_known(self.own)

    @cached_property
    def unknown(self) -> Tensor:
        return _none_known(self.candidates)

    def shared(self, rows: slice, like: Tensor) -> Tensor:
        """Of the labels that two texts have how many they share (Jaccard), of the shape of `like`."""
        width = like.shape[1]
        both, either = torch.zeros_like(like), torch.zeros_like(like)
        for own, candidates in self.pairs:
            both.add_(candidates[:width] == own[rows])
        for own, candidates in zip(self.own, self.candidates, strict=True):
            either.add_(own[rows] >= 0).add_(candidates[:width] >= 0)
        return both.div_(either.sub_(both).clamp_min_(1))


def _none_known(slots: list[Tensor]) -> Tensor:
    """1 where no slot holds a label, else 0."""
    return (torch.stack(slots).amax(0) < 0).to(slots[0].dtype)


def _each_once(ids: Tensor) -> Tensor:
    """Labels (.., M), written over, with -1 in place of what stands in an earlier slot."""
    for i in range(1, ids.shape[-1]):
        ids[..., i].masked_fill_((ids[..., :i] == ids[..., i : i + 1]).any(-1), -1)
    return ids


def _exact(ids: Tensor, like: Tensor) -> Tensor:
    """Ids of the type of `like`, the negative ones -1. Where that does not tell all whole numbers apart, ids are
    numbered anew."""
    ids = ids.long()
    if ids.numel() and int(ids.amax()) >= _EXACT:
        values, ids = torch.unique(ids, return_inverse=True)
        ids = ids - (values < 0).sum()
    return ids.clamp_min(-1).to(like.device, like.dtype)


def _all_differ(ids: Tensor) -> bool:
    """Are all ids distinct, and none of them padding?"""
    found = set(ids.flatten().tolist())  # no slower than sorting them, and of few several times faster
    return len(found) == ids.numel() and min(found) >= 0


def _partners(ids: Tensor, layout: Layout) -> Pairs:
    """By which a row knows the positives that other rows give its anchor, and the anchors that share its positive: none
    of them is wrong."""
    pairs: Pairs = []
    for own, other in ((0, 1), (1, 0)):
        if not _all_differ(ids[:, own]):
            partner = torch.full_like(ids, -2)  # equals nothing
            partner[:, other] = ids[:, own]
            pairs.append((ids[:, own : own + 1], layout.side_by_side(partner)))
    return pairs


def _add_equal(out: Tensor, pairs: Pairs, rows: slice, spare: Tensor, empty: bool = False) -> None:
    """Write to `out` (rows, w) a 1 where the numbers of any pair are equal; `empty`: and a 0 elsewhere."""
    if empty and not pairs:
        out.zero_()
    for i, (own, candidates) in enumerate(pairs):
        w = out.shape[1]
        found = torch.eq(candidates[:w], own[rows], out=out if empty and not i else spare[:, :w])
        if found is not out:
            torch.maximum(out, found, out=out)


def _unlike(out: Tensor, pairs: Pairs, rows: slice, spare: Tensor) -> None:
    """Write to `out` (rows, w) a 1 where no pair has equal numbers, else 0."""
    if not pairs:
        out.fill_(1.0)
    for i, (own, candidates) in enumerate(pairs):
        w = out.shape[1]
        found = torch.ne(candidates[:w], own[rows], out=spare[:, :w] if i else out)
        if i:
            out.mul_(found)
