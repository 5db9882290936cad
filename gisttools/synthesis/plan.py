"""The plan: what every call is asked to write, drawn in code so that the data is balanced and diverse."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gisttools.errors import ParameterError
from gisttools.synthesis.llm import Request
from gisttools.synthesis.prompts import Prompt
from gisttools.synthesis.task import Task


@dataclass(frozen=True, kw_only=True)
class PlanItem:
    """What one call is asked to write, and the label that the row's negative comes from."""

    label: str
    confusable: str
    register: str
    persona: str
    length: str
    seed: int | None  # number of the label's seed that is shown; None where it has none


def plan(task: Task, rows: int, seed: int) -> list[PlanItem]:
    """Draw what `rows` calls write. Counts of labels, and of each attribute within a label, differ by one at most.

    The plan depends on the seed alone, and a longer plan starts with the shorter one.

    Raises:
        ParameterError: `rows` is not above 0.
    """
    if rows < 1:
        raise ParameterError(f"requests is {rows}, not above 0. Ask for at least one.")
    names = list(task.labels)
    streams = {name: _label_stream(task, name, random.Random(f"{seed}/{name}")) for name in names}
    order = random.Random(f"{seed}/order")
    items: list[PlanItem] = []
    while len(items) < rows:
        items += [next(streams[name]) for name in order.sample(names, len(names))]
    return items[:rows]


def requests_for(task: Task, prompt: Prompt, items: Sequence[PlanItem]) -> list[Request]:
    """The request of each item. Items with the same messages become replicates of one another."""
    asked: dict[str, int] = {}
    requests = []
    for item in items:
        label = task.labels[item.label]
        values = {
            "domain": task.domain,
            "language": task.language,
            "about": label.about,
            "seed": None if item.seed is None else label.seeds[item.seed],
            "register": item.register,
            "persona": item.persona,
            "length": item.length,
        }
        messages = prompt.render(values)
        same = repr(messages)
        requests.append(Request(messages=messages, schema=prompt.output, replicate=asked.get(same, 0)))
        asked[same] = asked.get(same, 0) + 1
    return requests


def _label_stream(task: Task, name: str, rng: random.Random) -> Iterator[PlanItem]:
    label = task.labels[name]
    others = label.confusable or [other for other in task.labels if other != name]
    seeds = range(len(label.seeds)) or [None]
    attributes = [_cycle(values, rng) for values in (others, task.registers, task.personas, task.lengths, seeds)]
    while True:
        confusable, register, persona, length, seed = (next(a) for a in attributes)
        yield PlanItem(label=name, confusable=confusable, register=register, persona=persona, length=length, seed=seed)


def _cycle(values: Sequence, rng: random.Random) -> Iterator:
    """Every value once in random order, then every value once again, and so on."""
    while True:
        yield from rng.sample(list(values), len(values))
