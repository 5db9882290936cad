"""How a report becomes files: one HTML page that needs no network, the same in Markdown, and the scores as CSV."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from gisttools.report import facts, figures, tables, words
from gisttools.report.curves import BLOCKS
from gisttools.report.data import ReportData
from gisttools.report.drawing import clean
from gisttools.report.formats import NOT_RUN, count, is_number, is_true, model_name, plural
from gisttools.report.page import as_json, environment, script, style

_MOST_EMBEDDED = 1500  # score rows in the page; all of them stand in scores.csv
_MOST_CLASS_FIGURES = 3


def write_report(data: ReportData, folder: str | Path) -> Path:
    """Write `report.html`, `report.md` and `scores.csv` into `folder`, which is made where it is missing.

    Returns:
        The path of `report.html`. The same data give the same bytes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "report.html": render_html(data),
        "report.md": render_markdown(data),
        "scores.csv": score_table(data).to_csv(index=False, lineterminator="\n"),
    }
    for name, text in content.items():
        (folder / f"{name}.partial").write_bytes(text.encode("utf-8"))
    for name in content:
        (folder / f"{name}.partial").replace(folder / name)
    return folder / "report.html"


def render_html(data: ReportData) -> str:
    """The page: one self-contained HTML file, light and dark, for screens and paper."""
    code, digest = script("sort.js.j2")
    page = (
        environment(autoescape=True)
        .get_template("report.html.j2")
        .render(
            **_view(data),
            figures=_figures(data),
            style=style("style.css.j2"),
            script=code,
            script_hash=digest,
            numbers=as_json(_jsonable(_numbers(data))),
        )
    )
    return page.lstrip() + "\n"


def render_markdown(data: ReportData) -> str:
    """The same content in short, without pictures; every text from the data is escaped."""
    text = environment(finalize=_markdown).get_template("report.md.j2").render(**_view(data))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def score_table(data: ReportData) -> pd.DataFrame:
    """Comparison rows, then all scores, in one table; the column `table` says which is which."""
    return pd.concat([data.comparison.assign(table="comparison"), data.scores.assign(table="scores")]).pipe(
        lambda t: t[["table", *(c for c in t.columns if c != "table")]]
    )


def _view(data: ReportData) -> dict[str, Any]:
    summary, rows = data.evaluate.summary, words.judged(data)
    return {
        "run_id": data.evaluate.id,
        "date": str(data.evaluate.manifest.get("started") or "")[:10],
        "base": model_name(summary.get("base")),
        "tuned": model_name(summary.get("tuned")),
        "targets": list(dict.fromkeys(str(t) for t in rows["task"])),
        "named_targets": bool(rows["is_target"].map(is_true).any()),
        "word": words.verdict_word(rows["verdict"][rows["difference"].map(is_number)]),
        "sentences": words.verdict_sentences(data),
        "trust": facts.trust(data),
        "cost": facts.cost(data),
        "groups": tables.score_groups(data),
        "means": tables.means(data),
        "metrics": tables.all_metrics(data),
        "metrics_total": len(data.scores),
        "changed": tables.changed(data),
        "synthetic": tables.synthetic(data),
        "converted": tables.converted(data),
        "converts": data.converts,
        "shared": tables.shared(data),
        "finetune": data.finetune,
        "earlier": data.finetunes[1:],
        "training": tables.training(data.finetune),
        "masked": tables.masked(data.finetune),
        "limits": words.limits(data),
        "runs": tables.reproduction(data),
        "versions": sorted((data.evaluate.manifest.get("versions") or {}).items()),
        "not_run": NOT_RUN,
        "count": count,
        "plural": plural,
    }


def _figures(data: ReportData) -> dict[str, Any]:
    """SVG by name; a figure without data is left out. These strings are the only ones a template does not escape."""
    comparison = words.main_rows(data)
    found: dict[str, Any] = {"classes": [], "fates": {}, "labels": {}}
    if comparison["difference"].map(is_number).any():
        found["forest"] = _svg(figures.forest, comparison)
    if data.items is not None:
        for task in list(dict.fromkeys(data.items["task"]))[:_MOST_CLASS_FIGURES]:
            found["classes"].append((task, _svg(figures.per_class, data.items[data.items["task"] == task])))
    for run in data.syntheses:
        if is_number(run.summary.get("asked")):
            found["fates"][run.id] = _svg(figures.accept_reject, run.summary)
        if run.summary.get("by_label"):
            found["labels"][run.id] = _svg(figures.label_counts, run.summary)
    history = data.history
    if history is not None and "loss" in history and history["loss"].notna().any():
        looks = pd.DataFrame(data.finetune.summary.get("development") or [], columns=["step", "dev_score"])
        found["loss"] = Markup(figures.to_svg(figures.loss_curve(history, looks)))
    if history is not None and any(c in history and history[c].notna().any() for c in BLOCKS):
        found["masked"] = _svg(figures.masked_shares, history)
    return found


def _svg(draw: Callable[[Any], Figure], data: Any) -> Markup:
    return Markup(figures.to_svg(draw(data)))


def _numbers(data: ReportData) -> dict[str, Any]:
    scores = data.scores
    if len(scores) > _MOST_EMBEDDED:
        scores = scores[scores["is_main"].map(is_true)].head(_MOST_EMBEDDED)
    return {
        "run_id": data.evaluate.id,
        "comparison": _columns(data.comparison.head(_MOST_EMBEDDED)),
        "scores": _columns(scores),
        "score_rows_in_all": len(data.scores),
        "runs": [
            {"run_id": r.id, "verb": r.verb, "seconds": r.manifest.get("seconds"), "summary": r.summary}
            for r in data.runs
        ],
    }


def _columns(table: pd.DataFrame) -> dict[str, list]:
    return {name: table[name].astype(object).tolist() for name in table.columns}


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_jsonable(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    return None if value is None or value is pd.NA or value is pd.NaT else str(value)


def _markdown(value: object) -> object:
    """Text that Markdown, and HTML within it, reads as mere text on one line."""
    if isinstance(value, Markup):
        return value
    text = " ".join(clean(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text)
