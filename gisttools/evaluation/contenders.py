"""Holds what evaluated models did, part by part, and refuses to compare what is not comparable.

A `Contender` is one evaluated model; what it and its baseline did on a part (a task and one of its subsets) is a
`Scored` each. Scores are comparable where baseline, data, split, subsets and metric are the same, and the baseline did
the same on them. What is not comparable is refused, for a number would look as if it were. Reads no files: runs are
read by `gisttools.workflow`. Scores lie between 0 and 1, a point is 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gisttools.common import DataError, ParameterError, did_you_mean, problems
from gisttools.evaluation.comparison import Word
from gisttools.evaluation.intervals import Interval, satterthwaite, seed_spread, student_interval

Part = tuple[str, str]  # a task and one of its subsets
Seeds = tuple[tuple[str, object], ...]  # parameter and value, of all seeds that a model depends on

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
class Scored:
    """What a model did on one part.

    Attributes:
        score: its main score.
        values: (draws, items), the items' parts in the score; None where they were not kept.
        variance: of its gain over the baseline by draws and items, for where `values` is None; NaN if not known, and 0
            of the baseline.
        freedom: degrees of freedom of `variance`.
    """

    score: float
    values: NDArray | None = None
    variance: float = 0.0
    freedom: float = math.inf


@dataclass(frozen=True, kw_only=True)
class ScoredOn:
    """What the scores of a part are of; None where that is not known. `items` is a hash of the texts and labels."""

    metric: str | None = None
    split: str | None = None
    revision: str | None = None
    n_items: int | None = None
    n_draws: int | None = None
    items: str | None = None


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One evaluated model.

    Attributes:
        name: what it is called in messages, such as the id of its evaluate run.
        evaluation: id of that run, which may hold several models; empty where there is none.
        parameters: all that decides what it is but for the seeds; of a model that was not trained here {"model": name}.
        seeds: all seeds that it depends on; models of equal parameters differ in them.
        baseline: name and revision of the model it was compared with.
        base, tuned: by part, what baseline and model did.
        about: by part, what it was scored on.
        targets: the parts it is meant to help on.
        seconds, cost: of its training, and US dollars for its rows; None where not known.
        word: HELPED, HURT, MIXED or NOT SHOWN, as its evaluation says of its variant; None where that is not known.
        weights: hash of the model that it is; empty where that is not known.
        smoke: whether its training was cut short to see whether all of it works.
        rows, priced: rows that it was trained on, and those of them that name a price; None and 0 where not known.
    """

    name: str
    parameters: Mapping[str, object]
    seeds: Seeds = ()
    baseline: str
    base: Mapping[Part, Scored]
    tuned: Mapping[Part, Scored]
    about: Mapping[Part, ScoredOn] = field(default_factory=dict)
    targets: frozenset[Part] = frozenset()
    seconds: float | None = None
    cost: float | None = None
    rows: int | None = None
    priced: int = 0
    evaluation: str = ""
    word: Word | None = None
    weights: str = ""
    smoke: bool = False

    @property
    def training_seeds(self) -> tuple[int, int]:
        """The seeds of the training itself and of the order of its rows; 0 where they are not told."""
        told = {name: seed for name, seed in self.seeds if isinstance(seed, int)}
        return told.get("seed", 0), told.get("limit_seed", 0)


def check_comparable(contenders: Sequence[Contender]) -> None:
    """Refuse models that cannot be compared.

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
        fix = "Evaluate all of them on the same data against the same baseline, or leave these out."
        raise DataError(problems(title, found, fix))
    twice, seen = [], {}
    for contender in contenders:
        first = seen.setdefault(repr((sorted(contender.parameters.items()), contender.seeds)), contender.name)
        if first != contender.name:
            twice.append(f"{first} and {contender.name} are of equal parameters and seeds")
    if twice:
        raise ParameterError(problems(f"compare: {len(twice)} problem(s)", twice, "Leave out one of each."))


def differences(one: Contender, other: Contender) -> list[str]:
    """Why `other` cannot be compared with `one`, a phrase each; empty where it can."""
    found = []
    if one.baseline != other.baseline:
        found.append(f"its baseline is {other.baseline}, not {one.baseline}")
    return [*found, *_parts_apart(one, other), *_data_apart(one, other), *_base_apart(one, other)]


def _parts_apart(one: Contender, other: Contender) -> list[str]:
    """Parts that only one of them scored; where they scored the same, targets that differ."""
    lacking, more = ([p for p in a.tuned if p not in b.tuned] for a, b in ((one, other), (other, one)))
    if not lacking and not more:
        same = one.targets == other.targets
        targets, wanted = (_names(of.targets) or "none" for of in (other, one))
        return [] if same else [f"its targets are {targets}, not {wanted}"]
    found = [f"it did not score {_names(lacking)}"] if lacking else []
    return found + ([f"it scored {_names(more)} as well"] if more else [])


def _data_apart(one: Contender, other: Contender) -> list[str]:
    """What was scored, where it differs on a part that both have."""
    found = []
    for key, what in _WHAT.items():
        apart = [part for part in _shared(one, other) if key in _unlike(one, other, part)]
        if apart:
            part = apart[0]
            detail = "others" if key == "items" else f"{_told(other, part)[key]}, not {_told(one, part)[key]}"
            found.append(f"{what} of {_name(part)}: {detail}{_more(apart)}")
    return found


def _base_apart(one: Contender, other: Contender) -> list[str]:
    """The baseline's score, where it is another on the same data."""
    if one.baseline != other.baseline:
        return []
    same = [part for part in _shared(one, other) if not _unlike(one, other, part)]
    moved = [p for p in same if not math.isclose(one.base[p].score, other.base[p].score, abs_tol=_SAME_SCORE)]
    if not moved:
        return []
    seen, wanted = other.base[moved[0]].score, one.base[moved[0]].score
    return [f"the baseline's score on {_name(moved[0])} is {seen:.4f}, not {wanted:.4f}{_more(moved)}"]


