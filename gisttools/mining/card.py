"""Writes the data card: where triplets come from, what they are like, what was left out, and what looks wrong."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from datasets import Dataset

from gisttools.data import TIERS, LabelledTexts, Tiers, count_unseen, fingerprint, languages_of

if TYPE_CHECKING:
    from gisttools.mining.noise import LabelNoise
    from gisttools.models import Reading

_QUANTILES = {"least": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "most": 1.0}
_UNTOLD, _NOT_CHECKED, _NONE_FOUND = "not told", "Not checked.", "None found."
_LONGEST = 80  # characters of a cell


@dataclass(frozen=True)
class DataCard:
    """What is known of a triplet table. `facts` holds only what JSON can hold; None is not known, or not checked."""

    facts: dict[str, Any]

    def with_cleaned(self, rows: int) -> DataCard:
        """The same, saying that invisible characters were taken out of so many rows (`gisttools.data.cleaned`)."""
        return DataCard({**self.facts, "cleaned": rows})

    def markdown(self) -> str:
        """The same as a page. Texts that come from the data are escaped, so that none can break it."""
        facts = self.facts
        sections = {
            "Sources": _sources(facts["sources"]),
            "Texts and classes": _classes(facts["sources"]),
            "Lengths in characters": _length_rows(facts),
            "Characters that do not show": _characters(facts["unseen"], facts["cleaned"]),
            "Languages": _languages(facts),
            "Made by": _table(["source", "triplets"], facts["made_by"].items()) or ["There are no triplets."],
            "Left out": _left_out(facts),
            "Duplicates": _duplicates(facts),
            "Overlap with evaluation sets": _overlaps(facts["overlap"]),
            "Labels": [*_label_noise(facts["label_noise"]), *_relabelled(facts["sources"])],
        }
        lines = ["# Data card", "", f"{facts['triplets']:,} triplets, {facts['negatives']:,} negatives.", ""]
        lines.append(f"Fingerprint of texts and labels: `{facts['fingerprint']}`.")
        for title, content in sections.items():
            lines += ["", f"## {title}", "", *content]
        return "\n".join(lines) + "\n"

    def save(self, folder: Path) -> None:
        """Write `data_card.md` and `data_card.json`."""
        (folder / "data_card.md").write_text(self.markdown(), encoding="utf-8")
        facts = json.dumps(self.facts, ensure_ascii=False, indent=1)
        (folder / "data_card.json").write_text(facts, encoding="utf-8")


def data_card(
    table: Dataset,
    data: Sequence[LabelledTexts] = (),
    *,
    dropped: Mapping[str, int] | None = None,
    duplicates: pd.DataFrame | None = None,
    overlap: pd.DataFrame | None = None,
    noise: Mapping[str, LabelNoise] | None = None,
    tiers: Tiers | None = None,
    reading: Reading | None = None,
) -> DataCard:
    """What is known of a triplet table and of the labelled texts it was made from. The same input gives the same card.

    Args:
        table: columns as in `gisttools.data.COLUMNS`; after the overlap was dropped, if it was.
        data: the labelled texts; none for triplets of other origin.
        dropped: triplets left out, by reason.
        duplicates: what `gisttools.data.find_duplicates` found; None: it was not asked.
        overlap: what `gisttools.data.drop_overlap` found, of several tables with the column `source`; None: it was
            not asked.
        noise: what `gisttools.mining.label_noise` found, by source; None: it was not asked.
        tiers: with which duplicates and overlap were looked for; `Tiers()` if None.
        reading: how much the guide reads of the texts; None: it is not known.
    """
    thresholds = (tiers or Tiers()).thresholds
    negatives = [text for texts in table["negatives"][:] for text in texts]
    texts = {*table["anchor"][:], *table["positive"][:], *negatives}
    facts = {
        "triplets": len(table),
        "negatives": len(negatives),
        "fingerprint": fingerprint(table),
        "sources": [_source(texts) for texts in data],
        "characters": {
            "anchor": _lengths(table["anchor"][:]),
            "positive": _lengths(table["positive"][:]),
            "negatives": _lengths(negatives),
        },
        "unseen": count_unseen(texts),
        "cleaned": None,
        "languages": _counts(table["language"][:]),
        "languages_seen": languages_of([*table["anchor"][:], *table["positive"][:]]),
        "guide_reading": reading.facts if reading else None,
        "made_by": _counts(table["source"][:]),
        "dropped": dict(dropped or {}),
        "tiers": thresholds,
        "duplicates": None if duplicates is None else _tiers(duplicates, thresholds),
        "overlap": None if overlap is None else _overlap(overlap, thresholds),
        "label_noise": None if noise is None else {source: dict(found.counts) for source, found in noise.items()},
    }
    return DataCard(facts)


def _source(texts: LabelledTexts) -> dict[str, Any]:
    label_sets = getattr(texts, "label_sets", None)
    counts = Counter(texts.labels) if label_sets is None else Counter(x for labels in label_sets for x in labels)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "source": texts.source,
        "split": texts.split,
        "revision": texts.revision,
        "licence": getattr(texts, "licence", None),
        "language": texts.language,
        "task_type": getattr(texts, "task_type", None),
        "texts": len(texts),
        "classes": len(ranked),
        "largest_class": list(ranked[0]) if ranked else None,
        "smallest_class": list(ranked[-1]) if ranked else None,
        "characters": _lengths(texts.texts),
        "dropped": dict(getattr(texts, "dropped", None) or {}),
        "relabelled": getattr(texts, "relabelled", 0),
    }


def _lengths(texts: Sequence[str]) -> dict[str, int] | None:
    if not len(texts):
        return None
    values = np.quantile([len(t) for t in texts], list(_QUANTILES.values()), method="inverted_cdf")
    return dict(zip(_QUANTILES, map(int, values), strict=True))


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    counts = Counter(_UNTOLD if value is None else value for value in values)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _tiers(found: pd.DataFrame, thresholds: Mapping[str, float | None]) -> dict[str, int | None]:
    counts = found["tier"].value_counts()
    return {tier: None if thresholds[tier] is None else int(counts.get(tier, 0)) for tier in TIERS}


def _overlap(found: pd.DataFrame, thresholds: Mapping[str, float | None]) -> dict[str, Any]:
    texts = found.drop_duplicates(["eval_set", "text"])
    sets = {str(name): _tiers(part, thresholds) for name, part in texts.groupby("eval_set", sort=True)}
    rows = found.drop_duplicates([c for c in ("source", "place") if c in found])
    return {"triplets": len(rows), "sets": sets}


def _checked(number: int | None) -> int | str:
    return "not checked" if number is None else number


def _sources(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    heads = ["source", "split", "revision", "licence", "language", "kind"]
    names = ["source", "split", "revision", "licence", "language", "task_type"]
    return _table(heads, [[source[name] for name in names] for source in sources]) or ["None was told."]


def _classes(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    heads = ["source", "texts", "classes", "largest", "texts in it", "smallest", "texts in it"]
    none = ["", ""]
    rows = [
        [s["source"], s["texts"], s["classes"], *(s["largest_class"] or none), *(s["smallest_class"] or none)]
        for s in sources
    ]
    return _table(heads, rows) or ["Not told."]


def _length_rows(facts: Mapping[str, Any]) -> list[str]:
    lengths = [*((s["source"], s["characters"]) for s in facts["sources"]), *facts["characters"].items()]
    rows = [[name, *numbers.values()] for name, numbers in lengths if numbers]
    return _table(["texts", *_QUANTILES], rows) or ["There are no texts."]


def _characters(unseen: Mapping[str, int], cleaned: int | None) -> list[str]:
    lines = _table(["kind", "different texts that hold some"], unseen.items()) or [_NONE_FOUND]
    told = [] if cleaned is None else ["", f"Taken out of {cleaned:,} row(s) before."]
    return [*lines, *told]


def _languages(facts: Mapping[str, Any]) -> list[str]:
    lines = _table(["told", "triplets"], facts["languages"].items()) or ["There are no triplets."]
    seen = _table(["seen (py3langid)", "texts"], facts["languages_seen"].items())
    lines += ["", *seen] if seen else []
    reading = facts["guide_reading"]
    share = "is not known: it tells nobody" if reading is None else f"{100 * reading['unknown_share']:.1f} %"
    lines += ["", f"Share of tokens that the guide does not know: {share}."]
    if reading and reading["hardly_read"]:
        lines[-1] += (
            f" It hardly reads {reading['hardly_read']:,} of {reading['texts']:,} texts that were looked at: such "
            "texts are not compared by meaning (semantic), nor are their labels judged by its vectors."
        )
    return lines


def _left_out(facts: Mapping[str, Any]) -> list[str]:
    rows = [[source["source"], *pair] for source in facts["sources"] for pair in source["dropped"].items()]
    rows += [["triplets", *pair] for pair in facts["dropped"].items()]
    return _table(["from", "reason", "number"], rows) or ["Nothing was."]


def _duplicates(facts: Mapping[str, Any]) -> list[str]:
    if facts["duplicates"] is None:
        return [_NOT_CHECKED]
    asked = {tier: "not asked" if least is None else str(least) for tier, least in facts["tiers"].items()}
    rows = [[tier, asked[tier], _checked(number)] for tier, number in facts["duplicates"].items()]
    return _table(["by", "threshold", "texts"], rows) or [_NONE_FOUND]


def _overlaps(overlap: Mapping[str, Any] | None) -> list[str]:
    if overlap is None:
        return [_NOT_CHECKED]
    rows = [[name, *(_checked(counts[tier]) for tier in TIERS)] for name, counts in overlap["sets"].items()]
    lines = _table(["evaluation set", *TIERS], rows) or [_NONE_FOUND]
    return [*lines, "", f"{overlap['triplets']:,} triplets hold such a text; the numbers are of different texts."]


def _relabelled(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"Of {_cell(s['source'])} {s['relabelled']:,} labels were changed by relabel." for s in sources
             if s.get("relabelled")]  # fmt: skip
    return ["", *lines] if lines else []


def _label_noise(noise: Mapping[str, Mapping[str, int | None]] | None) -> list[str]:
    if noise is None:
        return [_NOT_CHECKED]
    rows = [[source, what, _checked(n)] for source, counts in noise.items() for what, n in counts.items()]
    return _table(["source", "what looks wrong", "number"], rows) or [_NONE_FOUND]


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *lines] if lines else []


def _cell(value: object) -> str:
    """A value as the content of a Markdown cell: one line, nothing in it that means something."""
    if value is None:
        return _UNTOLD
    if isinstance(value, int):
        return f"{value:,}"
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in str(value))
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return re.sub(r"([\\`*_\[\]{}()<>#+!|~&$:@-])", r"\\\1", " ".join(text.split())) or "\\-"
