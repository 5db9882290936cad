"""Chooses how many steps fit into a time budget: some are timed before the first that counts.

The length must be known before the first step, for the learning rate falls over all of them. So forward pass, backward
pass and the optimiser's step are timed on the first batches, and weights, optimiser and randomness are then as they
were: a training of so many steps told by `max_steps` gives the same model.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformerTrainer

from gisttools.common import doing, notice
from gisttools.training.batches import BatchPlan
from gisttools.training.callbacks import TRAINING, DevelopmentScore, agreed, read_object
from gisttools.training.options import TrainSettings
from gisttools.training.soup import weights_of

log = logging.getLogger(__name__)
_WARM_UP = 2  # steps that are slower than the others: memory is taken, kernels are chosen
_TIMED, _MOST = 3, 20  # steps timed, at least and at most
_SHARE = 0.02  # of the budget, that is timed where three steps are over sooner
_FEW = 20  # steps that hardly teach anything


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How many steps a training takes that has a time budget, and why.

    Attributes:
        minutes: the budget.
        steps: chosen.
        asked: for by the rows, as many as `epochs` says.
        seconds_a_step: measured, with forward and backward pass, optimiser and tokens; None where the steps are those
            of a training that was stopped.
        seconds_a_look: at the development data; 0 without.
        timed: steps that were measured.
    """

    minutes: float
    steps: int
    asked: int
    seconds_a_step: float | None = None
    seconds_a_look: float = 0.0
    timed: int = 0

    def words(self) -> str:
        """`max_minutes 5: 137 of the 400 steps that epochs ask for, at 2.1 s a step; max_steps 137 repeats it`."""
        text = f"max_minutes {self.minutes:g}: "
        if self.seconds_a_step is None:
            return f"{text}{self.steps} steps, as chosen before this training was stopped"
        text += f"all {self.steps} steps" if self.steps == self.asked else f"{self.steps} of the {self.asked} steps"
        text += (
            f" that epochs ask for {'fit' if self.steps == self.asked else 'fit in'}, at {self.seconds_a_step:.3g} s a"
        )
        text += f" step (mean of {self.timed})"
        if self.seconds_a_look:
            text += f" and {self.seconds_a_look:.2g} s a look at the development data"
        return f"{text}; max_steps {self.steps} repeats it"

    def told(self) -> dict[str, object]:
        """JSON values."""
        return {
            "max_minutes": self.minutes,
            "steps": self.steps,
            "asked": self.asked,
            "seconds_a_step": self.seconds_a_step,
            "seconds_a_look": self.seconds_a_look,
            "timed": self.timed,
        }


def fit_of(
    settings: TrainSettings,
    plan: BatchPlan,
    trainer_of: Callable[[BatchPlan], SentenceTransformerTrainer],
    development: DevelopmentScore | None,
    checkpoints: Path | None,
) -> Fit | None:
    """How many steps are to be taken; None where there is no time budget. All processes get the first one's answer.

    Args:
        settings: with `max_minutes`, or without.
        plan: all batches that the rows ask for.
        trainer_of: makes a trainer of a plan; it is used for timing alone.
        development: is looked at once, where there is some, for the looks are part of the budget.
        checkpoints: where a training that was stopped, and goes on, has left its steps.
    """
    if settings.max_minutes is None:
        return None
    minutes, before = settings.max_minutes, _before(checkpoints, settings)
    if before is not None:
        fit = Fit(minutes=minutes, steps=before, asked=plan.steps)
    else:
        began = time.monotonic()
        with doing("timing some steps"):
            trainer = trainer_of(plan)
            took = seconds_a_step(trainer, plan, _SHARE * 60 * minutes)
            look = 0.0 if development is None else _timed(lambda: development(trainer.model))
        left = 60 * minutes - (time.monotonic() - began)
        step = float(np.mean(took))
        steps = fitting(left, plan.steps, step, look, settings.dev_every)
        fit = Fit(
            minutes=minutes, steps=steps, asked=plan.steps, seconds_a_step=step, seconds_a_look=look, timed=len(took)
        )
        fit = agreed(fit)
    if fit.steps < min(_FEW, fit.asked):
        notice(f"{fit.words()}. So few steps hardly teach anything: allow more minutes.", level=logging.WARNING)
    else:
        notice(fit.words())
    return fit


def fitting(seconds: float, asked: int, step: float, look: float = 0.0, every: int | None = None) -> int:
    """The most steps that end in time, at least 1 and at most `asked`.

    Args:
        seconds: there are.
        asked: steps that the rows ask for.
        step, look: seconds for a step, and for a look at the development data.
        every: steps between two looks; None for a tenth of the training.
    """
    steps = max(1, min(asked, int(seconds / step) if step > 0 else asked))
    while steps > 1 and steps * step + steps // (every or max(1, steps // 10)) * look > seconds:
        steps -= 1
    return steps


def seconds_a_step(trainer: SentenceTransformerTrainer, plan: BatchPlan, enough: float) -> list[float]:
    """Seconds of some steps on the plan's first batches; the model is then as it was.

    Args:
        trainer: one that will not train.
        plan: its batches.
        enough: seconds after which no more steps than three are timed.
    """
    model, took = trainer.model, []
    before, rank = weights_of(model), trainer.accelerator.process_index
    trainer.current_gradient_accumulation_steps = 1  # its own loop would say so
    optimiser = trainer.create_optimizer()
    for group in optimiser.param_groups:
        group["lr"] = 0.0  # or a few steps at the peak could carry the weights where vectors are no numbers
    for batch in plan.batches():
        rows = np.split(batch, plan.devices)[rank].tolist()
        took.append(_timed(partial(_step, trainer, rows)))
        counted = took[_WARM_UP:]
        due = len(counted) >= _TIMED and (sum(counted) >= enough or len(counted) >= _MOST)
        if agreed(due):
            break
    model.zero_grad()
    model.load_state_dict(before)
    trainer.optimizer = None
    return took[_WARM_UP:] or took[-1:]


def _step(trainer: Any, rows: list[int]) -> None:
    trainer.training_step(trainer.model, trainer.data_collator([trainer.train_dataset[row] for row in rows]))
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
    trainer.optimizer.step()
    trainer.model.zero_grad()


def _timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes, until the device is done."""
    began = time.monotonic()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - began


def _before(checkpoints: Path | None, settings: TrainSettings) -> int | None:
    """The steps that a training of this budget, which was stopped, had chosen."""
    told: Mapping[str, Any] = (checkpoints and read_object(checkpoints / TRAINING)) or {}
    steps = told.get("steps") if told.get("max_minutes") == settings.max_minutes else None
    return steps if isinstance(steps, int) and steps >= 1 else None
