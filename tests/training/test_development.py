"""Development data: never a test split, its best step is kept, scoring it leaves the randomness of training alone."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
import torch
from helpers.local_files import rows_of, write
from helpers.training_rows import table, train
from transformers import TrainerControl, TrainerState

from gisttools.common.errors import MissingError, ParameterError
from gisttools.models.loading import open_model
from gisttools.training.callbacks import SCORE, DevelopmentScore, KeepBest


@pytest.fixture
def folder(caretaker, tmp_path):
    """Labelled texts with a dev split and no test split."""
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(caretaker / "train.jsonl", folder / "train.jsonl")
    shutil.copy(caretaker / "test.jsonl", folder / "dev.jsonl")
    return folder


def test_a_folder_without_a_development_split_is_refused(caretaker):
    with pytest.raises(MissingError, match=r"holds no dev, validation or valid file.*\n.*never a test split"):
        DevelopmentScore([str(caretaker)])


def test_a_task_without_a_development_split_is_refused():
    with pytest.raises(MissingError, match="mteb task Banking77Classification has no development split"):
        DevelopmentScore(["Banking77Classification"])


def test_all_problems_are_named_at_once(caretaker):
    with pytest.raises(MissingError) as caught:
        DevelopmentScore([str(caretaker), "Banking77Classification", "AmazonCounterfactualClassification"])
    assert "2 problem(s)" in str(caught.value)


def test_no_names_are_refused():
    with pytest.raises(ParameterError, match="No development data"):
        DevelopmentScore([])


@pytest.mark.parametrize("kind", ["sts", "retrieval"])
def test_a_folder_of_any_kind_is_scored_by_its_dev_split(caretaker, tmp_path, wordllama, kind):
    for name, rows in rows_of(kind, caretaker).items():
        write(tmp_path / f"{name.replace('test', 'dev')}.jsonl", rows)
    scores = [DevelopmentScore([name])(wordllama)[SCORE] for name in (str(tmp_path), f"{tmp_path}#{kind}")]
    assert scores[0] == scores[1]
    assert -1 <= scores[0] <= 1


@pytest.mark.slow
def test_scoring_leaves_all_random_generators_where_they_were(folder, wordllama):
    score = DevelopmentScore([str(folder)])

    def draws():
        return random.random(), np.random.random(), float(torch.rand(()))

    def start():
        random.seed(5), np.random.seed(5), torch.manual_seed(5)

    start()
    expected = draws()
    start()
    value = score(wordllama)[SCORE]
    assert draws() == expected
    assert 0.25 < value <= 1  # four classes


def looks(keeper, scores):
    """Hand the keeper one score after the other; the step after which it stops the training, if it does."""
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    for step, score in enumerate(scores, 1):
        state.global_step = step
        with torch.no_grad():
            next(keeper.model.parameters()).fill_(step)
        keeper.on_evaluate(None, state, control, {f"eval_{SCORE}": score})
        if control.should_training_stop:
            return step
    return None


@pytest.mark.parametrize(
    ("scores", "patience", "stops", "best"),
    [
        ([0.1, 0.3, 0.2, 0.2, 0.9], 2, 4, 2),
        ([0.1, 0.3, 0.2, 0.4, 0.4], 2, None, 4),  # the earliest of equals
        ([0.5, 0.4, 0.3, 0.2], None, None, 1),
        ([0.5, 0.4], 1, 2, 1),
    ],
)
def test_the_best_step_is_kept_and_patience_ends(tmp_path, scores, patience, stops, best):
    model = torch.nn.Linear(2, 2)
    keeper = KeepBest(model, tmp_path / "best.safetensors", patience)
    assert looks(keeper, scores) == stops
    assert keeper.best["step"] == best
    keeper.restore()
    assert next(model.parameters())[0, 0] == best


@pytest.mark.slow
def test_a_training_keeps_the_weights_of_its_best_look(folder, tmp_path):
    """A learning rate far too high for these texts: later steps are worse than an early one."""
    development = DevelopmentScore([str(folder)])
    trained = train(
        table(), None, tmp_path / "model", development=development, dev_every=1, max_steps=6, learning_rate=0.5
    )
    assert trained.development["step"].tolist() == [1, 2, 3, 4, 5, 6]
    best = trained.development.loc[trained.development[SCORE].idxmax()]
    assert trained.best_step == best["step"]
    opened = open_model(str(tmp_path / "model"), device="cpu")
    assert development(opened)[SCORE] == pytest.approx(best[SCORE])


@pytest.mark.slow
def test_patience_stops_a_training(folder, tmp_path):
    options = {"dev_every": 1, "max_steps": 40, "learning_rate": 0.5, "patience": 2}
    trained = train(table(), None, tmp_path / "model", development=DevelopmentScore([str(folder)]), **options)
    assert trained.steps < 40
    assert trained.steps == trained.best_step + 2
