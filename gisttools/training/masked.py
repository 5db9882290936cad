"""A few of the candidates that the loss masks, picked to be read: which anchor, which text, and why.

Which candidates the loss masks, for which anchor, and by what: the batch laid open as a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from gisttools.common import DataError
from gisttools.training.row_blocks import MarginStrategy, Options
from gisttools.training.store import GuideStore

COLUMNS = ["batch", "row", "block", "anchor", "positive", "candidate", "guide_score", "threshold", "masked_by"]


def audit(
    store: GuideStore,
    rows: Sequence[int] | None = None,
    *,
    batch_size: int = 64,
    seed: int | None = None,
    margin: float = 0.0,
    margin_strategy: MarginStrategy = "absolute",
    contrast_anchors: bool = True,
    contrast_positives: bool = True,
    mask_same_label: bool = True,
) -> pd.DataFrame:
    """Every masked candidate of one batch, or of a whole set cut into batches.

    Args:
        store: the table and its guide vectors.
        rows: row numbers to look at; all if None. One batch: `rows=[...]` no longer than `batch_size`.
        batch_size: rows a batch; what is masked depends on which rows meet.
        seed: shuffle the rows first, as training does; None keeps their order.
        margin, margin_strategy, contrast_anchors, contrast_positives: as in `gisttools.training.gist_loss`.
        mask_same_label: as in `GISTLoss`.

    Returns:
        One row per masked pair. `block`: ap (another row's positive), aa (another anchor), pp (another positive, scored
        against the positive), an (a given negative). `guide_score` and `threshold` are guide cosines (null without a
        guide; the threshold has the margin taken off). `masked_by`: guide, equal text, label, joined by " + ". A row's
        own anchor and positive are no candidates and not listed.

    Raises:
        DataError: a row is not in the table.
    """
    options = Options(
        margin=margin,
        margin_strategy=margin_strategy,
        contrast_anchors=contrast_anchors,
        contrast_positives=contrast_positives,
    )
    order = np.arange(len(store.table)) if rows is None else np.asarray(rows, dtype=np.int64)
    if len(order) and not 0 <= order.min() <= order.max() < len(store.table):
        raise DataError(
            f"rows {order.min()} to {order.max()} were asked of a table of {len(store.table)} rows. Name rows from 0."
        )
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    found = []
    for number, begin in enumerate(range(0, len(order), batch_size)):
        found += _audit_batch(store, order[begin : begin + batch_size], number, options, mask_same_label)
    return pd.DataFrame(found, columns=COLUMNS)


def _audit_batch(store: GuideStore, ids: np.ndarray, number: int, options: Options, labels: bool) -> Iterable[dict]:
    known = store.rows(torch.from_numpy(store.row_ids[ids]))
    b, k = len(ids), store.negatives_per_row
    anchors, positives, negatives = known.text_ids[:, 0], known.text_ids[:, 1], known.text_ids[:, 2:].flatten()
    label = known.label_ids
    guided = known.anchor is not None
    vectors = (
        [F.normalize(x, dim=-1) for x in (known.anchor, known.positive, known.negatives)] if guided else [None] * 3
    )
    limit = None
    if guided:
        theta = (vectors[0] * vectors[1]).sum(-1)
        limit = theta - (options.margin if options.margin_strategy == "absolute" else theta.abs() * options.margin)
    self_pairs = torch.eye(b, dtype=torch.bool)
    blocks = [("ap", vectors[0], vectors[1], positives, label[:, 1], self_pairs)]
    if options.contrast_anchors:
        blocks.append(("aa", vectors[0], vectors[0], anchors, label[:, 0], self_pairs))
    if options.contrast_positives:
        blocks.append(("pp", vectors[1], vectors[1], positives, label[:, 1], self_pairs))
    if k:
        flat = vectors[2].flatten(0, 1) if guided else None
        blocks.append(("an", vectors[0], flat, negatives, label[:, 2:].flatten(), (negatives < 0).expand(b, -1)))
    texts = store.table.select(ids).to_pandas()
    candidates = {
        "ap": texts["positive"].tolist(),
        "aa": texts["anchor"].tolist(),
        "pp": texts["positive"].tolist(),
        "an": [n[j] if j < len(n) else None for n in texts["negatives"] for j in range(k)],
    }
    for name, left, right, text, candidate_label, skip in blocks:
        scores = left @ right.T if guided else None
        reasons = {
            "guide": scores > limit[:, None] if guided else torch.zeros_like(skip),
            "equal text": (text == anchors[:, None]) | (text == positives[:, None]),
            "label": (candidate_label == label[:, :1]) & (label[:, :1] >= 0) & labels,
        }
        for i, j in _where(reasons, ~skip):
            yield {
                "batch": number,
                "row": int(ids[i]),
                "block": name,
                "anchor": texts["anchor"].iloc[i],
                "positive": texts["positive"].iloc[i],
                "candidate": candidates[name][j],
                "guide_score": float(scores[i, j]) if guided else None,
                "threshold": float(limit[i]) if guided else None,
                "masked_by": " + ".join(reason for reason, mask in reasons.items() if mask[i, j]),
            }


def _where(reasons: dict[str, Tensor], allowed: Tensor) -> list[list[int]]:
    masked = torch.stack(list(reasons.values())).any(0) & allowed
    return masked.nonzero().tolist()


FILE = "masked_examples.parquet"
EXAMPLE_COLUMNS = ["anchor", "candidate", "positive", "block", "guide_score", "threshold", "masked_by", "label"]
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
        Columns as in `EXAMPLE_COLUMNS`: texts (cut after 500 characters), the block of the loss, the guide's cosine of
        anchor and candidate (of two positives in the block pp) and the threshold above which it masks (null without a
        guide), the reasons joined by " + ", and the anchor's label, if it has one.
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
    return found.assign(**numbers)[EXAMPLE_COLUMNS].reset_index(drop=True)
