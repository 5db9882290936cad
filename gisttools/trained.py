"""What a training leaves: the model, its history, and the numbers of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

from gisttools.data import count_rows
from gisttools.development import SCORE
from gisttools.guide import GuideStore
from gisttools.loss import BLOCKS


@dataclass(frozen=True)
class Trained:
    """What `gisttools.training.finetune` leaves.

    Attributes:
        folder: the model, for `SentenceTransformer(folder)`.
        history: one row per logged step, columns as in `gisttools.callbacks.COLUMNS`.
        development: one row per look at the development data: step, dev_score.
        steps, seconds, precision: how long, and in what arithmetic.
        best_step: the step whose weights were kept; the last one without development data.
        student: the model itself.
    """

    folder: Path
    history: pd.DataFrame
    development: pd.DataFrame
    steps: int
    seconds: float
    precision: str
    best_step: int
    student: SentenceTransformer

    def headline(self) -> str:
        """One line: steps, time, loss before and after, and the best development score."""
        first, last = self.history["loss"].iloc[0], self.history["loss"].iloc[-1]
        text = f"{self.steps} steps in {self.seconds:.0f} s, loss {first:.2f} to {last:.2f}"
        if len(self.development):
            text += f", development score {100 * self.development[SCORE].max():.1f} at step {self.best_step}"
        return text

    def summary(self, store: GuideStore, parameters: Any) -> dict[str, Any]:
        """The numbers of this training, for the run's summary; `parameters` are those of the notebook."""
        p, losses, shares = parameters, self.history["loss"], self.history[[f"masked_{b}" for b in BLOCKS]].mean()
        weights = list(self.student.parameters())
        settings = p.model_dump(
            exclude={"triplets", "student", "student_revision", "guide", "guide_revision", "loss_temperature"}
        )
        return {
            "student": p.student,
            "student_revision": p.student_revision,
            "guide_id": store.guide_id,
            "triplets": len(store.table),
            "by_source": {r["source"] or "not told": r["rows"] for r in count_rows(store.table, "source")},
            "steps": self.steps,
            "best_step": self.best_step,
            "development": self.development.to_dict("records"),
            "training_seconds": round(self.seconds, 1),
            "parameters_trained": sum(w.numel() for w in weights),
            "dimension": self.student.get_embedding_dimension(),
            "settings": {**settings, "temperature": p.loss_temperature, "precision": self.precision},
            "first_loss": float(losses.iloc[0]),
            "final_loss": float(losses.iloc[-1]),
            "masked": {b: None if np.isnan(shares[f"masked_{b}"]) else float(shares[f"masked_{b}"]) for b in BLOCKS},
            "labels_masked": bool(p.mask_same_label and (store.label_ids >= 0).any()),
            "model_mb": round(sum(w.numel() * w.element_size() for w in weights) / 1e6, 1),
        }
