"""Ranks variants of one baseline: which is best, by how much, what each parameter does, and whether the guide helped.

An effect is the difference between the means of two values of a parameter, over variants that are the same in all else.
Interactions are not modelled: where a parameter helps with one value of another and hurts with the next, its effect is
the mean of both. Reads no files. Scores lie between 0 and 1, a point is 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from gisttools.common import plural, signed, value_name
from gisttools.evaluation.comparison import Comparison, Word, json_rows, judge, overall_verdict, to_table
from gisttools.evaluation.contenders import (
    Contender,
    Part,
    check_comparable,
    mean_score,
    metric_name,
    standard_deviation,
    task_name,
    weights_of,
)
from gisttools.evaluation.intervals import Interval, verdict
from gisttools.evaluation.variants import (
    MODEL,
    Factor,
    ScoredVariant,
    difference,
    group,
    one_a_model,
    over_baseline,
    same_models,
)

LEAST_SEEDS = 3  # of which a verdict speaks of a method; below it speaks of these models alone
TOO_FEW = "too few seeds"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of one value of a parameter over another.

    Attributes:
        parameter, value, against: what changed, to what, from what.
        along: other parameters that change with it.
        interval: the difference in score; None where no two variants differ in this parameter alone.
        settings: pairs of variants that are the same in all else.
        seeds: seeds it is taken over.
        same: whether the models of all these pairs are the same, so that the value does nothing here.
        dollars: how much more the rows of a training cost with the value, US dollars; rows that name no price, such as
            labelled texts, count as nothing. None where no row names one.
    """

    parameter: str
    value: object
    against: object
    along: tuple[str, ...] = ()
    interval: Interval | None = None
    settings: int = 0
    seeds: int = 0
    same: bool = False
    dollars: float | None = None

    @property
    def price(self) -> tuple[float, float, float] | None:
        """US dollars for a point, and the least and the most of it by the ends of the interval; None where no
        difference is shown, or what costs more is not what scores more."""
        if self.interval is None or not self.dollars or self.interval.low <= 0 <= self.interval.high:
            return None
        at, *ends = (
            self.dollars / (100 * x) for x in (self.interval.difference, self.interval.low, self.interval.high)
        )
        return (at, min(ends), max(ends)) if at > 0 else None

    @property
    def verdict(self) -> str:
        """helped, hurt or not shown; `not separable` where there is no interval, `same models` where nothing changed,
        and `too few seeds` where another training could say otherwise."""
        if self.interval is None:
            return "not separable"
        if self.same:
            return "same models"
        return verdict(self.interval) if self.seeds >= LEAST_SEEDS else TOO_FEW


def effects(
    variants: Sequence[ScoredVariant], factors: Sequence[Factor], weights: Mapping[Part, float]
) -> list[Effect]:
    """For each parameter that varies the effect of its other values over its first."""
    return [
        effect(variants, factor, value, factor.values[0], weights) for factor in factors for value in factor.values[1:]
    ]


def effect(
    variants: Sequence[ScoredVariant],
    factor: Factor,
    value: object,
    against: object,
    weights: Mapping[Part, float],
    *,
    where: Callable[[Mapping[str, object]], bool] = lambda _: True,
) -> Effect:
    """The effect of one value over another, over those variants whose settings `where` allows."""
    by_rest: dict[str, dict[str, ScoredVariant]] = {}
    for variant in variants:
        if variant.settings and where(variant.settings):
            rest = repr([v for name, v in variant.settings.items() if name != factor.name])
            by_rest.setdefault(rest, {})[repr(variant.settings[factor.name])] = variant
    pairs = [
        (of[repr(against)], of[repr(value)]) for of in by_rest.values() if {repr(against), repr(value)} <= of.keys()
    ]
    # without a guide there are no prompts of one: they are the guide's, and change nothing by themselves
    own = factor.name == GUIDE and None in (value, against)
    along = tuple(name for name in factor.along if not (own and name.startswith(f"{GUIDE}_")))
    found = Effect(parameter=factor.name, value=value, against=against, along=along)
    if not pairs:
        return found
    before, after = (list(side) for side in zip(*pairs, strict=True))
    interval, seeds = difference(before, after, weights)
    same = all(same_models(*pair) for pair in pairs)
    costs = [[variant.cost for variant in side] for side in (before, after)]
    known = not np.isnan(costs).all()
    paid = float(np.mean(np.nan_to_num(costs[1]) - np.nan_to_num(costs[0]))) if known else None
    return replace(found, interval=interval, settings=len(pairs), seeds=seeds, same=same, dollars=paid)


