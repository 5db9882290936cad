"""Folders of `save_to_disk`: read as labelled texts, triplets and evaluation folders; damaged ones are named."""

from __future__ import annotations

import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, NamedSplit, Value

from gisttools.common.errors import DataError, MissingError
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.data.sources import expand_sources, kind_of, read_sources
from gisttools.data.triplet_sets import triplet_tables
from gisttools.synthesis.task import read_texts

TEXTS = [f"this is text number {i}" for i in range(24)]
NAMED = Features({"text": Value("string"), "label": ClassLabel(names=["cat", "dog"])})
LABELLED = Dataset.from_dict({"text": TEXTS, "label": [i % 2 for i in range(24)]}, features=NAMED)
TRIPLETS = Dataset.from_dict({"query": TEXTS, "pos": [f"re: {t}" for t in TEXTS], "neg": [["no", "never"]] * 24})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_data_set_is_a_labelled_source_with_the_names_of_its_classes(tmp_path):
    LABELLED.save_to_disk(tmp_path / "d")
    name = str(tmp_path / "d")
    assert expand_sources([name]) == [name]
    assert kind_of(name) == "labelled"
    (read,) = read_sources([name])
    assert read.texts == TEXTS
    assert read.labels == ["cat", "dog"] * 12
    assert read.revision.startswith("sha256:")


def test_one_of_several_splits_is_read_and_a_missing_one_is_told_with_those_there_are(tmp_path):
    DatasetDict({"train": LABELLED, "test": LABELLED.select([0, 1])}).save_to_disk(tmp_path / "d")
    assert len(read_labelled(tmp_path / "d")) == 24
    assert len(read_labelled(tmp_path / "d", ReadOptions(split="test"))) == 2
    assert len(read_labelled(tmp_path / "d" / "test")) == 2
    with pytest.raises(MissingError, match="no split 'dev', but test, train"):
        read_labelled(tmp_path / "d", ReadOptions(split="dev"))


@pytest.mark.parametrize("split", [None, "train"])
def test_what_was_taken_out_of_a_set_or_shuffled_is_read_as_it_was_saved(tmp_path, split):
    part = Dataset.from_dict({"text": TEXTS, "label": ["a", "b"] * 12}, split=split and NamedSplit(split))
    part.shuffle(seed=1).select(range(5, 20)).save_to_disk(tmp_path / "d", num_shards=3)
    assert sorted(read_labelled(tmp_path / "d").texts) == sorted(part.shuffle(seed=1)["text"][5:20])


@pytest.mark.parametrize("several", [False, True])
def test_a_data_set_is_a_set_of_triplets(tmp_path, several):
    (DatasetDict({"train": TRIPLETS, "test": TRIPLETS}) if several else TRIPLETS).save_to_disk(tmp_path / "d")
    assert kind_of(tmp_path / "d") == "triplets"
    (table,) = triplet_tables([tmp_path / "d"]).values()
    assert table["anchor"][:] == TEXTS
    assert table["negatives"][0] == ["no", "never"]


def test_splits_are_an_evaluation_folder(tmp_path):
    DatasetDict({"train": LABELLED, "test": LABELLED}).save_to_disk(tmp_path / "pets")
    assert [task.metadata.type for task in local_tasks(tmp_path / "pets")] == ["Classification", "Clustering"]


def test_one_data_set_is_an_evaluation_folder_of_what_needs_no_training(tmp_path):
    pairs = {"sentence1": TEXTS, "sentence2": TEXTS[::-1], "score": list(range(24))}
    Dataset.from_dict(pairs).save_to_disk(tmp_path / "sts")
    assert [task.metadata.type for task in local_tasks(tmp_path / "sts")] == ["STS"]


def test_a_corpus_queries_and_qrels_are_a_retrieval_folder(tmp_path):
    Dataset.from_dict({"_id": ["a", "b"], "text": TEXTS[:2]}).save_to_disk(tmp_path / "r" / "corpus")
    Dataset.from_dict({"_id": ["q"], "text": ["a question"]}).save_to_disk(tmp_path / "r" / "queries")
    qrels = Dataset.from_dict({"query-id": ["q"], "corpus-id": ["b"], "score": [1]})
    qrels.save_to_disk(tmp_path / "r" / "qrels" / "test")
    assert [task.metadata.type for task in local_tasks(tmp_path / "r")] == ["Retrieval"]


def test_texts_of_a_task_come_from_a_data_set(tmp_path):
    LABELLED.save_to_disk(tmp_path / "d")
    assert read_texts(tmp_path / "d") == TEXTS


@pytest.mark.parametrize("damage", ["cut", "empty", "no state", "state", "info", "gone"])
@pytest.mark.parametrize("read", [read_labelled, lambda path: triplet_tables([path])])
def test_a_damaged_folder_is_named(tmp_path, damage, read):
    folder = tmp_path / "d"
    TRIPLETS.add_column("text", TEXTS).add_column("label", ["x", "y"] * 12).save_to_disk(folder)
    (arrow,) = folder.glob("*.arrow")
    {
        "cut": lambda: arrow.write_bytes(arrow.read_bytes()[:300]),
        "empty": lambda: arrow.write_bytes(b""),
        "no state": lambda: (folder / "state.json").write_text("{}"),
        "state": lambda: (folder / "state.json").write_text("{"),
        "info": lambda: (folder / "dataset_info.json").write_text("[]"),
        "gone": arrow.unlink,
    }[damage]()
    with pytest.raises((DataError, MissingError), match=r"/d\b"):
        read(folder)


def test_a_dictionary_that_lacks_a_split_s_files_is_named(tmp_path):
    DatasetDict({"test": LABELLED}).save_to_disk(tmp_path / "d")
    with pytest.raises(MissingError, match="no split 'train', but test"):
        triplet_tables([tmp_path / "d"])
    assert json.loads((tmp_path / "d" / "dataset_dict.json").read_text()) == {"splits": ["test"]}
