"""Plans what every call is asked to write, drawn in code so that the data is balanced and diverse.

Of topics, and of prompts that use ideas, a first round of calls lists what texts of a group could be about, so that a
thousand requests are not alike.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from gisttools.common import DataError, ParameterError, problems
from gisttools.data import broken, cleaned, language_code, normalise
from gisttools.synthesis.llm.asking import REFUSED, UNANSWERED, Reply, Request
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.options import SynthesisOptions
from gisttools.synthesis.prompts import SUBJECT, Prompt, load_prompt
from gisttools.synthesis.task import TEST, TRAIN, Task, name_of

ATTRIBUTES = ("register", "persona", "length", "difficulty", "form")
# What a prompt may use.
VARIABLES = ("domain", "description", "language", "target_language", "about", "contrast", "others", "subject", "idea",
             "seeds", *ATTRIBUTES)  # fmt: skip
SHOWN = 4000  # characters of a text that the LLM is shown: about a thousand tokens
_LONGEST_WORD = 100
_SEEDS_SHOWN = 4
_OTHERS_SHOWN = 2


@dataclass(frozen=True, kw_only=True)
class PlannedCall:
    """What one call is asked to write.

    Attributes:
        group: label, topic or search term; see `Task.groups`.
        contrast: the label that the row's negative comes from; None where there are no labels.
        subject: the text that the call starts from: a seed, passage, term, text or idea; None where there is none.
        subject_id: `<group>:<number>` of the subject; of documents the chunk's id.
        idea: of prompts that use one.
        language: the text's, where it is not the task's.
        register, persona, length, difficulty, form: how the text should be.
    """

    group: str
    contrast: str | None = None
    subject: str | None = None
    subject_id: str | None = None
    idea: str | None = None
    language: str | None = None
    register: str
    persona: str
    length: str
    difficulty: str
    form: str = ""


class CallPlan:
    """An endless plan of each group, from which calls are taken as long as rows are missing.

    The plan of a group depends on task, ideas and seed alone; within it counts of every attribute, and of subjects,
    differ by one at most.

    Args:
        task: what to write.
        wanted: accepted rows that are wanted of each group, see `quotas`; or in all.
        seed: of the draws.
        ideas: by group, where the prompt uses them or the task starts from topics.

    Raises:
        ParameterError: `rows` is not above 0.
    """

    def __init__(
        self,
        task: Task,
        wanted: int | Mapping[str, int],
        seed: int,
        ideas: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.quotas = quotas(task, wanted, seed) if isinstance(wanted, int) else dict(wanted)
        own = ideas or {}
        self._streams = {
            group: _on_chunks(task, group, rng) if task.documents else _stream(task, group, own.get(group, ()), rng)
            for group in self.quotas
            if (rng := random.Random(f"{seed}/{group}"))
        }

    def take(self, wanted: Mapping[str, int]) -> list[PlannedCall]:
        """The next so many items of each group, the groups in turn: what is asked last should be of all groups."""
        left, items = dict(wanted), []
        while any(n > 0 for n in left.values()):
            for group in [g for g in self.quotas if left.get(g, 0) > 0]:
                items.append(next(self._streams[group]))
                left[group] -= 1
        return items


def quotas(task: Task, rows: int, seed: int) -> dict[str, int]:
    """Accepted rows wanted of each group, in the order in which the groups are asked; they differ by one at most.

    Raises:
        ParameterError: `rows` is not above 0.
    """
    if rows < 1:
        raise ParameterError(f"rows is {rows}, not above 0. Ask for at least one.")
    names = list(task.groups)
    names = random.Random(f"{seed}/order").sample(names, len(names))
    each, more = divmod(rows, len(names))
    shares = {name: each + (i < more) for i, name in enumerate(names)}
    return {name: n for name, n in shares.items() if n}


def quotas_of(task: Task, options: SynthesisOptions) -> dict[str, int]:
    """Accepted rows wanted of each group: `quotas`; of documents `rows` to train on and `test_rows` (a fifth of these)
    to test with, of each no more than `per_chunk` allows.

    Raises:
        ParameterError: `rows` is not above 0.
    """
    if not task.documents:
        return quotas(task, options.rows, options.seed)
    tested = options.test_rows or max(1, options.rows // 5)
    parts = {TRAIN: (options.rows, task.documents), TEST: (tested, task.held_back)}
    found = {name: min(n, math.ceil(options.per_chunk * len(chunks))) for name, (n, chunks) in parts.items() if chunks}
    return {name: found[name] for name in (TEST, TRAIN) if name in found}


def check_prompt(prompt: Prompt) -> None:
    """Raises DataError where a prompt makes no rows or uses variables that nothing fills."""
    found = [f"variables: {v} is none of {', '.join(VARIABLES)}" for v in prompt.variables if v not in VARIABLES]
    found += ["row: is missing, so that its answers make no rows"] if prompt.row is None else []
    if found:
        raise DataError(problems(f"Prompt {prompt.prompt_id}: {len(found)} problem(s)", found, "Fix the file."))


def check_start(prompt: Prompt, task: Task) -> None:
    """Raises DataError where rows of a prompt (see `check_prompt`) cannot be made from what the task starts from."""
    bare = [name for name, label in task.labels.items() if not label.seeds]
    why = None
    if prompt.layout.positive is None and not task.labels:
        why = f"its rows are put together by label, but {task.name} has no labels"
    elif SUBJECT in prompt.layout.fields and bare:
        why = f"its rows hold a seed of the label, but there are no seeds of {', '.join(bare)}"
    if why:
        raise DataError(f"Prompt {prompt.prompt_id} does not suit the task: {why}. Name another prompt.")


def unasked(prompt: Prompt, task: Task) -> list[str]:
    """The lists of phrases that a task has of its own and a prompt does not ask for: such as lengths."""
    lists = {"register": "registers", "persona": "personas", "length": "lengths", "difficulty": "difficulties"}
    return [
        name
        for variable, name in lists.items()
        if variable not in prompt.variables and getattr(task, name) != type(task).model_fields[name].default
    ]


class Requests:
    """Turns items into requests; items with the same messages become replicates of one another."""

    def __init__(self, task: Task, prompt: Prompt) -> None:
        self._task, self._prompt = task, prompt
        self._asked: dict[bytes, int] = {}

    def of(self, items: Sequence[PlannedCall]) -> list[Request]:
        """The request of each item; what was asked before counts on."""
        found = []
        for item in items:
            values = values_of(self._task, item)
            messages = self._prompt.render({name: values[name] for name in self._prompt.variables})
            same = hashlib.sha256(repr(messages).encode("utf-8", "surrogatepass")).digest()  # of a million requests
            number = self._asked.get(same, 0)
            found.append(Request(messages=messages, schema=self._prompt.output, replicate=number))
            self._asked[same] = number + 1
        return found


def values_of(task: Task, item: PlannedCall) -> dict[str, object]:
    """What each variable of a prompt holds for an item."""
    label = task.labels.get(item.group)
    return {
        "domain": task.domain,
        "description": task.description,
        "language": name_of(item.language or task.language),
        "target_language": name_of(task.target_language) if task.target_language else None,
        "about": task.groups[item.group],
        "contrast": task.groups.get(item.contrast) if item.contrast else None,
        "others": _others(task, item),
        "subject": shown(item.subject),
        "idea": shown(item.idea),
        "seeds": [shown(text) for text in _turned(label.seeds, item.subject)[:_SEEDS_SHOWN]] if label else [],
        **{name: getattr(item, name) for name in ATTRIBUTES},
    }


def _others(task: Task, item: PlannedCall) -> list[str]:
    """The lines of the labels that the call's own is most easily taken for, that of its contrast first."""
    label = task.labels.get(item.group)
    names = [item.contrast, *(label.confusable if label else ())]
    return [task.groups[name] for name in dict.fromkeys(names) if name][:_OTHERS_SHOWN]


