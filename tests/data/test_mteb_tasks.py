"""Labelled texts of MTEB tasks: fake tasks of mteb's own classes stand for those of the hub."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
from mteb.abstasks.multilabel_classification import AbsTaskMultilabelClassification
from mteb.abstasks.task_metadata import TaskMetadata

from gisttools.common.errors import DataError, MissingError
from gisttools.data import mteb_tasks
from gisttools.data.labelled import ReadOptions, read_labelled
from gisttools.data.mteb_tasks import (
    cleaned_task,
    load_task,
    open_task,
    parse_task_name,
    repeated_ids,
    train_texts_in_test,
)
from gisttools.data.sources import read_sources

TYPES = {
    AbsTaskClassification: "Classification",
    AbsTaskMultilabelClassification: "MultilabelClassification",
    AbsTaskClustering: "Clustering",
    AbsTaskClusteringLegacy: "Clustering",
}
ROWS = {"text": ["a", "b", "c"], "label": [0, 1, 0]}


@pytest.fixture
def task(monkeypatch):
    """A function that puts a task in place of mteb's: its class, its data, and what differs from a plain one."""

    def make(kind=AbsTaskClassification, *, dataset, langs=("eng-Latn",), scored=("test",), licence="mit", **members):
        metadata = TaskMetadata(
            name="Fake",
            description="A task that needs no hub.",
            dataset={"path": "fake/fake", "revision": "r1"},
            type=TYPES[kind],
            category="t2c",
            modalities=["text"],
            eval_splits=list(scored),
            eval_langs=langs if isinstance(langs, dict) else list(langs),
            main_score="accuracy",
            license=licence,
        )

        def load_data(self, **_):
            self.dataset = dataset

        made = type("Fake", (kind,), {"metadata": metadata, "load_data": load_data, **members})
        monkeypatch.setattr(mteb_tasks, "mteb_task", lambda name: made())

    return make


def splits(**rows) -> DatasetDict:
    return DatasetDict({name: d if isinstance(d, Dataset) else Dataset.from_dict(d) for name, d in rows.items()})


def test_a_classification_task_is_read_with_what_pins_it(task):
    task(dataset=splits(train=ROWS, test={"text": ["t"], "label": [1]}))
    read = read_labelled("Fake")
    assert (read.texts, read.labels, read.split) == (["a", "b", "c"], ["0", "1", "0"], "train")
    assert (read.revision, read.language, read.task_name, read.licence) == ("r1", "eng-Latn", "Fake", "mit")
    assert (read.task_type, read.label_sets, read.dropped) == ("Classification", None, {})


def test_a_licence_that_is_not_specified_is_none(task):
    task(dataset=splits(train=ROWS), licence="not specified")
    assert read_labelled("Fake").licence is None


def test_class_names_win_over_their_numbers(task):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    task(dataset=splits(train=Dataset.from_dict(ROWS, features=features)))
    assert read_labelled("Fake").labels == ["no", "yes", "no"]
    task(dataset=splits(train={**ROWS, "label_text": ["x", "y", "z"]}))
    assert read_labelled("Fake").labels == ["x", "y", "z"]


def test_the_task_says_which_split_it_trains_on_and_which_columns(task):
    rows = {"body": ["a", "b"], "toxic": [0, 1]}
    task(dataset=splits(learn=rows, train={"body": ["x"], "toxic": [0]}), train_split="learn",
         input_column_name="body", label_column_name="toxic")  # fmt: skip
    read = read_labelled("Fake")
    assert (read.texts, read.split) == (["a", "b"], "learn")


def test_a_task_scored_on_its_train_split_must_be_asked_for_that_split(task):
    task(dataset=splits(train=ROWS), scored=["train"])
    with pytest.raises(DataError, match=r"Fake is scored on the split that it trains on, 'train'.*say Fake:train"):
        read_labelled("Fake")
    assert len(read_labelled("Fake:train")) == 3
    task(dataset=splits(train=ROWS), is_cross_validation=True)
    with pytest.raises(DataError, match="is scored on the split"):
        read_labelled("Fake")


