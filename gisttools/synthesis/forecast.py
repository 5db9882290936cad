"""Says what a synthesis will take before anything is asked: calls, tokens, dollars, minutes.

It knows the prompts, which it renders, and the price; how many texts are accepted, how long answers are and how fast
the endpoint is are assumed, which it says. The first eight calls tell more exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gisttools.common import plural
from gisttools.synthesis.llm.options import LLMOptions
from gisttools.synthesis.options import Checks, SynthesisOptions
from gisttools.synthesis.plan import CallPlan, Requests, needs_ideas
from gisttools.synthesis.prompts import Prompt, one_text
from gisttools.synthesis.task import Task

_LOOKED_AT = 32  # calls whose prompts are rendered
_BYTES = 4.0  # of a token; of English it is about that
_ACCEPTED = 0.6  # of the texts
_SECONDS = 2.0  # of a call
_ANSWER = 30  # tokens of a short text, and the JSON around it
_LONG_ANSWER = 150  # of a passage
_SHORT_ANSWER = 10  # of a second look


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is expected.

    Attributes:
        subjects: chunks, passages, texts that calls start from; 0 where there are none.
        rows: accepted texts that are wanted.
        calls: so many will do, if `accepted` of the texts are; `most` is the limit.
        tokens_in, tokens_out: of all calls.
        usd: None where the price is not known.
        seconds: of all calls, if one takes 2 seconds.
    """

    subjects: int
    rows: int
    calls: int
    most: int
    tokens_in: int
    tokens_out: int
    usd: float | None
    seconds: float
    on_documents: bool = False

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def in_words(self) -> str:
        """A sentence."""
        what, subject = ("question", "chunk") if self.on_documents else ("row", "text")
        on = f" on {plural(self.subjects, subject)}" if self.subjects else ""
        money = "free" if self.usd == 0 else "price not known" if self.usd is None else f"about ${self.usd:.2f}"
        return (
            f"{plural(self.rows, what)}{on}: about {plural(self.calls, 'call')} (at most {self.most:,}), "
            f"{self.tokens_in + self.tokens_out:,} tokens, {money}, {max(1, round(self.seconds / 60)):,} min, if "
            f"{_ACCEPTED:.0%} are accepted and a call takes {_SECONDS:g} s; the first calls tell more exactly, what "
            "was asked before takes nothing"
        )


def forecast_of(
    task: Task,
    prompt: Prompt,
    wanted: Mapping[str, int],
    options: SynthesisOptions,
    llm: LLMOptions,
    *,
    checks: Checks | None = None,
    alone: bool = False,
) -> Forecast:
    """What these rows will take.

    Args:
        task, prompt, options, llm: what is asked, and whom.
        checks: what the LLM is asked again about each text.
        wanted: accepted rows of each group.
        alone: the endpoint answers one call at a time, however many are under way: the embedded one, on these cores.
    """
    rows = sum(wanted.values())
    ideas = {group: [task.description] for group in wanted} if needs_ideas(task, prompt) else {}
    looked = {group: min(n, max(1, _LOOKED_AT // len(wanted))) for group, n in wanted.items()}
    requests = Requests(task, prompt).of(CallPlan(task, wanted, options.seed, ideas).take(looked))
    sizes = [sum(len(m["content"].encode("utf-8", "replace")) for m in r.messages) / _BYTES for r in requests]
    most = sum(math.ceil(n * options.attempts / prompt.texts) for n in wanted.values())
    calls = min(max(len(wanted), math.ceil(rows / _ACCEPTED / prompt.texts)), most)  # a call is of one group
    again = _looks(checks or Checks())
    properties = one_text(prompt.output)["properties"].values()
    answer = prompt.texts * sum(_LONG_ANSWER if node.get("maxLength", 0) > 500 else _ANSWER for node in properties)
    calls_again = rows * again
    size = sum(sizes) / max(1, len(sizes))
    tokens_out = calls * min(answer, llm.max_tokens) + calls_again * _SHORT_ANSWER
    tokens = round((calls + calls_again) * size), round(tokens_out)
    calls, most = calls + calls_again, most + most * again
    price = llm.price
    usd = None if price is None else price.of(*tokens)
    return Forecast(
        subjects=len(set(task.seeds)), rows=rows, calls=calls, most=most, tokens_in=tokens[0], tokens_out=tokens[1],
        usd=usd, seconds=calls * _SECONDS / (1 if alone else llm.at_once), on_documents=bool(task.documents),
    )  # fmt: skip


def _looks(checks: Checks) -> int:
    """Calls about one text that passed the filters, at most."""
    return checks.blind + (checks.least_score is not None) + (checks.also_answers + 1 if checks.also_answers else 0)
