"""Prompts: what a model's names mean, who has the last word, and what stands before which text."""

from __future__ import annotations

import copy
import json
import logging

import numpy as np
import pytest
from helpers import MINILM, WORDLLAMA
from helpers.server import Server, embeddings
from sentence_transformers import SentenceTransformer

from gisttools.common.errors import ParameterError
from gisttools.data.triplets import make_triplets
from gisttools.mining.miner import score_triplets
from gisttools.models.guides import ModelGuide
from gisttools.models.loading import open_model
from gisttools.models.options import GuideOptions
from gisttools.models.prompts import Prompts, RowPrompts, prompts_in_words, prompts_of, settle_prompts
from gisttools.models.vectors import VectorCache

Q, D = "query: ", "passage: "
SEARCH = [{"anchor": "where is it", "positive": "It is at the depot.", "negatives": ["The shop is closed.", "Wait."]}]
LABELLED = [
    {"anchor": "where is it", "positive": "it has not come", "negatives": ["my money"], "anchor_label": "late",
     "positive_label": "late", "negative_labels": ["refund"], "task_type": "Classification"},
]  # fmt: skip


class Named:
    """A model as far as its prompts go."""

    def __init__(self, prompts: dict[str, str], default: str | None = None) -> None:
        self.prompts, self.default_prompt_name = prompts, default


@pytest.fixture
def student(minilm):
    return copy.deepcopy(minilm)


@pytest.fixture
def saved(student, tmp_path):
    """A model folder in the style of E5."""
    student.prompts, student.default_prompt_name = {"query": Q, "passage": D}, None
    student.save(str(tmp_path / "e5"))
    return str(tmp_path / "e5")


STYLES = {
    "none": (({}, None), ("", "", "")),
    "what sentence-transformers saves for none": (({"query": "", "document": ""}, None), ("", "", "")),
    "E5": (({"query": Q, "passage": D}, None), (Q, D, Q)),
    "E5 as it is opened": (({"query": Q, "passage": D, "document": ""}, None), (Q, D, Q)),
    "BGE": (({"query": "Represent this: "}, None), ("Represent this: ", "", "")),
    "Qwen3": (({"query": "Instruct: x\nQuery:", "document": ""}, None), ("Instruct: x\nQuery:", "", "")),
    "Nomic": (({"search_query": Q, "search_document": D, "clustering": "c: "}, None), (Q, D, Q)),
    "default": (({"all": "text: "}, "all"), ("text: ", "text: ", "text: ")),
    "default is the query's": (({"query": Q, "document": ""}, "query"), (Q, "", Q)),
    "capitals": (({"Question": Q, "DOC": D}, None), (Q, D, Q)),
    "s2p": (({"s2p_query": Q, "s2s_query": "s: "}, None), (Q, "", "s: ")),
}


@pytest.mark.parametrize("style", STYLES)
def test_the_names_in_use_are_understood(style):
    (named, default), wanted = STYLES[style]
    found = prompts_of(Named(named, default))
    assert (found.query, found.document, found.alike) == wanted


@pytest.mark.parametrize("style", STYLES)
def test_settling_twice_is_settling_once(style):
    (named, default), wanted = STYLES[style]
    model = Named(dict(named), default)
    settle_prompts(model)
    once = dict(model.prompts), model.default_prompt_name
    found = settle_prompts(model)
    assert (found.query, found.document, found.alike) == wanted
    assert (model.prompts, model.default_prompt_name) == once


@pytest.mark.parametrize("user", [None, "", "u: "])
@pytest.mark.parametrize("task", [None, "t: "])
@pytest.mark.parametrize("own", ["", "m: "])
def test_the_user_counts_before_the_task_and_the_task_before_the_model(user, task, own):
    tasks = {} if task is None else {"Retrieval-query": task, "Classification": task}
    prompts = Prompts(query=own, document="", alike=own, tasks=tasks).with_user(user, None)
    wanted = user if user is not None else task if task is not None else own
    assert prompts.of(None, "Retrieval", searches=True)[0] == wanted
    assert prompts.of(None, "Classification", searches=False) == (wanted, wanted)


def test_a_task_of_its_name_counts_before_its_type():
    prompts = Prompts(tasks={"Classification": "c: ", "Banking77Classification": "b: "})
    assert prompts.of("Banking77Classification", "Classification", searches=False) == ("b: ", "b: ")
    assert prompts.of("another", "Classification", searches=False) == ("c: ", "c: ")


def test_names_that_say_neither_side_are_warned_of(student, caplog):
    student.prompts, student.default_prompt_name = {"retriever_a": "a: ", "retriever_b": "b: "}, None
    with caplog.at_level(logging.WARNING):
        settle_prompts(student, name="mine")
    assert "mine has prompts under names that say neither query nor document (retriever_a, retriever_b)" in caplog.text


def test_encode_of_sentence_transformers_takes_what_was_settled(saved):
    """`encode_document` alone would put nothing before a passage: it looks for `document` first."""
    bare = SentenceTransformer(saved, device="cpu")
    bare.prompts, bare.default_prompt_name = {}, None
    opened = open_model(saved, device="cpu")
    texts = ["where is it", "It is at the depot."]
    assert np.array_equal(opened.encode_query(texts), bare.encode([Q + t for t in texts]))
    assert np.array_equal(opened.encode_document(texts), bare.encode([D + t for t in texts]))
    assert np.array_equal(opened.encode(texts), bare.encode([Q + t for t in texts]))


