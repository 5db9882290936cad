"""Takes judged texts the rest of the way, however they came to be: second looks of an LLM, and partners.

`generation` brings texts that an LLM writes, `sifting` those that were written elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from gisttools.common import ParameterError, problems
from gisttools.synthesis.judge import Candidate, Embed, Judge
from gisttools.synthesis.options import Checks
from gisttools.synthesis.partners import LabelPartners, WrittenPartners
from gisttools.synthesis.prompts import Form
from gisttools.synthesis.round_trip import DocumentPartners
from gisttools.synthesis.second_looks import SecondLooks
from gisttools.synthesis.task import Task

Partners: TypeAlias = LabelPartners | WrittenPartners | DocumentPartners
_PENDING = ("no-partner", "guide-order")  # rows that may still be completed by more texts


class Guide(Protocol):
    """What judges texts: a name, and unit vectors (n, dim) of n texts. A `VectorCache` is one."""

    @property
    def guide_id(self) -> str:
        """Its name, for the table."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of the texts."""


@dataclass(kw_only=True)
class Sieve:
    """What texts pass after their filters, and the candidates so far."""

    judge: Judge
    looks: SecondLooks
    partners: Partners
    candidates: list[Candidate] = field(default_factory=list)

    def add(self, new: Sequence[Candidate]) -> None:
        """Take candidates that were judged: second looks, and partners for these and for earlier ones without."""
        self.looks.at_texts([c for c in new if c.reason is None])
        passed = [c for c in new if c.reason is None]
        pending = [c for c in self.candidates if c.reason in _PENDING]
        self.partners.complete(passed, [*pending, *passed])
        self.looks.at_rows([c for c in passed if c.reason is None])
        for c in (*pending, *new):
            if c.reason not in _PENDING:
                c.vectors = {}  # whoever needs them later has them in a pool
        self.candidates += new


def partners_of(task: Task, form: Form, judge: Judge, checks: Checks, seed: int, guide: Guide) -> Partners:
    """What makes rows of the task's texts."""
    if task.documents:
        return DocumentPartners(task, checks, *_sides(guide, task))
    if form.layout.positive is None:
        return LabelPartners(task, judge, checks, seed)
    return WrittenPartners(task, checks, judge.given(task.passages))


def embed_chunks(task: Task, guide: Guide) -> np.ndarray:
    """Unit vectors, (n, dim), of the n distinct chunks of a task's documents, as a synthesis by this guide asks for
    them: a cache has them from then on."""
    _, embed = _sides(guide, task)
    return np.asarray(embed(list(dict.fromkeys([*task.documents.values(), *task.held_back.values()]))))


def _sides(guide: Any, task: Task) -> tuple[Embed, Embed]:
    """How the guide embeds questions, and chunks: behind its prompts for either, where it has some."""
    if not hasattr(guide, "with_prompt"):
        return guide.embed, guide.embed
    asked, answers = guide.prompts.of(task.name, task.spec.task_type, searches=True)
    return guide.with_prompt(asked).embed, guide.with_prompt(answers).embed


def _idle_of_labels(task: Task, checks: Checks, told: Collection[str]) -> list[str]:
    """Checks of labels that would do nothing, of those that are told."""
    if not task.labels:
        labels = [name for name in ("blind", "label_by", "correct_labels") if name in told]
        return [f"{name} is for tasks with labels, and {task.name} has none" for name in labels]
    if "correct_labels" in told and checks.label_by != "classifier":
        return [f"correct_labels is the classifier's, and label_by is {checks.label_by!r}"]
    return []


def check_checks(task: Task, checks: Checks) -> None:
    """Raises ParameterError where a check would do nothing for a task."""
    found = []  # what is switched off where there is none of it does no harm
    told = {name: value for name, value in checks.changed().items() if value not in (None, "none", False, 0)}
    if task.labels and "skip_nearest" in told:
        found.append(f"skip_nearest is for mined negatives; those of {task.name} are texts of other labels")
    found += _idle_of_labels(task, checks, told)
    if not task.documents:
        named = [name for name in ("found_by", "also_answers") if name in told]
        found += [f"{name} is for questions on documents, and {task.name} starts from {task.start}" for name in named]
    if task.documents and "skip_nearest" in told:
        found.append("skip_nearest is for mined negatives; those of questions on documents are mined by 2_convert")
    if not task.spec.round_trip and "top_k" in told:
        found.append(f"top_k is for retrieval and reranking, and {task.name} is of kind {task.kind}")
    if found:
        raise ParameterError(problems("checks that would do nothing:", found, "Leave them out."))
