"""The sides of `quality.py`: what people train an encoder with on labelled texts, each as its own library does it.

Every side gets a fresh encoder, the same labelled texts, a learning rate, and so many CPU seconds; its learning rate
rises over the first tenth of them and falls to zero by their end. All compute in bfloat16 where the hardware does.

- mnr, gist, cached_gist, triplet: losses of sentence-transformers (`MultipleNegativesRankingLoss`, `GISTEmbedLoss`,
  `CachedGISTEmbedLoss`, `BatchAllTripletLoss`) in its trainer: pairs of texts of one label, without duplicates in a
  batch; labelled texts grouped by label for triplets. The guide is the untouched student, the one that costs least.
- supcon: the loss of Khosla and others 2020 (arXiv 2004.11362, L_out) on labelled texts grouped by label.
- head: encoder and linear head by cross-entropy.
- setfit: pairs of 8 texts a label and a regression of their cosines to 1 and 0 (arXiv 2209.11055), the procedure of the
  package of that name.
- ours: what this project does where nothing is set; and its parts left out, one at a time.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

BATCH = 64
SHOTS = 8  # of SetFit
SAFE = 0.95  # of the seconds that are left: a step may take longer than those that were timed
SHORT = 20  # steps of a training that tells how many fit into the seconds; vectors are looked at after every second


def train(
    side: str,
    student: tuple[str, str | None],
    texts: Sequence[str],
    labels: Sequence[str],
    seed: int,
    rate: float,
    budget: float,
):
    """The trained encoder, and facts: steps, CPU seconds. `student`: name and revision of the encoder to start from."""
    from gisttools.models import open_model

    def fresh():
        return open_model(*student, device="cpu")

    names = sorted(set(labels))
    numbers = np.array([names.index(label) for label in labels])
    if side.startswith("ours"):
        return _ours(side, student, fresh, list(texts), list(labels), seed, rate, budget)
    started = time.process_time()
    model = fresh()
    steps = _PEERS[side](model, fresh, list(texts), numbers, seed, rate, started + budget)
    return model, {"steps": steps, "cpu_seconds": round(time.process_time() - started, 1)}


class SupCon(nn.Module):
    """L_out of supervised contrastive learning over unit vectors, one view a text."""

    def __init__(self, model, temperature: float = 0.05) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, features, labels):
        (column,) = features
        vectors = nn.functional.normalize(self.model(column)["sentence_embedding"].float(), dim=1)
        itself = torch.eye(len(vectors), dtype=torch.bool)
        scores = (vectors @ vectors.T / self.temperature).masked_fill(itself, float("-inf"))
        same = (labels[:, None] == labels[None, :]) & ~itself
        log_share = (scores - scores.logsumexp(1, keepdim=True)).masked_fill(~same, 0.0)
        has = same.any(1)
        return -(log_share.sum(1)[has] / same.sum(1)[has]).mean()


class Head(nn.Module):
    """Cross-entropy of a linear head on unit vectors."""

    def __init__(self, model, classes: int) -> None:
        super().__init__()
        self.model, self.linear = model, nn.Linear(model.get_embedding_dimension(), classes)

    def forward(self, features, labels):
        (column,) = features
        vectors = nn.functional.normalize(self.model(column)["sentence_embedding"].float(), dim=1)
        return nn.functional.cross_entropy(20 * self.linear(vectors), labels)


def _pairs(texts: list[str], numbers: np.ndarray, seed: int) -> dict:
    """Every text with another of its label, drawn anew for each of ten passes."""
    rng, of = np.random.default_rng(seed), {n: np.flatnonzero(numbers == n) for n in np.unique(numbers)}
    rows = []
    for _ in range(10):
        for row in rng.permutation(len(texts)):
            others = of[numbers[row]]
            other = others[rng.integers(len(others))]
            if texts[other] != texts[row]:
                rows.append((texts[row], texts[other]))
    return {"anchor": [a for a, _ in rows], "positive": [p for _, p in rows]}


def _mnr(student, fresh, texts, numbers, seed, rate, until):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    return fit(student, MultipleNegativesRankingLoss(student), _pairs(texts, numbers, seed), seed, rate, until)


def _gist(student, fresh, texts, numbers, seed, rate, until):
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss

    loss = GISTEmbedLoss(student, fresh(), temperature=0.05)
    return fit(student, loss, _pairs(texts, numbers, seed), seed, rate, until)


def _cached_gist(student, fresh, texts, numbers, seed, rate, until):
    from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss

    loss = CachedGISTEmbedLoss(student, fresh(), temperature=0.05, mini_batch_size=BATCH)
    return fit(student, loss, _pairs(texts, numbers, seed), seed, rate, until, batch=4 * BATCH)


def _triplet(student, fresh, texts, numbers, seed, rate, until):
    from sentence_transformers.sentence_transformer.losses import BatchAllTripletLoss
    from sentence_transformers.sentence_transformer.losses.batch_hard_triplet import (
        BatchHardTripletLossDistanceFunction as Distance,
    )

    loss = BatchAllTripletLoss(student, Distance.cosine_distance, margin=0.5)
    return fit(student, loss, _columns(texts, numbers), seed, rate, until, "group_by_label")


def _supcon(student, fresh, texts, numbers, seed, rate, until):
    return fit(student, SupCon(student), _columns(texts, numbers), seed, rate, until, "group_by_label")


def _head(student, fresh, texts, numbers, seed, rate, until):
    return fit(student, Head(student, numbers.max() + 1), _columns(texts, numbers), seed, rate, until, "batch_sampler")


def _setfit(student, fresh, texts, numbers, seed, rate, until):
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(np.flatnonzero(numbers == n))[:SHOTS] for n in np.unique(numbers)])
    alike = [(a, b) for a, b in itertools.combinations(rows, 2) if numbers[a] == numbers[b]]
    unlike = []
    while len(unlike) < len(alike):
        a, b = rng.choice(rows, 2, replace=False)
        if numbers[a] != numbers[b]:
            unlike.append((a, b))
    pairs = alike + unlike
    data = {
        "sentence1": [texts[a] for a, _ in pairs],
        "sentence2": [texts[b] for _, b in pairs],
        "score": [1.0] * len(alike) + [0.0] * len(unlike),
    }
    return fit(student, CosineSimilarityLoss(student), data, seed, rate, until, "batch_sampler")


def _columns(texts: list[str], numbers: np.ndarray) -> dict:
    return {"text": texts, "label": numbers.tolist()}


def fit(student, loss, data: dict, seed: int, rate: float, until: float, sampler="no_duplicates", batch=BATCH) -> int:
    """Train in sentence-transformers' trainer until the process has used so many CPU seconds; the number of steps."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from transformers import TrainerCallback

    from gisttools.training import choose_precision

    begun = time.process_time()

    def share(_: int) -> float:
        """Of the peak rate, by the time that has passed: warm-up over a tenth, then down in a straight line."""
        passed = min((time.process_time() - begun) / (until - begun), 1.0)
        return min(max(passed, 0.005) / 0.1, (1 - passed) / 0.9)

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = control.should_training_stop or time.process_time() >= until

    with tempfile.TemporaryDirectory() as scratch:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=scratch,
            max_steps=100_000,
            per_device_train_batch_size=batch,
            bf16=choose_precision("auto", student) == "bfloat16",
            use_cpu=True,
            seed=seed,
            batch_sampler=sampler,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        )
        parameters = {id(p): p for p in itertools.chain(student.parameters(), loss.parameters()) if p.requires_grad}
        own = [p for p in loss.parameters() if id(p) not in {id(q) for q in student.parameters()}]
        own = own if isinstance(loss, Head) else []
        for p in own:
            del parameters[id(p)]
        if hasattr(loss, "guide"):
            for p in loss.guide.parameters():
                parameters.pop(id(p), None)
        groups = [{"params": list(parameters.values()), "lr": rate}, *([{"params": own, "lr": 1e-2}] if own else [])]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
        trainer = SentenceTransformerTrainer(
            model=student,
            args=arguments,
            train_dataset=Dataset.from_dict(data),
            loss=loss,
            callbacks=[Stop()],
            optimizers=(optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)),
        )
        trainer.train()
    student.eval()
    return int(trainer.state.global_step)