def effect_table(found: Sequence[Effect]) -> pd.DataFrame:
    """One row an effect: parameter, value, against, difference, low, high, verdict, settings, seeds, along, dollars (as
    in `Effect`), dollars_a_point."""
    columns = ["parameter", "value", "against", "difference", "low", "high", "verdict", "settings", "seeds", "along"]
    columns += ["dollars", "dollars_a_point"]
    rows = []
    for e in found:
        names = (e.parameter, value_name(e.value), value_name(e.against))
        of = (e.verdict, e.settings, e.seeds, ", ".join(e.along))
        rows.append((*names, *_ends(e.interval).values(), *of, e.dollars, e.price[0] if e.price else None))
    return pd.DataFrame(rows, columns=columns)


NO_VERDICT = "NO VERDICT"
_NO_METHOD = f"Below {LEAST_SEEDS} seeds there is no verdict on a way to train, only on these models."
GUIDE, LABELS, ROWS = "guide", "mask_same_label", "triplets"
_TWO = 2


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A question, the word that answers it (helped, hurt, not shown), the sentence, and the effect behind it."""

    question: str
    verdict: str
    sentence: str
    effect: Effect


def guided_findings(
    variants: Sequence[ScoredVariant], factors: Sequence[Factor], weights: Mapping[Part, float]
) -> list[Finding]:
    """What can be said of the guide and of labels.

    The guide comes first, where labels do not mask: that is the claim of GISTEmbed. Labels take out false negatives
    too, so what the guide adds to them is another question, and the mean of both would hide either answer.

    Of rows that an LLM wrote it is said what they add, where some variants had them and others not.

    Empty where `guide` is not null in some variants and set in others, labels are not masked in some alone, and all
    have rows of an LLM, or none has.
    """
    by_name = {f.name: f for f in factors}
    guide, labels = by_name.get(GUIDE), by_name.get(LABELS)
    found = _of_guide(variants, guide, labels, weights) if guide else []
    if labels and set(labels.values) == {False, True}:
        found += _of_labels(variants, labels, guide is not None, weights)
    found += _of_written_rows(variants, factors, weights)
    return [f for f in found if f.effect.interval is not None]


def _of_written_rows(
    variants: Sequence[ScoredVariant], factors: Sequence[Factor], weights: Mapping[Part, float]
) -> list[Finding]:
    """What an LLM's rows add, where variants trained with and without them and are the same in all else."""
    for factor in factors:
        if ROWS not in (factor.name, *factor.along) or len(factor.values) != _TWO:
            continue
        written = {repr(v.settings.get(factor.name)) for v in variants if _has_written(v) and factor.name in v.settings}
        others = [value for value in factor.values if repr(value) not in written]
        values = [value for value in factor.values if repr(value) in written]
        if len(values) == len(others) == 1:
            found = replace(effect(variants, factor, values[0], others[0], weights), along=())
            told = _finding(
                "Do the LLM's rows add anything?", "The rows that an LLM wrote", "the same training without them", found
            )
            nothing = "The rows that an LLM wrote brought nothing that shows"
            return [
                replace(
                    told, sentence=told.sentence.replace("The rows that an LLM wrote is not shown to help", nothing)
                )
            ]
    return []


