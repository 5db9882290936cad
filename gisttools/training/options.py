"""Says how to train: what the loss masks and computes, how sets are mixed, the optimiser's settings, what is retained.

Each option is declared here once; the parameters of `3_finetune` are the same fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
Precision = Literal["auto", "float32", "bfloat16"]
Tracking = Literal["tensorboard", "trackio"]


class MaskOptions(Options):
    """Which candidates the loss masks; see `gisttools.training.gist_loss`."""

    about = "gist_loss"

    margin: float = Field(0.0, description="how far under the threshold a negative must lie")
    margin_strategy: MarginStrategy = Field("absolute", description="theta - m, or theta - |theta| m")
    contrast_anchors: bool = Field(True, description="anchor-anchor candidates")
    contrast_positives: bool = Field(True, description="positive-positive candidates")
    mask_same_label: bool = Field(True, description="mask candidates of the anchor's label")
    same_label: SameLabel = Field(
        "mask", description="candidates of the anchor's label: masked, further positives, or like any other"
    )
    guide_masks: GuideMasks = Field("all", description="all candidates, or those of which no label tells")

    @property
    def of_same_label(self) -> SameLabel:
        """What becomes of candidates of the anchor's label; `mask_same_label: false` is `same_label: ignore`."""
        return self.same_label if self.mask_same_label else "ignore"

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
    mini_batch_size: their activations are computed again in the backward pass, with the same dropout (GradCache,
        arXiv 2101.06983).
    """

    temperature: float = Field(0.01, gt=0, description="temperature of the loss")
    candidates: Candidates = Field("all", description="hard: those the student ranks above the positive")
    positive_temperature: float | None = Field(
        None, gt=0, description="positives weigh softmax(guide cosine / this), e.g. 0.1; null: all alike"
    )
    mini_batch_size: int | None = Field(None, ge=1, description="texts embedded at a time, for batches beyond memory")
    tokens_per_forward: int | None = Field(None, ge=1, description="token budget of one micro-batch")
    equal_texts_once: bool | None = Field(None, description="embed equal texts of a step once; null: without dropout")
    block_rows: int | None = Field(None, ge=1, description="rows scored at a time; null: by a memory budget")


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
        out. It goes with same_label "positive".
    texts_per_class: 64 texts of 4 a class are 16 classes; where there are fewer classes, each gives more.
    meet: which classes are in a batch: drawn, or also those that the guide finds near to the drawn ones.
    max_steps: the schedule is run through by then.
    precision: "auto" takes bfloat16 where the hardware multiplies it natively (and the student is no static model),
        else float32.
    gradient_checkpointing: activations are computed again in the backward pass: a third more time.
    lora_rank: the adapters are merged into the saved model.
    matryoshka_dims: arXiv 2205.13147.
    checkpoint_minutes: where `finetune` is given a folder for checkpoints.
    deterministic: slower, and an error where there is no such algorithm.
    """

    about = "training settings"

    epochs: float = Field(1.0, gt=0, description="passes over the triplets, where max_steps is null")
    max_steps: int | None = Field(None, ge=1, description="train so many steps, whatever epochs says")
    batch_size: int = Field(64, ge=1, description="triplets (or labelled texts) a step, over all devices together")
    train_on: TrainOn = Field("triplets", description="triplets as they are, or the labelled texts that they hold")
    texts_per_class: int = Field(4, ge=2, description="of each class in a batch of labelled texts")
    meet: Meet = Field("random", description="classes of a batch of labelled texts; confusable: alike to the guide")
    learning_rate: float | None = Field(
        None, gt=0, description="peak; null: 1e-2 for a static student, 5e-5 for a transformer, 5e-4 for LoRA"
    )
    seed: int = Field(42, description="seed of the order of rows and of dropout")
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="share of the steps")
    schedule: Schedule = Field("linear", description="of the learning rate, after the warm-up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    final_temperature: float | None = Field(None, gt=0, description="the temperature moves to this in a straight line")
    matryoshka_dims: list[int] = Field([], description="train the first so many dimensions as well, e.g. [128, 64]")
    max_length: int | None = Field(None, ge=4, description="tokens kept of a text")
    query_prompt: str | None = Field(
        None, description='text put before anchors, and all texts of labelled rows; "" for none; null: the model\'s own'
    )
    document_prompt: str | None = Field(
        None, description='text put before positives and negatives of a search; "" for none; null: the model\'s own'
    )
    precision: Precision = Field("auto", description="auto: bfloat16 where the hardware multiplies it natively")
    lora_rank: int | None = Field(None, ge=1, description="train adapters of this rank in place of the weights")
    gradient_checkpointing: bool = Field(False, description="less memory, more time")
    dev_every: int | None = Field(None, ge=1, description="steps between two looks; null: a tenth of the training")
    patience: int | None = Field(None, ge=1, description="stop after so many looks without a better score")
    checkpoint_minutes: float = Field(2.0, ge=0, description="time between two checkpoints")
    deterministic: bool = Field(False, description="deterministic algorithms only")
    tracking: Tracking | None = Field(None, description="log there as well")

    def conflicts(self) -> list[str]:
        """As `Mix`, and dimensions that are none."""
        none = any(d < 1 for d in self.matryoshka_dims)
        return super().conflicts() + ([f"matryoshka_dims are {self.matryoshka_dims}, must be > 0"] if none else [])


class RetentionOptions(Options):
    """How strongly general texts hold the student near where it started; see `gisttools.training.Retention`."""

    about = "retention"

    weight: float = Field(8.0, gt=0, description="of that term in the loss")
    texts_a_step: int = Field(32, ge=1, description="general texts a step")


class MadeFrom(Options):
    """What a model was made from, by name: what its summary and its card say besides the numbers."""

    about = "what the model was made from"

    student: str = Field(description="model to train")
    student_revision: str | None = Field(None, description="commit of a hub student")
    triplets: list[str] = Field([], description="triplet files, runs that wrote one, hub sets (org/name@revision)")
    dev: list[str] = Field([], description="folders with a dev file, or mteb tasks: the best step is kept")
    licence: str | None = Field(None, description="of the model card, e.g. apache-2.0")
