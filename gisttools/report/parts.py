"""Says what each part of a training brought, the LLM's rows, the guide and the labels, or which command measures it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gisttools.report.data import ReportData

_LONGEST = 300  # characters of a parameter that a command repeats


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What is known of a part: `told`, and the `command` that measures it; empty where there is nothing to measure."""

    name: str
    told: str
    command: str = ""


def parts(data: ReportData) -> list[Brought]:
    """The LLM's rows, the guide, and labels. One training cannot tell them apart: each is measured by the
    same training without it, on the same rows and as many steps."""
    if data.finetune is None:
        return []
    if data.others:
        told = (
            "Several variants were evaluated: leaderboard.html says what each parameter that differs between them did."
        )
        return [Brought(name="All parts", told=told)]
    return [_written(data), _guide(data), _labels(data)]


_NOT_MEASURED = "Not measured: the same training without"


def as_positives(summary: Mapping[str, Any]) -> bool:
    """Whether a training was on labelled texts, whose labels say what is alike, and no guide has a say."""
    settings = summary.get("settings") or {}
    return settings.get("train_on") == "labelled" and settings.get("guide_masks") == "unlabelled"


def _written(data: ReportData) -> Brought:
    name = "The rows that an LLM wrote"
    if not data.syntheses:
        return Brought(name=name, told="There were none.")
    if not data.converts or data.syntheses[0].parameters.get("documents"):
        return Brought(name=name, told="Not measured: there were no other rows, so nothing is left without them.")
    given = {"synthesize.task": data.syntheses[0].parameters.get("task"), **_data_of(data)}
    return Brought(name=name, told=f"{_NOT_MEASURED} them was not evaluated.", command=_command("llm_rows", given))


def _guide(data: ReportData) -> Brought:
    guide = data.finetune.parameters.get("guide") if data.finetune else None
    if not data.finetune or not guide:
        return Brought(name="The guide", told="There was none.")
    if as_positives(data.finetune.summary):
        return Brought(name="The guide", told="It masked nothing: every text has a label, and labels decided.")
    told = f"{_NOT_MEASURED} it was not evaluated."
    return Brought(name="The guide", told=told, command=_command("guided_vs_unguided", _data_of(data)))


def _labels(data: ReportData) -> Brought:
    if data.finetune and as_positives(data.finetune.summary):
        told = f"{_NOT_MEASURED} them, on triplets (train_on: triplets), was not evaluated."
        return Brought(name="Labels, as positives", told=told)
    name = "Labels, as a mask"
    if not (data.finetune and data.finetune.summary.get("labels_masked")):
        return Brought(name=name, told="They masked nothing.")
    told = f"{_NOT_MEASURED} their mask was not evaluated."
    return Brought(name=name, told=told, command=_command("guided_vs_unguided", _data_of(data)))


def _data_of(data: ReportData) -> dict[str, Any]:
    """The texts of this evaluation, by the parameters of a recipe."""
    sources = [s for run in data.converts for s in run.parameters.get("sources") or []]
    told = {"convert.sources": sources} if sources else {}
    evaluated = data.evaluate.parameters
    return {**told, **{f"evaluate.{name}": evaluated[name] for name in ("files", "tasks") if evaluated.get(name)}}


def _command(recipe: str, given: Mapping[str, Any]) -> str:
    words = ["gisttools", "run", recipe]
    for name, value in given.items():
        told = json.dumps(value, ensure_ascii=False)
        if value is not None and len(told) <= _LONGEST:
            words += ["-p", name, shlex.quote(told)]
    return " ".join(words)
