"""Says how to train: what the loss masks and computes, how sets are mixed, the optimiser's settings, what is retained.

Each option is declared here once; the parameters of `3_finetune` are the same fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from gisttools.common import Options, ParameterError, share_of

if TYPE_CHECKING:
    from torch import Tensor

MarginStrategy = Literal["absolute", "relative"]
Candidates = Literal["all", "hard"]
SameLabel = Literal["mask", "positive", "ignore"]
TrainOn = Literal["triplets", "labelled"]
Meet = Literal["random", "confusable"]
GuideMasks = Literal["all", "unlabelled"]
Strategy = Literal["proportional", "round_robin", "weights"]
Batches = Literal["mixed", "one_set"]
Schedule = Literal["linear", "cosine", "constant", "polynomial", "inverse_sqrt"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Tracking = Literal["tensorboard", "trackio", "mlflow", "wandb"]
LearningRate = Annotated[float, Field(gt=0)] | Literal["low", "high"]
KeepStart = Annotated[float, Field(ge=0, lt=1)] | Literal["auto"]


class MaskOptions(Options):
    """Which candidates the loss masks; see `gisttools.training.gist_loss`."""

    about = "gist_loss"

    margin: float = Field(0.0, description="how far under the threshold a negative must lie")
    margin_strategy: MarginStrategy = Field("absolute", description="theta - m, or theta - |theta| m")
    contrast_anchors: bool = Field(True, description="anchor-anchor candidates")
    contrast_positives: bool = Field(True, description="positive-positive candidates")
    mask_same_label: bool = Field(True, description="mask candidates of the anchor's label")
    same_label: SameLabel | None = Field(
        None,
        description="candidates of the anchor's label: masked, further positives, or like any other; null: positives "
        "among labelled texts, masked among triplets",
    )
    guide_masks: GuideMasks | None = Field(
        None,
        description="all candidates, or those of which no label tells; null: the latter among labelled texts, else all",
    )

    @property
    def of_same_label(self) -> SameLabel:
        """What becomes of candidates of the anchor's label: "mask" where that is left open."""
        return (self.same_label or "mask") if self.mask_same_label else "ignore"

    def settled(self, labelled: bool) -> Self:
        """With nothing left open: for batches of labelled texts, or of triplets."""
        chosen: dict[str, object] = {}
        if self.same_label is None:
            chosen["same_label"] = "positive" if labelled and self.mask_same_label else "mask"
        if self.guide_masks is None:
            chosen["guide_masks"] = "unlabelled" if labelled else "all"
        return self.model_copy(update=chosen)

    def conflicts(self) -> list[str]:
        """Labels that are to be used and not to be used."""
        found = super().conflicts()
        if not self.mask_same_label and self.same_label == "positive":
            found.append("mask_same_label is False and same_label is 'positive': leave mask_same_label out")
        return found

    def masks_above(self, theta: Tensor) -> Tensor:
        """The guide cosine above which a candidate is masked, given that of anchor and positive, of any shape."""
        return theta - self.margin if self.margin_strategy == "absolute" else share_of(theta, 1 - self.margin)


class LossOptions(MaskOptions):
    """How `gisttools.training.GISTLoss` computes.

    positive_temperature: for same_label "positive".
    distill: for triplets, under a guide that is better than what the student would become without.
    mini_batch_size: their activations are computed again in the backward pass, with the same dropout (GradCache,
        arXiv 2101.06983).
    """

    temperature: float = Field(0.01, gt=0, description="temperature of the loss")
    candidates: Candidates = Field("all", description="hard: those the student ranks above the positive")
    positive_temperature: float | None = Field(
        None, gt=0, description="positives weigh softmax(guide cosine / this), e.g. 0.1; null: all alike"
    )
    distill: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the loss in which the guide's scores are the target, in place of the one positive",
    )
    distill_temperature: float | None = Field(
        None, gt=0, description="the guide's target is softmax(guide cosine / this); null: the loss's own temperature"
    )
    mini_batch_size: int | None = Field(None, ge=1, description="texts embedded at a time, for batches beyond memory")
    tokens_per_forward: int | None = Field(None, ge=1, description="token budget of one micro-batch")
    equal_texts_once: bool | None = Field(None, description="embed equal texts of a step once; null: without dropout")
    block_rows: int | None = Field(None, ge=1, description="rows scored at a time; null: by a memory budget")

    @property
    def few_steps(self) -> bool:
        """Whether a transformer soon learns what there is, and then to find just such queries: where queries are held
        against passages alone, or the guide teaches."""
        return bool(self.distill) or not (self.contrast_anchors or self.contrast_positives)


