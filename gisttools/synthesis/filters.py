"""Filters single texts by their form, their words and their language. Each filter is pure, and names in one short word
why a text is not kept, or None where it may stay.

All reasons, the cheapest check first; the first that objects is the row's:

    call-failed, over-budget, refused, truncated, schema,
    unreadable                                                  the answer (`read_answer`)
    length, not-text, prompt-leak, assistant-voice,
    forbidden-pattern, language                                 a text (`bad_form`, `PromptWords`)
    names-source, copied, not-text                              a question on a chunk (`bad_question`)
    in-evaluation-set, duplicate, near-duplicate, copy          against other texts (`judge.Judge`)
    label-mismatch, off-topic                                   against the label (`label_checks`)
    blind-label                                                 a second call of the LLM (`blind`)
    round-trip, no-partner, guide-order                         as a triplet (`partners`)
    over-quota                                                  nothing is wrong with it; the group has its rows

Characters that nobody sees (zero width, marks of direction, tags: `gisttools.data.cleaned`) are taken out of an answer
before that, and such rows counted; what stands for something lost (NUL and other controls, terminal sequences, U+FFFD,
private use: `gisttools.data.broken`) makes a text unreadable.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from gisttools.data import UNSPACED, broken, cleaned
from gisttools.synthesis.llm.asking import REFUSED, Reply
from gisttools.synthesis.task import Task, is_foreign

NOT_ANSWERED = {"error": "call-failed", "budget": "over-budget"}  # finish reasons of calls without an answer
MIN_CHARACTERS = 8
_MIN_LETTERS = 0.7  # share of letters and spaces
_HALVES = re.compile("[\ud800-\udfff]")  # of characters, which no table can hold
_RUN = 7  # words in a row that count as the prompt's own
_LOOP = 3  # times that three words may not come
_CHARACTERS = 20  # in a row that count as copied, where a script has no spaces
_UNSPACED = re.compile(f"[{UNSPACED}]")

_NOT_TEXT = re.compile(r"https?://|www\.|</?\w+>|(.)\1{5,}|\b(\S+)(\W+\2\b){3,}", re.IGNORECASE)
# An answer about the answer, and places to fill in: [Name].
_LEAK = re.compile(
    r"\bas an? (ai|assistant|language model|chatbot)\b|\[[^\W\d][^\]]*\](?!\()"
    r"|\b(here is|here's|this is) (a|an|the|your|my)( \w+)? (message|query|passage|sentence|example|response)\b",
    re.IGNORECASE,
)
# A question that speaks of what it was written on: "this passage", "according to the text", "im obigen Abschnitt".
# Whoever asks about a word processor may well say "in the document".
_PAPER = r"(text|passage|document|section|excerpt|extract|paragraph|article|snippet|chunk|note|author)"
_SAYS = r"(say|state|mention|describe|explain|discuss|tell|list|suggest|recommend)"
_TOLD = r"(stated|described|mentioned|discussed|given|listed|explained|provided|outlined)"
_SOURCE = re.compile(
    rf"\b(this|that|given|above|following|provided) (text|passage|excerpt|extract|paragraph|snippet|chunk)\b"
    rf"|\bthe (given|above|following|provided) {_PAPER}\b"
    r"|\b(in|from|by|per) the (passage|excerpt|snippet)\b(?! (between|through|to))"
    rf"|\b(according to|based on|(as )?{_TOLD} in) (the|this) ({_TOLD} |above |following )?{_PAPER}\b"
    rf"|\b(the|this) {_PAPER} {_SAYS}s?\b|\b(does|did) (the|this) {_PAPER} {_SAYS}\b"
    rf"|\b{_TOLD} (above|below)\b"
    r"|\b(laut|gemäß) (dem|diesem) (text|abschnitt|dokument|artikel)\b"
    r"|\b(obige[nmrs]?|diese[mnr]?) (abschnitt|passage|textstelle)\b"
    r"|\b(selon|dans) (le|ce) (texte|passage|document)\b|\b(según|en) (el|este) (texto|pasaje)\b",
    re.IGNORECASE,
)
_REWRITER = re.compile(
    r"\bjson\b|[{}]|\[[^\]]*\]|\bcustomer support (assistant|agent)\b|\bthe (customer|user)('s)?\b"
    r"|\bin other words\b|\bsay (it|this|that) (differently|in)\b|\b(rewrite|rephrase|paraphrase)\b",
    re.IGNORECASE,
)
_ASSISTANT = re.compile(
    r"\b(i|we)( sincerely| do)? apologi[sz]e\b|^(i am|i'm)( really| so| very)? sorry\b|^sorry\b"
    r"|\bfor (any|the) (inconvenience|confusion|misunderstanding)\b"
    r"|\bthank you for (contacting|reaching|understanding|your (message|patience|understanding))\b"
    r"|\b(unable|not able|happy|glad|here) to (help|assist)\b|\b(help|assist) you\b|\b(can't|cannot) (help|assist)\b"
    r"|\bfeel free to\b|\bdo not hesitate\b|\bdon't hesitate\b",
    re.IGNORECASE,
)


def read_answer(reply: Reply, schema: dict) -> tuple[dict[str, str], str | None]:
    """({field: text}, None) of a reply, or ({}, reason): call-failed, over-budget, refused, truncated, schema; of texts
    that are unreadable or too short, these with the reason.

    `schema` is what was asked for, an object of text fields; white space in them is evened out, and what does not show
    is taken out.
    """
    ends = {**NOT_ANSWERED, "length": "truncated", **dict.fromkeys(REFUSED, "refused")}
    if reply.finish_reason in ends:
        return {}, ends[reply.finish_reason]
    answer, properties = reply.answer, schema["properties"]
    needed = set(schema.get("required", properties))
    if (
        answer is None
        or not needed <= set(answer) <= set(properties)
        or not all(isinstance(v, str) for v in answer.values())
    ):
        return {}, "schema"
    # A server that enforces maxLength cuts the text there, in the middle of a word.
    if any(len(text) >= properties[name].get("maxLength", float("inf")) for name, text in answer.items()):
        return {}, "truncated"
    texts = {name: " ".join(cleaned(text).split()) for name, text in answer.items()}
    if any(map(broken, texts.values())):
        return {name: _HALVES.sub("\ufffd", text) for name, text in texts.items()}, "unreadable"
    short = any(len(t) < properties[name].get("minLength", 0) for name, t in texts.items())
    if short or any(len(t) < MIN_CHARACTERS for t in texts.values()):
        return texts, "length"
    return texts, "schema" if reply.problem else None


def was_cleaned(reply: Reply) -> bool:
    """Whether `read_answer` takes characters out of this reply."""
    return any(isinstance(text, str) and cleaned(text) != text for text in (reply.answer or {}).values())


def bad_form(text: str, task: Task, language: str | None = None) -> str | None:
    """length, not-text, prompt-leak, assistant-voice, forbidden-pattern or language, where the text alone shows it.

    `language` is the task's where None.
    """
    if len(text) < MIN_CHARACTERS:
        return "length"
    letters = sum(c.isalpha() or c.isspace() or unicodedata.category(c).startswith("M") for c in text)
    if letters < _MIN_LETTERS * len(text) or _NOT_TEXT.search(text):
        return "not-text"
    plain = text.replace("’", "'")
    if _LEAK.search(plain) or any(_names(name, plain) for name in task.labels):
        return "prompt-leak"
    if task.spec.voice and (found := _voice(plain)):
        return found
    if any(re.search(pattern, plain, re.IGNORECASE) for pattern in task.forbidden):
        return "forbidden-pattern"
    return "language" if is_foreign(text, language or task.language) else None


class PromptWords:
    """The prompt's own words: a text that repeats seven of them in a row was not written, but copied."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs = {run for text in texts for run in _runs(_words(text))}

    def leak(self, text: str) -> str | None:
        """prompt-leak, where the text repeats the prompt; else None."""
        return "prompt-leak" if not self._runs.isdisjoint(_runs(_words(text))) else None


