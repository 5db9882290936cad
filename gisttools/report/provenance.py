"""Tells where a model comes from: its training rows, how it was trained, and how each step is run again.

Of rows: sources, counts kept and dropped, samples, and what overlaps the test data. Of steps: settings, masks, size and
speed, commands, checksums, machines.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gisttools.common import FinishedRun, anonymous, count, duration, is_number, model_name, plain, plural, share
from gisttools.models import prompts_in_words
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip
from gisttools.report.figures import number

_LONGEST = 280  # characters of a text shown
_SHARED = 4  # examples of a task's test texts in the training table
_WRITTEN_BY = {"task": "task", "kind": "kind", "model": "llm_model", "prompt": "prompt_id"}
_REASONS, _OF_EACH, _KEPT = 3, 2, 4  # samples of rows
_MOST_REASONS = 40


def synthetic(data: ReportData) -> list[dict[str, Any]]:
    """For each synthesize run: its counts, the reasons of rejection, and a few rows of either fate."""
    found = []
    for run in data.syntheses:
        summary = run.summary
        reasons = sorted((summary.get("reasons") or {}).items(), key=lambda pair: -pair[1])
        found.append(
            {
                "run": run,
                "facts": [(name, plain(summary.get(k))) for name, k in _WRITTEN_BY.items()]
                + _elsewhere(summary)
                + _quota(summary),
                "asked": count(summary.get("asked")),
                "accepted": count(summary.get("accepted")),
                "rejected": count(summary.get("rejected")),
                "reasons": [
                    (clip(name, 80), count(n), share(n, summary.get("asked"))) for name, n in reasons[:_MOST_REASONS]
                ],
                "samples": _samples(data.accepted.get(run.id), data.rejected.get(run.id), [r for r, _ in reasons]),
            }
        )
    return found


def _elsewhere(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The files of texts that were written elsewhere."""
    files = summary.get("texts") or {}
    return [("written elsewhere, in", clip(", ".join(files), _LONGEST))] if files else []


