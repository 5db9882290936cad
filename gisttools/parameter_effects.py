"""What each parameter of a comparison does to the score, paired over the other parameters.

An effect is the difference between the means of two values of a parameter, over recipes that are the same in all else.
Interactions are not modelled: where a parameter helps beside one value of another and hurts beside the next, its effect
is the mean of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gisttools.gain import Part
from gisttools.intervals import Interval, verdict
from gisttools.trained_recipes import Factor, Recipe, difference, value_name


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of one value of a parameter over another.

    Attributes:
        parameter, value, against: what changed, to what, from what.
        along: other parameters that change with it.
        interval: the difference in score; None where no two recipes differ in this parameter alone.
        settings: pairs of recipes that are the same in all else.
        seeds: seeds it is taken over.
    """

    parameter: str
    value: Any
    against: Any
    along: tuple[str, ...] = ()
    interval: Interval | None = None
    settings: int = 0
    seeds: int = 0

    @property
    def verdict(self) -> str:
        """helped, hurt or not shown; `not separable` where there is no interval."""
        return verdict(self.interval) if self.interval else "not separable"


def effects(recipes: Sequence[Recipe], factors: Sequence[Factor], weights: Mapping[Part, float]) -> list[Effect]:
    """For each parameter that varies the effect of its other values over its first."""
    return [
        effect(recipes, factor, value, factor.values[0], weights) for factor in factors for value in factor.values[1:]
    ]


def effect(
    recipes: Sequence[Recipe],
    factor: Factor,
    value: Any,
    against: Any,
    weights: Mapping[Part, float],
    *,
    where: Callable[[Mapping[str, Any]], bool] = lambda _: True,
) -> Effect:
    """The effect of one value over another, over those recipes whose settings `where` allows."""
    by_rest: dict[str, dict[str, Recipe]] = {}
    for recipe in recipes:
        if recipe.settings and where(recipe.settings):
            rest = repr([v for name, v in recipe.settings.items() if name != factor.name])
            by_rest.setdefault(rest, {})[repr(recipe.settings[factor.name])] = recipe
    pairs = [
        (of[repr(against)], of[repr(value)]) for of in by_rest.values() if {repr(against), repr(value)} <= of.keys()
    ]
    told = {"parameter": factor.name, "value": value, "against": against, "along": factor.along}
    if not pairs:
        return Effect(**told)
    before, after = (list(side) for side in zip(*pairs, strict=True))
    interval, seeds = difference(before, after, weights)
    return Effect(**told, interval=interval, settings=len(pairs), seeds=seeds)


def effect_table(found: Sequence[Effect]) -> pd.DataFrame:
    """One row an effect: parameter, value, against, difference, low, high, verdict, settings, seeds, along."""
    columns = ["parameter", "value", "against", "difference", "low", "high", "verdict", "settings", "seeds", "along"]
    rows = []
    for e in found:
        ends = (e.interval.difference, e.interval.low, e.interval.high) if e.interval else (math.nan,) * 3
        names = (e.parameter, value_name(e.value), value_name(e.against))
        rows.append((*names, *ends, e.verdict, e.settings, e.seeds, ", ".join(e.along)))
    return pd.DataFrame(rows, columns=columns)