class Mix(Options):
    """How often each set is drawn, and whether a batch may hold rows of several sets.

    mix: "proportional" to size, so that each pass takes every row once; "round_robin", every set as often as any other;
        "weights", by `weights`. With the last two, small sets are passed over several times before a large one is
        through.
    batches: "mixed" rows, or rows of "one_set" (as in the GISTEmbed paper, where a batch holds one task).
    """

    about = "mixing triplet sets"

    mix: Strategy = Field("proportional", description="how often a set is drawn")
    weights: list[float] = Field([], description="one number a set, for mix: weights")
    batches: Batches = Field("mixed", description="rows of several sets in a batch, or of one")

    def conflicts(self) -> list[str]:
        """Weights that are missing, not asked for, or no weights."""
        found = super().conflicts()
        if (self.mix == "weights") != bool(self.weights):
            found.append(f"mix is {self.mix!r} and weights are {self.weights}: mix 'weights' goes with weights")
        if any(w < 0 for w in self.weights) or (self.weights and not sum(self.weights) > 0):
            found.append(f"weights are {self.weights}, must be finite, not negative, and not all 0")
        return found

    def check(self, sets: int) -> None:
        """Raise a `ParameterError` if there is not one weight a set, given the number of sets."""
        if self.weights and len(self.weights) != sets:
            raise ParameterError(
                f"There are {len(self.weights)} weights for {sets} set(s). Give one weight a set, in their order."
            )


