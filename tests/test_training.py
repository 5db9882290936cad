"""Training on a small real table: it learns, it is repeatable, and what it leaves can be opened."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers import SentenceTransformer

from gisttools.errors import DataError, ParameterError
from gisttools.guide import GuideStore, VectorCache
from gisttools.loss import GISTLoss
from gisttools.models import open_model
from gisttools.training import TrainSettings, choose_precision, finetune
from gisttools.triplets import make_triplets

WORDLLAMA = "embedded:wordllama-256"
TEXTS = {
    "late": ["my parcel is late", "it should have come on Monday", "still no delivery", "the courier never showed up"],
    "refund": ["where is my money", "refund not on my account", "I sent it back weeks ago", "waiting to be paid back"],
    "code": ["the voucher is refused", "discount does not apply", "promo code invalid", "ten percent off not working"],
}


def table(rows_per_label=4, ragged=False):
    labels = list(TEXTS)
    rows = []
    for number, label in enumerate(labels):
        other = labels[(number + 1) % len(labels)]
        for i in range(rows_per_label):
            negatives = TEXTS[other][: i % 3 if ragged else 1]
            rows.append(
                {
                    "anchor": TEXTS[label][i],
                    "positive": TEXTS[label][(i + 1) % 4],
                    "negatives": negatives,
                    "anchor_label": label,
                    "positive_label": label,
                    "negative_labels": [other] * len(negatives),
                }
            )
    return make_triplets(rows)


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    return VectorCache("embedded:all-MiniLM-L6-v2", folder=tmp_path_factory.mktemp("guide"))


def train(rows, guide, folder, **settings):
    student, store = open_model(WORDLLAMA, device="cpu"), GuideStore.build(rows, guide)
    options = {"epochs": 4, "batch_size": 6, "learning_rate": 1e-2, **settings}
    loss = GISTLoss(student, store, temperature=0.05)
    return finetune(student, store, loss, TrainSettings(**options), folder)


@pytest.mark.parametrize("guided", [True, False], ids=["guided", "unguided"])
@pytest.mark.parametrize("ragged", [False, True], ids=["one-negative", "ragged"])
def test_learns_and_can_be_opened_again(guide, tmp_path, guided, ragged):
    trained = train(table(ragged=ragged), guide if guided else None, tmp_path / "model")
    assert trained.history["loss"].iloc[-1] < 0.5 * trained.history["loss"].iloc[0]
    assert trained.steps == 8
    opened = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    texts = TEXTS["late"]
    torch.testing.assert_close(
        opened.encode(texts, convert_to_tensor=True), trained.student.encode(texts, convert_to_tensor=True)
    )


def test_same_seed_same_curve_other_seed_another(guide, tmp_path):
    curves = [
        train(table(), guide, tmp_path / str(i), seed=seed).history["loss"].tolist() for i, seed in enumerate([1, 1, 2])
    ]
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


def test_max_steps_ends_training(guide, tmp_path):
    assert train(table(), guide, tmp_path, max_steps=3).steps == 3


def test_history_tells_masked_shares_between_0_and_1(guide, tmp_path):
    history = train(table(), guide, tmp_path).history
    shares = history[["masked_ap", "masked_aa", "masked_pp", "masked_an"]]
    assert ((shares >= 0) & (shares <= 1)).all().all()
    assert shares["masked_aa"].max() > 0  # a batch of 6 from 3 labels holds texts of one label


def test_one_row_is_refused(guide, tmp_path):
    with pytest.raises(DataError, match="has 1 row"):
        train(table().select([0]), guide, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_all_bad_settings_are_named_at_once():
    with pytest.raises(ParameterError) as caught:
        TrainSettings(epochs=0, batch_size=-1, learning_rate=0.0, warmup_ratio=2, max_steps=0)
    for name in ("epochs is 0", "batch_size is -1", "learning_rate is 0.0", "warmup_ratio is 2", "max_steps is 0"):
        assert name in str(caught.value)


def test_static_students_train_in_float32_unless_told():
    student = open_model(WORDLLAMA, device="cpu")
    assert choose_precision("auto", student) == "float32"
    assert choose_precision("bfloat16", student) == "bfloat16"


def test_transformer_trains_in_bfloat16(guide, tmp_path):
    student, store = open_model("embedded:all-MiniLM-L6-v2", device="cpu"), GuideStore.build(table(), guide)
    settings = TrainSettings(max_steps=2, batch_size=4, precision="bfloat16")
    trained = finetune(student, store, GISTLoss(student, store), settings, tmp_path)
    assert trained.precision == "bfloat16"
    assert trained.history["loss"].notna().all()
