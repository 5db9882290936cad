"""Trains an encoder together with a linear head by cross-entropy on labelled texts: what is tried first.

The plain way to fine-tune a classifier, as a measure for others: no guide, no pairs. It gets as many steps and texts a
step as the training that it is held against. A model that was trained is kept under all that decides it, so that the
same one is never trained twice.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from pydantic import Field
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn
from torch.nn import functional

from gisttools.common import DataError, GistError, Options, cache_folder, digest, first_line, tqdm
from gisttools.models import (
    Classifier,
    Linear,
    keep_code,
    open_model,
    prompts_of,
    read_linear,
    reading_sha,
    weights_sha,
)
from gisttools.training.options import TrainSettings
from gisttools.training.rates import rate_of

log = logging.getLogger(__name__)
_FORMAT = 2  # of what is trained; models of another one are trained anew
_SCALE = 20.0  # of unit vectors, as a temperature of 0.05 in the contrastive loss
_HEAD_RATE = 1e-3  # of the head, which starts at zero
_WARMUP = 0.1  # of the steps
_CLIP = 1.0
Opener: TypeAlias = Callable[[], SentenceTransformer]


class HeadOptions(Options):
    """How an encoder is trained with a linear head by cross-entropy."""

    about = "training with a linear head"

    steps: int = Field(ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="texts a step")
    learning_rate: float | None = Field(None, gt=0, description="peak, of the encoder; null: as of `TrainSettings`")
    seed: int = Field(42, description="of the order of texts and of dropout")


def train_head(
    open_student: Opener,
    texts: Sequence[str],
    labels: Sequence[str],
    options: HeadOptions,
    *,
    folder: Path | None = None,
) -> tuple[SentenceTransformer, Linear]:
    """The encoder and the linear classifier of its vectors, trained together.

    Logits are 20 · W·v/|v| + b, W and b from zero; AdamW without weight decay, the learning rate warmed up over a tenth
    of the steps and then lowered to zero in a straight line; every text once before any comes again.

    Args:
        open_student: gives the encoder to start from, fresh.
        texts, labels: (n,), of at least two labels.
        options: see `HeadOptions`.
        folder: where trained models are kept; `cache_folder()/heads` if None.

    Raises:
        DataError: numbers differ, or there is only one label.
    """
    if len(texts) != len(labels) or len(set(labels)) < 2:
        raise DataError(f"{len(texts):,} texts with {len(labels):,} labels, {len(set(labels))} of them different.")
    student = open_student()
    what = [_FORMAT, weights_sha(student), reading_sha(student), options.model_dump(), list(texts), list(labels)]
    kept = (folder or cache_folder() / "heads") / digest(repr(what), 16)
    if (kept / "done").exists():
        try:
            return open_model(str(kept)), read_linear(kept)[0]
        except GistError as error:
            log.warning("%s is damaged (%s); the model is trained again", kept, first_line(error))
    linear = _trained(student, texts, labels, options)
    _keep(student, linear, kept)
    return student, linear


def _trained(student: SentenceTransformer, texts: Sequence[str], labels: Sequence[str], options: HeadOptions) -> Linear:
    """Trains the student in place; returns its head."""
    names = sorted(set(labels))
    truth = torch.tensor([names.index(label) for label in labels], device=student.device)
    settings = TrainSettings(learning_rate=options.learning_rate)
    rng = np.random.default_rng(options.seed)
    with torch.random.fork_rng(devices=[student.device] if student.device.type == "cuda" else []):
        torch.manual_seed(options.seed)
        head = nn.Linear(int(student.get_embedding_dimension() or 0), len(names), device=student.device)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        groups = [
            {"params": [w for w in student.parameters() if w.requires_grad], "lr": rate_of(settings, student).value},
            {"params": list(head.parameters()), "lr": _HEAD_RATE},
        ]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)  # as the trainer does; half the passes
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share(step, options.steps))
        prompt = prompts_of(student).of(None, "Classification", searches=False)[0]
        student.train()
        places: list[int] = []
        for _ in tqdm(range(options.steps), desc="training with a linear head", unit="step", delay=3.0):
            while len(places) < min(options.batch_size, len(texts)):
                places += rng.permutation(len(texts)).tolist()
            batch, places = places[: options.batch_size], places[options.batch_size :]
            vectors = _vectors(student, [texts[i] for i in batch], prompt)
            loss = functional.cross_entropy(head(_SCALE * functional.normalize(vectors, dim=-1)), truth[batch])
            optimiser.zero_grad()
            loss.backward()
            for group in groups:
                nn.utils.clip_grad_norm_(group["params"], _CLIP)
            optimiser.step()
            schedule.step()
        student.eval()
    weights, bias = (w.detach().cpu().double().numpy() for w in (head.weight, head.bias))
    return Linear(labels=tuple(names), weights=_SCALE * weights, bias=bias)


def _vectors(student: SentenceTransformer, texts: list[str], prompt: str) -> Tensor:
    """(n, dimension), float32, with their gradient."""
    features = batch_to_device(student.preprocess(texts, prompt=prompt or None), student.device)
    return student(features)["sentence_embedding"].float()


def _share(step: int, steps: int) -> float:
    """Of the peak rate at a step."""
    warm = max(int(_WARMUP * steps), 1)
    return (step + 1) / warm if step < warm else max((steps - step) / max(steps - warm, 1), 0.0)


def _keep(student: SentenceTransformer, linear: Linear, kept: Path) -> None:
    """Write both; what is there counts once `done` is."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{kept.name}.", dir=kept.parent))
    try:
        student.save(str(scratch), create_model_card=False)
        keep_code(student, scratch)
        Classifier(encode=student.encode, linear=linear).save(scratch)
        (scratch / "done").touch()
        if not (kept / "done").exists():
            shutil.rmtree(kept, ignore_errors=True)
            scratch.replace(kept)
    except OSError as error:  # another process was faster, or the disk is full: it is trained all the same
        log.warning("%s is not kept: %s", kept, first_line(error))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
