"""What to do next: a pure rule from what was measured to one word and one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gisttools.common import count, plural, signed
from gisttools.evaluation import POINT

Word = Literal["Ship", "Collect", "Change the data", "Stop", "Evaluate again"]
MOST_TIMES = 10  # a test set that would have to grow more than that is not worth collecting
_NAMED = 2


@dataclass(frozen=True, kw_only=True)
class Action:
    """What to do, in a word or a few, and why."""

    word: Word
    head: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One task as the rule sees it; differences lie between -1 and 1, None is not known.

    `items_needed` is how many items would show one point; None also where no number would.
    """

    task: str
    is_target: bool
    verdict: str
    low: float | None
    high: float | None
    n_items: int | None = None
    items_needed: int | None = None
    unit: str = "test text"
    non_inferior: bool | None = None


def next_action(word: str, outcomes: Sequence[Outcome], *, leaked: bool | None) -> Action:
    """The next step after a verdict.

    1. Test texts in the training data: change the data, for no score counts.
    2. HELPED: ship. Guards that are not shown to be safe are named.
    3. Something was hurt, a target or a guard: change the data.
    4. Nothing was hurt, but not every target was helped. Where every such target rules out a gain of a point: stop.
       Where more items would show a point and they can be collected (at most ten times as many as now): collect them.
       Where no target has an interval: evaluate again. Otherwise: change the data.

    Args:
        word: of `gisttools.evaluation.overall_verdict`.
        outcomes: one a task; where none is a target, all count as targets.
        leaked: whether test texts stand in the training table; None if that is not known.
    """
    targets = [o for o in outcomes if o.is_target] or list(outcomes)
    guards = [o for o in outcomes if not o.is_target] if any(o.is_target for o in outcomes) else []
    if leaked:
        return Action(
            word="Change the data",
            head="Take the test texts out of the training data and train again",
            why="The tuned model has seen them, so its score says nothing about new texts.",
        )
    if word == "HELPED":
        return _ship(guards)
    hurt = [o for o in targets if o.verdict == "hurt"]
    lost = [o for o in guards if o.verdict == "hurt" and not o.non_inferior]
    if hurt:
        why = f"{_names(hurt)} got worse. The texts that broke, below, show where; keep the base model until then."
        return Action(word="Change the data", head="Change the training data and train again", why=why)
    if lost:
        why = (
            f"{_names(lost)} lost more than is allowed. General texts in training (the parameter retain) hold a model"
            " near where it started."
        )
        return Action(word="Change the data", head="Add general texts to the training", why=why)
    return _open([o for o in targets if o.verdict != "helped"])


def _ship(guards: Sequence[Outcome]) -> Action:
    unclear = [o for o in guards if o.non_inferior is False]
    if unclear:
        first = unclear[0]
        span = f"{signed(first.low)} to {signed(first.high)}"
        why = f"But look at {_names(unclear)} first: a loss beyond what is allowed is not ruled out there ({span})."
    elif guards:
        why = "Every target gained, and no guard lost more than is allowed."
    else:
        why = "Every target gained. No guard was evaluated, so what it cost elsewhere is not known."
    return Action(word="Ship", head="Ship the tuned model", why=why)


def _open(targets: Sequence[Outcome]) -> Action:
    """Nothing was hurt; these targets were not shown to be helped."""
    known = [o for o in targets if o.low is not None and o.high is not None]
    if not known:
        why = "The tasks have no interval, so nothing can be said of them. Choose a task that has one."
        return Action(word="Evaluate again", head="Evaluate on a task that can be judged", why=why)
    if all(o.high < POINT for o in known):
        why = f"On {_names(known)} a gain of one point is ruled out, so the base model is about as good."
        return Action(word="Stop", head="Stop here, and keep the base model", why=why)
    lacking = [o for o in known if o.high >= POINT and _lacks(o)]
    if lacking:
        worst = max(lacking, key=lambda o: o.items_needed - o.n_items)
        more = worst.items_needed - worst.n_items
        why = (
            f"{worst.task} has {plural(worst.n_items, worst.unit)}. With {count(worst.items_needed)}, one point would"
            " be seen four times in five."
        )
        return Action(word="Collect", head=f"Collect {plural(more, f'more {worst.unit}')}", why=why)
    why = (
        f"No gain is shown on {_names(known)}, and more test items alone would hardly show one. Other training texts,"
        " or more of them, may bring a larger gain."
    )
    return Action(word="Change the data", head="Change the training data and train again", why=why)


def _lacks(outcome: Outcome) -> bool:
    needed, there = outcome.items_needed, outcome.n_items
    return needed is not None and there is not None and there < needed <= MOST_TIMES * there


def _names(outcomes: Sequence[Outcome]) -> str:
    names = [o.task for o in outcomes[:_NAMED]]
    more = len(outcomes) - len(names)
    return " and ".join(names) if not more else f"{', '.join(names)} and {more} more"
