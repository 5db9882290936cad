"""Evaluated models that are to stand side by side: what is known of each, and whether they may.

Scores are comparable where baseline, data, split, subsets and metric are the same, and the baseline did the same on
them. What is not comparable is refused, for a number would look as if it were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gisttools.common import DataError, ParameterError, problems
from gisttools.gain import Part, Scored

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
