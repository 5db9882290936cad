"""Many models of one baseline side by side: which recipe is best, by how much, what each parameter does, and whether
the guide helped.

Nothing here reads a file: `gisttools.workflow.contenders` does. Scores lie between 0 and 1, a point is 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gisttools.common import ParameterError, did_you_mean
from gisttools.contenders import Contender, check_comparable
from gisttools.gain import Part, task_weights
from gisttools.guided_verdict import Finding, guided_findings, plural, points
from gisttools.intervals import Interval, verdict
from gisttools.parameter_effects import Effect, effect_table, effects
from gisttools.trained_recipes import MODEL, Recipe, difference, group, over_baseline


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Recipes in order of their scores.

    Attributes:
        table: one row a recipe, the best first: rank, recipe, seeds, score, seed_sd (NaN of one seed); difference to
            the baseline with low, high and verdict; behind, behind_low, behind_high, the difference to the best (NaN
            of the best itself); with_best, whether it is not told apart from the best; seconds and cost_usd of a
            training (NaN: not known); settings, the parts of its name; runs.
        tasks: one row a recipe and part: recipe, task, subset, metric, is_target, base, score, difference, low, high,
            verdict.
        effects: of each parameter that varies (`gisttools.parameter_effects`).
        findings: guided against unguided, and what labels add; empty where that was not tried.
        baseline, base: its name and its score.
        task, metric: what is scored.
        shared: parameters that all models trained here have in common.
        evaluations: ids of the evaluate runs, which may hold several models each.
    """

    table: pd.DataFrame
    tasks: pd.DataFrame
    effects: list[Effect]
    findings: list[Finding]
    baseline: str
    base: float
    task: str
    metric: str
    shared: Mapping[str, Any]
    evaluations: tuple[str, ...] = ()

    @property
    def tied(self) -> list[str]:
        """Recipes that are not told apart from the best."""
        return self.table["recipe"][self.table["with_best"]].tolist()[1:]

    @property
    def separable(self) -> bool:
        """Whether some recipes differ in one parameter alone, so that its effect can be told."""
        return any(effect.interval for effect in self.effects)

    def word(self) -> str:
        """The shortest answer: of the guide where it was tried; else whether one recipe is ahead of all others."""
        if self.findings:
            return self.findings[0].verdict
        if len(self.table) == 1:
            return self.table["verdict"].iloc[0]
        return "no clear best" if self.tied else "one ahead"

    def question(self) -> str:
        """What `word` answers."""
        if self.findings:
            return self.findings[0].question
        return "Did training help?" if len(self.table) == 1 else "Which recipe is best?"

    def best_sentence(self) -> str:
        """The best recipe, its score, its difference to the baseline, and who is not told apart from it."""
        best = self.table.iloc[0]
        one = len(self.table) == 1
        said = (
            f"{best.recipe} scores {100 * best.score:.1f}"
            if one
            else f"Best is {best.recipe} at {100 * best.score:.1f}"
        )
        text = f"{said}, {points(best)} over the baseline's {100 * self.base:.1f}."
        if one:
            return f"{text} It is the only recipe here: evaluate others to compare."
        if not self.tied:
            return f"{text} It is told apart from all others."
        if len(self.tied) == len(self.table) - 1:
            return f"{text} No other is told apart from it."
        names = "; ".join(self.tied[:3]) + (f"; and {len(self.tied) - 3} more" if len(self.tied) > 3 else "")
        return f"{text} Not told apart from it: {names}."

    def sentences(self) -> list[str]:
        """What is to be said, the most important first."""
        return [*(f.sentence for f in self.findings), self.best_sentence()]

    def headline(self) -> str:
        """One line for the run."""
        runs = sum(map(len, self.table["runs"]))
        what = f"{plural(len(self.table), 'recipe')} of {plural(runs, 'run')} on {self.task}"
        return f"{what}: {self.sentences()[0]}"

    def shown(self) -> pd.DataFrame:
        """The table as people read it: points out of 100, minutes."""
        shares = ["score", "seed_sd", "difference", "low", "high", "behind", "behind_low", "behind_high"]
        table = self.table.drop(columns=["runs", "settings", "seconds"]).assign(
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
            "word": self.word(),
            "sentences": self.sentences(),
            "findings": findings,
            **{name: _records(table) for name, table in tables.items()},
        }


