"""What a synthesis leaves: two tables, and the figures of its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from datasets import Dataset

from gisttools.synthesis.checks import Known
from gisttools.synthesis.ideas import Ideas
from gisttools.synthesis.judge import Candidate, Embed
from gisttools.synthesis.prompts import SUBJECT, Prompt
from gisttools.synthesis.rows import table_of
from gisttools.synthesis.tally import diversity, tally
from gisttools.synthesis.task import Task

_NAMED = 3  # groups named in a headline


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Two triplet tables and the figures of the step. A rejected row may lack positive and negatives."""

    accepted: Dataset
    rejected: Dataset
    summary: dict

    def headline(self) -> str:
        """One line: how many rows were accepted, and what stopped most of the others."""
        s = self.summary
        if s["dry_run"]:
            took = f"dry run, {s['accepted']} of {s['asked']} rows accepted"
            return f"{took}; {s['wanted']} would take {in_words(s['estimate'])}"
        line = f"{s['accepted']} rows of {s['asked']} asked for ({s['accepted'] / s['asked']:.0%})"
        line += f", {s['wanted']} wanted; short of {_named(s['short'])}" if s["short"] else ""
        reasons = [f"{reason} {n}" for reason, n in list(s["reasons"].items())[:3]]
        return f"{line}; most rejects: {', '.join(reasons)}" if reasons else line

    def bill(self) -> pd.Series:
        """What it took, as people read it: calls, tokens, US dollars where the price is known, and what the first few
        calls had promised."""
        s = self.summary
        counts = ("asked", "accepted", "live_negatives", "replaced_negatives", "calls", "tokens_in", "tokens_out")
        told = {name.replace("_", " "): f"{s[name]:,}" for name in counts}
        for name in ("cost_usd", "cost_per_accepted", "cost_per_live"):
            known = "price not known" if s["cost_usd"] is None else "-"
            told[name.removesuffix("_usd").replace("_", " ")] = known if s[name] is None else f"${s[name]:.4f}"
        return pd.Series({"stopped by": s["stopped"], **told, "first calls promised": in_words(s["estimate"])})

    def diversity(self) -> pd.DataFrame:
        """How different the written texts are, beside equally many real ones: see `tally.diversity`."""
        return pd.DataFrame.from_dict(self.summary["diversity"], orient="index")

    def rejects(self, each: int = 2) -> pd.DataFrame:
        """A few rejected rows of each reason, the most frequent first."""
        columns = ["reject_reason", "anchor_label", "anchor", "positive"]
        table = self.rejected.to_pandas()[columns]
        found = table.groupby("reject_reason").head(each)
        counts = table["reject_reason"].value_counts()
        order = (-found["reject_reason"].map(counts).astype(int)).argsort(kind="stable")
        return found.iloc[order].reset_index(drop=True)


def outcome_of(
    task: Task,
    prompt: Prompt,
    candidates: Sequence[Candidate],
    *,
    wanted: Mapping[str, int],
    ideas: Ideas,
    embed: Embed,
    known: Known,
    guide_id: str,
    facts: Mapping[str, Any],
) -> Outcome:
    """Tables and summary of all candidates, in the order of the plan; `facts` are what the run knows of itself."""
    facts = dict(facts)
    priced = facts.pop("priced")
    counts = tally(candidates, wanted, prompt.variables, priced)
    good, bad = ([c for c in candidates if (c.reason is None) == ok] for ok in (True, False))
    replies = [r for c in candidates for r in (c.reply, c.second) if r is not None] + ideas.replies
    summary = {
        "task": task.name,
        "kind": task.kind,
        "prompt_id": prompt.prompt_id,
        "wanted": sum(wanted.values()),
        **facts,
        **counts,
        "stopped": _stopped(counts, facts["dry_run"]),
        "ideas": sum(map(len, ideas.by_group.values())),
        "idea_cost_usd": sum(r.cost_usd or 0.0 for r in ideas.replies) if priced else None,
        "diversity": _diversities(prompt, good, known, embed),
        "calls": sum(r.calls for r in replies),
        "cached_calls": sum(c.reply.cached for c in candidates),
    }
    accepted, rejected = (table_of(task, prompt, guide_id, part) for part in (good, bad))
    return Outcome(accepted=accepted, rejected=rejected, summary=summary)


def in_words(estimate: Mapping[str, Any]) -> str:
    """An estimate as a phrase."""
    if not estimate["acceptance"]:
        return "nobody knows what: none of the first calls was answered"
    parts = [f"about {estimate['calls']:,} calls", f"{estimate['tokens']:,} tokens"]
    parts += [f"${estimate['cost_usd']:.2f}"] if estimate["cost_usd"] is not None else []
    parts += [f"{max(1, round(estimate['seconds'] / 60))} min"] if estimate["seconds"] is not None else []
    return ", ".join(parts)


def _named(short: Mapping[str, int]) -> str:
    """The groups that fall short, the worst first."""
    worst = sorted(short.items(), key=lambda pair: -pair[1])
    names = [f"{name} {n}" for name, n in worst[:_NAMED]]
    return ", ".join(names) + (f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else "")


def _stopped(counts: Mapping[str, Any], dry_run: bool) -> str:
    """Why no more was asked for."""
    if dry_run:
        return "dry run"
    if not counts["short"]:
        return "quota"
    return "budget" if "over-budget" in counts["reasons"] else "attempts"


def _diversities(prompt: Prompt, good: Sequence[Candidate], known: Known, embed: Embed) -> dict[str, Any]:
    """Of the texts that the LLM wrote, and of real ones, equally many of each where there are any."""
    real = [text for text, _ in known.labelled]
    written = [c.positive if prompt.row.anchor == SUBJECT else c.anchor for c in good]
    fewest = min(len(set(written)), len(set(real))) if real else None
    found = {"written": diversity(written, embed, fewest), "real": diversity(real, embed, fewest)}
    return {name: value for name, value in found.items() if value is not None}
