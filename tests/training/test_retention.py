"""Retention: the term is what it says, keeps the student near its start, and reads its texts where they are named."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.training_rows import MINILM, TEXTS, WORDLLAMA, table, train

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.models.loading import open_model
from gisttools.models.vectors import VectorCache
from gisttools.training.options import RetentionOptions
from gisttools.training.retention import Retention, RetentionLoss, read_texts

GENERAL = [
    "The river freezes in January.", "A choir of forty sings on Sundays.", "Copper conducts heat well.",
    "She planted beans beside the maize.", "The museum closes at five.", "Gravity bends light.",
    "He repaired the violin's bridge.", "Two ferries cross the strait each hour.",
]  # fmt: skip


class Nothing(torch.nn.Module):
    def forward(self, features, labels=None):
        return torch.zeros(())


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return VectorCache(WORDLLAMA, folder=tmp_path_factory.mktemp("start"))


def distance(model, start, texts=GENERAL):
    vectors = model.encode(texts, convert_to_tensor=True, show_progress_bar=False)
    return float(1 - torch.nn.functional.cosine_similarity(vectors, torch.from_numpy(start.embed(texts))).mean())


def test_the_untouched_student_pays_nothing(start):
    model = open_model(WORDLLAMA, device="cpu")
    loss = RetentionLoss(model, Nothing(), Retention(GENERAL, start))
    assert float(loss([]).detach()) == pytest.approx(0, abs=1e-5)
    assert loss.mean_distance() == pytest.approx(0, abs=1e-6)
    assert loss.mean_distance() is None  # since the last call


def test_the_term_is_the_weighted_mean_distance_and_has_a_gradient(start):
    model = open_model(WORDLLAMA, device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        model[0].embedding.weight += 0.3 * torch.randn_like(model[0].embedding.weight)
    loss = RetentionLoss(model, Nothing(), Retention(GENERAL, start, RetentionOptions(weight=3.0, texts_a_step=4000)))
    value = loss([])
    value.backward()
    assert float(value.detach()) == pytest.approx(3.0 * distance(model, start), rel=0.02)  # drawn with repetition
    assert float(model[0].embedding.weight.grad.abs().sum()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("dims", [[], [256, 32]], ids=["plain", "matryoshka"])
def test_a_student_that_is_held_ends_nearer_to_its_start(start, tmp_path, dims):
    ends, losses = [], []
    for weight in (None, 20.0):
        held = None if weight is None else Retention(GENERAL, start, RetentionOptions(weight=weight))
        options = {"epochs": 12, "matryoshka_dims": dims}
        trained = train(table(), None, tmp_path / str(weight), retention=held, **options)
        ends.append(distance(trained.student, start))
        losses.append(trained.history)
    assert ends[1] < 0.5 * ends[0]
    assert losses[0]["retention"].isna().all()
    assert (losses[1]["retention"] >= 0).all()
    assert losses[1]["retention"].iloc[-1] > 0
    assert losses[1]["loss"].iloc[-1] < losses[1]["loss"].iloc[0]


def test_a_transformer_is_held_as_well(tmp_path):
    held = Retention(
        GENERAL + TEXTS["code"], VectorCache(MINILM, folder=tmp_path / "v"), RetentionOptions(texts_a_step=4)
    )
    trained = train(table(), None, tmp_path / "model", student=MINILM, max_steps=2, learning_rate=5e-5, retention=held)
    assert trained.history["retention"].between(0, 0.5).all()


def test_equal_texts_are_held_once_and_too_few_are_refused(start):
    assert len(Retention(GENERAL * 3, start).texts) == len(GENERAL)
    with pytest.raises(DataError, match="1 text"):
        Retention(["one", "one"], start)


def test_all_bad_numbers_are_named_at_once():
    with pytest.raises(ParameterError) as caught:
        RetentionOptions(weight=0, texts_a_step=0)
    assert "weight = 0" in str(caught.value)
    assert "texts_a_step = 0" in str(caught.value)


def test_sentences_are_read_from_files_and_tables(tmp_path):
    (tmp_path / "a.txt").write_text("The first line says very little. No.\n\nThe second one says a bit more.\n")
    (tmp_path / "b.csv").write_text("id,text\n1,A table holds this one text.\n2,Too short.\n", encoding="utf-8")
    long = " ".join(["word"] * 36) + "."
    lines = [json.dumps({"passage": t}) for t in (f"{long} Is this the only question here?", "Too short again.")]
    (tmp_path / "c.jsonl").write_text("\n".join(lines), encoding="utf-8")
    expected = [
        "The first line says very little.",
        "The second one says a bit more.",
        "A table holds this one text.",
        "Is this the only question here?",
    ]
    files = [tmp_path / name for name in ("a.txt", "b.csv", "c.jsonl")]
    assert read_texts(files) == expected
    sample = read_texts(files, most=2)
    assert len(sample) == 2
    assert set(sample) < set(expected)
    assert sample == read_texts(files, most=2)
    assert len({tuple(read_texts(files, most=2, seed=s)) for s in range(8)}) > 1


def test_a_table_without_texts_and_a_source_that_is_not_there_are_refused(tmp_path):
    (tmp_path / "n.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has no column of texts .* it has a, b"):
        read_texts([tmp_path / "n.csv"])
    with pytest.raises(MissingError):
        read_texts([tmp_path / "gone.txt"])
