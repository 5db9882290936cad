"""Writes a page to look through triplets: one file with search, filters and pages of rows, that needs no network.

The rows are in the page as JSON, and the first of them as HTML too, for readers without scripts. Every column but
`anchor` may be missing, and one of another type is shown as text.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from gisttools.common import DataError, ParameterError, count, dollars, is_number, plural, problems, write_whole
from gisttools.report.page import as_json, environment, script, style

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
    "names-source": "speaks of the text that it was written on",
    "copied": "repeats the text that it was written on",
    "thrown-out": "thrown out by a person",
    "in-evaluation-set": "stands in the evaluation set",
    "duplicate": "repeats another text",
    "near-duplicate": "nearly repeats another text",
    "copy": "its positive says its anchor again",
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
    reason = str(row.get("reject_reason") or "no reason given")
    return REASONS.get(reason) or named(reason.replace("-", " ").replace("_", " "))


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
        facts["usable negative"] = "yes" if row["live"] else "no, the guide masks all"
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
    more = [_many(row.get(c)) for c in ("negative_labels", "guide_an", "negative_sources")]
    ends = ([*values, *repeat(None, _NEGATIVES)] for values in more)
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


FILE_NAME = "browse.html"
PAGE = 50  # rows at a time
_ROOM = 12_000_000  # characters of all texts together, beyond which long ones are cut shorter
_OPTIONS = 300  # values a filter offers, the most frequent ones
_SPENT = ("tokens_in", "tokens_out", "cost_usd")
_NOTHING = (None, "", {}, [])  # left out of the rows' JSON
_UNFILTERED = ("id", "seeds", "tokens", "cost", "not shown")  # facts that have no filter
_FEW = 40  # values of a fact that has one


def write_browser(
    accepted: Dataset, rejected: Dataset | None, path: str | Path, *, title: str, most: int = 5000
) -> Path:
    """Write a page that shows triplets to `path` (a file, or a folder that gets `browse.html`), whole or not at all.

    Args:
        accepted: rows; one whose `status` is rejected counts as rejected.
        rejected: rows that were not kept, whatever their `status`, if there are any.
        title: the page's heading.
        most: rows in the page. Of more rows a sample is shown, the same one each time, drawn evenly from each label and
            each reason of rejection. Counts are always those of all rows.

    Returns:
        The path of the page. The same rows give the same bytes.

    Raises:
        DataError: a table has no column `anchor`.
        ParameterError: `most` is below 1.
    """
    path = Path(path)
    if path.suffix != ".html":
        path = path / FILE_NAME
    page = render_browser(accepted, rejected, title=title, most=most)
    write_whole(path, page)
    return path


def render_browser(accepted: Dataset, rejected: Dataset | None, *, title: str, most: int = 5000) -> str:
    """The page of `write_browser` as text."""
    if most < 1:
        raise ParameterError(f"most is {most}, so no row would be shown. Set it to 1 or more.")
    tables = {"accepted": accepted, "rejected": rejected}
    tables = {name: table for name, table in tables.items() if table is not None}
    lacking = [
        f"the {name} table has no column 'anchor' (columns: {', '.join(table.column_names)})"
        for name, table in tables.items()
        if "anchor" not in table.column_names
    ]
    if lacking:
        raise DataError(problems("These rows cannot be browsed:", lacking, "Give triplet tables."))
    code, digest = script("browse.js.j2")
    page = environment(autoescape=True).get_template("browse.html.j2")
    return page.render(
        **_view(tables, most),
        title=named(title),
        style=style("style.css.j2", "browse.css.j2"),
        script=code,
        script_hash=digest,
    )


def sample(groups: Sequence[Hashable], most: int) -> list[int]:
    """At most `most` positions, as many of each group as can be; what small groups leave over goes to larger ones."""
    if len(groups) <= most:
        return list(range(len(groups)))
    members = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    rng, chosen = random.Random("browse"), []
    waiting = sorted(members.values(), key=len)
    for i, places in enumerate(waiting):
        share = (most - len(chosen)) // (len(waiting) - i)
        chosen += rng.sample(places, min(share, len(places)))
    return sorted(chosen)


def _view(tables: Mapping[str, Dataset], most: int) -> dict[str, Any]:
    labels, reasons, spent = _overview(tables)
    chosen = sample([(reason, "" if reason else label) for label, reason in zip(labels, reasons, strict=True)], most)
    found = _rows_at(tables, chosen)
    limit, cut = length_limit([row for _, row in found], _ROOM)
    rows: list[dict[str, Any]] = [
        {
            "number": number,
            "label": labels[i],
            "reason": reasons[i],
            "texts": texts_of(row, limit),
            "facts": facts_of(row),
            "lead": lead_of(row),
        }
        for (number, row), i in zip(found, chosen, strict=True)
    ]
    facets, common = _facets(rows), _common_facts(rows)
    for row in rows:
        row["facts"] = {name: value for name, value in row["facts"].items() if name not in common}
    rejections = Counter(reason for reason in reasons if reason).most_common()
    return {
        "strip": _strip(labels, reasons, spent),
        "rejections": [(reason, count(n), f"{100 * n / rejections[0][1]:.1f}") for reason, n in rejections],
        "common": list(common.items()),
        "sampled": f"{count(len(rows))} of {count(len(labels))}" if len(rows) < len(labels) else "",
        "cut": plural(cut, "text") if cut else "",
        "limit": count(limit),
        "facets": facets,
        "options": _OPTIONS,
        "ordered": any(row["lead"] is not None for row in rows),
        "total": plural(len(rows), "row"),
        "first": rows[:PAGE],
        "more": len(rows) > PAGE,
        "rows": as_json({"page": PAGE, "rows": [{k: v for k, v in row.items() if v not in _NOTHING} for row in rows]}),
    }


def _overview(tables: Mapping[str, Dataset]) -> tuple[list[str], list[str], dict[str, float]]:
    """Of all rows, accepted ones first: labels, reasons of rejection ("" of a kept row), and sums of what was spent."""
    labels, reasons, spent = [], [], {}
    for name, table in tables.items():
        columns = read_columns(table, (*LABELS, "status", "reject_reason", *_SPENT))
        for values in zip(*columns.values(), strict=True) if columns else [()] * len(table):
            row = dict(zip(columns, values, strict=True))
            labels.append(label_of(row))
            reasons.append(reason_of(row, name == "rejected"))
            for column in _SPENT:
                if is_number(row.get(column)):
                    spent[column] = spent.get(column, 0) + row[column]
    return labels, reasons, spent


def _rows_at(tables: Mapping[str, Dataset], chosen: Sequence[int]) -> list[tuple[int, dict[str, Any]]]:
    """The rows at these positions, counted through all tables, with their number in their own table, from 1."""
    found, begin = [], 0
    for table in tables.values():
        own = [i - begin for i in chosen if begin <= i < begin + len(table)]
        found += zip((i + 1 for i in own), read_rows(table.select(own)), strict=True)
        begin += len(table)
    return found


def _facets(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What rows can be filtered by: names with their values and counts. Each row gets `keys`, a value's place or -1."""
    kinds = {
        "Status": [("rejected" if row["reason"] else "accepted") for row in rows],
        "Reason": [row["reason"] for row in rows],
        "Label": [row["label"] for row in rows],
    }
    for fact in dict.fromkeys(name for row in rows for name in row["facts"] if name not in _UNFILTERED):
        values = [row["facts"].get(fact, "") for row in rows]
        if len(set(values)) <= _FEW:
            kinds[fact[:1].upper() + fact[1:]] = values
    for row in rows:
        row["keys"] = []
    facets = []
    for name, values in kinds.items():
        counts = Counter(values)
        if len(counts) < 2:
            continue
        kept = [(value, n) for value, n in counts.most_common() if value][:_OPTIONS]
        if name != "Reason":  # reasons stand with the most frequent first
            kept.sort(key=lambda pair: pair[0].casefold())
        place = {value: i for i, (value, _) in enumerate(kept)}
        for row, value in zip(rows, values, strict=True):
            row["keys"].append(place.get(value, -1))
        facets.append({"name": name, "values": kept, "partial": len(counts) - ("" in counts) > len(kept)})
    return facets


def _common_facts(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Facts that all of several rows share: said once."""
    if len(rows) < 2:
        return {}
    return {k: v for k, v in rows[0]["facts"].items() if all(row["facts"].get(k) == v for row in rows)}


def _strip(labels: Sequence[str], reasons: Sequence[str], spent: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """(name, value, detail) of the figures in the page's head."""
    rejected, names = sum(map(bool, reasons)), set(labels) - {""}
    share = f"{100 * rejected / len(reasons):.1f} % of {plural(len(reasons), 'row')}" if rejected else ""
    strip = [("Accepted", count(len(reasons) - rejected), ""), ("Rejected", count(rejected), share)]
    if names:
        strip.append(("Labels", count(len(names)), ""))
    tokens = [f"{count(spent[c])} {way}" for c, way in (("tokens_in", "in"), ("tokens_out", "out")) if c in spent]
    if any(spent.values()):
        cost = dollars(spent["cost_usd"]) if "cost_usd" in spent else "price not known"
        strip.append(("Spent", cost, f"tokens: {', '.join(tokens)}" if tokens else ""))
    return strip
