"""Writes a report as files: one HTML page that needs no network, Markdown, scores as CSV, a model card, LaTeX.

The page also holds all of its numbers as JSON, for those who read it by program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from gisttools.common import NOT_RUN, anonymous, count, is_number, is_true, model_name, plural, score, signed
from gisttools.evaluation import Average, comparison_table, to_table
from gisttools.report import candidates, checks, figures, provenance, tables, verdict
from gisttools.report.curves import BLOCKS, thin
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip
from gisttools.report.hub_card import model_card
from gisttools.report.latex import escape
from gisttools.report.page import as_json, as_markdown, environment, script, style, write_files
from gisttools.report.parts import as_positives, parts
from gisttools.report.tables import NOISE_NAMES, Noise, means, noise
from gisttools.report.texts import all_texts, confusion_tables
from gisttools.report.verdict import interval, judged, main_rows, metric_name, task_name

_MAP_HOLDS = 0.3  # of the variance; a map of less puts texts side by side that are not alike
_FIRST_SCREEN = 7  # tasks in the forest plot at the top
_MOST_CLASS_FIGURES = 3


def pictures(data: ReportData) -> dict[str, Any]:
    """SVG by name. These strings are the only ones that a template does not escape."""
    found: dict[str, Any] = {"classes": [], "fates": {}, "labels": {}}
    scored = [row for row in main_rows(data) if row.scored and not row.second_look]
    if scored:
        found["first"] = _svg(lambda rows: figures.forest(rows, _FIRST_SCREEN), comparison_table(scored))
    if len(scored) > _FIRST_SCREEN:
        found["forest"] = _svg(figures.forest, comparison_table(scored))
    if data.items is not None:
        for task in list(dict.fromkeys(data.items["task"]))[:_MOST_CLASS_FIGURES]:
            found["classes"].append((task, _svg(figures.per_class, data.items[data.items["task"] == task])))
    told = confusion_tables(data)[:_MOST_CLASS_FIGURES]
    found["confusions"] = [(t, m, Markup(figures.to_svg(figures.answers(n, f"Answers on {t}")))) for t, m, n in told]
    for run in data.syntheses:
        if is_number(run.summary.get("asked")):
            found["fates"][run.id] = _svg(figures.accept_reject, run.summary)
        if run.summary.get("by_label"):
            found["labels"][run.id] = _svg(figures.label_counts, run.summary)
    found |= _pictures_of_training(data) | _of_embedding(data)
    return found


def _pictures_of_training(data: ReportData) -> dict[str, Markup]:
    history, found = data.history, {}
    if data.finetune is None or history is None:
        return {}
    if "loss" in history and history["loss"].notna().any():
        summary = data.finetune.summary
        looks = pd.DataFrame(summary.get("development") or [], columns=["step", "dev_score"])
        saved = int(summary["best_step"]) if is_number(summary.get("best_step")) else None
        found["loss"] = Markup(figures.to_svg(figures.loss_curve(history, looks, saved)))
    if any(c in history and history[c].notna().any() for c in BLOCKS):
        found["masked"] = _svg(figures.masked_shares, history)
    return found


def _of_embedding(data: ReportData) -> dict[str, Markup]:
    table = data.embedding
    if table is None or not {"x", "y", "label", "neighbour", "low", "high"} <= set(table):
        return {}
    kinds = set(table["kind"])
    told = [v for v in figures.number(table, "explained").values() if is_number(v)]
    shown = "point" in kinds and bool(told) and max(told) >= _MAP_HOLDS
    found = {"map": _svg(figures.embedding_maps, table)} if shown else {}
    if kinds >= {"same", "different"}:
        found["similarities"] = _svg(figures.similarities, table)
    return found


def _svg(draw: Callable[[Any], Figure], data: Any) -> Markup:
    return Markup(figures.to_svg(draw(data)))


_MOST = 1500  # rows of a table in the page; all of them stand in scores.csv
_TEXT = 400  # characters of a text


def numbers(data: ReportData) -> dict[str, Any]:
    """What the page shows, as JSON values: no NaN, texts cut, no places of this machine."""
    scores = data.scores
    if len(scores) > _MOST:
        scores = scores[scores["is_main"].map(is_true)].head(_MOST)
    changed = tables.changed(data)
    written = {"averages": _averages(data), "references": data.references, "failed": data.failed}
    written["other_variants"] = comparison_table(data.others) if data.others else None
    written["masked_examples"], written["candidates"] = data.masked, data.candidates
    embedding = data.embedding
    if embedding is not None:
        written["embedding"] = embedding[embedding["kind"] != "point"][["role", "kind", "low", "high", "value"]]
    content = {
        "run_id": data.evaluate.id,
        "verdict": verdict.verdict_word(data),
        "sentence": verdict.verdict_sentence(data),
        "advice": candidates.advice(data) or None,
        "next_action": asdict(verdict.action(data)),
        "trust": [asdict(check) for check in checks.trust(data)],
        "cost": [asdict(fact) for fact in checks.cost(data)],
        "comparison": _columns(comparison_table(data.comparison[:_MOST])),
        "scores": _columns(scores),
        "score_rows_in_all": len(data.scores),
        "noise": [asdict(n) for n in noise(data)],
        "items": {k: changed[k] for k in ("fixed", "broken", "same")} if changed else None,
        "queries": [{k: task[k] for k in ("task", "better", "worse", "same")} for task in tables.searched(data)],
        "slices": tables.slices(data),
        "confusions": tables.confusions(data),
        "history": None if data.history is None else _columns(thin(data.history)),
        **{name: None if table is None else _columns(table.head(_MOST)) for name, table in written.items()},
        "runs": [
            {"run_id": r.id, "verb": r.verb, "seconds": r.manifest.get("seconds"), "summary": r.summary}
            for r in data.runs
        ],
    }
    return _jsonable(content)


def _columns(table: pd.DataFrame) -> dict[str, list]:
    return {name: table[name].astype(object).tolist() for name in table.columns}


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {clip(k, _TEXT): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_jsonable(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    return None if value is None or value is pd.NA or value is pd.NaT else anonymous(clip(value, _TEXT))


def latex_table(data: ReportData) -> str:
    """A `table` environment: task, metric, base, tuned, difference with its interval; targets first, averages last."""
    targets = {(row.task, row.subset, row.metric) for row in judged(data)}
    rows = sorted(main_rows(data), key=lambda row: (row.task, row.subset, row.metric) not in targets)
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{llrrrl}",
        r"\hline",
        r"Task & Metric & Base & Tuned & Difference & 95\,\% interval \\",
        r"\hline",
    ]
    for row in rows:
        name = task_name(row) + ("†" if row.trained_on else "")
        numbers = (score(row.base), score(row.tuned), signed(row.difference), interval(row))
        lines.append(_line(name, metric_name(row.metric), *numbers))
    averages = means(data)
    if averages:
        lines.append(r"\hline")
    lines += [_line(m["name"], "", m["base"], m["tuned"], m["difference"], m["interval"]) for m in averages]
    base, tuned = (escape(model_name(data.evaluate.summary.get(role))) for role in ("base", "tuned"))
    dagger = r" $\dagger$: its train split was trained on." if any(row.trained_on for row in rows) else ""
    return "\n".join(
        [
            *lines,
            r"\hline",
            r"\end{tabular}",
            rf"\caption{{{tuned} against {base}; scores times 100.{dagger}}}",
            r"\end{table}",
            "",
        ]
    )


def _line(*cells: str) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


_LONGEST = 4000  # characters of one value in a page; a text that is meant to be read is cut far earlier


def write_report(data: ReportData, folder: str | Path, *, latex: bool = False) -> Path:
    """Write `report.html`, `report.md`, `scores.csv` and `model_card.md` into `folder`, which is made where missing.

    Args:
        data: from `gisttools.report.collect`.
        folder: of the files.
        latex: write `table.tex` as well.

    Returns:
        The path of `report.html`. The same data give the same bytes.
    """
    folder = Path(folder)
    content = {
        "report.html": render_html(data),
        "report.md": render_markdown(data),
        "scores.csv": score_table(data).to_csv(index=False, lineterminator="\n"),
        "model_card.md": model_card(data),
        **({"table.tex": latex_table(data)} if latex else {}),
    }
    write_files(folder, content)
    return folder / "report.html"


def render_html(data: ReportData) -> str:
    """The page: one self-contained HTML file, light and dark, for screens and paper."""
    code, digest = script("sort.js.j2", "texts.js.j2")
    page = (
        environment(autoescape=True, finalize=_cut)
        .get_template("report.html.j2")
        .render(
            **_view(data),
            figures=pictures(data),
            style=style("style.css.j2", "report.css.j2"),
            script=code,
            script_hash=digest,
            numbers=as_json(numbers(data)),
        )
    )
    return page.lstrip() + "\n"


def render_markdown(data: ReportData) -> str:
    """The same content without pictures; every text from the data is escaped."""
    told = {"code": lambda lines: Markup("\n".join(lines))}  # in a block of code nothing is escaped
    text = environment(finalize=_markdown).get_template("report.md.j2").render(**_view(data), **told)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def score_table(data: ReportData) -> pd.DataFrame:
    """Comparison rows, then all scores, in one table; the column `table` says which is which."""
    compared = comparison_table([*data.comparison, *data.others]).assign(is_main=True)
    parts = {"comparison": compared, "scores": data.scores, "averages": _averages(data), "references": data.references}
    whole = pd.concat([part.assign(table=name) for name, part in parts.items() if part is not None])
    return whole[["table", *(c for c in whole.columns if c != "table")]]


def _averages(data: ReportData) -> pd.DataFrame | None:
    return to_table(Average, data.averages) if data.averages else None


def _view(data: ReportData) -> dict[str, Any]:
    """Everything that a template says."""
    rows, trust = verdict.judged(data), checks.trust(data)
    groups, apart = tables.slices(data), noise(data)[: tables.ROWS]
    told = [(k, name) for k, name in NOISE_NAMES.items() if any(k in n.shares for n in apart)]
    return {
        "run_id": data.evaluate.id,
        "date": str(data.evaluate.manifest.get("started") or "")[:10],
        **{role: clip(verdict.compared_name(data, role), 120) for role in ("base", "tuned")},
        "named_targets": any(row.is_target for row in rows),
        "word": verdict.verdict_word(data),
        "shown": verdict.shown(data),
        "trained": verdict.trained(data),
        "parts": parts(data),
        "said": partial(_said, trained=verdict.trained(data)),
        "advised": candidates.view(data),
        "use": candidates.use(data),
        "texts": all_texts(data),
        "smoke": data.evaluate.smoke,
        "mask_quality": provenance.mask_quality(data.finetune),
        "changed_by": candidates.changed(data),
        "weakest": candidates.weakest(data),
        "classes_of": candidates.classes(data),
        "sentence": verdict.verdict_sentence(data),
        "guard_note": verdict.guard_note(data),
        "targets": verdict.targets(data),
        "more_targets": max(len(rows) - verdict.SHOWN, 0),
        "dagger": bool(checks.trained_on(verdict.main_rows(data))),
        "trust": trust,
        "leakage": trust[0],
        "cost": checks.cost(data),
        "action": verdict.action(data),
        "groups": tables.score_groups(data),
        "means": tables.means(data),
        "references": tables.references(data),
        "variants": tables.variants(data),
        "paper": tables.paper(data),
        "failures": tables.failures(data),
        "metrics": tables.all_metrics(data),
        "metrics_total": len(data.scores),
        "noise": [_noise_row(n, told) for n in apart],
        "noise_names": told,
        "several_seeds": any((row.n_seeds or 1) > 1 for row in rows),
        "changed": tables.changed(data),
        "searched": tables.searched(data),
        "slices": [{**g, "rows": [tables.slice_row(r) for r in g["rows"]]} for g in groups],
        "slice_count": sum(len(g["rows"]) for g in groups),
        "confusions": tables.confusions(data),
        **_of_training(data),
        "explained": _explained(data),
        "before_and_after": provenance.before_and_after(data),
        "limits": checks.limits(data),
        "runs": provenance.reproduction(data),
        "versions": sorted((data.evaluate.manifest.get("versions") or {}).items()),
        "not_run": NOT_RUN,
        "count": count,
        "plural": plural,
    }


def _of_training(data: ReportData) -> dict[str, Any]:
    return {
        "finetune": data.finetune,
        "earlier": data.tuned_before,
        "training": provenance.training(data.finetune),
        "developed": bool(data.finetune and data.finetune.summary.get("development")),
        "labelled_texts": data.finetune is not None and as_positives(data.finetune.summary),
        "positives": provenance.positives(data.finetune),
        "masked": provenance.masked(data.finetune),
        "masked_examples": provenance.masked_examples(data),
        "synthetic": provenance.synthetic(data),
        "converts": data.converts,
        "converted": provenance.converted(data),
        "mined": provenance.mined(data),
        "shared": provenance.shared(data),
        "left_out": provenance.left_out(data),
    }


def _said(word: object, *, trained: bool) -> object:
    """The verdict on one task; where no training is known, one model is better than another."""
    return word if trained else {"helped": "better", "hurt": "worse"}.get(str(word), word)


def _noise_row(n: Noise, told: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "task": clip(n.task, 80),
        "error": f"{100 * n.error:.2f}",
        "parts": [(name, k, n.shares.get(k, 0.0)) for k, name in told],
        "shares": [f"{100 * n.shares[k]:.0f} %" if k in n.shares else NOT_RUN for k, _ in told],
    }


def _explained(data: ReportData) -> str:
    if data.embedding is None:
        return ""
    known = figures.number(data.embedding, "explained")
    return ", ".join(f"{role} {score(v)} %" for role, v in known.items() if is_number(v))


def _cut(value: object) -> object:
    """A very long value would only make the page slow; what the template itself wrote is left alone."""
    return clip(value, _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def _markdown(value: object) -> object:
    """A value as Markdown; what the template itself wrote is left alone."""
    return value if isinstance(value, Markup) else as_markdown(value, _LONGEST)
