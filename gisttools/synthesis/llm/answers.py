"""Reads what an endpoint sends, whatever it is: the text of a message, its tokens, and the answer behind a model's
thoughts.

Nothing that a server sends may end a run. A response becomes a plain form before it is kept (`checked`), and again when
it comes from a cache that an earlier version wrote; what is none is a `BadAnswer` with its reason.

Thoughts come in fields and parts of their own, or marked in the text (`thoughts`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from gisttools.common import DataError, EndpointError
from gisttools.synthesis.llm.thoughts import BRACE, MOST_BROKEN, without_thoughts

_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thinking_blocks")  # fields of a message
_TEXT_PARTS = ("text", "output_text", "input_text")
_LONGEST = 1_000_000  # characters of an answer that are looked at
# why an answer ended, as servers call it, in OpenAI's words; what is a word of our own is none of theirs
_FINISH = {
    "max_tokens": "length", "max_output_tokens": "length", "model_length": "length", "length_limit": "length",
    "end_turn": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "complete": "stop", "stop": "stop",
    "length": "length", "safety": "content_filter", "content_filter": "content_filter", "recitation": "content_filter",
    "prohibited_content": "content_filter", "blocklist": "content_filter", "spii": "content_filter",
    "error": "error", "budget": "stop",
}  # fmt: skip
_ABSURD = 100  # times the longest answer that was asked for: no count of tokens
_REASON = 300  # characters of a reason


class BadAnswer(EndpointError):
    """What came is no chat completion; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What counts of a chat completion.

    Attributes:
        text: what the message says; empty where nothing.
        refusal: the words of a refusal; None where it is none.
        thoughts: whether there were some apart from the text.
        finish, model: the finish reason and the model's name; None where they are not told.
    """

    text: str
    refusal: str | None
    thoughts: bool
    finish: str | None
    model: str | None


def said(response: object) -> Said:
    """What a chat completion says, in whatever form.

    Raises:
        BadAnswer: it has no message.
    """
    found = _dict(response)
    choices = found.get("choices")
    choice = _dict(choices[0]) if isinstance(choices, list) and choices else {}
    finish = _word(choice.get("finish_reason"))
    finish = _FINISH.get(finish.lower().partition(":")[0], finish) if finish else None  # content_filter: SPII
    message = choice.get("message")
    if message is None and finish == "content_filter":  # there is nothing else to say
        message = {}
    if not isinstance(message, dict):
        raise BadAnswer(f"no chat completion came: {shown(response)}")
    if finish == "error":
        raise BadAnswer(f"the answer ended in an error: {shown(response)}")
    return Said(
        text=_text(message.get("content"))[:_LONGEST],
        refusal=_text(message.get("refusal")) or None,
        thoughts=any(message.get(name) for name in _THOUGHTS) or _thought(found) > 0,
        finish=finish,
        model=_word(found.get("model")),
    )


def readable(response: object) -> dict[str, Any]:
    """The response as it came, but for halves of characters, which become U+FFFD.

    Raises:
        BadAnswer: it is no chat completion.
    """
    try:
        said(response)
        return _whole_object(response)
    except RecursionError:
        raise BadAnswer("the answer is nested too deeply") from None


def usage_of(response: Mapping[str, Any], most: tuple[int, int] | None = None) -> tuple[int, int]:
    """Tokens in and out, as the endpoint counts them; zeros where it does not say.

    What the total has beyond the two are thoughts, which are paid for as the answer is: Gemini counts them nowhere
    else. A count that cannot be is none: no whole number, below zero, or, where `most` is told, more tokens in than the
    request has bytes or a hundred times more out than it allowed.

    Args:
        response: as it came.
        most: the most tokens in and out that the call was meant to take.
    """
    usage = _dict(response.get("usage"))
    told_in, told_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    found = (told_in, told_out + _uncounted(usage))
    if most is not None and (found[0] > most[0] or found[1] > _ABSURD * most[1]):
        return 0, 0
    return found


def cached_of(response: Mapping[str, Any], tokens_in: int) -> int:
    """How many of so many tokens in the endpoint took from its cache of prompts, as it says; none where it does not say
    what can be."""
    details = _dict(_dict(response.get("usage")).get("prompt_tokens_details"))
    found = _count(details.get("cached_tokens"))
    return found if found <= tokens_in else 0


def _thought(response: Mapping[str, Any]) -> int:
    """Tokens that were thoughts, as far as they are counted apart."""
    usage = _dict(response.get("usage"))
    return _count(_dict(usage.get("completion_tokens_details")).get("reasoning_tokens")) or _uncounted(usage)


def _uncounted(usage: Mapping[str, Any]) -> int:
    """Tokens that only the total counts; 0 where prompt or total is not told."""
    told_in, total = _count(usage.get("prompt_tokens")), _count(usage.get("total_tokens"))
    return max(0, total - told_in - _count(usage.get("completion_tokens"))) if told_in else 0


def content_of(turn: Mapping[str, Any]) -> str:
    """The text of a stored response: the answer, the words of a refusal, or the message of an error."""
    response = _dict(turn.get("response"))
    try:
        told = said(response)
    except BadAnswer:
        error = response.get("error")
        return whole(str(error.get("message", error) if isinstance(error, dict) else error))
    return told.refusal or told.text


def only_thoughts(turn: Mapping[str, Any]) -> bool:
    """Did the model think, and say nothing?"""
    try:
        told = said(turn.get("response"))
    except BadAnswer:
        return False
    empty = not answer_text(told.text).strip()
    return empty and told.refusal is None and (told.thoughts or bool(told.text.strip()))


def answer_text(content: str) -> str:
    """What a model says besides its thoughts; nothing where it only thinks."""
    return without_thoughts(content)[0]


def extract_json(content: str) -> dict | None:
    """The first JSON object in an answer, behind a model's thoughts, also inside a fenced block; None without one.

    An object that is cut or broken is never repaired, and no part of it counts as the answer. Neither does one that
    holds what JSON has not (NaN, Infinity), says a name twice, or is nested too deeply. Halves of characters in it
    become U+FFFD.
    """
    content, begin = answer_text(content), 0
    for _ in range(MOST_BROKEN):
        found = BRACE.search(content, begin)
        if found is None:
            return None
        begin = found.start()
        try:
            return _whole_object(_STRICT.raw_decode(content, begin)[0])
        except json.JSONDecodeError as error:
            if error.msg.startswith("Unterminated"):
                return None
            begin = max(begin + 1, error.pos)  # what stands before was read as a part of the broken object
        except (RecursionError, ValueError, DataError):  # too deep, or a number of thousands of digits
            return None
    return None


def _no_json(word: str) -> NoReturn:
    raise DataError(f"{word} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_json(text)


def _once(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _no_json("a name that is said twice")


_STRICT = json.JSONDecoder(strict=False, object_pairs_hook=_once, parse_constant=_no_json, parse_float=_finite)


def whole(text: str) -> str:
    """The text with U+FFFD in place of halves of characters (lone surrogates), which no file can hold; two halves that
    belong together become one character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def shown(response: object) -> str:
    """The beginning of what came, for a message."""
    try:
        text = response if isinstance(response, str) else json.dumps(response, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(response).__name__}"
    return whole(" ".join(text[: 2 * _REASON].split()))[:_REASON]


def _whole_object(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {whole(k): _whole_object(v) for k, v in value.items()}
    return [_whole_object(v) for v in value] if isinstance(value, list) else value


def _text(content: object) -> str:
    """A message's content as text: a string, or the parts of a list that are text and no thought."""
    if isinstance(content, str):
        return whole(content)
    parts = content if isinstance(content, list) else [content] if isinstance(content, dict) else []
    return "".join(_part(part) for part in parts)


def _part(part: object) -> str:
    if isinstance(part, str):
        return whole(part)
    if not isinstance(part, dict) or part.get("type", "text") not in _TEXT_PARTS:
        return ""
    text = part.get("text")
    text = text.get("value") if isinstance(text, dict) else text
    return whole(text) if isinstance(text, str) else ""


def _word(value: object) -> str | None:
    return whole(value) if isinstance(value, str) and value else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}
