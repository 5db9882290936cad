"""Knows which learning rates are usual for which kind of student, and says when one is far from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sentence_transformers import SentenceTransformer

from gisttools.models import is_static
from gisttools.training.options import TrainSettings

Kind = Literal["static", "transformer", "lora"]
FAR = 10.0  # times outside of the usual range
TIMES = {"low": 1 / 3, "high": 3.0}  # the words for a rate, and what they make of that of the kind


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The rate that a kind of student is trained at unless told, and the range that is usual for it."""

    what: str
    rate: float
    few_steps: float  # on triplets, where a few steps are best (`LossOptions.few_steps`)
    labelled: float  # where it is trained on labelled texts: their batches bear more
    frozen: float  # and where its first layers stay as they are: the others bear more again
    low: float
    high: float


# the rates are those of `benchmarks/rates.py`, and of `benchmarks/documents.py` where a few steps are best; the
# ranges also hold what others train such models at
USUAL: dict[Kind, Usual] = {
    "static": Usual(
        what="a static student", rate=1e-2, few_steps=1e-2, labelled=1e-2, frozen=1e-2, low=1e-3, high=2e-1
    ),
    "transformer": Usual(
        what="a transformer", rate=5e-5, few_steps=1e-4, labelled=2e-4, frozen=5e-4, low=1e-6, high=5e-4
    ),
    "lora": Usual(
        what="adapters in a transformer (LoRA)",
        rate=5e-4,
        few_steps=5e-4,
        labelled=1e-3,
        frozen=1e-3,
        low=5e-5,
        high=1e-3,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The learning rate of a training.

    Attributes:
        value: the peak.
        kind: of the student.
        told: was it set, or left to the kind?
        null: what it is where it is left to the kind.
    """

    value: float
    kind: Kind
    told: bool
    null: float

    @property
    def usual(self) -> Usual:
        """What is usual for this kind of student."""
        return USUAL[self.kind]

    @property
    def warning(self) -> str:
        """What is unusual about it, where it lies more than ten times outside the range; else empty."""
        usual, value = self.usual, self.value
        if usual.low / FAR <= value <= usual.high * FAR:
            return ""
        times, end = (value / usual.high, "above") if value > usual.high else (usual.low / value, "below")
        return (
            f"learning_rate is {value:g}, {times:,.0f} times {end} the range that is usual for {usual.what} "
            f"({usual.low:g} to {usual.high:g}); null takes {self.null:g}."
        )

    @property
    def advice(self) -> str:
        """What to set in its place, after a training that it spoilt."""
        if self.value > self.null:
            return f"Lower learning_rate, or leave it null: that is {self.null:g} for {self.usual.what}."
        return f"Lower learning_rate, which is {self.value:g}: try {self.value / 10:.2g}."

    def told_in(self) -> dict[str, object]:
        """For the summary of a run; JSON values."""
        usual = [self.usual.low, self.usual.high]
        return {"value": self.value, "kind": self.kind, "usual": usual, "told": self.told}


def kind_of(settings: TrainSettings, student: SentenceTransformer) -> Kind:
    """Static, a transformer, or adapters in one."""
    if is_static(student):
        return "static"
    adapted = bool(settings.lora_rank) or getattr(student.transformers_model, "_hf_peft_config_loaded", False)
    return "lora" if adapted else "transformer"


def rate_of(settings: TrainSettings, student: SentenceTransformer, *, few_steps: bool = False) -> Rate:
    """The rate that is told, or the one that suits the kind of student and what it is trained on; a third of it where
    "low" is told, three times where "high" is. `few_steps`: as `LossOptions.few_steps` says."""
    kind, told = kind_of(settings, student), settings.learning_rate
    usual = USUAL[kind]
    own = usual.few_steps if few_steps else usual.rate
    if settings.train_on == "labelled":
        own = usual.frozen if settings.freeze_layers else usual.labelled
    value = told if isinstance(told, float) else own * TIMES.get(told or "", 1.0)
    return Rate(value=value, kind=kind, told=told is not None, null=own)
