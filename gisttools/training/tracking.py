"""Sends the curve of a training to a tracker too, by transformers' own callbacks: TensorBoard, trackio, MLflow, W&B."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# transformers is imported where it is used: what is missing is said before anything that takes a second
if TYPE_CHECKING:
    from transformers import TrainerCallback

_PROJECT = "gisttools"
_NEEDS = {  # packages, as they are imported; of MLflow's own file also those that read it
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
}


def missing_tracker(tracking: str | None) -> str | None:
    """What is not installed of a tracker, and the command that installs it; None where all is there."""
    missing = [name for name in _NEEDS.get(tracking or "", ()) if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    lacks = "it is" if missing == [tracking] else f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'}"
    return f'tracking is {tracking!r}, but {lacks} not installed: pip install "gisttools[{tracking}]"'


@contextlib.contextmanager
def tracked(tracking: str | None, folder: Path) -> Iterator[TrainerCallback | None]:
    """The callback of a tracker, set by the tracker's own environment variables; its run ends with the block.

    Args:
        folder: of the run. TensorBoard's and W&B's files lie in it, and MLflow's, where no MLFLOW_TRACKING_URI is told.
    """
    if tracking == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

        yield TensorBoardCallback(SummaryWriter(str(folder / "tensorboard")))
    elif tracking == "trackio":
        from transformers.integrations import TrackioCallback

        yield TrackioCallback()
    elif tracking == "mlflow":
        with _mlflow(folder) as callback:
            yield callback
    elif tracking == "wandb":
        with _wandb(folder) as callback:
            yield callback
    else:
        yield None


@contextlib.contextmanager
def _mlflow(folder: Path) -> Iterator[TrainerCallback]:
    import mlflow
    from transformers.integrations import MLflowCallback

    own = not mlflow.is_tracking_uri_set()
    with _defaults(MLFLOW_EXPERIMENT_NAME=_PROJECT):
        if own:
            folder.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').as_posix()}")
        before = mlflow.active_run()
        try:
            yield MLflowCallback()
        finally:
            if before is None and mlflow.active_run():  # the training failed: else the callback has ended it
                mlflow.end_run("FAILED")
            if own:
                mlflow.set_tracking_uri(None)


@contextlib.contextmanager
def _wandb(folder: Path) -> Iterator[TrainerCallback]:
    import wandb
    from transformers.integrations import WandbCallback

    before = wandb.run
    with _defaults(WANDB_PROJECT=_PROJECT, WANDB_DIR=str(folder)):
        failed = True
        try:
            yield WandbCallback()
            failed = False
        finally:
            if before is None and wandb.run is not None:  # the callback leaves it open, and another training would join
                wandb.finish(exit_code=int(failed))


@contextlib.contextmanager
def _defaults(**values: str) -> Iterator[None]:
    """Inside, environment variables have these values, unless they have one already."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)
