"""The parameters of `3_finetune`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gisttools.workflow.param_model import MINILM, WORDLLAMA, Params


class FinetuneParams(Params):
    """`3_finetune`: triplets, a student and a guide give a model."""

    # what is in the notebook's parameters cell
    triplets: list[str] = Field(
        ["data/support_intents/triplets.jsonl"],
        min_length=1,
        description="triplet files, runs that wrote one, hub sets (org/name@revision)",
    )
    student: str = Field(WORDLLAMA, description="model to train")
    student_revision: str | None = Field(None, description="commit of a hub student")
    guide: str | None = Field(
        MINILM, description="guide model, endpoint:MODEL, or a file of vectors; null for the unguided baseline"
    )
    guide_revision: str | None = Field(None, description="commit of a hub guide")
    loss_temperature: float = Field(0.05, gt=0, description="temperature of the loss")
    margin: float = Field(0.0, description="how far under the threshold a negative must lie")
    mask_same_label: bool = Field(True, description="mask candidates of the anchor's label")
    epochs: float = Field(10.0, gt=0, description="passes over the triplets")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps")
    batch_size: int = Field(64, ge=2, description="triplets a step, over all devices together")
    learning_rate: float = Field(
        1e-2,
        gt=0,
        description="peak; 1e-2 suits the static student, 5e-5 a transformer, 1e-4 one that is held (retain)",
    )
    dev: list[str] = Field([], description="folders with a dev file, or mteb tasks: the best step is kept")
    seed: int = Field(42, description="seed of the order of rows and of dropout")
    # more of the loss
    margin_strategy: Literal["absolute", "relative"] = Field("absolute", description="theta - m, or theta - |theta| m")
    contrast_anchors: bool = Field(True, description="anchor-anchor candidates")
    contrast_positives: bool = Field(True, description="positive-positive candidates")
    candidates: Literal["all", "hard"] = Field("all", description="hard: those the student ranks above the positive")
    final_temperature: float | None = Field(None, gt=0, description="the temperature moves to this in a straight line")
    matryoshka_dims: list[int] = Field([], description="train the first so many dimensions as well, e.g. [128, 64]")
    # what the student knew before
    retain: list[str] = Field([], description="general texts (files, hub sets) that hold the student near its start")
    retain_weight: float = Field(8.0, gt=0, description="of that term in the loss")
    retain_a_step: int = Field(32, ge=1, description="general texts a step")
    # more of the guide
    guide_prompt: str | None = Field(None, description="text put before every text")
    guide_base_url: str | None = Field(None, description="of an endpoint; null for OpenAI's")
    guide_key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds its key")
    guide_dtype: Literal["float32", "float16"] = Field("float32", description="of its vectors on disk")
    # several sets
    group_by: Literal["source", "task_name"] = Field(
        "source", description="what a set is: an entry of triplets, a task"
    )
    mix: Literal["proportional", "round_robin", "weights"] = Field(
        "proportional", description="how often a set is drawn"
    )
    weights: list[float] = Field([], description="one number a set, for mix: weights")
    batches: Literal["mixed", "one_set"] = Field("mixed", description="rows of several sets in a batch, or of one")
    rows: int | None = Field(None, ge=1, description="rows read of a hub set")
    instructions: bool = Field(False, description="keep the instructions of MEDI-like sets in front of the texts")
    # fewer rows than there are
    limit: int | None = Field(None, ge=2, description="most rows trained on; smaller limits are subsets of larger ones")
    limit_seed: int = Field(0, ge=0, description="seed of the order they are taken in; whatever seed says")
    # more of the training
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="share of the steps")
    schedule: Literal["linear", "cosine", "constant", "polynomial", "inverse_sqrt"] = Field(
        "linear", description="of the learning rate, after the warm-up"
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    max_length: int | None = Field(None, ge=4, description="tokens kept of a text")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the hardware multiplies it natively"
    )
    lora_rank: int | None = Field(None, ge=1, description="train adapters of this rank in place of the weights")
    gradient_checkpointing: bool = Field(False, description="less memory, more time")
    mini_batch_size: int | None = Field(None, ge=1, description="texts embedded at a time, for batches beyond memory")
    tokens_per_forward: int | None = Field(None, ge=16, description="token budget of one micro-batch")
    equal_texts_once: bool | None = Field(None, description="embed equal texts of a step once; null: without dropout")
    dev_subsets: list[str] | None = Field(None, description='language subsets of dev tasks, e.g. ["en"]')
    dev_every: int | None = Field(None, ge=1, description="steps between two looks; null: a tenth of the training")
    patience: int | None = Field(None, ge=1, description="stop after so many looks without a better score")
    checkpoint_minutes: float = Field(2.0, ge=0, description="time between two checkpoints")
    deterministic: bool = Field(False, description="deterministic algorithms only")
    tracking: Literal["tensorboard", "trackio"] | None = Field(None, description="log there as well")
    licence: str | None = Field(None, description="of the model card, e.g. apache-2.0")
