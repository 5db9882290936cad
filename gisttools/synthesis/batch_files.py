"""Missing calls, and the files in which a Batch API is asked for them: no longer than it takes, within the budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from gisttools.synthesis.asking import Asker, Request
from gisttools.synthesis.batch_lines import line_of
from gisttools.synthesis.budget import most_tokens_in

MOST_LINES = 50_000  # of a file, as OpenAI has it
_MOST_BYTES = 200_000_000


@dataclass(kw_only=True)
class MissingCall:
    """A call that has no answer yet.

    Attributes:
        messages, request, room: as `Asker.body` takes them.
        numbers: of the requests that wait for it.
        tries: batches in which it failed for a reason that passes.
        passed_over: files that the budget had no room in for it.
    """

    messages: list
    request: Request
    room: int
    numbers: list[int]
    tries: int = 0
    passed_over: int = 0


@dataclass(frozen=True)
class BatchFile:
    """The content of a file, and the key of each line with the most tokens in and out that it can take."""

    content: bytes
    lines: dict[str, tuple[int, int]]


def pack(asker: Asker, missing: dict[str, MissingCall], most_lines: int, over: dict[str, bool]) -> Iterator[BatchFile]:
    """The calls as files, in order.

    Args:
        missing: by key.
        most_lines: of a file.
        over: gets the keys that the budget does not hold: True where it never will, False where it may once other
            calls have left something. Whoever takes a file holds back its cost before taking the next one.
    """
    lines, content, total = {}, bytearray(), (0, 0)
    for key, call in missing.items():
        body = asker.body(call.messages, call.request, call.room, asker.learnt.rung)
        most = (most_tokens_in(body["messages"], json.dumps(body.get("response_format"))), call.room)
        line = line_of(key, body)
        if lines and (len(lines) >= most_lines or len(content) + len(line) > _MOST_BYTES):
            yield BatchFile(bytes(content), lines)
            lines, content, total = {}, bytearray(), (0, 0)
        with_it = (total[0] + most[0], total[1] + most[1])
        if not asker.budget.fits(*with_it):
            over[key] = not asker.budget.fits(*most, ever=True)
            continue
        lines[key], total = most, with_it
        content += line
    if lines:
        yield BatchFile(bytes(content), lines)
