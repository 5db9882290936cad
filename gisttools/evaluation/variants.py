"""Recipes: models that differ in nothing but their seeds, named by the parameters in which recipes differ.

Two recipes, or two sets of them, are compared seed by seed, draw by draw and item by item.

Evaluated models that are to stand side by side: what is known of each, and whether they may.

Scores are comparable where baseline, data, split, subsets and metric are the same, and the baseline did the same on
them. What is not comparable is refused, for a number would look as if it were.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gisttools.common import DataError, ParameterError, problems
from gisttools.evaluation.gain import Part, Scored, paired_gain
from gisttools.evaluation.intervals import Interval

Seeds = tuple[tuple[str, Any], ...]  # parameter and value, of all seeds that a model hangs on

_SAME_SCORE = 1e-6  # of the baseline, scored again
_WHAT = {
    "metric": "metric",
    "split": "split",
    "revision": "revision of the data",
    "n_items": "items",
    "n_draws": "draws",
    "items": "texts and labels",  # their hash
}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One evaluated model.

    Attributes:
        name: what it is called in messages, such as the id of its evaluate run.
        evaluation: id of that run, which may hold several models; empty where there is none.
        parameters: all that decides what it is but for the seeds; of a model that was not trained here {"model": name}.
        seeds: all seeds that it hangs on; they tell models of equal parameters apart.
        baseline: name and revision of the model it was compared with.
        base, tuned: by part, what baseline and model did.
        about: by part, what it was scored on: metric, split, revision, n_items, n_draws, items (a hash of the texts and
            labels). What is not known is left out.
        targets: the parts it is meant to help on.
        seconds, cost: of its training, and US dollars for its rows; None where not known.
    """

    name: str
    parameters: Mapping[str, Any]
    seeds: Seeds = ()
    baseline: str
    base: Mapping[Part, Scored]
    tuned: Mapping[Part, Scored]
    about: Mapping[Part, Mapping[str, Any]] = field(default_factory=dict)
    targets: frozenset[Part] = frozenset()
    seconds: float | None = None
    cost: float | None = None
    evaluation: str = ""


def differences(one: Contender, other: Contender) -> list[str]:
    """Why `other` cannot stand beside `one`, a phrase each; empty where it can."""
    found = []
    if one.baseline != other.baseline:
        found.append(f"its baseline is {other.baseline}, not {one.baseline}")
    lacking, more = ([p for p in a.tuned if p not in b.tuned] for a, b in ((one, other), (other, one)))
    if lacking:
        found.append(f"it did not score {_names(lacking)}")
    if more:
        found.append(f"it scored {_names(more)} as well")
    shared = [part for part in one.tuned if part in other.tuned]
    if not lacking and not more and one.targets != other.targets:
        found.append(f"its targets are {_names(other.targets) or 'none'}, not {_names(one.targets) or 'none'}")
    for key, what in _WHAT.items():
        told = [(p, one.about.get(p, {}).get(key), other.about.get(p, {}).get(key)) for p in shared]
        apart = [(p, a, b) for p, a, b in told if a is not None and b is not None and a != b]
        if apart:
            part, wanted, seen = apart[0]
            detail = "others" if key == "items" else f"{seen}, not {wanted}"
            found.append(f"{what} of {_name(part)}: {detail}{_more(apart)}")
    same_data = [p for p in shared if not _differ(one, other, p)]
    moved = [p for p in same_data if not math.isclose(one.base[p].score, other.base[p].score, abs_tol=_SAME_SCORE)]
    if moved and one.baseline == other.baseline:
        seen, wanted = other.base[moved[0]].score, one.base[moved[0]].score
        found.append(f"the baseline's score on {_name(moved[0])} is {seen:.4f}, not {wanted:.4f}{_more(moved)}")
    return found


