"""The client, by the real openai package, against servers that speak as OpenAI, Anthropic, Gemini and vLLM do."""

from __future__ import annotations

import json
import time

import pytest
from helpers.dialects import DIALECTS, GOOD, VLLM, Anthropic, Busy, Dialect, Gemini, Thinker
from helpers.server import Answer, Server

from gisttools.common import EndpointError
from gisttools.synthesis.llm.asking import Request

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 8, "maxLength": 240}},
    "required": ["text"],
    "additionalProperties": False,
}
ALL = [*DIALECTS, VLLM]


def _ask(count: int) -> list[Request]:
    system = {"role": "system", "content": "You rewrite messages in other words. " * 40}
    return [
        Request(messages=[system, {"role": "user", "content": f"Rewrite {i}."}], schema=SCHEMA) for i in range(count)
    ]


def _serve(dialect: Dialect, first: list[Answer] | None = None) -> Server:
    """Answers well what the dialect takes, after the answers of `first`."""
    waiting = list(first or [])

    def answer(number: int, body: dict) -> Answer:
        if waiting:
            return waiting.pop(0)
        return dialect.refused(body) or dialect.completion(body, GOOD, number)

    return Server(answer)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    from gisttools.common import endpoints

    asked = endpoints._asked_wait
    monkeypatch.setattr(endpoints, "_wait", lambda state: asked(endpoints._error_of(state)) or 0.0)


@pytest.mark.parametrize("dialect", [*ALL, lambda: Thinker()])
def test_each_dialect_is_answered_and_what_it_refuses_is_left_out(dialect):
    dialect = dialect()
    with _serve(dialect) as server:
        replies = server.llm(concurrency=4).ask(_ask(6))
    assert [r.answer for r in replies] == [json.loads(GOOD)] * 6
    assert dialect.refused(server.bodies[-1]) is None
    assert sum(dialect.refused(body) is not None for body in server.bodies) <= 3  # found out once, for all


def test_a_schema_that_is_passed_over_is_asked_for_in_the_prompt_s_words_from_the_second_call_on():
    with _serve(Anthropic()) as server:
        replies = server.llm(concurrency=4, leave_out=["temperature"]).ask(_ask(6))
    assert [r.calls for r in sorted(replies, key=lambda r: -r.calls)] == [2, 1, 1, 1, 1, 1]
    assert sum("response_format" in body for body in server.bodies) == 1
    assert all("JSON schema" in body["messages"][0]["content"] for body in server.bodies[1:])


def test_a_schema_that_is_passed_over_is_found_out_anew_by_another_start_of_the_same_cache(tmp_path):
    with _serve(Anthropic()) as server:
        server.llm(cache=tmp_path / "c.sqlite").ask(_ask(6))
        replies = server.llm(cache=tmp_path / "c.sqlite", concurrency=4).ask(_ask(12))
    assert [r.answer for r in replies] == [json.loads(GOOD)] * 12
    assert sum(r.calls for r in replies) == 7


def test_where_no_json_comes_the_schema_is_told_in_words(tmp_path):
    answers = [GOOD, "no", GOOD]
    dialect = VLLM()
    with Server(lambda number, body: dialect.completion(body, answers[number], number)) as server:
        server.llm(concurrency=1).ask(_ask(2))
    assert json.dumps(SCHEMA) in server.bodies[2]["messages"][-1]["content"]


def test_an_answer_without_json_among_others_changes_no_form():
    answers = [GOOD, "no", GOOD, GOOD]
    dialect = VLLM()
    with Server(lambda number, body: dialect.completion(body, answers[number], number)) as server:
        server.llm(concurrency=1).ask(_ask(3))
    assert all("response_format" in body for body in server.bodies)


def test_guided_decoding_of_vllm_is_asked_for_by_response_format_and_its_thoughts_are_no_answer():
    with _serve(VLLM()) as server:
        (reply,) = server.llm().ask(_ask(1))
    assert server.bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (reply.answer, reply.calls) == (json.loads(GOOD), 1)


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("fault", ["busy", "overloaded"])
def test_who_has_too_much_to_do_is_borne_with_longer_than_other_failures(dialect, fault, monkeypatch):
    monkeypatch.setattr("gisttools.common.endpoints._ATTEMPTS", 1)
    dialect = dialect()
    with _serve(dialect, [getattr(dialect, fault)()] * 3) as server:
        (reply,) = server.llm(leave_out=["temperature", "seed"]).ask(_ask(1))
    assert reply.finish_reason == "stop"


