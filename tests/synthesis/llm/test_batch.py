"""Batches: the same replies as live calls, nothing paid twice, whatever happens in between."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading

import pytest
from helpers import ROOT
from helpers.server import HANG, BatchServer, Ending, completion, refusal

from gisttools.common.errors import EndpointError, MissingError, ParameterError
from gisttools.synthesis import open_llm
from gisttools.synthesis.llm.asking import Request
from gisttools.synthesis.llm.batch import BatchTable
from gisttools.synthesis.llm.cache import CallCache
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.llm.options import LLMOptions
from gisttools.workflow.params import SynthesizeParams

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
CHILD = """
import json, sys
from gisttools.synthesis.llm.asking import Request
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.llm.options import LLMOptions
told = json.loads(sys.argv[1])
cache = told["llm"].pop("cache")
replies = LLM(LLMOptions(**told["llm"]), cache=cache).ask([Request(**r) for r in told["requests"]])
print(json.dumps([r.content for r in replies]))
"""


def asked_of(body):
    """The request's own words."""
    return body["messages"][0]["content"].split("\n")[0]


def echo(body):
    return completion(json.dumps({"text": f"re: {asked_of(body)}\u2028"}, ensure_ascii=False))


def _requests(count):
    return [Request(messages=[{"role": "user", "content": f"item {i}"}], schema=SCHEMA) for i in range(count)]


def _settings(server, tmp_path, **more):
    return {"base_url": server.url, "model": "m", "cache": tmp_path / "c.sqlite", "transport": "batch",
            "poll_seconds": 0.01} | more  # fmt: skip


def _llm(server, tmp_path, **more):
    return server.llm(**_settings(server, tmp_path, **more))


def _child(server, tmp_path, count, key="none"):
    settings = _settings(server, tmp_path, cache=str(tmp_path / "c.sqlite"))
    told = {"llm": settings, "requests": [dataclasses.asdict(r) for r in _requests(count)]}
    command = [sys.executable, "-c", CHILD, json.dumps(told)]
    environment = os.environ | {"OPENAI_API_KEY": key}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_replies_are_those_of_live_calls_row_for_row(tmp_path):
    with BatchServer(echo) as server:
        batch = _llm(server, tmp_path).ask(_requests(30))
        one_by_one = {"cache": tmp_path / "live.sqlite", "transport": "live", "concurrency": 1}
        live = _llm(server, tmp_path, **one_by_one).ask(_requests(30))
    assert batch == live
    assert [json.loads(r.content)["text"] for r in batch] == [f"re: item {i}\u2028" for i in range(30)]
    assert [len(server.bodies_of(n)) for n in range(len(server.batches))] == [29]  # one live call looks what is taken
    assert sorted(server.live[1:], key=asked_of) == sorted(server.live[:1] + server.bodies_of(0), key=asked_of)


def test_live_calls_and_batches_share_the_cache(tmp_path):
    with BatchServer(echo) as server:
        _llm(server, tmp_path, transport="live").ask(_requests(4))
        _llm(server, tmp_path).ask(_requests(8))
        again = _llm(server, tmp_path, transport="live").ask(_requests(8))
    assert all(r.cached for r in again)
    assert len(server.live) + len(server.bodies_of(0)) == 8


def test_large_jobs_are_split_into_files(tmp_path, monkeypatch):
    monkeypatch.setattr("gisttools.synthesis.llm.batch.MOST_LINES", 4)
    with BatchServer(echo) as server:
        replies = _llm(server, tmp_path).ask(_requests(11))
        monkeypatch.setattr("gisttools.synthesis.llm.batch._MOST_BYTES", 1000)
        _llm(server, tmp_path, seed=1).ask(_requests(11))
    assert [len(server.bodies_of(n)) for n in range(3)] == [4, 4, 2]
    sizes = [len(server.files[b["input_file_id"]]) for b in server.batches[3:]]
    assert len(sizes) > 2
    assert max(sizes) <= 1000
    assert all(r.finish_reason == "stop" for r in replies)


def test_equal_requests_share_a_line(tmp_path):
    with BatchServer(echo) as server:
        replies = _llm(server, tmp_path).ask(_requests(3) * 2)
    assert [r.content for r in replies[:3]] == [r.content for r in replies[3:]]
    assert len(server.live) + len(server.bodies_of(0)) == 3


