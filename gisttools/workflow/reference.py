"""`docs/reference.md`, made of the code: the parameters of every notebook and the columns of the tables.

`python -m gisttools.workflow.reference` writes it; a test compares it with the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from gisttools.data import COLUMNS
from gisttools.workflow.params import VERBS
from gisttools.workflow.places import resolve
from gisttools.workflow.table_columns import TABLES

# one line for each column of the triplet table
TRIPLET_COLUMNS = {
    "id": "16 hex digits, a hash of the texts",
    "anchor": "the text that is asked about",
    "positive": "a text that belongs to it",
    "negatives": "texts that do not; may be empty",
    "anchor_label": "the anchor's label, where it has one",
    "positive_label": "the positive's label; of reranking its grade",
    "negative_labels": "a label of each negative; of reranking their grades",
    "task_name": "the task that the row is of",
    "task_type": "its type, as mteb names it",
    "language": "ISO 639-3 and script, as `eng-Latn`; of translations both",
    "source": "`llm`, `labelled` or `hub`",
    "source_revision": "commit or hash of that source",
    "seed_ids": "ids of the texts that the LLM was shown",
    "prompt_id": "name and version of the prompt",
    "prompt_sha": "hash of the prompt",
    "attributes": "JSON: in which way the LLM was to write",
    "negative_sources": "of each negative: `written`, `replaced`, `mined` or `label`",
    "llm_model": "name of the LLM",
    "call_key": "key of the call in the LLM's cache",
    "tokens_in": "tokens of the prompt",
    "tokens_out": "tokens of the answer",
    "cost_usd": "US dollars; empty where no price is known",
    "guide_id": "what identifies the guide",
    "guide_ap": "the guide's cosine of anchor and positive",
    "guide_an": "its cosine of the anchor and each negative",
    "live": "does at least one negative survive the guide's mask?",
    "status": "`accepted` or `rejected`",
    "reject_reason": "why it was rejected",
}


def reference() -> str:
    """The page, as Markdown."""
    parts = [
        "# Reference",
        "Written by `python -m gisttools.workflow.reference`; change the code, not this page.",
        "## Parameters",
        "Set one with `gisttools run VERB -p NAME VALUE`, in a recipe with `-p STEP.NAME VALUE`.",
    ]
    for verb, model in VERBS.items():
        rows = [_parameter(name, field) for name, field in model.model_fields.items()]
        parts += [f"### {verb}", _table(("parameter", "type", "default", "what it is"), rows)]
    parts += ["## The triplet table", "`triplets.parquet` and `rejected.parquet` have exactly these columns."]
    columns = [(f"`{column.name}`", f"`{column.type}`", TRIPLET_COLUMNS[column.name]) for column in COLUMNS]
    parts.append(_table(("column", "type", "what it is"), columns))
    parts += [
        "## Other tables",
        "Scores and differences lie between 0 and 1: a point is 0.01. A cell is empty where a thing is not known.",
    ]
    for name, told in TABLES.items():
        rows = [(f"`{column}`", what) for column, what in told.items()]
        parts += [f"### {name}", _table(("column", "what it is"), rows)]
    return "\n\n".join(parts) + "\n"


def _parameter(name: str, field: FieldInfo) -> tuple[str, ...]:
    plain = field.annotation if isinstance(field.annotation, type) and not get_args(field.annotation) else None
    told = plain.__name__ if plain else str(field.annotation).replace("typing.", "")
    told = re.sub(r"Annotated\[(\w+\[\w+\]), .*?\)\]\)?\]", r"\1", told)  # a bound of the list's length
    default = json.dumps(field.get_default(call_default_factory=True), ensure_ascii=False)
    return f"`{name}`", f"`{told}`", f"`{default}`", field.description or ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    Path(resolve("docs"), "reference.md").write_text(reference(), encoding="utf-8")
