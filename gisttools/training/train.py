"""Trains a student on a guide store with sentence-transformers' own trainer."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from torch import nn
from transformers import PrinterCallback

from gisttools.common import DataError, ModelError, ParameterError, notice
from gisttools.models import (
    RowPrompts,
    keep_code,
    native_bfloat16,
    prompts_in_words,
    prompts_of,
    settle_prompts,
    weights_sha,
)
from gisttools.training.batches import BatchPlan
from gisttools.training.budget import Fit, fit_of
from gisttools.training.callbacks import (
    SCORE,
    Checkpoints,
    DevelopmentScore,
    KeepBest,
    Recorder,
    TemperatureSchedule,
    agreed,
)
from gisttools.training.checks import check_fit, check_use, warn_unread
from gisttools.training.class_batches import ClassPlan, classes_of
from gisttools.training.computing import quick_attention, without_dropout
from gisttools.training.defaults import settle, settle_layers
from gisttools.training.freezing import frozen_layers
from gisttools.training.health import Watch, own_loss
from gisttools.training.labelled import LabelledRows
from gisttools.training.lora import add_lora, merge_lora
from gisttools.training.loss import GISTLoss
from gisttools.training.options import Mix, Precision, TrainSettings
from gisttools.training.prompting import prompting
from gisttools.training.rates import kind_of, rate_of
from gisttools.training.retention import Retention, RetentionLoss
from gisttools.training.soup import Average, average_in, check_alike, weights_of
from gisttools.training.store import GuideStore
from gisttools.training.tracking import tracked
from gisttools.training.trained import Trained

log = logging.getLogger(__name__)
_MANY = 0.05  # of the rows, a share that is told of


def finetune(
    loss: GISTLoss,
    folder: Path,
    settings: TrainSettings | None = None,
    *,
    set_of_row: Sequence[int] | np.ndarray | None = None,
    retention: Retention | None = None,
    development: DevelopmentScore | None = None,
    checkpoints: Path | None = None,
    soup: Sequence[SentenceTransformer] = (),
) -> Trained:
    """Train the loss's student in place on the rows of its store, and save it for `SentenceTransformer(folder)`.

    Texts stand behind the student's prompts, as `encode_query` and `encode_document` put them, or those of the
    settings; these are saved with it.

    Started by `torchrun` or `accelerate launch`, all processes train together: each takes its part of every batch, and
    candidates come from all of them, so that the result is that of one process.

    Args:
        loss: `GISTLoss(student, store, ...)`: the model to train, the triplets and what the guide says of them.
        folder: gets the model; the first process writes it.
        settings: see `TrainSettings`.
        set_of_row: number of the triplet set of each row, int (N,); one set if None.
        retention: general texts that hold the student near where it started.
        development: scored while training; the best step's weights are kept in place of the last's.
        checkpoints: folder for checkpoints. A training that was stopped, even killed, goes on from the last one when
            it is called again with the same folder; it is deleted when the model is saved.
        soup: models tuned from the same start, say of other seeds: their weights and these are averaged after the
            training; with development data those that help (`gisttools.training.soup`). They are not changed.

    Raises:
        DataError: the table has fewer than two rows, so that no batch holds a candidate negative; or `checkpoints` is
            of another training.
        ParameterError: the loss has no guide store, or the settings do not fit the student, the sets, the number of
            devices or what is installed.
        ModelError: the student's vectors collapsed, or the loss ended above its start. No model is written;
            checkpoints stay, and `history.parquet` is written next to where the model would be. Or a model of `soup`
            is of another shape; this is seen before the training.
    """
    settings = settings or TrainSettings()
    student, store = _student_and_store(loss)
    loss.options, settings = settle(loss.options, settings, store, kind_of(settings, student))
    settings = settle_layers(settings, student)
    options, rate = loss.options, rate_of(settings, student, few_steps=loss.options.few_steps)
    settings = settings.model_copy(update={"learning_rate": rate.value})
    if len(store.table) < 2:
        raise DataError(
            f"The triplet table has {len(store.table)} row(s); training needs at least 2, better some hundred."
        )
    check_fit(student, settings)
    check_use(loss, settings, development)
    check_alike([student, *soup])
    rows = _rows(store, settings)
    data = rows.training_columns()
    read = warn_unread(student, store.table)
    if settings.max_length:
        student.max_seq_length = settings.max_length
    prompts = _prompts(student, store, settings)
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    plan = _plan(store, settings, set_of_row, devices)
    identity = _identity(loss, settings, retention) | {"devices": devices, "prompts": _identifying(prompts)}
    precision = choose_precision(settings.precision, student)
    what = "triplets" if settings.train_on == "triplets" else "labelled texts"
    if rate.warning:
        notice(rate.warning, level=logging.WARNING)
    loss.gather_across_devices = loss.gather_across_devices or devices > 1
    _card_examples(student, store.table)
    start = weights_of(student) if settings.keep_start else None  # before there are adapters
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch, contextlib.ExitStack() as computing:
        work = checkpoints or Path(scratch)
        best = None if development is None else KeepBest(student, work / "best.safetensors", settings.patience)
        if settings.lora_rank:
            torch.manual_seed(settings.seed)  # adapters begin at random; the trainer seeds only what comes later
            add_lora(student, settings.lora_rank)
        else:
            computing.enter_context(frozen_layers(student, settings.freeze_layers or 0))
        computing.enter_context(_computing(loss, settings, precision))
        wrapped, collator = _wrapped(loss, settings, retention), prompting(student, rows, prompts)

        def trainer_of(plan: BatchPlan, watch: Watch | None = None, callbacks: Any = ()) -> _Trainer:
            return _Trainer(
                plan,
                watch,
                model=student,
                args=_arguments(settings, plan, precision, work, folder.parent.name, student.device, development),
                train_dataset=data,
                loss=wrapped,
                evaluator=development,
                data_collator=collator,
                callbacks=[c for c in callbacks if c is not None],
            )

        fit = fit_of(settings, plan, trainer_of, development, checkpoints)
        if fit is not None:
            plan = _plan(store, settings.model_copy(update={"max_steps": fit.steps}), set_of_row, devices)
        log.info("training on %d %s for %d steps in %s: %s", len(data), what, plan.steps, precision, settings)
        recorder = Recorder(loss, plan.steps, plan.steps * plan.whole / len(data), wrapped)
        watch = Watch(student, store, plan, rate, fixed=settings.final_temperature is None, agreed=agreed)
        identity |= {"precision": precision, "steps": plan.steps}
        keeper = _keeper(checkpoints, identity, settings, recorder, best, watch)
        curve = computing.enter_context(tracked(settings.tracking, folder.parent))
        callbacks = [recorder, best, keeper, watch, _temperature(loss, settings), curve]
        trainer = trainer_of(plan, watch, callbacks)
        trainer.remove_callback(PrinterCallback)
        _go(trainer, keeper, settings)
        computing.close()  # the model that is saved is as it came
        writes = trainer.is_world_process_zero()
        _refuse(watch, recorder, best, folder, writes=writes)
        _plain(student, settings, best, writes=writes)
        average = None
        if writes:
            average = _average(student, settings, start, soup, development)
            _save(student, folder, keeper)
    _tell_unopposed(recorder.history())
    steps, kept = trainer.state.global_step, best and best.best
    return Trained(
        folder=folder,
        history=recorder.history(),
        development=pd.DataFrame(best.rows if best else [], columns=["step", SCORE]),
        steps=steps,
        seconds=recorder.seconds(),
        precision=precision,
        best_step=int(kept["step"]) if kept else steps,
        student=student,
        store=store,
        loss=options,
        settings=_settled(settings, fit, average),
        reading=read,
        prompts=prompts.told(),
        rate=rate,
        trend=watch.trend(),
        average=average,
        fit=fit,
    )


@contextlib.contextmanager
def _computing(loss: GISTLoss, settings: TrainSettings, precision: str) -> Iterator[None]:
    """Inside, the student attends and drops as the settings have it for the training."""
    student, _ = _student_and_store(loss)
    again = settings.gradient_checkpointing or (settings.matryoshka_dims and loss.options.mini_batch_size)
    with contextlib.ExitStack() as inside:
        if not again:  # what is computed again would be so by the attention of the last forward pass
            inside.enter_context(quick_attention(student, precision))
        if not settings.dropout:
            inside.enter_context(without_dropout(student))
        yield


def _prompts(student: SentenceTransformer, store: GuideStore, settings: TrainSettings) -> RowPrompts:
    """Write the settings' prompts into the student; those of the store's rows."""
    settle_prompts(student, settings.query_prompt, settings.document_prompt)
    prompts = RowPrompts.of(store.table, prompts_of(student))
    log.info("prompts of the student: %s", prompts_in_words(prompts.told()))
    if store.guide_id is not None:
        log.info("prompts of the guide: %s", prompts_in_words(store.guide_prompts))
    return prompts


def _refuse(watch: Watch, recorder: Recorder, best: KeepBest | None, folder: Path, *, writes: bool) -> None:
    """Raise a `ModelError` where the training spoilt the student; its history is kept."""
    try:
        watch.refuse(best_kept=best is not None and best.before_last)
    except ModelError:
        if writes:
            folder.parent.mkdir(parents=True, exist_ok=True)
            recorder.history().to_parquet(folder.parent / "history.parquet")
        raise


def _go(trainer: SentenceTransformerTrainer, keeper: Checkpoints | None, settings: TrainSettings) -> None:
    """Train, from the last checkpoint on if there is one; then what was taken for it is given back."""
    try:
        trainer.train(resume_from_checkpoint=keeper.resume() if keeper else None)
    finally:
        if keeper is not None:
            keeper.release()
        if settings.deterministic:
            torch.use_deterministic_algorithms(False)


def _keeper(
    folder: Path | None,
    identity: dict[str, object],
    settings: TrainSettings,
    recorder: Recorder,
    best: KeepBest | None,
    watch: Watch,
) -> Checkpoints | None:
    """What writes checkpoints, where there is a folder for them."""
    if folder is None:
        return None
    return Checkpoints(folder, identity, settings.checkpoint_minutes, recorder, best, watch)


def _settled(settings: TrainSettings, fit: Fit | None, average: Average | None) -> TrainSettings:
    """The settings, with what was left to the training as it was chosen."""
    chosen = {} if fit is None else {"max_steps": fit.steps}
    return settings.model_copy(update=chosen | ({} if average is None else {"keep_start": average.start_share}))


def _plain(student: SentenceTransformer, settings: TrainSettings, best: KeepBest | None, *, writes: bool) -> None:
    """Make the student a plain model of the best step; one process of all has the best weights."""
    if best is not None and writes:
        best.restore()
    if settings.lora_rank:
        merge_lora(student)


def _average(
    student: SentenceTransformer,
    settings: TrainSettings,
    start: Mapping[str, torch.Tensor] | None,
    others: Sequence[SentenceTransformer],
    development: DevelopmentScore | None,
) -> Average | None:
    """Average the student's weights, in place, with those of the others that help, and with its start's; None where
    there is nothing to average with."""
    score = None if development is None else lambda model: development(model)[SCORE]
    share = None if settings.keep_start == "auto" else settings.keep_start
    return average_in(student, others, start, share, score) if others or start is not None else None


def _save(student: SentenceTransformer, folder: Path, keeper: Checkpoints | None) -> None:
    """Write the model, and only then give up the checkpoints."""
    student.save(str(folder))
    keep_code(student, folder)
    if keeper is not None:
        keeper.remove()


def _rows(store: GuideStore, settings: TrainSettings) -> GuideStore | LabelledRows:
    """What is trained on. Raises DataError: no row carries a label."""
    if settings.train_on == "triplets":
        return store
    rows = store.labelled_texts()
    if not len(rows.row_ids):
        raise DataError("train_on is 'labelled', but no row has an anchor_label. Leave train_on out, for triplets.")
    if rows.left_out:
        log.warning(
            "%d of %d rows have no anchor_label and are left out (train_on: labelled)", rows.left_out, len(store.table)
        )
    return rows


def _plan(
    store: GuideStore, settings: TrainSettings, set_of_row: Sequence[int] | np.ndarray | None, devices: int
) -> BatchPlan:
    sets = np.zeros(len(store.table), dtype=int) if set_of_row is None else np.asarray(set_of_row)
    given: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "steps": settings.max_steps,
        "passes": settings.epochs,
        "mix": settings.part(Mix),
        "seed": settings.seed,
        "devices": devices,
    }
    if settings.train_on == "triplets":
        return BatchPlan(sets, **given)
    rows = store.labelled_texts()
    members = rows.members(sets)
    centroids = None
    if settings.meet == "confusable":
        centroids = np.stack([rows.centroid(texts) for _, texts in classes_of(members)])
    return ClassPlan(members, texts_per_class=settings.texts_per_class, centroids=centroids, **given)


def _tell_unopposed(history: pd.DataFrame) -> None:
    """Say so where rows had no negative, or no positive: they teach nothing."""
    for column, what in (("without_negatives", "negative"), ("without_positives", "positive")):
        share = history[column].mean()
        if share > _MANY:
            log.warning("%.0f %% of the rows met no %s in their batch: they taught nothing", 100 * share, what)


class _Trainer(SentenceTransformerTrainer):
    """The trainer, with the batches of a plan; tells each step's loss to the watch."""

    def __init__(self, plan: BatchPlan, watch: Watch | None, **options: Any) -> None:
        self.plan, self.watch = plan, watch
        super().__init__(**options)

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        whole = super().training_step(*arguments, **options)
        if self.watch is not None:
            self.watch.add(own_loss(self.loss, whole).detach())
        return whole

    def get_batch_sampler(self, *_: Any, **__: Any) -> BatchPlan:
        return self.plan


