"""Prompts in training: what is trained is what `encode`, and mteb, embed later, whatever stands before the texts."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from helpers.evaluation_folders import label_folder, search_folder
from helpers.training_rows import MINILM
from sentence_transformers import SentenceTransformer

from gisttools.common.errors import ModelError
from gisttools.data.triplets import make_triplets
from gisttools.evaluation.tasks import task_sources
from gisttools.models.prompts import RowPrompts, prompts_of, settle_prompts
from gisttools.models.vectors import VectorCache
from gisttools.training.embedding import embed_columns
from gisttools.training.loss import GISTLoss
from gisttools.training.options import LossOptions, MadeFrom, TrainSettings
from gisttools.training.prompting import prompting
from gisttools.training.retention import Retention, RetentionLoss
from gisttools.training.store import GuideStore
from gisttools.training.train import finetune

Q, D = "query: ", "passage: it is said that "
SEARCH = [
    {"anchor": "where is it", "positive": "It is at the depot.", "negatives": ["The shop is closed."]},
    {"anchor": "is it open", "positive": "The shop is open.", "negatives": ["It is at the depot, in a box."]},
]
LABELLED = [
    {"anchor": "where is it", "positive": "it has not come", "negatives": ["my money"], "anchor_label": "late",
     "positive_label": "late", "negative_labels": ["refund"], "task_type": "Classification", "task_name": "own"},
    {"anchor": "my money", "positive": "the refund", "negatives": ["it has not come"], "anchor_label": "refund",
     "positive_label": "refund", "negative_labels": ["late"], "task_type": "Classification", "task_name": "own"},
]  # fmt: skip
ROWS = {"search": SEARCH, "labelled": LABELLED, "both": [*SEARCH, *LABELLED]}
COLUMNS = ("anchor", "positive", "negative")


@pytest.fixture(params=[True, False], ids=["prompt-pooled", "prompt-left-out"])
def student(request, minilm):
    """MiniLM in the style of E5."""
    model = copy.deepcopy(minilm).eval()
    model.prompts, model.default_prompt_name = {"query": Q, "passage": D}, None
    model[1].include_prompt = request.param
    settle_prompts(model)
    return model


def wanted(student, rows, column) -> np.ndarray:
    """What `encode` gives the texts of a column."""
    vectors = []
    for row in rows:
        text = row["negatives"][0] if column == "negative" else row[column]
        searches = "anchor_label" not in row
        kind = student.encode if not searches else student.encode_query if column == "anchor" else None
        vectors.append((kind or student.encode_document)([text])[0])
    return np.stack(vectors)


def batch(student, rows):
    store = GuideStore.build(make_triplets(rows), None)
    collate = prompting(student, store, RowPrompts.of(store.table, prompts_of(student)))
    found = collate(list(store.training_columns()))
    assert found["label"].tolist() == store.row_ids.tolist()
    names = sorted({name.rsplit("_", 2)[0] for name in found if name.endswith("_input_ids")})
    return store, {
        name: {key.removeprefix(f"{name}_"): value for key, value in found.items() if key.startswith(f"{name}_")}
        for name in names
    }


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("mini_batch", [None, 2])
def test_a_step_embeds_what_encode_does(student, rows, mini_batch):
    _, columns = batch(student, rows)
    names = ["anchor", "positive", next(n for n in columns if n.startswith("negative"))]
    with torch.no_grad():
        found = embed_columns(student, [columns[name] for name in names], mini_batch_size=mini_batch)
    for name, vectors in zip(COLUMNS, found, strict=True):
        assert vectors.numpy() == pytest.approx(wanted(student, rows, name), abs=2e-6), name


def test_an_equal_text_under_two_prompts_is_embedded_twice(student):
    _, columns = batch(student, [{"anchor": "the lift", "positive": "the lift", "negatives": ["a key"]}])
    with torch.no_grad():
        anchor, positive = embed_columns(student, [columns["anchor"], columns["positive"]], equal_texts_once=True)
    assert not torch.allclose(anchor, positive, atol=1e-3)


def test_labelled_texts_stand_behind_the_prompt_of_texts_that_are_alike(student):
    store = GuideStore.build(make_triplets(LABELLED), None)
    rows = store.labelled_texts()
    collate = prompting(student, rows, RowPrompts.of(store.table, prompts_of(student)))
    columns = list(rows.training_columns())
    found = {k.removeprefix("text_"): v for k, v in collate(columns).items() if k.startswith("text_")}
    with torch.no_grad():
        (vectors,) = embed_columns(student, [found])
    assert vectors.numpy() == pytest.approx(student.encode([row["text"] for row in columns]), abs=2e-6)


def test_the_guide_reads_labelled_texts_under_their_prompts(student, tmp_path):
    student.save(str(tmp_path / "guide"))
    guide = VectorCache(str(tmp_path / "guide"), folder=tmp_path)
    rows = GuideStore.build(make_triplets([*SEARCH, *LABELLED]), guide).labelled_texts()
    texts = [row["text"] for row in rows.training_columns()]
    wanted = guide.alike("own", "Classification").embed(texts)
    assert rows.guide_vectors(np.arange(len(texts))) == pytest.approx(wanted, abs=1e-6)


def first_loss(student, rows, guide, folder, **settings) -> float:
    store = GuideStore.build(make_triplets(rows), guide)
    loss = GISTLoss(student, store, LossOptions(temperature=0.05))
    options = {"max_steps": 1, "batch_size": len(rows), "learning_rate": 1e-6, "precision": "float32", **settings}
    return float(finetune(loss, folder, TrainSettings(**options)).history["loss"].iloc[0])


@pytest.mark.slow
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_the_loss_of_a_training_is_that_of_encoded_vectors(student, tmp_path, rows):
    """The same rows with the prompts written into the texts, and a student without any, where prompts are pooled."""
    if student[1].include_prompt is False:
        pytest.skip("written into the texts they would be pooled")
    guide = VectorCache(MINILM, folder=tmp_path)
    bare = copy.deepcopy(student)
    bare.prompts, bare.default_prompt_name = {}, None
    written = []
    for row in rows:
        document = Q if "anchor_label" in row else D
        texts = {"positive": document + row["positive"], "negatives": [document + row["negatives"][0]]}
        written.append({**row, "anchor": Q + row["anchor"], **texts})
    by_hand = first_loss(bare, written, None, tmp_path / "by_hand")
    assert first_loss(student, rows, None, tmp_path / "prompts") == pytest.approx(by_hand, abs=1e-5)
    guided = first_loss(copy.deepcopy(student), rows, guide, tmp_path / "guided")  # its guide has no prompts: alike
    assert np.isfinite(guided)


@pytest.mark.slow
def test_prompts_are_told_saved_and_written_on_the_card(student, tmp_path):
    store = GuideStore.build(make_triplets(SEARCH), VectorCache(MINILM, folder=tmp_path))
    settings = TrainSettings(max_steps=1, batch_size=2, query_prompt="ask: ", precision="float32")
    trained = finetune(GISTLoss(student, store, LossOptions()), tmp_path / "model", settings)
    told = [{"rows": 2, "query": "ask: ", "document": D}]
    assert trained.prompts == told
    assert trained.summary(MadeFrom(student=MINILM))["prompts"] == {
        "student": told,
        "guide": [{"rows": 2, "query": "", "document": ""}],
    }
    saved = json.loads((tmp_path / "model" / "config_sentence_transformers.json").read_text())
    assert (saved["prompts"]["query"], saved["prompts"]["document"]) == ("ask: ", D)
    opened = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert opened[1].include_prompt == student[1].include_prompt
    assert opened.encode_query(["x"]) == pytest.approx(trained.student.encode(["x"], prompt="ask: "), abs=1e-6)


def sent(student, run) -> set[str]:
    """The texts that a student reads while something runs, with what stands before them."""
    seen, read = set(), student.preprocess

    def preprocess(texts, prompt=None, **more):
        seen.update(f"{prompt or ''}{text}" for text in texts)
        return read(texts, prompt=prompt, **more)

    student.preprocess = preprocess
    try:
        run()
    finally:
        del student.preprocess
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["search", "labelled"])
def test_mteb_embeds_with_the_prompts_of_the_training(student, tmp_path, kind):
    from gisttools.evaluation.models import scored
    from gisttools.evaluation.scores import ScoreCache, score

    folder = (search_folder if kind == "search" else label_folder)(tmp_path / "own")
    source = next(s for s in task_sources(files=[str(folder)]) if s.is_target)
    by_mteb = sent(
        student, lambda: score(scored(student, "mine"), source, ScoreCache(tmp_path / "kept"), batch_size=8, name="m")
    )
    prompts = {text[: len(p)] for text in by_mteb for p in (Q, D) if text.startswith(p)}
    trained = RowPrompts.of(make_triplets(ROWS[kind]), prompts_of(student)).pairs
    assert prompts == {prompt for pair in trained for prompt in pair}
    assert all(text.startswith((Q, D)) for text in by_mteb)


def test_retention_holds_the_vectors_under_the_prompt_of_texts_that_are_alike(student):
    texts = ["The river freezes in January.", "Copper conducts heat well."]

    class Start:
        def embed(self, texts):
            return student.encode(texts, normalize_embeddings=True)

    class Nothing(torch.nn.Module):
        def forward(self, features, labels=None):
            return torch.zeros(())

    loss = RetentionLoss(student, Nothing(), Retention(texts, Start()))
    assert sent(student, lambda: loss([])) == {Q + text for text in texts}
    assert float(loss([]).detach()) == pytest.approx(0, abs=1e-5)


def test_a_student_with_routes_is_refused(wordllama):
    class Router(torch.nn.Module):
        pass

    store = GuideStore.build(make_triplets(SEARCH), None)
    prompts = RowPrompts.of(store.table, prompts_of(wordllama))
    with pytest.raises(ModelError, match="Router"):
        prompting([Router()], store, prompts)
