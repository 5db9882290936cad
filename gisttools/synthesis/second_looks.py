"""Asks the LLM again, about what was written: which label a text has, how well a row fits, which other chunks answer.

What it says costs rows or gives them more answers; what it cannot be asked costs the row, for nobody looked at it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gisttools.common import ParameterError
from gisttools.synthesis.filters import NOT_ANSWERED
from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.llm.asking import Reply, Request
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.options import Checks
from gisttools.synthesis.prompts import Prompt, load_prompt
from gisttools.synthesis.round_trip import DocumentPartners
from gisttools.synthesis.task import TRAIN, Task

NONE = "(no label)"  # what the blind look found where it named none of the labels
LOW, ELSEWHERE = "low-score", "answered-elsewhere"
_PARTS = {  # of each kind: what its row's texts are called when the LLM judges them, and what should be so
    "classification": ("label", "text", "The text should clearly belong to the label, and read as somebody wrote it."),
    "clustering": ("theme", "text", "The text should be about the theme, and read as somebody wrote it."),
    "retrieval": ("passage", "query", "The passage should answer the query, which somebody could really search for."),
    "reranking": ("passage", "query", "The passage should answer the query, which somebody could really search for."),
    "sts": ("second sentence", "first sentence", "Both sentences should say the same."),
    "bitext": ("translation", "sentence", "The translation should say all that the sentence says, and no more."),
}


class SecondLooks:
    """What the LLM is asked of rows that passed the filters before.

    Args:
        task, llm, checks: `blind`, `least_score` and `also_answers` of the checks say what is asked; where nothing is,
            no LLM is needed.
        partners: of documents; it knows which chunks the guide finds nearer than a question's own.
        folder: of the user's prompts.
    """

    def __init__(
        self, task: Task, llm: LLM | None, checks: Checks, partners: object, folder: str | Path | None = None
    ) -> None:
        if llm is None and checks.asking:
            raise ParameterError(
                f"{' and '.join(checks.asking)} ask an LLM, and there is none. Name one, or switch off."
            )
        self._task, self._checks, self._folder = task, checks, folder
        self._asked = llm
        self._documents = partners if isinstance(partners, DocumentPartners) else None

    @property
    def _llm(self) -> LLM:
        assert self._asked is not None  # whoever asks was told so
        return self._asked

    def at_texts(self, passed: Sequence[Candidate]) -> None:
        """Of rows without partners yet."""
        if self._checks.blind:
            ask_blind(self._task, self._llm, passed, self._folder)
        if self._documents is None:
            self._scores(passed)

    def at_rows(self, passed: Sequence[Candidate]) -> None:
        """Of whole rows: questions that led back to their chunk."""
        if self._documents is None:
            return
        self._scores(passed)
        if self._checks.also_answers:
            alive = [c for c in passed if c.reason is None]
            nearer = [self._documents.nearer(c, self._checks.also_answers) for c in alive]
            ask_others(self._task, self._llm, list(zip(alive, nearer, strict=True)), self._folder)

    def _scores(self, passed: Sequence[Candidate]) -> None:
        if self._checks.least_score is not None:
            alive = [c for c in passed if c.reason is None]
            ask_scores(self._task, self._llm, alive, self._checks.least_score, self._folder)


def ask_blind(task: Task, llm: LLM, candidates: Sequence[Candidate], folder: str | Path | None = None) -> None:
    """Fill `second_label`, and the reason blind-label where it is not the label that was asked for.

    Raises as `LLM.stream` does.
    """
    prompt = load_prompt("blind_label", folder)
    schema = copy.deepcopy(prompt.output)
    schema["properties"]["label"]["enum"] = list(task.labels)
    labels = [{"name": name, "about": label.about} for name, label in task.labels.items()]
    common = {"domain": task.domain, "labels": labels}
    requests = [Request(messages=prompt.render({**common, "text": c.anchor}), schema=schema) for c in candidates]
    for c, reply in zip(candidates, llm.ask(requests), strict=True):
        if not _looked(c, reply):
            continue
        said = (reply.answer or {}).get("label")
        c.second_label = said if isinstance(said, str) and said in task.labels else NONE
        if c.second_label != c.group:
            c.reason = "blind-label"


def ask_scores(
    task: Task, llm: LLM, candidates: Sequence[Candidate], least: int, folder: str | Path | None = None
) -> None:
    """Fill `score`, from 1 to 5, and the reason low-score below `least`, or where no score came.

    Raises as `LLM.stream` does.
    """
    prompt = load_prompt("judge", folder)
    given, written, should = _PARTS[task.kind]

    def request(c: Candidate) -> Request:
        other = task.groups[c.group] if task.labels else c.positive_text
        texts = [{"name": given, "text": other}, {"name": written, "text": c.anchor_text}]
        return _request(prompt, {"domain": task.domain, "should": should, "texts": texts})

    for c, reply in zip(candidates, llm.ask([request(c) for c in candidates]), strict=True):
        if not _looked(c, reply):
            continue
        said = (reply.answer or {}).get("score")
        c.score = said if isinstance(said, int) and 1 <= said <= 5 else None
        if c.score is None or c.score < least:
            c.reason = LOW


def ask_others(
    task: Task,
    llm: LLM,
    candidates: Sequence[tuple[Candidate, Sequence[str]]],
    folder: str | Path | None = None,
) -> None:
    """Fill `also`: of the chunks (ids) that stand beside a question, those that answer it as well; and the reason
    answered-elsewhere where one does and the question's own does not. A question to train on is asked of chunks to
    train on alone.

    Raises as `LLM.stream` does.
    """
    prompt = load_prompt("also_answers", folder)
    chunks = {**task.documents, **task.held_back}

    def answered(pairs: list[tuple[Candidate, str]]) -> list[bool]:
        """Whether each chunk answers the question beside it; False where nobody says."""
        common = {"domain": task.domain}
        requests = [_request(prompt, {**common, "question": c.anchor_text, "passage": chunks[x]}) for c, x in pairs]
        replies = llm.ask(requests)
        looked = [_looked(c, reply) for (c, _), reply in zip(pairs, replies, strict=True)]
        return [ok and (reply.answer or {}).get("answers") == "yes" for ok, reply in zip(looked, replies, strict=True)]

    pairs = [(c, x) for c, names in candidates for x in names if c.item.group != TRAIN or x in task.documents]
    for (c, name), yes in zip(pairs, answered(pairs), strict=True):
        c.also += [name] if yes else []
    own = [(c, c.item.subject_id) for c, _ in candidates if c.also and c.reason is None and c.item.subject_id]
    for (c, _), yes in zip(own, answered(own), strict=True):
        c.reason = c.reason or (None if yes else ELSEWHERE)


def confusion(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """How often a text that was asked for under one label (rows) was sorted under another (columns)."""
    pairs = [(c.item.group, c.second_label) for c in candidates if c.second_label is not None]
    frame = pd.DataFrame(pairs, columns=["asked for", "sorted under"])
    return pd.crosstab(frame["asked for"], frame["sorted under"])


def _request(prompt: Prompt, values: dict) -> Request:
    return Request(messages=prompt.render(values), schema=prompt.output)


def _looked(c: Candidate, reply: Reply) -> bool:
    """Keep the reply; False where there is none. Nothing was said against the row then, but nobody looked at it."""
    c.looks.append(reply)
    if reply.finish_reason in NOT_ANSWERED:
        c.reason = NOT_ANSWERED[reply.finish_reason]
        return False
    return True