def _turned(seeds: Sequence[str], first: str | None) -> Sequence[str]:
    """The seeds from the call's own on, and around: each is shown as often as any other, in each place."""
    place = seeds.index(first) if first in seeds else 0
    return [*seeds[place:], *seeds[:place]]


def shown(text: str | None) -> str | None:
    """A text as the LLM sees it: all of it, or as many whole words as fit into `SHOWN` characters."""
    if text is None or len(text) <= SHOWN:
        return text
    end = text.rfind(" ", SHOWN - _LONGEST_WORD, SHOWN + 1)
    return text[: end if end > 0 else SHOWN]  # some scripts have no spaces


def _stream(task: Task, group: str, ideas: Sequence[str], rng: random.Random) -> Iterator[PlannedCall]:
    label = task.labels.get(group)
    others: Sequence[str | None] = [None]
    if label:
        others = label.confusable or [other for other in task.labels if other != group]
    subjects = label.seeds if label else _subjects(task, group, ideas)
    # an item's attributes do not move where there are more ideas or passages, nor earlier ideas where more follow
    streams = [_cycle(values, random.Random(rng.random())) for values in
               (others, task.registers, task.personas, task.lengths, task.difficulties)]  # fmt: skip
    numbers: Sequence[int | None] = range(len(subjects)) or [None]
    streams += [cycle(numbers) if task.topics else _cycle(numbers, random.Random(rng.random())), cycle(ideas or [None])]
    streams.append(_cycle(task.forms, random.Random(rng.random())))
    while True:
        contrast, register, persona, length, difficulty, number, idea, form = (next(s) for s in streams)
        subject = None if number is None else subjects[number]
        yield PlannedCall(
            group=group,
            contrast=contrast,
            subject=subject,
            subject_id=None if number is None or task.search_terms else f"{group}:{number}",
            idea=idea if label else subject,
            register=register,
            persona=persona,
            length=length,
            difficulty=difficulty,
            form=form,
        )


