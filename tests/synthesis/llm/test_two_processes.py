"""Two processes at one hostile endpoint, really killed: nothing is lost or paid for twice, and the budget holds."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from helpers.hostile import run
from helpers.server import Server, completion

from gisttools.synthesis import LLM
from gisttools.synthesis.llm.asking import Request
from gisttools.synthesis.llm.cache import CallCache

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
FINE = '{"text": "fine"}'


def _asks(n: int) -> list[Request]:
    return [Request(messages=[{"role": "user", "content": f"text {i}"}], schema=SCHEMA) for i in range(n)]


@pytest.mark.slow
def test_kills_lose_nothing_and_pay_twice_only_for_what_was_under_way(tmp_path) -> None:
    found = run(tmp_path, calls=100, kills=3, budget=1.0)
    assert found.kills >= 2
    assert found.lost == []
    assert found.twice <= found.under_way
    assert found.answered[0] == found.answered[1] > 60


@pytest.mark.slow
def test_the_budget_holds_over_kills_whatever_the_server_counts(tmp_path) -> None:
    found = run(tmp_path, calls=100, kills=3, budget=0.006)
    assert 0 < found.usd <= found.budget
    assert found.answered[0] < 60  # it ended there


def test_two_clients_of_one_file_pay_once(tmp_path) -> None:
    with Server(lambda *_: completion(FINE), latency=0.05) as server:
        clients = [server.llm(cache=tmp_path / "c.sqlite", concurrency=4) for _ in range(2)]
        answers: list[list] = []
        threads = [threading.Thread(target=lambda llm=llm: answers.append(llm.ask(_asks(30)))) for llm in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.calls) == 30
    assert [r.content for r in answers[0]] == [r.content for r in answers[1]] == [FINE] * 30


def test_a_claim_of_a_dead_process_blocks_nobody(tmp_path) -> None:
    path = str(tmp_path / "c.sqlite")
    code = "import os, sys; from gisttools.synthesis.llm.cache import CallCache; c = CallCache(sys.argv[1])"
    code += "; c.__enter__(); c.take('k'); os._exit(1)"
    subprocess.run([sys.executable, "-c", code, path], check=False)
    with CallCache(tmp_path / "c.sqlite") as cache:
        assert cache.connection.execute("SELECT COUNT(*) FROM claims").fetchone() == (1,)
        assert cache.take("k")


def test_a_claim_of_another_machine_ends_with_its_lease(tmp_path, monkeypatch) -> None:
    path = tmp_path / "c.sqlite"
    with CallCache(path) as here, CallCache(path) as there:
        there.owner = "elsewhere|1|x"
        assert there.take("k")
        assert not here.take("k")
        later = time.time() + 16
        monkeypatch.setattr("gisttools.synthesis.llm.cache.time.time", lambda: later)
        assert here.take("k")


def test_a_claim_that_is_renewed_stays(tmp_path) -> None:
    path = tmp_path / "c.sqlite"
    with CallCache(path) as here, CallCache(path) as there:
        there.owner = "elsewhere|1|x"
        assert there.take("k")
        with sqlite3.connect(path) as sql:
            sql.execute("UPDATE claims SET until = 0")
        there.renew()
        assert not here.take("k")


def test_what_an_interrupted_start_of_a_job_spent_counts(tmp_path) -> None:
    """Also what it had under way, in full."""
    cache = tmp_path / "c.sqlite"
    told = {"price_in": 0.0, "price_out": 1.0, "max_tokens": 100, "budget_usd": 0.001, "concurrency": 1}
    with Server(lambda *_: completion(FINE)) as server:
        options = server.llm(**told).options
        with CallCache(cache) as opened:
            opened.note_spent("job", "a start that was killed", 950, 0.00095)
        replies = LLM(options, cache=cache, job="job").ask(_asks(3))
        assert [r.finish_reason for r in replies] == ["budget"] * 3
        assert [r.finish_reason for r in LLM(options, cache=cache, job="other").ask(_asks(3))] == ["stop"] * 3
        llm = LLM(options, cache=cache, job="job")
        llm.forget_spent()
        assert [r.finish_reason for r in llm.ask(_asks(4)[3:])] == ["stop"]


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": -(10**6), "completion_tokens": -(10**6)}, {"prompt_tokens": 10**15}]
)
def test_what_a_server_counts_cannot_move_the_budget(tmp_path, usage) -> None:
    status, headers, body = completion(FINE)
    with Server(lambda *_: (status, headers, body | {"usage": usage})) as server:
        llm = server.llm(price_in=0.0, price_out=1.0, max_tokens=100, budget_usd=0.00035, concurrency=1)
        replies = llm.ask(_asks(10))
    assert [r.finish_reason for r in replies] == ["stop"] * 3 + ["budget"] * 7  # each counts as its most
    json.dumps(llm.spent.usd)


def test_an_answer_beyond_max_tokens_is_warned_of_and_counted(caplog) -> None:
    status, headers, body = completion(FINE)
    with Server(
        lambda *_: (status, headers, body | {"usage": {"prompt_tokens": 7, "completion_tokens": 900}})
    ) as server:
        llm = server.llm(price_in=0.0, price_out=1.0, max_tokens=100)
        llm.ask(_asks(2))
    assert llm.spent.tokens == 2 * 907
    assert caplog.text.count("does not keep to max_tokens") == 1
