"""What is left open is decided by the rows and the student."""

from __future__ import annotations

import pyarrow as pa
import pytest
from helpers.training_rows import table, train

from gisttools.common import ParameterError
from gisttools.data import make_triplets_from_columns
from gisttools.training import GuideStore, LossOptions, TrainSettings
from gisttools.training.defaults import all_labelled, passes, settle

LABELS = ["a", "a", "b", "b"]


def rows(anchor_labels=LABELS, positive_labels=None, **columns) -> GuideStore:
    texts = {"anchor": [f"anchor {i}" for i in range(4)], "positive": [f"positive {i}" for i in range(4)]}
    labels = {"anchor_label": anchor_labels, "positive_label": positive_labels or anchor_labels}
    columns |= {name: pa.array(values) for name, values in {**texts, **labels}.items()}
    return GuideStore.build(make_triplets_from_columns(columns, 4), None)


def settled(store: GuideStore, options: dict | None = None, settings: dict | None = None, kind="transformer"):
    return settle(LossOptions(**options or {}), TrainSettings(**settings or {}), store, kind)


def test_rows_that_all_have_labels_are_trained_on_as_labelled_texts():
    options, settings = settled(rows())
    assert (settings.train_on, options.same_label, options.guide_masks) == ("labelled", "positive", "unlabelled")


@pytest.mark.parametrize(
    "store",
    [
        rows([*LABELS[:3], None]),
        rows(LABELS, ["a", "a", "b", "c"]),
        rows(["a"] * 4),
        rows(["a | b", "a", "b", "b"], task_type="MultilabelClassification"),
        rows([None] * 4, ["2", "1", "2", "1"]),
    ],
    ids=["a row without", "a positive of another", "one label", "several a text", "grades"],
)
def test_other_rows_are_triplets(store):
    options, settings = settled(store)
    assert not all_labelled(store)
    assert (settings.train_on, options.same_label, options.guide_masks) == ("triplets", "mask", "all")


def test_a_guide_that_teaches_has_triplets_without_dropout():
    options, settings = settled(rows(), {"distill": 0.5})
    assert (settings.train_on, options.same_label, settings.dropout) == ("triplets", "mask", False)
    assert settled(rows([None] * 4), {"distill": 0.5})[1].dropout is False
    assert settled(rows([None] * 4))[1].dropout is True


@pytest.mark.parametrize(("count", "wanted"), [(640, 2.0), (128, 10.0), (10**5, 1.0)])
@pytest.mark.parametrize(
    "told", [{"distill": 0.5}, {"contrast_anchors": False, "contrast_positives": False}], ids=["taught", "a search"]
)
def test_a_guide_that_teaches_and_passages_alone_need_fewer_steps(told, count, wanted):
    texts = {"anchor": [f"anchor {i}" for i in range(count)], "positive": [f"positive {i}" for i in range(count)]}
    table = make_triplets_from_columns({name: pa.array(values) for name, values in texts.items()}, count)
    store = GuideStore.build(table, None)
    assert settled(store, told)[1].epochs == wanted
    assert settled(store, {"contrast_anchors": False})[1].epochs == settled(store)[1].epochs
    assert settled(store)[1].epochs == passes(count, 64, "transformer")


def test_a_copy_that_somebody_labelled_twice_changes_nothing():
    texts = [f"text {i}" for i in range(40)]
    anchors = {"anchor": [*texts, texts[0]], "positive": [*texts[2:], *texts[:2], texts[1]]}
    labels = {"anchor_label": ["a", "b"] * 20 + ["b"], "positive_label": ["a", "b"] * 20 + ["b"]}
    columns = {name: pa.array(values) for name, values in {**anchors, **labels}.items()}
    store = GuideStore.build(make_triplets_from_columns(columns, 41), None)
    assert store.labelled_texts().label_ids.shape == (40, 2)
    assert all_labelled(store)


@pytest.mark.parametrize(
    "options",
    [{"same_label": "mask"}, {"same_label": "ignore"}, {"mask_same_label": False}, {"contrast_anchors": False}],
)
def test_what_only_triplets_have_asks_for_triplets(options):
    found, settings = settled(rows(), options)
    assert settings.train_on == "triplets"
    assert found.same_label == options.get("same_label", "mask")


def test_what_is_told_stays():
    told = {"train_on": "triplets", "epochs": 3.0, "learning_rate": 1e-5, "keep_start": 0.1, "dropout": False}
    options, settings = settled(rows(), {"same_label": "positive", "guide_masks": "unlabelled"}, told)
    assert settings == TrainSettings(**told)
    assert (options.same_label, options.guide_masks) == ("positive", "unlabelled")


@pytest.mark.parametrize(
    ("count", "kind", "wanted"),
    [(64, "transformer", 10.0), (640, "transformer", 10.0), (3200, "transformer", 2.0), (10**6, "transformer", 1.0),
     (10**6, "static", 10.0), (3200, "lora", 2.0), (0, "transformer", 10.0)],
)  # fmt: skip
def test_small_sets_are_passed_over_more_often(count, kind, wanted):
    assert passes(count, 64, kind) == wanted


def test_a_training_tells_what_was_chosen(tmp_path):
    trained = train(table(), None, tmp_path / "model", max_steps=2)
    told = trained.options()
    assert told["train_on"] in ("labelled", "triplets")
    assert None not in (told["same_label"], told["guide_masks"], told["epochs"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learning_rate": 0.0, "keep_start": 2}, ["learning_rate = 0.0: input should be greater than 0"]),
        ({"learning_rate": "medium"}, ["learning_rate = 'medium': input should be a valid number, or 'low' or 'high'"]),
        ({"keep_start": "some"}, ["keep_start = 'some': input should be a valid number, or 'auto'"]),
    ],
)
def test_a_number_or_a_word_is_refused_once_and_by_its_name(given, said):
    with pytest.raises(ParameterError) as caught:
        TrainSettings(**given)
    assert all(line in str(caught.value) for line in said)
    assert f"{len(given)} parameter problem(s)" in str(caught.value)