@pytest.mark.parametrize("failure", [refusal(429, "slow down"), refusal(500, "oops"), (200, {}, {"choices": []})])
def test_lines_that_failed_for_a_reason_that_passes_are_asked_for_again(tmp_path, failure):
    failed = []

    def answer(body):
        if asked_of(body) in ("item 2", "item 3") and asked_of(body) not in failed:
            failed.append(asked_of(body))
            return failure
        return echo(body)

    with BatchServer(answer) as server:
        replies = _llm(server, tmp_path).ask(_requests(5))
    assert [asked_of(b) for b in server.bodies_of(1)] == ["item 2", "item 3"]
    assert [r.finish_reason for r in replies] == ["stop"] * 5
    assert [r.calls for r in replies] == [1] * 5


def test_a_line_that_fails_in_every_batch_becomes_an_error(tmp_path):
    with BatchServer(lambda body: refusal(503, "busy") if asked_of(body) == "item 3" else echo(body)) as server:
        replies = _llm(server, tmp_path).ask(_requests(5))
    assert [r.finish_reason for r in replies] == ["stop"] * 3 + ["error", "stop"]
    assert "busy" in replies[3].content
    assert [len(server.bodies_of(n)) for n in range(len(server.batches))] == [4, 1, 1]


@pytest.mark.parametrize("silent", [False, True])
def test_what_an_expired_batch_left_out_is_asked_for_again(tmp_path, silent):
    def end(number, bodies):
        return Ending("expired", left_out=(1, 2), silent=silent) if number == 0 else Ending()

    with BatchServer(echo, end) as server:
        llm = _llm(server, tmp_path)
        replies = llm.ask(_requests(6))
    assert [r.finish_reason for r in replies] == ["stop"] * 6
    assert len(server.bodies_of(1)) == 2
    assert llm.spent.tokens == 6 * 10


def test_a_failed_batch_is_named_with_the_endpoint_s_reasons_and_can_be_run_again(tmp_path):
    errors = ({"code": "invalid_model", "message": "no such model", "line": 3, "param": None},)
    with BatchServer(echo, lambda number, _: Ending("completed" if number else "failed", errors=errors)) as server:
        llm = _llm(server, tmp_path)
        with pytest.raises(EndpointError) as caught:
            llm.ask(_requests(4))
        replies = llm.ask(_requests(4))
    for part in ("batch_0", "line 3: no such model (invalid_model)", "run again"):
        assert part in str(caught.value)
    assert [r.finish_reason for r in replies] == ["stop"] * 4
    assert len(server.batches) == 2


def test_what_a_cancelled_batch_answered_is_kept(tmp_path):
    with BatchServer(
        echo, lambda number, _: Ending() if number else Ending("cancelled", left_out=(2,), silent=True)
    ) as server:
        llm = _llm(server, tmp_path)
        with pytest.raises(EndpointError, match=r"batch_0[\s\S]*2 of 3 calls had been answered"):
            llm.ask(_requests(4))
        llm.ask(_requests(4))
    assert len(server.bodies_of(1)) == 1


@pytest.mark.parametrize(
    ("code", "status", "part"),
    [("insufficient_quota", 429, "quota"), (None, 401, "OPENAI_API_KEY"), ("model_not_found", 404, "'m'")],
)
def test_a_line_that_no_waiting_helps_ends_the_run_after_the_answers(tmp_path, code, status, part):
    with BatchServer(lambda body: refusal(status, code=code) if asked_of(body) == "item 2" else echo(body)) as server:
        llm, arrived = _llm(server, tmp_path), []
        with pytest.raises(EndpointError, match=part):
            arrived.extend(i for i, _ in llm.stream(_requests(5)))
    assert sorted(arrived) == [0, 1, 3, 4]


def test_an_endpoint_without_batches_says_so(tmp_path):
    with BatchServer(echo) as server:
        server._upload = lambda *_: (404, {}, {"error": {"message": "no such address"}})
        with pytest.raises(EndpointError, match="no Batch API") as caught:
            _llm(server, tmp_path).ask(_requests(4))
    assert "transport live" in str(caught.value)


def test_refusals_and_filtered_answers_are_kept_and_never_asked_again(tmp_path):
    told = {
        "item 1": completion(None, refusal="I will not."),
        "item 2": completion("", finish="content_filter"),
        "item 3": refusal(400, "filtered", code="content_filter"),
    }
    with BatchServer(lambda body: told.get(asked_of(body)) or echo(body)) as server:
        llm = _llm(server, tmp_path)
        first, again = llm.ask(_requests(5)), llm.ask(_requests(5))
    assert [r.finish_reason for r in first] == ["stop", "refusal", "content_filter", "content_filter", "stop"]
    assert first[3].content == "filtered"
    assert [r.content for r in again] == [r.content for r in first]
    assert all(r.cached for r in again)
    assert len(server.batches) == 1


