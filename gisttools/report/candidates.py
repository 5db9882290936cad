"""Says which model to use, and shows every candidate with its scores, its size, its speed and its price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gisttools.common import anonymous, count, dollars, is_number, is_true, plural, score, signed
from gisttools.evaluation import CandidateScore, measured_lines, python_lines, read_rows, shell_lines
from gisttools.report.data import ReportData

_CLASSES_OF = 3  # candidates whose classes are shown
_FEW, _APART, _NAMED = 5, 0.1, 2  # test texts that a class needs, recall below the mean, classes that are named
_NOT_MEASURED = (
    "Which model to use was not measured: this evaluation is of an earlier version, or left the candidates out"
    " (candidates = false). Evaluate again to have the guide, TF-IDF and others beside it."
)


def advice(data: ReportData) -> Mapping[str, Any]:
    """What the evaluation advises, as its summary has it; empty where it says nothing."""
    found = data.evaluate.summary.get("advice")
    return found if isinstance(found, Mapping) else {}


def view(data: ReportData) -> dict[str, Any]:
    """What the first screen says of candidates: `head`, `why`, `trades`, `each` (of several targets), `tables`,
    `notes`; `missing` says why there are none, else it is empty."""
    told = advice(data)
    targets = [t for t in told.get("targets") or [] if isinstance(t, Mapping)]
    overall = told.get("overall")
    tables = [] if data.candidates is None else _tables(data.candidates)
    empty = {"head": "", "why": "", "trades": [], "each": [], "tables": tables, "notes": [], "missing": "", "seeds": ""}
    notes = [anonymous(str(note)) for note in told.get("notes") or []]
    if not told:
        return {**empty, "missing": _NOT_MEASURED}
    if not targets:
        return {**empty, "missing": "No target has candidates that can be compared.", "notes": notes}
    one = overall if isinstance(overall, Mapping) else targets[0] if len(targets) == 1 else None
    return {
        **empty,
        "head": str(one["head"]) if one else str(told.get("line")),
        "why": str(one["why"]) if one else "",
        "trades": _trades(one or {}),
        "each": [_target(t) for t in targets] if len(targets) > 1 else [],
        "seeds": _seeds(data, targets),
        "notes": notes,
    }


def _trades(target: Mapping[str, Any]) -> list[str]:
    """What other candidates give for what, as far as the reason does not say it already."""
    told = [f"{trade['name']}: {trade['told']}" for trade in target.get("trades") or []]
    return [line for line in told if line not in str(target.get("why"))]


def use(data: ReportData) -> list[dict[str, Any]]:
    """The models that the evaluation left, two where it is not decided, and the lines that use them."""
    found = []
    for model in advice(data).get("models") or []:
        folder = f"results/{data.evaluate.id}/{model['folder']}"
        told = {**model, "text_column": data.evaluate.parameters.get("text_column")}
        found.append(
            {
                "name": model["name"],
                "told": measured_lines(told),
                "shell": shell_lines(folder, told),
                "python": python_lines(folder, told),
            }
        )
    return found


def changed(data: ReportData) -> list[str]:
    """What training changed by the score that the advice stands on, next to the same student with a linear head."""
    targets = [t for t in advice(data).get("targets") or [] if isinstance(t, Mapping)]
    return [_pair(t, pair, several=len(targets) > 1) for t in targets for pair in t.get("changed") or []]


def _pair(target: Mapping[str, Any], pair: Mapping[str, Any], *, several: bool) -> str:
    one, tuned = pair["from"], pair["to"]
    where = f"{_name(target['task'], target['subset'])}, " if several else ""
    span = f"{signed(pair['low'])} to {signed(pair['high'])}" if is_number(pair["low"]) else "no interval"
    gap = f"{signed(pair['difference'])} points, {span}"
    if one["kind"] == "base":
        by = "a classifier fitted on all your labels" if "accuracy" in str(target["metric"]) else "this score"
        return f"{where}{tuned['name']}: by {by} from {score(one['score'])} to {score(tuned['score'])} ({gap})."
    return f"{where}{tuned['name']} has {score(tuned['score'])}, {one['name']} {score(one['score'])} ({gap})."


def weakest(data: ReportData) -> str:
    """The classes that the advised model finds least often, in a sentence; empty where none stands out."""
    targets = [t for t in advice(data).get("targets") or [] if isinstance(t, Mapping)]
    if data.classes is None or len(targets) != 1:
        return ""
    table = data.classes
    own = table[(table["candidate"] == targets[0].get("best")) & (table["support"] >= _FEW)]
    own = own[own["seed"] == own["seed"].min()].sort_values("recall", kind="stable")
    low = own[own["recall"] < own["recall"].mean() - _APART][:_NAMED]
    if low.empty:
        return ""
    each = " and ".join(f"{row.label} ({score(row.recall)} % of its texts)" for row in low.itertuples())
    return f"{targets[0].get('best')} finds {each} least often: texts of these are what to label next."


def _target(target: Mapping[str, Any]) -> dict[str, str]:
    return {"task": _name(target["task"], target["subset"]), "head": str(target["head"]), "why": str(target["why"])}


def _name(task: object, subset: object) -> str:
    return str(task) if subset in ("", "default", None) else f"{task} ({subset})"


def few_shot(data: ReportData, task: str, subset: str) -> str:
    """What mteb's score of labelled texts is a score of; empty where that is not known, or another kind of task."""
    if data.candidates is None or "samples_per_label" not in data.candidates:
        return ""
    table = data.candidates[(data.candidates["task"] == task) & (data.candidates["subset"] == subset)]
    known = table["samples_per_label"].dropna()
    return f"classifier fitted on {plural(int(known.iloc[0]), 'text')} a class" if len(known) else ""


