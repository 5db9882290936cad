"""Puts texts together to triplets, and triplets to the rows of a table.

Of labels, positive and negatives are drawn among the texts that passed: another one of the label, one of the label that
it is easily confused with. Of the other kinds the LLM wrote them; a written negative that the guide finds nearer to the
anchor than the positive is masked by the GIST loss, was paid for in vain, and is replaced by a mined one: the text that
the guide finds nearest but for the first few, which may answer as well, and below the positive. So is one that says the
positive again.

`negative_sources` says of each negative where it is from: label, written, mined, or replaced (mined in place of a
written one). What failed stays as a rejected row, with its reason.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from datasets import Dataset

from gisttools.data import COLUMNS, normalise, triplet_id
from gisttools.synthesis.judge import Candidate, Judge
from gisttools.synthesis.options import Checks
from gisttools.synthesis.plan import ATTRIBUTES
from gisttools.synthesis.prompts import Form
from gisttools.synthesis.task import Task

_RAW_SHOWN = 2000  # characters of an unreadable answer that are kept
_MOST = 50_000  # texts of a pool that are looked through for negatives
_BLOCK = 1024  # anchors compared with the pool at a time
_TRIES = 8  # pairs of positive and negative that are drawn until the guide agrees with one


class LabelPartners:
    """Rows of labels: seeds and texts that passed become one another's partners.

    Drawn at random, not by likeness: a positive that is always the nearest text teaches nothing. Nor does one that says
    the anchor's seed again: a seed and the texts made of it are a family, and the positive is of another one where the
    label has another.
    """

    def __init__(self, task: Task, judge: Judge, checks: Checks, seed: int) -> None:
        self._task, self._checks, self._seed = task, checks, seed
        self._vectors = judge.given([text for label in task.labels.values() for text in label.seeds])
        self._pool = {
            name: [text for text in dict.fromkeys(label.seeds) if text in self._vectors]
            for name, label in task.labels.items()
        }
        self._place: dict[str, int] = {}  # of a text that passed, in its label's pool
        self._family: dict[str, dict[str, list[int]]] = {}  # label -> seed -> places, ascending
        for name, pool in self._pool.items():
            self._family[name] = {}
            for place, text in enumerate(pool):
                self._family[name].setdefault(normalise(text), []).append(place)

    def complete(self, passed: Sequence[Candidate], open_rows: Sequence[Candidate]) -> None:
        """Give each open row its texts, or the reason no-partner or guide-order; `passed` are new to the pool."""
        for c in passed:
            pool = self._pool[c.group]
            self._place[c.anchor_text] = len(pool)
            self._family[c.group].setdefault(_seed_of(c), []).append(len(pool))
            pool.append(c.anchor_text)
            self._vectors[c.anchor_text] = c.vectors[c.anchor_text]
        for c in open_rows:
            c.reason = self._draw(c)

    def _draw(self, c: Candidate) -> str | None:
        group, own = c.group, self._pool[c.group]
        # Where the confusable label has no text at all, another label's texts serve.
        named = [n for n in (c.item.contrast, *(n for n in self._task.labels if n != c.item.contrast)) if n != group]
        c.negative_label = next((name for name in named if name and self._pool[name]), None)
        if len(own) < 2 or c.negative_label is None:
            return "no-partner"
        anchor, others = c.anchor_text, self._pool[c.negative_label]
        rng = random.Random(f"{self._seed}/{group}/{anchor}")
        family = self._family[group][_seed_of(c)]
        taken = family if len(family) < len(own) else [self._place[anchor]]
        for _ in range(_TRIES):
            place = rng.randrange(len(own) - len(taken))
            for other in taken:
                place += place >= other
            positive = own[place]
            negative = rng.choice(others)
            c.positive, c.negatives, c.negative_sources = positive, [negative], ["label"]
            c.guide_ap = float(c.vectors[anchor] @ self._vectors[positive])
            c.guide_an = [float(c.vectors[anchor] @ self._vectors[negative])]
            if c.guide_ap > c.guide_an[0] or not (self._checks.guide_order and c.read):
                return None
        return "guide-order"


def _seed_of(c: Candidate) -> str:
    """The normal form of the text that it was made of; its own where nobody says."""
    return normalise(c.item.subject or c.anchor_text)


class WrittenPartners:
    """Rows whose positive is written or given: the round trip, the guide's order, and mined negatives.

    Args:
        task, checks: what was asked, and what to look at.
        corpus: texts that may serve as negatives from the start, with their unit vectors (dim): the user's passages.
            Positives of rows that pass join them.
    """

    def __init__(self, task: Task, checks: Checks, corpus: Mapping[str, np.ndarray]) -> None:
        self._task, self._checks = task, checks
        self._texts: dict[str, int] = {}
        self._vectors: list[np.ndarray] = []
        for text, vector in corpus.items():
            self._add(text, vector)

    def complete(self, passed: Sequence[Candidate], open_rows: Sequence[Candidate]) -> None:
        """Fill scores and negatives of each open row, or the reason round-trip, no-partner or guide-order; `passed` are
        new to the pool."""
        for c in passed:
            self._add(c.positive_text, c.vectors[c.positive_text])
        if not open_rows:
            return
        texts = list(self._texts)
        pool = np.stack(self._vectors[-_MOST:])  # never empty: the positives of these rows are in it
        texts = texts[-_MOST:]
        for begin in range(0, len(open_rows), _BLOCK):
            block = open_rows[begin : begin + _BLOCK]
            scores = np.stack([c.vectors[c.anchor_text] for c in block]) @ pool.T
            for c, row in zip(block, scores, strict=True):
                c.reason = self._judge(c, texts, row)

    def _add(self, text: str, vector: np.ndarray) -> None:
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            self._vectors.append(vector)

    def _judge(self, c: Candidate, texts: list[str], scores: np.ndarray) -> str | None:
        """The reason against a row; `scores` are the guide's cosines (n,) of its anchor with the pool's texts."""
        checks, anchor, positive = self._checks, c.vectors[c.anchor_text], c.positive_text
        c.guide_ap = float(anchor @ c.vectors[positive])
        first = len(self._texts) - len(texts)
        own = [self._texts[t] - first for t in (positive, c.anchor_text) if self._texts.get(t, -1) >= first]
        scores[own] = -np.inf
        better = int((scores > c.guide_ap).sum())
        if self._task.spec.round_trip and c.read and checks.top_k is not None and better >= checks.top_k:
            return "round-trip"
        if c.negatives:
            c.guide_an = [float(anchor @ c.vectors[text]) for text in c.negatives]
            if not (checks.guide_order and c.read) or min(c.guide_an) < c.guide_ap:
                return None
        found = self._mine(c, scores, len(texts) - len(own))
        if found is None:
            return "guide-order" if c.negatives else "no-partner"
        source = "replaced" if c.negatives or c.copies else "mined"
        c.negatives, c.negative_sources, c.guide_an = [texts[found]], [source], [float(scores[found])]
        return None

    def _mine(self, c: Candidate, scores: np.ndarray, n: int) -> int | None:
        """The place of the text nearest to the anchor but for the first few, and below the positive; of `n` texts, all
        others have no score."""
        skip = min(self._checks.skip_nearest, n // 3)
        if skip:
            scores[np.argpartition(-scores, skip - 1)[:skip]] = -np.inf
        if self._checks.guide_order and c.read:
            scores[scores >= c.guide_ap] = -np.inf
        nearest = int(np.argmax(scores))
        return nearest if np.isfinite(scores[nearest]) else None


def table_of(task: Task, form: Form, guide_id: str, candidates: Sequence[Candidate]) -> Dataset:
    """A table with the columns of `triplets.COLUMNS`, one row a candidate, in order."""
    common = {
        "task_name": task.name,
        "task_type": task.spec.task_type,
        "language": " ".join(filter(None, [task.language, task.target_language])),
        "source": "llm",
        "prompt_id": form.prompt_id,
        "prompt_sha": form.prompt_sha,
        "guide_id": guide_id,
    }
    rows = [common | _row(task, form, c) for c in candidates]
    filled = [{"id": triplet_id(r["anchor"], r["positive"] or "", r["negatives"]), **r} for r in rows]
    return Dataset(pa.Table.from_pylist(filled, schema=COLUMNS))


def cost_of(c: Candidate) -> tuple[int, int, float]:
    """Tokens in, tokens out and US dollars (0 where unknown) of a candidate, second looks at it included."""
    replies = [c.reply, *c.looks]
    return (
        sum(r.tokens_in for r in replies),
        sum(r.tokens_out for r in replies),
        sum(r.cost_usd or 0.0 for r in replies),
    )


def is_live(c: Candidate) -> bool | None:
    """Whether a negative survives the guide's mask; None where the guide has not seen any."""
    return None if not c.guide_an or c.guide_ap is None else min(c.guide_an) <= c.guide_ap


