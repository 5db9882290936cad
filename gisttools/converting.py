"""From named sources of labelled texts to one triplet table, with the counts that tell what became of every text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, concatenate_datasets

from gisttools.errors import DataError
from gisttools.hygiene import drop_overlap
from gisttools.labelled import LabelledTexts, read_labelled
from gisttools.mining import MiningOptions, triplets_from_labelled
from gisttools.vectors import VectorCache


@dataclass(frozen=True)
class Converted:
    """The table, the labelled texts it was made from, and the counts."""

    triplets: Dataset
    data: list[LabelledTexts]
    summary: dict[str, Any]

    def headline(self) -> str:
        """One line: how many triplets of how many texts."""
        texts, classes = sum(map(len, self.data)), sum(len(d.classes) for d in self.data)
        live = self.summary["live_share"]
        return f"{len(self.triplets)} triplets of {texts} texts in {classes} classes, {live:.0%} live"


def convert(
    sources: Sequence[str],
    guide: VectorCache,
    *,
    reading: Mapping[str, Any] | None = None,
    mining: Mapping[str, Any] | None = None,
    eval_texts: Sequence[str] = (),
) -> Converted:
    """Read the train split of every source and mine triplets inside each source.

    Args:
        sources: as in `gisttools.labelled.read_labelled`.
        guide: its similarities pick positives and negatives.
        reading, mining: options of `read_labelled` and of `gisttools.mining.MiningOptions`.
        eval_texts: texts of evaluation sets; rows that hold one of them are dropped and counted.

    Raises:
        MissingError, DataError, ParameterError: as those functions; also if no triplet is left.
    """
    data = [read_labelled(source, **(reading or {})) for source in sources]  # all first: errors before work
    tables, counts = [], []
    for texts in data:
        table, mined = triplets_from_labelled(texts, guide, MiningOptions(**(mining or {})))
        dropped = mined.dropped
        table, overlapping = drop_overlap(table, eval_texts)
        if overlapping:
            dropped = {**dropped, "text of an evaluation set": overlapping}
        tables.append(table)
        counts.append(
            {
                "source": texts.source,
                "revision": texts.revision,
                "split": texts.split,
                "texts": len(texts),
                "classes": len(texts.classes),
                "triplets": len(table),
                "dropped": dropped,
            }
        )
    triplets = concatenate_datasets(tables)
    if not len(triplets):
        raise DataError(
            f"No triplet is left of {sum(map(len, data))} texts; dropped: {[c['dropped'] for c in counts]}."
        )
    live = triplets["live"][:]
    summary = {
        "sources": counts,
        "guide_id": guide.guide_id,
        "strategy": (mining or {}).get("strategy", "gistembed"),
        "triplets": len(triplets),
        "live_share": sum(map(bool, live)) / len(live),
    }
    return Converted(triplets, data, summary)
