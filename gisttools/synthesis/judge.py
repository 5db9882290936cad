"""Judges an LLM's answers in the order of the plan: against their form, the texts before them, their label, the guide.

A row's *key* is the first of its texts that the LLM wrote: the query of a passage, the rewriting of a sentence. The key
must be new; that the others are like something is what makes a triplet. Whether a text belongs to its label say the
guide's vectors (see `label_checks`) and, where asked for, a second call of the
LLM, which sorts the text without knowing the label that it was written for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gisttools.common import ParameterError
from gisttools.data import NEAR, NearIndex, jaccard, normalise
from gisttools.synthesis import filters
from gisttools.synthesis.label_checks import MISMATCH, LabelCentroids, LabelCheck, LabelClassifier, NearestLabelled
from gisttools.synthesis.llm.asking import Reply
from gisttools.synthesis.options import Checks, Known
from gisttools.synthesis.plan import PlannedCall
from gisttools.synthesis.prompts import SUBJECT, Form, one_text
from gisttools.synthesis.task import Task

Embed = Callable[[list[str]], np.ndarray]
Reads = Callable[[Sequence[str]], np.ndarray]
_K = 5  # nearest labelled texts
_ENDS = " .,;:!?…。！？،؟\"'“”„‘’«»()"  # of a sentence

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Candidate:
    """One call's answer, or one of its texts, or a text written elsewhere, on its way through the filters; `reason`
    says which one stopped it.

    Attributes:
        first: False for a call's second text and those after it: the call is counted and paid once.
        anchor, positive, negatives: texts, as far as they are known yet.
        vectors: unit vectors (dim) of these texts, by text.
        negative_sources: of each: written, replaced, mined or label; see `partners`.
        copies: which of the prompt's negatives, counted from 0, said another text of the row again, and are none.
        looks: answers to what the LLM was asked of it afterwards, see `second_looks`.
        second_label, score: the label that the blind look found, and how well the LLM says the row fits, 1 to 5.
        moved: the label that it has in place of the one that was asked for, where the judge was sure.
        also: of documents, the chunks that answer it too.
        read: the guide reads its texts. If not, what its vectors say of them is not heard.
        revision: of a text written elsewhere, the file that it is of, and its checksum.
    """

    item: PlannedCall
    reply: Reply
    first: bool = True
    anchor: str | None = None
    positive: str | None = None
    negatives: list[str] = field(default_factory=list)
    negative_label: str | None = None
    negative_sources: list[str] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    guide_ap: float | None = None
    guide_an: list[float] = field(default_factory=list)
    looks: list[Reply] = field(default_factory=list)
    second_label: str | None = None
    score: int | None = None
    moved: str | None = None
    also: list[str] = field(default_factory=list)
    read: bool = True
    revision: str | None = None
    reason: str | None = None

    @property
    def group(self) -> str:
        """Label, topic or search term that its texts are of."""
        return self.moved or self.item.group

    @property
    def anchor_text(self) -> str:
        """The anchor, of a candidate that passed its filters."""
        assert self.anchor is not None
        return self.anchor

    @property
    def positive_text(self) -> str:
        """The positive, of a candidate that passed its filters and whose prompt has one."""
        assert self.positive is not None
        return self.positive

    @property
    def texts(self) -> list[str]:
        """The row's texts, in the order of the prompt's `row`."""
        return [text for text in (self.anchor, self.positive, *self.negatives) if text is not None]


def candidates_of(item: PlannedCall, reply: Reply, anchor: str) -> list[Candidate]:
    """One for each text of an answer whose field `anchor` is a list, that each is judged by itself; what the call cost
    is told by the first. Else the answer itself."""
    texts = (reply.answer or {}).get(anchor)
    if not isinstance(texts, list) or not texts:
        return [Candidate(item=item, reply=reply)]
    free = replace(reply, calls=0, tokens_in=0, tokens_out=0, tokens_cached=0, cost_usd=reply.cost_usd and 0.0)
    paid = [reply if i == 0 else free for i in range(len(texts))]
    answers = [replace(r, answer={anchor: text}, problem=None) for r, text in zip(paid, texts, strict=True)]
    return [Candidate(item=item, reply=r, first=i == 0) for i, r in enumerate(answers)]


class Judge:
    """The filters with what they compare against.

    Args:
        task, form: what was asked.
        embed: the guide; n texts to vectors (n, dim) of unit length.
        checks, known: what to look at, and against what.
        reads: of which texts the guide's vectors say something; of all if None.
    """

    def __init__(
        self, task: Task, form: Form, embed: Embed, checks: Checks, known: Known, reads: Reads | None = None
    ) -> None:
        self._task, self._form, self._embed = task, form, embed
        self._reads = reads or (lambda texts: np.ones(len(texts), dtype=bool))
        self._evaluation = {normalise(text) for text in known.eval_texts}
        self._near_evaluation = NearIndex(sorted(self._evaluation), checks.near) if self._evaluation else None
        self._words = filters.PromptWords([*form.own_texts(), *task.groups.values(), task.description])
        self._lines = Seen(task.groups.values())
        self._seen = Seen([*(text for label in task.labels.values() for text in label.seeds), *known.written])
        self._row, self._output = form.layout, one_text(form.output)
        self._key = next(i for i, name in enumerate(self._row.fields) if name != SUBJECT)
        self._correct = checks.correct_labels
        self._label = self._label_check(checks, known) if task.labels and checks.label_by != "none" else None

    def judge(self, candidates: Sequence[Candidate]) -> None:
        """Fill texts, vectors and reason; later keys must not repeat one that passed."""
        for c in candidates:
            self._read(c)
        self._against_evaluation([c for c in candidates if c.reason is None])
        alive = [c for c in candidates if c.reason is None]
        texts = list(dict.fromkeys(text for c in alive for text in c.texts))
        compared = [] if self._task.documents else texts  # those have prompts of their own, see `round_trip`
        vectors = dict(zip(compared, self._vectors_of(compared), strict=True))
        read = dict(zip(texts, self._reads(texts), strict=True))
        for c in alive:
            c.vectors = {text: vectors[text] for text in c.texts if text in vectors}
            c.read = all(read[text] for text in c.texts)
            c.reason = self._against_others(c)
            if c.reason is None:
                self._seen.add(c.texts[self._key])

    def _against_others(self, c: Candidate) -> str | None:
        """duplicate or near-duplicate, of a text before it or of its subject, or what its label's check says."""
        key = c.texts[self._key]
        if found := self._seen.repeats(key):
            return found
        if c.item.subject and _near(key, c.item.subject):
            return "near-duplicate"
        if self._label is None or not c.read:
            return None
        vector = c.vectors[c.anchor_text]
        found = self._label.judge(vector, c.item.group)
        if found == MISMATCH and self._correct:
            c.moved = self._label.surely(vector)
        return None if c.moved else found

    def _read(self, c: Candidate) -> None:
        row = self._row
        answer, c.reason = filters.read_answer(c.reply, self._output)
        texts = answer if c.item.subject is None else {**answer, SUBJECT: c.item.subject}
        c.anchor = texts.get(row.anchor)
        c.positive = texts.get(row.positive) if row.positive else None
        written = [texts[name] for name in row.negatives if name in texts]
        c.copies = self._copies(c, written)
        c.negatives = [text for place, text in enumerate(written) if place not in c.copies]
        c.negative_sources = ["written"] * len(c.negatives)
        for name, text in answer.items():
            c.reason = c.reason or self._flaw(c, name, text)
        if c.reason is None and (c.anchor is None or (row.positive and c.positive is None)):
            c.reason = "schema"
        if c.reason is None and c.positive is not None and _bare(c.anchor_text) == _bare(c.positive):
            c.reason = "copy"

    def _flaw(self, c: Candidate, name: str, text: str) -> str | None:
        """What is wrong with a text by itself."""
        language = self._task.target_language if name != self._row.anchor else c.item.language
        found = filters.bad_form(text, self._task, language) or self._words.leak(text)
        if found is None and self._lines.repeats(text):
            return "prompt-leak"
        if found is None and self._task.documents and c.item.subject:
            return filters.bad_question(text, c.item.subject)
        return found

    def _copies(self, c: Candidate, written: Sequence[str]) -> list[int]:
        """The places of negatives that say another text of the row again: the row is good without them, and a mined one
        stands in where none is left. Of passages also one that nearly repeats the one that answers; of sentences with
        one changed fact that is what was asked for."""
        said, found = {_bare(text) for text in (c.anchor, c.positive) if text is not None}, []
        for place, text in enumerate(written):
            near = self._task.spec.round_trip and c.positive is not None and _near(c.positive, text)
            if near or _bare(text) in said:
                found.append(place)
            said.add(_bare(text))
        return found

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
        # Of a topic and a search term the subject is no text that the row says again.
        made_of = not (self._task.topics or self._task.search_terms)
        texts = [[*c.texts, *([c.item.subject] if made_of and c.item.subject else [])] for c in candidates]
        hit = self._in_evaluation(list(dict.fromkeys(text for several in texts for text in several)))
        for c, several in zip(candidates, texts, strict=True):
            if not hit.isdisjoint(several):
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
        if checks.label_by == "classifier":
            texts = list(dict.fromkeys([*seeds, *labelled]))
            vectors = self._vectors_of([text for _, text in texts + lines])
            is_text = [True] * len(texts) + [False] * len(lines)
            return LabelClassifier(vectors, [name for name, _ in texts + lines], is_text)
        vectors = self._vectors_of([text for _, text in seeds + lines])
        is_seed = [True] * len(seeds) + [False] * len(lines)
        return LabelCentroids(vectors, [name for name, _ in seeds + lines], is_seed)

    def _vectors_of(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self._embed(list(texts))) if texts else np.zeros((0, 0), np.float32)


class Seen:
    """Texts that a new one must not repeat, equally or nearly (see `gisttools.data.near_duplicates`)."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts = dict.fromkeys(map(normalise, texts))
        self._index = NearIndex(list(self._texts), NEAR)

    def add(self, text: str) -> None:
        """Remember a text."""
        text = normalise(text)
        if text not in self._texts:
            self._texts[text] = None
            self._index.add(text)

    def repeats(self, text: str) -> str | None:
        """duplicate, near-duplicate or None."""
        text = normalise(text)
        if text in self._texts:
            return "duplicate"
        return "near-duplicate" if self._index.near(text) else None


def _bare(text: str) -> str:
    """The normal form without what begins and ends a sentence."""
    return normalise(text).strip(_ENDS)


def _near(text: str, other: str) -> bool:
    return jaccard(normalise(text), normalise(other)) >= NEAR
