"""Two processes at one hostile endpoint, really killed: nothing is lost or paid for twice, and the budget holds."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from helpers import ROOT
from helpers.hostile import run
from helpers.scripted_author import author, labelled_task
from helpers.server import Server, completion

from gisttools.synthesis import LLM
from gisttools.synthesis.llm.asking import Request, _JobLedger
from gisttools.synthesis.llm.budget import Budget, Spent
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


@pytest.mark.parametrize("usage", [{"prompt_tokens": 7, "completion_tokens": 0}, {"completion_tokens": 3}])
def test_a_count_that_lacks_one_side_counts_that_side_in_full(usage) -> None:
    status, headers, body = completion(FINE)
    with Server(lambda *_: (status, headers, body | {"usage": usage})) as server:
        llm = server.llm(max_tokens=100)
        llm.ask(_asks(1))
    assert llm.spent.tokens > (100 if usage["completion_tokens"] == 0 else 3 + len("text 0"))


def test_counts_that_no_number_can_hold_cost_nothing_absurd(tmp_path) -> None:
    status, headers, body = completion(FINE)
    told = json.dumps(body | {"usage": {"prompt_tokens": 10**400, "completion_tokens": 10**400}}).encode()
    options = {"cache": tmp_path / "c.sqlite", "price_in": 1.0, "price_out": 1.0, "max_tokens": 100}
    with Server(lambda *_: (status, headers, told)) as server:
        (first,) = server.llm(**options).ask(_asks(1))
        with sqlite3.connect(options["cache"]) as sql:  # as an earlier version kept it
            ((key, value),) = sql.execute("SELECT key, value FROM responses WHERE key NOT LIKE 'learnt%'").fetchall()
            damaged = json.loads(value) | {"tokens_in": 10**400}
            sql.execute("UPDATE responses SET value = ? WHERE key = ?", (json.dumps(damaged), key))
        (again,) = server.llm(**options).ask(_asks(1))
        assert len(server.calls) == 1
    assert (first.cost_usd, again.cost_usd) == (0.0, 0.0)


def _budget(cache: CallCache, start: str, spent: Spent, tokens: int = 100) -> Budget:
    return Budget(tokens=tokens, usd=None, price=None, spent=spent, ledger=_JobLedger(cache, "job", start))


def test_a_call_waits_for_what_another_process_may_leave_and_not_for_one_that_is_dead(tmp_path) -> None:
    async def main() -> list[bool]:
        with CallCache(tmp_path / "c.sqlite") as one, CallCache(tmp_path / "c.sqlite") as other:
            mine, theirs = _budget(one, "a", Spent()), _budget(other, "b", Spent())
            assert await theirs.reserve(50, 10)
            waiting = asyncio.create_task(mine.reserve(50, 10))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            theirs.settle((50, 10), (5, 5))
            found = [await waiting]
            other.owner = f"{other.owner.split('|')[0]}|{_dead()}|x"
            theirs = _budget(other, "c", Spent())
            assert await theirs.reserve(10, 10)
            mine.settle((50, 10), (50, 10))
            return [*found, await mine.reserve(20, 0)]

    assert asyncio.run(main()) == [True, False]


def _dead() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_batch_that_a_killed_start_left_is_held_back_once(tmp_path) -> None:
    with CallCache(tmp_path / "c.sqlite") as cache:
        killed, spent = _budget(cache, "a", Spent()), Spent()
        killed.hold("t", (60, 0))
        again, third = _budget(cache, "b", spent), _budget(cache, "c", Spent())
        assert not third.fits(50, 0, ever=False)
        again.hold("t", (60, 0))
        assert again.fits(40, 0)
        assert not again.fits(41, 0)
        again.settle_batch("t", (60, 0), (10, 0))
        assert (spent.tokens, again.fits(90, 0), again.fits(91, 0)) == (10, True, False)
        assert third.fits(90, 0)
        killed.settle_batch("t", (60, 0), (10, 0))  # it lived after all: the batch is counted once
        assert third.fits(90, 0)


def test_a_batch_that_is_left_counts_once_until_it_is_held_again(tmp_path) -> None:
    with CallCache(tmp_path / "c.sqlite") as cache:
        spent = Spent()
        before = _budget(cache, "a", spent)
        before.hold("t", (60, 0))
        before.leave("t", (60, 0))
        after = _budget(cache, "a", spent)
        assert (after.fits(40, 0), after.fits(41, 0)) == (True, False)
        after.hold("t", (60, 0))
        after.settle_batch("t", (60, 0), (10, 0))
        assert (after.fits(90, 0), after.fits(91, 0)) == (True, False)


@pytest.mark.slow
def test_a_synthesis_that_is_killed_again_and_again_keeps_to_its_budget(tmp_path) -> None:
    """Without a job being named: the same synthesis is the same job."""
    usd, most, paid = 0.6, 30.0, []

    def answer(number: int, body: dict):
        status, headers, told = author(number, body)
        paid.append(number)
        return status, headers, told | {"usage": {"prompt_tokens": 500, "completion_tokens": 100}}

    with Server(answer, latency=0.02) as server:
        llm = {"base_url": server.url, "model": "m", "concurrency": 2, "budget_usd": most, "price_in": 1000.0}
        told = {"task": labelled_task(), "rows": 200, "seed": 3, "folder": str(tmp_path)}
        told["llm"] = llm | {"price_out": 1000.0, "max_tokens": 100}
        code = "import json, sys; from helpers.scripted_author import synthesize; synthesize(json.loads(sys.argv[1]))"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        for _ in range(3):
            so_far = len(paid)
            child = subprocess.Popen([sys.executable, "-c", code, json.dumps(told)], env=environment)
            server.wait_for(lambda n=so_far + 10, child=child: len(server.calls) >= n or child.poll() is not None)
            child.kill()
            child.wait()
        assert (
            subprocess.run([sys.executable, "-c", code, json.dumps(told)], env=environment, check=False).returncode == 0
        )
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["stopped"] == "budget"
    assert 20 * usd < len(paid) * usd <= most
