"""Groups evaluated models into variants: models that differ in nothing but their seeds.

A variant is named by the parameters in which variants differ. Two of them, or two sets of them, are compared seed by
seed, draw by draw and item by item.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gisttools.common import value_name
from gisttools.evaluation.contenders import (
    Contender,
    Part,
    Scored,
    Seeds,
    items_alike,
    mean_known,
    mean_score,
    paired_gain,
)
from gisttools.evaluation.intervals import Interval

MODEL = "model"  # the only parameter of a model that was not trained here
_TELLING = ("guide", "mask_same_label", "student")  # name a variant that differs from no other


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A parameter in which variants differ.

    Attributes:
        name: of the parameter.
        values: those that occur, nothing and smaller ones first.
        along: other parameters that change whenever it does, so that nobody can tell whose effect it is.
    """

    name: str
    values: tuple[object, ...]
    along: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScoredVariant:
    """A variant that was scored: models that differ only in their seeds.

    Attributes:
        named_by: the factors with their values, `guide=none` and `limit=250`.
        parameters: all it is made of.
        settings: its value of each factor; empty for a model that was not trained here.
        runs: its models by their seeds.
        alike: names of variants whose models are the same, seed by seed, and which this one stands for.
        same: the runs of the others of these.
    """

    named_by: tuple[str, ...]
    parameters: Mapping[str, object]
    settings: Mapping[str, object]
    runs: Mapping[Seeds, Contender]
    alike: tuple[str, ...] = ()
    same: tuple[Contender, ...] = ()

    @property
    def name(self) -> str:
        """`guide=none, limit=250`."""
        return ", ".join(self.named_by)

    def scores(self, weights: Mapping[Part, float]) -> list[float]:
        """The weighted score of each model."""
        return [mean_score(run.tuned, weights) for run in self.runs.values()]

    @cached_property
    def seconds(self) -> float:
        """Mean of a training; NaN where it is not known."""
        return mean_known([run.seconds for run in self.runs.values()])

    @cached_property
    def cost(self) -> float:
        """Mean US dollars for the rows of a training; NaN where they are not known."""
        return mean_known([run.cost for run in self.runs.values()])


def group(contenders: Sequence[Contender]) -> tuple[list[ScoredVariant], list[Factor]]:
    """The variants in order of their first model, and the factors in which those that were trained here differ."""
    alike: dict[str, list[Contender]] = defaultdict(list)
    for contender in contenders:
        alike[repr(sorted(contender.parameters.items()))].append(contender)
    groups = list(alike.values())
    factors = _factors([of[0].parameters for of in groups if MODEL not in of[0].parameters])
    variants = []
    for of in groups:
        told = of[0].parameters
        settings = {} if MODEL in told else {f.name: told.get(f.name) for f in factors}
        shown = settings or {k: told[k] for k in (MODEL, *_TELLING) if k in told}
        names = tuple(f"{k}={value_name(v)}" for k, v in shown.items())
        runs = dict(sorted(((c.seeds, c) for c in of), key=lambda pair: repr(pair[0])))
        variants.append(ScoredVariant(named_by=names or ("these runs",), parameters=told, settings=settings, runs=runs))
    return variants, factors


def one_a_model(variants: Sequence[ScoredVariant]) -> list[ScoredVariant]:
    """The variants, those whose models are the same to the last bit, seed by seed, as one: it is named by the values of
    all of them."""
    found: dict[object, list[ScoredVariant]] = {}
    for number, variant in enumerate(variants):
        weights = {repr(seeds): run.weights for seeds, run in variant.runs.items()}
        key = repr(sorted(weights.items())) if all(weights.values()) and variant.settings else number
        found.setdefault(key, []).append(variant)
    return [_as_one(several) if len(several) > 1 else several[0] for several in found.values()]


