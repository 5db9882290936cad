"""Prices, and budgets that no call oversteps."""

from __future__ import annotations

import asyncio
import sys
import types

import pytest
from helpers.server import RESET, Server, completion
from hypothesis import given, strategies as st

from gisttools.common.errors import ParameterError
from gisttools.synthesis.llm.asking import Request
from gisttools.synthesis.llm.budget import Budget, Price, Spent, known_price, most_tokens_in
from gisttools.synthesis.llm.options import LLMOptions

PRICE = Price(per_million_in=2.0, per_million_out=10.0)
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
CALLS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500), st.floats(0, 1)), max_size=20)


def _ask(count: int) -> list[Request]:
    return [Request(messages=[{"role": "user", "content": f"item {i}"}], schema=SCHEMA) for i in range(count)]


@given(calls=CALLS, tokens=st.none() | st.integers(1, 3000), usd=st.none() | st.floats(1e-5, 0.01))
def test_calls_side_by_side_never_spend_more_than_the_budget(calls, tokens, usd):
    spent = Spent()

    async def main():
        budget = Budget(tokens=tokens, usd=usd, price=PRICE, spent=spent)

        async def call(most_in, most_out, share):
            if await budget.reserve(most_in, most_out):
                await asyncio.sleep(0)
                budget.settle((most_in, most_out), (int(share * most_in), int(share * most_out)))

        await asyncio.gather(*[call(*c) for c in calls])

    asyncio.run(main())
    assert spent.tokens <= (tokens or float("inf"))
    assert spent.usd <= (usd or float("inf")) * (1 + 1e-9)


def test_a_call_waits_for_what_another_may_leave():
    async def main():
        budget = Budget(tokens=100, usd=None, price=None, spent=Spent())
        assert await budget.reserve(50, 10)
        waiting = asyncio.create_task(budget.reserve(50, 10))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.settle((50, 10), (5, 5))
        return await waiting

    assert asyncio.run(main())


def test_what_can_never_fit_is_refused_at_once():
    async def main():
        budget = Budget(tokens=100, usd=None, price=None, spent=Spent(tokens=50))
        assert await budget.reserve(40, 0)
        return await budget.reserve(40, 20)

    assert asyncio.run(main()) is False


@pytest.mark.parametrize("limit", [{"budget_tokens": 1500}, {"budget_usd": 1.5}])
def test_a_run_ends_within_its_budget_and_says_what_was_not_asked(limit):
    paid = []

    def answer(*_):
        paid.append(1)
        return completion('{"text": "hello"}')  # 7 tokens in, 3 out

    with Server(answer) as server:
        llm = server.llm(concurrency=8, max_tokens=50, price_in=1000.0, price_out=1000.0, **limit)
        replies = llm.ask(_ask(200))
        left = llm.ask(_ask(3))
    assert llm.spent.tokens == 10 * len(paid) <= 1500
    assert llm.spent.usd == pytest.approx(0.01 * len(paid))
    assert len(paid) > 100
    answered = [r for r in replies if r.finish_reason == "stop"]
    assert len(answered) + len([r for r in replies if r.finish_reason == "budget"]) == 200
    assert len(answered) < 200
    assert {r.finish_reason for r in left} == {"budget"}


def test_a_call_that_was_sent_and_not_answered_counts_in_full(monkeypatch):
    def answer(number, _):
        return RESET if number == 0 else completion('{"text": "hello"}')

    with Server(answer) as server:
        llm = server.llm(max_tokens=50)
        llm.ask(_ask(1))
    assert llm.spent.tokens >= 50 + 10


def test_a_reply_says_what_all_its_calls_cost():
    with Server(lambda number, _: completion('{"text": "hello"}' if number else "nothing")) as server:
        (reply,) = server.llm(price_in=1.0, price_out=2.0).ask(_ask(1))
    assert (reply.tokens_in, reply.tokens_out, reply.calls) == (14, 6, 2)
    assert reply.cost_usd == pytest.approx((14 * 1.0 + 6 * 2.0) / 1e6)


def test_without_a_price_the_cost_is_not_known_and_a_budget_in_dollars_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with Server(lambda *_: completion('{"text": "hello"}')) as server:
        (reply,) = server.llm().ask(_ask(1))
        with pytest.raises(ParameterError, match="price_in and price_out"):
            server.llm(budget_usd=1.0)
    assert reply.cost_usd is None


def test_half_a_price_is_refused():
    with pytest.raises(ParameterError, match="give both"):
        LLMOptions(base_url="http://127.0.0.1:9/v1", model="m", price_in=1.0)


def test_the_list_price_is_asked_for_by_address_and_model(monkeypatch):
    def calc_price(usage, *, model_ref, provider_api_url):
        if (model_ref, provider_api_url) != ("big", "https://api.example/v1"):
            raise LookupError("not known")
        dear, cheap = usage["in"] - usage["cached"], usage["cached"]
        return types.SimpleNamespace(input_price=(dear * 2 + cheap / 2) / 1e6, output_price=usage["out"] * 10 / 1e6)

    fake = types.ModuleType("genai_prices")
    fake.calc_price = calc_price
    fake.Usage = lambda input_tokens, output_tokens, cache_read_tokens: {
        "in": input_tokens, "out": output_tokens, "cached": cache_read_tokens
    }  # fmt: skip
    monkeypatch.setitem(sys.modules, "genai_prices", fake)
    price = known_price("https://api.example/v1", "big")
    assert (price.per_million_in, price.per_million_out, price.cached) == pytest.approx((2.0, 10.0, 0.5))
    assert known_price("https://api.example/v1", "small") is None


@given(st.text(max_size=200))
def test_no_text_has_more_tokens_than_is_reserved_for_it(text):
    assert most_tokens_in([{"role": "user", "content": text}], "") > len(text.encode())
