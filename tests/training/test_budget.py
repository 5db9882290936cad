"""A time budget: as many steps as fit, chosen once, before the first; nothing else of the training changes."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch
from helpers import ROOT
from helpers.training_rows import MINILM, TEXTS, WORDLLAMA, table, train

from gisttools.common.errors import DataError, ParameterError
from gisttools.models.vectors import VectorCache
from gisttools.training import budget
from gisttools.training.callbacks import Recorder
from gisttools.training.options import MadeFrom, RetentionOptions, TrainSettings
from gisttools.training.retention import Retention


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    return VectorCache(MINILM, folder=tmp_path_factory.mktemp("guide"))


@pytest.fixture
def five(monkeypatch):
    """Five steps fit, whatever the clock says."""
    monkeypatch.setattr(budget, "fitting", lambda *_, **__: 5)


def cost(steps, step, look, every):
    return steps * step + look * sum(1 for n in range(1, steps + 1) if n % (every or max(1, steps // 10)) == 0)


@pytest.mark.parametrize("every", [None, 1, 7])
def test_the_most_steps_that_fit_are_taken(every):
    for seconds, step, look in product((0.0, 5.0, 61.0, 400.0), (0.3, 2.0), (0.0, 1.0, 30.0)):
        fits = [n for n in range(1, 301) if cost(n, step, look, every) <= seconds]
        found = budget.fitting(seconds, 300, step, look, every)
        assert found == max(fits, default=1)
        assert budget.fitting(seconds, 4, step, look, every) <= 4


@pytest.mark.parametrize(
    "given",
    [
        {},
        pytest.param(
            {"loss_options": {"mini_batch_size": 4}, "student": MINILM, "learning_rate": 1e-4}, marks=pytest.mark.slow
        ),
        pytest.param({"student": MINILM, "lora_rank": 4, "learning_rate": 1e-2}, marks=pytest.mark.slow),
        {"retain": True, "matryoshka_dims": [256, 32], "weight_decay": 0.1, "final_temperature": 0.02},
        {"mix": "round_robin", "batches": "one_set", "sets": [0] * 6 + [1] * 6, "batch_size": 4},
    ],
    ids=["static", "micro-batches", "lora", "retention", "sets"],
)
def test_the_same_number_of_steps_gives_the_same_model_and_curve(guide, tmp_path, five, given):
    def once(name, **length):
        told = dict(given)
        if told.pop("retain", False):
            start = VectorCache(WORDLLAMA, folder=tmp_path / "start")
            texts = [text for several in TEXTS.values() for text in several]
            told["retention"] = Retention(texts, start, RetentionOptions(texts_a_step=4))
        return train(table(), guide, tmp_path / name, **told, **length)

    timed, told = once("timed", epochs=30, max_minutes=0.01), once("told", max_steps=5)
    assert (timed.steps, timed.fit.timed >= 3) == (5, True)
    weights = told.student.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in timed.student.state_dict().items())
    assert timed.history.drop(columns="epoch").equals(told.history.drop(columns="epoch"))


def test_the_learning_rate_falls_over_the_steps_that_are_taken(guide, tmp_path, five):
    rates = train(table(), guide, tmp_path / "model", epochs=500, max_minutes=0.01, warmup_ratio=0.0).history
    np.testing.assert_allclose(rates["learning_rate"], 1e-2 * (1 - np.arange(5) / 5), atol=1e-9)


def test_what_was_chosen_stands_in_the_record_and_is_told(guide, tmp_path, five, caplog):
    with caplog.at_level(logging.INFO, logger="gisttools"):
        trained = train(table(), guide, tmp_path / "model", epochs=30, max_minutes=0.01)
    summary = trained.summary(MadeFrom(student=WORDLLAMA))
    assert summary["settings"]["max_steps"] == summary["steps_chosen"]["steps"] == summary["steps"] == 5
    assert summary["steps_chosen"]["asked"] == 60
    assert json.loads(json.dumps(summary["steps_chosen"])) == summary["steps_chosen"]
    assert "max_minutes 0.01: 5 of the 60 steps that epochs ask for fit in" in caplog.text
    assert "max_steps 5 repeats it" in caplog.text
    assert "So few steps hardly teach anything" in caplog.text
    assert trained.headline().endswith("; 60 steps asked for, max_minutes 0.01")


def test_no_more_steps_are_taken_than_the_rows_ask_for(guide, tmp_path):
    trained = train(table(), guide, tmp_path / "model", epochs=2, max_minutes=60.0)
    assert trained.steps == trained.fit.asked == 4
    assert "asked for" not in trained.headline()


def test_the_time_is_about_what_was_allowed(guide, tmp_path):
    trained = train(table(), guide, tmp_path / "model", epochs=10_000, max_minutes=0.1)
    assert 1 <= trained.steps < 20_000
    assert trained.seconds < 4 * 6  # other work may begin meanwhile


def test_a_training_that_goes_on_keeps_its_steps(guide, tmp_path, five, monkeypatch):
    given = {"epochs": 30, "max_minutes": 0.01, "checkpoints": tmp_path / "checkpoints", "checkpoint_minutes": 0}
    kept = Recorder.on_log

    def stopped(self, args, state, *rest, **more):
        if state.global_step == 3:
            raise KeyboardInterrupt
        kept(self, args, state, *rest, **more)

    with monkeypatch.context() as broken:
        broken.setattr(Recorder, "on_log", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(table(), guide, tmp_path / "model", **given)
    monkeypatch.setattr(budget, "fitting", lambda *_, **__: 9)  # the machine is faster now
    monkeypatch.setattr(budget, "seconds_a_step", lambda *_: 1 / 0)
    trained = train(table(), guide, tmp_path / "model", **given)
    told = train(table(), guide, tmp_path / "told", max_steps=5)
    assert trained.steps == 5
    assert "as chosen before this training was stopped" in trained.fit.words()
    assert trained.history["loss"].tolist() == told.history["loss"].tolist()


def test_another_budget_is_another_training(guide, tmp_path, five, monkeypatch):
    given = {"epochs": 30, "checkpoints": tmp_path / "checkpoints"}
    with monkeypatch.context() as broken:
        broken.setattr(Recorder, "on_log", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(table(), guide, tmp_path / "model", **given, max_minutes=0.01)
    with pytest.raises(DataError, match=r"another training \(.*max_minutes: 0.01 there, 0.02 now"):
        train(table(), guide, tmp_path / "model", **given, max_minutes=0.02)


def test_two_lengths_are_refused():
    with pytest.raises(ParameterError, match="max_steps is 3 and max_minutes 5: the latter chooses the steps"):
        TrainSettings(max_steps=3, max_minutes=5.0)


@pytest.mark.slow
def test_two_processes_take_equally_many_steps(tmp_path):
    given = json.dumps({"folder": str(tmp_path), "epochs": 100, "max_minutes": 0.05, "batch_size": 4})
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    tests = ROOT / "tests"
    done = subprocess.run(
        [sys.executable, *command, str(tests / "helpers" / "training_rows.py"), given],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tests}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    weights = [np.load(tmp_path / f"weights_{rank}.npy") for rank in (0, 1)]
    np.testing.assert_array_equal(*weights)
