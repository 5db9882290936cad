"""The two strips under the verdict: what makes it believable or not, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gisttools.report.data import ReportData
from gisttools.report.formats import NOT_RUN, count, duration, is_number, is_true, unit
from gisttools.report.words import SMALL, judged


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of a strip: what it is about, what is so, and whether that weakens the result."""

    name: str
    value: str
    detail: str = ""
    warn: bool = False


def trust(data: ReportData) -> list[Fact]:
    """What makes the verdict believable, or not."""
    rows = judged(data)
    return [_overlap(rows), _trained_on(rows), _items(data, rows), _seeds(data)]


def _overlap(rows: pd.DataFrame) -> Fact:
    known = rows[rows["overlap"].map(is_number)]
    if len(known) == 0:
        return Fact(name="Train/test overlap", value="not checked", detail="no training table here", warn=True)
    shared, tests = int(known["overlap"].sum()), known["n_test"].map(lambda n: n if is_number(n) else 0).sum()
    detail = (
        f"of {count(tests)} test texts stand in the training table, or nearly"
        if tests
        else "test texts in the training table"
    )
    return Fact(name="Train/test overlap", value=count(shared), detail=detail, warn=shared > 0)


def _trained_on(rows: pd.DataFrame) -> Fact:
    name = "Trained on its train split"
    known = [is_true(v) for v in rows["trained_on"] if v is not None and v is not pd.NA and v == v]
    if not known:
        return Fact(name=name, value="not known", detail="the training data was not recorded here", warn=True)
    if not any(known):
        return Fact(name=name, value="no", detail="the training table holds no row of it")
    which = "of this task" if len(known) == 1 else f"of {sum(known)} of {len(known)} tasks"
    return Fact(name=name, value="yes", detail=f"the train split {which} was used", warn=True)


def _items(data: ReportData, rows: pd.DataFrame) -> Fact:
    wanted = set(zip(rows["task"], rows["metric"], strict=True))
    seen: dict[str, set] = {"base": set(), "tuned": set()}
    for r in data.scores.to_dict("records"):
        if (r["task"], r["metric"]) in wanted and r["role"] in seen:
            size = tuple(int(r[k]) if is_number(r[k]) else None for k in ("n_items", "n_draws"))
            seen[r["role"]].add((r["task"], r["metric"], r["subset"], r["split"], *size))
    same = bool(seen["base"]) and seen["base"] == seen["tuned"]
    items, draws = (rows[c][rows[c].map(is_number)] for c in ("n_items", "n_draws"))
    value = count(items.sum()) if len(items) else NOT_RUN
    value += f" × {count(draws.max())} draws" if len(draws) and draws.max() > 1 else ""
    detail = "the same ones for both models" if same else "the score rows of the two models differ"
    many = f", over {len(rows)} tasks" if len(rows) > 1 else ""
    few = bool(len(items)) and items.min() < SMALL and unit(rows["task_type"].iloc[0]) != "draw"
    return Fact(name="Test items", value=value, detail=detail + many, warn=few or not same)


def _seeds(data: ReportData) -> Fact:
    seeds = [f"{run.verb} {value}" if key in ("seed", run.verb) else f"{run.verb} {key} {value}"
             for run in data.runs for key, value in (run.manifest.get("seeds") or {}).items()]  # fmt: skip
    trained = len({(f.summary.get("settings") or {}).get("seed") for f in data.finetunes})
    value = f"{trained} for training" if trained else "training not run"
    return Fact(name="Seeds", value=value, detail=", ".join(seeds) or "not recorded", warn=trained == 1)


def cost(data: ReportData) -> list[Fact]:
    """What the result took: time, calls and money, size."""
    steps = [f"{run.verb} {duration(run.manifest.get('seconds'))}" for run in data.runs]
    seconds = [run.manifest.get("seconds") for run in data.runs if is_number(run.manifest.get("seconds"))]
    facts = [Fact(name="Time", value=duration(sum(seconds)) if seconds else NOT_RUN, detail=" · ".join(steps))]
    facts.append(_llm([run.summary for run in data.syntheses]))
    summary, speed = data.evaluate.summary, data.evaluate.summary.get("speed") or {}
    trained = data.finetune.summary if data.finetune else {}
    size = f"{trained['model_mb']:.0f} MB" if is_number(trained.get("model_mb")) else NOT_RUN
    facts.append(Fact(name="Model size", value=size, detail=_before_after(summary.get("dimension"), "dimensions")))
    rates = {role: (speed.get(role) or {}).get("texts_per_s") for role in ("base", "tuned")}
    tuned_rate = f"{count(rates['tuned'])} texts/s" if is_number(rates["tuned"]) else NOT_RUN
    base_rate = f"base {count(rates['base'])} texts/s" if is_number(rates["base"]) else ""
    return [*facts, Fact(name="Speed", value=tuned_rate, detail=base_rate)]


def _llm(summaries: list[Mapping[str, Any]]) -> Fact:
    if not summaries:
        return Fact(name="LLM", value=NOT_RUN, detail="no synthetic data here")
    total = {k: sum(s.get(k) or 0 for s in summaries) for k in ("calls", "cached_calls", "tokens_in", "tokens_out")}
    prices = [s.get("cost_usd") for s in summaries]
    money = f"${sum(prices):,.2f}" if all(is_number(p) for p in prices) else "price not known"
    detail = f"{count(total['tokens_in'])} tokens in, {count(total['tokens_out'])} out · {money}"
    cached = f"{count(total['cached_calls'])} cached · " if total["cached_calls"] else ""
    return Fact(name="LLM calls", value=count(total["calls"]), detail=cached + detail)


def _before_after(pair: Mapping[str, Any] | None, what: str) -> str:
    base, tuned = (pair or {}).get("base"), (pair or {}).get("tuned")
    if not is_number(base) or not is_number(tuned):
        return f"{what} not recorded"
    return f"{count(tuned)} {what}, as before" if base == tuned else f"{what} {count(base)} → {count(tuned)}"
