"""Fine-tuning a student on a guide store, with sentence-transformers' own trainer.

How a student is trained: one typed, checked set of settings.

What a training leaves: the model, its history, and the numbers of it.

Low-rank adapters (LoRA, arXiv 2106.09685) through peft: trained in place of the weights, merged into them after.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from transformers import PrinterCallback, TrainerCallback
from transformers.integrations import TensorBoardCallback, TrackioCallback

from gisttools.common import DataError, MissingError, ModelError, ParameterError, problems
from gisttools.data import count_rows
from gisttools.models import VectorCache, is_static, native_bfloat16, weights_sha
from gisttools.training.batches import Batches, BatchPlan, Mix, Strategy
from gisttools.training.callbacks import SCORE, Checkpoints, DevelopmentScore, KeepBest, Recorder, TemperatureSchedule
from gisttools.training.loss import BLOCKS, GISTLoss
from gisttools.training.retention import Retention, RetentionLoss, read_texts
from gisttools.training.store import GuideStore

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
        mix, weights, batches: how several sets meet; see `gisttools.training.Mix`.
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


@dataclass(frozen=True)
class Trained:
    """What `gisttools.training.finetune` leaves.

    Attributes:
        folder: the model, for `SentenceTransformer(folder)`.
        history: one row per logged step, columns as in `gisttools.training.COLUMNS`.
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


INSTALL = 'pip install "gisttools[lora]"'


def add_lora(student: SentenceTransformer, rank: int) -> None:
    """Freeze the student and put an adapter of this rank beside each of its linear layers.

    Raises:
        MissingError: peft is not installed.
        ModelError: the student has no transformer to adapt.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingError(f"LoRA needs the package peft. Install it: {INSTALL}")
    if not student.has_peft_compatible_model():
        raise ModelError(f"lora_rank is {rank}, but this student has no transformer layers. Set lora_rank to null.")
    from peft import LoraConfig

    student.add_adapter(LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear"))


def merge_lora(student: SentenceTransformer) -> None:
    """Add the adapters to the weights and take them away: the student is a plain model again, of the same outputs."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = student.transformers_model
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())
    del model.peft_config
    model._hf_peft_config_loaded = False
    for weight in model.parameters():
        weight.requires_grad_(True)


log = logging.getLogger(__name__)


def finetune(
    student: SentenceTransformer,
    store: GuideStore,
    loss: GISTLoss,
    settings: TrainSettings,
    folder: Path,
    *,
    set_of_row: Sequence[int] | None = None,
    retention: Retention | None = None,
    development: DevelopmentScore | None = None,
    checkpoints: Path | None = None,
) -> Trained:
    """Train `student` in place on the rows of `store`, and save it to `folder` for `SentenceTransformer(folder)`.

    Started by `torchrun` or `accelerate launch`, all processes train together: each takes its part of every batch, and
    candidates come from all of them, so that the result is that of one process.

    Args:
        student: the model to train.
        store: triplets, and what the guide says of them.
        loss: on this student and this store.
        settings: see `TrainSettings`.
        folder: gets the model; the first process writes it.
        set_of_row: number of the triplet set of each row, int (N,); one set if None.
        retention: general texts that hold the student near where it started.
        development: scored while training; the best step's weights are kept in place of the last's.
        checkpoints: folder for checkpoints. A training that was stopped, even killed, goes on from the last one when
            it is called again with the same folder; it is deleted when the model is saved.

    Raises:
        DataError: the table has fewer than two rows, so that no batch holds a candidate negative; or `checkpoints` is
            of another training.
        ParameterError: the settings do not fit the student, the sets or the number of devices.
    """
    data = store.training_columns()
    if len(data) < 2:
        raise DataError(f"The triplet table has {len(data)} row(s); training needs at least 2, better some hundred.")
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    _check_student(student, settings)
    if settings.max_length:
        student.max_seq_length = settings.max_length
    plan = BatchPlan(
        np.zeros(len(data), dtype=int) if set_of_row is None else set_of_row,
        batch_size=settings.batch_size,
        steps=settings.max_steps,
        passes=settings.epochs,
        mix=Mix(strategy=settings.mix, weights=tuple(settings.weights), batches=settings.batches),
        seed=settings.seed,
        devices=devices,
    )
    precision = choose_precision(settings.precision, student)
    log.info("training on %d triplets for %d steps in %s: %s", len(data), plan.steps, precision, settings)
    loss.gather_across_devices = loss.gather_across_devices or devices > 1
    recorder = Recorder(loss, plan.steps, plan.steps * plan.whole / len(data))
    _card_examples(student, data)
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch:
        work = checkpoints or Path(scratch)
        best = None if development is None else KeepBest(student, work / "best.safetensors", settings.patience)
        keeper = None
        if checkpoints is not None:
            identity = _identity(student, store, loss, settings, plan, precision)
            identity["retention"] = None if retention is None else retention.identity
            keeper = Checkpoints(checkpoints, identity, settings.checkpoint_minutes, recorder, best)
        if settings.lora_rank:
            add_lora(student, settings.lora_rank)
        wrapped = MatryoshkaLoss(student, loss, list(settings.matryoshka_dims)) if settings.matryoshka_dims else loss
        if retention is not None:
            wrapped = recorder.retention = RetentionLoss(student, wrapped, retention)
        callbacks = [recorder, best, keeper, _temperature(loss, settings), _tracking(settings, folder.parent)]
        trainer = _Trainer(
            plan,
            model=student,
            args=_arguments(student, settings, plan, precision, work, folder.parent.name, development is not None),
            train_dataset=data,
            loss=wrapped,
            evaluator=development,
            callbacks=[c for c in callbacks if c is not None],
        )
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=keeper.resume() if keeper else None)
        finally:
            if keeper is not None:
                keeper.release()
            if settings.deterministic:
                torch.use_deterministic_algorithms(False)
        if best is not None and trainer.is_world_process_zero():
            best.restore()
        if settings.lora_rank:
            merge_lora(student)
        if trainer.is_world_process_zero():
            student.save(str(folder))
            if keeper is not None:
                keeper.remove()
    rows = [] if best is None else best.rows
    steps = trainer.state.global_step
    return Trained(
        folder=folder,
        history=recorder.history(),
        development=pd.DataFrame(rows, columns=["step", SCORE]),
        steps=steps,
        seconds=recorder.seconds(),
        precision=precision,
        best_step=int(best.best["step"]) if rows else steps,
        student=student,
    )


