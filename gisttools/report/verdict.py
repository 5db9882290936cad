"""What a report says first: its verdict, in one word and one sentence, and what that leaves open.

What to do next: a pure rule from what was measured to one word and one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from gisttools.common import count, is_number, is_true, model_name, plural, score, signed, unit
from gisttools.evaluation import POINT, averages, overall_verdict
from gisttools.report.data import ReportData

Word = Literal["Ship", "Collect", "Change the data", "Stop", "Evaluate again"]
MOST_TIMES = 10  # a test set that would have to grow more than that is not worth collecting
_NAMED = 2


@dataclass(frozen=True, kw_only=True)
class Action:
    """What to do, in a word or a few, and why."""

    word: Word
    head: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One task as the rule sees it; differences lie between -1 and 1, None is not known.

    `items_needed` is how many items would show one point; None also where no number would.
    """

    task: str
    is_target: bool
    verdict: str
    low: float | None
    high: float | None
    n_items: int | None = None
    items_needed: int | None = None
    unit: str = "test text"
    non_inferior: bool | None = None


def next_action(word: str, outcomes: Sequence[Outcome], *, leaked: bool | None) -> Action:
    """The next step after a verdict.

    1. Test texts in the training data: change the data, for no score counts.
    2. HELPED: ship. Guards that are not shown to be safe are named.
    3. Something was hurt, a target or a guard: change the data.
    4. Nothing was hurt, but not every target was helped. Where every such target rules out a gain of a point: stop.
       Where more items would show a point and they can be collected (at most ten times as many as now): collect them.
       Where no target has an interval: evaluate again. Otherwise: change the data.

    Args:
        word: of `gisttools.evaluation.overall_verdict`.
        outcomes: one a task; where none is a target, all count as targets.
        leaked: whether test texts stand in the training table; None if that is not known.
    """
    targets = [o for o in outcomes if o.is_target] or list(outcomes)
    guards = [o for o in outcomes if not o.is_target] if any(o.is_target for o in outcomes) else []
    if leaked:
        return Action(
            word="Change the data",
            head="Take the test texts out of the training data and train again",
            why="The tuned model has seen them, so its score says nothing about new texts.",
        )
    if word == "HELPED":
        return _ship(guards)
    hurt = [o for o in targets if o.verdict == "hurt"]
    lost = [o for o in guards if o.verdict == "hurt" and not o.non_inferior]
    if hurt:
        why = f"{_names(hurt)} got worse. The texts that broke, below, show where; keep the base model until then."
        return Action(word="Change the data", head="Change the training data and train again", why=why)
    if lost:
        why = (
            f"{_names(lost)} lost more than is allowed. General texts in training (the parameter retain) hold a model"
            " near where it started."
        )
        return Action(word="Change the data", head="Add general texts to the training", why=why)
    return _open([o for o in targets if o.verdict != "helped"])


def _ship(guards: Sequence[Outcome]) -> Action:
    unclear = [o for o in guards if o.non_inferior is False]
    if unclear:
        first = unclear[0]
        span = f"{signed(first.low)} to {signed(first.high)}"
        why = f"But look at {_names(unclear)} first: a loss beyond what is allowed is not ruled out there ({span})."
    elif guards:
        why = "Every target gained, and no guard lost more than is allowed."
    else:
        why = "Every target gained. No guard was evaluated, so what it cost elsewhere is not known."
    return Action(word="Ship", head="Ship the tuned model", why=why)


def _open(targets: Sequence[Outcome]) -> Action:
    """Nothing was hurt; these targets were not shown to be helped."""
    known = [o for o in targets if o.low is not None and o.high is not None]
    if not known:
        why = "The tasks have no interval, so nothing can be said of them. Choose a task that has one."
        return Action(word="Evaluate again", head="Evaluate on a task that can be judged", why=why)
    if all(o.high < POINT for o in known):
        why = f"On {_names(known)} a gain of one point is ruled out, so the base model is about as good."
        return Action(word="Stop", head="Stop here, and keep the base model", why=why)
    lacking = [o for o in known if o.high >= POINT and _lacks(o)]
    if lacking:
        worst = max(lacking, key=lambda o: o.items_needed - o.n_items)
        more = worst.items_needed - worst.n_items
        why = (
            f"{worst.task} has {plural(worst.n_items, worst.unit)}. With {count(worst.items_needed)}, one point would"
            " be seen four times in five."
        )
        return Action(word="Collect", head=f"Collect {plural(more, f'more {worst.unit}')}", why=why)
    why = (
        f"No gain is shown on {_names(known)}, and more test items alone would hardly show one. Other training texts,"
        " or more of them, may bring a larger gain."
    )
    return Action(word="Change the data", head="Change the training data and train again", why=why)