def _as_one(variants: Sequence[ScoredVariant]) -> ScoredVariant:
    first, names = variants[0], []
    for name in first.settings:
        values = dict.fromkeys(value_name(v) for v in sorted((of.settings[name] for of in variants), key=_order))
        names.append(f"{name}={' or '.join(values)}")
    same = tuple(run for variant in variants[1:] for run in variant.runs.values())
    return replace(first, named_by=tuple(names), alike=tuple(variant.name for variant in variants), same=same)


def same_models(one: ScoredVariant, other: ScoredVariant) -> bool:
    """Whether two variants are of the same models, to the last bit, seed by seed, of the seeds that both have."""
    shared = one.runs.keys() & other.runs.keys()
    weights = [(one.runs[seeds].weights, other.runs[seeds].weights) for seeds in shared]
    return bool(weights) and all(mine and mine == its for mine, its in weights)


def difference(
    before: Sequence[ScoredVariant], after: Sequence[ScoredVariant], weights: Mapping[Part, float]
) -> tuple[Interval, int]:
    """The difference in the weighted score of one set of variants over another, and over how many seeds it is taken.

    The variants of a set are averaged seed by seed, so what their models share (items, draws) is counted once. Only
    seeds that all of them have count; where they share none, models are paired in the order of their seeds, as many
    as all have: models of different seeds are independent, so any pairing is as good. Items and draws are crossed with
    seeds (`paired_gain`); of one seed the interval speaks of these models alone.
    """
    before_runs, after_runs = _by_seed([*before, *after], len(before))
    parts = list(weights)
    one, other = ([_pooled([run.tuned for run in runs], parts) for runs in side] for side in (before_runs, after_runs))
    return paired_gain(one, other, weights), len(one)


def over_baseline(variant: ScoredVariant, weights: Mapping[Part, float]) -> Interval:
    """The difference of a variant to the baseline."""
    runs = list(variant.runs.values())
    return paired_gain([run.base for run in runs], [run.tuned for run in runs], weights)


def _by_seed(variants: Sequence[ScoredVariant], n: int) -> tuple[list[list[Contender]], list[list[Contender]]]:
    """For each seed the models of the first `n` variants, and those of the others."""
    shared = [seeds for seeds in variants[0].runs if all(seeds in variant.runs for variant in variants)]
    if shared:
        chosen = [[variant.runs[seeds] for variant in variants] for seeds in shared]
    else:
        chosen = [list(runs) for runs in zip(*(variant.runs.values() for variant in variants), strict=False)]
    return [runs[:n] for runs in chosen], [runs[n:] for runs in chosen]


def _pooled(models: Sequence[Mapping[Part, Scored]], parts: Sequence[Part]) -> Mapping[Part, Scored]:
    """The mean of several models: of their items where all kept them; else their noise is taken to be one and the
    same, which errs on the wide side."""
    if len(models) == 1:
        return models[0]
    found = {}
    for part in parts:
        scored = [model[part] for model in models]
        values = items_alike(scored)
        found[part] = Scored(
            score=float(np.mean([s.score for s in scored])),
            values=None if values is None else np.mean(values, axis=0),
            variance=float(np.mean([math.sqrt(s.variance) for s in scored])) ** 2,
            freedom=min(s.freedom for s in scored),
        )
    return found


def _factors(variants: Sequence[Mapping[str, object]]) -> list[Factor]:
    """Parameters of several values; those that part the variants in the same way are one factor."""
    found: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name in dict.fromkeys(name for variant in variants for name in variant):
        values = [repr(variant.get(name)) for variant in variants]
        if len(set(values)) > 1:
            found[tuple(values.index(v) for v in values)].append(name)
    factors = []
    for first, *along in found.values():
        distinct = {repr(variant.get(first)): variant.get(first) for variant in variants}
        factors.append(Factor(name=first, values=tuple(sorted(distinct.values(), key=_order)), along=tuple(along)))
    return factors


def _order(value: object) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return 1, float(value), repr(value)
    return 0 if value is None else 2, 0.0, repr(value)