LANGS = {"de": ["deu-Latn"], "en-ext": ["eng-Latn"], "en": ["eng-Latn"], "mixed": ["eng-Latn", "deu-Latn"]}


def many(*names: str) -> dict:
    return {n: splits(train={"text": [f"{n} a", f"{n} b"], "label": [0, 1]}) for n in names}


@pytest.mark.parametrize(
    ("name", "told", "text"),
    [("Fake", None, "en a"), ("Fake", "de", "de a"), ("Fake", "deu", "de a"), ("Fake", "deu-Latn", "de a"),
     ("Fake#mixed", None, "mixed a"), ("Fake#de", "en", "de a"), ("Fake#de:train", None, "de a")],
)  # fmt: skip
def test_a_subset_comes_by_its_name_or_its_language(task, name, told, text):
    task(dataset=many(*LANGS), langs=LANGS)
    assert read_labelled(name, ReadOptions(subset=told)).texts[0] == text


def test_english_is_found_under_other_names_and_else_the_first_is_taken(task):
    task(dataset=many("deu_Latn", "eng_Latn"), langs={"deu_Latn": ["deu-Latn"], "eng_Latn": ["eng-Latn"]})
    assert open_task("Fake").subset == "eng_Latn"
    task(dataset=many("da", "de"), langs={"da": ["dan-Latn"], "de": ["deu-Latn"]})
    assert open_task("Fake").subset == "da"


def test_a_subset_that_is_not_there_or_not_one_is_told(task):
    task(dataset=many(*LANGS), langs=LANGS)
    with pytest.raises(MissingError, match=r"has no subset 'fr'.*It has: \['de', 'en-ext'"):
        read_labelled("Fake", ReadOptions(subset="fr"))
    with pytest.raises(MissingError, match=r"has several of 'eng': en-ext, en. Name one"):
        read_labelled("Fake", ReadOptions(subset="eng"))


def test_several_subsets_give_labelled_texts_each(task, monkeypatch):
    task(dataset=many(*LANGS), langs=LANGS)
    monkeypatch.setattr("gisttools.data.sources.mteb_task", mteb_tasks.mteb_task)
    monkeypatch.setattr("gisttools.data.sources.task_names", lambda: {"Fake"})
    read = read_sources(["Fake"], ReadOptions(subset=["de", "en"]))
    assert [(r.source, r.texts[0], r.language) for r in read] == [
        ("Fake#de", "de a", "deu-Latn"), ("Fake#en", "en a", "eng-Latn"),
    ]  # fmt: skip
    assert [r.source for r in read_sources(["Fake#de:train"], ReadOptions(subset="en"))] == ["Fake#de:train"]


def test_a_missing_split_names_those_there_are(task):
    task(AbsTaskClustering, dataset=splits(test={"sentences": ["a", "b"], "labels": ["x", "y"]}))
    with pytest.raises(MissingError, match=r"no split 'train'; it has test. .*must be asked for: Fake:test"):
        read_labelled("Fake")


def test_a_clustering_task_is_read_from_a_split_asked_for(task):
    task(AbsTaskClustering, dataset=splits(test={"item": ["a", "b"], "category": ["x", "y"]}),
         input_column_name="item", label_column_name="category")  # fmt: skip
    for read in (read_labelled("Fake:test"), read_labelled("Fake", ReadOptions(split="test"))):
        assert (read.texts, read.labels, read.task_type, read.split) == (["a", "b"], ["x", "y"], "Clustering", "test")


def test_levels_of_a_hierarchy_are_labels(task):
    task(AbsTaskClustering, dataset=splits(test={"sentences": ["a", "b"], "labels": [["sea", "crab"], ["sea"]]}))
    assert read_labelled("Fake:test").label_sets == [("crab", "sea"), ("sea",)]


def test_samples_of_an_older_clustering_task_are_put_together(task):
    rows = {"sentences": [["a", "b"], ["b", "c", "b"]], "labels": [["x", "y"], ["y", "x", "x"]]}
    task(AbsTaskClusteringLegacy, dataset=splits(test=rows))
    read = read_labelled("Fake:test")
    assert list(zip(read.texts, read.labels, strict=True)) == [("a", "x"), ("b", "y"), ("c", "x"), ("b", "x")]
    assert read.dropped == {"repeated in another sample": 1}