def _seeds(data: ReportData, targets: list[Mapping[str, Any]]) -> str:
    """What a single training does not say, where the advice names a model that was trained."""
    if data.candidates is None:
        return ""
    named = {t.get(key) for t in targets for key in ("best", "other")}
    rows = [row for row in read_rows(CandidateScore, data.candidates) if row.name in named]
    trained = [row for row in rows if row.kind in ("tuned", "head") and row.seeds == 1]
    if not trained:
        return ""
    names = " and ".join(dict.fromkeys(row.name for row in trained))
    return f"{names}: of one training seed. This speaks of that model, not of the way it was trained."


def _tables(table: pd.DataFrame) -> list[dict[str, Any]]:
    found = []
    for (task, subset), part in table.groupby(["task", "subset"], sort=False):
        rows = sorted(read_rows(CandidateScore, part), key=lambda row: -row.score)
        first = next((row for row in rows if row.samples_per_label), rows[0])
        labelled = any(row.n_train for row in rows)
        found.append(
            {
                "task": _name(task, subset),
                "labelled": labelled,
                "metric": first.metric.replace("_", " "),
                "few": f"Classifier fitted on {plural(first.samples_per_label, 'text')} a class"
                if first.samples_per_label
                else "",
                "all": f"Classifier fitted on all your labels ({count(rows[0].n_train)})" if labelled else "Score",
                "test": plural(rows[0].n_test, "test text" if labelled else "query"),
                "classes": plural(first.n_classes, "class") if labelled else "",
                "seeds": any(row.seeds > 1 for row in rows),
                "rows": [_row(row) for row in rows],
            }
        )
    return found


def _row(row: CandidateScore) -> dict[str, Any]:
    span = f"{signed(row.low)} to {signed(row.high)}" if is_number(row.low) else ""
    sure = row.score_interval
    return {
        "name": row.name,
        "kind": row.kind,
        "what": row.what,
        "score": score(row.score),
        "sure": f"{score(sure[0])} to {score(sure[1])}" if sure else "",
        "best": row.best,
        "difference": "" if row.best else signed(row.difference),
        "interval": span,
        "macro_f1": score(row.macro_f1) if is_number(row.macro_f1) else "",
        "few_shot": score(row.few_shot) if is_number(row.few_shot) else "–",
        "trained": _trained_on(row),
        "speed": _speed(row.texts_per_s),
        "megabytes": _size(row.megabytes),
        "dollars": dollars(row.dollars),
        "seeds": row.seeds,
    }


def _trained_on(row: CandidateScore) -> str:
    """What the encoder has seen: a few-shot score of one that saw all labels is no score of few labels."""
    if row.kind in ("floor", "classic"):
        return "no encoder"
    if row.encoder_labels is None:
        return "encoder: training not known"
    return f"encoder trained on {plural(row.encoder_labels, 'label')}" if row.encoder_labels else "encoder as it came"


def _speed(value: float | None) -> str:
    if not is_number(value):
        return "–"
    digits = 10 ** max(len(str(int(value))) - 2, 0)  # two digits count: more is noise
    return f"{round(value / digits) * digits:,.0f}" if value >= 1 else f"{value:.2g}"


def _size(value: float | None) -> str:
    if not is_number(value):
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def classes(data: ReportData) -> list[dict[str, Any]]:
    """Precision, recall and F1 by class of the candidates that matter: the best, the one it is held against, and what
    was trained; the first seed of each."""
    if data.classes is None or data.candidates is None:
        return []
    found = []
    for (task, subset), rows in data.candidates.groupby(["task", "subset"], sort=False):
        part = data.classes[(data.classes["task"] == task) & (data.classes["subset"] == subset)]
        part = part[part["seed"] == part["seed"].min()]
        named = [str(n) for n, best in zip(rows["name"], rows["best"], strict=True) if is_true(best)]
        named += [str(n) for n, kind in zip(rows["name"], rows["kind"], strict=True) if kind in ("tuned", "head")]
        names = [name for name in dict.fromkeys(named) if (part["candidate"] == name).any()][:_CLASSES_OF]
        if names:
            found.append({"task": _name(task, subset), "names": names, "rows": _class_rows(part, names)})
    return found


def _class_rows(part: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    by_label: dict[str, dict[str, Any]] = {}
    for row in part[part["candidate"].isin(names)].to_dict("records"):
        of = by_label.setdefault(str(row["label"]), {"label": str(row["label"]), "support": count(row["support"])})
        of[str(row["candidate"])] = [score(row[c]) for c in ("precision", "recall", "f1")]
    none = ["–"] * 3
    return [{**of, "cells": [of.get(name, none) for name in names]} for of in by_label.values()]
