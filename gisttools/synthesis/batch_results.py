"""What came of a batch: its answers go into the cache, the rest is sorted by what may be done about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from gisttools.common import final_words, problems
from gisttools.synthesis.asking import Asker, usage_of
from gisttools.synthesis.batch_lines import Outcome, read_outcomes
from gisttools.synthesis.batch_table import SentBatch

if TYPE_CHECKING:
    from openai.types import Batch

_AT_ONCE = 500  # answers stored in one go
_SHOWN = 5  # errors named in a message


@dataclass(kw_only=True)
class Results:
    """Keys of a batch's lines by what became of them.

    Attributes:
        answered: in the cache now, with those of the content filter.
        refused: not taken as they were asked.
        again: worth another attempt, and why.
        failed: not worth one, and why.
        used: tokens in and out; the most, where an answer did not come or did not say.
        final: why the whole run ends; None where it does not.
    """

    answered: set[str] = field(default_factory=set)
    refused: dict[str, Outcome] = field(default_factory=dict)
    again: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    used: tuple[int, int] = (0, 0)
    final: str | None = None


async def store(asker: Asker, batch: SentBatch, content: bytes, status: str) -> Results:
    """Keep the answers among the lines of a batch that ended with this status, also those that nobody waits for."""
    results, seen, outcomes = Results(), set(), read_outcomes(content)
    while part := list(islice(outcomes, _AT_ONCE)):
        with asker.cache.together():
            for key, outcome in part:
                if key in batch.lines and key not in seen:
                    seen.add(key)
                    _sort(asker, batch, key, outcome, results)
        await asyncio.sleep(0)
    for key, most in batch.lines.items():
        if key not in seen:
            results.again[key] = f"the batch ended as {status} without an answer"
            if status == "completed":  # else it was not executed
                results.used = (results.used[0] + most[0], results.used[1] + most[1])
    return results


def _sort(asker: Asker, batch: SentBatch, key: str, outcome: Outcome, results: Results) -> None:
    match outcome.kind:
        case "answer":
            asker.keep(key, outcome.response)
            tokens = usage_of(outcome.response)
            used = tokens if any(tokens) else batch.lines[key]
            results.used = (results.used[0] + used[0], results.used[1] + used[1])
            results.answered.add(key)
        case "filtered":
            asker.keep(key, outcome.response, "content_filter")
            results.answered.add(key)
        case "refused":
            results.refused[key] = outcome
        case "passing":
            results.again[key] = outcome.words
        case "failed":
            results.failed[key] = outcome.words
            results.final = results.final or final_words(outcome.status, outcome.code, outcome.words, asker.health)


def queue_is_full(seen: Batch) -> bool:
    """Did a batch fail only because the account may not have as many tokens waiting?"""
    return any(error.code == "token_limit_exceeded" for error in _errors(seen))


def failure(url: str, seen: Batch, answered: int, lines: int) -> str:
    """The message for a batch that failed or was cancelled."""
    title = f"Batch {seen.id} at {url} {'failed' if seen.status == 'failed' else 'was cancelled'}:"
    found = [
        " ".join(filter(None, (e.line and f"line {e.line}:", e.message, e.code and f"({e.code})")))
        for e in _errors(seen)
    ]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    if seen.status == "cancelled":
        found = [*found, f"{answered} of {lines} calls had been answered, and are in the cache"]
        return problems(title, found[:_SHOWN] + more, "Run again to submit the others anew.")
    mend = "Correct what the endpoint names, and run again."
    if queue_is_full(seen):
        mend = "Run again when the account's other batches have ended, or ask for higher limits."
    return problems(title, found[:_SHOWN] + more or ["the endpoint does not say why"], mend)


def _errors(seen: Batch) -> list:
    return getattr(seen.errors, "data", None) or []
