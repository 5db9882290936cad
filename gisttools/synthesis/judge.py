"""The judge: an LLM's answers in the order of the plan, each against its form, the texts before it, and the guide.

A row's *key* is the first of its texts that the LLM wrote: the query of a passage, the rewriting of a sentence. The key
must be new; that the others are like something is what makes a triplet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gisttools.common import ParameterError
from gisttools.data import NearIndex, jaccard, normalise
from gisttools.synthesis import filters
from gisttools.synthesis.asking import Reply
from gisttools.synthesis.checks import Checks, Known
from gisttools.synthesis.label_checks import LabelCentroids, LabelCheck, NearestLabelled
from gisttools.synthesis.plan import PlanItem
from gisttools.synthesis.prompts import SUBJECT, Prompt
from gisttools.synthesis.repeats import NEAR_DUPLICATE, Seen
from gisttools.synthesis.task import Task

log = logging.getLogger(__name__)
Embed = Callable[[list[str]], np.ndarray]
_K = 5  # nearest labelled texts


@dataclass(kw_only=True)
class Candidate:
    """One call's answer on its way through the filters; `reason` says which one stopped it.

    Attributes:
        anchor, positive, negatives: texts, as far as they are known yet.
        vectors: unit vectors (dim) of these texts, by text.
        sources: of each negative: written, replaced, mined or label; see `partners`.
        second: the answer to the blind question, and the label in it.
    """

    item: PlanItem
    reply: Reply
    anchor: str | None = None
    positive: str | None = None
    negatives: list[str] = field(default_factory=list)
    negative_label: str | None = None
    sources: list[str] = field(default_factory=list)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    guide_ap: float | None = None
    guide_an: list[float] = field(default_factory=list)
    second: Reply | None = None
    second_label: str | None = None
    reason: str | None = None


class Judge:
    """The filters with what they compare against.

    Args:
        task, prompt: what was asked.
        embed: the guide; n texts to vectors (n, dim) of unit length.
        checks, known: what to look at, and against what.
    """

    def __init__(self, task: Task, prompt: Prompt, embed: Embed, checks: Checks, known: Known) -> None:
        self._task, self._prompt, self._embed = task, prompt, embed
        self._evaluation = {normalise(text) for text in known.eval_texts}
        self._near_evaluation = NearIndex(sorted(self._evaluation), checks.near_eval) if self._evaluation else None
        self._words = filters.PromptWords([*prompt.own_texts(), *task.groups.values(), task.description])
        self._lines = Seen(task.groups.values())
        self._seen = Seen([*(text for label in task.labels.values() for text in label.seeds), *known.written])
        self._key = next(name for name in prompt.row.fields if name != SUBJECT)
        self._label = self._label_check(checks, known) if task.labels and checks.label_by != "none" else None

    def judge(self, candidates: Sequence[Candidate]) -> None:
        """Fill texts, vectors and reason; later keys must not repeat one that passed."""
        for c in candidates:
            self._read(c)
        self._against_evaluation([c for c in candidates if c.reason is None])
        alive = [c for c in candidates if c.reason is None]
        texts = list(dict.fromkeys(text for c in alive for text in _texts(c)))
        vectors = dict(zip(texts, self._vectors_of(texts), strict=True))
        for c in alive:
            c.vectors = {text: vectors[text] for text in _texts(c)}
            key = _texts(c)[self._prompt.row.fields.index(self._key)]
            c.reason = self._seen.repeats(key)
            if c.reason is None and c.item.subject and _near(key, c.item.subject):
                c.reason = "near-duplicate"
            if c.reason is None and self._label is not None:
                c.reason = self._label.judge(c.vectors[c.anchor], c.item.group)
            if c.reason is None:
                self._seen.add(key)

    def _read(self, c: Candidate) -> None:
        row = self._prompt.row
        answer, c.reason = filters.read_answer(c.reply, self._prompt.output)
        texts = {**answer, SUBJECT: c.item.subject}
        c.anchor = texts.get(row.anchor)
        c.positive = texts.get(row.positive) if row.positive else None
        c.negatives = [texts[name] for name in row.negatives if name in texts]
        c.sources = ["written"] * len(c.negatives)
        for name, text in answer.items():
            language = self._task.target_language if name != row.anchor else None
            c.reason = c.reason or filters.bad_form(text, self._task, language) or self._words.leak(text)
            if c.reason is None and self._lines.repeats(text):
                c.reason = "prompt-leak"
        forms = [normalise(text) for text in _texts(c)]
        if c.reason is None and (len(set(forms)) < len(forms) or self._twice(c)):
            c.reason = "copy"

    def _twice(self, c: Candidate) -> bool:
        """Whether a passage that does not answer nearly repeats the one that does. Of sentences with one changed fact
        that is what was asked for."""
        return self._task.spec.round_trip and any(_near(c.positive, text) for text in c.negatives)

    def given(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The user's texts that rows may be put together from, with their vectors (dim): those that stand in an
        evaluation set, or nearly, are left out."""
        hit = self._in_evaluation(texts)
        if hit:
            log.warning("%d of the task's texts stand in an evaluation set, and are used in no row: %r", len(hit),
                        [text[:80] for text in sorted(hit)[:3]])  # fmt: skip
        left = [text for text in dict.fromkeys(texts) if text not in hit]
        return dict(zip(left, self._vectors_of(left), strict=True))

    def _against_evaluation(self, candidates: Sequence[Candidate]) -> None:
        hit = self._in_evaluation([text for c in candidates for text in _texts(c)])
        for c in candidates:
            if not hit.isdisjoint(_texts(c)):
                c.reason = "in-evaluation-set"

    def _in_evaluation(self, texts: Sequence[str]) -> set[str]:
        """Those of the texts that equal one of an evaluation set, or nearly."""
        if self._near_evaluation is None or not texts:
            return set()
        forms = [normalise(text) for text in texts]
        hit = {text for text, form in zip(texts, forms, strict=True) if form in self._evaluation}
        for rows, _, _ in self._near_evaluation.find(forms):
            hit |= {texts[row] for row in rows.tolist()}
        return hit

    def _label_check(self, checks: Checks, known: Known) -> LabelCheck:
        labelled = [(name, text) for text, name in known.labelled if name in self._task.labels]
        seeds = [(name, text) for name, label in self._task.labels.items() for text in label.seeds]
        if checks.label_by == "nearest":
            texts = list(dict.fromkeys([*seeds, *labelled]))
            bare = sorted(set(self._task.labels) - {name for name, _ in texts})
            if bare:
                raise ParameterError(
                    f"label_by is 'nearest', but there are neither labelled texts nor seeds of {', '.join(bare)}. "
                    "Add some, or judge by 'centroids'."
                )
            return NearestLabelled(self._vectors_of([t for _, t in texts]), [name for name, _ in texts], _K)
        lines = list(self._task.groups.items())
        vectors = self._vectors_of([text for _, text in seeds + lines])
        is_seed = [True] * len(seeds) + [False] * len(lines)
        return LabelCentroids(vectors, [name for name, _ in seeds + lines], is_seed)

    def _vectors_of(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self._embed(list(texts))) if texts else np.zeros((0, 0), np.float32)


def _near(text: str, other: str) -> bool:
    return jaccard(normalise(text), normalise(other)) >= NEAR_DUPLICATE


def _texts(c: Candidate) -> list[str]:
    """The row's texts, in the order of the prompt's `row`."""
    return [text for text in (c.anchor, c.positive, *c.negatives) if text is not None]
