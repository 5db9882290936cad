"""Computes the GIST loss: one pure function, `gist_loss`, and one `nn.Module` around it, `GISTLoss`.

Method: A. V. Solatorio, *GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding
Fine-tuning*, arXiv 2402.16829. A guide model decides which in-batch candidates may count as negatives of an anchor:
those that it finds no closer to the anchor than the anchor's own positive. What differs from other implementations
(linear memory, explicit ties, labels) is told at `gist_loss`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from sentence_transformers.util import get_rank
from torch import Tensor, nn

from gisttools.common import DataError, ParameterError
from gisttools.training.embedding import embed_columns, rows_from_tokens
from gisttools.training.loss_inputs import Batch
from gisttools.training.options import Candidates, GuideMasks, LossOptions, MarginStrategy, SameLabel
from gisttools.training.row_blocks import TOLD, RowBlocks, count_masked

BLOCKS = ("ap", "aa", "pp", "an")
POSITIVES = ("positives", "without_positives", "without_negatives")  # what `GISTLoss.positives` tells


def gist_loss(
    anchor: Tensor,
    positive: Tensor | None = None,
    negatives: Tensor | None = None,
    *,
    guide_anchor: Tensor | None = None,
    guide_positive: Tensor | None = None,
    guide_negatives: Tensor | None = None,
    temperature: float = 0.01,
    margin: float = 0.0,
    margin_strategy: MarginStrategy = "absolute",
    contrast_anchors: bool = True,
    contrast_positives: bool = True,
    candidates: Candidates = "all",
    same_label: SameLabel = "mask",
    positive_temperature: float | None = None,
    guide_masks: GuideMasks = "all",
    distill: float = 0.0,
    distill_temperature: float | None = None,
    text_ids: Tensor | None = None,
    label_ids: Tensor | None = None,
    block_rows: int | None = None,
) -> Tensor:
    """GIST loss of a batch of B rows.

    For each anchor one softmax over its own positive and all candidates that survive the mask; the loss is the mean
    of its negative log-probabilities. Candidates are the other positives and all anchors (scored against the anchor),
    the positives again (scored against the positive), and every negative of every row (scored against the anchor).
    With guide cosine g and threshold theta_i = g(anchor_i, positive_i), a candidate c of row i counts if

        g(.) <= theta_i - margin   (absolute)   or   g(.) <= theta_i - |theta_i| * margin   (relative)

    and it is not the row itself, not a text equal to the row's anchor or positive, and not a text of the anchor's
    label. Equality is decided by `text_ids`, never by floating point. With margin 0 and no ids the value equals
    `sentence_transformers`' `GISTEmbedLoss` on batches without ties.

    With `same_label` "positive" the candidates of the anchor's label are no longer masked but further positives P of
    the row, and its loss is a mean over them (the form of SINCERE, P. Feeney and M. C. Hughes, arXiv 2309.14277):

        sum over p in P of w_p * (log(e^z_p + sum over negatives n of e^z_n) - z_p),   z = cosine / temperature

    so that positives never repel one another. Rows of unlike labels give the loss that "mask" gives. A text equal to
    the row's anchor or positive is neither; positives of other rows scored against the row's positive stay masked.

    A batch of labelled texts has no `positive`: each text is a row and the candidate of all others, once. A row without
    a positive does not count, in the divisor neither. A text of unknown label is a negative only where there is a guide
    that does not mask it; the threshold of a row is the mean of the guide's cosines to its positives.

    With `distill` s > 0 the guide also teaches (knowledge distillation, G. Hinton and others, arXiv 1503.02531): the
    loss of a row is (1 - s) times the above, and s times the divergence KL(t || q) of the student's softmax q over all
    its candidates from the guide's, t = softmax(g / `distill_temperature`). There nothing is masked but what says
    nothing: the row itself, texts equal to its anchor or positive, and padding.

    No B x B tensor is kept: scores live one block of rows at a time and gradients are computed analytically in the
    same pass, so memory grows linearly with B. Scores are float32 whatever the autocast setting (float64 for float64
    input).

    Args:
        anchor, positive: student vectors, shape (B, D); they need not be normalised. Without `positive`, `anchor` holds
            labelled texts.
        negatives: student vectors, shape (B, K, D) or (B, D).
        guide_anchor, guide_positive, guide_negatives: guide vectors, shapes (B, G), (B, G), (B, K, G). Without them
            the loss is unguided: only self-pairs, equal texts and equal labels are masked.
        temperature: divides the cosines, > 0.
        margin, margin_strategy: how far below the threshold a candidate must lie.
        contrast_anchors, contrast_positives: whether the anchor-anchor and positive-positive blocks take part.
        candidates: "all" that survive the mask, or of these only the "hard" ones, which the student ranks no lower than
            the row's positive (as the paper's code can). A row without any contributes 0.
        same_label: what becomes of candidates of the anchor's label: "mask"; "positive"; "ignore" does not look at
            labels.
        positive_temperature: positives weigh softmax(guide cosine to the anchor / this) in place of all alike.
        guide_masks: "all" candidates, or "unlabelled": those alone whose label or whose anchor's label is unknown.
        distill, distill_temperature: the share s, from 0 to 1, and the temperature of the guide's target; that of the
            loss if None. They need a guide and one positive a row.
        text_ids: int64 (B, 2 + K), columns anchor, positive, negatives; equal ids mean equal texts, which are no
            negatives, nor are the positives that other rows give an equal anchor and the anchors that share a positive;
            -1 marks a negative that is padding and never counts.
        label_ids: int64 (B, 2 + K), same columns; -1 is unknown and masks nothing. Of several labels a text
            (B, 2 + K, M), filled up with -1: texts that share one are of the same label, and positives weigh as much as
            they share of all labels of both (Jaccard). Of labelled texts both ids have a single column.
        block_rows: rows scored at a time; chosen from a memory budget if None.

    Returns:
        A scalar.

    Raises:
        ParameterError: an option is out of range, labelled texts are to be anything but positives, or a guide is to
            teach where there is none or labels are positives.
        DataError: shapes or dtypes do not fit, or a vector is zero or not finite (padding may be zero); all problems
            are listed.
    """
    batch = Batch.make(anchor, positive, negatives, guide_anchor, guide_positive, guide_negatives, text_ids, label_ids)
    options = LossOptions(
        temperature=temperature,
        margin=margin,
        margin_strategy=margin_strategy,
        contrast_anchors=contrast_anchors,
        contrast_positives=contrast_positives,
        candidates=candidates,
        same_label=same_label,
        positive_temperature=positive_temperature,
        guide_masks=guide_masks,
        distill=distill,
        distill_temperature=distill_temperature,
        block_rows=block_rows,
    )
    return _told_loss(batch, options, tell=False)[0]


def _gist_loss(batch: Batch, options: LossOptions) -> tuple[Tensor, Tensor]:
    """The loss, and how often each column of the scores was masked."""
    return _told_loss(batch, options)[:2]


def _told_loss(
    batch: Batch, options: LossOptions, first: int = 0, count: int | None = None, tell: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of the rows first..first+count (all if None). If it is to `tell`, also how often each column of the
    scores was masked, and the numbers that `TOLD` names; else zeros."""
    if batch.one_column and (options.of_same_label != "positive" or batch.label_ids is None):
        raise ParameterError(
            f"The loss was given one column and same_label {options.of_same_label!r}"
            f"{' without label_ids' if batch.label_ids is None else ''}: nothing says what the positives are. Set "
            "same_label to 'positive' and give label_ids, or a column of positives."
        )
    if options.distill and (batch.guide is None or options.of_same_label == "positive"):
        raise ParameterError(
            f"distill is {options.distill:g}, which needs a guide's vectors, and rows with one positive: same_label "
            "'mask' or 'ignore'."
        )
    count = len(batch.anchor) if count is None else count
    with torch.autocast(batch.anchor.device.type, enabled=False):
        vectors = (batch.anchor, batch.positive, batch.negatives)
        want_grad = torch.is_grad_enabled() and any(x.requires_grad for x in vectors)
        return RowBlocks.apply(*vectors, batch, options, want_grad, tell, slice(first, first + count))


