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

from gisttools.common import DataError
from gisttools.training.embedding import embed_columns, rows_from_tokens
from gisttools.training.options import Candidates, LossOptions, MarginStrategy
from gisttools.training.row_blocks import Batch, RowBlocks, count_masked

BLOCKS = ("ap", "aa", "pp", "an")


def gist_loss(
    anchor: Tensor,
    positive: Tensor,
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

    No B x B tensor is kept: scores live one block of rows at a time and gradients are computed analytically in the
    same pass, so memory grows linearly with B. Scores are float32 whatever the autocast setting (float64 for float64
    input).

    Args:
        anchor, positive: student vectors, shape (B, D); they need not be normalised.
        negatives: student vectors, shape (B, K, D) or (B, D).
        guide_anchor, guide_positive, guide_negatives: guide vectors, shapes (B, G), (B, G), (B, K, G). Without them
            the loss is unguided: only self-pairs, equal texts and equal labels are masked.
        temperature: divides the cosines, > 0.
        margin, margin_strategy: how far below the threshold a candidate must lie.
        contrast_anchors, contrast_positives: whether the anchor-anchor and positive-positive blocks take part.
        candidates: "all" that survive the mask, or of these only the "hard" ones, which the student ranks no lower than
            the row's positive (as the paper's code can). A row without any contributes 0.
        text_ids: int64 (B, 2 + K), columns anchor, positive, negatives; equal ids mean equal texts; -1 marks a
            negative that is padding and never counts.
        label_ids: int64 (B, 2 + K), same columns; -1 is unknown and masks nothing.
        block_rows: rows scored at a time; chosen from a memory budget if None.

    Returns:
        A scalar.

    Raises:
        ParameterError: an option is out of range.
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
        block_rows=block_rows,
    )
    return _gist_loss(batch, options)[0]


def _gist_loss(batch: Batch, options: LossOptions, first: int = 0, count: int | None = None) -> tuple[Tensor, Tensor]:
    """The loss of the rows first..first+count (all if None), and how often each column of the scores was masked."""
    count = len(batch.anchor) if count is None else count
    with torch.autocast(batch.anchor.device.type, enabled=False):
        vectors = (batch.anchor, batch.positive, batch.negatives)
        want_grad = torch.is_grad_enabled() and any(x.requires_grad for x in vectors)
        return RowBlocks.apply(*vectors, batch, options, want_grad, first, count)


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

    @property
    def guide(self) -> GuideSource | nn.Module | None:
        return self._guide[0]

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        features, o = list(sentence_features), self.options
        if len(features) < 2:
            raise DataError(f"GISTLoss needs the columns anchor, positive, negatives...; it got {len(features)}.")
        guide = self.guide
        if guide is not None and hasattr(guide, "rows"):
            if labels is None:
                raise DataError("GISTLoss with a guide store needs row ids in the 'label' column; there is none.")
            rows = guide.rows(labels)
        else:
            rows = rows_from_tokens(self.model, guide, features, labels)
        anchor, positive, *negatives = embed_columns(
            self.model, features, o.tokens_per_forward, o.mini_batch_size, o.equal_texts_once
        )
        batch = Batch.make(
            anchor,
            positive,
            torch.stack(negatives, dim=1) if negatives else None,
            rows.anchor,
            rows.positive,
            rows.negatives,
            rows.text_ids,
            rows.label_ids if o.mask_same_label else None,
        )
        first, count = 0, len(anchor)
        if self.gather_across_devices:
            batch, first = batch.gathered(), get_rank() * count
        loss, masked = _gist_loss(batch, o, first, count)
        counts = count_masked(masked, batch, o, count)
        self._counts = self._counts.to(counts.device) + counts  # kept there: reading it would wait for the device
        return loss

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