def bad_question(text: str, chunk: str) -> str | None:
    """names-source, where a question speaks of the chunk that it was written on, which whoever asks has not seen;
    copied, where it repeats seven of its words in a row (of scripts without spaces, twenty characters); not-text, where
    it says the same three words three times."""
    words = _words(text)
    if max(Counter(zip(words, words[1:], words[2:], strict=False)).values(), default=0) >= _LOOP:
        return "not-text"
    if _SOURCE.search(text.replace("’", "'")):
        return "names-source"
    return "copied" if not set(_word_runs(text)).isdisjoint(_word_runs(chunk)) else None


def _word_runs(text: str) -> Iterable[tuple[str, ...]]:
    words = _words(text)
    if 2 * len(_UNSPACED.findall(text)) > sum(map(len, words)):
        whole = "".join(words)
        return ((whole[i : i + _CHARACTERS],) for i in range(len(whole) - _CHARACTERS + 1))
    return _runs(words)


def _names(label: str, text: str) -> bool:
    """Whether a text gives its label away: by a name that is no plain word, or by a name and a colon in front."""
    name, text = label.casefold(), text.casefold()
    written = re.search(r"[_/#]|\w-\w", name) is not None and name in text
    return written or re.match(rf"\W*{re.escape(name)}\W*\s*[:=]", text) is not None


def _voice(text: str) -> str | None:
    if _REWRITER.search(text):
        return "prompt-leak"
    return "assistant-voice" if _ASSISTANT.search(text) else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return (tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))