def test_the_delay_in_gemini_s_error_is_waited_for():
    times, dialect = [], Gemini()

    def answer(number: int, body: dict) -> Answer:
        times.append(time.monotonic())
        return dialect.completion(body, GOOD) if number else dialect.busy(delay="0.75s")

    with Server(answer) as server:
        server.llm().ask(_ask(1))
    assert times[1] - times[0] >= 0.75


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_wrong_key_and_an_empty_account_end_the_run_with_what_to_do(dialect):
    dialect = dialect()
    for told, part in ((dialect.wrong_key(), "MY_KEY"), (dialect.no_money(), "quota is used up")):
        with _serve(dialect, [told] * 9) as server, pytest.raises(EndpointError, match=part):
            server.llm(key_variable="MY_KEY", concurrency=1).ask(_ask(3))
        assert len(server.bodies) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_filtered_answer_is_kept_and_not_asked_for_again(dialect, tmp_path):
    dialect = dialect()
    with Server(lambda _, body: dialect.refused(body) or dialect.filtered(body)) as server:
        llm = server.llm(cache=tmp_path / "c.sqlite", leave_out=["temperature", "seed"])
        first, again = llm.ask(_ask(1)) + llm.ask(_ask(1))
    assert first.finish_reason == again.finish_reason in ("content_filter", "refusal")
    assert again.cached


def test_an_error_in_a_list_is_told_in_its_words():
    dialect = Gemini()
    told = dialect.error(400, "Request contains an invalid argument.", "INVALID_ARGUMENT")
    with _serve(dialect, [told] * 40) as server:
        (reply,) = server.llm().ask(_ask(1))
    assert reply.content.endswith("Request contains an invalid argument.")


def test_thoughts_that_only_the_total_counts_are_paid_for():
    with _serve(Gemini()) as server:
        llm = server.llm(price_in=0.0, price_out=1e6, leave_out=["seed"])
        (reply,) = llm.ask(_ask(1))
    usage = Gemini().usage(server.bodies[0], GOOD, 0)
    assert reply.tokens_out == usage["completion_tokens"] + 20
    assert llm.spent.usd == reply.cost_usd == reply.tokens_out


def test_reasoning_effort_is_sent_only_where_it_is_told():
    with _serve(Thinker("minimal")) as server:
        server.llm().ask(_ask(1))
        assert not any("reasoning_effort" in body for body in server.bodies)
        server.llm(reasoning_effort="minimal").ask(_ask(1))
    assert server.bodies[-1]["reasoning_effort"] == "minimal"


@pytest.mark.parametrize("dialect", [Thinker(), Thinker("minimal")])
def test_a_refused_effort_ends_the_run_with_what_to_do(dialect):
    with _serve(dialect) as server, pytest.raises(EndpointError) as caught:
        server.llm(reasoning_effort="xhigh", leave_out=["temperature"]).ask(_ask(2))
    for part in ("reasoning_effort 'xhigh'", "'m'", "Leave it out"):
        assert part in str(caught.value)


def test_another_effort_is_another_request_and_none_is_the_same_as_before(tmp_path):
    with _serve(VLLM()) as server:
        keys = [server.llm(**told).ask(_ask(1))[0].key for told in ({}, {"reasoning_effort": "low"}, {})]
    assert keys[0] == keys[2] != keys[1]


def test_a_model_that_thinks_all_its_room_away_is_named_after_three_answers():
    dialect = Thinker()
    with (
        Server(lambda _, body: dialect.refused(body) or dialect.only_thought(body)) as server,
        pytest.raises(EndpointError, match="reasoning_effort"),
    ):
        server.llm(concurrency=1).ask(_ask(9))


def test_tokens_from_the_cache_of_prompts_cost_what_they_cost(tmp_path):
    with _serve(Dialect()) as server:
        llm = server.llm(cache=tmp_path / "c.sqlite", concurrency=1, price_in=2.0, price_out=0.0, price_cached=0.5)
        replies = llm.ask(_ask(3))
        again = llm.ask(_ask(3))
    cached = [r.tokens_cached for r in replies]
    assert min(cached) >= 256
    assert [r.cost_usd for r in replies] == pytest.approx(
        [((r.tokens_in - r.tokens_cached) * 2.0 + r.tokens_cached * 0.5) / 1e6 for r in replies]
    )
    assert llm.spent.usd == pytest.approx(sum(r.cost_usd for r in replies))
    assert llm.spent.cached == sum(cached)
    assert [r.tokens_cached for r in again] == cached


@pytest.mark.parametrize("dialect", DIALECTS)
def test_many_calls_with_limits_and_faults_are_paid_for_once_and_within_the_budget(dialect, tmp_path):
    dialect = dialect()
    dear, out, cheap = dialect.prices
    prices = {"price_in": dear, "price_out": out, "price_cached": cheap}
    with Busy(dialect, rate=400) as server:
        llm = server.llm(cache=tmp_path / "c.sqlite", concurrency=16, budget_usd=0.05, **prices)
        replies, again = llm.ask(_ask(60)), llm.ask(_ask(60))
    assert {r.finish_reason for r in replies} <= {"stop", "content_filter", "refusal"}
    assert all(r.cached for r in again)
    assert max(server.paid.values()) == 1
    assert server.usd <= llm.spent.usd * (1 + 1e-9) <= 0.05