class GuideRows(Protocol):
    """What a guide store answers for the row ids of a batch; see the arguments of `gist_loss`."""

    anchor: Tensor | None
    positive: Tensor | None
    negatives: Tensor | None
    text_ids: Tensor
    label_ids: Tensor


class GuideSource(Protocol):
    """A `gisttools.training.GuideStore`, or anything else that answers row ids with vectors and ids."""

    def rows(self, row_ids: Tensor) -> GuideRows: ...


class GISTLoss(nn.Module):
    """`gist_loss` for `SentenceTransformerTrainer`.

    All texts of a step are embedded in length-sorted micro-batches (`embed_columns`), so that little work is
    spent on padding. The guide's vectors, the text ids and the label ids of a batch come from a store; the row ids
    travel in the trainer's `label` column:

        store = GuideStore.build(triplets, VectorCache("embedded:all-MiniLM-L6-v2"))
        loss = GISTLoss(model, store, LossOptions(temperature=0.05))
        SentenceTransformerTrainer(model=model, train_dataset=store.training_columns(), loss=loss, ...)

    Args:
        model: the student.
        guide: a `GuideStore`; one built without a guide model gives the unguided baseline with explicit ties and
            labels. A `SentenceTransformer` is run on the fly on the decoded tokens of each batch, for teaching and
            comparison; `None` is unguided. In these two cases equal tokens are equal texts, and the trainer's
            `label` column, where there is one, holds class labels of anchor and positive.
        options: see `LossOptions`, and `gist_loss` for what they mean; its defaults if None.
        gather_across_devices: candidates come from all devices' batches; gradients reach the device that owns them.
            Every device must hold a batch of the same size.

    `masked_shares()` tells which share of candidates was masked in each block since it was last called.
    """

    def __init__(
        self,
        model: nn.Module,
        guide: GuideSource | nn.Module | None = None,
        options: LossOptions | None = None,
        *,
        gather_across_devices: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        # a guide model is kept out of the module tree: its weights belong neither to checkpoints nor to the optimiser
        self._guide = (guide,)
        self.options = options or LossOptions()
        self.gather_across_devices = gather_across_devices
        self._counts = torch.zeros(4, 2, dtype=torch.int64)
        self._told = torch.zeros(len(TOLD))

    @property
    def guide(self) -> GuideSource | nn.Module | None:
        return self._guide[0]

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        features = list(sentence_features)
        o = self.options.settled(labelled=len(features) == 1)
        if not features or (len(features) == 1 and o.of_same_label != "positive"):
            raise DataError(
                f"GISTLoss needs the columns anchor, positive, negatives...; it got {len(features)}. One column, of "
                "labelled texts, needs same_label 'positive'."
            )
        guide = self.guide
        if len(features) == 1:
            guide = getattr(guide, "labelled_texts", lambda own=guide: own)()
        if guide is not None and hasattr(guide, "rows"):
            if labels is None:
                raise DataError("GISTLoss with a guide store needs row ids in the 'label' column; there is none.")
            rows = guide.rows(labels)
        else:
            rows = rows_from_tokens(self.model, guide, features, labels)
        anchor, *others = embed_columns(
            self.model, features, o.tokens_per_forward, o.mini_batch_size, o.equal_texts_once
        )
        negatives = others[1:]
        batch = Batch.make(
            anchor,
            others[0] if others else None,
            torch.stack(negatives, dim=1) if negatives else None,
            rows.anchor,
            rows.positive,
            rows.negatives,
            rows.text_ids,
            None if o.of_same_label == "ignore" else rows.label_ids,
        )
        first, count = 0, len(anchor)
        if self.gather_across_devices:
            batch, first = batch.gathered(), get_rank() * count
        loss, masked, told = _told_loss(batch, o, first, count)
        counts = count_masked(masked, batch, o, count)
        self._counts = self._counts.to(counts.device) + counts  # kept there: reading it would wait for the device
        self._told = self._told.to(told.device) + told
        return loss

    def positives(self, reset: bool = True) -> dict[str, float | None]:
        """Of `same_label: positive`, of the rows so far: `positives`, the mean effective number of positives of those
        that have any (1 / sum of squared weights); `without_positives` and `without_negatives`, the shares of rows
        that had none, of which neither teaches. None where labels are no positives."""
        with_any, alone, unopposed, effective = self._told.tolist()
        rows = with_any + alone
        told = (effective / with_any if with_any else None, *(x / rows if rows else None for x in (alone, unopposed)))
        shares = dict(zip(POSITIVES, told, strict=True))
        if reset:
            self._told = torch.zeros_like(self._told)
        return shares

    def masked_shares(self, reset: bool = True) -> dict[str, float | None]:
        """Share of candidates masked in each block (ap, aa, pp, an) so far; None for a block without candidates."""
        shares = {name: m / c if c else None for name, (m, c) in zip(BLOCKS, self._counts.tolist(), strict=True)}
        if reset:
            self._counts = torch.zeros_like(self._counts)
        return shares

    def get_config_dict(self) -> dict[str, object]:
        """For the model card that sentence-transformers writes."""
        guide = getattr(self.guide, "guide_id", None) or type(self.guide).__name__
        options = self.options.model_dump(exclude={"tokens_per_forward", "equal_texts_once"})
        return {"guide": guide, **options, "gather_across_devices": self.gather_across_devices}

    @property
    def citation(self) -> str:
        return CITATION


CITATION = """
@misc{solatorio2024gistembed,
    title = {GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning},
    author = {Aivin V. Solatorio},
    year = {2024},
    eprint = {2402.16829},
    archivePrefix = {arXiv},
}
"""
