"""How a student is trained: one typed, checked set of settings."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from pydantic import BaseModel

from gisttools.common import ParameterError, problems
from gisttools.mixing import Batches, Strategy

Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["linear", "cosine", "constant", "polynomial", "inverse_sqrt"]
Tracking = Literal["tensorboard", "trackio"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train. A step is one optimiser step on one batch of triplets.

    Attributes:
        epochs: passes over the rows; `max_steps` ends training earlier, with the schedule run through by then.
        batch_size: triplets a step, over all devices together.
        learning_rate, warmup_ratio, schedule: peak, share of the steps that lead up to it, and the way down.
        final_temperature: the loss's temperature moves to this in a straight line; None leaves it as it is.
        max_length: tokens kept of a text.
        precision: "auto" takes bfloat16 where the hardware multiplies it natively (and the student is no static
            model), else float32.
        gradient_checkpointing: compute activations again in the backward pass: less memory, a third more time.
        lora_rank: train low-rank adapters in place of the weights; they are merged into the saved model.
        matryoshka_dims: train the first so many dimensions of the vectors as well (arXiv 2205.13147), e.g. [256, 64].
        mix, weights, batches: how several sets meet; see `gisttools.mixing.Mix`.
        dev_every: steps between two looks at the development data; None for a tenth of the training.
        patience: stop after so many looks without a better score; None never stops early.
        checkpoint_minutes: time between two checkpoints, where `finetune` is given a folder for them.
        deterministic: only deterministic algorithms; slower, and an error where there is none.
        tracking: "tensorboard" or "trackio".
    """

    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 5e-5
    warmup_ratio: float = 0.1
    schedule: Schedule = "linear"
    final_temperature: float | None = None
    weight_decay: float = 0.0
    max_length: int | None = None
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    lora_rank: int | None = None
    matryoshka_dims: Sequence[int] = ()
    mix: Strategy = "proportional"
    weights: Sequence[float] = ()
    batches: Batches = "mixed"
    dev_every: int | None = None
    patience: int | None = None
    checkpoint_minutes: float = 2.0
    seed: int = 42
    deterministic: bool = False
    tracking: Tracking | None = None

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "max_steps", "final_temperature", "lora_rank", "dev_every")
        found = [
            f"{name} is {value}, must be > 0"
            for name in (*positive, "patience", "max_length")
            if (value := getattr(self, name)) is not None and not value > 0
        ]
        if not 0 <= self.warmup_ratio <= 1:
            found.append(f"warmup_ratio is {self.warmup_ratio}, must lie in 0..1")
        if any(d < 1 for d in self.matryoshka_dims):
            found.append(f"matryoshka_dims are {list(self.matryoshka_dims)}, must be > 0")
        if self.checkpoint_minutes < 0:
            found.append(f"checkpoint_minutes is {self.checkpoint_minutes}, must be >= 0")
        if self.tracking and importlib.util.find_spec(self.tracking) is None:
            found.append(f"tracking is {self.tracking!r}, but it is not installed: pip install {self.tracking}")
        if found:
            raise ParameterError(problems("training settings:", found))

    @classmethod
    def of(cls, parameters: BaseModel) -> TrainSettings:
        """The training settings among a notebook's parameters."""
        return cls(**{f.name: getattr(parameters, f.name) for f in fields(cls)})
