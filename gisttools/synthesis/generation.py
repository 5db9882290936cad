"""From a task description to triplets: plan, ask, filter, put together.

The LLM writes one text a call, and triplets are put together from texts that passed the filters (`rows.py`).
"""

# Why one text a call, and a rewritten one: of 42 answers of the embedded model (135 million parameters) to a request
# for anchor, positive and negative at once, 3 passed rough filters. Of 150 calls for one text, 55 passed the filters
# (27 lost their label) with the label's seeds as earlier turns, and 66 (13 lost it) by rewriting a seed.

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from gisttools.progress import tqdm
from gisttools.synthesis.llm import LLM
from gisttools.synthesis.plan import plan, requests_for
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.rows import Candidate, Embed, Judge, assemble
from gisttools.synthesis.task import Task
from gisttools.triplets import COLUMNS, triplet_id

__all__ = ["Outcome", "generate", "plan"]
_BATCH = 16  # texts judged at a time: few enough for a live count, enough to embed them together


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Two triplet tables and the figures of the step. A rejected row may lack positive and negatives."""

    accepted: Dataset
    rejected: Dataset
    summary: dict

    def headline(self) -> str:
        """One line: how many rows were accepted, and what stopped most of the others."""
        s = self.summary
        line = f"{s['accepted']} of {s['asked']} rows accepted ({s['accepted'] / s['asked']:.0%})"
        reasons = [f"{reason} {n}" for reason, n in list(s["reasons"].items())[:3]]
        return f"{line}; most rejects: {', '.join(reasons)}" if reasons else line


def generate(
    task: Task,
    llm: LLM,
    *,
    requests: int,
    seed: int,
    embed: Embed,
    guide_id: str,
    prompt: str | Path | None = None,
    eval_texts: Sequence[str] = (),
) -> Outcome:
    """Make triplets for a task.

    Args:
        task: what to write, see `read_task`.
        llm: who writes it.
        requests: number of calls; each gives one row, accepted or rejected.
        seed: seed of the plan and of the choice of positives and negatives.
        embed: guide; n texts to vectors (n, dim) of unit length.
        guide_id: name of the guide, for the table.
        prompt: name or path of a prompt file; the kind's own where None.
        eval_texts: texts of evaluation sets; a generated text that equals one is rejected.

    Returns:
        Tables with the columns of `triplets.COLUMNS`, and the summary: task, kind, prompt_id, llm_model, base_url,
        asked, accepted, rejected, reasons, by_label, calls (made now), cached_calls (rows that needed none), tokens_in,
        tokens_out and cost_usd (of all answers, cached ones too; None where the price is not known), spent_usd (now,
        also on calls that may have to be paid without an answer), seconds.

    Raises:
        EndpointError: the endpoint cannot be used; see `LLM.stream`.
        ParameterError, MissingError, DataError: `requests`, the prompt or the cache is no good, or an answer is to be
            replayed that was not recorded.
    """
    start, spent_before = time.monotonic(), llm.spent.usd
    template = load_prompt(prompt or task.kind)
    items = plan(task, requests, seed)
    judge = Judge(task, template.output, embed, eval_texts)
    candidates = _ask(llm, requests_for(task, template, items), items, judge)
    common = {"task_name": task.name, "task_type": "Classification", "language": task.language, "source": "llm"}
    common |= {"prompt_id": template.prompt_id, "prompt_sha": template.prompt_sha, "guide_id": guide_id}
    rows = [common | row for row in assemble(candidates, judge.pool, task, seed)]
    accepted = [r for r in rows if r["status"] == "accepted"]
    rejected = [r for r in rows if r["status"] == "rejected"]
    replies = [c.reply for c in candidates]
    summary = {
        "task": task.name,
        "kind": task.kind,
        "prompt_id": template.prompt_id,
        "llm_model": llm.model,
        "base_url": llm.url,
        "asked": len(rows),
        "accepted": len(accepted),
        "rejected": len(rejected),
        "reasons": dict(Counter(r["reject_reason"] for r in rejected).most_common()),
        "by_label": {name: {"asked": _count(rows, name), "accepted": _count(accepted, name)} for name in task.labels},
        "calls": sum(r.calls for r in replies),
        "cached_calls": sum(r.cached for r in replies),
        "tokens_in": sum(r.tokens_in for r in replies),
        "tokens_out": sum(r.tokens_out for r in replies),
        "cost_usd": sum(r.cost_usd for r in replies) if llm.price else None,
        "spent_usd": llm.spent.usd - spent_before if llm.price else None,
        "seconds": round(time.monotonic() - start, 2),
    }
    return Outcome(accepted=_table(accepted), rejected=_table(rejected), summary=summary)


def _ask(llm: LLM, requests: list, items: list, judge: Judge) -> list[Candidate]:
    """All candidates, judged. Judged in the order of the plan: the outcome must not depend on who answers first."""
    arrived: dict[int, Candidate] = {}
    waiting: list[Candidate] = []
    done = kept = tokens = 0
    cost = 0.0
    with tqdm(total=len(requests), desc="synthesize", unit="call") as bar:
        for number, reply in llm.stream(requests):
            arrived[number] = Candidate(item=items[number], reply=reply)
            while done + len(waiting) in arrived:
                waiting.append(arrived[done + len(waiting)])
            tokens, cost = tokens + reply.tokens_in + reply.tokens_out, cost + (reply.cost_usd or 0)
            if len(waiting) >= _BATCH or done + len(waiting) == len(requests):
                judge.judge(waiting)
                done, kept, waiting = done + len(waiting), kept + sum(c.reason is None for c in waiting), []
                money = f"${cost:.4f}" if llm.price else "cost unknown"
                bar.set_postfix_str(f"accepted {kept}/{done}, {tokens:,} tokens, {money}")
            bar.update()
    return [arrived[i] for i in range(len(requests))]


def _count(rows: list[dict], label: str) -> int:
    return sum(row["anchor_label"] == label for row in rows)


def _table(rows: list[dict]) -> Dataset:
    filled = [{"id": triplet_id(r["anchor"], r["positive"] or "", r["negatives"]), **r} for r in rows]
    return Dataset(pa.Table.from_pylist(filled, schema=COLUMNS))
