"""Hundreds of rows of a server that misbehaves on purpose, by a run that is killed three times on the way.

What the server answers is decided by the request alone; whether it answers is chance. So a run that suffers all of it
must leave the same tables as one that nothing happened to.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.scripted_author import author, labelled_task, request_of, synthesize, text_for
from helpers.server import HANG, RESET, Server, completion, refusal

from gisttools.data.triplets import read_triplets

ROWS, KILLS, SEED = 400, 3, 14
ANSWERS = 50  # before a kill
PATIENCE = 5.0  # seconds for an answer: more than a busy machine takes
CHILD = "import json, sys; from helpers.scripted_author import synthesize; synthesize(json.loads(sys.argv[1]))"


def answer(number: int, body: dict) -> tuple[int, dict, dict]:
    """Of the requests 5 % are answered with cut JSON (half of them say so), 5 % by another schema, 2 % by a refusal."""
    draw = random.Random(request_of(body)).random()
    text = json.dumps({"text": text_for(body)})
    shares = [
        (0.025, completion(text[:-9], finish="length", number=number)),
        (0.05, completion(text[:-9], number=number)),
        (0.10, completion('{"message": "no"}', number=number)),
        (0.12, completion(None, refusal="I would rather not.", number=number)),
    ]
    return next((act for share, act in shares if draw < share), author(number, body))


class Misbehaviour:
    """20 % of the calls get 429, 5 % 500, 2 % no answer, 2 % a reset. Remembers what every answer was for, and calls
    `alarm` after so many answers."""

    def __init__(self) -> None:
        self.random, self.asked, self.of_answer = random.Random(0), [], {}
        self.alarm, self.alarm_at = threading.Event(), ANSWERS

    def __call__(self, number: int, body: dict):
        asked = request_of(body)
        self.asked.append(asked)
        draw = self.random.random()
        if draw < 0.29:
            shares = [(0.20, refusal(429, headers={"retry-after": "0.05"})), (0.25, refusal(500)), (0.27, HANG)]
            return next((act for share, act in shares if draw < share), RESET)
        self.of_answer[f"r{number}"] = asked
        if len(self.of_answer) >= self.alarm_at:
            self.alarm.set()
        return answer(number, body)


def told(folder: Path, url: str, timeout: float) -> dict:
    folder.mkdir(exist_ok=True)
    llm = {"base_url": url, "model": "m", "concurrency": 32, "timeout": timeout}
    return {"task": labelled_task(), "rows": ROWS, "seed": SEED, "llm": llm, "folder": str(folder)}


def start(folder: Path, url: str) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, json.dumps(told(folder, url, PATIENCE))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def stored_answers(path) -> set[str]:
    with sqlite3.connect(path) as cache:
        rows = cache.execute("SELECT value FROM responses WHERE key NOT LIKE 'learnt|%'").fetchall()
    cache.close()
    return {json.loads(value)["response"]["id"] for (value,) in rows}


@pytest.mark.slow
def test_a_run_killed_three_times_loses_nothing_pays_nothing_twice_and_ends_as_an_undisturbed_one(tmp_path):
    script, killed, whole = Misbehaviour(), tmp_path / "killed", tmp_path / "whole"
    asked_again = []
    with Server(script, latency=0.01) as server:
        for _ in range(KILLS):
            child = start(killed, server.url)
            assert script.alarm.wait(120)
            child.kill()
            assert child.wait() != 0, "the run ended before it was killed"
            paid, so_far = {script.of_answer[i] for i in stored_answers(killed / "c.sqlite")}, len(script.asked)
            asked_again.append((paid, so_far))
            script.alarm.clear()
            script.alarm_at = len(script.of_answer) + ANSWERS
        assert start(killed, server.url).wait(300) == 0
    for paid, so_far in asked_again:
        assert len(paid) > ANSWERS / 2
        assert not paid & set(script.asked[so_far:])
    with Server(answer) as server:
        synthesize(told(whole, server.url, timeout=60.0))
    tables = {
        name: [read_triplets(f / f"{name}.parquet") for f in (killed, whole)] for name in ("accepted", "rejected")
    }
    for one, other in tables.values():
        assert one.to_list() == other.to_list()
    accepted, rejected = (pair[0] for pair in tables.values())
    assert len(accepted) + len(rejected) == ROWS == len({*accepted["call_key"][:], *rejected["call_key"][:]})
    assert all(rejected["reject_reason"][:])
    assert {"refused", "schema"} <= set(rejected["reject_reason"][:])
    assert len(accepted) > 0.8 * ROWS
