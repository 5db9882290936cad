"""What happens beside the steps of a training: the history, the progress line, the temperature."""

from __future__ import annotations

import time
from dataclasses import replace

import pandas as pd
from transformers import TrainerCallback

from gisttools.common import tqdm
from gisttools.loss import BLOCKS, GISTLoss
from gisttools.retention import RetentionLoss

COLUMNS = ("step", "epoch", "loss", "learning_rate", "temperature", "retention", *(f"masked_{name}" for name in BLOCKS))


class Recorder(TrainerCallback):
    """Keeps loss, learning rate, temperature, retention and masked shares of each logged step; shows one progress line.

    The loss is the whole of it; `retention`, where there is one, is the mean distance before it is weighed.

    Args:
        loss: whose masked shares and temperature are kept.
        steps: of the whole training.
        epochs: passes over the rows in these steps.
    """

    def __init__(self, loss: GISTLoss, steps: int, epochs: float) -> None:
        self.loss, self.steps, self.epochs, self.rows = loss, steps, epochs, []
        self.seconds_before, self.started = 0.0, time.monotonic()
        self.retention: RetentionLoss | None = None

    def seconds(self) -> float:
        """Seconds of training, over all processes that worked on it one after the other."""
        return self.seconds_before + time.monotonic() - self.started

    def on_train_begin(self, args, state, control, **_):
        hidden = not state.is_world_process_zero
        self.bar = tqdm(total=self.steps, initial=state.global_step, desc="training", unit="step", disable=hidden)
        self.started = time.monotonic()

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            shares = {f"masked_{name}": share for name, share in self.loss.masked_shares().items()}
            epoch = self.epochs * state.global_step / self.steps
            row = {"step": state.global_step, "epoch": epoch, "loss": logs["loss"]}
            row |= {"learning_rate": logs.get("learning_rate"), "temperature": self.loss.options.temperature}
            row["retention"] = self.retention.mean_distance() if self.retention else None
            self.rows.append({**row, **shares})
            self.bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)

    def on_train_end(self, args, state, control, **_):
        self.bar.close()

    def history(self) -> pd.DataFrame:
        """One row for each logged step; columns as in `COLUMNS`."""
        return pd.DataFrame(self.rows, columns=list(COLUMNS)).astype(dict.fromkeys(COLUMNS[5:], float))


class TemperatureSchedule(TrainerCallback):
    """Moves the loss's temperature in a straight line from where it stands to `final` at the last step."""

    def __init__(self, loss: GISTLoss, final: float) -> None:
        self.loss, self.first, self.final = loss, loss.options.temperature, final

    def on_step_begin(self, args, state, control, **_):
        done = state.global_step / max(1, state.max_steps - 1)
        temperature = self.first + (self.final - self.first) * min(done, 1.0)
        self.loss.options = replace(self.loss.options, temperature=temperature)
