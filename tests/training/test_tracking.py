"""Trackers: each gets the curve that the run keeps, and what is missing is said with the extra that has it."""

from __future__ import annotations

import struct
import tomllib
from typing import get_args

import numpy as np
import pytest
from helpers import ROOT
from helpers.training_rows import table, train

from gisttools.training import missing_tracker
from gisttools.training.options import Tracking
from gisttools.workflow.early import early_problems
from gisttools.workflow.params import check_params


def test_tensorboard_gets_the_curve(guide, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained = train(table(), guide, tmp_path / "model", max_steps=4, tracking="tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    np.testing.assert_allclose([e.value for e in events.Scalars("train/loss")], trained.history["loss"], rtol=1e-5)


def test_mlflow_gets_the_curve_of_each_training_in_a_file_of_its_own(guide, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs gisttools[mlflow]")
    pytest.importorskip("sqlalchemy", reason="needs gisttools[mlflow]")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        trained = train(table(), guide, tmp_path / name / "model", max_steps=4, tracking="mlflow")
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path / name / 'mlflow.db'}")
        (run,) = client.search_runs([client.get_experiment_by_name("gisttools").experiment_id])
        assert (run.info.status, run.info.run_name) == ("FINISHED", name)
        losses = [metric.value for metric in client.get_metric_history(run.info.run_id, "loss")]
        np.testing.assert_allclose(losses, trained.history["loss"], rtol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def logged(content: bytes):
    """The records of W&B's own file, LevelDB's log: blocks of 32 KiB, records whole (1) or in parts (2 to 4)."""
    place, whole = 7, b""  # behind its name and version
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


def test_wandb_gets_the_curve_offline(guide, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs gisttools[wandb]")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    trained = train(table(), guide, tmp_path / "model", max_steps=4, tracking="wandb")
    assert wandb.run is None
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    losses = []
    for record in map(wandb_internal_pb2.Record.FromString, logged(file.read_bytes())):
        items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
        losses += [float(items["train/loss"])] if "train/loss" in items else []
    np.testing.assert_allclose(losses, trained.history["loss"], rtol=1e-5)


@pytest.mark.parametrize("tracking", get_args(Tracking))
def test_a_tracker_that_is_not_installed_is_refused_with_its_extra_before_anything(monkeypatch, tracking):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = missing_tracker(tracking)
    assert told.endswith(f'not installed: pip install "gisttools[{tracking}]"')
    assert told in early_problems(check_params("finetune", {"tracking": tracking}).model_dump())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert tracking in extras
