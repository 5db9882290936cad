"""A cross-encoder on top of a search: trained on mined rows, its answers kept, its order scored as any other."""

from __future__ import annotations

import json
import math

import pytest
import torch
from datasets import Dataset
from helpers.evaluation_folders import search_folder
from transformers import BertConfig, BertModel

from gisttools.common.errors import DataError, MissingError, ModelError
from gisttools.evaluation.candidates import Encoder, find_candidates
from gisttools.evaluation.models import open_scored, scored
from gisttools.evaluation.reranking import Reranking
from gisttools.evaluation.scores import ScoreCache
from gisttools.evaluation.tasks import task_sources
from gisttools.models.reranker import Reranker, open_cross_encoder
from gisttools.training.cross_encoder import pairs_of, train_reranker
from gisttools.training.options import RerankerOptions


class Told:
    """A cross-encoder that says what it is told of a pair, and counts how often it is asked."""

    def __init__(self, model, says) -> None:
        self._model, self._says, self.asked = model, says, 0

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __iter__(self):
        return iter(self._model)

    def __getitem__(self, place):
        return self._model[place]

    def predict(self, pairs, **_):
        self.asked += len(pairs)
        return [self._says(query, passage) for query, passage in pairs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return search_folder(tmp_path_factory.mktemp("rerank") / "find")


@pytest.fixture(scope="module")
def texts(folder):
    read = {name: [json.loads(line) for line in (folder / f"{name}.jsonl").open()] for name in ("queries", "corpus")}
    judged = [json.loads(line) for line in (folder / "qrels" / "test.jsonl").open()]
    queries, corpus = ({row["_id"]: row["text"] for row in read[name]} for name in ("queries", "corpus"))
    return queries, corpus, {row["query-id"]: row["corpus-id"] for row in judged}


@pytest.fixture(scope="module")
def small(minilm, tmp_path_factory):
    """A folder with a small encoder of random weights."""
    out = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    BertModel(BertConfig(vocab_size=len(minilm.tokenizer), max_position_embeddings=64, **size)).save_pretrained(out)
    minilm.tokenizer.save_pretrained(out)
    return str(out)


@pytest.fixture(scope="module")
def trained(texts, small, tmp_path_factory):
    """The small encoder, made a cross-encoder that knows the answers by heart."""
    queries, corpus, answers = texts
    rows = [
        {"anchor": text, "positive": corpus[answers[q]], "negatives": [t for d, t in corpus.items() if d != answers[q]]}
        for q, text in queries.items()
    ]
    out = tmp_path_factory.mktemp("ce") / "reranker"
    options = RerankerOptions(steps=150, learning_rate=2e-3, batch_size=36)
    told = train_reranker(open_cross_encoder(small, fresh=True), Dataset.from_list(rows), out, options)
    return out, told


def test_what_was_trained_answers_better_than_the_search_below_it(trained, folder, wordllama, tmp_path):
    out, told = trained
    assert (told["pairs"], told["positives"], told["steps"]) == (72, 6, 150)
    assert told["loss"] < 0.2  # a guess has 0.29
    drawn = Encoder(name="random", kind="floor", what="a guess", models=(open_scored("random"),))
    base = Encoder(name="student", kind="base", what="a model", models=(scored(wordllama, "student"),))
    on_top = Reranking(name="tuned cross-encoder on top", reranker=Reranker(open_cross_encoder(str(out)), tmp_path))
    found = find_candidates(
        [drawn, base], task_sources(files=[folder]), rerankings=[on_top], cache=ScoreCache(tmp_path / "c")
    )
    rows = {row.name: row for row in found.rows}
    best = rows["tuned cross-encoder on top"]
    assert best.score > 0.95
    assert rows["random"].score < 0.7
    assert (best.kind, best.what.partition(",")[0]) == ("reranked", "random")  # the first model's search
    assert best.texts_per_s > 0
    assert [shipped.name for shipped in found.shipped] == ["student"]  # what can be used alone


@pytest.fixture(scope="module")
def fresh(small):
    return open_cross_encoder(small, fresh=True)


def test_only_the_first_documents_get_another_order(fresh, texts, tmp_path):
    queries, corpus, answers = texts
    says = {(queries[q], corpus[d]): 1.0 for q, d in answers.items()}
    told = Told(fresh, lambda *pair: says.get(pair, 0.0))
    data = {
        "queries": Dataset.from_list([{"id": q, "text": t} for q, t in queries.items()]),
        "corpus": Dataset.from_list([{"id": d, "title": "", "text": t} for d, t in corpus.items()]),
    }
    ranked = {q: {d: -float(i) for i, d in enumerate(corpus)} for q in queries}  # d0 first, d11 last
    found = Reranking(name="on top", reranker=Reranker(told, tmp_path), depth=5).reordered(ranked, data)
    for q, answer in answers.items():
        order = sorted(found[q], key=lambda d: -found[q][d])
        place = int(answer[1:])
        first = [answer, *(f"d{i}" for i in range(5) if i != place)] if place < 5 else [f"d{i}" for i in range(5)]
        assert order == [*first, *(f"d{i}" for i in range(5, 12))]
    assert told.asked == 5 * len(queries)


def test_what_it_said_is_kept_through_a_kill_and_asked_for_once(fresh, tmp_path):
    told = Told(fresh, lambda query, passage: float(len(passage)))
    first = Reranker(told, tmp_path)
    assert first.scores("q", ["aa", "b"]).tolist() == [2.0, 1.0]
    first.scores("other", ["aa"])
    (file,) = tmp_path.glob("*.jsonl")
    file.write_text(file.read_text()[:-9])  # killed while it wrote
    again = Reranker(told, tmp_path)
    assert again.scores("q", ["aa", "b"]).tolist() == [2.0, 1.0]
    assert told.asked == 3
    again.scores("other", ["aa"])
    again.scores("q", ["aa", "b"], fresh=True)
    assert told.asked == 6


def test_an_encoder_that_scores_no_pairs_is_refused(fresh, tmp_path):
    fresh.save_pretrained(str(tmp_path / "ce"))
    assert open_cross_encoder(str(tmp_path / "ce")).num_labels == 1
    with pytest.raises(MissingError, match="No cross-encoder at nowhere"):
        open_cross_encoder("nowhere")
    config = json.loads((tmp_path / "ce" / "config.json").read_text())
    (tmp_path / "ce" / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    with pytest.raises(ModelError, match="is an encoder and scores no pairs"):
        open_cross_encoder(str(tmp_path / "ce"))
    names = {str(i): str(i) for i in range(3)}
    several = {"architectures": ["BertForSequenceClassification"], "id2label": names, "label2id": names}
    (tmp_path / "ce" / "config.json").write_text(json.dumps(config | several))
    with pytest.raises(ModelError, match=r"cannot be loaded|3 scores"):
        open_cross_encoder(str(tmp_path / "ce"))


def test_pairs_are_each_query_with_its_passages_once_and_a_positive_is_no_negative():
    rows = [
        {"anchor": "q", "positive": "p", "negatives": ["n", "m"]},
        {"anchor": "q", "positive": "m", "negatives": ["n"]},
        {"anchor": "r", "positive": "n", "negatives": []},
    ]
    pairs = {(row["query"], row["passage"]): row["label"] for row in pairs_of(Dataset.from_list(rows))}
    assert pairs == {("q", "n"): 0.0, ("q", "m"): 1.0, ("q", "p"): 1.0, ("r", "n"): 1.0}
    with pytest.raises(DataError, match="None of 1 rows has a negative"):
        pairs_of(Dataset.from_list([{"anchor": "q", "positive": "p", "negatives": []}]))


def test_searches_alone_have_one(wordllama, caretaker, fresh, tmp_path):
    base = Encoder(name="student", kind="base", what="a model", models=(scored(wordllama, "student"),))
    on_top = Reranking(name="on top", reranker=Reranker(Told(fresh, lambda *_: math.nan), tmp_path))
    found = find_candidates(
        [base], task_sources(files=[caretaker]), rerankings=[on_top], cache=ScoreCache(tmp_path / "c")
    )
    assert "on top" not in {row.name for row in found.rows}
