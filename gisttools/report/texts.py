"""Lays out every test text with every model's answer, for a table with search and filters; and what is confused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gisttools.common import count, is_true
from gisttools.report.browse import sample
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip
from gisttools.report.page import as_json

_PAGE = 50  # rows at a time
_MOST = 3000  # rows in the page
_TEXT, _NAME = 1000, 80  # characters of a text, of a label or model
_ALL = "Each answer is that of a classifier fitted on all train labels."
_DRAWS = "Each answer is what most few-shot draws said."


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """`table`: one row a text and model, of one seed: task, subset, item, text, gold, model, answer, sure. `models`:
    the best first; `base`: the one before training; `told`: what an answer is; `sure`: what the number behind it is."""

    table: pd.DataFrame
    models: list[str]
    base: str | None
    tuned: str | None
    told: str
    sure: str


def all_texts(data: ReportData) -> dict[str, Any] | None:
    """What the page needs for its table of test texts; None where no answers to single texts were kept."""
    found = _of_candidates(data) or _of_draws(data)
    if found is None:
        return None
    rows = _by_text(found)
    chosen = sample([row["label"] for row in rows], _MOST)
    labels = sorted({row["label"] for row in rows} | set(found.table["answer"].dropna()), key=str)
    place = {label: i for i, label in enumerate(labels)}
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    written = [
        {
            "task": tasks.index(rows[i]["task"]),
            "text": clip(rows[i]["text"], _TEXT),
            "gold": place[rows[i]["label"]],
            "answers": [_answer(rows[i]["answers"].get(model), place) for model in found.models],
        }
        for i in chosen
    ]
    base = found.models.index(found.base) if found.base in found.models else -1
    first = found.models.index(found.tuned) if found.tuned in found.models else 0
    names = [clip(label, _NAME) for label in labels]
    told = {"page": _PAGE, "base": base, "sure": found.sure, "labels": names, "rows": written}
    golds = dict.fromkeys(row["label"] for row in rows)
    return {
        "told": found.told,
        "count": count(len(rows)),
        "sampled": f"{count(len(chosen))} of {count(len(rows))}" if len(chosen) < len(rows) else "",
        "models": [clip(name, _NAME) for name in found.models],
        "before": clip(found.base, _NAME) if base >= 0 and len(found.models) > 1 else "",
        "chosen": first,
        "classes": [(place[label], names[place[label]]) for label in sorted(golds, key=str)],
        "tasks": [clip(name, _NAME) for name in tasks],
        "rows": as_json(told),
    }


def confusion_tables(data: ReportData) -> list[tuple[str, str, dict[str, dict[str, int]]]]:
    """For each task (task, model, {true label: {answer: texts}}): of the tuned model, where there is one, else of the
    best."""
    found = _of_candidates(data) or _of_draws(data)
    if found is None:
        return []
    model = found.tuned or found.models[0]
    mine = found.table[(found.table["model"] == model) & found.table["answer"].notna()]
    tables = []
    for (task, subset), part in mine.groupby(["task", "subset"], sort=False):
        counts = Counter(zip(part["gold"].map(str), part["answer"].map(str), strict=True))
        table: dict[str, dict[str, int]] = {}
        for (gold, answer), n in sorted(counts.items()):
            table.setdefault(gold, {})[answer] = n
        tables.append((_task(task, subset), model, table))
    return tables


def _of_candidates(data: ReportData) -> _Answers | None:
    """Answers of the candidates, each fitted on all labels; of several seeds the first."""
    if data.answers is None or data.candidates is None:
        return None
    table = data.answers[data.answers["seed"] == data.answers.groupby("candidate")["seed"].transform("min")]
    table = table.rename(columns={"candidate": "model", "probability": "sure"})
    rows = data.candidates.sort_values("score", ascending=False, kind="stable")
    there = set(table["model"])
    kinds: dict[str, str] = {}
    for name, kind in zip(rows["name"], rows["kind"], strict=True):
        if name in there:
            kinds.setdefault(str(kind), str(name))  # the best of several variants
    models = [str(name) for name in dict.fromkeys(rows["name"]) if name in there]
    if not models:
        return None
    return _Answers(
        table=table, models=models, base=kinds.get("base"), tuned=kinds.get("tuned"), told=_ALL, sure="probability"
    )


def _of_draws(data: ReportData) -> _Answers | None:
    """Of an evaluation without candidates: what most draws answered, before and after."""
    if data.items is None or not {"base_answer", "tuned_answer"} <= set(data.items):
        return None
    items = data.items.assign(subset=data.items.get("subset", "default"))
    items = items.assign(item=items["item"] if "item" in items else range(len(items)))
    parts = [
        items.assign(model=name, answer=items[f"{role}_answer"], sure=None)
        for role, name in (("tuned", "tuned model"), ("base", "base model"))
    ]
    table = pd.concat(parts)
    if table["answer"].isna().all():
        return None
    return _Answers(
        table=table, models=["tuned model", "base model"], base="base model", tuned="tuned model", told=_DRAWS, sure=""
    )


def _by_text(found: _Answers) -> list[dict[str, Any]]:
    """One entry a test text: task, text, label, and the answer of each model with how sure it was."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = ("task", "subset", "item", "text", "gold", "model", "answer", "sure")
    for task, subset, item, text, gold, model, answer, sure in zip(*(found.table[n] for n in names), strict=True):
        row = rows.setdefault(
            (task, subset, item), {"task": _task(task, subset), "text": text, "label": gold, "answers": {}}
        )
        row["answers"][model] = (answer, sure)
    return list(rows.values())


def _answer(told: Sequence[Any] | None, place: dict[Any, int]) -> list[float | None] | None:
    if told is None or told[0] not in place:
        return None
    answer, sure = told
    return [place[answer], round(float(sure), 3) if sure is not None and is_true(sure == sure) else None]


def _task(task: object, subset: object) -> str:
    return str(task) if subset in ("", "default", None) else f"{task} ({subset})"
