"""What a synthesis came to: counts by filter, group and attribute, money, and how different the texts are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gisttools.synthesis.blind import confusion
from gisttools.synthesis.judge import Candidate, Embed
from gisttools.synthesis.plan import ATTRIBUTES
from gisttools.synthesis.rows import cost_of, is_live

_SAMPLE = 500  # texts that diversity is measured on


def tally(
    candidates: Sequence[Candidate], quotas: Mapping[str, int], variables: Mapping[str, str], priced: bool
) -> dict[str, Any]:
    """The counts of a summary: asked, accepted, rejected, reasons, by_label (by group: wanted, asked, accepted), short
    (groups below their quota), by_attribute, live_negatives, replaced_negatives, tokens, cost, cost_per_accepted,
    cost_per_live (US dollars, None where the price is not known), confusion of the blind look."""
    good = [c for c in candidates if c.reason is None]
    costs = [cost_of(c) for c in candidates]
    tokens_in, tokens_out, cost = (sum(c[i] for c in costs) for i in range(3))
    asked, accepted = (Counter(c.item.group for c in part) for part in (candidates, good))
    live = sum(bool(is_live(c)) for c in good)
    seen = confusion(candidates)
    return {
        "asked": len(candidates),
        "accepted": len(good),
        "rejected": len(candidates) - len(good),
        "reasons": dict(Counter(c.reason for c in candidates if c.reason).most_common()),
        "by_label": {g: {"wanted": n, "asked": asked[g], "accepted": accepted[g]} for g, n in quotas.items()},
        "short": {g: n - accepted[g] for g, n in quotas.items() if accepted[g] < n},
        "by_attribute": {a: _by(candidates, a) for a in ATTRIBUTES if a in variables},
        "live_negatives": live,
        "replaced_negatives": sum("replaced" in c.sources for c in good),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "cost_usd": cost if priced else None,
        "cost_per_accepted": cost / len(good) if priced and good else None,
        "cost_per_live": cost / live if priced and live else None,
        "confusion": seen.to_dict("index") if len(seen) else None,
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
