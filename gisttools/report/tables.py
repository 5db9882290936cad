"""The tables of a report: scores, texts that changed, where training rows came from, settings, how to reproduce."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from gisttools.report.data import ReportData, Run
from gisttools.report.drawing import clip
from gisttools.report.formats import count, duration, is_number, is_true, model_name, plural, score, signed, unit
from gisttools.report.words import main_rows

CHANGED = 8  # texts shown of each kind
ROWS = 200  # tasks shown of each group
METRICS = 600  # rows of the table of all metrics
_LONG = 280  # characters of a text shown
_SHARED = 4  # examples of a task's test texts in the training table
_WRITTEN_BY = {"task": "task", "kind": "kind", "model": "llm_model", "prompt": "prompt_id"}
_REASONS, _OF_EACH, _ACCEPTED = 3, 2, 4  # samples of synthetic rows


def score_groups(data: ReportData) -> list[dict[str, Any]]:
    """Groups of rows (target tasks, other tasks), each with its mean; targets first."""
    rows = main_rows(data)
    target = rows["is_target"].map(is_true)
    groups = []
    for name, part in (("Target tasks", rows[target]), ("Other tasks", rows[~target])):
        if len(part):
            shown = part.sort_values("difference", ascending=False, kind="stable").head(ROWS)
            more = f" (the best {ROWS} of {len(part)}; all stand in scores.csv)" if len(part) > ROWS else ""
            groups.append({"name": name + more, "rows": [_score_row(r) for r in shown.to_dict("records")]})
    return groups


def means(data: ReportData) -> list[dict[str, str]]:
    """Mean of all tasks, and of those whose train split was not used, where these are several."""
    rows = main_rows(data)
    rows = rows[rows["difference"].map(is_number)]
    fresh = rows[~rows["trained_on"].map(is_true)]
    found = [("Mean of all tasks", rows)] if len(rows) > 1 else []
    if 0 < len(fresh) < len(rows):
        found.append(("Mean without tasks trained on", fresh))
    return [
        {
            "name": f"{name} ({len(part)})",
            "base": score(part["base"].mean()),
            "tuned": score(part["tuned"].mean()),
            "difference": signed(part["difference"].mean()),
        }
        for name, part in found
    ]


def all_metrics(data: ReportData) -> list[dict[str, Any]]:
    """Every metric of every task, base and tuned side by side; at most `METRICS` rows."""
    keys = ["task", "subset", "split", "metric"]
    scores = data.scores.drop_duplicates([*keys, "role"], keep="last")
    wide = scores.pivot(index=keys, columns="role", values="score").reset_index()
    main = {(r["task"], r["metric"]) for r in scores.to_dict("records") if is_true(r["is_main"])}
    return [
        {
            **{k: r[k] for k in keys},
            "base": score(r.get("base")),
            "tuned": score(r.get("tuned")),
            "main": (r["task"], r["metric"]) in main,
        }
        for r in wide.head(METRICS).to_dict("records")
    ]


def changed(data: ReportData) -> dict[str, Any] | None:
    """The texts that gained and lost most, and how many did; None where the run saved no items."""
    if data.items is None or data.items.empty:
        return None
    items = data.items.assign(change=data.items["tuned_correct"] - data.items["base_correct"])
    fixed = items[items["change"] > 0].sort_values("change", ascending=False, kind="stable")
    broken = items[items["change"] < 0].sort_values("change", kind="stable")
    return {
        "kinds": [
            ("Fixed", "right more often with the tuned model", _texts(fixed)),
            ("Broken", "right less often with the tuned model", _texts(broken)),
        ],
        "fixed": len(fixed),
        "broken": len(broken),
        "same": len(items) - len(fixed) - len(broken),
        "several": items["task"].nunique() > 1,
    }


def synthetic(data: ReportData) -> list[dict[str, Any]]:
    """For each synthesize run: its counts, the reasons of rejection, and a few rows of either fate."""
    found = []
    for run in data.syntheses:
        summary = run.summary
        reasons = sorted((summary.get("reasons") or {}).items(), key=lambda pair: -pair[1])
        found.append(
            {
                "run": run,
                "facts": [(name, _plain(summary.get(k))) for name, k in _WRITTEN_BY.items()],
                "asked": count(summary.get("asked")),
                "accepted": count(summary.get("accepted")),
                "rejected": count(summary.get("rejected")),
                "reasons": [(name, count(n), _share(n, summary.get("asked"))) for name, n in reasons],
                "samples": _samples(data.accepted.get(run.id), data.rejected.get(run.id), [r for r, _ in reasons]),
            }
        )
    return found


def converted(data: ReportData) -> list[dict[str, Any]]:
    """One row for each source of each convert run."""
    return [
        {
            "source": _plain(source.get("source")),
            "revision": _plain(source.get("revision"))[:19],
            "split": _plain(source.get("split")),
            **{k: count(source.get(k)) for k in ("texts", "classes", "triplets")},
            "dropped": ", ".join(f"{k} {count(n)}" for k, n in (source.get("dropped") or {}).items()) or "none",
        }
        for run in data.converts
        for source in run.summary.get("sources") or []
    ]


def shared(data: ReportData) -> list[dict[str, str]]:
    """A few test texts that the training table holds, the least alike of each task first: they show what counts."""
    if data.overlap is None or not len(data.overlap):
        return []
    rows = data.overlap.sort_values("score", kind="stable").groupby("task", sort=False).head(_SHARED)
    return [
        {
            "task": _plain(r["task"]),
            "tier": _plain(r["tier"]),
            "text": clip(r["text"], _LONG),
            "training_text": clip(r["training_text"], _LONG),
        }
        for r in rows.to_dict("records")
    ][: 3 * _SHARED]


def training(run: Run | None) -> list[tuple[str, str]]:
    """What was trained, how, and for how long."""
    if run is None:
        return []
    s = run.summary
    by_source = ", ".join(f"{k} {count(n)}" for k, n in (s.get("by_source") or {}).items())
    rows = [
        ("student", model_name(s.get("student"))),
        ("guide", _plain(s.get("guide_id")) if s.get("guide_id") else "none (unguided)"),
        ("triplets", f"{count(s.get('triplets'))}{f' ({by_source})' if by_source else ''}"),
        ("steps", count(s.get("steps"))),
        ("time", duration(s.get("seconds"))),
        ("parameters trained", count(s.get("parameters_trained"))),
        ("loss, first to last", f"{_plain(s.get('first_loss'))} → {_plain(s.get('final_loss'))}"),
    ]
    return rows + [
        (k.replace("_", " "), "none" if v is None else _plain(v)) for k, v in (s.get("settings") or {}).items()
    ]


def masked(run: Run | None) -> list[tuple[str, str]]:
    """Mean share masked of each block of the loss."""
    names = {"ap": "anchor – other positives", "aa": "anchor – other anchors", "pp": "positive – other positives"}
    names["an"] = "anchor – negatives"
    shares = (run.summary.get("masked") or {}) if run else {}
    return [(name, f"{100 * shares[k]:.1f} %" if is_number(shares.get(k)) else "not in this run")
            for k, name in names.items() if shares]  # fmt: skip


def reproduction(data: ReportData) -> list[dict[str, Any]]:
    """One entry a run: its id, code, machine and parameters."""
    entries = []
    for run in data.runs:
        m = run.manifest
        git, hardware = m.get("git") or {}, m.get("hardware") or {}
        machine = [hardware.get("cpu"), plural(hardware.get("cores"), "core") if hardware.get("cores") else None]
        machine += [f"{hardware['memory_gb']:.0f} GB" if is_number(hardware.get("memory_gb")) else None]
        machine += [*map(str, hardware.get("gpu") or []), hardware.get("platform")]
        entries.append(
            {
                "id": run.id,
                "verb": run.verb,
                "started": _plain(m.get("started"))[:19].replace("T", " "),
                "seconds": duration(m.get("seconds")),
                "spec": _plain(m.get("spec_hash"))[:16],
                "git": _plain(git.get("sha"))[:12] + (" with changes" if git.get("dirty") else ""),
                "hardware": ", ".join(str(x) for x in machine if x) or "not recorded",
                "parameters": json.dumps(m.get("parameters") or {}, indent=2, ensure_ascii=False, default=str),
            }
        )
    return entries


def _score_row(r: Mapping[str, Any]) -> dict[str, Any]:
    sample = plural(r["n_items"], unit(r["task_type"])) if is_number(r["n_items"]) else ""
    draws = is_number(r["n_draws"]) and r["n_draws"] > 1 and unit(r["task_type"]) != "draw"
    verdict = r["verdict"] if isinstance(r["verdict"], str) and is_number(r["difference"]) else "not run"
    return {
        "task": r["task"],
        "subset": "" if r["subset"] in (None, "", "default") else r["subset"],
        "metric": str(r["metric"]).replace("_", " "),
        "interval": f"{signed(r['low'])} to {signed(r['high'])}" if is_number(r["low"]) else "none",
        "verdict": verdict,
        "sample": sample + (f" × {plural(r['n_draws'], 'draw')}" if draws else ""),
        "trained_on": is_true(r["trained_on"]),
        **{k: score(r[k]) for k in ("base", "tuned")},
        "difference": signed(r["difference"]),
    }


def _texts(items: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "task": r["task"],
            "text": clip(r["text"], _LONG),
            "gold": clip(r["gold"], 60),
            **{f"{k}_answer": clip(r[f"{k}_answer"], 60) for k in ("base", "tuned")},
            **{k: f"{100 * r[f'{k}_correct']:.0f} %" for k in ("base", "tuned")},
        }
        for r in items.head(CHANGED).to_dict("records")
    ]


def _samples(accepted: pd.DataFrame | None, rejected: pd.DataFrame | None, reasons: list[str]) -> list[dict[str, Any]]:
    """A few rows, the same ones each time: the first of each label, and of each main reason."""
    rows: list[tuple[str, Mapping[str, Any]]] = []
    if accepted is not None:
        first = accepted.drop_duplicates("anchor_label") if "anchor_label" in accepted else accepted
        rows += [("accepted", r) for r in first.head(_ACCEPTED).to_dict("records")]
    if rejected is not None:
        for reason in reasons[:_REASONS]:
            some = rejected[rejected["reject_reason"] == reason].head(_OF_EACH)
            rows += [(f"rejected: {reason}", r) for r in some.to_dict("records")]
    return [
        {
            "fate": fate,
            "label": _plain(r.get("anchor_label")) if r.get("anchor_label") else "",
            **{k: clip(r.get(k) or "", _LONG) for k in ("anchor", "positive")},
            "negative": clip(r["negatives"][0], _LONG) if _some(r.get("negatives")) else "",
        }
        for fate, r in rows
    ]


def _some(values: object) -> bool:
    return values is not None and hasattr(values, "__len__") and len(values) > 0


def _share(part: object, whole: object) -> str:
    return f"{100 * part / whole:.1f} %" if is_number(part) and is_number(whole) and whole else ""


def _plain(value: object) -> str:
    """A setting as text: numbers without noise, yes and no, `not recorded` for nothing."""
    if value is None:
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else clip(value, 200)
