"""How fast an endpoint is asked: places, what a 429 does to them, and the minute's limits."""

from __future__ import annotations

import asyncio
import time

import pytest
from helpers.server import Server, completion, refusal
from hypothesis import given, strategies as st

from gisttools.synthesis.llm.asking import Request
from gisttools.synthesis.llm.budget import Pace


@given(most=st.integers(1, 20), events=st.lists(st.booleans(), max_size=60))
def test_the_window_stays_between_one_and_the_most(most, events):
    pace = Pace(most)
    for good in events:
        pace.went_well() if good else pace.slow_down(time.monotonic())
        assert 1 <= pace.window <= most


def test_calls_of_before_a_halving_do_not_halve_again():
    pace, started = Pace(16), time.monotonic()
    for _ in range(5):
        pace.slow_down(started)
    assert pace.window == 8
    pace.slow_down(time.monotonic() + 1)
    assert pace.window == 4


def test_a_window_of_answers_wins_back_about_one_place():
    pace = Pace(100)
    pace.window = 10.0
    for _ in range(10):
        pace.went_well()
    assert pace.window == pytest.approx(11, abs=0.1)


def test_never_more_calls_are_under_way_than_the_window_and_all_get_their_turn():
    async def main():
        pace, busy, seen = Pace(3), 0, []

        async def call():
            nonlocal busy
            await pace.enter(0)
            busy += 1
            seen.append(busy)
            await asyncio.sleep(0)
            busy -= 1
            pace.leave(0)

        await asyncio.gather(*[call() for _ in range(20)])
        return seen

    seen = asyncio.run(main())
    assert len(seen) == 20
    assert max(seen) == 3


def test_who_comes_first_is_served_first_though_others_ask_again_at_once():
    async def main():
        pace, numbers, entered = Pace(2), iter(range(40)), []

        async def worker():
            for number in numbers:
                await pace.enter(0)
                entered.append(number)
                await asyncio.sleep(0.001)
                pace.leave(0)

        await asyncio.gather(*[worker() for _ in range(4)])
        return entered

    assert asyncio.run(main()) == list(range(40))


def test_a_place_that_was_handed_to_a_call_that_is_cancelled_goes_to_the_next():
    async def main():
        pace = Pace(1)
        await pace.enter(0)
        first, second = (asyncio.create_task(pace.enter(0)) for _ in range(2))
        await asyncio.sleep(0)
        pace.leave(0)
        first.cancel()
        await asyncio.wait_for(second, 5)
        return first.cancelled()

    assert asyncio.run(main())


def _starts(pace: Pace, tokens: list[tuple[int, int]]) -> list[float]:
    async def main():
        starts = []
        for most, unused in tokens:
            starts.append(await pace.enter(most))
            pace.leave(unused)
        return starts

    return asyncio.run(main())


def test_starts_keep_the_limit_of_requests_a_minute():
    starts = _starts(Pace(4, requests_per_minute=3000), [(0, 0)] * 8)
    assert starts[-1] - starts[0] >= 7 * 0.02 - 0.005


def test_starts_keep_the_limit_of_tokens_and_what_was_not_used_is_given_back():
    starts = _starts(Pace(4, tokens_per_minute=60_000), [(40, 0), (1000, 980), (20, 0)])
    assert starts[1] - starts[0] >= 0.035
    assert 0.05 <= starts[2] - starts[0] < 0.5


def test_an_endpoint_that_says_429_to_every_third_call_is_soon_asked_by_few_at_once():
    def answer(number, _):
        return completion('{"text": "hello"}') if number % 3 else refusal(429, headers={"retry-after": "0"})

    with Server(answer) as server:
        llm = server.llm(concurrency=32)
        windows, original = [], Pace.slow_down
        requests = [Request(messages=[{"role": "user", "content": str(i)}], schema={}) for i in range(24)]

        def watched(self, started):
            original(self, started)
            windows.append(self.window)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pace, "slow_down", watched)
            replies = llm.ask(requests)
    assert {r.finish_reason for r in replies} == {"stop"}
    assert min(windows) <= 8