def _lacks(outcome: Outcome) -> bool:
    needed, there = outcome.items_needed, outcome.n_items
    return needed is not None and there is not None and there < needed <= MOST_TIMES * there


def _names(outcomes: Sequence[Outcome]) -> str:
    names = [o.task for o in outcomes[:_NAMED]]
    more = len(outcomes) - len(names)
    return " and ".join(names) if not more else f"{', '.join(names)} and {more} more"


SHOWN = 3  # targets on the first screen


def main_rows(data: ReportData) -> pd.DataFrame:
    """The comparison rows of each task's main metric; all rows of a task whose scores do not say which is main."""
    main: dict[str, set[str]] = {}
    for task, metric, is_main in zip(*(data.scores[c] for c in ("task", "metric", "is_main")), strict=True):
        if is_true(is_main):
            main.setdefault(task, set()).add(metric)
    pairs = zip(data.comparison["task"], data.comparison["metric"], strict=True)
    return data.comparison[[metric in main.get(task, {metric}) for task, metric in pairs]]


def judged(data: ReportData) -> pd.DataFrame:
    """The rows the verdict stands on: the target tasks, or all tasks where none is named a target."""
    rows = main_rows(data)
    targets = rows[rows["is_target"].map(is_true)]
    return targets if len(targets) else rows