def _on_chunks(task: Task, group: str, rng: random.Random) -> Iterator[PlannedCall]:
    """The calls on a part of documents: every chunk once, then every chunk once again in another form, and so on."""
    chunks = list((task.held_back if group == TEST else task.documents).items())
    streams = [_cycle(values, random.Random(rng.random())) for values in
               (task.registers, task.personas, task.lengths, task.difficulties, range(len(chunks)))]  # fmt: skip
    forms = rng.sample(list(task.forms), len(task.forms))
    first: dict[int, int] = {}  # of each chunk, which form it had at first
    for dealt in itertools.count():
        register, persona, length, difficulty, number = (next(s) for s in streams)
        name, text = chunks[number]
        yield PlannedCall(
            group=group,
            subject=text,
            subject_id=name,
            language=language_code([text]) if task.as_written else None,
            register=register,
            persona=persona,
            length=length,
            difficulty=difficulty,
            form=forms[(first.setdefault(number, len(first)) + dealt // len(chunks)) % len(forms)],
        )


def _subjects(task: Task, group: str, ideas: Sequence[str]) -> Sequence[str]:
    """What the calls of a group without seeds start from."""
    if task.topics:
        return ideas
    return [group] if task.search_terms else [*task.passages, *task.texts]


def _cycle(values: Sequence, rng: random.Random) -> Iterator:
    """Every value once in random order, then every value once again, and so on."""
    while True:
        yield from rng.sample(list(values), len(values))


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
    found = (reply.answer or {}).get("ideas")
    texts = [i for i in found if isinstance(i, str)] if isinstance(found, list) else []
    clean = (" ".join(cleaned(text).split()) for text in texts)
    return [text for text in clean if text and not broken(text)]
