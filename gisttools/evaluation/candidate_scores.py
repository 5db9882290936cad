"""Holds what candidates scored, which one is advised, and what is left to be used: as tables and as JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from gisttools.evaluation.advice import Advice, Kind
from gisttools.evaluation.comparison import to_table
from gisttools.evaluation.intervals import Interval
from gisttools.evaluation.shipping import Shipped


@dataclass(frozen=True, kw_only=True)
class CandidateScore:
    """A candidate on one subset of a task: a row of candidates.parquet.

    Attributes:
        task, subset, metric: what was scored; of labelled texts the metric is accuracy.
        name, kind, what: the candidate; see `Encoder`.
        score: of labelled texts of the classifier fitted on all labels; over several seeds the mean. 0 to 1.
        difference, low, high: to the best candidate (negative: less), and the ends of its interval; those of one task
            hold together (Holm). The best itself has none.
        best: is it the one of the highest score?
        few_shot, samples_per_label: mteb's accuracy of a classifier fitted on so many texts a class.
        macro_f1: of the classifier fitted on all labels.
        n_train: texts that the classifier was fitted on.
        encoder_labels: labelled texts that the encoder was trained on; None where not known.
        n_test, n_classes: test texts or queries, and classes.
        megabytes: of what has to be kept to use it; None where not known.
        texts_per_s: see `Candidate`.
        dollars: see `Encoder`.
        seeds: trainings behind it.
    """

    task: str
    subset: str = "default"
    metric: str = "accuracy"
    name: str
    kind: Kind
    what: str = ""
    score: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    best: bool = False
    few_shot: float = math.nan
    samples_per_label: int | None = None
    macro_f1: float = math.nan
    n_train: int | None = None
    encoder_labels: int | None = None
    n_test: int | None = None
    n_classes: int | None = None
    megabytes: float | None = None
    texts_per_s: float | None = None
    dollars: float | None = None
    seeds: int = 1

    @property
    def score_interval(self) -> tuple[float, float] | None:
        """How far the accuracy of one classifier may lie off with other test texts like these: 95 % (Wilson 1927). None
        of searches and of several seeds."""
        if not self.n_train or not self.n_test or self.seeds > 1:
            return None
        from scipy.stats import binomtest

        ends = binomtest(round(self.score * self.n_test), self.n_test).proportion_ci(method="wilson")
        return ends.low, ends.high


@dataclass(frozen=True, kw_only=True)
class TargetAdvice:
    """The advice on one task, or on the mean of several; then `task` says of how many, and `subset` is empty.

    `changed`: what training changed by this score, and what the same student with a linear head has beside it: pairs of
    candidates with their difference (the second less the first), each interval by itself.
    """

    task: str
    subset: str
    metric: str
    advice: Advice
    changed: tuple[tuple[CandidateScore, CandidateScore, Interval], ...] = ()


CLASSES = ("task", "subset", "candidate", "seed", "label", "precision", "recall", "f1", "support")
ANSWERS = ("task", "subset", "item", "text", "gold", "candidate", "seed", "answer", "probability")


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What was found: `rows`, the tables `classes` and `answers`, the advice for each target and, where there are
    several of one metric, for their mean; `notes`: what could not be scored, and why; `shipped`: the model to be
    used, and the faster one where it is not decided."""

    rows: tuple[CandidateScore, ...] = ()
    classes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CLASSES)))
    answers: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(ANSWERS)))
    targets: tuple[TargetAdvice, ...] = ()
    overall: TargetAdvice | None = None
    notes: tuple[str, ...] = ()
    smoke: bool = False
    shipped: tuple[Shipped, ...] = ()

    def table(self) -> pd.DataFrame:
        """The table that candidates.parquet holds."""
        whole = ("samples_per_label", "n_train", "encoder_labels", "n_test", "n_classes")
        numbers = ("megabytes", "texts_per_s", "dollars")
        kinds = dict.fromkeys(whole, "Int64") | dict.fromkeys(numbers, "float64")
        return to_table(CandidateScore, self.rows).astype(kinds)

    def tables(self) -> dict[str, pd.DataFrame]:
        """By the name of their file."""
        return {"candidates": self.table(), "classes": self.classes, "answers": self.answers}

    def folders(self) -> dict[str, Shipped]:
        """The models to be used, by the name of their folder."""
        return dict(zip(("model", "faster_model"), self.shipped, strict=False))

    def summary(self) -> dict[str, Any]:
        """JSON values: `line`, what is advised in one line; `targets`, `overall`, `notes`, `smoke`; `models`, what was
        left to be used."""
        told = [_json(target) | {"scores": self._scores(target)} for target in self.targets]
        overall = None if self.overall is None else _json(self.overall)
        line = advice_line(self.targets, self.overall, self.rows)
        return {
            "line": line,
            "targets": told,
            "overall": overall,
            "notes": list(self.notes),
            "smoke": self.smoke,
            "models": [one.told() | {"folder": folder} for folder, one in self.folders().items()],
        }

    def _scores(self, target: TargetAdvice) -> list[dict[str, Any]]:
        """Every candidate's score on a target, the best first."""
        own = [row for row in self.rows if (row.task, row.subset) == (target.task, target.subset)]
        return [
            {
                "name": row.name,
                "kind": row.kind,
                "score": row.score,
                "low": ends[0] if (ends := row.score_interval) else None,
                "high": ends[1] if ends else None,
                "n_test": row.n_test,
                "texts_per_s": row.texts_per_s,
            }
            for row in sorted(own, key=lambda row: -row.score)
        ]


def advice_line(
    targets: Sequence[TargetAdvice], overall: TargetAdvice | None, rows: Sequence[CandidateScore] = ()
) -> str:
    """What is advised, in one line: of one target, of the mean of several, or of each where they cannot be averaged."""
    if not targets:
        return ""
    if overall is not None:
        return f"{overall.advice.head} ({overall.task})"
    heads = dict.fromkeys(target.advice.head for target in targets)
    if len(heads) > 1:
        return "; ".join(f"{target.task}: {target.advice.head}" for target in targets)
    first = targets[0]
    known = [r for r in rows if r.best and (r.task, r.subset) == (first.task, first.subset)]
    if len(targets) > 1 or not known or first.advice.word == "none":
        return first.advice.head
    what = f"{first.metric.replace('_', ' ')} {100 * known[0].score:.1f}"
    fitted = " with a classifier fitted on all labels" if known[0].n_train else ""
    return f"{first.advice.head} ({first.task} {what}{fitted})"


def _json(target: TargetAdvice) -> dict[str, Any]:
    told = asdict(target.advice)
    trades = [
        {
            "name": trade.name,
            "difference": trade.difference.difference,
            "low": _plain(trade.difference.low),
            "high": _plain(trade.difference.high),
            "times_as_fast": trade.times_as_fast,
            "shown_worse": trade.shown_worse,
            "told": trade.told(),
        }
        for trade in target.advice.trades
    ]
    changed = [
        {
            "from": {"name": one.name, "kind": one.kind, "score": one.score},
            "to": {"name": other.name, "kind": other.kind, "score": other.score},
            "difference": gap.difference,
            "low": _plain(gap.low),
            "high": _plain(gap.high),
        }
        for one, other, gap in target.changed
    ]
    about = {"task": target.task, "subset": target.subset, "metric": target.metric}
    return {**about, **told, "trades": trades, "changed": changed}


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