class _Trainer(SentenceTransformerTrainer):
    """The trainer, with the batches of a plan."""

    def __init__(self, plan: BatchPlan, **options: Any) -> None:
        self.plan = plan
        super().__init__(**options)

    def get_batch_sampler(self, *_: Any, **__: Any) -> BatchPlan:
        return self.plan


def choose_precision(wanted: Precision, student: SentenceTransformer) -> str:
    """`wanted`, or for "auto" bfloat16 where the hardware has it and there are matrix products to gain from."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if native_bfloat16(student) else "float32"


def loss_from(parameters: Any, student: SentenceTransformer, store: GuideStore) -> GISTLoss:
    """The loss that a notebook's parameters ask for."""
    names = [n for n in signature(GISTLoss).parameters if n in type(parameters).model_fields and n != "guide"]
    options = {name: getattr(parameters, name) for name in names}
    return GISTLoss(student, store, temperature=parameters.loss_temperature, **options)


def retention_from(parameters: Any, names: Sequence[str], student: str) -> Retention | None:
    """The retention that a notebook's parameters ask for; `names` are sources of texts, `student` what to open."""
    if not names:
        return None
    start = VectorCache(student, parameters.student_revision, precision="float32")
    return Retention(read_texts(names), start, weight=parameters.retain_weight, texts_a_step=parameters.retain_a_step)


def development_from(parameters: Any, names: Sequence[str]) -> DevelopmentScore | None:
    """The development data that a notebook's parameters ask for; `names` are its folders and tasks."""
    return DevelopmentScore(names, subsets=parameters.dev_subsets) if names else None


def _arguments(
    student: SentenceTransformer,
    settings: TrainSettings,
    plan: BatchPlan,
    precision: str,
    folder: Path,
    run_name: str,
    looks: bool,
) -> SentenceTransformerTrainingArguments:
    log_every = min(100, max(1, plan.steps // 100))
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=plan.steps,
        per_device_train_batch_size=plan.whole // plan.devices,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule if settings.schedule != "constant" else "constant_with_warmup",
        warmup_steps=round(settings.warmup_ratio * plan.steps),
        weight_decay=settings.weight_decay,
        bf16=precision == "bfloat16",
        use_cpu=student.device.type == "cpu",
        ddp_backend="gloo" if plan.devices > 1 and student.device.type == "cpu" else None,
        activation_checkpointing=settings.gradient_checkpointing,
        seed=settings.seed,
        data_seed=settings.seed,
        full_determinism=settings.deterministic,
        logging_steps=log_every,
        logging_first_step=True,
        eval_strategy="steps" if looks else "no",
        eval_steps=settings.dev_every or max(1, plan.steps // 10),
        save_strategy="no",  # `Checkpoints` says when
        save_total_limit=2,
        report_to="none",  # `_tracking` says where to
        project="gisttools",
        run_name=run_name,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    arguments._n_gpu = min(
        arguments.n_gpu, 1
    )  # several GPUs are for torchrun; DataParallel would split the loss's batch
    return arguments


def _check_student(student: SentenceTransformer, settings: TrainSettings) -> None:
    found = []
    if settings.gradient_checkpointing and is_static(student):
        found.append("gradient_checkpointing is true, but this student has no transformer layers")
    dimension = student.get_embedding_dimension()
    if any(d > dimension for d in settings.matryoshka_dims):
        found.append(
            f"matryoshka_dims are {list(settings.matryoshka_dims)}, but the student has {dimension} dimensions"
        )
    if found:
        raise ParameterError(problems("training settings:", found))


def _identity(student, store, loss, settings, plan, precision) -> dict[str, Any]:
    """What makes this training the one that a checkpoint belongs to."""
    given = {k: v for k, v in asdict(settings).items() if k not in ("checkpoint_minutes", "tracking")}
    return {
        "student": weights_sha(student),
        "data": store.fingerprint,
        "guide": store.guide_id,
        "loss": loss.get_config_dict(),
        "precision": precision,
        "steps": plan.steps,
        "devices": plan.devices,
        **given,
    }


def _temperature(loss: GISTLoss, settings: TrainSettings) -> TemperatureSchedule | None:
    return None if settings.final_temperature is None else TemperatureSchedule(loss, settings.final_temperature)


def _tracking(settings: TrainSettings, folder: Path) -> TrainerCallback | None:
    if settings.tracking == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        return TensorBoardCallback(SummaryWriter(str(folder / "tensorboard")))
    return TrackioCallback() if settings.tracking == "trackio" else None


def _card_examples(student: SentenceTransformer, data: Dataset) -> None:
    """Examples for the model card; left to itself the trainer draws them, under a bar that no switch hides."""
    texts = [data[0]["anchor"], data[0]["positive"], data[len(data) // 2]["anchor"]]
    student.model_card_data.widget = [{"source_sentence": texts[0], "sentences": texts[1:]}]
    student.model_card_data.usage_examples = texts
