"""The figures of one report as SVG, by name; a figure without data is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from gisttools.common import is_number
from gisttools.report import figures
from gisttools.report.curves import BLOCKS
from gisttools.report.data import ReportData
from gisttools.report.words import main_rows

_FIRST_SCREEN = 7  # tasks in the forest plot at the top
_MOST_CLASS_FIGURES = 3


def pictures(data: ReportData) -> dict[str, Any]:
    """SVG by name. These strings are the only ones that a template does not escape."""
    found: dict[str, Any] = {"classes": [], "fates": {}, "labels": {}}
    comparison = main_rows(data)
    if comparison["difference"].map(is_number).any():
        found["first"] = _svg(lambda rows: figures.forest(rows, _FIRST_SCREEN), comparison)
        if comparison["difference"].map(is_number).sum() > _FIRST_SCREEN:
            found["forest"] = _svg(figures.forest, comparison)
    if data.items is not None:
        for task in list(dict.fromkeys(data.items["task"]))[:_MOST_CLASS_FIGURES]:
            found["classes"].append((task, _svg(figures.per_class, data.items[data.items["task"] == task])))
    for run in data.syntheses:
        if is_number(run.summary.get("asked")):
            found["fates"][run.id] = _svg(figures.accept_reject, run.summary)
        if run.summary.get("by_label"):
            found["labels"][run.id] = _svg(figures.label_counts, run.summary)
    found |= _of_training(data) | _of_embedding(data)
    return found


def _of_training(data: ReportData) -> dict[str, Markup]:
    history, found = data.history, {}
    if history is not None and "loss" in history and history["loss"].notna().any():
        summary = data.finetune.summary
        looks = pd.DataFrame(summary.get("development") or [], columns=["step", "dev_score"])
        saved = int(summary["best_step"]) if is_number(summary.get("best_step")) else None
        found["loss"] = Markup(figures.to_svg(figures.loss_curve(history, looks, saved)))
    if history is not None and any(c in history and history[c].notna().any() for c in BLOCKS):
        found["masked"] = _svg(figures.masked_shares, history)
    return found


def _of_embedding(data: ReportData) -> dict[str, Markup]:
    table = data.embedding
    if table is None or not {"x", "y", "label", "neighbour", "low", "high"} <= set(table):
        return {}
    kinds = set(table["kind"])
    found = {"map": _svg(figures.embedding_maps, table)} if "point" in kinds else {}
    if kinds >= {"same", "different"}:
        found["similarities"] = _svg(figures.similarities, table)
    return found


def _svg(draw: Callable[[Any], Figure], data: Any) -> Markup:
    return Markup(figures.to_svg(draw(data)))
