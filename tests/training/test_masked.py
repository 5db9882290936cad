"""Masked candidates to be read: only such as the loss masks, each reason heard, texts cut, no repeats."""

from __future__ import annotations

import pytest

from gisttools.data.triplets import make_triplets
from gisttools.training.masked import EXAMPLE_COLUMNS, audit, mask_quality, masked_examples
from gisttools.training.options import MaskOptions
from gisttools.training.store import GuideStore

TEXTS = {
    "late": ["my parcel is late", "it should have come on Monday", "still no delivery", "where is my parcel " * 60],
    "refund": ["where is my money", "refund not on my account", "I sent it back weeks ago", "my money is late"],
}


@pytest.fixture(scope="module")
def table():
    rows = []
    for label, other in (("late", "refund"), ("refund", "late")):
        for i, text in enumerate(TEXTS[label]):
            rows.append(
                {
                    "anchor": text,
                    "positive": TEXTS[label][i - 1],
                    "negatives": [TEXTS[other][i]],
                    "anchor_label": label,
                    "positive_label": label,
                    "negative_labels": [other],
                }
            )
    return make_triplets(rows)


def test_examples_are_candidates_with_reason_score_and_threshold(table, guide):
    found = masked_examples(GuideStore.build(table, guide), batch_size=8)
    assert list(found.columns) == EXAMPLE_COLUMNS
    assert len(found) > 0
    assert not found["masked_by"].str.contains("equal text").any()
    by_guide = found["masked_by"].str.contains("guide")
    assert by_guide.any()
    assert (found["guide_score"] > found["threshold"])[by_guide].all()
    assert not found.duplicated(["anchor", "candidate"]).any()
    assert set(found["label"]) <= {"late", "refund"}
    assert found["anchor"].str.len().max() <= 500


def test_each_reason_is_heard_although_few_are_asked_for(table, guide):
    store = GuideStore.build(table, guide)
    every = set(masked_examples(store, batch_size=8)["masked_by"])
    few = masked_examples(store, batch_size=8, most=len(every))
    assert set(few["masked_by"]) == every
    assert len(every) > 1


def test_without_a_guide_labels_mask_and_scores_are_missing(table):
    found = masked_examples(GuideStore.build(table, None), batch_size=8)
    assert set(found["masked_by"]) == {"label"}
    assert found["guide_score"].isna().all()


def test_nothing_masked_is_an_empty_table_of_the_same_columns(table):
    mask = MaskOptions(mask_same_label=False)
    found = masked_examples(GuideStore.build(table, None), mask, batch_size=8)
    assert list(found.columns) == EXAMPLE_COLUMNS
    assert len(found) == 0


def test_precision_and_recall_are_of_candidates_of_the_anchors_label(table, guide):
    """Counted once more from what the audit lists: all that the guide masks, and all of the anchor's label."""
    store = GuideStore.build(table, guide)
    told = mask_quality(store, MaskOptions(), batch_size=8)
    whole = audit(store, batch_size=8)
    whole = whole[~whole["masked_by"].str.contains("equal text")]
    by_guide, of_label = whole["masked_by"].str.contains("guide"), whole["masked_by"].str.contains("label")
    assert told["masked"] == by_guide.sum()
    assert told["same_label"] == of_label.sum()
    assert told["precision"] == pytest.approx((by_guide & of_label).sum() / by_guide.sum())
    assert told["recall"] == pytest.approx((by_guide & of_label).sum() / of_label.sum())


def test_without_a_guide_or_labels_nothing_is_said_of_how_right_it_is(table, guide):
    assert mask_quality(GuideStore.build(table, None), batch_size=8) == {}
    bare = table.remove_columns(["anchor_label", "positive_label", "negative_labels"])
    bare = make_triplets([{k: r[k] for k in ("anchor", "positive", "negatives")} for r in bare.to_list()])
    assert mask_quality(GuideStore.build(bare, guide), batch_size=8) == {}
