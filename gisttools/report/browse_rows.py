"""What a page shows of one row of a triplet table: its texts, its label, its fate in plain words, and facts about it.

Every column but `anchor` may be missing, and one of another type is shown as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice, repeat
from typing import Any

import pyarrow as pa
from datasets import Dataset

from gisttools.common import count, dollars, is_number

LONGEST = 20_000  # characters of a text that stand in the page
_FOLDED, _FOLDED_LINES = 420, 8  # a text longer than this is folded
_HEAD, _HEAD_LINES = 300, 5  # what is seen of a folded text
_NEGATIVES = 10  # of a row
_NAME = 160  # characters of a label or a fact
LABELS = ("anchor_label", "topic")  # the first one that a row has is its label
_FACTS = {
    "id": "id",
    "task_name": "task",
    "task_type": "task type",
    "language": "language",
    "source": "source",
    "llm_model": "model",
    "prompt_id": "prompt",
    "guide_id": "guide",
}
COLUMNS = (
    "anchor", "positive", "negatives", "positive_label", "negative_labels", "negative_sources", "guide_ap", "guide_an",
    "live", "tokens_in", "tokens_out", "cost_usd", "attributes", "seed_ids", "status", "reject_reason",
    *LABELS, *_FACTS,
)  # fmt: skip
REASONS = {
    "call-failed": "the call failed",
    "over-budget": "not asked, the budget was spent",
    "refused": "the model refused",
    "truncated": "the answer was cut off",
    "schema": "the answer is not of the form asked for",
    "length": "too short",
    "not-text": "not a plain text",
    "prompt-leak": "repeats its instructions",
    "assistant-voice": "speaks as an assistant",
    "forbidden-pattern": "holds what the task forbids",
    "language": "not in the language asked for",
    "in-evaluation-set": "stands in the evaluation set",
    "duplicate": "repeats another text",
    "near-duplicate": "nearly repeats another text",
    "copy": "two of its texts are the same",
    "label-mismatch": "nearer to another label",
    "off-topic": "far from its label",
    "blind-label": "read blind, it gets another label",
    "round-trip": "other texts are nearer than its positive",
    "no-partner": "no text to pair it with",
    "guide-order": "the guide finds the negative nearer",
    "over-quota": "nothing is wrong, its group had enough rows",
}
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def read_columns(table: Dataset, names: Sequence[str]) -> dict[str, list]:
    """The columns of these names that the table has, as Python values; bytes that are no UTF-8 become U+FFFD."""
    names = [n for n in names if n in table.column_names]
    if not names:
        return {}
    arrow = table.select_columns(names).with_format("arrow")[:]
    return {n: _values(arrow[n]) for n in names}


def read_rows(table: Dataset) -> list[dict[str, Any]]:
    """One mapping a row, of those columns of `COLUMNS` that the table has."""
    columns = read_columns(table, COLUMNS)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def visible(text: object) -> str:
    """The text with control characters as their signs and half surrogate pairs as U+FFFD: what has no shape is seen."""
    text = ("" if text is None else str(text)).replace("\r\n", "\n")
    return _UNSEEN.sub(lambda m: _sign(ord(m[0])), text)


def named(value: object) -> str:
    """A label or another short value on one line, cut where it is long."""
    text = " ".join(visible(value).split())
    return text if len(text) <= _NAME else text[: _NAME - 1] + "…"


def label_of(row: Mapping[str, Any]) -> str:
    return next((named(row[c]) for c in LABELS if row.get(c)), "")


def reason_of(row: Mapping[str, Any], rejected: bool) -> str:
    """Why a row was rejected, in plain words; empty for an accepted one."""
    if not rejected and row.get("status") != "rejected":
        return ""
    reason = row.get("reject_reason")
    return REASONS.get(reason) or named(str(reason or "no reason given").replace("-", " ").replace("_", " "))


def length_limit(rows: Sequence[Mapping[str, Any]], room: int) -> tuple[int, int]:
    """(limit, cut): characters of a text to be shown, so that all texts find room; how many texts are longer than that.

    The limit is `LONGEST`, or less where the texts together would not fit.
    """
    lengths = [len(text) for row in rows for _, text, *_ in _texts(row)]
    limit = LONGEST
    while limit > 2 * _FOLDED and sum(min(n, limit) for n in lengths) > room:
        limit //= 2
    return limit, sum(n > limit for n in lengths)


def texts_of(row: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """The texts of a row: role, label, cosine to the anchor, note, head, rest (of a folded one), more (what unfolds).

    A folded text is head and rest together; keys without a value are left out.
    """
    own, ap, shown = label_of(row), row.get("guide_ap"), []
    for role, text, label, cosine, source in _texts(row):
        text, label, note = visible(text), named(label), []
        near = role == "Negative" and is_number(cosine) and is_number(ap) and cosine > ap
        note = ["nearer than the positive"] if near else []
        note += [named(source)] if source else []
        entry = {
            "role": role,
            "label": "" if role != "Negative" and label == own else label,
            "cosine": round(float(cosine), 2) + 0.0 if is_number(cosine) else None,  # + 0.0: no minus zero
            "note": " · ".join(note),
            **_folded(text, limit),
        }
        shown.append({k: v for k, v in entry.items() if v not in ("", None)})
    return shown


def facts_of(row: Mapping[str, Any]) -> dict[str, str]:
    """What else is known about a row, by name."""
    facts = {name: named(row[c]) for c, name in _FACTS.items() if row.get(c) not in (None, "")}
    facts |= _attributes(row.get("attributes"))
    if seeds := _many(row.get("seed_ids")):
        facts["seeds"] = named(", ".join(map(str, seeds)))
    if isinstance(row.get("live"), bool):
        facts["live negative"] = "yes" if row["live"] else "no, the guide masks all"
    tokens = [
        f"{count(row[c])} {way}" for c, way in (("tokens_in", "in"), ("tokens_out", "out")) if is_number(row.get(c))
    ]
    if tokens:
        facts["tokens"] = ", ".join(tokens)
    if is_number(row.get("cost_usd")):
        facts["cost"] = dollars(row["cost_usd"])
    hidden = len(_many(row.get("negatives"))) - _NEGATIVES
    if hidden > 0:
        facts["not shown"] = f"{count(hidden)} more negatives"
    return facts


def lead_of(row: Mapping[str, Any]) -> float | None:
    """By how much the positive is nearer to the anchor than the nearest negative, as the guide sees it."""
    ap, an = row.get("guide_ap"), [c for c in _many(row.get("guide_an")) if is_number(c)]
    return round(float(ap) - float(max(an)), 4) if is_number(ap) and an else None


def _texts(row: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """(role, text, label, cosine, source) of each text to be shown."""
    found = [("Anchor", row.get("anchor") or "", None, None, None)]
    if row.get("positive"):
        found.append(("Positive", row["positive"], row.get("positive_label"), row.get("guide_ap"), None))
    beside = [_many(row.get(c)) for c in ("negative_labels", "guide_an", "negative_sources")]
    ends = ([*values, *repeat(None, _NEGATIVES)] for values in beside)
    found += [("Negative", *four) for four in islice(zip(_many(row.get("negatives")), *ends, strict=False), _NEGATIVES)]
    return [(role, text if isinstance(text, str) else str(text), *more) for role, text, *more in found]


def _folded(text: str, limit: int) -> dict[str, str]:
    if len(text) <= _FOLDED and text.count("\n") <= _FOLDED_LINES:
        return {"head": text}
    head = "\n".join(text[:_HEAD].split("\n")[:_HEAD_LINES])
    more = f"all {count(len(text))} characters"
    if len(text) > limit:
        more = f"the first {count(limit)} of {count(len(text))} characters; the rest is cut from this page"
    return {"head": head, "rest": text[len(head) : limit], "more": more}


def _attributes(value: object) -> dict[str, str]:
    """Attributes as a mapping or as JSON text; anything else is shown as it is."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return {"attributes": named(value)}
    if isinstance(value, Mapping):
        return {named(k): named(v) for k, v in value.items() if v not in (None, "", [])}
    return {"attributes": named(value)} if value else {}


def _many(value: object) -> Sequence:
    return [value] if isinstance(value, str) else value if isinstance(value, Sequence) else []


def _sign(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else "\ufffd"


def _values(column: pa.ChunkedArray) -> list:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [_decoded(v) for v in column.cast(pa.large_binary()).to_pylist()]
    if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
        lists = column.cast(pa.list_(pa.binary())).to_pylist()
        return [None if values is None else [_decoded(v) for v in values] for values in lists]
    return column.to_pylist()


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