def choose_precision(wanted: Precision, student: SentenceTransformer) -> str:
    """`wanted`, or for "auto" bfloat16 where the hardware has it and there are matrix products to gain from."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if native_bfloat16(student) else "float32"


def _student_and_store(loss: GISTLoss) -> tuple[SentenceTransformer, GuideStore]:
    if not isinstance(loss.model, SentenceTransformer) or not isinstance(loss.guide, GuideStore):
        raise ParameterError(
            f"The loss is on a {type(loss.model).__name__} and a {type(loss.guide).__name__}. Training needs "
            "GISTLoss(student, store): a SentenceTransformer and a GuideStore."
        )
    return loss.model, loss.guide


def _wrapped(loss: GISTLoss, settings: TrainSettings, retention: Retention | None) -> nn.Module:
    """The loss, at several dimensions and with what holds the student, where these are asked for."""
    dims = settings.matryoshka_dims
    wrapped: nn.Module = MatryoshkaLoss(loss.model, loss, list(dims)) if dims else loss
    return wrapped if retention is None else RetentionLoss(loss.model, wrapped, retention)


def _arguments(
    settings: TrainSettings,
    plan: BatchPlan,
    precision: str,
    folder: Path,
    run_name: str,
    device: torch.device,
    development: DevelopmentScore | None,
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
        fp16=precision == "float16",  # with a gradient scaler, accelerate's
        use_cpu=device.type == "cpu",
        ddp_backend="gloo" if plan.devices > 1 and device.type == "cpu" else None,
        activation_checkpointing=settings.gradient_checkpointing,
        seed=settings.seed,
        data_seed=settings.seed,
        full_determinism=settings.deterministic,
        logging_steps=log_every,
        logging_first_step=True,
        eval_strategy="no" if development is None else "steps",
        eval_steps=settings.dev_every or max(1, plan.steps // 10),
        save_strategy="no",  # `Checkpoints` says when
        save_total_limit=2,
        report_to="none",  # `tracked` says where to
        project="gisttools",
        run_name=run_name,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    # several GPUs are for torchrun; DataParallel would split the loss's batch
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _identity(loss: GISTLoss, settings: TrainSettings, retention: Retention | None) -> dict[str, object]:
    """What makes this training the one that a checkpoint belongs to, but for its length; of a student as it begins."""
    student, store = _student_and_store(loss)
    return {
        "student": weights_sha(student),
        "data": store.fingerprint,
        "guide": store.guide_id,
        "loss": loss.get_config_dict(),
        "retention": None if retention is None else retention.identity,
        # but for what bears on no step
        **settings.model_dump(exclude={"checkpoint_minutes", "tracking", "keep_start"}),
    }


def _identifying(prompts: RowPrompts) -> list[dict[str, object]] | None:
    """The prompts of a training's rows; None for none, as checkpoints of earlier versions have it."""
    return prompts.told() if prompts.pairs != [("", "")] else None


def _temperature(loss: GISTLoss, settings: TrainSettings) -> TemperatureSchedule | None:
    return None if settings.final_temperature is None else TemperatureSchedule(loss, settings.final_temperature)


def _card_examples(student: SentenceTransformer, data: Dataset) -> None:
    """Examples for the model card, of a triplet table; left to itself the trainer draws them, under a bar that no
    switch hides."""
    texts = [data[0]["anchor"], data[0]["positive"], data[len(data) // 2]["anchor"]]
    student.model_card_data.widget = [{"source_sentence": texts[0], "sentences": texts[1:]}]
    student.model_card_data.usage_examples = texts
