"""Limits what calls may cost, and how fast an endpoint is asked.

No call exceeds the budget: its worst-case cost is reserved before it is sent. Calls under way are halved by a 429 and
won back one by one, by additive increase and halving as in TCP's congestion control (Chiu and Jain, 1989).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

_MILLION = 1e6
_LOOK_AGAIN = 0.2  # seconds
_A_MESSAGE = 16  # tokens that a chat template may put around a message, generously


class Bell:
    """Lets tasks wait until something that only other tasks can change is true."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future] = []

    async def wait(self, true: Callable[[], bool]) -> None:
        """Return once `true()` is."""
        while not true():
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def ring(self) -> None:
        """Let those that wait look again."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class Pace:
    """One endpoint's turnstile: first come, first served.

    Args:
        most: calls under way at most; as many are let in until the endpoint says 429.
        requests_per_minute, tokens_per_minute: limits of starts, evenly spread; None: none.
    """

    def __init__(
        self, most: int, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.window = float(most)  # calls under way that the endpoint seems to bear
        self._most, self._busy = most, 0
        self._waiting: deque[asyncio.Future] = deque()
        self._call_gap = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token_gap = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._call_due = self._tokens_due = self._halved = 0.0

    async def enter(self, tokens: int) -> float:
        """Wait for a place and for the minute's limits; the time (monotonic) at which the call may start.

        `tokens` is what the call may use at most. Every `enter` that returns is ended by one `leave`.
        """
        await self._place()
        now = time.monotonic()
        start = max(now, self._call_due, self._tokens_due)
        self._call_due, self._tokens_due = start + self._call_gap, start + tokens * self._token_gap
        if start > now:
            try:
                await asyncio.sleep(start - now)
            except asyncio.CancelledError:
                self.leave(0)
                raise
        return time.monotonic()

    def leave(self, unused: int) -> None:
        """A call has ended; `unused` of its tokens were not used after all."""
        self._busy -= 1
        self._tokens_due -= unused * self._token_gap
        self._let_in()

    async def _place(self) -> None:
        """One of the places. Who leaves hands it to who waits longest: a worker whose call has ended asks for the next
        at once, and if it could take the place, those that wait would wait until the end."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had been handed a place
                self.leave(0)
            raise

    def _let_in(self) -> None:
        while self._waiting and self._busy < int(self.window):
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)

    def went_well(self) -> None:
        """One call more for each window of calls that were answered."""
        self.window = min(self._most, self.window + 1 / self.window)

    def slow_down(self, started: float) -> None:
        """A call that started then met a 429. Calls of before the last halving say nothing new."""
        if started >= self._halved:
            self.window, self._halved = max(1.0, self.window / 2), time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars for a million tokens in, and for a million tokens out; of those in that an endpoint had in its cache
    of prompts, as of the others where None."""

    per_million_in: float
    per_million_out: float
    per_million_cached: float | None = None

    @property
    def cached(self) -> float:
        """US dollars for a million tokens in from the endpoint's cache."""
        return self.per_million_in if self.per_million_cached is None else self.per_million_cached

    def of(self, tokens_in: int, tokens_out: int, cached: int = 0) -> float:
        """US dollars for so many tokens, of which `cached` of those in came from the endpoint's cache."""
        others = (tokens_in - cached) * self.per_million_in + tokens_out * self.per_million_out
        return (others + cached * self.cached) / _MILLION


def known_price(url: str, model: str) -> Price | None:
    """The list price of a model at an address, from the package genai-prices; None where that, or the price, is not
    there. Of prices in steps the lowest step, that of short prompts."""
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    try:
        found, again = (
            calc_price(
                Usage(input_tokens=1000, output_tokens=1000, cache_read_tokens=cached),
                model_ref=model,
                provider_api_url=url,
            )
            for cached in (0, 1000)
        )
    except LookupError:
        return None
    return Price(
        per_million_in=float(found.input_price) * 1000,
        per_million_out=float(found.output_price) * 1000,
        per_million_cached=float(again.input_price) * 1000,
    )


def most_tokens_in(messages: Sequence[dict[str, str]], form: str) -> int:
    """No fewer tokens than the messages and their form can have: one for each byte, and a few around each message."""
    return sum(len(m["content"].encode()) + _A_MESSAGE for m in messages) + len(form.encode()) + _A_MESSAGE


@dataclass(kw_only=True)
class Spent:
    """Tokens and US dollars of calls that were sent; their most, where an answer did not come or did not say. `cached`
    of the tokens came from the endpoint's cache of prompts."""

    tokens: int = 0
    usd: float = 0.0
    cached: int = 0
    left: dict[str, tuple[int, float]] = field(default_factory=dict, repr=False)  # batches left under way, by token