def check_comparable(contenders: Sequence[Contender]) -> None:
    """Refuse models whose scores cannot stand side by side.

    Raises:
        ParameterError: there are none, or two are of the same parameters and seeds.
        DataError: some were scored on something else than most; each of them with why.
    """
    if not contenders:
        raise ParameterError("There is nothing to compare. Name evaluate runs.")
    alike: list[list[Contender]] = []
    for contender in contenders:
        for group in alike:
            if not differences(group[0], contender):
                group.append(contender)
                break
        else:
            alike.append([contender])
    most = max(alike, key=len)[0]  # of equally many the first
    found = [
        f"{other.name}: {'; '.join(differences(most, other))}" for group in alike for other in group
        if group[0] is not most
    ]  # fmt: skip
    if found:
        n = len(found)
        title = f"{n} of {len(contenders)} runs cannot be compared with {most.name}:"
        mend = "Evaluate all of them on the same data against the same baseline, or leave these out."
        raise DataError(problems(title, found, mend))
    twice, seen = [], {}
    for contender in contenders:
        first = seen.setdefault(repr((sorted(contender.parameters.items()), contender.seeds)), contender.name)
        if first != contender.name:
            twice.append(f"{first} and {contender.name} are of equal parameters and seeds")
    if twice:
        raise ParameterError(problems(f"compare: {len(twice)} problem(s)", twice, "Leave out one of each."))


def _differ(one: Contender, other: Contender, part: Part) -> bool:
    a, b = one.about.get(part, {}), other.about.get(part, {})
    return any(a.get(key) is not None and b.get(key) is not None and a[key] != b[key] for key in _WHAT)


def _name(part: Part) -> str:
    return part[0] if part[1] == "default" else f"{part[0]} ({part[1]})"


def _names(parts) -> str:
    names = sorted(_name(p) for p in parts)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _more(found: Sequence) -> str:
    return f" (and of {len(found) - 1} more)" if len(found) > 1 else ""


MODEL = "model"  # the only parameter of a model that was not trained here
_LONGEST = 120  # characters of a value
_TELLING = ("guide", "mask_same_label", "student")  # name a recipe that differs from no other


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A parameter in which recipes differ.

    Attributes:
        name: of the parameter.
        values: those that occur, nothing and smaller ones first.
        along: other parameters that change whenever it does, so that nobody can tell whose effect it is.
    """

    name: str
    values: tuple[Any, ...]
    along: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Models that differ only in their seeds.

    Attributes:
        named_by: the factors with their values, `guide=none` and `limit=250`.
        parameters: all it is made of.
        settings: its value of each factor; empty for a model that was not trained here.
        runs: its models by their seeds.
    """

    named_by: tuple[str, ...]
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    runs: Mapping[Seeds, Contender]

    @property
    def name(self) -> str:
        """`guide=none, limit=250`."""
        return ", ".join(self.named_by)

    def scores(self, weights: Mapping[Part, float]) -> list[float]:
        """The weighted score of each model."""
        return [sum(w * run.tuned[part].score for part, w in weights.items()) for run in self.runs.values()]

    @cached_property
    def seconds(self) -> float:
        """Mean of a training; NaN where it is not known."""
        return _mean_known([run.seconds for run in self.runs.values()])

    @cached_property
    def cost(self) -> float:
        """Mean US dollars for the rows of a training; NaN where they are not known."""
        return _mean_known([run.cost for run in self.runs.values()])


def group(contenders: Sequence[Contender]) -> tuple[list[Recipe], list[Factor]]:
    """The recipes in order of their first model, and the factors in which those that were trained here differ."""
    alike: dict[str, list[Contender]] = defaultdict(list)
    for contender in contenders:
        alike[repr(sorted(contender.parameters.items()))].append(contender)
    groups = list(alike.values())
    factors = _factors([of[0].parameters for of in groups if MODEL not in of[0].parameters])
    recipes = []
    for of in groups:
        told = of[0].parameters
        settings = {} if MODEL in told else {f.name: told.get(f.name) for f in factors}
        shown = settings or {k: told[k] for k in (MODEL, *_TELLING) if k in told}
        names = tuple(f"{k}={value_name(v)}" for k, v in shown.items())
        runs = dict(sorted(((c.seeds, c) for c in of), key=lambda pair: repr(pair[0])))
        recipes.append(Recipe(named_by=names or ("these runs",), parameters=told, settings=settings, runs=runs))
    return recipes, factors


