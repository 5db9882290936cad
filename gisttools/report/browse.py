"""A page to look through triplets: one file with search, filters and pages of rows, that needs no network.

The rows stand in the page as JSON, and the first of them as HTML too, for readers without scripts.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from gisttools.common import DataError, ParameterError, count, dollars, is_number, plural, problems
from gisttools.report.browse_rows import (
    LABELS,
    facts_of,
    label_of,
    lead_of,
    length_limit,
    named,
    read_columns,
    read_rows,
    reason_of,
    texts_of,
)
from gisttools.report.page import as_json, environment, script, style

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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(page.encode("utf-8"))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
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