def _has_written(variant: ScoredVariant) -> bool:
    rows = variant.parameters.get(ROWS)
    return any(str(name).startswith("synthesize") for name in (rows if isinstance(rows, list | tuple) else [rows]))


def _of_guide(
    variants: Sequence[ScoredVariant], guide: Factor, labels: Factor | None, weights: Mapping[Part, float]
) -> list[Finding]:
    """What each guide does; without and with labels apart, where both can be told."""
    found = []
    for name in guide.values[1:] if guide.values[0] is None else ():
        told = f"The guide {value_name(name)}"
        apart = [_where(variants, guide, name, weights, masked) for masked in (False, True)] if labels else []
        if apart and all(part.interval for part in apart):
            alone, masked = apart
            found.append(_finding("Does the guide help?", f"{told}, where labels do not mask,", _UNGUIDED, alone))
            found.append(_finding("And where labels mask as well?", "Where labels mask as well it", _UNGUIDED, masked))
        else:
            whole = effect(variants, guide, name, None, weights)
            found.append(_finding("Does the guide help?", told, _UNGUIDED, whole))
    return found


def _of_labels(
    variants: Sequence[ScoredVariant], labels: Factor, guided: bool, weights: Mapping[Part, float]
) -> list[Finding]:
    """What masking by labels adds; with and without a guide apart, where both were tried."""
    sides = [("on top of the guide", True), ("without a guide", False)] if guided else [("", None)]
    found = []
    for where, wanted in sides:
        part = effect(variants, labels, True, False, weights, where=partial(_is_guided, wanted))
        question = f"What do labels add{' ' + where if where else ''}?"
        said = f"Masking candidates of the anchor's label{', ' + where + ',' if where else ''}"
        found.append(_finding(question, said, "the same training without it", part))
    return found


_UNGUIDED = "unguided training that is the same otherwise"


def points(interval: Interval) -> str:
    """`+1.2 points (95 % interval +0.4 to +2.0)`."""
    return f"{signed(interval.difference)} points (95 % interval {signed(interval.low)} to {signed(interval.high)})"


def _points(difference: float, low: float, high: float) -> str:
    """`+1.2 points (95 % interval +0.4 to +2.0)`."""
    return f"{signed(difference)} points (95 % interval {signed(low)} to {signed(high)})"


def _where(
    variants: Sequence[ScoredVariant], guide: Factor, name: object, weights: Mapping[Part, float], masked: bool
) -> Effect:
    return effect(variants, guide, name, None, weights, where=lambda settings: settings[LABELS] is masked)


def _finding(question: str, what: str, against: str, found: Effect) -> Finding:
    words = {
        "not shown": "is not shown to help",
        "same models": "does nothing here, the models are the same",
        TOO_FEW: f"has no verdict, which takes {LEAST_SEEDS} seeds",
    }
    word, sentence = words.get(found.verdict, found.verdict), ""
    if found.interval is not None:
        over = plural(found.seeds, "seed") + (f" in {found.settings} settings" if found.settings > 1 else "")
        along = f" {' and '.join(found.along)} changed with it, so this may be theirs." if found.along else ""
        sentence = f"{what} {word}: {_points(**_ends(found.interval))} over {against}, {over}.{along}"
    return Finding(question=question, verdict=found.verdict, sentence=sentence, effect=found)