def test_a_request_that_is_refused_is_an_error_of_its_own(tmp_path):
    with BatchServer(lambda body: refusal(400, "too long") if asked_of(body) == "item 2" else echo(body)) as server:
        replies = _llm(server, tmp_path).ask(_requests(4))
    assert [r.finish_reason for r in replies] == ["stop", "stop", "error", "stop"]
    assert "too long" in replies[2].content
    assert len(server.batches) == 1


def test_a_form_that_one_live_call_found_out_is_that_of_all_lines(tmp_path):
    with BatchServer(lambda body: refusal(400) if "response_format" in body else echo(body)) as server:
        replies = _llm(server, tmp_path).ask(_requests(6))
    assert len(server.live) == 4
    assert not any("response_format" in body for body in server.bodies_of(0))
    assert [r.finish_reason for r in replies] == ["stop"] * 6


@pytest.mark.parametrize(
    ("refused", "batches"),
    [
        (lambda body: refusal(400, param="temperature") if "temperature" in body else None, 2),
        (lambda body: refusal(400) if body.get("response_format", {}).get("type") == "json_schema" else None, 3),
    ],
)
def test_batches_that_take_less_than_live_calls_teach_it(tmp_path, refused, batches):
    with BatchServer(echo) as server:
        server.end = lambda *_: setattr(server, "answer", lambda body: refused(body) or echo(body)) or Ending()
        replies = _llm(server, tmp_path).ask(_requests(6))
    assert [r.finish_reason for r in replies] == ["stop"] * 6
    assert len(server.batches) == batches


def test_a_cut_answer_is_asked_for_with_more_room_and_an_unfit_one_with_a_word_in_the_next_batch(tmp_path):
    def answer(body):
        if asked_of(body) == "item 2" and body["max_tokens"] == 300:
            return completion('{"te', finish="length")
        if asked_of(body) == "item 3" and len(body["messages"]) == 1:
            return completion('{"txt": 1}')
        return echo(body)

    with BatchServer(answer) as server:
        replies = _llm(server, tmp_path).ask(_requests(5))
    cut, unfit = server.bodies_of(1)
    assert cut["max_tokens"] == 600
    assert [m["role"] for m in unfit["messages"]] == ["user", "assistant", "user"]
    assert [(r.finish_reason, r.problem) for r in replies] == [("stop", None)] * 5
    assert [r.calls for r in replies] == [1, 1, 2, 2, 1]


@pytest.mark.parametrize("limit", [{"budget_tokens": 3000}, {"budget_usd": 3.0}])
def test_no_budget_is_overstepped_and_what_is_left_over_is_used(tmp_path, limit):
    with BatchServer(echo) as server:
        llm = _llm(server, tmp_path, max_tokens=50, price_in=1000.0, price_out=1000.0, **limit)
        sent, highest = [], 0

        def end(_, bodies):
            nonlocal highest
            held = sum(len(b["messages"][0]["content"]) + 50 for b in bodies)  # no call can take less at most
            highest = max(highest, 10 * len(sent) + held)
            sent.extend(bodies)
            return Ending()

        server.end = end
        replies = llm.ask(_requests(60))
    asked = [r for r in replies if r.finish_reason == "stop"]
    assert highest <= 3000
    assert llm.spent.tokens == 10 * len(asked) == 10 * (1 + len(sent))
    assert {r.finish_reason for r in replies} == {"stop", "budget"}
    assert 1 < len(server.batches) <= 3


def test_a_request_that_never_fits_the_budget_waits_for_nobody(tmp_path):
    with BatchServer(echo) as server:
        long = Request(messages=[{"role": "user", "content": "x" * 9000}], schema=SCHEMA)
        replies = _llm(server, tmp_path, budget_tokens=5000).ask([*_requests(2), long])
    assert [r.finish_reason for r in replies] == ["stop", "stop", "budget"]


