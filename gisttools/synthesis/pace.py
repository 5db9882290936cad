"""How fast an endpoint is asked: calls under way, halved by a 429 and won back one by one; calls and tokens a minute.

Additive increase and halving as in TCP's congestion control (Chiu and Jain, 1989).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable


class Bell:
    """Lets tasks wait, first come first served, until something that only other tasks can change is true."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future] = deque()

    async def wait(self, true: Callable[[], bool]) -> None:
        """Return once `true()` is."""
        while not true():
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def ring(self, most: int | None = None) -> None:
        """Let those that wait look again; `most` of them, or all."""
        left = len(self._waiting) if most is None else most
        while self._waiting and left > 0:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                left -= 1


class Pace:
    """One endpoint's turnstile.

    Args:
        most: calls under way at most; as many are let in until the endpoint says 429.
        requests_per_minute, tokens_per_minute: limits of starts, evenly spread; None: none.
    """

    def __init__(
        self, most: int, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.window = float(most)  # calls under way that the endpoint seems to bear
        self._most, self._busy, self._bell = most, 0, Bell()
        self._call_gap = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token_gap = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._call_due = self._tokens_due = self._halved = 0.0

    async def enter(self, tokens: int) -> float:
        """Wait for a place and for the minute's limits; the time (monotonic) at which the call may start.

        `tokens` is what the call may use at most. Every `enter` that returns is ended by one `leave`.
        """
        await self._bell.wait(lambda: self._busy < int(self.window))
        self._busy += 1
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
        self._bell.ring(max(0, int(self.window) - self._busy))

    def went_well(self) -> None:
        """One call more for each window of calls that were answered."""
        self.window = min(self._most, self.window + 1 / self.window)

    def slow_down(self, started: float) -> None:
        """A call that started then met a 429. Calls of before the last halving say nothing new."""
        if started >= self._halved:
            self.window, self._halved = max(1.0, self.window / 2), time.monotonic()