def _is_guided(wanted: bool | None, settings: Mapping[str, object]) -> bool:
    return wanted is None or (settings[GUIDE] is not None) is wanted


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A variant's place: a row of leaderboard.csv.

    Attributes:
        rank, recipe: its place from 1, and its name (`recipe` as earlier versions wrote it).
        seeds, score, seed_sd: how many models, their mean score and its standard deviation (NaN of one).
        difference, low, high, verdict: to the baseline.
        behind, behind_low, behind_high: to the best; NaN of the best itself.
        with_best: is it not distinguishable from the best?
        seconds, cost_usd: of a training; NaN where not known.
        settings, runs: the parts of its name, and its evaluate runs.
        alike: names of the variants that it stands for, where their models are the same.
        word: NO VERDICT of a training of too few seeds; else
            HELPED, HURT, MIXED or NOT SHOWN, of targets and guards together: what its evaluations say of it; where
            they differ, or say nothing, what the tasks say over all of its seeds.
    """

    rank: int
    recipe: str
    seeds: int
    score: float
    seed_sd: float
    difference: float
    low: float
    high: float
    verdict: str
    behind: float
    behind_low: float
    behind_high: float
    with_best: bool
    seconds: float
    cost_usd: float
    settings: list[str]
    runs: list[str]
    alike: list[str]
    word: str


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Variants in order of their scores.

    Attributes:
        ranked: the variants, the best first.
        tasks: one row a variant and part: recipe (its name), task, subset, metric, is_target, base, score, difference,
            low, high, verdict.
        effects: of each parameter that varies (`gisttools.evaluation.ranking`).
        findings: guided against unguided, and what labels add; empty where that was not tried.
        baseline, base: its name and its score.
        task, metric: what is scored.
        shared: parameters that all models trained here have in common.
        evaluations: ids of the evaluate runs, which may hold several models each.
        smoke: whether some of the trainings were cut short to see whether all of it works.
        grid: scores by the values of two parameters, where just two vary.
    """

    ranked: tuple[Ranked, ...]
    tasks: pd.DataFrame
    effects: list[Effect]
    findings: list[Finding]
    baseline: str
    base: float
    task: str
    metric: str
    shared: Mapping[str, object]
    evaluations: tuple[str, ...] = ()
    smoke: bool = False
    grid: Grid | None = None

    @property
    def few(self) -> list[str]:
        """Variants of too few seeds for a verdict on them."""
        return [row.recipe for row in self.ranked if row.word == NO_VERDICT]

    @cached_property
    def table(self) -> pd.DataFrame:
        """The variants as a table."""
        return to_table(Ranked, self.ranked)

    @property
    def runs(self) -> int:
        """How many models were compared."""
        return sum(len(row.runs) for row in self.ranked)

    @property
    def tied(self) -> list[str]:
        """Variants that are not distinguishable from the best."""
        return [row.recipe for row in self.ranked[1:] if row.with_best]

    @property
    def separable(self) -> bool:
        """Whether some variants differ in one parameter alone, so that its effect can be told."""
        return any(effect.interval for effect in self.effects)

    def word(self) -> str:
        """The shortest answer: of the guide where it was tried; else whether one variant is ahead of all others."""
        if self.findings:
            return self.findings[0].verdict
        if len(self.ranked) < 2:
            return self.ranked[0].word.lower() if self.ranked else "not shown"
        if self._undecided:
            return TOO_FEW
        return "no clear best" if self.tied else "one ahead"

    @property
    def _undecided(self) -> bool:
        """Whether one of those that are ahead, or of the two best, is of too few seeds."""
        leading = [self.ranked[0].recipe, *(self.tied or [self.ranked[1].recipe])]
        return bool(set(leading) & set(self.few))

    def question(self) -> str:
        """What `word` answers."""
        if self.findings:
            return self.findings[0].question
        return "Did training help?" if len(self.ranked) == 1 else "Which variant is best?"

    def best_sentence(self) -> str:
        """The best variant, its score, its difference to the baseline, and what is not distinguishable from it."""
        if not self.ranked:
            return "No variant was scored."
        best = self.ranked[0]
        one = len(self.ranked) == 1
        said = (
            f"{best.recipe} scores {100 * best.score:.1f}"
            if one
            else f"Best is {best.recipe} at {100 * best.score:.1f}"
        )
        text = f"{said}, {_points(best.difference, best.low, best.high)} over the baseline's {100 * self.base:.1f}."
        if one:
            few = f" {_NO_METHOD}" if self.few else ""
            return f"{text} It is the only variant here: evaluate others to compare.{few}"
        if self._undecided:
            return f"{text} {_NO_METHOD}"
        if not self.tied:
            return f"{text} It is distinguishable from all others."
        if len(self.tied) == len(self.ranked) - 1:
            return f"{text} No other is distinguishable from it."
        names = "; ".join(self.tied[:3]) + (f"; and {len(self.tied) - 3} more" if len(self.tied) > 3 else "")
        return f"{text} Not distinguishable from it: {names}."

    def sentences(self) -> list[str]:
        """What is to be said, the most important first."""
        return [*(f.sentence for f in self.findings), self.best_sentence(), *self._nothing()]

    def _nothing(self) -> list[str]:
        """A sentence on parameters that do nothing here."""
        told = {f.effect.parameter for f in self.findings}
        by_name: dict[str, list[Effect]] = {}
        for one in self.effects:
            by_name.setdefault(one.parameter, []).append(one)
        idle = [n for n, of in by_name.items() if n not in told and all(e.verdict == "same models" for e in of)]
        return [f"{name} does nothing here: whatever its value, the models are the same." for name in idle]

    def headline(self) -> str:
        """One line for the run."""
        smoke = "SMOKE RUN, " if self.smoke else ""
        what = f"{smoke}{plural(len(self.ranked), 'variant')} of {plural(self.runs, 'run')} on {self.task}"
        return f"{what}: {self.sentences()[0]}"

    def shown(self) -> pd.DataFrame:
        """The table as people read it: points out of 100, minutes."""
        shares = ["score", "seed_sd", "difference", "low", "high", "behind", "behind_low", "behind_high"]
        table = self.table.drop(columns=["runs", "settings", "alike", "seconds"]).assign(
            minutes=(self.table["seconds"] / 60).round(1)
        )
        return table.assign(**{c: (100 * table[c]).round(1) for c in shares})

    def effects_shown(self) -> pd.DataFrame:
        """The effects as people read them."""
        table = effect_table(self.effects)
        return table.assign(**{c: (100 * table[c]).round(1) for c in ("difference", "low", "high")})

    def summary(self) -> dict[str, Any]:
        """All numbers, as JSON values."""
        told = {"task": self.task, "metric": self.metric, "baseline": self.baseline, "base": self.base}
        findings = [
            {"question": f.question, "verdict": f.verdict, "sentence": f.sentence}
            | {name: v if math.isfinite(v) else None for name, v in _ends(f.effect.interval).items()}
            for f in self.findings
        ]
        tables = {"recipes": self.table, "effects": effect_table(self.effects), "tasks": self.tasks}
        return {
            **told,
            "smoke": self.smoke,
            "word": self.word(),
            "sentences": self.sentences(),
            "findings": findings,
            **{name: json_rows(table) for name, table in tables.items()},
        }