def certain(told: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    """Tokens in and out that count, by what an endpoint says: the most, where it says nothing. A call has some of
    each."""
    return told[0] or most[0], told[1] or most[1]


def _sum(costs: Iterable[tuple[int, float]]) -> tuple[int, float]:
    costs = list(costs)
    return sum(tokens for tokens, _ in costs), sum(usd for _, usd in costs)


class Ledger(Protocol):
    """Where the starts of one job write down what they spend, so that one that was killed counts."""

    def together(self) -> AbstractContextManager[None]:
        """Inside, no other process reads or writes; what is written stays, whatever happens to the machine."""

    def others(self) -> tuple[int, float]:
        """Tokens and US dollars that other starts have spent or hold back."""

    def held_by_others(self) -> tuple[int, float]:
        """Of that what may be left over yet, for those that hold it back are under way."""

    def write(self, spent: tuple[int, float], held: tuple[int, float]) -> None:
        """What this start has spent and holds back, but for batches."""

    def write_batch(self, token: str, held: tuple[int, float]) -> None:
        """What a batch under way can cost, whoever waits for it."""

    def strike_out_batch(self, token: str) -> bool:
        """A batch has ended; False where another start has said so."""


class Budget:
    """Tokens and US dollars that may be spent.

    Args:
        tokens, usd: limits; None: none. A limit in dollars needs a price.
        spent: what was spent before; it is counted on.
        ledger: of the job that the limits are for; None where they are for these calls alone.
    """

    def __init__(
        self, *, tokens: int | None, usd: float | None, price: Price | None, spent: Spent, ledger: Ledger | None = None
    ) -> None:
        self._ledger = ledger if tokens is not None or usd is not None else None
        self._others, self._may_return = (0, 0.0), (0, 0.0)
        self._batches: dict[str, tuple[int, float]] = {}  # what is held back for each, a line of the ledger of its own
        self._limits = (tokens if tokens is not None else float("inf"), usd if usd is not None else float("inf"))
        self._price, self._spent, self._bell = price, spent, Bell()
        self._held = [0, 0.0]
        self._holders = 0

    async def reserve(self, tokens_in: int, tokens_out: int) -> bool:
        """Hold back what a call can cost. Waits for calls under way where they may leave enough; False where there
        will not be enough. Every True is ended by one `settle`."""
        need = self._costs(tokens_in, tokens_out)
        while True:
            await self._bell.wait(lambda: self._fits(need, self._held) or not self._fits(need, (0, 0.0)))
            with self._ledger.together() if self._ledger else nullcontext():
                self._look_around()
                if self._fits(need, self._held):
                    self._hold(need, 1)
                    return True
            if not self._fits(need, (0, 0.0)):  # for what others have spent, or hold back and may leave over
                if not self._fits(need, self._returned):
                    return False
                await asyncio.sleep(_LOOK_AGAIN)

    def settle(self, reserved: tuple[int, int], used: tuple[int, int], cached: int = 0) -> None:
        """The call that reserved (tokens in, out) used so many of them, and `cached` of those in cost less."""
        self._hold(self._costs(*reserved), -1)
        tokens, usd = self._costs(*used, cached)
        self._spent.tokens += tokens
        self._spent.usd += usd
        self._spent.cached += cached
        self._write()
        self._bell.ring()

    def announce(self) -> None:
        """Write down what was spent before the job: the other endpoints of one LLM count it."""
        self._write()

    def fits(self, tokens_in: int, tokens_out: int, *, ever: bool = False) -> bool:
        """Does the budget hold so much now; or, `ever`, could it if all that is held back were left over?"""
        self._look_around()
        return self._fits(self._costs(tokens_in, tokens_out), self._returned if ever else self._held)

    def hold(self, token: str, most: tuple[int, int]) -> None:
        """Hold back what a batch can cost, fits it or not: it is under way. Ended by one `settle_batch` or `leave`."""
        tokens, usd = self._spent.left.pop(token, (0, 0.0))  # it was counted when an earlier run left it
        self._spent.tokens -= tokens
        self._spent.usd -= usd
        if self._ledger is not None:
            self._batches[token] = self._costs(*most)
            self._ledger.write_batch(token, self._batches[token])
        self._hold(self._costs(*most), 1)

    def settle_batch(self, token: str, most: tuple[int, int], used: tuple[int, int]) -> None:
        """The batch used so many tokens; where another start has settled it, they are counted there."""
        self._batches.pop(token, None)
        mine = self._ledger is None or self._ledger.strike_out_batch(token)
        self.settle(most, used if mine else (0, 0))

    def leave(self, token: str, most: tuple[int, int]) -> None:
        """A run ends while its batch goes on: it counts in full until a later run holds it again."""
        self._batches.pop(token, None)
        self._spent.left[token] = self._costs(*most)
        self.settle(most, most)

    def _costs(self, tokens_in: int, tokens_out: int, cached: int = 0) -> tuple[int, float]:
        return tokens_in + tokens_out, self._price.of(tokens_in, tokens_out, cached) if self._price else 0.0

    def _hold(self, cost: tuple[int, float], sign: int) -> None:
        self._holders += sign
        self._held = [self._held[0] + sign * cost[0], self._held[1] + sign * cost[1] if self._holders else 0.0]
        self._write()

    def _look_around(self) -> None:
        if self._ledger is not None:
            own = _sum(self._batches.values()), _sum(self._spent.left.values())  # these count here
            tokens, usd = self._ledger.others()
            self._others = (tokens - own[0][0] - own[1][0], usd - own[0][1] - own[1][1])
            tokens, usd = self._ledger.held_by_others()
            self._may_return = (tokens - own[0][0], usd - own[0][1])

    @property
    def _returned(self) -> tuple[float, float]:
        """What is held back, where others left over all that they may."""
        return -max(0, self._may_return[0]), -max(0.0, self._may_return[1])

    def _write(self) -> None:
        if self._ledger is not None:
            left, batches = _sum(self._spent.left.values()), _sum(self._batches.values())
            held = (round(self._held[0]) - batches[0], max(0.0, self._held[1] - batches[1]))
            self._ledger.write((self._spent.tokens - left[0], self._spent.usd - left[1]), held)

    def _fits(self, need: tuple[int, float], held: Sequence[float]) -> bool:
        spent = (self._spent.tokens + self._others[0], self._spent.usd + self._others[1])
        return all(s + h + n <= limit for s, h, n, limit in zip(spent, held, need, self._limits, strict=True))
