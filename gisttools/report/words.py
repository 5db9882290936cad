"""What a report says first: its verdict, in one word and one sentence, and what that leaves open."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gisttools.common import is_number, is_true, model_name, plural, score, signed, unit
from gisttools.evaluation import averages, overall_verdict
from gisttools.report.action import Action, Outcome, next_action
from gisttools.report.data import ReportData

SHOWN = 3  # targets on the first screen
_NAMED = 2  # tasks named in a sentence


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
    """What to do next, by the rule of `gisttools.report.action`."""
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
