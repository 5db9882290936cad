"""What a training leaves: the model, its curve, how it was trained, and the numbers for a summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

from gisttools.data import count_rows
from gisttools.models import Reading
from gisttools.training.budget import Fit
from gisttools.training.callbacks import SCORE
from gisttools.training.health import Trend
from gisttools.training.loss import BLOCKS, POSITIVES
from gisttools.training.masked import mask_quality, masked_examples
from gisttools.training.options import LossOptions, MadeFrom, TrainSettings
from gisttools.training.rates import Rate
from gisttools.training.soup import Average
from gisttools.training.store import GuideStore


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What `gisttools.training.finetune` leaves.

    Attributes:
        folder: the model, for `SentenceTransformer(folder)`.
        history: one row per logged step, columns as in `gisttools.training.callbacks.COLUMNS`.
        development: one row per look at the development data: step, dev_score.
        steps, seconds, precision: how long, and in what arithmetic.
        best_step: the step whose weights were kept; the last one without development data.
        student: the model itself.
        store: what it was trained on.
        loss, settings: and how; the learning rate is the one that was taken.
        rate: that rate, and what is usual.
        trend: where the loss came from and where it went, like compared with like.
        average: how the saved weights were averaged; None where they are those of the training alone.
        fit: how its steps were chosen; None without a time budget.
        reading: how much of the texts the student reads; None where that cannot be told.
        prompts: the student's, as `gisttools.models.RowPrompts.told` has them.
    """

    folder: Path
    history: pd.DataFrame
    development: pd.DataFrame
    steps: int
    seconds: float
    precision: str
    best_step: int
    student: SentenceTransformer
    store: GuideStore
    loss: LossOptions
    settings: TrainSettings
    rate: Rate
    trend: Trend
    average: Average | None = None
    fit: Fit | None = None
    reading: Reading | None = None
    prompts: list[dict[str, Any]] = field(default_factory=list)

    def headline(self) -> str:
        """One line: steps, time, loss before and after, the best development score, and an unusual learning rate."""
        text = f"{self.steps} steps in {self.seconds:.0f} s, {self.trend.words()}"
        if len(self.development):
            text += f", development score {100 * self.development[SCORE].max():.1f} at step {self.best_step}"
        if self.average is not None:
            text += f", {self.average.words()}"
        if self.fit is not None and self.fit.steps < self.fit.asked:
            text += f"; {self.fit.asked} steps asked for, max_minutes {self.fit.minutes:g}"
        return text + (f"; unusual learning rate {self.rate.value:g}" if self.rate.warning else "")

    @property
    def score(self) -> float | None:
        """The development score, 0 to 1, of the model that was saved; None without development data."""
        if self.average is not None:
            return self.average.score
        return float(self.development[SCORE].max()) if len(self.development) else None

    def masked_examples(self) -> pd.DataFrame:
        """Some masked candidates, as `gisttools.training.masked_examples`; none of a training on labelled texts, which
        are no triplets."""
        found = masked_examples(self.store, self.loss, batch_size=self.settings.batch_size, seed=self.settings.seed)
        return found if self.settings.train_on == "triplets" else found.head(0)

    def mask_quality(self) -> dict[str, float | int | None]:
        """How right the mask is, as `gisttools.training.mask_quality`; empty of a training on labelled texts."""
        if self.settings.train_on != "triplets":
            return {}
        return mask_quality(self.store, self.loss, batch_size=self.settings.batch_size, seed=self.settings.seed)

    def met(self) -> str:
        """Of a training on labelled texts: what a text met in its batch; empty of one on triplets."""
        if self.settings.train_on == "triplets":
            return ""
        masked, met = self.history["masked_aa"].mean(), self.history["positives"].mean()
        return (
            f"In a batch of {self.settings.batch_size} a text met {met:.1f} others of its own label, its positives. "
            "All the others were its negatives"
            + (f", but for the {masked:.1%} that the guide masked." if masked > 0 else ".")
        )

    def options(self) -> dict[str, object]:
        """The options of loss and training by the names that they have in `3_finetune`."""
        loss = self.loss.model_dump(exclude={"block_rows"})
        return {"loss_temperature": loss.pop("temperature"), **loss, **self.settings.model_dump()}

    def summary(self, made_from: MadeFrom) -> dict[str, object]:
        """The numbers of this training, and what it was made from; JSON values.

        Args:
            made_from: also with further options, as the parameters of `3_finetune` have them.
        """
        store, masked = self.store, masked_means(self.history)
        weights = list(self.student.parameters())
        hidden = {"triplets", "student", "student_revision", "guide", "guide_revision", "loss_temperature"}
        told = {**made_from.model_dump(), **self.options(), "learning_rate": self.rate.value}
        settings = {name: value for name, value in told.items() if name not in hidden}
        return {
            "student": made_from.student,
            "student_revision": made_from.student_revision,
            "guide_id": store.guide_id,
            "guide_reading": store.reading.facts if store.reading else None,
            "student_reading": self.reading.facts if self.reading else None,
            "triplets": len(store.table),
            "by_source": {r["source"] or "not told": r["rows"] for r in count_rows(store.table, "source")},
            "steps": self.steps,
            "best_step": self.best_step,
            "development": self.development.to_dict("records"),
            "development_score": self.score,
            "steps_chosen": None if self.fit is None else self.fit.told(),
            "average": None if self.average is None else self.average.told(),
            "training_seconds": round(self.seconds, 1),
            "parameters_trained": sum(w.numel() for w in weights),
            "dimension": self.student.get_embedding_dimension(),
            "settings": {
                **settings,
                **self._prompts(),
                "temperature": self.loss.temperature,
                "precision": self.precision,
            },
            "prompts": {"student": self.prompts, "guide": store.guide_prompts},
            "learning_rate": self.rate.told_in(),
            "warnings": [self.rate.warning] if self.rate.warning else [],
            "first_loss": self.trend.start,
            "final_loss": self.trend.end,
            "loss_steps": self.trend.steps,
            "masked": masked,
            "labels_masked": bool(self.loss.of_same_label == "mask" and (store.label_ids >= 0).any()),
            "positives": {name: _mean(self.history[name]) for name in POSITIVES},
            "model_mb": round(sum(w.numel() * w.element_size() for w in weights) / 1e6, 1),
        }

    def _prompts(self) -> dict[str, str]:
        """The prompts by the names of the parameters, as far as they are the same for all rows."""
        found = {}
        for prefix, told in (("", self.prompts), ("guide_", self.store.guide_prompts)):
            if len(told) == 1:
                found |= {f"{prefix}{side}_prompt": told[0][side] for side in ("query", "document")}
        return found


def _mean(column: pd.Series) -> float | None:
    mean = column.mean()
    return None if np.isnan(mean) else float(mean)


def masked_means(history: pd.DataFrame) -> dict[str, float | None]:
    """Mean share of candidates that were masked in each block of the loss; None for a block without candidates."""
    means = history[[f"masked_{block}" for block in BLOCKS]].mean()
    return {block: None if np.isnan(mean) else float(mean) for block, mean in zip(BLOCKS, means, strict=True)}
