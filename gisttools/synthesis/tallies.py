"""Counts what became of the texts of a synthesis, by reason, group and attribute; measures how different they are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gisttools.synthesis.filters import was_cleaned
from gisttools.synthesis.judge import Candidate, Embed
from gisttools.synthesis.llm.budget import Spent
from gisttools.synthesis.options import Known
from gisttools.synthesis.partners import cost_of, is_live
from gisttools.synthesis.plan import ATTRIBUTES
from gisttools.synthesis.prompts import SUBJECT, Form
from gisttools.synthesis.second_looks import confusion

_SAMPLE = 500  # texts that diversity is measured on
_NAMED = 3  # failures that are told
_WORDS = 300  # characters of each
_SURE = 5.0  # seconds before which nothing is said of rows a minute


def tally(
    candidates: Sequence[Candidate], quotas: Mapping[str, int], variables: Mapping[str, str], priced: bool
) -> dict[str, Any]:
    """The counts of a summary: asked, accepted, rejected, reasons, by_label (by group: wanted, asked, accepted),
    cleaned (accepted rows that invisible characters were taken out of), short (groups below their quota), by_attribute,
    relabelled (accepted under another label than was asked for), live_negatives, replaced_negatives, tokens
    (tokens_cached: of those in, from the endpoint's cache of prompts), cost,
    cost_per_accepted, cost_per_live (US dollars, None where the price is not known), confusion of the blind look."""
    good = [c for c in candidates if c.reason is None]
    asked, accepted = Counter(c.item.group for c in candidates), Counter(c.group for c in good)
    seen = confusion(candidates)
    return {
        "asked": len(candidates),
        "accepted": len(good),
        "rejected": len(candidates) - len(good),
        "reasons": dict(Counter(c.reason for c in candidates if c.reason).most_common()),
        "cleaned": sum(was_cleaned(c.reply) for c in good),
        "by_label": {g: {"wanted": n, "asked": asked[g], "accepted": accepted[g]} for g, n in quotas.items()},
        "short": {g: n - accepted[g] for g, n in quotas.items() if accepted[g] < n},
        "by_attribute": {a: _by(candidates, a) for a in ATTRIBUTES if a in variables},
        "relabelled": sum(c.moved is not None for c in good),
        "replaced_negatives": sum("replaced" in c.negative_sources for c in good),
        **_bill(candidates, good, priced),
        "confusion": seen.to_dict("index") if len(seen) else None,
    }


def live_pace(candidates: Sequence[Candidate], seconds: float, spent: Spent, priced: bool) -> str:
    """What stands beside the bar: rows, rows a minute by calls made now, accepted share, dollars; tokens where there
    are no dollars.

    Args:
        candidates: all that were judged so far.
        seconds: since the first was asked for.
        spent, priced: by the calls, and whether their price is known.
    """
    good = [c for c in candidates if c.reason is None]
    words = [f"{len(good):,} row{'s' * (len(good) != 1)}"]
    fresh = sum(not c.reply.cached for c in good)
    if seconds >= _SURE and fresh:
        rate = 60 * fresh / seconds
        words.append(f"{rate:,.0f} a minute" if rate >= 10 else f"{rate:.1f} a minute")
    words += [f"{len(good) / len(candidates):.0%} accepted"] if candidates else []
    words.append(f"${spent.usd:.4f}" if priced and spent.usd else f"{spent.tokens:,} tokens")
    return ", ".join(words)


def _bill(candidates: Sequence[Candidate], good: Sequence[Candidate], priced: bool) -> dict[str, Any]:
    """Tokens and dollars of all candidates; dollars for each accepted row, and for each with a usable negative."""
    tokens_in, tokens_out, cost = (sum(column) for column in zip((0, 0, 0.0), *map(cost_of, candidates), strict=True))
    live = sum(bool(is_live(c)) for c in good)
    replies = [r for c in candidates for r in (c.reply, *c.looks)]
    return {
        "live_negatives": live,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "tokens_cached": sum(r.tokens_cached for r in replies),
        "cost_usd": cost if priced else None,
        "cost_per_accepted": cost / len(good) if priced and good else None,
        "cost_per_live": cost / live if priced and live else None,
    }


def diversity(texts: Sequence[str], embed: Embed, like: int | None = None, seed: int = 0) -> dict[str, Any] | None:
    """How different texts are, on at most `like` (500) of them, drawn by seed: shares that depend on their number can
    only be compared between equally many texts.

    Returns:
        texts (how many), words (a text, mean), distinct_1 and distinct_2 (different words and pairs of words among all;
        Li et al., A diversity-promoting objective function, 2016), similarity (mean guide cosine of two different
        texts); None of fewer than two texts.
    """
    texts = list(dict.fromkeys(texts))
    count = min(len(texts), _SAMPLE, like or _SAMPLE)
    if count < 2:
        return None
    drawn = random.Random(seed).sample(texts, count)
    words = [text.casefold().split() for text in drawn]
    pairs = [pair for line in words for pair in pairwise(line)]
    singles = [word for line in words for word in line]
    total = np.asarray(embed(drawn)).sum(axis=0)
    return {
        "texts": count,
        "words": round(len(singles) / count, 1),
        "distinct_1": round(len(set(singles)) / max(1, len(singles)), 3),
        "distinct_2": round(len(set(pairs)) / max(1, len(pairs)), 3),
        "similarity": round(float((total @ total - count) / (count * (count - 1))), 3),
    }


def _by(candidates: Sequence[Candidate], attribute: str) -> dict[str, dict[str, int]]:
    asked = Counter(getattr(c.item, attribute) for c in candidates)
    accepted = Counter(getattr(c.item, attribute) for c in candidates if c.reason is None)
    return {value: {"asked": n, "accepted": accepted[value]} for value, n in sorted(asked.items())}


def failures(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Why calls failed, in the endpoint's words, the most frequent first, and how often."""
    replies = (reply for c in candidates if c.reason == "call-failed" for reply in (c.reply, *c.looks))
    words = Counter(reply.content[:_WORDS] for reply in replies if reply.finish_reason == "error")
    return dict(words.most_common(_NAMED))


def written_by_group(form: Form, good: Sequence[Candidate]) -> list[tuple[str, str]]:
    """What the LLM wrote in each accepted row, and for which group (of a classification its label)."""
    own = [c.positive_text if form.layout.anchor == SUBJECT else c.anchor_text for c in good]
    return [(text, c.group) for text, c in zip(own, good, strict=True)]


def diversities(form: Form, good: Sequence[Candidate], known: Known, embed: Embed) -> dict[str, Any]:
    """Of the texts that the LLM wrote, and of real ones, equally many of each where there are any."""
    real = [text for text, _ in known.labelled]
    written = [text for text, _ in written_by_group(form, good)]
    fewest = min(len(set(written)), len(set(real))) if real else None
    found = {"written": diversity(written, embed, fewest), "real": diversity(real, embed, fewest)}
    return {name: value for name, value in found.items() if value is not None}
