"""Run folders as finished runs leave them, full of hostile texts, for the tests of the report."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd

EVIL = "</script><script>alert(1)</script> \"quotes\" & 'ticks' 🙂 שלום | `x` $a_b$"
LABELS = ["refund_status", "order_status", EVIL, "🙂 مرحبا"]


def write_run(results, run_id, verb, summary, tables=(), parents=(), **manifest):
    """One run folder as a finished run leaves it."""
    folder = results / run_id
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    for name, rows in dict(tables).items():
        pd.DataFrame(rows).to_parquet(folder / name)
    content = {
        "run_id": run_id,
        "verb": verb,
        "status": "ok",
        "started": "2025-11-23T16:00:00Z",
        "seconds": 60.0,
        "parameters": {"text": EVIL},
        "spec_hash": "ab" * 32,
        "git": {"sha": "c" * 40, "dirty": False},
        "versions": {"torch": "2.13.0"},
        "hardware": {"cpu": "a cpu", "cores": 2, "memory_gb": 8.0, "gpu": [], "platform": "Linux"},
        "seeds": {"seed": 7},
        "artefacts": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())},
        "parents": list(parents),
        "error": None,
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def comparison_row(task="support", **values):
    row = {
        "task": task, "task_type": "Classification", "subset": "default", "metric": "accuracy", "base": 0.714,
        "tuned": 0.789, "difference": 0.075, "low": 0.041, "high": 0.109, "n_items": 280, "n_draws": 10,
        "method": "paired bootstrap over draws and items", "verdict": "helped", "trained_on": False, "is_target": True,
        "overlap": 0, "n_test": 280,
    }  # fmt: skip
    return row | values


def score_rows(comparison):
    """Base and tuned scores for each comparison row, and a second metric next to it."""
    rows = []
    for c in comparison:
        for role in ("base", "tuned"):
            row = {k: c[k] for k in ("task", "task_type", "subset", "metric", "n_items", "n_draws")}
            row |= {"role": role, "model": role, "split": "test", "is_main": True, "score": c[role], "seconds": 1.0}
            rows += [row, row | {"metric": "f1", "is_main": False, "score": 0.5}]
    return rows


def evaluate(
    results, comparison, parents=(), items=None, overlap=None, more=(), summary=(), score_columns=(), scores_of=(),
    **manifest,
):  # fmt: skip
    """An evaluate run: `more` tables and `summary` keys, columns of all scores, and columns of one role's scores."""
    scores = [{**r, **dict(score_columns), **dict(scores_of).get(r["role"], {})} for r in score_rows(comparison)]
    tables = {"comparison.parquet": comparison, "scores.parquet": scores, **dict(more)}
    told = dict(summary)
    if items is not None:
        tables["items.parquet"] = items
    if overlap is not None:
        tables["overlap.parquet"] = overlap
    summary = {
        "base": "embedded:base", "tuned": "results/finetune-1/model", "tasks": [c["task"] for c in comparison],
        "seconds": 9.0, "speed": {"base": {"texts_per_s": 900}, "tuned": {"texts_per_s": 910}},
        "dimension": {"base": 256, "tuned": 256},
    }  # fmt: skip
    return write_run(results, "evaluate-1", "evaluate", summary | told, tables, parents, **manifest)


def item_rows(task="support", n=40):
    rng = np.random.default_rng(0)
    base, tuned = rng.integers(0, 11, n) / 10, rng.integers(0, 11, n) / 10
    return [
        {
            "task": task, "item": i, "text": f"{i} {EVIL}", "gold": LABELS[i % 4], "base_correct": base[i],
            "tuned_correct": tuned[i], "base_answer": LABELS[(i + 1) % 4], "tuned_answer": LABELS[i % 4],
        }
        for i in range(n)
    ]  # fmt: skip


def synthesize(results, **more):
    row = {"anchor": EVIL, "positive": "ما هو", "negatives": ["no"], "anchor_label": EVIL}
    summary = {
        "task": EVIL, "kind": "classification", "prompt_id": "p", "llm_model": "tiny", "base_url": "http://x",
        "asked": 10, "accepted": 6, "rejected": 4, "reasons": {EVIL: 3, "length": 1},
        "by_label": {label: {"asked": 3, "accepted": 2} for label in LABELS}, "calls": 5, "cached_calls": 2,
        "tokens_in": 1000, "tokens_out": 2000, "cost_usd": None, "seconds": 3.0,
    }  # fmt: skip
    tables = {
        "triplets.parquet": [row | {"status": "accepted", "reject_reason": None}],
        "rejected.parquet": [row | {"status": "rejected", "reject_reason": EVIL}],
    }
    return write_run(results, "synthesize-1", "synthesize", summary | more, tables)


def convert(results):
    source = {"source": EVIL, "revision": "f" * 40, "split": "train", "texts": 100, "classes": 4, "triplets": 90}
    summary = {
        "sources": [source | {"dropped": {"singleton": 10}}], "guide_id": "g", "strategy": "gistembed", "triplets": 90,
        "seconds": 1.0, "live_share": 0.5,
    }  # fmt: skip
    return write_run(results, "convert-1", "convert", summary)


def finetune(results, parents=("synthesize-1", "convert-1"), steps=30, tables=(), **summary):
    history = [
        {"step": i, "epoch": i / 10, "loss": 2 / i, "learning_rate": 1e-3, "masked_ap": 0.1, "masked_aa": 0.2,
         "masked_pp": 0.3, "masked_an": None} for i in range(1, steps + 1)
    ]  # fmt: skip
    content = {
        "student": "embedded:base", "guide_id": "g", "triplets": 96, "by_source": {"llm": 6, "labelled": 90},
        "steps": steps, "seconds": 30.0, "parameters_trained": 1000, "dimension": 256, "settings": {"seed": 7},
        "final_loss": 0.1, "first_loss": 2.0, "masked": {"ap": 0.1, "aa": 0.2, "pp": 0.3, "an": None},
        "labels_masked": True, "model_mb": 16.3,
    }  # fmt: skip
    return write_run(
        results, "finetune-1", "finetune", content | summary, {"history.parquet": history, **dict(tables)}, parents
    )
