"""Fine-tuning a student on a guide store, with sentence-transformers' own trainer."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from transformers import PrinterCallback, TrainerCallback

from gisttools.errors import DataError, ParameterError, problems
from gisttools.guide import GuideStore
from gisttools.loss import BLOCKS, GISTLoss
from gisttools.progress import tqdm

log = logging.getLogger(__name__)
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train. Steps are optimiser steps; one step is one batch of triplets.

    `precision="auto"` takes bfloat16 where the hardware multiplies it natively (and the student is not static), else
    float32. `max_steps` ends training early; the learning rate then falls to zero by that step.
    """

    epochs: float = 1.0
    batch_size: int = 64
    learning_rate: float = 5e-5
    warmup_ratio: float = 0.1
    max_steps: int | None = None
    max_length: int | None = None
    weight_decay: float = 0.0
    precision: Precision = "auto"
    seed: int = 42

    def __post_init__(self) -> None:
        found = [
            f"{name} is {getattr(self, name)}, must be > 0"
            for name in ("epochs", "batch_size", "learning_rate")
            if not getattr(self, name) > 0
        ]
        if not 0 <= self.warmup_ratio <= 1:
            found.append(f"warmup_ratio is {self.warmup_ratio}, must lie in 0..1")
        if self.max_steps is not None and self.max_steps < 1:
            found.append(f"max_steps is {self.max_steps}, must be >= 1 or None")
        if found:
            raise ParameterError(problems("training settings:", found))


@dataclass(frozen=True)
class Trained:
    """What `finetune` leaves: the model and its folder, one history row per logged step, seconds, precision."""

    folder: Path
    history: pd.DataFrame
    steps: int
    seconds: float
    precision: str
    student: SentenceTransformer

    def headline(self) -> str:
        """One line: steps, time, loss before and after."""
        first, last = self.history["loss"].iloc[0], self.history["loss"].iloc[-1]
        return f"{self.steps} steps in {self.seconds:.0f} s, loss {first:.2f} to {last:.2f}"

    def summary(self, store: GuideStore, parameters: BaseModel) -> dict[str, Any]:
        """The numbers of this training, for the run's summary; `parameters` are those of the notebook."""
        p, losses, shares = parameters, self.history["loss"], self.history[[f"masked_{b}" for b in BLOCKS]].mean()
        weights = [w for w in self.student.parameters() if w.requires_grad]
        settings = p.model_dump(
            exclude={"triplets", "student", "student_revision", "guide", "guide_revision", "loss_temperature"}
        )
        return {
            "student": p.student,
            "student_revision": p.student_revision,
            "guide_id": store.guide_id,
            "triplets": len(store.table),
            "by_source": dict(Counter(x or "not told" for x in store.table["source"][:])),
            "steps": self.steps,
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


def finetune(
    student: SentenceTransformer, store: GuideStore, loss: GISTLoss, settings: TrainSettings, folder: Path
) -> Trained:
    """Train `student` in place on the rows of `store`, and save it to `folder` for `SentenceTransformer(folder)`.

    Raises:
        DataError: the table has fewer than two rows, so that no batch holds a candidate negative.
    """
    data = store.training_columns()
    if len(data) < 2:
        raise DataError(f"The triplet table has {len(data)} row(s); training needs at least 2, better some hundred.")
    if settings.max_length:
        student.max_seq_length = settings.max_length
    _card_examples(student, data)
    precision = choose_precision(settings.precision, student)
    steps = settings.max_steps or max(1, round(settings.epochs * -(-len(data) // settings.batch_size)))
    log.info("training on %d triplets for %d steps in %s: %s", len(data), steps, precision, settings)
    recorder = _Recorder(loss, steps)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=scratch,
            num_train_epochs=settings.epochs,
            max_steps=settings.max_steps or -1,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup_ratio,  # a share below 1 is read as a ratio
            weight_decay=settings.weight_decay,
            bf16=precision == "bfloat16",
            use_cpu=student.device.type == "cpu",
            seed=settings.seed,
            data_seed=settings.seed,
            logging_steps=max(1, steps // 100),
            logging_first_step=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        trainer = SentenceTransformerTrainer(
            model=student, args=arguments, train_dataset=data, loss=loss, callbacks=[recorder]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    student.save(str(folder))
    return Trained(
        folder, recorder.history(), trainer.state.global_step, time.monotonic() - started, precision, student
    )


def choose_precision(wanted: Precision, student: SentenceTransformer) -> str:
    """`wanted`, or for "auto" bfloat16 where the hardware has it and there are matrix products to gain from."""
    if wanted != "auto":
        return wanted
    static = not hasattr(student[0], "auto_model")
    device = student.device.type
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return "bfloat16" if native and not static else "float32"


def settings_from(parameters: object) -> TrainSettings:
    """The training settings among the attributes of a notebook's parameters."""
    return TrainSettings(**{f.name: getattr(parameters, f.name) for f in fields(TrainSettings)})


def _card_examples(student: SentenceTransformer, data: Dataset) -> None:
    """Examples for the model card; left to itself the trainer draws them, under a bar that no switch hides."""
    texts = [data[0]["anchor"], data[0]["positive"], data[len(data) // 2]["anchor"]]
    student.model_card_data.widget = [{"source_sentence": texts[0], "sentences": texts[1:]}]
    student.model_card_data.usage_examples = texts


class _Recorder(TrainerCallback):
    """Keeps loss, learning rate and masked shares of each logged step, and shows one progress line."""

    def __init__(self, loss: GISTLoss, steps: int) -> None:
        self.loss, self.steps, self.rows = loss, steps, []

    def on_train_begin(self, args, state, control, **_):
        self.bar = tqdm(total=self.steps, desc="training", unit="step")

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            shares = {f"masked_{name}": share for name, share in self.loss.masked_shares().items()}
            row = {"step": state.global_step, "epoch": state.epoch, "loss": logs["loss"]}
            self.rows.append({**row, "learning_rate": logs.get("learning_rate"), **shares})
            self.bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)

    def on_train_end(self, args, state, control, **_):
        self.bar.close()

    def history(self) -> pd.DataFrame:
        columns = ["step", "epoch", "loss", "learning_rate", *(f"masked_{name}" for name in BLOCKS)]
        return pd.DataFrame(self.rows, columns=columns).astype({f"masked_{b}": float for b in BLOCKS})
