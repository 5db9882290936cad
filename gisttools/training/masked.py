"""Lays a batch open: which candidates the loss masks, for which anchor, and by what; and some picked to be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from gisttools.common import DataError
from gisttools.training.options import MaskOptions
from gisttools.training.store import BatchRows, GuideStore

COLUMNS = ["batch", "row", "block", "anchor", "positive", "candidate", "guide_score", "threshold", "masked_by"]
FILE = "masked_examples.parquet"
EXAMPLE_COLUMNS = ["anchor", "candidate", "positive", "block", "guide_score", "threshold", "masked_by", "label"]
BATCHES, EXAMPLES = 4, 60
_TEXT = 500  # characters kept of a text


def audit(
    store: GuideStore,
    rows: Sequence[int] | None = None,
    mask: MaskOptions | None = None,
    *,
    batch_size: int = 64,
    seed: int | None = None,
) -> pd.DataFrame:
    """Every masked candidate of one batch, or of a whole set cut into batches.

    Args:
        store: the table and its guide vectors.
        rows: row numbers to look at; all if None. One batch: `rows=[...]` no longer than `batch_size`.
        mask: what masks; `MaskOptions()` if None. The options of a loss will do.
        batch_size: rows a batch; what is masked depends on which rows meet.
        seed: shuffle the rows first, as training does; None keeps their order.

    Returns:
        One row per masked pair; positives of `same_label: positive` are none. `block`: ap (another row's positive), aa
        (another anchor), pp (another positive, scored against the positive), an (a given negative). `guide_score` and
        `threshold` are guide cosines (null without a guide; the threshold has the margin taken off). `masked_by`:
        guide, equal text, partner (a positive that another row gives the same anchor, or an anchor that shares the
        positive), label, joined by " + ". A row's own anchor and positive are no candidates and not listed.

    Raises:
        DataError: a row is not in the table.
    """
    mask = mask or MaskOptions()
    order = np.arange(len(store.table)) if rows is None else np.asarray(rows, dtype=np.int64)
    if len(order) and not 0 <= order.min() <= order.max() < len(store.table):
        raise DataError(
            f"rows {order.min()} to {order.max()} were asked of a table of {len(store.table)} rows. Name rows from 0."
        )
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    found = []
    for number, begin in enumerate(range(0, len(order), batch_size)):
        found += _audit_batch(store, order[begin : begin + batch_size], number, mask)
    return pd.DataFrame(found, columns=COLUMNS)


def _audit_batch(store: GuideStore, ids: np.ndarray, number: int, mask: MaskOptions) -> Iterator[dict[str, object]]:
    known = store.rows(torch.from_numpy(store.row_ids[ids]))
    texts, label = store.table.select(ids).to_pandas(), _labels(known)
    from_label = {"mask": ("ap", "aa", "pp", "an"), "positive": ("pp",), "ignore": ()}[mask.of_same_label]
    anchor, positive = known.text_ids[:, :1], known.text_ids[:, 1:2]
    limit = _limit(known, mask)
    for block in _blocks(known, texts, mask):
        reasons = {
            "equal text": (block.text_ids == anchor) | (block.text_ids == positive),
            "partner": block.partners,
            "label": _share_one(label, block.label_ids) & torch.tensor(mask.of_same_label != "ignore"),
        }
        if limit is not None and block.scores is not None:
            asked = ~((label >= 0).any(-1, keepdim=True) & (block.label_ids >= 0).any(-1))
            asked |= torch.tensor(mask.guide_masks != "unlabelled" or mask.of_same_label == "ignore")
            reasons = {"guide": (block.scores > limit[:, None]) & asked, **reasons}
        masked = torch.stack(list(reasons.values())).any(0) & block.candidates
        if block.name not in from_label:  # of the anchor's label, and so no negative, but a positive
            masked &= ~reasons.pop("label") | reasons["equal text"]
        for i, j in masked.nonzero().tolist():
            yield {
                "batch": number,
                "row": int(ids[i]),
                "block": block.name,
                "anchor": texts["anchor"].iloc[i],
                "positive": texts["positive"].iloc[i],
                "candidate": block.texts[j],
                "guide_score": None if block.scores is None else float(block.scores[i, j]),
                "threshold": None if limit is None else float(limit[i]),
                "masked_by": " + ".join(reason for reason, found in reasons.items() if found[i, j]),
            }


def mask_quality(
    store: GuideStore,
    mask: MaskOptions | None = None,
    *,
    rows: Sequence[int] | None = None,
    batch_size: int = 64,
    seed: int = 42,
    batches: int = BATCHES,
) -> dict[str, float | int | None]:
    """How right the guide's mask is, where labels are known: a candidate of the anchor's label is a false negative.

    Equal texts and partners are left out, for they are masked whatever the guide says. `rows` are the row numbers to
    look at, all if None; other arguments as of `masked_examples`.

    Returns:
        `masked`: candidates that the guide masks; `same_label`: those of the anchor's label; `precision`: share of
        `masked` that are of the label; `recall`: share of `same_label` that is masked. None for a share of nothing; all
        of it empty without a guide, without labels, or where the guide masks only what has none.
    """
    mask = mask or MaskOptions()
    if mask.guide_masks == "unlabelled" and mask.of_same_label != "ignore":
        return {}
    among = np.arange(len(store.table)) if rows is None else np.asarray(rows, dtype=np.int64)
    order = np.random.default_rng(seed).permutation(among)[: batches * batch_size]
    masked = same = both = 0
    for begin in range(0, len(order), batch_size):
        ids = order[begin : begin + batch_size]
        known = store.rows(torch.from_numpy(store.row_ids[ids]))
        limit, label = _limit(known, mask), _labels(known)
        anchor, positive = known.text_ids[:, :1], known.text_ids[:, 1:2]
        for block in _blocks(known, store.table.select(ids).to_pandas(), mask):
            if limit is None or block.scores is None:
                return {}
            counts = block.candidates & (label >= 0).any(-1)[:, None] & (block.label_ids >= 0).any(-1)
            counts &= (block.text_ids != anchor) & (block.text_ids != positive) & ~block.partners
            by_guide, alike = (block.scores > limit[:, None]) & counts, _share_one(label, block.label_ids) & counts
            masked, same = masked + int(by_guide.sum()), same + int(alike.sum())
            both += int((by_guide & alike).sum())
    if not same:
        return {}
    return {
        "masked": masked, "same_label": same, "precision": both / masked if masked else None, "recall": both / same,
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Block:
    """All candidates of one kind, C of them, for B rows: guide cosines, which are candidates at all, which are partners
    of the row's texts, each (B, C); and their text ids (C,) and label ids (C, M)."""

    name: str
    texts: list[str | None]
    scores: Tensor | None
    candidates: Tensor
    partners: Tensor
    text_ids: Tensor
    label_ids: Tensor


def _blocks(known: BatchRows, texts: pd.DataFrame, mask: MaskOptions) -> Iterator[_Block]:
    b, k = len(known.text_ids), known.text_ids.shape[1] - 2
    vectors = None if known.anchor is None else [_unit(x) for x in (known.anchor, known.positive, known.negatives)]
    given = known.text_ids[:, 2:].flatten() >= 0
    anchors, positives = texts["anchor"].tolist(), texts["positive"].tolist()
    negatives = [n[j] if j < len(n) else None for n in texts["negatives"] for j in range(k)]
    labels = known.label_ids if known.label_ids.ndim == 3 else known.label_ids[..., None]
    not_itself = ~torch.eye(b, dtype=torch.bool)
    # name, column that it is scored against, column of the candidates, their texts, which count
    kinds = [("ap", 0, 1, positives, not_itself)]
    kinds += [("aa", 0, 0, anchors, not_itself)] if mask.contrast_anchors else []
    kinds += [("pp", 1, 1, positives, not_itself)] if mask.contrast_positives else []
    kinds += [("an", 0, 2, negatives, given.expand(b, -1))] if k else []
    for name, against, column, candidates, counted in kinds:
        columns = slice(2, None) if column == 2 else slice(column, column + 1)
        yield _Block(
            name=name,
            texts=candidates,
            scores=None if vectors is None else vectors[against] @ vectors[column].T,
            candidates=counted,
            partners=_partners(known.text_ids, column),
            text_ids=known.text_ids[:, columns].flatten(),
            label_ids=labels[:, columns].flatten(0, 1),
        )


def _partners(text_ids: Tensor, column: int) -> Tensor:
    """(B, C): whether a candidate of the column is a positive of an equal anchor, or an anchor of an equal positive."""
    if column == 2:
        return torch.zeros(len(text_ids), text_ids[:, 2:].numel(), dtype=torch.bool)
    shared = text_ids[:, 1 - column]
    return shared[:, None] == shared[None, :]


def _labels(known: BatchRows) -> Tensor:
    """The labels of the anchors, (B, M)."""
    return known.label_ids[:, 0] if known.label_ids.ndim == 3 else known.label_ids[:, :1]


def _share_one(labels: Tensor, others: Tensor) -> Tensor:
    """(B, C): whether two texts have a label in common, of (B, M) and (C, M)."""
    return ((labels[:, None, :, None] == others[None, :, None, :]) & (labels >= 0)[:, None, :, None]).any(-1).any(-1)


def _unit(vectors: Tensor) -> Tensor:
    """Unit vectors, (n, G), of (n, G) or (B, K, G)."""
    return F.normalize(vectors, dim=-1).flatten(0, -2)


def _limit(known: BatchRows, mask: MaskOptions) -> Tensor | None:
    """Above which guide cosine each row masks, (B,); None without a guide."""
    if known.anchor is None or known.positive is None:
        return None
    theta = (F.normalize(known.anchor, dim=-1) * F.normalize(known.positive, dim=-1)).sum(-1)
    return mask.masks_above(theta)


def masked_examples(
    store: GuideStore,
    mask: MaskOptions | None = None,
    *,
    batch_size: int = 64,
    seed: int = 42,
    batches: int = BATCHES,
    most: int = EXAMPLES,
) -> pd.DataFrame:
    """Masked candidates of a few batches drawn as training might draw them, as evenly of each reason as can be.

    Texts that are masked because they equal the anchor or its positive, or are a partner of either, are left out: there
    is nothing to learn from them. Of the rest those come first that the guide finds most above the threshold, one of
    each anchor and each candidate in turn.

    Args:
        store: the table and its guide vectors.
        mask: what masks; `MaskOptions()` if None. The options of a loss will do.
        batch_size: rows a batch.
        seed: of the order of rows.
        batches: so many are looked at.
        most: rows returned.

    Returns:
        Columns as in `EXAMPLE_COLUMNS`: texts (cut after 500 characters), the block of the loss, the guide's cosine of
        anchor and candidate (of two positives in the block pp) and the threshold above which it masks (null without a
        guide), the reasons joined by " + ", and the anchor's label, if it has one.
    """
    order = np.random.default_rng(seed).permutation(len(store.table))[: batches * batch_size]
    found = audit(store, order.tolist(), mask, batch_size=batch_size)
    found = found[~found["masked_by"].str.contains("equal text|partner")]
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
