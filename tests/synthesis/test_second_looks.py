"""What the LLM is asked again: how well a row fits, and which other chunks answer a question."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import TextGuide
from helpers.scripted_author import author, embed as animals, labelled_task
from helpers.server import Server, completion

from gisttools.common.errors import ParameterError
from gisttools.data import Chunk, ReadChunks, eval_folder
from gisttools.data.folder_rows import read_searched
from gisttools.synthesis import (
    Checks,
    SynthesisOptions,
    Task,
    document_task,
    generate,
    load_prompt,
    save_documents,
    training_pairs,
)
from gisttools.synthesis.plan import quotas_of

KEYS, LOST, BINS, BINS_TOO, HELD = (
    "A second key is ordered from the caretaker.",
    "Whoever lost a key orders another one from the caretaker for ten euros.",
    "Bins are emptied on Tuesday.",
    "On Tuesday the bins are emptied, and must stand outside.",
    "Keys again: the caretaker orders a key.",
)
ASKED = {
    KEYS: "my child lost the key, whom do we call: the caretaker?",
    LOST: "caretaker fee, key lost",
    BINS: "do bins stay outside until Tuesday?",
    BINS_TOO: "when must all bins stand outside, is it on tuesday morning",
    HELD: "Lost the key of my flat! Caretaker available at night?",
}
WORDS = ("key", "caretaker", "lost", "bins", "tuesday", "outside", "again")


def by_words(texts):
    found = np.array([[float(w in t.casefold()) for w in WORDS] for t in texts], dtype=np.float32) + 1e-3
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def read() -> ReadChunks:
    """Each chunk a document; the last is held back. One has a space in its name."""
    names = ("keys.md", "lost keys.md", "bins.md", "more.md", "held.md")
    chunks = tuple(
        Chunk(id=f"{n}#0", document=n, title="", headings=(), text=t, tokens=9, file=Path(n), line=1)
        for n, t in zip(names, (KEYS, LOST, BINS, BINS_TOO, HELD), strict=True)
    )
    return ReadChunks(name="house", chunks=chunks, test=np.array([False] * 4 + [True]))


def asked(bodies, mark):
    return [b["messages"][-1]["content"] for b in bodies if mark in b["messages"][-1]["content"]]


class Landlord:
    """Asks one question on each chunk, and says yes of the passages that it is told."""

    def __init__(self, *yes: str) -> None:
        self.yes = yes

    def __call__(self, number, body):
        last = body["messages"][-1]["content"]
        if "Does this passage alone" in last:
            return completion(json.dumps({"answers": "yes" if any(json.dumps(t) in last for t in self.yes) else "no"}))
        if "How well is it so" in last:
            return completion(json.dumps({"score": 4 if "caretaker" in last else 2}))
        return completion(json.dumps({"query": next(q for text, q in ASKED.items() if json.dumps(text) in last)}))


def run(read, script, **checks):
    with Server(script) as server:
        done = generate(
            document_task(read),
            server.llm(concurrency=1),
            TextGuide(by_words, "words"),
            SynthesisOptions(rows=4, test_rows=1, attempts=1),
            checks=Checks(top_k=None, **checks),
        )
        return done, server.bodies


def test_chunks_that_answer_too_are_answers_too_each_on_its_side(read, tmp_path):
    done, bodies = run(read, Landlord(KEYS, LOST, BINS, BINS_TOO, HELD), also_answers=2)
    table = pd.read_csv(save(done, read, tmp_path) / "questions.csv", keep_default_na=False)
    also = dict(zip(table["chunk"], table["also"], strict=True))
    assert also == {
        "keys.md#0": "lost keys.md#0", "lost keys.md#0": "", "bins.md#0": "more.md#0", "more.md#0": "",
        "held.md#0": "lost keys.md#0\nkeys.md#0",
    }  # fmt: skip
    pairs = training_pairs(done.accepted, read)
    found = {(row["anchor"], row["positive"]) for row in pairs}
    assert found == {(question, text) for text, question in ASKED.items() if text != HELD} | {
        (ASKED[KEYS], LOST), (ASKED[BINS], BINS_TOO),
    }  # fmt: skip
    assert len(set(pairs["id"][:])) == 6
    test = read_searched(eval_folder(tmp_path / "house-synthetic-test"))
    assert [set(found) for found in test.relevant.values()] == [{"held.md#0", "lost keys.md#0", "keys.md#0"}]
    held = [json.dumps(HELD) in text for text in asked(bodies, "Does this passage alone")]
    assert sum(held) == 1  # of its own question alone: nobody trains on it


def save(done, read, folder):
    save_documents(done, read, folder)
    return folder


def test_a_question_that_its_own_chunk_does_not_answer_is_dropped(read):
    done, _ = run(read, Landlord(LOST), also_answers=3)
    assert done.summary["reasons"] == {"answered-elsewhere": 2}  # of KEYS, and of HELD
    assert all(row["seed_ids"] == [row["seed_ids"][0]] for row in done.accepted)


def test_nothing_is_asked_where_the_guide_finds_no_chunk_nearer(read):
    done, bodies = run(read, Landlord(), also_answers=2)
    shown = asked(bodies, "Does this passage alone")
    assert len(shown) == 4  # KEYS: LOST is nearer; HELD: that and KEYS; BINS: BINS_TOO
    assert done.summary["reasons"] == {}


def test_rows_below_the_least_score_are_dropped_and_the_score_is_kept(read):
    done, bodies = run(read, Landlord(), least_score=3)
    assert done.summary["reasons"] == {"low-score": 2}
    assert {json.loads(row["attributes"])["score"] for row in done.accepted} == {"4"}
    assert {json.loads(row["attributes"])["score"] for row in done.rejected} == {"2"}
    assert len(asked(bodies, "How well is it so")) == 5
    assert done.summary["calls"] == len(bodies) == 10
    assert sum(row["tokens_in"] for row in [*done.accepted, *done.rejected]) == 7 * len(bodies)


def test_texts_of_labels_are_judged_next_to_the_line_of_their_label():
    def script(number, body):
        last = body["messages"][-1]["content"]
        if "How well is it so" in last:
            assert '"About a ' in last
            return completion(json.dumps({"score": 1 if '"About a dog."' in last else 5}))
        return author(number, body)

    with Server(script) as server:
        done = generate(
            Task(**labelled_task()),
            server.llm(),
            TextGuide(animals, "animals"),
            SynthesisOptions(rows=6, attempts=1, prompt="classification"),
            checks=Checks(least_score=2),
        )
    assert done.summary["reasons"]["low-score"] == 2
    assert done.summary["by_label"]["dog"]["accepted"] == 0


def test_what_nobody_could_look_at_is_not_taken(read):
    def script(number, body):
        last = body["messages"][-1]["content"]
        if "How well is it so" in last:
            return completion(None, refusal="no")
        return Landlord()(number, body)

    done, _ = run(read, script, least_score=1)
    assert sum(done.summary["reasons"].values()) == 5
    assert not len(done.accepted)


def test_relabelling_is_for_documents():
    with Server(author) as server, pytest.raises(ParameterError, match="also_answers is for questions on documents"):
        generate(Task(**labelled_task()), server.llm(), TextGuide(animals, "a"), checks=Checks(also_answers=1))


def test_a_forecast_counts_second_looks(read):
    from gisttools.synthesis.forecast import forecast_of
    from gisttools.synthesis.llm.options import LLMOptions

    task, options, llm = document_task(read), SynthesisOptions(rows=4, test_rows=1), LLMOptions()
    prompt, wanted = load_prompt(task.prompt_for(small=False)), quotas_of(task, options)
    plain = forecast_of(task, prompt, wanted, options, llm)
    more = forecast_of(task, prompt, wanted, options, llm, checks=Checks(also_answers=2, least_score=3))
    assert more.calls == plain.calls + 4 * 5
    assert more.most == 5 * plain.most
    assert more.tokens_in > plain.tokens_in
