"""Watches a training step by step: its history and temperature, its development scores, its checkpoints.

Development data is what may be looked at as often as one likes: never a test split. A checkpoint counts only with its
note (`note.json`), which is written last: a process killed while it writes leaves the one before.
"""

from __future__ import annotations

import json
import logging
import math
import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import mteb
import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from mteb.abstasks import AbsTask
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from gisttools.common import (
    DataError,
    GistError,
    MissingError,
    ParameterError,
    doing,
    problems,
    sha256,
    tqdm,
    whole_file,
    write_whole,
)
from gisttools.data import (
    DEV_SPLITS,
    FILE_ENDINGS,
    FileOptions,
    eval_folder,
    has_split,
    load_task,
    local_tasks,
    mteb_task,
    parse_eval_name,
    shares_of,
)
from gisttools.training.health import Watch
from gisttools.training.loss import BLOCKS, POSITIVES, GISTLoss
from gisttools.training.retention import RetentionLoss

log = logging.getLogger(__name__)
T = TypeVar("T")
SCORE = "dev_score"
NOTE, TRAINING = "note.json", "training.json"
_WAIT = 30  # seconds
COLUMNS = (
    "step",
    "epoch",
    "loss",
    "learning_rate",
    "temperature",
    "retention",
    *(f"masked_{name}" for name in BLOCKS),
    *POSITIVES,
)


