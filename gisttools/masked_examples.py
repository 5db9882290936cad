"""A few of the candidates that the loss masks, picked to be read: which anchor, which text, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gisttools.audit import audit
from gisttools.guide import GuideStore

FILE = "masked_examples.parquet"
COLUMNS = ["anchor", "candidate", "positive", "block", "guide_score", "threshold", "masked_by", "label"]
BATCHES, EXAMPLES = 4, 60
_TEXT = 500  # characters kept of a text


def masked_examples(
    store: GuideStore, parameters: Any, *, batches: int = BATCHES, most: int = EXAMPLES
) -> pd.DataFrame:
    """Masked candidates of a few batches drawn as training might draw them, as evenly of each reason as can be.

    Texts that are masked because they equal the anchor or its positive are left out: there is nothing to learn from
    them. Of the rest those come first that the guide finds most above the threshold, one of each anchor and each
    candidate in turn.

    Args:
        store: the table and its guide vectors.
        parameters: of the notebook: batch_size, seed and the options of the mask.
        batches: so many are looked at.
        most: rows returned.

    Returns:
        Columns as in `COLUMNS`: texts (cut after 500 characters), the block of the loss, the guide's cosine of anchor
        and candidate (of two positives in the block pp) and the threshold above which it masks (null without a guide),
        the reasons joined by " + ", and the anchor's label, if it has one.
    """
    p = parameters
    order = np.random.default_rng(p.seed).permutation(len(store.table))[: batches * p.batch_size]
    found = audit(
        store,
        order.tolist(),
        batch_size=p.batch_size,
        margin=p.margin,
        margin_strategy=p.margin_strategy,
        contrast_anchors=p.contrast_anchors,
        contrast_positives=p.contrast_positives,
        mask_same_label=p.mask_same_label,
    )
    found = found[~found["masked_by"].str.contains("equal text")]
    found = found.drop_duplicates(["anchor", "candidate"])
    above = (found["guide_score"].astype(float) - found["threshold"].astype(float)).fillna(0.0)
    found = found.assign(above=above).sort_values("above", ascending=False, kind="stable")
    found["turn"] = np.maximum(found.groupby("anchor").cumcount(), found.groupby("candidate").cumcount())
    found = found.sort_values("turn", kind="stable")
    found["place"] = found.groupby("masked_by").cumcount()
    found = found.sort_values("place", kind="stable").head(most)
    labels = store.table["anchor_label"] if "anchor_label" in store.table.column_names else None
    found["label"] = [None if labels is None else labels[int(row)] for row in found["row"]]
    for column in ("anchor", "candidate", "positive"):
        found[column] = found[column].str.slice(0, _TEXT)
    numbers = {c: found[c].astype(float) for c in ("guide_score", "threshold")}
    return found.assign(**numbers)[COLUMNS].reset_index(drop=True)
