"""The audit names the candidates that the loss masks, neither more nor fewer, and says why."""

from __future__ import annotations

import pytest

from gisttools.common.errors import DataError
from gisttools.data.triplets import make_triplets
from gisttools.models.loading import open_model
from gisttools.models.vectors import VectorCache
from gisttools.training.loss import GISTLoss
from gisttools.training.masked import audit
from gisttools.training.options import LossOptions, MaskOptions
from gisttools.training.store import GuideStore

MINILM = "embedded:all-MiniLM-L6-v2"
ROWS = [
    ("my parcel is late", "the delivery is overdue", ["I want my money back", "it broke"], "late"),
    ("please cancel it", "I no longer want the order", ["the code is rejected"], "cancel"),
    ("it should be here by now", "my parcel is late", [], "late"),
    ("stop the order please", "please cancel it", ["my delivery is overdue"], "cancel"),
    ("the voucher does not work", "my code is refused", ["please cancel it", "where is it"], None),
    ("please cancel it", "do not send it", [], None),
    ("is the money on its way", "do not send it", [], "refund"),
]
SEVERAL = ["late", "late | cancel", "cancel | refund", "refund", None, None, "refund"]


@pytest.fixture(scope="module")
def table():
    return make_triplets(
        [{"anchor": a, "positive": p, "negatives": n, "anchor_label": x, "positive_label": x} for a, p, n, x in ROWS]
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return VectorCache(MINILM, folder=tmp_path_factory.mktemp("guide"))


@pytest.mark.parametrize("guided", [True, False], ids=["guided", "unguided"])
@pytest.mark.parametrize("same_label", ["mask", "positive", "ignore"])
@pytest.mark.parametrize("several", [True, False], ids=["several-labels", "one-label"])
@pytest.mark.parametrize("margin", [{"margin": 0.0}, {"margin": 0.2}, {"margin": 0.3, "margin_strategy": "relative"}])
def test_as_many_masked_as_the_loss_masks(table, cache, guided, same_label, several, margin):
    """Positives of the same label are not masked, neither there nor here."""
    if several:
        table = table.map(lambda row: {**row, "task_type": "MultilabelClassification"})
        table = table.map(
            lambda row, i: {**row, "anchor_label": SEVERAL[i], "positive_label": SEVERAL[i]}, with_indices=True
        )
    store = GuideStore.build(table, cache if guided else None)
    assert (store.label_ids.ndim == 3) == several
    student = open_model(MINILM, device="cpu").eval()
    columns = store.training_columns()
    names = [c for c in columns.column_names if c != "label"]
    masks = {**margin, "same_label": same_label, "guide_masks": "unlabelled" if several else "all"}
    loss = GISTLoss(student, store, LossOptions(**masks))
    loss([student.preprocess(columns[c][:]) for c in names], columns.with_format("torch")["label"][:])
    found = audit(store, mask=MaskOptions(**masks))
    assert same_label == "mask" or not found[found.block != "pp"].masked_by.str.contains("label").any()
    found = found.groupby("block").size().to_dict()
    b, given = len(ROWS), sum(len(n) for _, _, n, _ in ROWS)
    pairs = {"ap": b * (b - 1), "aa": b * (b - 1), "pp": b * (b - 1), "an": b * given}
    masked = {name: round(share * pairs[name]) for name, share in loss.masked_shares().items()}
    assert masked == {name: found.get(name, 0) for name in pairs}


def test_reasons_and_scores(table, cache):
    found = audit(GuideStore.build(table, cache))
    tied = found[(found.row == 0) & (found.candidate == "my parcel is late")].iloc[0]
    assert tied.masked_by.split(" + ")[-2:] == ["equal text", "label"]
    by_guide = found[found.masked_by == "guide"]
    assert (by_guide.guide_score > by_guide.threshold).all()
    partners = found[found.masked_by.str.contains("partner")]
    assert {(r.row, r.candidate) for r in partners[partners.block == "ap"].itertuples()} == {
        (1, "do not send it"), (5, "I no longer want the order")}  # fmt: skip
    assert {(r.row, r.candidate) for r in partners[partners.block == "aa"].itertuples()} == {
        (5, "is the money on its way"), (6, "please cancel it")}  # fmt: skip
    assert "late" not in str(found[found.anchor == "the voucher does not work"].masked_by)  # no label, no label mask


@pytest.mark.parametrize("row", [-1, 7])
def test_rows_that_are_not_in_the_table_are_refused(table, row):
    with pytest.raises(DataError, match=f"rows {min(0, row)} to {max(0, row)} were asked of a table of 7 rows"):
        audit(GuideStore.build(table, None), rows=[0, row])


def test_one_batch_holds_only_its_rows(table, cache):
    found = audit(GuideStore.build(table, cache), rows=[1, 3])
    assert set(found.row) <= {1, 3}
    assert set(audit(GuideStore.build(table, cache), batch_size=1).block) <= {"an"}
