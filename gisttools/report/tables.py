"""The tables of scores: task by task, averages, models beside, every metric, what failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gisttools.common import count, is_number, is_true, model_name, p_value, score, signed
from gisttools.evaluation import averages
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip
from gisttools.report.words import interval, main_rows, metric_name, records, size, task_name

ROWS = 200  # tasks shown of each group
METRICS = 600  # rows of the table of all metrics
_REFERENCES = 60  # models beside, by task
_LONG = 280  # characters of an error


def score_groups(data: ReportData) -> list[dict[str, Any]]:
    """Groups of rows (target tasks, guards), targets first, the best change first."""
    rows = main_rows(data)
    target = rows["is_target"].map(is_true)
    names = ("Target tasks", "Guards: tasks that must not lose" if target.any() else "Tasks")
    groups = []
    for name, part in zip(names, (rows[target], rows[~target]), strict=True):
        if len(part):
            shown = part.sort_values("difference", ascending=False, kind="stable").head(ROWS)
            more = f" (the best {ROWS} of {len(part)}; all stand in scores.csv)" if len(part) > ROWS else ""
            groups.append({"name": name + more, "rows": [_score_row(r) for r in records(shown)]})
    return groups


def means(data: ReportData) -> list[dict[str, str]]:
    """Averages by category and over all tasks, and again without the tasks whose train split was trained on."""
    rows = main_rows(data)
    rows = rows[rows["difference"].map(is_number)]
    if data.averages is None:
        found = averages(records(rows)) if len(rows) > 1 else []
        fresh = rows[~rows["trained_on"].map(is_true)]
        if 0 < len(fresh) < len(rows):
            found += [{**r, "tasks": "not trained on"} for r in averages(records(fresh))]
    else:
        found = data.averages.to_dict("records")
    # the mean of one task is that task; what was not trained on is worth a line even so
    found = [r for r in found if r.get("n_tasks") != 1 or r.get("tasks") == "not trained on"]
    return [
        {
            "name": _average_name(r),
            "base": score(r["base"]),
            "tuned": score(r["tuned"]),
            "difference": signed(r["difference"]),
            "interval": interval({"low": r.get("low"), "high": r.get("high")}),
            "p": p_value(r.get("p")),
            "verdict": r["verdict"] if isinstance(r.get("verdict"), str) else "not shown",
        }
        for r in found
    ]


def references(data: ReportData) -> list[dict[str, str]]:
    """Scores of other models on these tasks, beside base and tuned."""
    if data.references is None:
        return []
    table = data.references.assign(score=pd.to_numeric(data.references["score"], errors="coerce"))
    ours = {(r["task"], r["metric"]): r for r in records(main_rows(data))}
    found = []
    for r in table.to_dict("records"):
        own = ours.get((r["task"], r["metric"]))
        if own is not None or not ours:
            found.append(
                {
                    "task": clip(r["task"], 80),
                    "name": clip(model_name(r["name"]), 80),
                    "kind": clip(r.get("kind") or "", 40),
                    "metric": metric_name(r["metric"]),
                    "score": score(r["score"]),
                    "base": score(own["base"]) if own else "",
                    "tuned": score(own["tuned"]) if own else "",
                }
            )
    return found[:_REFERENCES]


def all_metrics(data: ReportData) -> list[dict[str, Any]]:
    """Every metric of every task, base and tuned side by side; at most `METRICS` rows."""
    keys = ["task", "subset", "split", "metric"]
    scores = data.scores.drop_duplicates([*keys, "role"], keep="last")
    wide = scores.pivot(index=keys, columns="role", values="score").dropna(how="all").reset_index()
    main = {(r["task"], r["metric"]) for r in scores.to_dict("records") if is_true(r["is_main"])}
    return [
        {
            **{k: r[k] for k in keys},
            "base": score(r.get("base")),
            "tuned": score(r.get("tuned")),
            "main": (r["task"], r["metric"]) in main,
        }
        for r in wide.head(METRICS).to_dict("records")
    ]


def variants(data: ReportData) -> list[dict[str, str]]:
    """The other variants of this evaluation on the target tasks, with the overall word of each."""
    if data.others is None:
        return []
    words: Mapping[str, Any] = data.evaluate.summary.get("verdicts") or {}
    target = data.others["is_target"].map(is_true)
    rows = data.others[target] if target.any() else data.others
    return [
        {**_score_row(r), "variant": clip(r["variant"], 80), "word": str(words.get(r["variant"], ""))}
        for r in records(rows.head(ROWS))
    ]


def paper(data: ReportData) -> list[dict[str, str]]:
    """What the GISTEmbed paper's students scored on tasks that ran here, where the evaluation says so."""
    rows = [r for r in data.evaluate.summary.get("paper") or [] if isinstance(r, Mapping)]
    return [
        {
            "student": clip(r.get("student"), 60),
            "category": clip(r.get("category"), 60),
            "tasks": f"{count(r.get('n_tasks'))} of {count(r.get('of_tasks'))}",
            "base": score(r.get("base")),
            "gist": score(r.get("gist")),
            "difference": signed(r.get("difference")),
        }
        for r in rows[:_REFERENCES]
    ]


def failures(data: ReportData) -> list[dict[str, str]]:
    """Tasks that could not be scored, with the error."""
    if data.failed is None:
        return []
    return [
        {"task": clip(r["task"], 80), "model": clip(r.get("model") or "", 60), "error": clip(r["error"], _LONG)}
        for r in data.failed.head(ROWS).to_dict("records")
    ]


def _average_name(r: Mapping[str, Any]) -> str:
    name, told = clip(r["name"], 80), r.get("tasks")
    name = f"{name[:1].upper()}{name[1:]}"
    name += f", {told}" if isinstance(told, str) and told not in ("", "all") else ""
    return f"{name} ({count(r['n_tasks'])})" if is_number(r.get("n_tasks")) else name


def _score_row(r: Mapping[str, Any]) -> dict[str, Any]:
    needed = r["items_for_one_point"]
    allowed = r["allowed_loss"] if is_number(r["allowed_loss"]) else None
    safe = {True: "loss within what is allowed", False: "a larger loss is not ruled out", None: ""}
    return {
        "task": clip(task_name(r), 80),
        "metric": metric_name(r["metric"]),
        "interval": interval(r),
        "verdict": r["verdict"] if is_number(r["difference"]) else "not run",
        "sample": size(r),
        "trained_on": is_true(r["trained_on"]),
        **{k: score(r[k]) for k in ("base", "tuned", "mde")},
        "difference": signed(r["difference"]),
        "p": p_value(r["p_holm"]),
        "needed": count(needed) if is_number(needed) else "not known" if is_number(r["mde"]) else "not run",
        "guard": safe[r["non_inferior"]] + (f" (allowed: {100 * allowed:g} points)" if allowed is not None else "")
        if r["non_inferior"] is not None
        else "",
        "speaks_of": clip(r["speaks_of"], 40) if is_number(r["n_seeds"]) and r["n_seeds"] > 1 else "",
    }