def value_name(value: Any) -> str:
    """A parameter's value as people write it; the middle of a very long one is left out."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(value_name(v) for v in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value).encode("utf-8", "replace").decode("utf-8")  # JSON can name half a surrogate pair, no file can
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"


def difference(
    before: Sequence[Recipe], after: Sequence[Recipe], weights: Mapping[Part, float]
) -> tuple[Interval, int]:
    """The difference in the weighted score of one set of recipes over another, and over how many seeds it is taken.

    The recipes of a set are averaged seed by seed, so what their models share (items, draws) is counted once. Only
    seeds that all of them have count; where they share none, models are paired in the order of their seeds, as many
    as all have: models of different seeds are independent, so any pairing is as good. Items and draws are crossed with
    seeds (`gisttools.evaluation.paired_gain`); of one seed the interval speaks of these models alone.
    """
    before_runs, after_runs = _by_seed([*before, *after], len(before))
    parts = list(weights)
    one, other = ([_pooled([run.tuned for run in runs], parts) for runs in side] for side in (before_runs, after_runs))
    return paired_gain(one, other, weights), len(one)


def over_baseline(recipe: Recipe, weights: Mapping[Part, float]) -> Interval:
    """The difference of a recipe to the baseline."""
    runs = list(recipe.runs.values())
    return paired_gain([run.base for run in runs], [run.tuned for run in runs], weights)


def _by_seed(recipes: Sequence[Recipe], n: int) -> tuple[list[list[Contender]], list[list[Contender]]]:
    """For each seed the models of the first `n` recipes, and those of the others."""
    shared = [seeds for seeds in recipes[0].runs if all(seeds in recipe.runs for recipe in recipes)]
    if shared:
        chosen = [[recipe.runs[seeds] for recipe in recipes] for seeds in shared]
    else:
        chosen = [list(runs) for runs in zip(*(recipe.runs.values() for recipe in recipes), strict=False)]
    return [runs[:n] for runs in chosen], [runs[n:] for runs in chosen]


def _pooled(models: Sequence[Mapping[Part, Scored]], parts: Sequence[Part]) -> Mapping[Part, Scored]:
    """The mean of several models: of their items where all kept them; else their noise is taken to be one and the
    same, which errs on the wide side."""
    if len(models) == 1:
        return models[0]
    found = {}
    for part in parts:
        scored = [model[part] for model in models]
        values = [s.values for s in scored]
        whole = all(v is not None and v.shape == values[0].shape for v in values)
        found[part] = Scored(
            score=float(np.mean([s.score for s in scored])),
            values=np.mean(values, axis=0) if whole else None,
            variance=float(np.mean([math.sqrt(s.variance) for s in scored])) ** 2,
            freedom=min(s.freedom for s in scored),
        )
    return found


def _factors(recipes: Sequence[Mapping[str, Any]]) -> list[Factor]:
    """Parameters of several values; those that part the recipes in the same way are one factor."""
    found: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name in dict.fromkeys(name for recipe in recipes for name in recipe):
        values = [repr(recipe.get(name)) for recipe in recipes]
        if len(set(values)) > 1:
            found[tuple(values.index(v) for v in values)].append(name)
    factors = []
    for first, *along in found.values():
        distinct = {repr(recipe.get(first)): recipe.get(first) for recipe in recipes}
        factors.append(Factor(name=first, values=tuple(sorted(distinct.values(), key=_order)), along=tuple(along)))
    return factors


def _order(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, int | float)
    return (0 if value is None else 1 if number else 2, float(value) if number else 0.0, repr(value))


def _mean_known(values: Sequence[float | None]) -> float:
    return math.nan if None in values else float(np.mean(values))
