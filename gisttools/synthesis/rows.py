"""From answers to rows of the triplet table: run the filters over the texts, then put triplets together.

A row's anchor is a text that passed; its positive another one of the same label, or a seed; its negative one of a
confusable label, or a seed of it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gisttools.synthesis import filters
from gisttools.synthesis.llm import Reply
from gisttools.synthesis.plan import PlanItem
from gisttools.synthesis.task import Task

Embed = Callable[[list[str]], np.ndarray]
_RAW_SHOWN = 2000  # characters of an unreadable answer that are kept
_TRIES = 8  # pairs of positive and negative that are drawn until the guide agrees with one


@dataclass(kw_only=True)
class Candidate:
    """One call's answer on its way through the filters; `reason` says which one stopped it."""

    item: PlanItem
    reply: Reply
    text: str | None = None
    vector: np.ndarray | None = None
    reason: str | None = None


class Judge:
    """The filters with what they compare against: seeds, accepted texts, label centroids, evaluation texts.

    `embed` turns n texts into vectors (n, dim) of unit length; `schema` is the prompt's output schema.
    """

    def __init__(self, task: Task, schema: dict, embed: Embed, eval_texts: Iterable[str] = ()) -> None:
        self._task, self._schema, self._embed = task, schema, embed
        self._evaluation = {filters.normalise(text) for text in eval_texts}
        seeds = [(name, text) for name, label in task.labels.items() for text in label.seeds]
        lines = [(name, label.about) for name, label in task.labels.items()]
        vectors = np.asarray(embed([text for _, text in seeds + lines]))
        is_seed = [True] * len(seeds) + [False] * len(lines)
        self._centroids = filters.LabelCentroids(vectors, [name for name, _ in seeds + lines], is_seed)
        self._seen = filters.Seen(text for _, text in seeds)
        self._lines = filters.Seen(text for _, text in lines)
        # Texts of each label that rows may be put together from: seeds now, accepted texts later.
        self.pool: dict[str, list[tuple[str, np.ndarray]]] = defaultdict(list)
        for (name, text), vector in zip(seeds, vectors, strict=False):  # the lines' vectors come after
            self.pool[name].append((text, vector))

    def judge(self, candidates: Sequence[Candidate]) -> None:
        """Fill text, vector and reason; a text that passes joins the pool, and later ones must not repeat it."""
        for c in candidates:
            c.text, c.reason = filters.read_text(c.reply, self._schema)
            c.reason = c.reason or filters.bad_form(c.text, self._task)
        alive = [c for c in candidates if c.reason is None]
        if not alive:
            return
        for c, vector in zip(alive, np.asarray(self._embed([c.text for c in alive])), strict=True):
            c.vector = vector
            if filters.normalise(c.text) in self._evaluation:
                c.reason = "in-evaluation-set"
            elif self._lines.repeats(c.text):
                c.reason = "prompt-leak"
            c.reason = c.reason or self._seen.repeats(c.text) or self._centroids.judge(vector, c.item.label)
            if c.reason is None:
                self._seen.add(c.text)
                self.pool[c.item.label].append((c.text, vector))


def assemble(candidates: Sequence[Candidate], pool: dict, task: Task, seed: int) -> list[dict]:
    """One row for each candidate, in order, with columns of `triplets.COLUMNS`; what failed stays as a rejected row."""
    rng = random.Random(f"{seed}/rows")
    rows = []
    for c in candidates:
        row = {
            "anchor": c.text if c.text is not None else c.reply.content[:_RAW_SHOWN],
            "positive": None,
            "negatives": [],
            "anchor_label": c.item.label,
            "positive_label": c.item.label,
            "negative_labels": [c.item.confusable],
            "seed_ids": [] if c.item.seed is None else [f"{c.item.label}:{c.item.seed}"],
            "llm_model": c.reply.model,
            "call_key": c.reply.key,
            "tokens_in": c.reply.tokens_in,
            "tokens_out": c.reply.tokens_out,
            "cost_usd": c.reply.cost_usd,
        }
        if c.reason is None:
            c.reason = _complete(row, c, pool, task, rng)
        rows.append(row | {"status": "rejected" if c.reason else "accepted", "reject_reason": c.reason})
    return rows


def _complete(row: dict, c: Candidate, pool: dict, task: Task, rng: random.Random) -> str | None:
    """Give the row a positive and a negative that the guide finds in the right order; a reason where there are none.

    Drawn at random, not by likeness: a positive that is always the nearest text teaches nothing.
    """
    positives = [(text, vector) for text, vector in pool[c.item.label] if text != c.text]
    # Where the confusable label has no text at all, another label's texts serve.
    named = [c.item.confusable, *(n for n in task.labels if n not in (c.item.label, c.item.confusable))]
    negative_label = next((name for name in named if pool[name]), None)
    if not positives or negative_label is None:
        return "no-partner"
    for _ in range(_TRIES):
        (positive, pv), (negative, nv) = rng.choice(positives), rng.choice(pool[negative_label])
        ap, an = float(c.vector @ pv), float(c.vector @ nv)
        row |= {"positive": positive, "negatives": [negative], "negative_labels": [negative_label]}
        row |= {"guide_ap": ap, "guide_an": [an], "live": an <= ap}
        if ap > an:
            return None
    return "guide-order"