def test_a_multi_label_task_gives_sets(task):
    features = Features({"text": Value("string"), "label": List(ClassLabel(names=["joy", "anger"]))})
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "label": [[0, 1], [1], []]}, features=features)
    task(AbsTaskMultilabelClassification, dataset=splits(train=rows))
    read = read_labelled("Fake")
    assert (read.label_sets, read.labels) == ([("anger", "joy"), ("anger",)], ["anger | joy", "anger"])
    assert (read.classes, read.task_type) == ({"anger": 2, "joy": 1}, "MultilabelClassification")
    assert read.dropped == {"no label": 1}


def test_empty_texts_of_a_task_are_dropped_and_counted_unless_refused(task):
    task(dataset=splits(train={"text": ["a", "", "b", None], "label": [0, 1, 1, 0]}))
    assert read_labelled("Fake").dropped == {"empty text": 2}
    with pytest.raises(DataError, match=r"'text' is empty or no text in row\(s\) 1, 3"):
        read_labelled("Fake", ReadOptions(drop_empty=False))


@pytest.mark.parametrize(("name", "said"), [("CIFAR10", "of type ImageClassification"), ("NQ", "of type Retrieval")])
def test_a_task_of_another_type_is_refused(name, said):
    with pytest.raises(DataError, match=rf"{said}; triplets are made from tasks with labels: Classification, Multi"):
        read_labelled(name)


def test_texts_of_the_train_split_in_the_test_split_are_as_mteb_counted_them():
    counted = train_texts_in_test("AmazonCounterfactualClassification")
    german = train_texts_in_test("AmazonCounterfactualClassification", "de")
    assert counted["test"] > german["test"] > 0
    assert "train" not in counted
    assert train_texts_in_test("STSBenchmark") is None


def test_the_cleaned_task_is_named_where_there_is_one():
    assert cleaned_task("Banking77Classification") == "Banking77Classification.v2"
    assert cleaned_task("Banking77Classification.v2") is None
    with pytest.raises(MissingError, match="Did you mean 'Banking77Classification'"):
        cleaned_task("Banking77Clasification")


@pytest.mark.parametrize(
    ("name", "parts"),
    [("A", ("A", None, None)), ("A#b", ("A", "b", None)), ("A:c", ("A", None, "c")), ("A#b:c", ("A", "b", "c")),
     ("A.v2#b-1", ("A.v2", "b-1", None)), ("A#", ("A#", None, None))],
)  # fmt: skip
def test_the_parts_of_a_task_name(name, parts):
    assert parse_task_name(name) == parts


def _rows(*ids):
    return Dataset.from_dict({"id": list(ids), "text": [f"text {n}" for n, _ in enumerate(ids)]})


def test_repeated_ids_of_a_search_are_told_of_every_subset_and_of_nothing_else():
    sound = {"corpus": _rows("a", "b"), "queries": _rows("q"), "relevant_docs": {"q": {"a": 1}}}
    broken = {"corpus": _rows("a", "b", "a"), "queries": _rows("q", "r", "r", "r"), "relevant_docs": {}}
    assert repeated_ids({"default": {"test": sound}}) == []
    assert repeated_ids({"en": {"test": sound}, "de": {"test": broken}}) == [
        "repeated ids in its corpus: 1, such as 'a'",
        "repeated ids in its queries: 1, such as 'r'",
    ]
    assert repeated_ids({"train": _rows("a", "a"), "test": _rows("b")}) == []  # a task without a corpus
    assert repeated_ids(None) == []


def test_a_search_of_the_hub_with_repeated_ids_is_warned_of_once_loaded(caplog):
    class Task:
        metadata = SimpleNamespace(name="Search", dataset={})
        data_loaded = False
        dataset = None

        def load_data(self):
            self.dataset = {"default": {"test": {"corpus": _rows("a", "a"), "queries": _rows("q")}}}
            self.data_loaded = True

    task = Task()
    load_task(task)
    load_task(task)
    assert caplog.text.count("Search: repeated ids in its corpus: 1") == 1
