"""Parts a thinking model's text into its thoughts and its answer.

Servers that know how a model marks its thoughts send them apart (`answers`); others send the text as the model wrote
it. Known are the marks of chat templates and of programs in between. What stands inside a whole JSON object is never a
mark: an answer may speak of them.
"""

from __future__ import annotations

import json
import re

# think, thinking, thought, reasoning, ...; with a prefix as in seed:think, or START_, END_, begin_of_, end_of_.
_WORD = (
    r"(?:[a-z]+[:_-])?(?:think|thinking|thoughts?|reasoning|reason|reflection|scratchpad|analysis|rationale|cot)"
    r"(?:[_-][a-z]+){0,3}"
)
_BAR = r"[|\uff5c]?"
_LEFT, _RIGHT = rf"(?:[<\[\u25c1]|&lt;){_BAR}\s*", rf"\s*{_BAR}(?:[>\]\u25b7]|&gt;)"
_OPEN = re.compile(
    rf"{_LEFT}(?:start[_-]|begin[_-](?:of[_-])?)?{_WORD}(?:\s[^<>\[\]]{{0,200}})?{_RIGHT}"
    r"|<\|channel\|?>\s*(?:analysis|commentary|thought)\b[^<]{0,200}(?:<\|message\|>)?"  # gpt-oss, Gemma
    r"|<unused94>(?:thought)?|<\|inner_prefix\|>"  # MedGemma, Apertus
    r"|<details\b[^<>]{0,200}\breasoning\b[^<>]{0,200}>"  # Open WebUI
    r"|here(?:'s|\u2019s| is) my thought process:",  # Granite
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"{_LEFT}(?:/\s*|end[_-](?:of[_-])?){_WORD}{_RIGHT}"
    r"|<\|channel\|>\s*final\b(?:(?!<\|message\|>)[^{]){0,200}<\|message\|>|\bassistantfinal|<\|final\|>|<channel\|>"
    r"|<unused95>|<\|inner_suffix\|>|</details>|here(?:'s|\u2019s| is) my (?:final )?response:",
    re.IGNORECASE,
)
_EITHER = re.compile(f"(?P<close>{_CLOSE.pattern})|(?P<open>{_OPEN.pattern})", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*```[ \t]*(?:think|thinking|thoughts?|reasoning)[ \t]*$.*?(?:^[ \t]*```[ \t]*$|\Z)",
                    re.IGNORECASE | re.DOTALL | re.MULTILINE)  # fmt: skip
_BARE = re.compile(r"\s*analysis(?=\S)(?![a-z]*\s*[:{])")  # gpt-oss where the special tokens are dropped
_DECODER = json.JSONDecoder(strict=False)
BRACE = re.compile(r"\{\s{0,99}(?=[\"}])")  # where an object may begin
MOST_BROKEN = 1000  # of a text; each one takes as long as the text is


def without_thoughts(text: str) -> tuple[str, bool]:
    """The answer in a model's text, and whether there were thoughts; an empty answer where there is nothing else.

    Thoughts that begin and do not end were cut. Where only their end is marked, they began with the text. Of several
    pieces between thoughts the last one with an object is the answer.
    """
    if _is_object(text):
        return text, False
    bare = _FENCE.sub("\n", text) if "```" in text else text
    thought = bare != text
    marks = _marks(bare)
    if not marks:
        return bare.strip() if thought else text, thought
    pieces: list[str] = []
    begin, inside = 0, _BARE.match(bare) is not None
    for start, end, closes in marks:
        if closes:
            if not inside:
                pieces.clear()  # all that stood before was thought
            begin, inside = end, False
        elif not inside:
            pieces.append(bare[begin:start])
            inside = True
    if not inside:
        pieces.append(bare[begin:])
    with_object = [piece for piece in pieces if "{" in piece]
    return (with_object[-1] if with_object else "\n".join(pieces)).strip(), True


def _is_object(text: str) -> bool:
    text = text.strip()
    if not text.startswith("{"):
        return False
    end = _end_of_object(text, 0)
    return end is not None and not text[end:].strip()


def _marks(text: str) -> list[tuple[int, int, bool]]:
    """Begin and end of each mark outside of whole JSON objects, and whether it closes."""
    found, place, broken = [], 0, 0
    mark = _EITHER.search(text)
    while mark is not None:
        brace = BRACE.search(text, place, mark.start()) if broken < MOST_BROKEN else None
        if brace is not None:
            end = _end_of_object(text, brace.start())
            broken += end is None
            place = brace.start() + 1 if end is None else end
            if place <= mark.start():
                continue
        else:
            found.append((mark.start(), mark.end(), mark["close"] is not None))
            place = mark.end()
        mark = _EITHER.search(text, place)
    return found


def _end_of_object(text: str, begin: int) -> int | None:
    """Where the JSON object that begins there ends; None where there is no whole one."""
    try:
        return _DECODER.raw_decode(text, begin)[1]
    except (ValueError, RecursionError):
        return None