def leaderboard(contenders: Sequence[Contender], *, task: str | None = None) -> Leaderboard:
    """The leaderboard of models that were scored alike.

    The best is picked by the scores that it is then compared by, so its lead flatters it; each interval stands for
    itself, and of many recipes some will look told apart by chance.

    Args:
        contenders: models of one baseline on the same tasks. Those that differ only in seeds are one recipe.
        task: the task that is scored; None for the mean of the targets, or of all tasks where none is a target.

    Raises:
        ParameterError: there are none, two are the same, or there is no such task.
        DataError: they are not comparable (`gisttools.contenders.check_comparable`).
    """
    check_comparable(contenders)
    first = contenders[0]
    weights = _weights(first, task)
    recipes, factors = group(contenders)
    recipes.sort(key=lambda recipe: -float(np.mean(recipe.scores(weights))))
    names, metrics = {name for name, _ in weights}, {first.about.get(p, {}).get("metric", "score") for p in weights}
    return Leaderboard(
        table=pd.DataFrame([_row(i, recipe, recipes[0], weights) for i, recipe in enumerate(recipes)]),
        tasks=pd.DataFrame([row for recipe in recipes for row in _by_task(recipe, first)]),
        effects=effects(recipes, factors, weights),
        findings=guided_findings(recipes, factors, weights),
        baseline=first.baseline,
        base=sum(weight * first.base[part].score for part, weight in weights.items()),
        task=names.pop() if len(names) == 1 else f"mean of {len(names)} tasks",
        metric=metrics.pop() if len(metrics) == 1 else "main scores",
        evaluations=tuple(dict.fromkeys(c.evaluation or c.name for c in contenders)),
        shared=_shared([recipe.parameters for recipe in recipes if MODEL not in recipe.parameters]),
    )


def _weights(first: Contender, task: str | None) -> dict[Part, float]:
    names = list(dict.fromkeys(name for name, _ in first.tuned))
    if task is not None and task not in names:
        raise ParameterError(f"task = {task!r} is none of {', '.join(names)}.{did_you_mean(task, names)}")
    wanted = {part for part in first.tuned if part[0] == task} if task else first.targets
    return task_weights([part for part in first.tuned if part in wanted] or list(first.tuned))


def _row(place: int, recipe: Recipe, best: Recipe, weights: Mapping[Part, float]) -> dict[str, Any]:
    scores, gain = recipe.scores(weights), over_baseline(recipe, weights)
    behind = difference([best], [recipe], weights)[0] if recipe is not best else None
    ends = (behind.difference, behind.low, behind.high) if behind else (math.nan,) * 3
    return {
        "rank": place + 1,
        "recipe": recipe.name,
        "seeds": len(recipe.runs),
        "score": float(np.mean(scores)),
        "seed_sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan,
        **_ends(gain),
        "verdict": verdict(gain),
        **dict(zip(("behind", "behind_low", "behind_high"), ends, strict=True)),
        "with_best": behind is None or not behind.high < 0,
        "seconds": recipe.seconds,
        "cost_usd": recipe.cost,
        "settings": list(recipe.named_by),
        "runs": [run.name for run in recipe.runs.values()],
    }


def _by_task(recipe: Recipe, first: Contender) -> list[dict[str, Any]]:
    found = []
    for part in first.tuned:
        gain = over_baseline(recipe, {part: 1.0})
        found.append(
            {
                "recipe": recipe.name,
                "task": part[0],
                "subset": part[1],
                "metric": first.about.get(part, {}).get("metric", "score"),
                "is_target": part in first.targets,
                "base": first.base[part].score,
                "score": float(np.mean(recipe.scores({part: 1.0}))),
                **_ends(gain),
                "verdict": verdict(gain),
            }
        )
    return found


def _shared(recipes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = recipes[0] if recipes else {}
    return {k: v for k, v in first.items() if all(k in other and repr(other[k]) == repr(v) for other in recipes)}


def _ends(interval: Interval) -> dict[str, float]:
    return {"difference": interval.difference, "low": interval.low, "high": interval.high}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")
