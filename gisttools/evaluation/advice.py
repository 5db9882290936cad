"""Says which of several models to use: one pure rule from scores, their differences and speeds to a word and a reason.

What is fast costs little, so texts a second give the order of cost. A model *earns its cost* where it is better than
every candidate that is as fast or faster, by intervals that hold for all of these differences at once. The best score
is advised where it earns its cost; where it does not, some faster model is not shown to be worse: both are named with
the trade in numbers. Scores lie between 0 and 1, a point is 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gisttools.common import signed
from gisttools.evaluation.comparison import holm
from gisttools.evaluation.intervals import Interval, student_interval

Kind = Literal["floor", "classic", "head", "base", "tuned", "guide", "reranked", "reference"]
SPEED_NOISE = 0.8  # a candidate counts as being as fast as another from this share of its texts a second on
_ALPHA = 0.05
_FEWEST = 2  # models, to compare


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to do the task.

    Attributes:
        name: what it is called on the page; no other candidate has it.
        kind: `floor` is a guess that nobody would use (the most frequent class); `classic` needs no encoder (TF-IDF,
            BM25); `head` an encoder trained with a linear head; `base` the student before training; `tuned` a model
            trained here; `guide`; `reranked` a search whose first documents a cross-encoder puts in order; `reference`
            any other.
        score: of what is compared, between 0 and 1.
        texts_per_s: on this machine; None where it was not measured.
    """

    name: str
    kind: Kind
    score: float
    texts_per_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trade:
    """What another candidate gives for what: its difference to the best score (negative: less), how many times as fast
    it is (None where not known), and whether it is shown to be worse."""

    name: str
    difference: Interval
    times_as_fast: float | None
    shown_worse: bool

    def told(self) -> str:
        """`3.1 points less, 14 times as fast`, with the interval where the difference is not shown."""
        points = 100 * self.difference.difference
        text = (
            f"{abs(points):.1f} points {'less' if points < 0 else 'more'}" if abs(points) >= 0.05 else "the same score"
        )
        if not self.shown_worse and not math.isnan(self.difference.low):
            text += f" ({signed(self.difference.low)} to {signed(self.difference.high)}: not shown to be worse)"
        if self.times_as_fast is None:
            return f"{text}, speed not measured"
        return f"{text}, {times(self.times_as_fast)}"


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Which model to use.

    Attributes:
        word: `use` one model; `choose` between two, whose difference is not shown; `none`: nothing can be said.
        best: the candidate of the highest score; empty where there is none.
        other: with `choose` the fastest candidate that is not shown to be worse.
        head: the advice in one line.
        why: its reason in a sentence or two.
        trades: of `best` against every faster candidate that earns its cost, and `other`; the fastest first.
    """

    word: Literal["use", "choose", "none"]
    best: str
    other: str
    head: str
    why: str
    trades: tuple[Trade, ...] = ()


Gap = Callable[[Candidate, Candidate], Interval]


def advise(candidates: Sequence[Candidate], gap: Gap, *, smoke: bool = False) -> Advice:
    """Which candidate to use.

    1. Of a smoke run, or where there is nothing to compare with, nothing is said.
    2. The candidate of the highest score is held against every other one; the intervals of these differences hold
       together (Holm 1979). Where it is not shown to be better than a `floor`, no model is advised.
    3. Where it is better than each candidate that is as fast or faster (`SPEED_NOISE`; an unknown speed counts as
       fast): use it. Faster candidates that are in turn better than all that are as fast or faster than they are
       trades, and are named.
    4. Else choose: it, or the fastest of those that are not shown to be worse.

    Args:
        candidates: all that were scored on the same texts.
        gap: the paired interval of the first candidate's score minus the second's.
        smoke: whether the run was only to see that everything works.
    """
    if smoke:
        return _nothing("No claim: this was a smoke run", "It shows that everything works, not how good a model is.")
    best, gaps = against_best(candidates, gap)
    if best is None or sum(c.kind != "floor" for c in candidates) < _FEWEST:
        return _nothing("No claim: there is nothing to compare with", "Only one model was scored.")
    if guess := [c for c in candidates if c.kind == "floor" and not gaps[c.name].low > 0]:
        why = f"{best.name} scores {points(best.score)}, {guess[0].name} {points(guess[0].score)}."
        return _nothing("No model: none is shown to beat a guess", why, best=best.name)
    return _between(best, candidates, gaps, gap)


def _between(best: Candidate, candidates: Sequence[Candidate], gaps: dict[str, Interval], gap: Gap) -> Advice:
    """Steps 3 and 4: whether the best earns its cost."""
    rivals = [c for c in candidates if c is not best and c.kind != "floor" and as_fast(c, best)]
    if equals := [c for c in rivals if not gaps[c.name].low > 0]:
        return _choice(best, equals, gaps)
    faster = [c for c in rivals if not as_fast(best, c) and _earns(c, candidates, gap)]
    trades = tuple(_trade(best, c, gaps[c.name]) for c in sorted(faster, key=_speed, reverse=True))
    return Advice(
        word="use", best=best.name, other="", head=f"Use {best.name}", why=_reason(best, rivals, gaps), trades=trades
    )


def against_best(candidates: Sequence[Candidate], gap: Gap) -> tuple[Candidate | None, dict[str, Interval]]:
    """The candidate of the highest score that is no guess, and its difference to each other one by name, by intervals
    that hold together; None where all are guesses. Of equal scores the faster one is the best."""
    models = [c for c in candidates if c.kind != "floor"]
    if not models:
        return None, {}
    best = max(models, key=lambda c: (c.score, _speed(c)))
    others = [c for c in candidates if c is not best]
    return best, dict(zip((c.name for c in others), simultaneous([gap(best, c) for c in others]), strict=True))


def simultaneous(gaps: Sequence[Interval], *, alpha: float = _ALPHA) -> list[Interval]:
    """Intervals of several differences that agree with Holm's step-down test of all of them at `alpha`.

    By p ascending, the i-th of m has the confidence 1 − α/(m − i + 1) until one is not shown to differ from zero; all
    from there on share the level of that step (as Strassburger and Bretz 2008 have it for what is not rejected). An
    interval leaves zero out exactly where Holm's test says that its difference is not zero. One without p was no test
    and has no interval: its ends are NaN.
    """
    corrected = holm([g.p for g in gaps])
    tested = [i for i in np.argsort([g.p for g in gaps], kind="stable") if math.isfinite(gaps[i].p)]
    found = [_level(g, math.nan) for g in gaps]
    for step, i in enumerate(tested):
        shown = int((corrected[tested] < alpha).sum())
        found[i] = _level(gaps[i], alpha / (len(tested) - min(step, shown)))
    return found


def as_fast(one: Candidate, other: Candidate) -> bool:
    """Whether `one` is as fast as `other` or faster; what was not measured counts as if it were."""
    if one.texts_per_s is None or other.texts_per_s is None:
        return True
    return one.texts_per_s >= SPEED_NOISE * other.texts_per_s


def points(score: float) -> str:
    return f"{100 * score:.1f}"


def times(ratio: float) -> str:
    """`14 times as fast`, `1.6 times as fast`, `as fast` within noise."""
    if SPEED_NOISE <= ratio <= 1 / SPEED_NOISE:
        return "as fast"
    if ratio < 1:
        return f"{1 / ratio:.2g} times slower" if ratio > 0 else "far slower"
    return f"{ratio:.0f} times as fast" if ratio >= 10 else f"{ratio:.1f} times as fast"


def _level(gap: Interval, alpha: float) -> Interval:
    """The same difference at another confidence, 1 − alpha; without ends where alpha is NaN."""
    if math.isnan(alpha):
        return replace(gap, low=math.nan, high=math.nan)
    return student_interval(
        gap.difference, gap.standard_error**2, gap.freedom, n_items=gap.n_items, n_draws=gap.n_draws, method=gap.method,
        item_share=gap.item_share, confidence=1 - alpha,
    )  # fmt: skip


def _earns(candidate: Candidate, candidates: Sequence[Candidate], gap: Gap) -> bool:
    """Whether it is better than every candidate that is as fast or faster."""
    rivals = [c for c in candidates if c is not candidate and as_fast(c, candidate)]
    return all(g.low > 0 for g in simultaneous([gap(candidate, c) for c in rivals]))


def _choice(best: Candidate, equals: Sequence[Candidate], gaps: dict[str, Interval]) -> Advice:
    other = max(equals, key=_speed)
    trade = _trade(best, other, gaps[other.name])
    also = len(equals) - 1
    why = f"{best.name} scores highest ({points(best.score)}). {other.name}: {trade.told()}."
    if also:
        why += f" {also} more {'is' if also == 1 else 'are'} not shown to be worse either."
    return Advice(
        word="choose", best=best.name, other=other.name, head=f"{best.name} or {other.name}: not decided", why=why,
        trades=(trade,),
    )  # fmt: skip


def _reason(best: Candidate, rivals: Sequence[Candidate], gaps: dict[str, Interval]) -> str:
    if not rivals:
        return f"It scores highest ({points(best.score)}), and nothing that was tried is as fast."
    closest = max(rivals, key=lambda c: c.score)
    found = gaps[closest.name]
    span = f"{signed(found.low)} to {signed(found.high)}"
    return (
        f"It scores {points(best.score)}, more than everything that is as fast or faster: the closest, {closest.name},"
        f" has {points(closest.score)} ({signed(found.difference)} points, {span})."
    )


def _trade(best: Candidate, other: Candidate, gap: Interval) -> Trade:
    return Trade(
        name=other.name,
        difference=replace(gap, difference=-gap.difference, low=-gap.high, high=-gap.low),
        times_as_fast=other.texts_per_s / best.texts_per_s if best.texts_per_s and other.texts_per_s else None,
        shown_worse=gap.low > 0,
    )


def _speed(candidate: Candidate) -> float:
    return candidate.texts_per_s if candidate.texts_per_s is not None else -1.0


def _nothing(head: str, why: str, best: str = "") -> Advice:
    return Advice(word="none", best=best, other="", head=head, why=why)