def _shared(one: Contender, other: Contender) -> list[Part]:
    return [part for part in one.tuned if part in other.tuned]


def _unlike(one: Contender, other: Contender, part: Part) -> set[str]:
    """What is known of both of them and differs on this part."""
    a, b = _told(one, part), _told(other, part)
    return {key for key in a.keys() & b.keys() if a[key] != b[key]}


def _told(contender: Contender, part: Part) -> dict[str, object]:
    """What is known of what a part's scores are of."""
    return {key: value for key, value in vars(contender.about.get(part, ScoredOn())).items() if value is not None}


def _name(part: Part) -> str:
    return part[0] if part[1] == "default" else f"{part[0]} ({part[1]})"


def _names(parts: Collection[Part]) -> str:
    names = sorted(_name(p) for p in parts)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _more(found: Sized) -> str:
    return f" (and of {len(found) - 1} more)" if len(found) > 1 else ""


def paired_gain(
    before: Sequence[Mapping[Part, Scored]], after: Sequence[Mapping[Part, Scored]], weights: Mapping[Part, float]
) -> Interval:
    """The interval of the difference in the weighted score of two sets of models, one a seed in the same order.

    Where both sides kept their items, seeds are crossed with draws and items (`seed_spread`). Elsewhere
    the items' noise is that of either side's gain over the baseline, as if one had nothing to do with the other: they
    share items and baseline, so this errs on the wide side. Of several parts the items' variances add, and so do the
    seeds' standard errors, as if a seed that is good for one task were good for all. With one seed the interval speaks
    of these checkpoints. Rows are fixed: it does not speak of other rows, unless seeds draw them.
    """
    n, seed_error = len(after), 0.0
    variances: list[tuple[float, float]] = []
    for part, weight in weights.items():
        sides = [[models[part] for models in side] for side in (before, after)]
        if (values := items_alike([scored for side in sides for scored in side])) is not None:
            spread = seed_spread(np.stack(values[:n]), np.stack(values[n:]))
            of_seeds, of_items, freedom = spread.seed_error, spread.item_error**2, spread.item_freedom
        else:
            of_seeds = standard_deviation([a.score - b.score for b, a in zip(*sides, strict=True)]) / math.sqrt(n)
            of_items = sum(float(np.mean([scored.variance for scored in side])) for side in sides)
            freedom = min(scored.freedom for side in sides for scored in side)
        seed_error += weight * of_seeds if n > 1 else 0.0
        variances.append((weight**2 * of_items, freedom))
    variances.append((seed_error**2, n - 1))
    whole = sum(variance for variance, _ in variances)
    differences = [mean_score(a, weights) - mean_score(b, weights) for b, a in zip(before, after, strict=True)]
    return student_interval(
        float(np.mean(differences)), whole, satterthwaite(whole, variances), n_items=0, n_draws=0, method=""
    )


def weights_of(contender: Contender, task: str | None) -> dict[Part, float]:
    """The parts that are scored, and what each counts: those of `task`; of None the targets, or all where none is.

    Raises:
        ParameterError: it did not score such a task.
    """
    names = list(dict.fromkeys(name for name, _ in contender.tuned))
    if task is not None and task not in names:
        raise ParameterError(f"task = {task!r} is none of {', '.join(names)}.{did_you_mean(task, names)}")
    wanted = {part for part in contender.tuned if part[0] == task} if task else contender.targets
    return task_weights([part for part in contender.tuned if part in wanted] or list(contender.tuned))


def task_name(weights: Mapping[Part, float]) -> str:
    """The task that is scored, or of how many it is the mean."""
    names = {name for name, _ in weights}
    return names.pop() if len(names) == 1 else f"mean of {len(names)} tasks"


def metric_name(contender: Contender, weights: Mapping[Part, float], several: str) -> str:
    """The metric of the parts that are scored; `several` where they have different ones."""
    metrics = {_told(contender, part).get("metric", "score") for part in weights}
    return str(metrics.pop()) if len(metrics) == 1 else several


def task_weights(parts: Sequence[Part]) -> dict[Part, float]:
    """What each part counts in a mean: each task as much as any other, and so each subset of a task."""
    names = [name for name, _ in parts]
    return {part: 1 / (len(set(names)) * names.count(part[0])) for part in parts}


def mean_score(scores: Mapping[Part, Scored], weights: Mapping[Part, float]) -> float:
    """The weighted score of one model."""
    return sum(weight * scores[part].score for part, weight in weights.items())


def standard_deviation(values: Sequence[float]) -> float:
    """Over models; NaN of one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def items_alike(scored: Sequence[Scored]) -> list[NDArray] | None:
    """The items' parts in the score of several models; None where some did not keep them, or kept others."""
    values = [s.values for s in scored if s.values is not None]
    return values if len(values) == len(scored) and len({v.shape for v in values}) == 1 else None


def mean_known(values: Sequence[float | None]) -> float:
    """Their mean; NaN where one is not known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else math.nan
