"""Guided against unguided: whether the guide helped, and what masking by labels adds, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gisttools.gain import Part
from gisttools.intervals import Interval
from gisttools.parameter_effects import Effect, effect
from gisttools.trained_recipes import Factor, Recipe, value_name

GUIDE, LABELS = "guide", "mask_same_label"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A question, the word that answers it (helped, hurt, not shown), the sentence, and the effect behind it."""

    question: str
    verdict: str
    sentence: str
    effect: Effect


def guided_findings(
    recipes: Sequence[Recipe], factors: Sequence[Factor], weights: Mapping[Part, float]
) -> list[Finding]:
    """What can be said of the guide and of labels.

    The guide comes first, where labels do not mask: that is the claim of GISTEmbed. Labels take out false negatives
    too, so what the guide adds beside them is another question, and the mean of both would hide either answer.

    Empty where `guide` is not null in some recipes and set in others, and labels are not masked in some alone.
    """
    by_name = {f.name: f for f in factors}
    guide, labels = by_name.get(GUIDE), by_name.get(LABELS)
    found = []
    for name in guide.values[1:] if guide and guide.values[0] is None else ():
        told = f"The guide {value_name(name)}"
        by_labels = [_where(recipes, guide, name, weights, masked) for masked in (False, True)] if labels else []
        if all(part.interval for part in by_labels) and by_labels:
            found.append(
                _finding("Does the guide help?", f"{told}, where labels do not mask,", _UNGUIDED, by_labels[0])
            )
            found.append(
                _finding("And where labels mask as well?", "Where labels mask as well it", _UNGUIDED, by_labels[1])
            )
        else:
            found.append(_finding("Does the guide help?", told, _UNGUIDED, effect(recipes, guide, name, None, weights)))
    if labels and set(labels.values) == {False, True}:
        sides = [("on top of the guide", True), ("without a guide", False)] if guide else [("", None)]
        for beside, guided in sides:
            part = effect(recipes, labels, True, False, weights, where=partial(_is_guided, guided))
            question = f"What do labels add{' ' + beside if beside else ''}?"
            said = f"Masking candidates of the anchor's label{', ' + beside + ',' if beside else ''}"
            found.append(_finding(question, said, "the same training without it", part))
    return [f for f in found if f.effect.interval is not None]


_UNGUIDED = "unguided training that is the same otherwise"


def points(interval: Interval) -> str:
    """`+1.2 points (95 % interval +0.4 to +2.0)`."""
    return f"{signed(interval.difference)} points (95 % interval {signed(interval.low)} to {signed(interval.high)})"


def signed(share: float) -> str:
    """A difference of shares in points, with its sign."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def plural(n: int, unit: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n} {unit}" if n == 1 else f"{n} {unit}s"


def _where(
    recipes: Sequence[Recipe], guide: Factor, name: object, weights: Mapping[Part, float], masked: bool
) -> Effect:
    return effect(recipes, guide, name, None, weights, where=lambda settings: settings[LABELS] is masked)


def _finding(question: str, what: str, against: str, found: Effect) -> Finding:
    word = {"not shown": "is not shown to help"}.get(found.verdict, found.verdict)
    sentence = ""
    if found.interval is not None:
        over = plural(found.seeds, "seed") + (f" in {found.settings} settings" if found.settings > 1 else "")
        along = f" {' and '.join(found.along)} changed with it, so this may be theirs." if found.along else ""
        sentence = f"{what} {word}: {points(found.interval)} over {against}, {over}.{along}"
    return Finding(question=question, verdict=found.verdict, sentence=sentence, effect=found)


def _is_guided(wanted: bool | None, settings: Mapping[str, Any]) -> bool:
    return wanted is None or (settings[GUIDE] is not None) is wanted
