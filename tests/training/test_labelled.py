"""Labelled texts of a triplet table: which there are, what the store answers, and a training on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.training_rows import MINILM, WORDLLAMA, table, train

from gisttools.common.errors import DataError, ParameterError
from gisttools.data.triplets import make_triplets
from gisttools.models.loading import open_model
from gisttools.models.vectors import VectorCache
from gisttools.training.loss import GISTLoss
from gisttools.training.masked import audit
from gisttools.training.options import LossOptions, MadeFrom, MaskOptions
from gisttools.training.store import GuideStore

ROWS = [
    {"anchor": "a", "positive": "b", "negatives": ["c", "d"], "anchor_label": "x", "positive_label": "x",
     "negative_labels": ["y", None]},
    {"anchor": "c", "positive": "e", "negatives": ["a"], "anchor_label": "y", "positive_label": "y",
     "negative_labels": ["x"]},
    {"anchor": "f", "positive": "g", "negatives": ["h"], "positive_label": "2", "negative_labels": ["0"]},
    {"anchor": "b", "positive": "i", "negatives": [], "anchor_label": "z", "positive_label": "z"},
]  # fmt: skip
POSITIVE = {"same_label": "positive"}


def test_each_labelled_text_is_there_once_with_all_its_labels():
    """d has no label; f, g and h are graded, not labelled; b stands under two labels."""
    rows = GuideStore.build(make_triplets(ROWS), None).labelled_texts()
    columns = rows.training_columns()
    assert columns.column_names == ["text", "label"]
    assert columns["text"][:] == ["a", "b", "c", "e", "i"]
    assert rows.left_out == 1
    known = rows.rows(torch.tensor(columns["label"][:]))
    x, y, z = known.label_ids[0, 0, 0].item(), known.label_ids[2, 0, 0].item(), known.label_ids[4, 0, 0].item()
    assert known.label_ids[:, 0].tolist() == [[x, -1], [x, z], [y, -1], [y, -1], [z, -1]]
    assert len(set(known.text_ids[:, 0].tolist())) == 5
    assert known.anchor is None


def test_members_tell_the_sets_of_texts():
    rows = GuideStore.build(make_triplets(ROWS), None).labelled_texts()
    members = rows.members(np.array([0, 0, 1, 1]))
    assert members.groupby("set")["text"].apply(list).to_dict() == {0: [0, 1, 2, 3], 1: [1, 4]}


def test_the_guide_answers_for_texts(cache):
    rows = GuideStore.build(make_triplets(ROWS), cache).labelled_texts()
    known = rows.rows(torch.from_numpy(rows.row_ids[[4, 0]]))
    assert torch.equal(known.anchor, torch.from_numpy(cache.embed(["i", "a"])))


def test_row_ids_of_triplets_are_refused():
    store = GuideStore.build(make_triplets(ROWS), None)
    with pytest.raises(DataError, match="of no labelled text of this store"):
        store.labelled_texts().rows(torch.from_numpy(store.row_ids))


def multi(task_type):
    rows = [("one", "a"), ("two", "a | b"), ("three", "b | c"), ("four", "c")]
    return make_triplets(
        [{"anchor": t, "positive": f"{t} again", "anchor_label": x, "positive_label": x, "task_type": task_type,
          "task_name": "t"} for t, x in rows]
    )  # fmt: skip


def test_labels_of_multi_label_data_count_one_by_one():
    """{a} and {a, b} share a label and are masked, {a} and {c} do not; a bar in a name of other data is none."""
    found = audit(GuideStore.build(multi("MultilabelClassification"), None), mask=MaskOptions(contrast_positives=False))
    met = set(zip(found["anchor"], found["candidate"], strict=True))
    assert {c for a, c in met if a == "one"} == {"two", "two again"}
    assert {c for a, c in met if a == "two"} == {"one", "one again", "three", "three again"}
    assert not len(audit(GuideStore.build(multi("Classification"), None)))


def test_multi_label_rows_stand_beside_others():
    """Each task's labels are its own; a row of one label counts in a table of several."""
    other = make_triplets([{"anchor": "u", "positive": "v", "anchor_label": "a", "positive_label": "a",
                            "task_type": "Classification", "task_name": "s"}])  # fmt: skip
    from datasets import concatenate_datasets

    store = GuideStore.build(concatenate_datasets([multi("MultilabelClassification"), other]), None)
    a = set(store.label_ids[0, 0].tolist()) - {-1}
    assert a <= set(store.label_ids[1, 0].tolist())
    assert not a & set(store.label_ids[4, 0].tolist())


@pytest.mark.parametrize("guided", [True, False], ids=["guided", "unguided"])
@pytest.mark.parametrize("options", [POSITIVE, {"same_label": "ignore"}, {"guide_masks": "unlabelled"}], ids=str)
def test_the_audit_knows_positives(tmp_path_factory, guided, options):
    """As many are listed as the loss masks; what is a positive is not listed."""
    rows = table(ragged=True)
    store = GuideStore.build(rows, VectorCache(MINILM, folder=tmp_path_factory.mktemp("g")) if guided else None)
    student, columns = open_model(MINILM, device="cpu").eval(), store.training_columns()
    names = [c for c in columns.column_names if c != "label"]
    loss = GISTLoss(student, store, LossOptions(**options))
    loss([student.preprocess(columns[c][:]) for c in names], columns.with_format("torch")["label"][:])
    listed = audit(store, mask=MaskOptions(**options))
    found = listed.groupby("block").size().to_dict()
    b, given = len(rows), sum(len(n) for n in rows["negatives"])
    pairs = {"ap": b * (b - 1), "aa": b * (b - 1), "pp": b * (b - 1), "an": b * given}
    masked = {name: round(share * pairs[name]) for name, share in loss.masked_shares().items()}
    assert masked == {name: found.get(name, 0) for name in pairs}
    if options == POSITIVE:
        assert set(listed["block"][listed["masked_by"] == "label"]) <= {"pp"}


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    return VectorCache(MINILM, folder=tmp_path_factory.mktemp("guide"))


