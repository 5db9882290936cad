"""Many calls of a server that misbehaves on purpose, by a run that is killed three times on the way."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading

import numpy as np
from conftest import ROOT
from scripted_llm import HANG, RESET, completion, refusal, scripted

from gisttools.synthesis import LLM, generate
from gisttools.synthesis.plan import plan
from gisttools.synthesis.task import Task

ITEMS, KILLS, SEED = 240, 3, 11
ANIMALS = ("dog", "cat", "bird")
TASK = {
    "name": "pets",
    "kind": "classification",
    "description": "What people say about pets.",
    "domain": "a pet forum",
    "language": "eng-Latn",
    "labels": {
        name: {"about": f"About a {name}.", "seeds": [f"My {name} is here.", f"A {name} came by today."]}
        for name in ANIMALS
    },
}
CHILD = """
import json, sys
from gisttools.synthesis.llm import LLM
from gisttools.synthesis.plan import plan, requests_for
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import Task
told = json.loads(sys.argv[1])
task = Task(**told["task"])
requests = requests_for(task, load_prompt("classification"), plan(task, told["items"], told["seed"]))
list(LLM(**told["llm"]).stream(requests))
"""


def embed(texts: list[str]) -> np.ndarray:
    """Which animals occur."""
    found = np.array([[name in t.casefold() for name in ANIMALS] for t in texts], dtype=np.float32) + 1e-3
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class Misbehaviour:
    """20 % of the calls 429, 5 % 500, 2 % no answer, 2 % resets; of the answers 5 % cut, 5 % of another schema, 2 %
    refusals. Remembers which request every answer was for, and calls `alarm` after so many answers."""

    def __init__(self) -> None:
        self.random, self.asked, self.of_answer = random.Random(0), [], {}
        self.alarm, self.alarm_at = threading.Event(), 50

    def __call__(self, number: int, body: dict):
        body.pop("response_format", None)
        request = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.asked.append(request)
        draw = self.random.random()
        if draw < 0.29:
            shares = [(0.20, refusal(429, headers={"retry-after": "0.05"})), (0.25, refusal(500)), (0.27, HANG)]
            return next((act for share, act in shares if draw < share), RESET)
        self.of_answer[f"r{number}"] = request
        if len(self.of_answer) >= self.alarm_at:
            self.alarm.set()
        words = self.random.choices(
            ("lamp", "river", "green", "quick", "stone", "music", "paper", "cloud", "tower"), k=6
        )
        animal = next(name for name in ANIMALS if name in body["messages"][-1]["content"] or name == ANIMALS[-1])
        text = json.dumps({"text": f"{' '.join(words)} {animal} {number}"})
        draw = self.random.random()
        shares = [
            (0.03, completion(text[:-9], finish="length", number=number)),
            (0.05, completion(text[:-9], number=number)),
            (0.10, completion('{"message": "no"}', number=number)),
            (0.12, completion(None, refusal="I would rather not.", number=number)),
        ]
        return next((act for share, act in shares if draw < share), completion(text, number=number))


def stored_answers(path) -> set[str]:
    with sqlite3.connect(path) as cache:
        rows = cache.execute("SELECT value FROM responses").fetchall()
    cache.close()
    return {json.loads(value)["response"]["id"] for (value,) in rows}


def test_all_items_end_with_a_verdict_and_no_stored_answer_is_paid_twice_over_three_kills(tmp_path):
    script, cache = Misbehaviour(), tmp_path / "c.sqlite"
    asked_again = []
    with scripted(script, latency=0.01) as url:
        llm = {"base_url": url, "model": "m", "concurrency": 16, "timeout": 1.0, "cache": str(cache)}
        told = json.dumps({"task": TASK, "items": ITEMS, "seed": SEED, "llm": llm})
        for _ in range(KILLS):
            child = subprocess.Popen([sys.executable, "-c", CHILD, told], env=os.environ | {"PYTHONPATH": str(ROOT)})
            script.alarm.wait(60)
            child.kill()
            assert child.wait() != 0, "the run ended before it was killed"
            paid, so_far = {script.of_answer[i] for i in stored_answers(cache)}, len(script.asked)
            asked_again.append((paid, so_far))
            script.alarm.clear()
            script.alarm_at = len(script.of_answer) + 50
        outcome = generate(Task(**TASK), LLM(**llm), requests=ITEMS, seed=SEED, embed=embed, guide_id="animals")
    for paid, so_far in asked_again:
        assert len(paid) > 0
        assert not paid & set(script.asked[so_far:])
    rows = outcome.accepted.to_list() + outcome.rejected.to_list()
    assert outcome.summary["asked"] == len(rows) == len({row["call_key"] for row in rows}) == ITEMS
    assert all(row["reject_reason"] for row in outcome.rejected)
    assert {"refused", "schema", "truncated"} & set(outcome.summary["reasons"]) >= {"refused"}
    assert outcome.summary["accepted"] > ITEMS / 2
    planned = [item.label for item in plan(Task(**TASK), ITEMS, SEED)]
    assert sorted(row["anchor_label"] for row in rows) == sorted(planned)