def leaderboard(contenders: Sequence[Contender], *, task: str | None = None) -> Leaderboard:
    """The leaderboard of models that were scored alike.

    The best is picked by the scores that it is then compared by, so its lead flatters it; each interval stands for
    itself, and of many variants some will look distinguishable by chance.

    Args:
        contenders: models of one baseline on the same tasks. Those that differ only in seeds are one variant.
        task: the task that is scored; None for the mean of the targets, or of all tasks where none is a target.

    Raises:
        ParameterError: there are none, two are the same, or there is no such task.
        DataError: they are not comparable (`check_comparable`).
    """
    check_comparable(contenders)
    first = contenders[0]
    weights = weights_of(first, task)
    every, factors = group(contenders)
    every.sort(key=lambda variant: -float(np.mean(variant.scores(weights))))
    variants = one_a_model(every)
    return Leaderboard(
        ranked=tuple(_ranked(i, variant, variants[0], weights, first) for i, variant in enumerate(variants)),
        tasks=pd.DataFrame([row for variant in variants for row in _by_task(variant, first)]),
        effects=effects(every, factors, weights),
        findings=guided_findings(every, factors, weights),
        smoke=any(c.smoke for c in contenders),
        grid=_grid(every, factors, weights),
        baseline=first.baseline,
        base=mean_score(first.base, weights),
        task=task_name(weights),
        metric=metric_name(first, weights, several="main scores"),
        evaluations=tuple(dict.fromkeys(c.evaluation or c.name for c in contenders)),
        shared=_shared([variant.parameters for variant in every if MODEL not in variant.parameters]),
    )


