"""Writes the card of a model that was evaluated: its scores with intervals, and in the `model-index` of its head.

The head is that of the hub, the `model-index` as mteb writes it. The card of a training is kept and gets the scores;
that of a model that an evaluation left says which candidate it is and what the others scored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from gisttools.common import count, is_number, is_true, model_name, score, signed, split_card
from gisttools.data import is_hub_name
from gisttools.report.data import ReportData
from gisttools.report.page import as_markdown
from gisttools.report.verdict import interval, main_rows, metric_name, task_name

_HEADING = "## Evaluation"
_PLACE = "path or name of this model"  # in the card that training writes


def model_card(data: ReportData, escape: Callable[[object], object] = as_markdown, *, name: str | None = None) -> str:
    """The card that training wrote, or a short one where there is none, with the scores of this evaluation.

    Args:
        data: of the report.
        escape: makes Markdown read a text as text.
        name: what the model is called where the card goes; the name that it has here if None.
    """
    written = data.finetune.text("model/README.md") if data.finetune else None
    called = name or model_name(data.evaluate.summary.get("tuned"))
    if written:
        card = ModelCard(written, ignore_metadata_errors=True)
        facts, text = card.data, card.text.strip()
    else:
        facts = ModelCardData(library_name="sentence-transformers", pipeline_tag="sentence-similarity")
        text = f"# {escape(called)}"
    return _card(facts, _with_scores(text, _table(data, escape)), called, _results(data), name)


def used_model_card(
    data: ReportData, told: Mapping[str, Any], written: str, escape: Callable[[object], object] = as_markdown,
    *, name: str,
) -> str:  # fmt: skip
    """The card of a model that an evaluation left to be used.

    Args:
        data: of the evaluation.
        told: what its summary says of the model: `name`, `task`, `metric` or `accuracy`, `labels`, `texts`.
        written: the README that lies beside the model.
        escape: as of `model_card`.
        name: what the model is called where the card goes.
    """
    classifier = "labels" in told
    facts = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="text-classification" if classifier else "sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "gist"],
    )
    rows = _candidates(data, str(told.get("task")))
    own = [row for row in rows if row["name"] == told.get("name")]
    facts.base_model = _made_from(data, str(own[0]["kind"])) if own else None
    results = [
        _result(
            r, str(r["metric"]), r["score"], split="test", task_type="Classification" if classifier else "Retrieval"
        )
        for r in own
        if is_number(r["score"])
    ]
    text = written.strip()
    if rows:
        text = _with_scores(text, _candidate_table(rows, data, told, escape))
    return _card(facts, text, name, results, name)


def _made_from(data: ReportData, kind: str) -> str | None:
    """The model on the hub that a candidate of this kind was made from, as far as it is known."""
    if kind == "tuned":
        written = data.finetune.text("model/README.md") if data.finetune else None
        found = split_card(written or "")[0].get("base_model")
        return found if isinstance(found, str) else None
    base = str(data.evaluate.summary.get("base"))
    return base if kind in ("base", "head") and is_hub_name(base) else None


def with_name(card: str, name: str) -> str:
    """A card whose lines of code open the model by its name."""
    return card.replace(_PLACE, name)


def _card(facts: ModelCardData, text: str, called: str, results: Sequence[EvalResult], name: str | None) -> str:
    facts.model_name, facts.eval_results = called, list(results)
    if facts.eval_results and "mteb" not in (facts.tags or []):
        facts.tags = [*(facts.tags or []), "mteb"]
    card = f"---\n{facts.to_yaml()}\n---\n{text}\n"
    return with_name(card, name) if name else card


def _results(data: ReportData) -> list[EvalResult]:
    """Every main score of the tuned model; a `dataset` column of the scores names the data set, else the task does."""
    table = data.scores[(data.scores["role"] == "tuned") & data.scores["is_main"].map(is_true)]
    return [
        _result(r, str(r["metric"]), r["score"], split=_told(r["split"]), task_type=str(r["task_type"]) or "Unknown")
        for r in table.to_dict("records")
        if is_number(r["score"])
    ]


def _result(row: Mapping[str, Any], metric: str, value: float, *, split: str | None, task_type: str) -> EvalResult:
    return EvalResult(
        task_type=task_type,
        dataset_type=_told(row.get("dataset")) or str(row["task"]),
        dataset_name=f"MTEB {row['task']}" if _told(row.get("dataset")) else str(row["task"]),
        dataset_config=_told(row["subset"]),
        dataset_split=split,
        dataset_revision=_told(row.get("revision")),
        metric_type=metric,
        metric_name=metric,
        metric_value=round(100 * float(value), 4),
    )


def _table(data: ReportData, escape: Callable[[object], object]) -> str:
    base = escape(model_name(data.evaluate.summary.get("base")))
    lines = [
        _HEADING,
        "",
        f"Compared with {base}, scores times 100 (`{data.evaluate.id}`):",
        "",
        "| task | metric | base | this model | difference | 95 % interval | verdict |",
        "| :--- | :--- | ---: | ---: | ---: | :--- | :--- |",
    ]
    rows = main_rows(data)
    lines += [
        f"| {escape(task_name(row))}{' †' if row.trained_on else ''} | {escape(metric_name(row.metric))}"
        f" | {score(row.base)} | {score(row.tuned)} | {signed(row.difference)} | {interval(row)} | {row.verdict} |"
        for row in rows
    ]
    if any(row.trained_on for row in data.comparison):
        lines += ["", "† its train split was trained on."]
    if seeds := max((row.n_seeds or 1 for row in rows), default=1) - 1:
        lines += [
            "",
            f"Means of {count(seeds + 1)} trainings that differ in the seed; this model is the first of them.",
        ]
    return "\n".join(lines)


def _candidates(data: ReportData, task: str) -> list[dict[str, Any]]:
    """All ways to do a task that were scored, the best first."""
    table = data.candidates
    if table is None:
        return []
    table = table.assign(score=pd.to_numeric(table["score"], errors="coerce"))
    rows = table[table["task"] == task].sort_values("score", ascending=False, kind="stable")
    return [{"metric": "accuracy", **row} for row in rows.to_dict("records")]


def _candidate_table(
    rows: Sequence[Mapping[str, Any]], data: ReportData, told: Mapping[str, Any], escape: Callable[[object], object]
) -> str:
    lines = [
        _HEADING,
        "",
        f"Ways to do {escape(told.get('task'))} that were scored on the same test texts, scores times 100 "
        f"(`{data.evaluate.id}`). The difference is to the best; the intervals hold for all of them at once.",
        "",
        "| | metric | score | difference | 95 % interval |",
        "| :--- | :--- | ---: | ---: | :--- |",
    ]
    for row in rows:
        ends = (row.get("low"), row.get("high"))
        between = f"{signed(ends[0])} to {signed(ends[1])}" if all(map(is_number, ends)) else ""
        apart = signed(row["difference"]) if is_number(row.get("difference")) else ""
        own = row["name"] == told.get("name")
        name = f"**{escape(row['name'])}** (this model)" if own else escape(row["name"])
        lines.append(f"| {name} | {escape(metric_name(row['metric']))} | {score(row['score'])} | {apart} | {between} |")
    return "\n".join(lines)


def _with_scores(text: str, table: str) -> str:
    """The table before the licence, or at the end; it takes the place of a section of its name."""
    text = re.sub(rf"^{_HEADING}\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL).rstrip()
    head, found, tail = text.partition("\n## Licence")
    return f"{head.rstrip()}\n\n{table}\n{found}{tail}".rstrip()


def _told(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