class TrainSettings(Mix):
    """How to train. A step is one optimiser step on one batch of triplets, or of labelled texts.

    train_on: "labelled" takes the rows apart: each distinct text that a row with a label holds, its anchor, positive or
        negative, is embedded once a step and is the positive of the others of its label; rows without a label are left
        out. It goes with same_label "positive". Left open, it is so where each row's anchor and positive are of one
        label, hardly a text is of several, and nothing is asked for that only triplets have (same_label "mask" or
        "ignore", mask_same_label or contrast_anchors or contrast_positives false, distill).
    texts_per_class: 64 texts of 4 a class are 16 classes; where there are fewer classes, each gives more.
    meet: which classes are in a batch: drawn, or also those that the guide finds near to the drawn ones.
    max_steps: the schedule is run through by then.
    max_minutes: some steps are timed first, and as many are taken as fit, at most those that epochs ask for. They are
        told in the record; `max_steps` with that number gives the same model again.
    precision: "auto" takes bfloat16 where the hardware multiplies it natively (and the student is no static model),
        else float32. "float16", with loss scaling, is for GPUs of CUDA without bfloat16 (before Ampere), where it is
        asked for.
    gradient_checkpointing: activations are computed again in the backward pass: a third more time.
    lora_rank: the adapters are merged into the saved model.
    freeze_layers: no gradient is computed for them, so that a step is quicker; see `gisttools.training.freezing`.
    keep_start: the saved weights are (1 - keep_start) of the tuned and keep_start of the start's, an average taken
        after the training (arXiv 2109.01903). "auto" takes the share of `gisttools.training.SHARES` that scores best on
        the development data, of equal scores the largest.
    matryoshka_dims: arXiv 2205.13147.
    checkpoint_minutes: where `finetune` is given a folder for checkpoints.
    tracking: by transformers' own callback; see `gisttools.training.tracking`.
    deterministic: slower, and an error where there is no such algorithm.
    """

    about = "training settings"

    epochs: float | None = Field(
        None,
        gt=0,
        description="passes over the rows, where max_steps is null; null: 10 for a static student, for a transformer "
        "one, or as many as make 100 steps (30 where a guide teaches, or anchors meet passages alone)",
    )
    max_steps: int | None = Field(None, ge=1, description="train so many steps, whatever epochs says")
    max_minutes: float | None = Field(
        None, gt=0, description="time for the training: so many of the steps that epochs ask for as fit"
    )
    batch_size: int = Field(64, ge=1, description="triplets (or labelled texts) a step, over all devices together")
    train_on: TrainOn | None = Field(
        None,
        description="triplets as they are, or the labelled texts that they hold; null: labelled, where every row has a "
        "label",
    )
    texts_per_class: int = Field(4, ge=2, description="of each class in a batch of labelled texts")
    meet: Meet = Field("random", description="classes of a batch of labelled texts; confusable: alike to the guide")
    learning_rate: LearningRate | None = Field(
        None,
        description="peak; null: by student and rows; 1e-2 (static), 5e-5 (transformer), 5e-4 (on labelled texts), "
        "1e-4 (where a guide teaches, or anchors meet passages alone); low, high: a third, three times that",
    )
    seed: int = Field(42, ge=0, lt=2**32, description="seed of the order of rows and of dropout")
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="share of the steps")
    schedule: Schedule = Field("linear", description="of the learning rate, after the warm-up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    keep_start: KeepStart | None = Field(
        None,
        description="share of the start's weights in the saved model: it forgets less; auto: by dev; null: 0.3 of a "
        "transformer's on labelled texts, else 0",
    )
    final_temperature: float | None = Field(None, gt=0, description="the temperature moves to this in a straight line")
    matryoshka_dims: list[int] = Field([], description="train the first so many dimensions as well, e.g. [128, 64]")
    max_length: int | None = Field(None, ge=4, description="tokens kept of a text")
    query_prompt: str | None = Field(
        None, description='text put before anchors, and all texts of labelled rows; "" for none; null: the model\'s own'
    )
    document_prompt: str | None = Field(
        None, description='text put before positives and negatives of a search; "" for none; null: the model\'s own'
    )
    dropout: bool | None = Field(
        None,
        description="whether the student's dropout acts while it trains; null: not on labelled texts, nor where a "
        "guide teaches",
    )
    precision: Precision = Field(
        "auto",
        description="auto: bfloat16 where the hardware multiplies it natively; float16: on CUDA, with loss scaling",
    )
    lora_rank: int | None = Field(None, ge=1, description="train adapters of this rank in place of the weights")
    freeze_layers: int | None = Field(
        None,
        ge=0,
        description="so many of the transformer's first layers, and its embeddings, stay as they are; null: half of "
        "them on labelled texts, else 0",
    )
    gradient_checkpointing: bool = Field(False, description="less memory, more time")
    dev_every: int | None = Field(None, ge=1, description="steps between two looks; null: a tenth of the training")
    patience: int | None = Field(None, ge=1, description="stop after so many looks without a better score")
    checkpoint_minutes: float = Field(2.0, ge=0, description="time between two checkpoints")
    deterministic: bool = Field(False, description="deterministic algorithms only")
    tracking: Tracking | None = Field(None, description="log there as well")

    def conflicts(self) -> list[str]:
        """As `Mix`, dimensions that are none, layers frozen twice, and two lengths."""
        found = super().conflicts()
        if any(d < 1 for d in self.matryoshka_dims):
            found.append(f"matryoshka_dims are {self.matryoshka_dims}, must be > 0")
        if self.lora_rank and self.freeze_layers:
            found.append(
                f"lora_rank is {self.lora_rank} and freeze_layers {self.freeze_layers}: adapters leave all weights as"
                " they are, so leave out one of them"
            )
        if self.max_steps is not None and self.max_minutes is not None:
            found.append(
                f"max_steps is {self.max_steps} and max_minutes {self.max_minutes:g}: the latter chooses the steps, so"
                " leave out one of them"
            )
        return found


class RetentionOptions(Options):
    """How strongly general texts hold the student near where it started; see `gisttools.training.Retention`."""

    about = "retention"

    weight: float = Field(16.0, gt=0, description="of that term in the loss")
    texts_a_step: int = Field(8, ge=1, description="general texts a step")


class RerankerOptions(Options):
    """How a cross-encoder is trained; see `train_reranker`."""

    about = "training a cross-encoder"

    steps: int | None = Field(None, ge=1, description="optimiser steps of the cross-encoder; null: one pass")
    batch_size: int = Field(32, ge=1, description="pairs of a query and a passage a step")
    learning_rate: float = Field(2e-5, gt=0, description="peak, of the cross-encoder")
    seed: int = Field(42, ge=0, lt=2**32, description="of the order of pairs and of dropout")


class MadeFrom(Options):
    """What a model was made from, by name: what its summary and its card say besides the numbers."""

    about = "what the model was made from"

    student: str = Field(description="model to train")
    student_revision: str | None = Field(None, description="commit of a hub student")
    triplets: list[str] = Field([], description="triplet files, runs that wrote one, hub sets (org/name@revision)")
    dev: list[str] = Field([], description="folders with a dev file, or mteb tasks: the best step is kept")
    licence: str | None = Field(None, description="of the model card, e.g. apache-2.0")
