"""Refuses settings that do not fit a student, or that would do nothing, before a training begins."""

from __future__ import annotations

from datasets import Dataset
from sentence_transformers import SentenceTransformer

from gisttools.common import ModelError, ParameterError, problems
from gisttools.models import Reading, check_length, is_static, student_reading
from gisttools.training.callbacks import DevelopmentScore
from gisttools.training.freezing import layers_of
from gisttools.training.loss import GISTLoss
from gisttools.training.options import TrainSettings
from gisttools.training.store import GuideStore, sampled_texts
from gisttools.training.tracking import missing_tracker


def warn_unread(student: SentenceTransformer, table: Dataset, name: str = "") -> Reading | None:
    """How much a student reads of a triplet table's texts, with a warning where that is too little to learn from."""
    return student_reading(student, sampled_texts(table), name)


def check_fit(student: SentenceTransformer, settings: TrainSettings) -> None:
    """Refuse settings that do not fit the student.

    Raises:
        ModelError: a student without weights to train, such as an ONNX graph, or adapters for one without layers.
        ParameterError: a length beyond its positions, layers or dimensions it does not have, no layer that learns,
            a package that is not installed, float16 without CUDA; all problems at once.
    """
    if next(student.parameters(), None) is None:
        raise ModelError("This student has no weights that could be trained: is it ONNX? Name what it was made of.")
    if settings.lora_rank and is_static(student):
        raise ModelError(
            f"lora_rank is {settings.lora_rank}, but this student has no transformer layers. Set lora_rank to null."
        )
    found = [trouble for trouble in [check_length(student, settings.max_length, "max_length")] if trouble]
    if settings.max_length and is_static(student):
        found.append(f"max_length is {settings.max_length}, but a static student reads whole texts, whatever it says")
    layers = len(layers_of(student))
    if settings.freeze_layers and settings.freeze_layers >= layers:
        found.append(
            f"freeze_layers is {settings.freeze_layers}, but the student has {layers} layers: none would learn"
        )
    if settings.gradient_checkpointing and is_static(student):
        found.append("gradient_checkpointing is true, but this student has no transformer layers")
    dimension, dims = student.get_embedding_dimension(), settings.matryoshka_dims
    if any(d > dimension for d in dims):
        found.append(f"matryoshka_dims are {dims}, but the student has {dimension} dimensions")
    if settings.precision == "float16" and student.device.type != "cuda":
        found.append(
            f"precision is 'float16', but the student is on {student.device.type}: float16, with its loss scaling, is "
            "for GPUs of CUDA. Set precision to 'auto'"
        )
    if missing := missing_tracker(settings.tracking):
        found.append(missing)
    if found:
        raise ParameterError(problems("training settings:", found))


def check_use(loss: GISTLoss, settings: TrainSettings, development: DevelopmentScore | None) -> None:
    """Refuse options that would do nothing."""
    found, options = _labels_unused(loss, settings), loss.options
    if isinstance(loss.guide, GuideStore) and loss.guide.guide_id is None and options.margin:
        found.append(
            f"margin is {options.margin}, but the store has no guide: nothing has a similarity to keep away from"
        )
    told = [name for name in ("dev_every", "patience") if getattr(settings, name) is not None]
    if development is None and told:
        found.append(f"{' and '.join(told)} set, but there is no development data to look at")
    if development is None and settings.keep_start == "auto":
        found.append("keep_start is 'auto', but there is no development data to choose by")
    if loss.options.distill and isinstance(loss.guide, GuideStore):
        if loss.guide.guide_id is None:
            found.append(f"distill is {loss.options.distill:g}, but the store has no guide that could teach")
        elif settings.train_on == "labelled" or loss.options.of_same_label == "positive":
            found.append(f"distill is {loss.options.distill:g}, which is for triplets: here labels say what is alike")
    if found:
        raise ParameterError(problems("training:", found, "Leave these out."))


def _labels_unused(loss: GISTLoss, settings: TrainSettings) -> list[str]:
    """What does not go together of labels and the guide."""
    found, options, defaults = [], loss.options, TrainSettings.defaults()
    guided = isinstance(loss.guide, GuideStore) and loss.guide.guide_id is not None
    labelled = settings.train_on == "labelled"
    if labelled and options.of_same_label != "positive":
        found.append(
            f"train_on is 'labelled' and same_label {options.of_same_label!r}: texts of a label are each other's "
            "positives there, so set same_label to 'positive'"
        )
    for name in ("texts_per_class", "meet"):
        if not labelled and getattr(settings, name) != defaults[name]:
            found.append(f"{name} is {getattr(settings, name)!r}, which needs train_on 'labelled'")
    if labelled and settings.meet == "confusable" and not guided:
        found.append("meet is 'confusable', but the store has no guide that could confuse classes")
    if labelled and not (options.contrast_anchors and options.contrast_positives):
        found.append("contrast_anchors or contrast_positives is False: labelled texts are neither, they have one block")
    if options.positive_temperature is not None and not (guided and options.of_same_label == "positive"):
        found.append(
            f"positive_temperature is {options.positive_temperature}, which needs a guide and same_label 'positive'"
        )
    return found