def guards(data: ReportData) -> pd.DataFrame:
    """The rows of the tasks that must not lose; none where no task is named a target."""
    rows = main_rows(data)
    target = rows["is_target"].map(is_true)
    return rows[~target] if target.any() else rows.iloc[:0]


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as `gisttools.evaluation.comparison` reads them: truth values as such, a verdict for every row."""
    return [
        {
            **r,
            "is_target": is_true(r["is_target"]),
            "non_inferior": None
            if r["non_inferior"] is None or pd.isna(r["non_inferior"])
            else bool(r["non_inferior"]),
            "verdict": r["verdict"] if isinstance(r["verdict"], str) and is_number(r["difference"]) else "not shown",
        }
        for r in rows.to_dict("records")
    ]


def verdict_word(data: ReportData) -> str:
    """HELPED, HURT, MIXED or NOT SHOWN, targets and guards together, as `gisttools.evaluation.overall_verdict` says; a
    target that could not be scored counts as not shown."""
    lost = {"is_target": True, "verdict": "not shown", "non_inferior": None}
    return overall_verdict([*records(main_rows(data)), *[lost] * len(failed_targets(data))])


def failed_targets(data: ReportData) -> list[str]:
    """Target tasks that could not be compared."""
    if data.failed is None or "is_target" not in data.failed:
        return []
    lost = data.failed["task"][data.failed["is_target"].map(is_true)]
    return [str(task) for task in dict.fromkeys(lost) if task not in set(data.comparison["task"])]


def verdict_sentence(data: ReportData) -> str:
    """One sentence with the numbers of the target, or of all targets together; and of the guards that lost."""
    rows = judged(data)
    whole = rows[rows["difference"].map(is_number)]
    if len(whole) == 0:
        return "No task has a score of both models."
    text = _of_one(rows.iloc[0]) if len(rows) == 1 else _of_several(rows, whole)
    failed = failed_targets(data)
    text += f" {plural(len(failed), 'target')} could not be scored." if failed else ""
    lost = [r for r in records(guards(data)) if r["verdict"] == "hurt" and not r["non_inferior"]]
    told = [f"{task_name(r)} {signed(r['difference'])} ({signed(r['low'])} to {signed(r['high'])})" for r in lost]
    if told:
        more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        text += f" Beside it a guard lost more than allowed: {', '.join(told[:_NAMED])}{more}."
    return text


def guard_note(data: ReportData) -> str:
    """Which guards are not shown to be safe; empty where all are, or there is none."""
    unclear = [r for r in records(guards(data)) if r["non_inferior"] is False and r["verdict"] != "hurt"]
    if not unclear:
        return ""
    names = ", ".join(task_name(r) for r in unclear[:_NAMED])
    more = f" and {len(unclear) - _NAMED} more" if len(unclear) > _NAMED else ""
    return f"Not shown to be safe: {names}{more}. A loss of more than {_allowed(unclear)} is not ruled out there."


def targets(data: ReportData) -> list[dict[str, str]]:
    """The first targets with their numbers, as the first screen shows them."""
    return [
        {
            "task": task_name(r),
            "metric": metric_name(r["metric"]),
            "base": score(r["base"]),
            "tuned": score(r["tuned"]),
            "difference": signed(r["difference"]),
            "interval": interval(r),
            "verdict": r["verdict"],
            "sample": sample(data, r),
        }
        for r in records(judged(data).head(SHOWN))
    ]


def sample(data: ReportData, row: dict[str, Any]) -> str:
    """How many items, draws and training seeds stand behind a row."""
    seeds = n_seeds(data, row)
    return ", ".join(filter(None, [size(row), plural(seeds, "training seed") if seeds else ""]))


def size(row: Any) -> str:
    """The items and draws a row stands on: `280 test texts × 10 draws`; of clustering `10 draws from 280 texts`."""
    kind, items, draws = unit(row["task_type"]), row["n_items"], row["n_draws"]
    several = is_number(draws) and draws > 1
    if kind == "draw" and several:
        return plural(draws, "draw") + (f" from {plural(items, 'text')}" if is_number(items) and items != draws else "")
    told = plural(items, kind) if is_number(items) else ""
    return f"{told} × {plural(draws, 'draw')}" if told and several else told


def n_seeds(data: ReportData, row: dict[str, Any]) -> int:
    """Training seeds behind a row; 0 where that is not known."""
    return int(row["n_seeds"]) if is_number(row.get("n_seeds")) else int(data.finetune is not None)


def action(data: ReportData) -> Action:
    """What to do next, by the rule of `gisttools.report.verdict`."""
    rows = judged(data)
    known = [n for n in rows["overlap"] if is_number(n)]
    leaked = None if len(known) < len(rows) else sum(known) > 0
    outcomes = [
        Outcome(
            task=task_name(r),
            is_target=r["is_target"],
            verdict=r["verdict"],
            low=r["low"] if is_number(r["low"]) else None,
            high=r["high"] if is_number(r["high"]) else None,
            n_items=int(r["n_items"]) if is_number(r["n_items"]) else None,
            items_needed=int(r["items_for_one_point"]) if is_number(r["items_for_one_point"]) else None,
            unit=unit(r["task_type"]),
            non_inferior=r["non_inferior"],
        )
        for r in records(main_rows(data))
    ]
    outcomes += [
        Outcome(task=task, is_target=True, verdict="not shown", low=None, high=None) for task in failed_targets(data)
    ]
    return next_action(verdict_word(data), outcomes, leaked=leaked)


def task_name(row: Any) -> str:
    """A task with its subset, where it has one."""
    subset = row["subset"]
    return (
        f"{row['task']} ({subset})" if isinstance(subset, str) and subset not in ("", "default") else str(row["task"])
    )


def metric_name(metric: object) -> str:
    return str(metric).replace("_", " ")


def interval(row: Any) -> str:
    known = is_number(row["low"]) and is_number(row["high"])
    return f"{signed(row['low'])} to {signed(row['high'])}" if known else "no interval"


def _of_one(row: Any) -> str:
    metric, name = metric_name(row["metric"]), task_name(row)
    went = {"helped": "rose", "hurt": "fell"}.get(row["verdict"], "went")
    span = interval(row)
    span = f"95 % interval {span}" if span != "no interval" else span
    text = (
        f"{metric[:1].upper()}{metric[1:]} on {name} {went} from {score(row['base'])} to {score(row['tuned'])}:"
        f" {signed(row['difference'])} points ({span})"
    )
    return f"{text}." if went != "went" else f"{text}. Neither a gain nor a loss is shown."


def _of_several(rows: pd.DataFrame, whole: pd.DataFrame) -> str:
    kind = "target task" if rows["is_target"].map(is_true).any() else "task"
    told = pd.Series([r["verdict"] for r in records(rows)]).value_counts()
    counts = " and ".join(f"{told[w]} {t}" for w, t in _TOLD.items() if w in told)
    alone = _TOLD[told.index[0]] if len(told) == 1 else None
    begin = f"All {plural(len(rows), kind)} {alone}" if alone else f"Of {plural(len(rows), kind)} {counts}"
    (mean,) = averages([{**r, "task_type": ""} for r in records(whole)])
    span = f" (95 % interval {interval(mean)})" if is_number(mean["low"]) else ""
    return (
        f"{begin}. Their mean went from {score(mean['base'])} to {score(mean['tuned'])}:"
        f" {signed(mean['difference'])} points{span}."
    )


_TOLD = {"helped": "improved", "hurt": "got worse", "not shown": "did not show a change"}


def _allowed(rows: list[dict[str, Any]]) -> str:
    allowed = [r["allowed_loss"] for r in rows if is_number(r["allowed_loss"])]
    return f"{100 * max(allowed):g} points" if allowed else "what is allowed"


def compared_name(data: ReportData, role: str) -> str:
    """What the baseline ("base") or the tuned model is called: of several variants the first, with how many seeds."""
    name = model_name(data.evaluate.summary.get(role))
    told = data.evaluate.summary.get("variants") or []
    if role == "base" or not told:
        return name
    seeds = told[0].get("n_seeds") or 1
    if data.others is not None:
        return model_name(told[0].get("name")) + (f", {seeds} seeds" if seeds > 1 else "")
    return name + (f" and {plural(seeds - 1, 'more seed')}" if seeds > 1 else "")