_PEERS = {
    "mnr": _mnr,
    "gist": _gist,
    "cached_gist": _cached_gist,
    "triplet": _triplet,
    "supcon": _supcon,
    "head": _head,
    "setfit": _setfit,
}


def _ours(side: str, named, open_student: Callable, texts, labels, seed: int, rate: float, budget: float):
    """As `gisttools run labelled` trains where nothing is set; the options behind a side's name leave a part out."""
    from gisttools.training import GISTLoss, finetune

    started = time.process_time()
    student = open_student()
    loss_options, settings, retention = ours_options(side, named, student)
    store = labelled_store(texts, labels, seed)

    class Clocked(GISTLoss):
        """Tells when its steps began."""

        def forward(self, *given):
            began.append(time.process_time())
            return super().forward(*given)

    def steps_of(model, steps: int) -> float:
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as scratch:
            asked = settings.model_copy(update={"max_steps": steps, "learning_rate": rate, "seed": seed})
            finetune(Clocked(model, store, loss_options), Path(scratch) / "model", asked, retention=retention)
        return time.process_time() - begun

    began: list[float] = []
    ready = time.process_time() - started
    short = steps_of(open_student(), SHORT)
    a_step = float(np.mean(np.diff(began)[4::2]))  # the first are slower
    steps = max(2, SHORT + int(SAFE * (budget - ready - short) / a_step))
    spent = ready + steps_of(student, steps)
    return student, {"steps": steps, "cpu_seconds": round(spent, 1)}


def labelled_store(texts: Sequence[str], labels: Sequence[str], seed: int, guide=None, several: bool = False):
    """What a `GISTLoss` knows of labelled texts: each with another of its label, drawn by the seed. `several`: labels
    are joined by " | ", and the other text has all of them too."""
    from gisttools.data import make_triplets_from_columns
    from gisttools.training import GuideStore

    rng, of = np.random.default_rng(seed), {name: np.flatnonzero(np.asarray(labels) == name) for name in set(labels)}
    partner = [texts[of[label][rng.integers(len(of[label]))]] for label in labels]
    columns = {"anchor": texts, "positive": partner, "anchor_label": labels, "positive_label": labels}
    columns |= {"task_type": ["MultilabelClassification"] * len(texts)} if several else {}
    table = make_triplets_from_columns({name: pa.array(values) for name, values in columns.items()}, len(texts))
    return GuideStore.build(table, guide)


def ours_options(side: str, named: tuple[str, str | None], student):
    """Loss options, training settings and what holds the student: all as they are where nothing is set, but for what
    the side's name leaves out."""
    from gisttools.models import GuideOptions, VectorCache, is_static
    from gisttools.training import LossOptions, Retention, TrainSettings, general_texts

    left_out = side.partition("-")[2]
    options = LossOptions(temperature=0.05, same_label="mask" if left_out == "mask" else None)
    changed = {"start": {"keep_start": 0.0}, "whole": {"freeze_layers": 0}}
    settings = TrainSettings(**changed.get(left_out, {}))
    retention = None
    if left_out != "unheld" and not is_static(student):
        retention = Retention(
            general_texts(), VectorCache(GuideOptions(name=named[0], revision=named[1], precision="float32"))
        )
    return options, settings, retention
