"""Says what an evaluation found: one word for each variant, and one line for the run.

All that is said of an evaluation as a whole asks here: its summary and headline, its report, the leaderboard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from gisttools.common import is_number, is_true, plural, score, signed
from gisttools.evaluation.comparison import Average, Comparison, Word, average, overall_verdict, targets_and_guards

_NAMED = 3


def by_variant(rows: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    """Rows by their variant, in order."""
    found: dict[str, list[Comparison]] = {}
    for row in rows:
        found.setdefault(row.variant or "", []).append(row)
    return found


def failed_targets(failed: pd.DataFrame | None) -> list[str]:
    """Target tasks of which something could not be scored, from the table of failures."""
    if failed is None or "is_target" not in failed:
        return []
    return [str(task) for task in dict.fromkeys(failed["task"][failed["is_target"].map(is_true)])]


def verdict_words(rows: Iterable[Comparison], failed: Collection[str] = ()) -> dict[str, Word]:
    """The word for each variant, in their order: HELPED, HURT, MIXED or NOT SHOWN.

    Args:
        rows: one a variant, task and subset, of main metrics, from `judge`.
        failed: targets that could not be scored; where a variant has no row of one, it counts as not shown.
    """
    return {
        variant: overall_verdict(own, len(set(failed) - {row.task for row in own}))
        for variant, own in by_variant(rows).items()
    }


_UNTRAINED: dict[Word, str] = {"HELPED": "BETTER", "HURT": "WORSE", "MIXED": "MIXED", "NOT SHOWN": "NOT SHOWN"}


def shown_word(word: Word, *, trained: bool = True, smoke: bool = False) -> str:
    """How a verdict is said: of models whose training is not known nothing helped, one is better than the other; of a
    smoke run nothing is said."""
    return "" if smoke else word if trained else _UNTRAINED[word]


def headline(
    rows: Sequence[Comparison],
    failed: Collection[str] = (),
    failures: int = 0,
    *,
    advice: Mapping[str, Any] | None = None,
    trained: bool = True,
) -> str:
    """One line: the advice, where there is one; then of one variant what it did on its target, or on the mean of its
    targets, and at the end its word; of several each with its difference and its word.

    Args:
        rows, failed: as in `verdict_words`.
        failures: how many scores failed in all.
        advice: as `Candidates.summary` gives it.
        trained: is the models' training known?
    """
    told = advice or {}
    changed = _changed(rows, failed, failures, trained=trained, smoke=bool(told.get("smoke")))
    if not told.get("line"):
        return changed
    return f"{told['line']}. {'Training' if trained else 'Against the baseline'}: {changed}"


def _changed(rows: Sequence[Comparison], failed: Collection[str], failures: int, *, trained: bool, smoke: bool) -> str:
    words = {
        variant: shown_word(word, trained=trained, smoke=smoke) for variant, word in verdict_words(rows, failed).items()
    }
    lost = f", {failures} failed" if failures else ""
    if not words:
        return f"nothing compared{lost}"
    if len(words) == 1:
        ((_, word),) = words.items()
        return f"{_told(rows, lost)}: {word}".removesuffix(": ")
    return f"{_what(rows)}, {plural(len(words), 'variant')}{lost}: {_each(by_variant(rows), words)}"


def _each(variants: Mapping[str, Sequence[Comparison]], words: Mapping[str, str]) -> str:
    told = [f"{name} {_difference(_mean(rows))} {words[name]}" for name, rows in variants.items()]
    if len(told) <= _NAMED + 1:
        return "; ".join(told)
    rest = Counter(words[name] for name in list(variants)[_NAMED:])
    return "; ".join(told[:_NAMED]) + "; and " + ", ".join(f"{n} {word}" for word, n in rest.items())


def _what(rows: Sequence[Comparison]) -> str:
    """What the numbers are of: a task, or the mean of several."""
    targets, _ = targets_and_guards(rows)
    tasks = list(dict.fromkeys((row.task, row.subset) for row in targets))
    if len(tasks) == 1:
        return f"{targets[0].task} {targets[0].metric}"
    kind = "target" if targets[0].is_target else "task"
    return f"mean of {plural(len(tasks), kind)}"


def _told(rows: Sequence[Comparison], lost: str) -> str:
    targets, guards = targets_and_guards(rows)
    mean = _mean(rows)
    text = f"{_what(rows)} {score(mean.base)} → {score(mean.tuned)} ({_difference(mean)} points"
    if is_number(mean.low):
        text += f", 95 % interval {signed(mean.low)} to {signed(mean.high)}"
    if len(targets) > 1:
        text += "".join(f", {n} {word}" for word, n in Counter(row.verdict for row in targets).items())
    text += f", {targets[0].n_seeds} seeds" if (targets[0].n_seeds or 1) > 1 else ""
    hurt = [row.task for row in guards if row.verdict == "hurt" and not row.non_inferior]
    text += f", guard {' and '.join(hurt[:_NAMED])} lost more than allowed" if hurt else ""
    return f"{text}{lost})"


def _mean(rows: Sequence[Comparison]) -> Comparison | Average:
    targets, _ = targets_and_guards(rows)
    known = [row for row in targets if row.scored]
    return known[0] if len(known) == 1 and len(targets) == 1 else average("", known) if known else Average(name="")


def _difference(mean: Any) -> str:
    return signed(mean.difference)