def _quota(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows that were wanted, labels or topics that fell short, and what an accepted row cost, as far as it is known."""
    if summary.get("wanted") is None:
        return []
    short = sorted((summary.get("short") or {}).items(), key=lambda pair: -pair[1])
    lacking = ", ".join(f"{clip(name, 80)} {count(n)}" for name, n in short[:_MOST_REASONS])
    found = [("rows wanted", count(summary["wanted"])), ("short of", lacking or "nothing")]
    for label, reason in list((summary.get("given_up") or {}).items())[:_MOST_REASONS]:
        found.append((f"not asked for further: {clip(label, 80)}", f"hardly ever a row; most often {reason}"))
    cost = summary.get("cost_per_accepted")
    return found if cost is None else [*found, ("an accepted row cost", f"${cost:.4f}")]


def converted(data: ReportData) -> list[dict[str, Any]]:
    """One row for each source of each convert run."""
    return [
        {
            "source": anonymous(plain(source.get("source"))),
            "revision": plain(source.get("revision"))[:19],
            "split": plain(source.get("split")),
            **{k: count(source.get(k)) for k in ("texts", "classes", "triplets")},
            "dropped": ", ".join(f"{k} {count(n)}" for k, n in (source.get("dropped") or {}).items()) or "none",
        }
        for run in data.converts
        for source in run.summary.get("sources") or []
    ]


def mined(data: ReportData) -> list[dict[str, Any]]:
    """A few mined triplets, the first of each label."""
    return [row for table in data.mined.values() for row in _samples(table, None, [])]


def shared(data: ReportData) -> list[dict[str, str]]:
    """A few test texts that the training table holds, the least alike of each task first: they show what counts."""
    if data.overlap is None or not len(data.overlap):
        return []
    rows = data.overlap.sort_values("score", kind="stable").groupby("task", sort=False).head(_SHARED)
    return [
        {
            "task": plain(r["task"]),
            "tier": plain(r["tier"]),
            "text": clip(r["text"], _LONGEST),
            "training_text": clip(r["training_text"], _LONGEST),
        }
        for r in rows.to_dict("records")
    ][: 3 * _SHARED]


def left_out(data: ReportData) -> list[dict[str, Any]]:
    """Rows that a conversion left out because they overlap a test set: how many by tier, and a few of them."""
    found = []
    for run_id, table in data.left_out.items():
        names = {"text", "other"} if {"text", "other"} <= set(table) else {"text", "training_text"} & set(table)
        tiers = table["tier"].value_counts().to_dict() if "tier" in table else {}
        ranked = table.sort_values("score", kind="stable") if "score" in table else table
        found.append(
            {
                "run": run_id,
                "told": _left_out_told(table, ", ".join(f"{count(n)} {plain(tier)}" for tier, n in tiers.items())),
                "texts": [
                    {"tier": plain(r.get("tier")), "texts": [clip(r[c], _LONGEST) for c in sorted(names, reverse=True)]}
                    for r in ranked.head(_SHARED).to_dict("records")
                ],
            }
        )
    return found


def _left_out_told(table: pd.DataFrame, tiers: str) -> str:
    """How many rows a table of overlaps stands for: a row that overlaps several test texts is there several times."""
    pairs, of = len(table), f" ({tiers})" if tiers else ""
    column = next((name for name in ("place", "row") if name in table), None)
    if column is None:
        return f"{plural(pairs, 'pair')} of a training text and a test text that overlap were left out{of}."
    rows = table[column].nunique()
    found = f", found in {plural(pairs, 'pair')} of a training text and a test text" if pairs != rows else ""
    verb = "was" if rows == 1 else "were"
    return f"{plural(rows, 'row')} {verb} left out for overlapping a test set{found}{of}."


def _samples(accepted: pd.DataFrame | None, rejected: pd.DataFrame | None, reasons: list[str]) -> list[dict[str, Any]]:
    """A few rows, the same ones each time: the first of each label, and of each main reason."""
    rows: list[tuple[str, Mapping[str, Any]]] = []
    if accepted is not None:
        first = accepted.drop_duplicates("anchor_label") if "anchor_label" in accepted else accepted
        rows += [("accepted", r) for r in first.head(_KEPT).to_dict("records")]
    if rejected is not None:
        for reason in reasons[:_REASONS]:
            some = rejected[rejected["reject_reason"] == reason].head(_OF_EACH)
            rows += [(f"rejected: {reason}", r) for r in some.to_dict("records")]
    return [
        {
            "fate": fate,
            "label": plain(r.get("anchor_label")) if r.get("anchor_label") else "",
            **{k: clip(r.get(k) or "", _LONGEST) for k in ("anchor", "positive")},
            "negative": clip(r["negatives"][0], _LONGEST) if _some(r.get("negatives")) else "",
        }
        for fate, r in rows
    ]


def _some(values: object) -> bool:
    return values is not None and hasattr(values, "__len__") and len(values) > 0


_BLOCKS = {
    "ap": "anchor – other positives",
    "aa": "anchor – other anchors",
    "pp": "positive – other positives",
    "an": "anchor – negatives",
}
_SPACE = {  # kinds of one number in the embedding table
    "neighbours": "texts whose nearest text has their class",
    "separation": "how often a pair of one class is more alike than a pair of two",
}
_EXAMPLES = 5  # masked candidates shown
_FILES = 30  # artefacts listed of a run
_LONG = 200


def training(run: FinishedRun | None) -> list[tuple[str, str]]:
    """What was trained, how, and for how long."""
    if run is None:
        return []
    s = run.summary
    by_source = ", ".join(f"{k} {count(n)}" for k, n in (s.get("by_source") or {}).items())
    rows = [
        ("student", model_name(s.get("student"))),
        ("guide", anonymous(plain(s.get("guide_id"))) if s.get("guide_id") else "none (unguided)"),
        *_prompts(s.get("prompts")),
        ("triplets", f"{count(s.get('triplets'))}{f' ({by_source})' if by_source else ''}"),
        ("steps", count(s.get("steps"))),
        ("time", duration(s.get("training_seconds", s.get("seconds")))),
        ("parameters trained", count(s.get("parameters_trained"))),
        ("loss, start to end", f"{plain(s.get('first_loss'))} → {plain(s.get('final_loss'))}"),
    ]
    return rows + [
        (k.replace("_", " "), "none" if v is None else plain(v))
        for k, v in (s.get("settings") or {}).items()
        if not k.endswith("_prompt")
    ]


def _prompts(told: object) -> list[tuple[str, str]]:
    """Which prompts student and guide had before their texts, where one had any."""
    known = told if isinstance(told, Mapping) else {}
    found = {who: known.get(who) or [] for who in ("student", "guide")}
    if not any(part.get("query") or part.get("document") for parts in found.values() for part in parts):
        return []
    return [(f"prompts of the {who}", clip(prompts_in_words(parts), _LONGEST)) for who, parts in found.items() if parts]


def masked(run: FinishedRun | None) -> list[tuple[str, str]]:
    """Mean share masked of each block of the loss."""
    shares = (run.summary.get("masked") or {}) if run else {}
    return [
        (name, f"{100 * shares[k]:.1f} %" if is_number(shares.get(k)) else "not in this run")
        for k, name in _BLOCKS.items()
        if shares
    ]


def mask_quality(run: FinishedRun | None) -> str:
    """How right the guide's mask of a training is; empty where that was not measured."""
    return quality_words((run.summary.get("mask_quality") or {}) if run else {})


def quality_words(told: Mapping[str, Any]) -> str:
    """How right a guide's mask is, of `gisttools.training.mask_quality`; empty where that was not measured."""
    if not is_number(told.get("precision")) and not is_number(told.get("recall")):
        return ""
    precision, recall = (share(told[k], 1) if is_number(told.get(k)) else "–" for k in ("precision", "recall"))
    return (
        f"How right was the guide? Of {count(told.get('masked'))} candidates that it masks in some batches, {precision}"
        f" carry the anchor's label (precision); of {count(told.get('same_label'))} that carry it, it masks {recall} "
        "(recall). What it masks of other labels may still mean the same, but where precision is low, it mostly takes "
        "out true negatives."
    )


def positives(run: FinishedRun | None) -> str:
    """How many of its label a text met, on average; empty where labels were no positives."""
    found = ((run.summary.get("positives") or {}) if run else {}).get("positives")
    return "" if found is None else f"{found:.1f}"


def masked_examples(data: ReportData) -> list[dict[str, str]]:
    """A few candidates that the loss masked, with the guide's cosine, the threshold and the reason."""
    if data.masked is None:
        return []
    return [
        {
            "anchor": clip(r["anchor"], _LONG),
            "candidate": clip(r["candidate"], _LONG),
            "positive": clip(r.get("positive") or "", _LONG),
            "block": _BLOCKS.get(str(r.get("block")), ""),
            "score": f"{r['guide_score']:.2f}" if is_number(r.get("guide_score")) else "",
            "threshold": f"{r['threshold']:.2f}" if is_number(r.get("threshold")) else "",
            "why": clip(r["masked_by"], 60),
            "label": clip(r.get("label") or "", 60),
        }
        for r in data.masked.head(_EXAMPLES).to_dict("records")
    ]


def before_and_after(data: ReportData) -> list[tuple[str, str, str]]:
    """(what, base, tuned) of size and speed, and of the space of embeddings, as far as they were recorded; speed only
    where the candidates' table has none, which measures it alike for all."""
    summary = data.evaluate.summary
    sizes: Mapping[str, Any] = summary.get("size") or {}
    trained = data.finetune.summary if data.finetune else {}
    mb = {role: (sizes.get(role) or {}).get("mb") for role in ("base", "tuned")}
    mb["tuned"] = mb["tuned"] if is_number(mb["tuned"]) else trained.get("model_mb")
    speed: Mapping[str, Any] = summary.get("speed") or {}
    dimension: Mapping[str, Any] = summary.get("dimension") or {}
    rows = [
        ("weights", mb, lambda v: f"{v:.1f} MB"),
        ("dimensions of a vector", dimension, count),
    ]
    if data.candidates is None:
        rows.append(
            (
                "texts a second on the machine of the evaluation",
                {r: (speed.get(r) or {}).get("texts_per_s") for r in mb},
                count,
            )
        )
    if data.embedding is not None:
        rows += [(name, number(data.embedding, kind), lambda v: f"{100 * v:.0f} %") for kind, name in _SPACE.items()]
    written = [
        [write(of[r]) if is_number(of.get(r)) else "not recorded" for r in ("base", "tuned")] for _, of, write in rows
    ]
    return [(name, base, tuned) for (name, _, _), (base, tuned) in zip(rows, written, strict=True)]


def reproduction(data: ReportData) -> list[dict[str, Any]]:
    """One entry a run: its id, the command that makes it again, code, machine, seeds, files with checksums."""
    entries = []
    for run in data.runs:
        m = run.manifest
        git, hardware = m.get("git") or {}, m.get("hardware") or {}
        machine = [hardware.get("cpu"), plural(hardware.get("cores"), "core") if hardware.get("cores") else None]
        machine += [f"{hardware['memory_gb']:.0f} GB" if is_number(hardware.get("memory_gb")) else None]
        machine += [*map(str, hardware.get("gpu") or []), str(hardware.get("platform") or "").split("-")[0]]
        files = m.get("artefacts") or {}
        entries.append(
            {
                "id": run.id,
                "verb": run.verb,
                "started": plain(m.get("started"))[:19].replace("T", " "),
                "seconds": duration(m.get("seconds")),
                "spec": plain(m.get("spec_hash"))[:16],
                "git": plain(git.get("sha"))[:12] + (" with changes" if git.get("dirty") else ""),
                "hardware": plain(", ".join(str(x) for x in machine if x) or None),
                "seeds": ", ".join(f"{k} {v}" for k, v in (m.get("seeds") or {}).items()) or "none recorded",
                "command": anonymous(command(run.verb, m.get("parameters") or {}, m.get("changed"), m.get("resolved"))),
                "files": [(clip(name, 80), str(sha)[:16]) for name, sha in sorted(files.items())[:_FILES]],
                "more_files": max(len(files) - _FILES, 0),
            }
        )
    return entries


def command(
    verb: str,
    parameters: Mapping[str, Any],
    changed: Sequence[str] | None = None,
    resolved: Mapping[str, Any] | None = None,
) -> str:
    """The command that runs this step again, one parameter a line: those in `changed`, which differed from the
    defaults; all of them where that is not recorded, as in runs of earlier versions. In place of a time budget stand
    the steps that it led to: another machine would take others."""
    told = {k: v for k, v in parameters.items() if changed is None or k in changed}
    if resolved and told.get("max_minutes") is not None and "max_steps" in resolved:
        told = {k: v for k, v in told.items() if k != "max_minutes"} | {"max_steps": resolved["max_steps"]}
    lines = [f"gisttools run {verb}"]
    lines += [f"  -p {k} {shlex.quote(json.dumps(v, ensure_ascii=False))}" for k, v in told.items()]
    return clip_lines(" \\\n".join(lines))


def clip_lines(text: str, longest: int = 2000) -> str:
    """Lines of a command, each cut where it is very long."""
    return "\n".join(line if len(line) <= longest else line[:longest] + "… (cut)" for line in text.split("\n"))
