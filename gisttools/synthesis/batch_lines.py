"""The files of the Batch API: one line of JSON a call, and what the lines that come back mean."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gisttools.common import passing
from gisttools.synthesis.asking import is_completion

log = logging.getLogger(__name__)
PATH = "/v1/chat/completions"  # what the lines of a batch are sent to, as the Batch API names it


Kind = Literal["answer", "filtered", "refused", "passing", "failed"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one line.

    Attributes:
        kind: answer: `response` is a chat completion; filtered: by the endpoint's content filter; refused: the request
            is not taken as it is; passing: worth another attempt; failed: not worth one.
        response: the completion, or the endpoint's error.
        status, code, param: HTTP status of the call, code and parameter that its error names; None where there is none.
        words: why there is no answer.
    """

    kind: Kind
    response: dict = field(default_factory=dict)
    status: int | None = None
    code: str | None = None
    param: str | None = None
    words: str = ""


def line_of(key: str, body: dict) -> bytes:
    """The line of a batch file that asks for `body`; `key` comes back with its answer."""
    return json.dumps({"custom_id": key, "method": "POST", "url": PATH, "body": body}).encode() + b"\n"


def read_outcomes(content: bytes) -> Iterator[tuple[str, Outcome]]:
    """Key and outcome of each line of an output or error file; what is no such line is passed over with a warning."""
    for raw in content.split(b"\n"):  # not splitlines: a text may hold line separators that are no newline
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
            yield line["custom_id"], _outcome(line)
        except (ValueError, LookupError, TypeError) as error:
            log.warning("a line of a batch's result cannot be read (%s): %r", error, raw[:200])


def _outcome(line: dict) -> Outcome:
    response = _dict(line.get("response"))
    status, body = response.get("status_code"), response.get("body")
    if status == 200 and is_completion(body):
        return Outcome(kind="answer", response=body)
    error = _dict(_dict(body).get("error")) or _dict(line.get("error"))
    code, param, message = error.get("code"), error.get("param"), error.get("message")
    words = str(message or code or line.get("error") or f"no chat completion came: {json.dumps(body)[:200]}")
    words = words if status in (None, 200) else f"status {status}: {words}"
    kind: Kind
    if status in (400, 422):
        kind = "filtered" if code == "content_filter" else "refused"
    else:  # without a status the line was not executed, as in a batch that expired
        kind = "passing" if status in (None, 200) or passing(status, code) else "failed"
    return Outcome(kind=kind, response={"error": error}, status=status, code=code, param=param, words=words)


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}
