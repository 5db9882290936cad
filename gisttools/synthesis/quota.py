"""Counts how many rows each group of a synthesis has and how many calls it had, and says how many to make next."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypedDict

from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.label_checks import MISMATCH
from gisttools.synthesis.llm.asking import UNANSWERED
from gisttools.synthesis.partners import cost_of

OVER = "over-quota"
_FEW = 8  # rows that are missing, up to which no more are asked for than that
_HOPELESS = 0.05  # rows a call: a writer that surely gives fewer of a group is not asked for it again
_SURE = 0.95


class Estimate(TypedDict):
    """What all rows will take: the share of calls that give one, calls, tokens, US dollars (None where the price is not
    known) and seconds (None where all answers came from the cache)."""

    acceptance: float
    calls: float  # infinite where no call was answered
    tokens: int
    cost_usd: float | None
    seconds: float | None


class Quotas:
    """Counts of a synthesis under way.

    Args:
        wanted: accepted rows wanted of each group.
        attempts: calls for each wanted row, at most, on average of a group.
        hasty: ask for as many as will be needed on average, and take some in excess, where a round takes a day.
        patient: give up no group. A label may be one that a writer cannot write; a document is none.
        texts: that one call is asked for. What is counted are texts, asked for and accepted; what is made are calls.
    """

    def __init__(
        self,
        wanted: Mapping[str, int],
        attempts: float,
        *,
        hasty: bool = False,
        patient: bool = False,
        texts: int = 1,
    ) -> None:
        self._texts = texts
        self.wanted, self._hasty, self._patient = dict(wanted), hasty, patient
        self._most = {group: math.ceil(round(n * attempts, 6)) for group, n in wanted.items()}  # 10 * 1.1 is above 11
        self.asked: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.reasons: dict[str, Counter[str]] = {}

    def given_up(self) -> dict[str, str]:
        """The groups that the writer cannot write, each with what stood most often against its texts: fewer than one
        call in twenty gives a row, surely (the exact upper bound of a share, Clopper and Pearson 1934)."""
        from scipy import stats

        found = {}
        for group, reasons in () if self._patient else self.reasons.items():
            answered, good = reasons.total(), reasons[""]
            short = good < min(self.wanted[group], answered)
            if short and stats.beta.ppf(_SURE, good + 1, answered - good) < _HOPELESS:
                found[group] = next(reason for reason, _ in reasons.most_common() if reason)
        return found

    def next_round(self, most: int | None = None) -> dict[str, int]:
        """Calls of each group in the next round; `most` in all. Empty where all have their rows, or had their calls,
        or are given up."""
        found: dict[str, int] = {}
        hopeless = self.given_up()
        for group, wanted in self.wanted.items():
            if group in hopeless:
                continue
            need, left = wanted - self.accepted[group], self._most[group] - self.asked[group]
            if need > 0 and left > 0:
                calls = math.ceil(need / self._share(group)) if self._hasty else _calls(need, self._rate(group))
                found[group] = math.ceil(min(left, calls) / self._texts)
        if most is not None:
            found = _cut(found, most)
        return found

    def calls_left(self) -> int:
        """Calls that it will take yet, by what was accepted so far."""
        groups = [(g, n) for g, n in self.wanted.items() if g not in self.given_up()]
        left = {g: (n - self.accepted[g], self._most[g] - self.asked[g]) for g, n in groups}
        texts = [min(most, math.ceil(need / self._share(g))) for g, (need, most) in left.items() if need > 0]
        return sum(math.ceil(n / self._texts) for n in texts)

    def count(self, candidates: Sequence[Candidate]) -> None:
        """Count all candidates so far, in order; a good row beyond its group's quota gets the reason over-quota."""
        calls = Counter(c.item.group for c in candidates if c.first)
        self.asked = Counter({group: n * self._texts for group, n in calls.items()})
        self.accepted = Counter()
        for c in candidates:
            if c.reason in (None, OVER):
                full = self.accepted[c.group] >= self.wanted.get(c.group, 0)
                c.reason = OVER if full else None
                self.accepted[c.group] += not full
        self.reasons = {group: Counter() for group in self.wanted}
        for c in candidates:
            if c.reply.finish_reason not in UNANSWERED:
                reason = MISMATCH if c.moved else "" if c.reason in (None, OVER) else c.reason
                self.reasons[c.item.group][reason] += 1

    def estimate(self, candidates: Sequence[Candidate], seconds: float, concurrency: int, priced: bool) -> Estimate:
        """What all rows will take, from those that were asked for in so many seconds. Calls that were not answered say
        nothing; where none was, acceptance is 0."""
        candidates = [c for c in candidates if c.reply.finish_reason not in UNANSWERED]
        share = (sum(self.accepted.values()) + 1) / (len(candidates) + 2) if candidates else 0.0
        texts = [min(self._most[g], math.ceil(n / share) if share else math.inf) for g, n in self.wanted.items()]
        calls = sum(n if math.isinf(n) else math.ceil(n / self._texts) for n in texts)
        asked = [c for c in candidates if c.first]
        tokens = sum(sum(cost_of(c)[:2]) for c in candidates) / max(1, len(asked))
        usd = sum(cost_of(c)[2] for c in candidates) / max(1, len(asked))
        looks = (len(asked) + sum(len(c.looks) for c in candidates)) / max(1, len(asked)) or 1.0
        fresh = sum(not c.reply.cached for c in asked)
        # a first round is too short to fill all places
        each = seconds * min(concurrency, fresh) / (fresh * concurrency) if fresh else None
        return {
            "acceptance": round(share, 3),
            "calls": calls * looks if math.isinf(calls) else round(calls * looks),
            "tokens": round(calls * tokens),
            "cost_usd": calls * usd if priced else None,
            "seconds": None if each is None else round(calls * each, 1),
        }

    def _rate(self, group: str) -> float:
        """Share of a group's calls that give a row, a standard error above what was seen, so that one bad first round
        asks for few in excess; 1 before the first call."""
        share = self._share(group)
        return min(1.0, share + math.sqrt(share * (1 - share) / (self.asked[group] + 1)))

    def _share(self, group: str) -> float:
        return (self.accepted[group] + 1) / (self.asked[group] + 1)


def _calls(need: int, rate: float) -> int:
    """As many calls as give `need` rows or fewer in five of six cases: n rate + sqrt(n rate (1 - rate)) = need."""
    if need <= _FEW:
        return need
    spread = math.sqrt(rate * (1 - rate))
    root = (math.sqrt(spread**2 + 4 * rate * need) - spread) / (2 * rate)
    return max(need, int(root**2))


def _cut(wanted: Mapping[str, int], most: int) -> dict[str, int]:
    """The first `most` calls, the groups in turn."""
    found: Counter[str] = Counter()
    while sum(found.values()) < most and found != Counter(wanted):
        for group, n in wanted.items():
            if found[group] < n and sum(found.values()) < most:
                found[group] += 1
    return dict(found)


def in_words(estimate: Estimate) -> str:
    """An estimate as a phrase."""
    if not estimate["acceptance"]:
        return "nobody knows what: none of the first calls was answered"
    parts = [f"about {estimate['calls']:,} calls", f"{estimate['tokens']:,} tokens"]
    parts += [f"${estimate['cost_usd']:.2f}"] if estimate["cost_usd"] is not None else []
    parts += [f"{max(1, round(estimate['seconds'] / 60))} min"] if estimate["seconds"] is not None else []
    return ", ".join(parts)
