"""The first of two rounds: ideas of what texts of a group could be about, so that a thousand requests are not alike."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gisttools.data import normalise
from gisttools.synthesis.asking import REFUSED, UNANSWERED, Reply, Request
from gisttools.synthesis.forms import extract_json
from gisttools.synthesis.languages import name_of
from gisttools.synthesis.llm import LLM
from gisttools.synthesis.prompts import Prompt, load_prompt
from gisttools.synthesis.task import Task

PER_CALL = 10  # ideas that one call is asked for
_MOST = 60  # ideas of a group; more rows than that use an idea again, with other attributes
_OF_LABELS = "a concrete situation in which somebody writes such a text"


@dataclass(frozen=True, kw_only=True)
class Ideas:
    """Ideas by group, in the order in which they came, the answers that held them, and the calls that all rows need."""

    by_group: dict[str, list[str]]
    replies: list[Reply]
    calls: int


def needs_ideas(task: Task, prompt: Prompt) -> bool:
    """Whether subjects must be thought of first: the task starts from topics, or its prompt uses the variable."""
    return task.start == "topics" or "idea" in prompt.variables


def write_ideas(
    task: Task,
    llm: LLM,
    quotas: Mapping[str, int],
    seed: int,
    folder: str | Path | None = None,
    *,
    groups: int | None = None,
) -> Ideas:
    """Ask for ideas, half as many again as rows are wanted of each group, `_MOST` at most; equal ones count once.

    With `groups`, for a trial, one call for each of so many groups.

    Raises as `LLM.stream` does.
    """
    prompt = load_prompt("ideas", folder)
    needed = [(group, n) for group, rows in quotas.items() for n in range(_calls(rows))]
    asked = needed if groups is None else [(group, n) for group, n in needed if n == 0][:groups]
    requests = [_request(task, prompt, group, n, seed) for group, n in asked]
    by_group: dict[str, list[str]] = {group: [] for group in quotas}
    seen: set[tuple[str, str]] = set()
    replies = llm.ask(requests)
    for (group, _), reply in zip(asked, replies, strict=True):
        for idea in _read(reply):
            if (group, normalise(idea)) not in seen:
                seen.add((group, normalise(idea)))
                by_group[group].append(idea)
    # a topic about which nothing came is written about by its line
    by_group = {group: found or [task.groups[group]] for group, found in by_group.items()}
    return Ideas(by_group=by_group, replies=replies, calls=len(needed))


def _calls(rows: int) -> int:
    return -(-min(_MOST, rows + rows // 2) // PER_CALL)


def _request(task: Task, prompt: Prompt, group: str, number: int, seed: int) -> Request:
    personas = random.Random(f"{seed}/{group}/ideas").sample(task.personas, len(task.personas))
    values = {
        "domain": task.domain,
        "language": name_of(task.language),
        "about": task.groups[group],
        "idea": task.spec.idea or _OF_LABELS,
        "count": str(PER_CALL),
        "persona": next(itertools.islice(itertools.cycle(personas), number, None)),
    }
    return Request(messages=prompt.render(values), schema=prompt.output, replicate=number // len(personas))


def _read(reply: Reply) -> Sequence[str]:
    if reply.finish_reason in (*REFUSED, *UNANSWERED):
        return []
    answer = extract_json(reply.content) or {}
    found = answer.get("ideas")
    texts = [i for i in found if isinstance(i, str)] if isinstance(found, list) else []
    return [" ".join(text.split()) for text in texts if text.strip()]