def _ranked(
    place: int, variant: ScoredVariant, best: ScoredVariant, weights: Mapping[Part, float], first: Contender
) -> Ranked:
    scores, gain = variant.scores(weights), over_baseline(variant, weights)
    behind = difference([best], [variant], weights)[0] if variant is not best else None
    ends = _ends(behind)
    return Ranked(
        rank=place + 1,
        recipe=variant.name,
        seeds=len(variant.runs),
        score=float(np.mean(scores)),
        seed_sd=standard_deviation(scores),
        **_ends(gain),
        verdict=verdict(gain) if _enough(variant) else TOO_FEW,
        behind=ends["difference"],
        behind_low=ends["low"],
        behind_high=ends["high"],
        with_best=behind is None or not behind.high < 0,
        seconds=variant.seconds,
        cost_usd=variant.cost,
        settings=list(variant.named_by),
        runs=[run.name for run in (*variant.runs.values(), *variant.same)],
        alike=list(variant.alike),
        word=_word(variant, first) if _enough(variant) else NO_VERDICT,
    )


def _enough(variant: ScoredVariant) -> bool:
    """Whether there are seeds enough for a verdict on a variant; a model from elsewhere is no method and needs one."""
    return MODEL in variant.parameters or len(variant.runs) >= LEAST_SEEDS


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Mean scores by the values of two parameters, one a row and one a column; NaN where there is no such variant."""

    rows: Factor
    columns: Factor
    scores: tuple[tuple[float, ...], ...]


def _grid(variants: Sequence[ScoredVariant], factors: Sequence[Factor], weights: Mapping[Part, float]) -> Grid | None:
    if len(factors) != _TWO:
        return None
    rows, columns = sorted(factors, key=lambda factor: -len(factor.values))
    found = {
        (repr(v.settings[rows.name]), repr(v.settings[columns.name])): float(np.mean(v.scores(weights)))
        for v in variants
        if v.settings
    }
    scores = tuple(tuple(found.get((repr(r), repr(c)), math.nan) for c in columns.values) for r in rows.values)
    return Grid(rows=rows, columns=columns, scores=scores)


def _word(variant: ScoredVariant, first: Contender) -> Word:
    """The word for a variant as a whole."""
    told = {run.word for run in variant.runs.values()}
    if len(told) == 1 and (word := told.pop()) is not None:
        return word
    rows = [
        Comparison(**{name: row[name] for name in ("task", "subset", "is_target", "low", "high", "verdict")})
        for row in _by_task(variant, first)
    ]
    return overall_verdict(judge(rows))


def _by_task(variant: ScoredVariant, first: Contender) -> list[dict[str, Any]]:
    found = []
    for part in first.tuned:
        gain = over_baseline(variant, {part: 1.0})
        found.append(
            {
                "recipe": variant.name,
                "task": part[0],
                "subset": part[1],
                "metric": metric_name(first, {part: 1.0}, several=""),
                "is_target": part in first.targets,
                "base": first.base[part].score,
                "score": float(np.mean(variant.scores({part: 1.0}))),
                **_ends(gain),
                "verdict": verdict(gain) if _enough(variant) else TOO_FEW,
            }
        )
    return found


def _shared(variants: Sequence[Mapping[str, object]]) -> dict[str, object]:
    first = variants[0] if variants else {}
    return {k: v for k, v in first.items() if all(k in other and repr(other[k]) == repr(v) for other in variants)}


def _ends(interval: Interval | None) -> dict[str, float]:
    if interval is None:
        return dict.fromkeys(("difference", "low", "high"), math.nan)
    return {"difference": interval.difference, "low": interval.low, "high": interval.high}
