"""How a report becomes files: one HTML page that needs no network, Markdown, scores as CSV, a model card, LaTeX."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from gisttools.common import NOT_RUN, count, is_number, is_true, plural, score
from gisttools.report import changes, facts, limits, maps, sources, steps, tables, words
from gisttools.report.data import ReportData
from gisttools.report.drawing import clean, clip
from gisttools.report.latex import latex_table
from gisttools.report.model_card import model_card
from gisttools.report.noise import SOURCES, Noise, noise
from gisttools.report.numbers import numbers
from gisttools.report.page import as_json, environment, script, style
from gisttools.report.pictures import pictures

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
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "report.html": render_html(data),
        "report.md": render_markdown(data),
        "scores.csv": score_table(data).to_csv(index=False, lineterminator="\n"),
        "model_card.md": model_card(data, _markdown),
        **({"table.tex": latex_table(data)} if latex else {}),
    }
    for name, text in content.items():
        (folder / f"{name}.partial").write_bytes(text.encode("utf-8", "replace"))
    for name in content:
        (folder / f"{name}.partial").replace(folder / name)
    return folder / "report.html"


def render_html(data: ReportData) -> str:
    """The page: one self-contained HTML file, light and dark, for screens and paper."""
    code, digest = script("sort.js.j2")
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
    text = environment(finalize=_markdown).get_template("report.md.j2").render(**_view(data))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def score_table(data: ReportData) -> pd.DataFrame:
    """Comparison rows, then all scores, in one table; the column `table` says which is which."""
    compared = data.comparison if data.others is None else pd.concat([data.comparison, data.others])
    parts = {"comparison": compared, "scores": data.scores, "averages": data.averages}
    parts["references"] = data.references
    whole = pd.concat([part.assign(table=name) for name, part in parts.items() if part is not None])
    return whole[["table", *(c for c in whole.columns if c != "table")]]


def _view(data: ReportData) -> dict[str, Any]:
    """Everything that a template says."""
    rows, trust = words.judged(data), facts.trust(data)
    groups, apart = changes.slices(data), noise(data)[: tables.ROWS]
    told = [(k, name) for k, name in SOURCES.items() if any(k in n.shares for n in apart)]
    return {
        "run_id": data.evaluate.id,
        "date": str(data.evaluate.manifest.get("started") or "")[:10],
        **{role: clip(words.compared_name(data, role), 120) for role in ("base", "tuned")},
        "named_targets": bool(rows["is_target"].map(is_true).any()),
        "word": words.verdict_word(data),
        "sentence": words.verdict_sentence(data),
        "guard_note": words.guard_note(data),
        "targets": words.targets(data),
        "more_targets": max(len(rows) - words.SHOWN, 0),
        "dagger": bool(facts.trained_on(words.main_rows(data))),
        "trust": trust,
        "leakage": trust[0],
        "cost": facts.cost(data),
        "action": words.action(data),
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
        "several_seeds": bool((rows["n_seeds"].fillna(0) > 1).any()),
        "changed": changes.changed(data),
        "slices": [{**g, "rows": [changes.slice_row(r) for r in g["rows"]]} for g in groups],
        "slice_count": sum(len(g["rows"]) for g in groups),
        "confusions": changes.confusions(data),
        **_of_training(data),
        "explained": _explained(data),
        "before_and_after": steps.before_and_after(data),
        "limits": limits.limits(data),
        "runs": steps.reproduction(data),
        "versions": sorted((data.evaluate.manifest.get("versions") or {}).items()),
        "not_run": NOT_RUN,
        "count": count,
        "plural": plural,
    }


def _of_training(data: ReportData) -> dict[str, Any]:
    return {
        "finetune": data.finetune,
        "earlier": data.finetunes[1:],
        "training": steps.training(data.finetune),
        "developed": bool(data.finetune and data.finetune.summary.get("development")),
        "masked": steps.masked(data.finetune),
        "masked_examples": steps.masked_examples(data),
        "synthetic": sources.synthetic(data),
        "converts": data.converts,
        "converted": sources.converted(data),
        "mined": sources.mined(data),
        "shared": sources.shared(data),
        "left_out": sources.left_out(data),
    }


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
    known = maps.number(data.embedding, "explained")
    return ", ".join(f"{role} {score(v)} %" for role, v in known.items() if is_number(v))


def _cut(value: object) -> object:
    """A very long value would only make the page slow; what the template itself wrote is left alone."""
    return clip(value, _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def _markdown(value: object) -> object:
    """Text that Markdown, and HTML within it, reads as mere text on one line."""
    if isinstance(value, Markup):
        return value
    text = " ".join(clean(value)[:_LONGEST].split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text)
