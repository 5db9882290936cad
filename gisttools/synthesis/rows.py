"""From candidates to rows of the triplet table; what failed stays as a rejected row, with its reason."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
from datasets import Dataset

from gisttools.data import COLUMNS, triplet_id
from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.plan import ATTRIBUTES
from gisttools.synthesis.prompts import Prompt
from gisttools.synthesis.task import Task

_RAW_SHOWN = 2000  # characters of an unreadable answer that are kept


def table_of(task: Task, prompt: Prompt, guide_id: str, candidates: Sequence[Candidate]) -> Dataset:
    """A table with the columns of `triplets.COLUMNS`, one row a candidate, in order."""
    common = {
        "task_name": task.name,
        "task_type": task.spec.task_type,
        "language": " ".join(filter(None, [task.language, task.target_language])),
        "source": "llm",
        "prompt_id": prompt.prompt_id,
        "prompt_sha": prompt.prompt_sha,
        "guide_id": guide_id,
    }
    rows = [common | _row(task, prompt, c) for c in candidates]
    filled = [{"id": triplet_id(r["anchor"], r["positive"] or "", r["negatives"]), **r} for r in rows]
    return Dataset(pa.Table.from_pylist(filled, schema=COLUMNS))


def cost_of(c: Candidate) -> tuple[int, int, float]:
    """Tokens in, tokens out and US dollars (0 where unknown) of a candidate, its blind look included."""
    replies = [r for r in (c.reply, c.second) if r is not None]
    return (
        sum(r.tokens_in for r in replies),
        sum(r.tokens_out for r in replies),
        sum(r.cost_usd or 0.0 for r in replies),
    )


def is_live(c: Candidate) -> bool | None:
    """Whether a negative survives the guide's mask; None where the guide has not seen any."""
    return None if not c.guide_an or c.guide_ap is None else min(c.guide_an) <= c.guide_ap


def _row(task: Task, prompt: Prompt, c: Candidate) -> dict:
    tokens_in, tokens_out, cost = cost_of(c)
    return {
        "anchor": c.anchor if c.anchor is not None else c.reply.content[:_RAW_SHOWN],
        "positive": c.positive,
        "negatives": c.negatives,
        **_labels(task, prompt, c),
        "negative_sources": c.sources if c.negatives else [],
        "attributes": json.dumps(_attributes(task, prompt, c), ensure_ascii=False),
        "seed_ids": [c.item.subject_id] if c.item.subject_id else [],
        "llm_model": c.reply.model,
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


def _attributes(task: Task, prompt: Prompt, c: Candidate) -> dict[str, str]:
    found = {a: getattr(c.item, a) for a in ATTRIBUTES if a in prompt.variables}
    return {"topic": c.item.group, **found} if task.topics or task.search_terms else found


def _labels(task: Task, prompt: Prompt, c: Candidate) -> dict:
    """Labels of the row's texts; of graded passages their grades, of other kinds none: a topic is no label, for texts
    on one topic may well be each other's negatives."""
    if task.labels:
        label = c.negative_label or c.item.contrast
        negatives = [label] * (len(c.negatives) or 1)
        return {"anchor_label": c.item.group, "positive_label": c.item.group, "negative_labels": negatives}
    if prompt.row.grades:
        best, *others = map(str, prompt.row.grades)
        grades = others if c.sources == ["written"] * len(others) else [others[-1]] * len(c.negatives)
        return {"anchor_label": None, "positive_label": best, "negative_labels": grades}
    return {"anchor_label": None, "positive_label": None, "negative_labels": []}
