"""How the model was made and how to make it again: settings, masks, size and speed, commands, hashes, machines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from gisttools.common import count, duration, is_number, model_name, plain, plural
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip
from gisttools.report.maps import number
from gisttools.report.run_files import Run

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
_EXAMPLES = 12  # masked candidates shown
_FILES = 30  # artefacts listed of a run
_LONG = 200


def training(run: Run | None) -> list[tuple[str, str]]:
    """What was trained, how, and for how long."""
    if run is None:
        return []
    s = run.summary
    by_source = ", ".join(f"{k} {count(n)}" for k, n in (s.get("by_source") or {}).items())
    rows = [
        ("student", model_name(s.get("student"))),
        ("guide", plain(s.get("guide_id")) if s.get("guide_id") else "none (unguided)"),
        ("triplets", f"{count(s.get('triplets'))}{f' ({by_source})' if by_source else ''}"),
        ("steps", count(s.get("steps"))),
        ("time", duration(s.get("training_seconds", s.get("seconds")))),
        ("parameters trained", count(s.get("parameters_trained"))),
        ("loss, first to last", f"{plain(s.get('first_loss'))} → {plain(s.get('final_loss'))}"),
    ]
    return rows + [
        (k.replace("_", " "), "none" if v is None else plain(v)) for k, v in (s.get("settings") or {}).items()
    ]


def masked(run: Run | None) -> list[tuple[str, str]]:
    """Mean share masked of each block of the loss."""
    shares = (run.summary.get("masked") or {}) if run else {}
    return [
        (name, f"{100 * shares[k]:.1f} %" if is_number(shares.get(k)) else "not in this run")
        for k, name in _BLOCKS.items()
        if shares
    ]


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
    """(what, base, tuned) of size and speed, and of the space of embeddings, as far as they were recorded."""
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
        ("texts a second", {r: (speed.get(r) or {}).get("texts_per_s") for r in ("base", "tuned")}, count),
    ]
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
        machine += [*map(str, hardware.get("gpu") or []), hardware.get("platform")]
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
                "command": command(run.verb, m.get("parameters") or {}, m.get("changed")),
                "files": [(clip(name, 80), str(sha)[:16]) for name, sha in sorted(files.items())[:_FILES]],
                "more_files": max(len(files) - _FILES, 0),
            }
        )
    return entries


def command(verb: str, parameters: Mapping[str, Any], changed: Sequence[str] | None = None) -> str:
    """The command that runs this step again, one parameter a line: those in `changed`, which differed from the
    defaults; all of them where that is not recorded, as in runs of earlier versions."""
    told = {k: v for k, v in parameters.items() if changed is None or k in changed}
    lines = [f"gisttools run {verb}"]
    lines += [f"  -p {k} {shlex.quote(json.dumps(v, ensure_ascii=False))}" for k, v in told.items()]
    return clip_lines(" \\\n".join(lines))


def clip_lines(text: str, longest: int = 2000) -> str:
    """Lines of a command, each cut where it is very long."""
    return "\n".join(line if len(line) <= longest else line[:longest] + "… (cut)" for line in text.split("\n"))
