"""Questions on documents: asked in every form, found again among all chunks, each on its side, thrown out by people."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from helpers import TextGuide
from helpers.scripted_author import asker, reply_of
from helpers.server import Server, completion

from gisttools.common.errors import DataError, ParameterError
from gisttools.data import CORPUS_FILE, Chunk, ReadChunks, eval_folder, language_code
from gisttools.data.folder_rows import read_searched
from gisttools.synthesis import (
    Checks,
    SynthesisOptions,
    document_task,
    filters,
    forecast as forecasting,
    generate,
    load_prompt,
    read_thrown_out,
    save_documents,
    training_pairs,
    without,
)
from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.llm.options import LLMOptions
from gisttools.synthesis.plan import CallPlan, PlannedCall, quotas_of
from gisttools.synthesis.round_trip import DocumentPartners

TEXTS = (
    "The radiator in the kitchen stays cold when its valve was shut for the whole summer.",
    "A second key for the front door is ordered from the caretaker and costs ten euros.",
    "Bicycles belong into the cellar, behind the iron gate, never into the stairwell.",
    "The laundry machine takes tokens, which the bakery on the corner sells until six.",
    "Noise after ten in the evening is a matter for the house meeting, not for shouting.",
    "Rubbish bins are emptied every Tuesday morning and must stand beside the pavement.",
)


def chunk(i: int, text: str) -> Chunk:
    document = f"rules/{i // 2}.md"
    return Chunk(
        id=f"{document}#{i % 2}-0000000{i}", document=document, title="House rules", headings=("Living here",),
        text=text, tokens=20, file=Path(document), line=1,
    )  # fmt: skip


@pytest.fixture
def read() -> ReadChunks:
    """Three documents of two chunks, of which the last is held back."""
    test = np.array([False] * 4 + [True] * 2)
    return ReadChunks(name="house", chunks=tuple(chunk(i, text) for i, text in enumerate(TEXTS)), test=test)


def embed(texts):
    """Which words occur: equal words, near texts."""
    words = sorted({w for text in TEXTS for w in text.casefold().replace(".", "").replace(",", "").split()})
    found = np.array([[float(w in text.casefold()) for w in words] for text in texts], dtype=np.float32) + 1e-3
    return found / np.linalg.norm(found, axis=1, keepdims=True)


GUIDE = TextGuide(embed, "words")


def test_the_task_has_both_sides_and_the_language_of_each_chunk(read):
    task = document_task(read, domain="the rules of a house")
    assert (task.name, task.kind, task.start) == ("house", "retrieval", "documents")
    assert task.prompt_for(small=False) == "retrieval_from_documents"
    assert list(task.groups) == ["train", "test"]
    assert list(task.documents) == [c.id for c in read.chunks[:4]]
    assert task.held_back[read.chunks[5].id] == f"House rules > Living here {TEXTS[5]}"
    assert (task.language, task.as_written) == ("eng-Latn", True)
    assert not document_task(read, language="deu-Latn").as_written
    with pytest.raises(ParameterError, match="language is 'german'"):
        document_task(read, language="german")
    all_back = ReadChunks(name="house", chunks=read.chunks, test=np.ones(6, dtype=bool))
    with pytest.raises(DataError, match="no chunks to train on"):
        document_task(all_back)


def test_a_task_file_tells_the_rest(read, tmp_path):
    told = {"name": "rules", "kind": "retrieval", "description": "x", "domain": "a house", "language": "eng-Latn"}
    content = yaml.safe_dump(told | {"personas": ["a tenant"]})
    (tmp_path / "t.yaml").write_text(content)
    task = document_task(read, file=tmp_path / "t.yaml")
    assert (task.name, task.personas, len(task.documents), len(task.held_back)) == ("rules", ("a tenant",), 4, 2)
    (tmp_path / "t.yaml").write_text(content + "documents: {a: b}\n")
    with pytest.raises(DataError, match="documents: no file holds it"):
        document_task(read, file=tmp_path / "t.yaml")
    (tmp_path / "t.yaml").write_text(content + "passages: [a passage]\n")
    with pytest.raises(DataError, match="starts from one of"):
        document_task(read, file=tmp_path / "t.yaml")


def test_texts_of_several_languages_are_told_apart():
    german = ["Der Hausmeister bestellt die Schlüssel für alle Mieter dieses Hauses."] * 2
    assert language_code([*german, TEXTS[0]]) == "deu-Latn"
    assert language_code(["12", "?"]) is None


def test_no_more_questions_are_wanted_than_chunks_allow(read):
    task = document_task(read)
    assert quotas_of(task, SynthesisOptions(rows=1000, test_rows=3, per_chunk=2.5)) == {"test": 3, "train": 10}
    assert quotas_of(task, SynthesisOptions(rows=5, test_rows=200)) == {"test": 6, "train": 5}
    assert quotas_of(task, SynthesisOptions(rows=11)) == {"test": 2, "train": 11}


def test_a_chunk_is_asked_in_another_form_each_time_and_all_chunks_alike(read):
    task = document_task(read)
    items = CallPlan(task, {"train": 20}, seed=3).take({"train": 20})
    forms: dict[str, list[str]] = {}
    for item in items:
        forms.setdefault(item.subject_id, []).append(item.form)
    assert {name: sorted(found) for name, found in forms.items()} == dict.fromkeys(task.documents, sorted(task.forms))
    for passed in range(5):
        assert len(set(Counter(item.form for item in items[4 * passed : 4 * passed + 4]).values())) == 1
    assert {item.language for item in items} == {"eng-Latn"}


CHINESE = "厨房的暖气片在夏天关闭阀门之后一直是冷的。请打开。"
NAMES_SOURCE = (
    "What does this passage say about keys?", "According to the text, when is noise a matter for the meeting?",
    "Which costs are mentioned in the document?", "what is described above", "The author explains how bins are emptied",
    "Was kostet ein Schlüssel laut dem Text?", "Welche Regel nennt der obige Abschnitt? diesem Abschnitt nach",
    "Based on the provided information, note: the given text?", "Que dit-on dans ce texte sur les clés ?",
)  # fmt: skip
FINE = (
    "how do i insert a picture in the document", "is the article in stock", "can i send a text to the caretaker",
    "who has the key to the passage between the two houses", "The author of the house rules", "I need this information",
    "where do i find the section for bicycles", "laundry tokens bakery",
)  # fmt: skip


@pytest.mark.parametrize("text", NAMES_SOURCE)
def test_a_question_that_names_its_source_is_stopped(text):
    assert filters.bad_question(text, TEXTS[0]) == "names-source"


@pytest.mark.parametrize("text", FINE)
def test_a_question_that_somebody_may_ask_is_not(text):
    assert filters.bad_question(text, TEXTS[0]) is None


@pytest.mark.parametrize(
    ("text", "chunk_text", "reason"),
    [
        ("how to make a claim, how to make a claim, how to make a claim", TEXTS[0], "not-text"),
        ("how to make a claim, or how to make a complaint", TEXTS[0], None),
        ("why is my radiator, the one in the kitchen, cold when its valve was shut", TEXTS[0], None),
        ("so the radiator in the kitchen stays cold when?", TEXTS[0], "copied"),
        ("The Radiator, in the kitchen - stays COLD, when", TEXTS[0], "copied"),
        ("厨房的暖气片在夏天关闭阀门之后一直是冷的怎么办呢", CHINESE, "copied"),
        ("暖气片不热了应该找谁来修理一下", CHINESE, None),
    ],
)
def test_seven_words_in_a_row_are_copied_and_loops_are_no_text(text, chunk_text, reason):
    assert filters.bad_question(text, chunk_text) == reason


def candidate(text: str, positive: str, *, read: bool = True) -> Candidate:
    item = PlannedCall(group="train", register="r", persona="p", length="l", difficulty="d")
    schema = load_prompt("retrieval_from_documents").output
    return Candidate(item=item, reply=reply_of({"query": text}, schema), anchor=text, positive=positive, read=read)


@pytest.mark.parametrize(
    ("by", "expected"), [("either", "++++-"), ("both", "+--+-"), ("guide", "++-++"), ("bm25", "+-++-")]
)
def test_who_must_find_the_chunk_again(read, by, expected):
    """The guide knows no words here, and BM25 no meaning; a guide that does not read a text is not heard of it."""
    task = document_task(read)
    cold, key, *_ = chunks = [*task.documents.values(), *task.held_back.values()]
    meant = {"second key": key, "warm up": cold, "key door": chunks[5], "radiator valve": chunks[5], "zzz": chunks[5]}

    def vectors(texts):
        return np.stack([np.eye(6, dtype=np.float32)[chunks.index(meant.get(text, text))] for text in texts])

    rows = [
        candidate("second key", key),  # both find it
        candidate("warm up", cold),  # the guide alone
        candidate("key door", key),  # BM25 alone
        candidate("radiator valve", cold, read=False),  # BM25
        candidate("zzz", cold, read=False),  # nobody
    ]
    DocumentPartners(task, Checks(top_k=1, found_by=by), vectors, vectors).complete(rows, rows)
    assert "".join("-" if c.reason else "+" for c in rows) == expected
    assert {c.reason for c in rows} <= {None, "round-trip"}
    assert [c.negatives for c in rows] == [[]] * 5


def test_all_is_told_before_the_first_call(read, monkeypatch):
    told = []
    with Server(lambda *call: asker(*call)) as server:
        from gisttools.synthesis import generation

        monkeypatch.setattr(generation, "notice", lambda text: told.append((text, len(server.calls))))
        llm = server.llm(price_in=1.0, price_out=2.0)
        done = generate(document_task(read), llm, GUIDE, SynthesisOptions(rows=6, test_rows=4, attempts=2))
    (line, calls), *_ = told
    assert calls == 0
    assert line.startswith("10 questions on 6 chunks: about 17 calls (at most 20), ")
    assert " tokens, about $0.0" in line
    assert " min, if 60% are accepted" in line
    assert done.summary["forecast"]["calls"] == 17


def test_a_forecast_counts_the_prompts_as_they_are(read):
    task, options = document_task(read), SynthesisOptions(rows=12, test_rows=6)
    prompt, free = load_prompt("retrieval_from_documents"), LLMOptions()
    found = forecasting.forecast_of(task, prompt, quotas_of(task, options), options, free)
    rendered = sum(len(m["content"]) for m in prompt.render({**prompt.examples[0].values, "subject": TEXTS[0]})) / 4
    assert found.usd == 0
    assert 0.7 < found.tokens_in / found.calls / rendered < 1.4
    assert (
        "price not known"
        in forecasting.forecast_of(
            task, prompt, {"train": 3}, options, LLMOptions(base_url="http://127.0.0.1:1/v1", model="nobody-knows")
        ).in_words()
    )


@pytest.fixture
def asked(read):
    with Server(lambda *call: asker(*call)) as server:
        yield generate(document_task(read), server.llm(), GUIDE, SynthesisOptions(rows=8, test_rows=4, attempts=3))


def test_questions_become_pairs_and_a_test_each_on_its_side(asked, read, tmp_path):
    assert asked.summary["by_label"]["train"]["accepted"] == 8
    assert asked.headline().endswith(", 4 of them to test with")
    pairs = training_pairs(asked.accepted, read)
    held_back = {c.passage for c in read.chunks[4:]}
    assert len(pairs) == 8
    assert held_back.isdisjoint(pairs["positive"][:])
    assert all(found == [] for found in pairs["negatives"][:])
    folder = save_documents(asked, read, tmp_path)
    assert folder.name == "house-synthetic-test"
    test = read_searched(eval_folder(folder))
    assert set(test.corpus) == {c.id for c in read.chunks}
    assert len(test.queries) == 4
    assert {c for found in test.relevant.values() for c in found} <= {c.id for c in read.chunks[4:]}
    assert set(test.queries.values()).isdisjoint(pairs["anchor"][:])
    corpus = pq.read_table(tmp_path / CORPUS_FILE)["text"].to_pylist()
    assert corpus == [c.passage for c in read.chunks[:4]]
    table = pd.read_csv(tmp_path / "questions.csv")
    assert Counter(table["part"]) == {"train": 8, "test": 4}
    assert set(table["keep"]) == {"yes"}


def test_what_people_throw_out_is_neither_trained_on_nor_tested_with(asked, read, tmp_path):
    save_documents(asked, read, tmp_path)
    table = pd.read_csv(tmp_path / "questions.csv")
    gone = [table[table["part"] == part]["question"].iloc[0] for part in ("train", "test")]
    table.loc[table["question"].isin(gone), "keep"] = [" No", "FALSE"]
    table.to_csv(tmp_path / "edited.csv", index=False)
    left = without(asked, read_thrown_out(tmp_path / "edited.csv"))
    assert set(gone).isdisjoint(left.accepted["anchor"][:])
    assert left.summary["accepted"] == len(left.accepted) == 10
    assert left.summary["by_label"]["test"]["accepted"] == 3
    rejected = dict(zip(left.rejected["anchor"][:], left.rejected["reject_reason"][:], strict=True))
    assert [rejected[text] for text in gone] == ["thrown-out"] * 2
    assert len(training_pairs(left.accepted, read)) == 7
    assert without(asked, set()) is asked


def test_decisions_that_are_none_are_refused(tmp_path):
    (tmp_path / "q.csv").write_text("keep,question\nyes,a\nperhaps,b\n,c\nno,d\n")
    with pytest.raises(DataError, match=r"row 2: keep is 'perhaps', neither yes nor no"):
        read_thrown_out(tmp_path / "q.csv")
    (tmp_path / "q.csv").write_text("question\na\n")
    with pytest.raises(DataError, match="has no column keep"):
        read_thrown_out(tmp_path / "q.csv")


def test_an_answer_that_speaks_of_the_passage_is_rejected(read):
    def script(number, body):
        return completion(json.dumps({"query": f"what does this passage say about number {number} of the keys"}))

    with Server(script) as server:
        done = generate(document_task(read), server.llm(), GUIDE, SynthesisOptions(rows=2, test_rows=1, attempts=1))
    assert done.summary["reasons"] == {"names-source": 3}


def test_checks_that_would_do_nothing_are_refused(read):
    with Server(lambda *call: asker(*call)) as server, pytest.raises(ParameterError, match="mined by 2_convert"):
        generate(document_task(read), server.llm(), GUIDE, checks=Checks(skip_nearest=3))