def test_a_batch_that_an_earlier_run_left_counts_once(tmp_path):
    with BatchServer(echo) as server:
        llm = _llm(server, tmp_path, budget_tokens=100_000)
        server.may_end.clear()
        stream = llm.stream(_requests(5))
        next(stream)
        server.wait_for(lambda: "GET /v1/batches/batch_0" in server.names)
        stream.close()
        left = llm.spent.tokens
        server.may_end.set()
        replies = llm.ask(_requests(5))
    assert left > 4 * 300
    assert llm.spent.tokens == 5 * 10
    assert len(server.batches) == 1
    assert [r.cached for r in replies] == [True] + [False] * 4


def test_the_account_s_full_queue_makes_batches_smaller_and_one_at_a_time(tmp_path):
    full = ({"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None, "param": None},)

    def end(_, bodies):
        return Ending("failed", errors=full) if len(bodies) > 3 else Ending()

    with BatchServer(echo, end) as server:
        replies = _llm(server, tmp_path).ask(_requests(9))
    assert [r.finish_reason for r in replies] == ["stop"] * 9
    assert [len(server.bodies_of(n)) for n in range(len(server.batches))] == [8, 4, 2, 2, 2, 2]


def test_a_queue_that_does_not_hold_one_call_is_an_error(tmp_path):
    full = ({"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None, "param": None},)
    with (
        BatchServer(echo, lambda *_: Ending("failed", errors=full)) as server,
        pytest.raises(EndpointError, match="Enqueued token limit reached") as caught,
    ):
        _llm(server, tmp_path).ask(_requests(3))
    assert "other batches have ended" in str(caught.value)


def test_a_run_that_is_killed_while_its_batch_runs_finds_it_again(tmp_path):
    with BatchServer(echo) as server:
        server.may_end.clear()
        with _child(server, tmp_path, 12) as child:
            server.wait_for(lambda: server.names.count("GET /v1/batches/batch_0") > 1)
            child.kill()
        server.may_end.set()
        with _child(server, tmp_path, 12) as child:
            contents = json.loads(child.stdout.read())
        assert child.returncode == 0
        assert (len(server.batches), len(server.bodies_of(0)), len(server.live)) == (1, 11, 1)
    assert [json.loads(c)["text"] for c in contents] == [f"re: item {i}\u2028" for i in range(12)]
    # and all of it is recorded, with the server gone
    replayed = _llm(server, tmp_path, mode="replay").ask(_requests(12))
    assert [r.content for r in replayed] == contents


def test_a_run_that_is_killed_before_it_learnt_its_batch_s_id_finds_it_by_its_token(tmp_path):
    with BatchServer(echo, created=lambda _: HANG) as server:
        with _child(server, tmp_path, 6) as child:
            server.wait_for(lambda: len(server.batches) == 1)
            child.kill()
        server.created = lambda _: None
        for seed in range(3):  # so that it is on the second page of the list
            _llm(server, tmp_path, cache=tmp_path / "other.sqlite", seed=seed + 1).ask(_requests(2))
        replies = _llm(server, tmp_path).ask(_requests(6))
    assert [r.finish_reason for r in replies] == ["stop"] * 6
    assert [len(server.bodies_of(n)) for n in range(len(server.batches))] == [5, 1, 1, 1]


def test_a_run_that_is_killed_before_it_submitted_submits(tmp_path):
    with BatchServer(echo) as server:
        server._create = lambda asked: HANG
        with _child(server, tmp_path, 6) as child:
            server.wait_for(lambda: "POST /v1/batches" in server.names)
            child.kill()
        del server._create
        replies = _llm(server, tmp_path).ask(_requests(6))
    assert [r.finish_reason for r in replies] == ["stop"] * 6
    assert [len(server.bodies_of(n)) for n in range(len(server.batches))] == [5]
    with CallCache(tmp_path / "c.sqlite") as cache:
        assert BatchTable(cache).holding([r.key for r in replies]) == []  # nothing is left of either


def test_a_batch_whose_creation_seemed_to_fail_is_not_made_twice(tmp_path):
    with BatchServer(echo) as server:
        create, tries = server._create, []

        def stumble(asked):
            answer = create(asked)
            tries.append(1)
            return refusal(500, "oops") if len(tries) == 1 else answer

        server._create = stumble
        replies = _llm(server, tmp_path).ask(_requests(4))
    assert [r.finish_reason for r in replies] == ["stop"] * 4
    assert len(server.batches) == 1


def test_two_processes_that_share_a_cache_ask_for_everything_once(tmp_path):
    with BatchServer(echo) as server:
        server.may_end.clear()
        children = [_child(server, tmp_path, 20, key) for key in "ab"]
        looks = {(f"Bearer {key}", "GET /v1/batches/batch_0") for key in "ab"}
        server.wait_for(lambda: looks <= {(call.headers["authorization"], call.name) for call in server.calls})
        server.may_end.set()
        contents = [json.loads(child.communicate()[0]) for child in children]
    assert contents[0] == contents[1]
    assert (len(server.live), [len(server.bodies_of(n)) for n in range(len(server.batches))]) == (1, [19])


def test_two_runs_of_overlapping_requests_follow_each_other_s_batches(tmp_path):
    with BatchServer(echo) as server:
        server.may_end.clear()
        replies = {}

        def run(name, requests):
            replies[name] = _llm(server, tmp_path).ask(requests)

        first = threading.Thread(target=run, args=("a", _requests(10)))
        first.start()
        server.wait_for(lambda: len(server.batches) == 1)
        second = threading.Thread(target=run, args=("b", _requests(15)[5:]))
        second.start()
        server.wait_for(lambda: len(server.batches) == 2)
        server.may_end.set()
        first.join()
        second.join()
    assert [len(server.bodies_of(n)) for n in range(2)] == [9, 5]
    assert len(server.live) == 1
    assert [r.content for r in replies["a"][5:]] == [r.content for r in replies["b"][:5]]


def test_a_recording_asks_anew_but_takes_a_batch_that_is_under_way(tmp_path):
    with BatchServer(echo) as server:
        _llm(server, tmp_path).ask(_requests(4))
        record = _llm(server, tmp_path, mode="record")
        server.may_end.clear()
        stream = record.stream(_requests(4))
        next(stream)
        server.wait_for(lambda: "GET /v1/batches/batch_1" in server.names)
        stream.close()
        server.may_end.set()
        replies = record.ask(_requests(4))
    assert not any(r.cached for r in replies)
    assert [len(server.bodies_of(n)) for n in range(len(server.batches))] == [3, 3, 1]


def test_a_replay_asks_nobody(tmp_path):
    with BatchServer(echo) as server:
        _llm(server, tmp_path).ask(_requests(4))
        before = len(server.calls)
        replay = _llm(server, tmp_path, mode="replay")
        assert all(r.cached for r in replay.ask(_requests(4)))
        with pytest.raises(MissingError):
            replay.ask(_requests(5))
        assert len(server.calls) == before


def test_a_batch_that_the_account_does_not_know_is_not_paid_again_unasked(tmp_path):
    with BatchServer(echo) as server:
        llm = _llm(server, tmp_path)
        server.may_end.clear()
        stream = llm.stream(_requests(3))
        next(stream)
        server.wait_for(lambda: "GET /v1/batches/batch_0" in server.names)
        stream.close()
        lines, server.batches[:] = server.bodies_of(0), []
        with pytest.raises(EndpointError, match=r"batch_0.*OPENAI_API_KEY"):
            llm.ask(_requests(3))
        assert len(lines) == 2
        replies = llm.live().ask(_requests(3))
    assert [r.finish_reason for r in replies] == ["stop"] * 3


def test_answers_that_the_endpoint_has_dropped_are_asked_for_again(tmp_path):
    with BatchServer(echo, lambda number, _: Ending(dropped=number == 0)) as server:
        replies = _llm(server, tmp_path).ask(_requests(3))
    assert [r.finish_reason for r in replies] == ["stop"] * 3


def test_batches_need_a_cache_and_a_known_transport():
    for wrong, part in (({"transport": "batch"}, "no cache"), ({"transport": "pigeon"}, "'pigeon'")):
        with pytest.raises(ParameterError, match=part):
            LLM(LLMOptions(base_url="http://127.0.0.1:9/v1", model="m", **wrong))
    with pytest.raises(ParameterError, match="poll_seconds"):
        LLMOptions(base_url="http://127.0.0.1:9/v1", model="m", poll_seconds=0.0)


def test_the_notebook_s_parameter_reaches_the_client_and_the_embedded_server_has_no_batches(tmp_path):
    params = SynthesizeParams(llm_base_url="http://127.0.0.1:9/v1", llm_model="m", llm_transport="batch")
    with open_llm(params.llm_options(), cache=tmp_path / "c.sqlite") as llm:
        assert llm.options.transport == "batch"
    embedded = SynthesizeParams(llm_transport="batch")
    with pytest.raises(ParameterError, match="no Batch API"):
        embedded.llm_options()