class Recorder(TrainerCallback):
    """Keeps loss, learning rate, temperature, retention, masked shares and positives of each logged step; shows one
    progress line.

    The loss is the whole of it; `retention`, where there is one, is the mean distance before it is weighed.

    Args:
        loss: whose masked shares and temperature are kept.
        steps: of the whole training.
        epochs: passes over the rows in these steps.
        wrapped: the loss with what stands around it; its retention is kept, where there is one.
    """

    def __init__(self, loss: GISTLoss, steps: int, epochs: float, wrapped: nn.Module | None = None) -> None:
        self.loss, self.steps, self.epochs, self.rows = loss, steps, epochs, []
        self.seconds_before, self.started = 0.0, time.monotonic()
        self.retention = wrapped if isinstance(wrapped, RetentionLoss) else None

    def seconds(self) -> float:
        """Seconds of training, over all processes that worked on it one after the other."""
        return self.seconds_before + time.monotonic() - self.started

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        hidden = not state.is_world_process_zero
        self._forget()
        self.bar = tqdm(total=self.steps, initial=state.global_step, desc="training", unit="step", disable=hidden)
        self.started = time.monotonic()

    def _forget(self) -> None:
        """What was measured before the first step is of no step."""
        self.loss.masked_shares()
        self.loss.positives()
        if self.retention:
            self.retention.mean_distance()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.bar.update(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            shares = {f"masked_{name}": share for name, share in self.loss.masked_shares().items()}
            epoch = self.epochs * state.global_step / self.steps
            row = {"step": state.global_step, "epoch": epoch, "loss": logs["loss"]}
            row |= {"learning_rate": logs.get("learning_rate"), "temperature": self.loss.options.temperature}
            row["retention"] = self.retention.mean_distance() if self.retention else None
            self.rows.append({**row, **shares, **self.loss.positives()})
            self.bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.bar.close()

    def history(self) -> pd.DataFrame:
        """One row for each logged step; columns as in `COLUMNS`."""
        return pd.DataFrame(self.rows, columns=list(COLUMNS)).astype(dict.fromkeys(COLUMNS[5:], float))


class TemperatureSchedule(TrainerCallback):
    """Moves the loss's temperature in a straight line from where it stands to `final` at the last step."""

    def __init__(self, loss: GISTLoss, final: float) -> None:
        self.loss, self.first, self.final = loss, loss.options.temperature, final

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        done = state.global_step / max(1, state.max_steps - 1)
        temperature = self.first + (self.final - self.first) * min(done, 1.0)
        self.loss.options = self.loss.options.model_copy(update={"temperature": temperature})


class DevelopmentScore(SentenceEvaluator):
    """Mean main score, 0 to 1, over development tasks; higher is better.

    Args:
        names: folders with a file called dev, validation or valid, as `folder` or `folder#kind`, scored by their first
            task (`gisttools.data.folder_tasks`); files of which `reading` tells a `dev_share`; and mteb tasks with such
            a split.
        subsets: language subsets of multilingual tasks; all if None.
        batch_size: texts embedded at a time.
        reading: how labelled texts are read.

    Raises:
        MissingError: a folder or task has no development split.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        subsets: Sequence[str] | None = None,
        batch_size: int = 64,
        reading: FileOptions | None = None,
    ) -> None:
        super().__init__()
        self.names, self.subsets, self.batch_size = list(names), subsets, batch_size
        self.reading = reading or FileOptions()
        self.primary_metric = SCORE
        if not self.names:
            raise ParameterError("No development data was named. Name a folder with a dev file, or an mteb task.")
        found = [problem for name in self.names if (problem := _lacks_split(name, self.reading))]
        if found:
            fix = "Development data is never a test split: hold out part of the train texts as dev.csv."
            raise MissingError(problems(f"{len(found)} problem(s) with the development data:", found, fix))

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        scores = {}
        with (
            doing("scoring the development data"),
            _own_randomness(),
        ):  # mteb seeds all generators, and the training's dropout would start over
            for name in self.names:
                result = mteb.evaluate(
                    model,
                    _task(name, self.subsets, self.reading),
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

    @property
    def before_last(self) -> bool:
        """Are the weights that are kept those of an earlier look than the last?"""
        return self.best is not None and self.best is not self.rows[-1]

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        self.rows.append({"step": state.global_step, SCORE: (metrics or {})[f"eval_{SCORE}"]})
        best = max(range(len(self.rows)), key=lambda i: self.rows[i][SCORE])
        since = len(self.rows) - 1 - best
        if since == 0:
            if state.is_world_process_zero:
                with whole_file(self.file) as partial:
                    save_model(self.model, str(partial))
        elif self.patience is not None and since >= self.patience:
            log.info("stopped early: no better development score for %d times", since)
            control.should_training_stop = True

    def readable(self) -> bool:
        """Whether the best weights can be read, where there are some."""
        if not self.file.exists():
            return True
        try:
            with safe_open(str(self.file), framework="pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def restore(self) -> None:
        """Put the best weights into the model."""
        if self.before_last:
            load_model(self.model, str(self.file))


def _lacks_split(name: str, reading: FileOptions) -> str | None:
    if _is_folder(name):
        split = _dev_file(name, reading)
        if parse_eval_name(name)[0].is_file():
            try:
                eval_folder(name, split or "dev", reading, tell=False)
            except GistError as error:
                return str(error)
        if split is None:
            return f"{name} holds no dev, validation or valid file ({', '.join(FILE_ENDINGS)})"
        return None
    splits = _splits(name)
    if not set(splits) & set(DEV_SPLITS):
        return f"mteb task {name} has no development split in its evaluation, only {', '.join(splits)}"
    return None


def _is_folder(name: str) -> bool:
    return parse_eval_name(name)[0].exists()


def _dev_file(name: str, reading: FileOptions) -> str | None:
    """The split of a folder or file that is scored; None where there is none."""
    path, _ = parse_eval_name(name)
    own = next((split for split in DEV_SPLITS if has_split(name, split)), None)
    return own or ("dev" if path.is_file() or "dev" in shares_of(path, reading) else None)


def _splits(name: str) -> list[str]:
    return list(mteb_task(name).metadata.eval_splits)


def _task(name: str, subsets: Sequence[str] | None, reading: FileOptions) -> AbsTask:
    split = _dev_file(name, reading) if _is_folder(name) else None
    if split is not None:
        return local_tasks(name, split=split, reading=reading)[0]
    split = next(s for s in DEV_SPLITS if s in _splits(name))
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


class Checkpoints(TrainerCallback):
    """Saves every so many minutes, always right after a logged step, so that the loss curve has no seam.

    Args:
        folder: where checkpoints go; the same folder again means the same training again.
        identity: what the training is, in words; a folder of another training is refused.
        minutes: time between two checkpoints; 0 saves at every logged step.
        recorder, best, watch: whose rows and losses are kept in the note.

    Raises:
        DataError: the folder holds checkpoints of another training, or another process is at it.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, object],
        minutes: float,
        recorder: Recorder,
        best: KeepBest | None,
        watch: Watch,
    ) -> None:
        self.folder, self.minutes, self.recorder, self.best, self.watch = folder, minutes, recorder, best, watch
        self.saved = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder.with_suffix(".lock"))
        if os.environ.get("RANK", "0") == "0":
            try:
                self._lock.acquire(timeout=_WAIT)  # what is left of a killed run needs a moment to end
            except Timeout:
                raise DataError(f"Another process is training with the checkpoints in {folder}. Wait for it.") from None
        known, given = folder / TRAINING, json.loads(json.dumps(identity, default=str))
        before = read_object(known)
        if before is None:  # none yet, or it is damaged: then nothing says whose the checkpoints are
            self._set_aside([p.name for p in folder.glob("checkpoint-*")], "nothing tells which training they are of")
            write_whole(known, json.dumps(given))
        else:
            changed = [k for k in given if before.get(k) != given[k]]
            if changed:
                self.release()
                seen = "; ".join(f"{k}: {before.get(k)} there, {given[k]} now" for k in changed)
                raise DataError(f"{folder} holds checkpoints of another training ({seen}). Name another, or delete it.")

    def resume(self) -> str | None:
        """The newest whole checkpoint, with its rows given back to the recorder; None to begin at the beginning.

        One whose files are not as they were written is set aside, and the one before is taken.
        """
        there = [p for p in self.folder.glob("checkpoint-*") if p.name.rpartition("-")[2].isdigit()]
        if self.best is not None and not self.best.readable():
            self._set_aside([p.name for p in there], f"the best weights in {self.best.file.name} cannot be read")
            return None
        for folder in sorted(there, key=lambda p: int(p.name.rpartition("-")[2]), reverse=True):
            if not (folder / NOTE).exists():
                continue  # it was being written when the training was stopped
            note = read_object(folder / NOTE) or {}
            changed = _changed(folder, note.get("files"))
            if changed or not note.keys() >= {"rows", "seconds", "development"}:
                self._set_aside([folder.name], f"damaged: {', '.join(changed) or NOTE}")
                continue
            self.recorder.rows, self.recorder.seconds_before = note["rows"], note["seconds"]
            steps = int(folder.name.rpartition("-")[2])
            self.watch.losses = note.get("losses", [math.nan] * steps)  # notes of earlier versions have none
            if self.best is not None:
                self.best.rows = note["development"]
            log.info("going on from %s", folder.name)
            return str(folder)
        return None

    def _set_aside(self, names: Sequence[str], why: str) -> None:
        """Rename checkpoints so that they count no more, and say so."""
        if os.environ.get("RANK", "0") != "0":
            return
        for name in names:
            target = self.folder / f"damaged-{name}"
            shutil.rmtree(target, ignore_errors=True)
            (self.folder / name).rename(target)
        if names:
            log.warning("%s in %s set aside (%s); the training goes on without", ", ".join(names), self.folder, why)

    def release(self) -> None:
        """Let another training have the folder: in a notebook the next try comes from the same process."""
        self._lock.release()

    def remove(self) -> None:
        """Delete all checkpoints: the training has ended and its model is saved."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if control.should_log and state.global_step < state.max_steps:
            control.should_save = agreed(time.monotonic() - self.saved >= 60 * self.minutes)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.saved = time.monotonic()
        if dist.is_initialized():
            dist.barrier()  # every process has written its part
        if not state.is_world_process_zero:
            return
        folder = self.folder / f"checkpoint-{state.global_step}"
        note = {
            "rows": self.recorder.rows,
            "development": self.best.rows if self.best else [],
            "seconds": self.recorder.seconds(),
            "files": {p.relative_to(folder).as_posix(): sha256(p) for p in folder.rglob("*") if p.is_file()},
            "losses": self.watch.losses,
        }
        write_whole(folder / NOTE, json.dumps(note))


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _changed(folder: Path, files: object) -> list[str]:
    """The files of a checkpoint that are not as they were written, by their checksums; a note of an earlier version
    tells none, and its files are taken as they are."""
    if files is None:
        return []
    if not isinstance(files, dict):
        return [NOTE]
    return [name for name, told in files.items() if not (folder / name).is_file() or sha256(folder / name) != told]


def agreed(due: T) -> T:
    """Clocks differ between processes; the first one's counts."""
    if not dist.is_initialized():
        return due
    answer: list[Any] = [due]
    dist.broadcast_object_list(answer, src=0)
    return answer[0]
