"""All numbers of a report as JSON, for those who read the page by program."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from gisttools.common import is_true
from gisttools.report import changes, facts, words
from gisttools.report.curves import thin
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip
from gisttools.report.noise import noise

_MOST = 1500  # rows of a table in the page; all of them stand in scores.csv
_TEXT = 400  # characters of a text


def numbers(data: ReportData) -> dict[str, Any]:
    """What the page shows, as JSON values: no NaN, texts cut."""
    scores = data.scores
    if len(scores) > _MOST:
        scores = scores[scores["is_main"].map(is_true)].head(_MOST)
    changed = changes.changed(data)
    written = {"averages": data.averages, "references": data.references, "failed": data.failed}
    written["other_variants"] = data.others
    written["masked_examples"] = data.masked
    embedding = data.embedding
    if embedding is not None:
        written["embedding"] = embedding[embedding["kind"] != "point"][["role", "kind", "low", "high", "value"]]
    content = {
        "run_id": data.evaluate.id,
        "verdict": words.verdict_word(data),
        "sentence": words.verdict_sentence(data),
        "next_action": asdict(words.action(data)),
        "trust": [asdict(check) for check in facts.trust(data)],
        "cost": [asdict(fact) for fact in facts.cost(data)],
        "comparison": _columns(data.comparison.head(_MOST)),
        "scores": _columns(scores),
        "score_rows_in_all": len(data.scores),
        "noise": [asdict(n) for n in noise(data)],
        "items": {k: changed[k] for k in ("fixed", "broken", "same")} if changed else None,
        "slices": changes.slices(data),
        "confusions": changes.confusions(data),
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
    return None if value is None or value is pd.NA or value is pd.NaT else clip(value, _TEXT)
