"""The blind look: a second call of the LLM, which sorts a text without knowing the label that it was written for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gisttools.synthesis.asking import Request
from gisttools.synthesis.filters import NOT_ANSWERED
from gisttools.synthesis.forms import extract_json
from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.llm import LLM
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import Task

NONE = "(no label)"


def ask_blind(task: Task, llm: LLM, candidates: Sequence[Candidate], folder: str | Path | None = None) -> None:
    """Fill `second` and `second_label`, and the reason blind-label where it is not the label that was asked for.

    Raises as `LLM.stream` does.
    """
    prompt = load_prompt("blind_label", folder)
    schema = copy.deepcopy(prompt.output)
    schema["properties"]["label"]["enum"] = list(task.labels)
    labels = [{"name": name, "about": label.about} for name, label in task.labels.items()]
    common = {"domain": task.domain, "labels": labels}
    requests = [Request(messages=prompt.render({**common, "text": c.anchor}), schema=schema) for c in candidates]
    for c, reply in zip(candidates, llm.ask(requests), strict=True):
        c.second = reply
        if reply.finish_reason in NOT_ANSWERED:  # nothing was said against the text, but nobody looked at it either
            c.reason = NOT_ANSWERED[reply.finish_reason]
            continue
        said = (extract_json(reply.content) or {}).get("label")
        c.second_label = said if isinstance(said, str) and said in task.labels else NONE
        if c.second_label != c.item.group:
            c.reason = "blind-label"


def confusion(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """How often a text that was asked for under one label (rows) was sorted under another (columns)."""
    pairs = [(c.item.group, c.second_label) for c in candidates if c.second_label is not None]
    frame = pd.DataFrame(pairs, columns=["asked for", "sorted under"])
    return pd.crosstab(frame["asked for"], frame["sorted under"])