def _row(task: Task, form: Form, c: Candidate) -> dict:
    tokens_in, tokens_out, cost = cost_of(c)
    return {
        "anchor": c.anchor if c.anchor is not None else c.reply.content[:_RAW_SHOWN],
        **({"language": c.item.language} if c.item.language else {}),
        "positive": c.positive,
        "negatives": c.negatives,
        **_labels(task, form, c),
        "negative_sources": c.negative_sources if c.negatives else [],
        "attributes": json.dumps(_attributes(task, form, c), ensure_ascii=False),
        "seed_ids": [c.item.subject_id, *c.also] if c.item.subject_id else [],
        "source_revision": c.revision,
        "llm_model": c.reply.model or None,
        "call_key": c.reply.key,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "cost_usd": None if c.reply.cost_usd is None else cost,
        "guide_ap": c.guide_ap,
        "guide_an": c.guide_an,
        "live": is_live(c),
        "status": "rejected" if c.reason else "accepted",
        "reject_reason": c.reason,
    }


def _attributes(task: Task, form: Form, c: Candidate) -> dict[str, str]:
    found = {a: getattr(c.item, a) for a in ATTRIBUTES if a in form.variables}
    found |= {"score": str(c.score)} if c.score is not None else {}
    found |= {"asked_for": c.item.group} if c.moved else {}
    if task.documents:
        return {"part": c.group, **found}
    return {"topic": c.group, **found} if task.topics or task.search_terms else found


def _labels(task: Task, form: Form, c: Candidate) -> dict:
    """Labels of the row's texts; of graded passages their grades, of other kinds none: a topic is no label, for texts
    on one topic may well be each other's negatives."""
    if task.labels:
        label = c.negative_label or c.item.contrast
        negatives = [label] * (len(c.negatives) or 1) if label else []
        return {"anchor_label": c.group, "positive_label": c.group, "negative_labels": negatives}
    if form.layout.grades:
        best, *others = map(str, form.layout.grades)
        left = [grade for place, grade in enumerate(others) if place not in c.copies]
        grades = left if c.negative_sources == ["written"] * len(left) else [others[-1]] * len(c.negatives)
        return {"anchor_label": None, "positive_label": best, "negative_labels": grades}
    return {"anchor_label": None, "positive_label": None, "negative_labels": []}
