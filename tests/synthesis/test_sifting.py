"""Texts written elsewhere: filters as of our own, positives of another seed, nothing of a test text's family."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict

import pytest
from helpers import TextGuide
from helpers.scripted_author import _WORDS, ANIMALS, author, embed, labelled_task
from helpers.server import Server

from gisttools.common.errors import DataError, ParameterError
from gisttools.data import normalise
from gisttools.synthesis import Checks, Known, read_written, sift
from gisttools.synthesis.task import Task

GUIDE = TextGuide(embed, "animals")


def sentence(animal: str, rng: random.Random) -> str:
    return f"{' '.join(rng.sample(_WORDS, 7))} {animal} {rng.randrange(10**6)}"


def rows_of(seeds: int = 4, each: int = 5, seed: int = 0) -> list[dict]:
    """So many seeds of each animal, and so many texts of each seed."""
    rng = random.Random(seed)
    own = [(animal, sentence(animal, rng)) for animal in ANIMALS for _ in range(seeds)]
    return [{"seed": s, "text": sentence(animal, rng), "label": animal} for animal, s in own for _ in range(each)]


@pytest.fixture
def write(tmp_path):
    def one(rows: list[dict], name: str = "t.jsonl", **more):
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return read_written([tmp_path / name], **more)

    return one


@pytest.mark.parametrize("seed", range(4))
def test_a_positive_is_of_another_seed_wherever_its_label_has_one(write, seed):
    """Against the families as the file tells them, text by text."""
    rows = rows_of(seeds=3, each=6, seed=seed) + [
        {"seed": "one seed alone", "text": f"a fish of stone and paper number {i} {w}", "label": "fish"}
        for i, w in enumerate(_WORDS)
    ]
    found = sift(write(rows), GUIDE, checks=Checks(guide_order=False, label_by="none"), seed=seed)
    family = {normalise(t): normalise(r["seed"]) for r in rows for t in (r["text"], r["seed"])}
    others = defaultdict(set)
    for r in rows:
        others[r["label"]].add(normalise(r["seed"]))
    assert {r["anchor_label"] for r in found.accepted} == {*ANIMALS, "fish"}
    for row in found.accepted:
        own, positive = (family[normalise(row[name])] for name in ("anchor", "positive"))
        assert row["anchor"] != row["positive"]
        assert row["anchor_label"] == row["positive_label"] != row["negative_labels"][0]
        assert (own != positive) == (len(others[row["anchor_label"]]) > 1)


def test_all_texts_of_a_seed_that_is_a_test_text_or_nearly_one_go(write):
    rows = rows_of(seeds=3, each=4)
    gone = [rows[0]["seed"], f"{rows[4]['seed']}."]
    found = sift(write(rows), GUIDE, checks=Checks(label_by="none"), known=Known(eval_texts=[*gone, rows[20]["text"]]))
    lost = [r for r in rows if r["seed"] in (rows[0]["seed"], rows[4]["seed"])] + [rows[20]]
    bad = [r["anchor"] for r in found.rejected if r["reject_reason"] == "in-evaluation-set"]
    assert Counter(bad) == Counter(r["text"] for r in lost)
    texts = {t for r in found.accepted for t in (r["anchor"], r["positive"], *r["negatives"])}
    assert texts.isdisjoint([r["text"] for r in lost] + [rows[0]["seed"], rows[4]["seed"]])


def test_the_filters_are_those_of_our_own_and_every_row_is_counted(write):
    good = rows_of(seeds=3, each=4)
    say = {"seed": None, "label": "dog"}
    rows = [
        *good,
        {**say, "text": "short"},
        {**say, "text": "I am sorry for the inconvenience, dear owner of a dog."},
        {**say, "text": "Voici une phrase en français sur un chien qui dort près de la rivière."},
        {**say, "text": "see https://example.org for the dog"},
        {**say, "text": good[0]["text"]},
        {**say, "text": f"{good[1]['text']}."},
        {**say, "text": f"{' '.join(_WORDS[:7])} cat 17"},
        {**say, "text": None},
        {"text": "a horse on a green island", "label": "horse"},
    ]
    task = Task(**labelled_task())
    found = sift(write(rows), GUIDE, task, checks=Checks(guide_order=False))
    assert found.summary["reasons"] == {
        "length": 1, "assistant-voice": 1, "language": 1, "not-text": 1, "duplicate": 1, "near-duplicate": 1,
        "label-mismatch": 1, "no-text": 1, "unknown-label": 1,
    }  # fmt: skip
    assert found.summary["asked"] == len(rows) == len(found.accepted) + len(found.rejected)
    assert found.summary["by_label"]["dog"] == {"asked": 20, "accepted": 12}
    assert found.headline().startswith("36 rows of 45 texts written elsewhere (80%); most rejects: ")
    assert (found.missing(), found.summary["calls"]) == ("", 0)


def test_where_a_row_is_from_stands_in_it(write):
    rows = [{**r, "model_name": "writer-7b"} for r in rows_of()]
    written = write(rows)
    found = sift(written, GUIDE, checks=Checks(label_by="none"))
    row = found.accepted[0]
    place = next(i for i, r in enumerate(rows, 1) if r["text"] == row["anchor"])
    assert (row["source"], row["llm_model"], row["call_key"]) == ("llm", "writer-7b", f"t.jsonl:{place}")
    assert row["source_revision"] == written.files["t.jsonl"]["revision"]
    assert (row["prompt_id"], row["cost_usd"], row["guide_id"]) == (None, None, "animals")
    of_seed = {r["anchor"]: r["seed_ids"] for r in found.accepted}
    told = {r["text"]: r["seed"] for r in rows}
    assert len({(told[a], *ids) for a, ids in of_seed.items()}) == len({told[a] for a in of_seed})
    assert found.summary["texts"]["t.jsonl"]["rows"] == len(rows)
    assert found.summary["llm_model"] == "writer-7b"
    (source,) = written.sources(written.task())
    assert (source.source, len(source), source.classes["dog"]) == ("t.jsonl", len(rows), len(rows) // 3)
    assert found.bill()["accepted"] == str(len(found.accepted))


def test_the_same_texts_give_the_same_rows_whatever_else_is_drawn(write):
    written = write(rows_of())
    once, again = (sift(written, GUIDE, checks=Checks(label_by="none")).accepted["id"][:] for _ in range(2))
    assert once == again


def test_labels_that_a_task_does_not_know_are_refused_where_there_are_no_others(write):
    rows = [{"text": f"a horse of {w} and paper", "label": "hors"} for w in _WORDS]
    task = Task(**labelled_task())
    with pytest.raises(DataError, match=r"20 of 20 texts have labels that the task pets does not have: 'hors' \(20\)"):
        sift(write(rows), GUIDE, task)
    plain = Task(name="p", kind="sts", description="d", domain="d", language="eng-Latn", texts=("a text",))
    with pytest.raises(DataError, match="has no labels"):
        sift(write(rows), GUIDE, plain)


def test_labels_of_names_alone_are_judged_by_labelled_texts_or_not_at_all(write):
    rows = [{"text": r["text"], "label": r["label"]} for r in rows_of()]
    rows.append({"text": f"{' '.join(_WORDS[:7])} cat 17", "label": "dog"})
    rng = random.Random(1)
    labelled = [(sentence(a, rng), a) for a in ANIMALS for _ in range(20)]
    checks = Checks(guide_order=False)
    assert sift(write(rows), GUIDE, checks=checks).summary["reasons"] == {}
    found = sift(write(rows), GUIDE, checks=checks, known=Known(labelled=labelled))
    assert found.summary["reasons"]["label-mismatch"] == 1
    by_centres = checks.model_copy(update={"label_by": "centroids"})  # a name alone is no centre
    found = sift(write(rows), GUIDE, checks=by_centres, known=Known(labelled=labelled))
    assert found.summary["reasons"] == {"label-mismatch": 1}


def test_second_looks_ask_an_llm_and_nothing_else_does(write):
    written = write(rows_of(seeds=2, each=2))
    with pytest.raises(ParameterError, match="blind ask an LLM"):
        sift(written, GUIDE, checks=Checks(blind=True))
    with Server(author) as server:
        found = sift(written, GUIDE, llm=server.llm(), checks=Checks(blind=True, guide_order=False, label_by="none"))
        assert len(server.calls) == found.summary["calls"] == 12
        sift(written, GUIDE, llm=server.llm())
        assert len(server.calls) == 12


def test_queries_with_passages_come_back_to_them_and_get_negatives(write):
    rng = random.Random(0)
    passages = [sentence(a, rng) for a in ANIMALS for _ in range(4)]
    rows = [{"query": " ".join(p.split()[4:]), "passage": p} for p in passages]
    found = sift(write(rows), GUIDE, checks=Checks(skip_nearest=0))
    assert (found.summary["kind"], len(found.accepted)) == ("retrieval", len(passages))
    assert {(r["anchor"], r["positive"]) for r in found.accepted} == {(r["query"], r["passage"]) for r in rows}
    assert {source for r in found.accepted for source in r["negative_sources"]} == {"mined"}
    leaked = sift(write(rows), GUIDE, checks=Checks(skip_nearest=0), known=Known(eval_texts=[passages[0]]))
    assert leaked.summary["reasons"] == {"in-evaluation-set": 1}
    assert passages[0] not in {t for r in leaked.accepted for t in (r["positive"], *r["negatives"])}


def test_written_positives_and_negatives_stay_as_they_are(write):
    rng = random.Random(1)
    rows = [
        {"anchor": f"{base} {a}", "positive": f"{sentence(a, rng)}", "negative": sentence(other, rng)}
        for a, other in (("dog", "cat"), ("cat", "bird"), ("bird", "dog"))
        for base in ("the old", "a young")
    ]
    del rows[1]["negative"]
    found = sift(write(rows), GUIDE, checks=Checks(guide_order=False))
    assert found.summary["kind"] == "sts"
    given = {r["anchor"]: [r["negative"]] for r in rows if "negative" in r}
    rows_found = {r["anchor"]: r for r in found.accepted}
    assert set(given) <= set(rows_found)
    assert {a: rows_found[a]["negatives"] for a in given} == given
    assert rows_found[rows[1]["anchor"]]["negative_sources"] == ["mined"]