@pytest.mark.parametrize("meet", ["random", "confusable"])
def test_a_training_on_labelled_texts_learns_and_tells_of_positives(guide, tmp_path, meet):
    trained = train(table(), guide, tmp_path / "model", loss_options=POSITIVE, train_on="labelled", batch_size=12,
                    meet=meet, max_steps=8)  # fmt: skip
    assert trained.history["loss"].iloc[-1] < 0.7 * trained.history["loss"].iloc[0]
    assert trained.history["positives"].between(2, 3).all()  # four texts a class, some of two
    assert trained.history[["masked_ap", "masked_pp", "masked_an"]].isna().all().all()
    summary = trained.summary(MadeFrom(student=WORDLLAMA))
    assert summary["positives"]["positives"] == pytest.approx(trained.history["positives"].mean())
    assert summary["positives"]["without_negatives"] == summary["positives"]["without_positives"] == 0
    assert not summary["labels_masked"]
    assert trained.met().startswith("In a batch of 12 a text met ")
    assert len(trained.masked_examples()) == len(trained.mask_quality()) == 0  # there was no mask


def test_triplets_with_labels_as_positives_are_trained(guide, tmp_path):
    trained = train(table(), guide, tmp_path / "model", loss_options=POSITIVE, max_steps=4)
    assert trained.history["positives"].max() > 1
    assert trained.history["positives"].min() >= 1


def test_without_labels_as_positives_there_is_nothing_to_tell(guide, tmp_path):
    history = train(table(), guide, tmp_path / "model", max_steps=2).history
    assert history[["positives", "without_positives", "without_negatives"]].isna().all().all()


def test_rows_that_meet_no_negative_are_told(tmp_path, caplog):
    rows = table().select(range(4))  # of one label; its negatives of another are left out
    rows = make_triplets([{k: r[k] for k in ("anchor", "positive", "anchor_label", "positive_label")} for r in rows])
    trained = train(rows, None, tmp_path / "model", loss_options=POSITIVE, train_on="labelled", max_steps=2)
    assert "100 % of the rows met no negative" in caplog.text
    assert (trained.history["without_negatives"] == 1).all()


@pytest.mark.slow
def test_a_stopped_training_on_labelled_texts_goes_on_as_if_it_had_not_been(guide, tmp_path, monkeypatch):
    from gisttools.training.callbacks import Recorder

    settings = {"max_steps": 8, "checkpoint_minutes": 0, "train_on": "labelled", "loss_options": POSITIVE}
    whole = train(table(), guide, tmp_path / "whole", **settings)
    on_log = Recorder.on_log

    def stop(self, args, state, *rest, **more):
        if state.global_step == 5:
            raise KeyboardInterrupt
        return on_log(self, args, state, *rest, **more)

    with monkeypatch.context() as broken:
        broken.setattr(Recorder, "on_log", stop)
        with pytest.raises(KeyboardInterrupt):
            train(table(), guide, tmp_path / "model", checkpoints=tmp_path / "checkpoints", **settings)
    assert list((tmp_path / "checkpoints").glob("checkpoint-*"))
    gone_on = train(table(), guide, tmp_path / "model", checkpoints=tmp_path / "checkpoints", **settings)
    np.testing.assert_allclose(gone_on.history["loss"], whole.history["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "settings", "said"),
    [
        ({"same_label": "mask"}, {"train_on": "labelled"}, "set same_label to 'positive'"),
        (
            POSITIVE,
            {"train_on": "triplets", "texts_per_class": 8},
            "texts_per_class is 8, which needs",
        ),
        (
            POSITIVE,
            {"train_on": "triplets", "meet": "confusable"},
            "meet is 'confusable', which needs",
        ),
        (POSITIVE, {"train_on": "labelled", "meet": "confusable"}, "has no guide that could confuse classes"),
        ({**POSITIVE, "contrast_anchors": False}, {"train_on": "labelled"}, "they have one block"),
        ({**POSITIVE, "positive_temperature": 0.1}, {}, "needs a guide and same_label 'positive'"),
        ({"distill": 0.5}, {}, "has no guide that could teach"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, options, settings, said):
    with pytest.raises(ParameterError, match=said):
        train(table(), None, tmp_path / "model", loss_options=options, **settings)


def test_a_table_without_labels_is_refused(tmp_path):
    rows = make_triplets([{"anchor": f"a {i}", "positive": f"b {i}"} for i in range(4)])
    with pytest.raises(DataError, match="no row has an anchor_label"):
        train(rows, None, tmp_path / "model", loss_options=POSITIVE, train_on="labelled")


def test_rows_without_labels_are_left_out_and_told(tmp_path, caplog):
    more = make_triplets([{"anchor": "hello there", "positive": "good morning"}])
    from datasets import concatenate_datasets

    train(concatenate_datasets([table(), more]), None, tmp_path / "model", loss_options=POSITIVE, train_on="labelled",
          max_steps=1)  # fmt: skip
    assert "1 of 13 rows have no anchor_label and are left out" in caplog.text


def test_the_old_name_goes_with_the_new_one():
    assert MaskOptions(mask_same_label=False).of_same_label == "ignore"
    assert MaskOptions().of_same_label == "mask"
    with pytest.raises(ParameterError, match="leave mask_same_label out"):
        MaskOptions(mask_same_label=False, same_label="positive")