def test_a_saved_model_keeps_its_prompts(saved, tmp_path):
    opened = open_model(saved, device="cpu")
    settle_prompts(opened, "ask: ", None)
    opened.save(str(tmp_path / "again"))
    told = json.loads((tmp_path / "again" / "config_sentence_transformers.json").read_text())
    assert (told["prompts"]["query"], told["prompts"]["document"]) == ("ask: ", D)
    assert prompts_of(open_model(str(tmp_path / "again"), device="cpu")) == prompts_of(opened)


@pytest.mark.parametrize(("rows", "wanted"), [(SEARCH, (Q, D)), (LABELLED, (Q, Q))], ids=["search", "labelled"])
def test_columns_have_prompts_by_side_and_labelled_texts_one(rows, wanted):
    found = RowPrompts.of(make_triplets(rows), Prompts(query=Q, document=D, alike=Q))
    assert found.pairs == [wanted]


def test_rows_of_both_kinds_are_told_by_their_number():
    found = RowPrompts.of(make_triplets([*SEARCH, *LABELLED, *SEARCH]), Prompts(query=Q, document=D, alike=Q))
    assert found.which.tolist() == [0, 1, 0]
    assert found.told() == [{"rows": 2, "query": Q, "document": D}, {"rows": 1, "query": Q, "document": Q}]
    assert prompts_in_words(found.told()) == (
        "'query: ' before anchors, 'passage: ' before positives and negatives (2 rows); "
        "'query: ' before every text (1 rows)"
    )


def bare_cosine(model, a: str, b: str) -> float:
    x, y = model.encode([a, b], prompt="", normalize_embeddings=True)
    return float(x @ y)


@pytest.mark.parametrize(("rows", "document"), [(SEARCH, D), (LABELLED, Q)], ids=["search", "labelled"])
def test_the_guide_reads_each_column_under_its_prompt(saved, tmp_path, minilm, rows, document):
    cache = VectorCache(GuideOptions(name=saved, precision="float32"), folder=tmp_path)
    scored = score_triplets(make_triplets(rows), cache)[0]
    row = rows[0]
    assert scored["guide_ap"] == pytest.approx(
        bare_cosine(minilm, Q + row["anchor"], document + row["positive"]), abs=1e-5
    )
    assert scored["guide_an"] == pytest.approx(
        [bare_cosine(minilm, Q + row["anchor"], document + n) for n in row["negatives"]], abs=1e-5
    )


def test_a_text_has_one_vector_as_a_query_and_another_as_a_document(saved, tmp_path, minilm):
    rows = [{"anchor": "the lift", "positive": "a key", "negatives": ["the lift"]}]
    cache = VectorCache(GuideOptions(name=saved, precision="float32"), folder=tmp_path)
    assert score_triplets(make_triplets(rows), cache)[0]["guide_an"] == pytest.approx(
        [bare_cosine(minilm, f"{Q}the lift", f"{D}the lift")], abs=1e-5
    )


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"prompt": "p: "}, ("p: ", "p: ")),
        ({"prompt": ""}, ("", "")),
        ({"query_prompt": "q: "}, ("q: ", D)),
        ({"document_prompt": ""}, (Q, "")),
        ({}, (Q, D)),
    ],
)
def test_what_the_user_says_of_the_guide_counts(saved, tmp_path, options, wanted):
    cache = VectorCache(GuideOptions(name=saved, **options), folder=tmp_path)
    assert (cache.prompts.query, cache.prompts.document) == wanted


def test_a_prompt_for_all_texts_and_one_for_some_is_refused():
    with pytest.raises(ParameterError, match="leave it out, or the prompts by side"):
        GuideOptions(name=MINILM, prompt="a", query_prompt="b")


def test_vectors_of_different_prompts_never_answer_for_each_other_and_of_equal_ones_do(tmp_path):
    one, other = (VectorCache(GuideOptions(name=WORDLLAMA, prompt=p), folder=tmp_path) for p in ("a: ", "b: "))
    assert one.guide_id != other.guide_id
    assert not np.array_equal(one.embed(["text"]), other.embed(["text"]))
    assert one.with_prompt("b: ").guide_id == other.guide_id
    assert np.array_equal(one.with_prompt("b: ").embed(["text"]), other.embed(["text"]))
    assert VectorCache(WORDLLAMA, folder=tmp_path).guide_id == one.with_prompt("").guide_id


def test_pooling_that_leaves_prompts_out_does_so_for_the_guide(student, minilm):
    settle_prompts(student, Q, None)
    student[1].include_prompt = False
    guide = ModelGuide(student, "mine", precision="float32")
    ((_, vectors),) = guide.stream(["a key"])
    assert vectors == pytest.approx(student.encode(["a key"], prompt=Q), abs=1e-5)
    assert not np.allclose(vectors, minilm.encode([f"{Q}a key"]), atol=1e-3)


def test_an_endpoint_gets_the_prompt_of_the_column(tmp_path):
    sent = []

    def answer(_, body):
        sent.extend(body["input"])
        return embeddings([[1, len(text)] for text in body["input"]])

    with Server(answer) as server:
        options = GuideOptions(name="endpoint:model", base_url=server.url, query_prompt="q: ", document_prompt="d: ")
        score_triplets(make_triplets(SEARCH), VectorCache(options, folder=tmp_path))
    assert sorted(sent) == sorted(["q: where is it", "d: It is at the depot.", "d: The shop is closed.", "d: Wait."])
