"""The tuned model's card with its scores: the hub's `model-index`, as mteb writes it, and the comparison as a table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from gisttools.common import is_number, is_true, model_name, score, signed
from gisttools.report.data import ReportData
from gisttools.report.words import interval, main_rows, metric_name, records, task_name

_HEADING = "## Evaluation"


def model_card(data: ReportData, escape: Callable[[object], object]) -> str:
    """The card that training wrote, or a short one where there is none, with the scores of this evaluation.

    Args:
        data: of the report.
        escape: makes Markdown read a text as text.
    """
    written = data.finetune.text("model/README.md") if data.finetune else None
    name = model_name(data.evaluate.summary.get("tuned"))
    if written:
        card = ModelCard(written, ignore_metadata_errors=True)
        facts, text = card.data, card.text.strip()
    else:
        facts = ModelCardData(library_name="sentence-transformers", pipeline_tag="sentence-similarity")
        text = f"# {escape(name)}"
    facts.model_name, facts.eval_results = name, _results(data)
    if facts.eval_results and "mteb" not in (facts.tags or []):
        facts.tags = [*(facts.tags or []), "mteb"]
    return f"---\n{facts.to_yaml()}\n---\n{_with_scores(text, _table(data, escape))}\n"


def _results(data: ReportData) -> list[EvalResult]:
    """Every main score of the tuned model; a `dataset` column of the scores names the data set, else the task does."""
    table = data.scores[(data.scores["role"] == "tuned") & data.scores["is_main"].map(is_true)]
    return [
        EvalResult(
            task_type=str(r["task_type"]) or "Unknown",
            dataset_type=_told(r.get("dataset")) or str(r["task"]),
            dataset_name=f"MTEB {r['task']}" if _told(r.get("dataset")) else str(r["task"]),
            dataset_config=_told(r["subset"]),
            dataset_split=_told(r["split"]),
            dataset_revision=_told(r["revision"]),
            metric_type=str(r["metric"]),
            metric_name=str(r["metric"]),
            metric_value=round(100 * float(r["score"]), 4),
        )
        for r in table.to_dict("records")
        if is_number(r["score"])
    ]


def _table(data: ReportData, escape: Callable[[object], object]) -> str:
    base = escape(model_name(data.evaluate.summary.get("base")))
    lines = [
        _HEADING,
        "",
        f"Beside {base}, scores times 100 (`{data.evaluate.id}`):",
        "",
        "| task | metric | base | this model | difference | 95 % interval | verdict |",
        "| :--- | :--- | ---: | ---: | ---: | :--- | :--- |",
    ]
    lines += [
        f"| {escape(task_name(r))}{' †' if is_true(r['trained_on']) else ''} | {escape(metric_name(r['metric']))}"
        f" | {score(r['base'])} | {score(r['tuned'])} | {signed(r['difference'])} | {interval(r)} | {r['verdict']} |"
        for r in records(main_rows(data))
    ]
    if any(is_true(value) for value in data.comparison["trained_on"]):
        lines += ["", "† its train split was trained on."]
    return "\n".join(lines)


def _with_scores(text: str, table: str) -> str:
    """The table before the licence, or at the end; it takes the place of a section of its name."""
    text = re.sub(rf"^{_HEADING}\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL).rstrip()
    head, found, tail = text.partition("\n## Licence")
    return f"{head.rstrip()}\n\n{table}\n{found}{tail}".rstrip()


def _told(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
