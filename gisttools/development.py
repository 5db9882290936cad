"""Scores on development data while training: which step was best, and when to stop.

Development data is what may be looked at as often as one likes: never a test split.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mteb
import numpy as np
import torch
from safetensors.torch import load_model, save_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from transformers import TrainerCallback

from gisttools.common import MissingError, ParameterError, problems
from gisttools.data import FILE_ENDINGS, has_split, load_task, local_tasks, mteb_task, parse_eval_name

log = logging.getLogger(__name__)
SPLITS = ("dev", "validation", "valid")
SCORE = "dev_score"


class DevelopmentScore(SentenceEvaluator):
    """Mean main score, 0 to 1, over development tasks; higher is better.

    Args:
        names: folders with a file called dev, validation or valid, as `folder` or `folder#kind`, scored by their first
            task (`gisttools.data.folder_tasks`); and mteb tasks with such a split.
        subsets: language subsets of multilingual tasks; all if None.
        batch_size: texts embedded at a time.

    Raises:
        MissingError: a folder or task has no development split.
    """

    def __init__(self, names: Sequence[str], *, subsets: Sequence[str] | None = None, batch_size: int = 64) -> None:
        super().__init__()
        self.names, self.subsets, self.batch_size = list(names), subsets, batch_size
        self.primary_metric = SCORE
        if not self.names:
            raise ParameterError("No development data was named. Name a folder with a dev file, or an mteb task.")
        found = [problem for name in self.names if (problem := _lacks_split(name))]
        if found:
            mend = "Development data is never a test split: hold out part of the train texts as dev.csv."
            raise MissingError(problems(f"{len(found)} problem(s) with the development data:", found, mend))

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        scores = {}
        with _own_randomness():  # mteb seeds all generators, and the training's dropout would start over
            for name in self.names:
                result = mteb.evaluate(
                    model,
                    _task(name, self.subsets),
                    cache=None,
                    encode_kwargs={"batch_size": self.batch_size, "show_progress_bar": False},
                    show_progress_bar=False,
                    co2_tracker=False,
                ).task_results[0]
                parts = [part["main_score"] for split in result.scores.values() for part in split]
                scores[name] = float(np.mean(parts))
        mean = float(np.mean(list(scores.values())))
        log.info("step %d: development score %.4f %s", steps, mean, scores)
        return {SCORE: mean}


class KeepBest(TrainerCallback):
    """Keeps the weights of the best step, and stops after `patience` scores without a better one.

    `rows`: one {"step", "dev_score"} for each time the development data was scored. All else follows from them, so
    that a training that was stopped goes on as if it had not been.

    Args:
        model: the student.
        file: where the best weights are kept.
        patience: None never stops early.
    """

    def __init__(self, model: SentenceTransformer, file: Path, patience: int | None = None) -> None:
        self.model, self.file, self.patience = model, file, patience
        self.rows: list[dict[str, float]] = []

    @property
    def best(self) -> dict[str, float] | None:
        """The row of the best score, the earliest of equals."""
        return max(self.rows, key=lambda r: r[SCORE], default=None)

    def on_evaluate(self, args, state, control, metrics=None, **_):
        self.rows.append({"step": state.global_step, SCORE: metrics[f"eval_{SCORE}"]})
        if self.best is self.rows[-1]:
            if state.is_world_process_zero:
                partial = self.file.with_suffix(".partial")
                save_model(self.model, str(partial))
                partial.replace(self.file)
        elif self.patience is not None:
            since = sum(r["step"] > self.best["step"] for r in self.rows)
            if since >= self.patience:
                log.info("stopped early: no better development score for %d times", since)
                control.should_training_stop = True

    def restore(self) -> None:
        """Put the best weights into the model."""
        if self.best is not None and self.best is not self.rows[-1]:
            load_model(self.model, str(self.file))


def _lacks_split(name: str) -> str | None:
    if _is_folder(name):
        if _dev_file(name) is None:
            return f"{name} holds no dev, validation or valid file ({', '.join(FILE_ENDINGS)})"
        return None
    splits = _splits(name)
    if not set(splits) & set(SPLITS):
        return f"mteb task {name} has no development split in its evaluation, only {', '.join(splits)}"
    return None


def _is_folder(name: str) -> bool:
    return parse_eval_name(name)[0].is_dir()


def _dev_file(name: str) -> str | None:
    return next((split for split in SPLITS if has_split(name, split)), None)


def _splits(name: str) -> list[str]:
    return list(mteb_task(name).metadata.eval_splits)


def _task(name: str, subsets: Sequence[str] | None):
    if _is_folder(name):
        return local_tasks(name, split=_dev_file(name))[0]
    split = next(s for s in SPLITS if s in _splits(name))
    task = mteb.get_task(name, eval_splits=[split], hf_subsets=None if subsets is None else list(subsets))
    load_task(task)
    return task


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Whatever happens inside, the random generators go on afterwards as if nothing had been drawn."""
    devices = list(range(torch.cuda.device_count()))
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
