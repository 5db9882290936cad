"""Local tasks of every kind: scores equal those of mteb's own loading of the same rows, and each has an interval."""

from __future__ import annotations

import json
from collections import defaultdict

import mteb
import pytest
from datasets import Dataset, DatasetDict
from helpers import WORDLLAMA
from helpers.local_files import make_folder, rows_of, write
from mteb.abstasks import retrieval_dataset_loaders as loaders
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.multilabel_classification import AbsTaskMultilabelClassification
from mteb.abstasks.pair_classification import AbsTaskPairClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.text import reranking

from gisttools.data.folder_tasks import local_tasks
from gisttools.data.folders import KINDS
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.data.overlap import all_texts_of, eval_sets
from gisttools.evaluation.evaluating import evaluate
from gisttools.evaluation.tasks import task_sources
from gisttools.models.loading import open_model

BASES = {
    "multilabel_classification": (AbsTaskMultilabelClassification, "MultilabelClassification", "accuracy"),
    "clustering": (AbsTaskClustering, "Clustering", "v_measure"),
    "pair_classification": (AbsTaskPairClassification, "PairClassification", "max_ap"),
    "sts": (AbsTaskSTS, "STS", "cosine_spearman"),
    "retrieval": (AbsTaskRetrieval, "Retrieval", "ndcg_at_10"),
    "reranking": (reranking.AbsTaskReranking, "Reranking", "map_at_1000"),
}
NEW = [kind for kind in KINDS if kind != "classification"]


@pytest.fixture(scope="module")
def folders(caretaker, tmp_path_factory):
    made = tmp_path_factory.mktemp("folders")
    return {kind: make_folder(kind, caretaker, made / kind) for kind in KINDS}


def scores_of(task, model) -> dict:
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return {k: v for k, v in result.task_results[0].scores["test"][0].items() if isinstance(v, float)}


def own_task(kind, folder, members):
    """mteb's class over the same folder, the data set read by mteb."""
    base, mteb_type, main = BASES[kind]
    metadata = TaskMetadata(
        name=f"Own{mteb_type}",
        description="The same rows, read by mteb",
        dataset={"path": str(folder), "revision": "1"},
        type=mteb_type,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=main,
    )
    return type(f"Own{mteb_type}", (base,), {"metadata": metadata, **members})()


def loaded_by_mteb(kind, folder, caretaker, monkeypatch):
    if kind == "retrieval":  # mteb asks for the configurations of a data set; here each is a file
        files = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels/test.jsonl"}

        def read(repo, config, split, **_):
            return Dataset.from_json(str(folder / files[config]))

        monkeypatch.setattr(loaders, "get_dataset_config_names", lambda *_: list(files))
        monkeypatch.setattr(loaders, "get_dataset_split_names", lambda *_, **__: ["test"])
        monkeypatch.setattr(loaders, "load_dataset", read)
        return own_task(kind, folder, {})
    if kind == "reranking":
        monkeypatch.setattr(reranking, "OLD_FORMAT_RERANKING_TASKS", ["OwnReranking"])
        task = own_task(kind, folder, {})
        task.transform_old_dataset_format(DatasetDict(test=Dataset.from_list(rows_of(kind, caretaker)["test"])))
        return task
    members = {
        "sts": {"column_names": ("text_a", "text_b"), "min_score": -3, "max_score": 7},
        "pair_classification": {"label_column_name": "label"},
        "clustering": {
            "input_column_name": "text",
            "label_column_name": "label",
            "max_fraction_of_documents_to_embed": None,
            "max_documents_per_cluster": 24,
        },
    }
    return own_task(kind, folder, members.get(kind, {}))


@pytest.mark.parametrize("kind", NEW)
def test_scores_equal_those_of_mtebs_own_task(folders, caretaker, wordllama, kind, monkeypatch):
    local = scores_of(local_tasks(folders[kind])[0], wordllama)
    own = scores_of(loaded_by_mteb(kind, folders[kind], caretaker, monkeypatch), wordllama)
    assert {BASES[kind][2], "main_score"} <= set(local)
    assert local == pytest.approx(own, abs=1e-9, nan_ok=True)


@pytest.fixture(scope="module")
def compared(folders, wordllama, tmp_path_factory):
    """All kinds, by the static model and by its first 32 dimensions: another model, and a quick one."""
    shortened = open_model(WORDLLAMA)
    shortened.truncate_dim = 32
    sources = task_sources(files=[folders[kind] for kind in NEW])
    result = evaluate({"base": wordllama, "tuned": shortened}, sources, tmp_path_factory.mktemp("compared"))
    return {row["task"].removesuffix("_clustering"): row for row in result.comparison.to_dict("records")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NEW)
def test_every_kind_is_compared_with_an_interval(compared, kind):
    row = compared[kind]
    assert row["is_target"]
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["low"] < row["high"]
    assert row["n_items"] == {"retrieval": 20, "reranking": 12}.get(kind, 24)


def test_classification_is_the_target_and_its_clustering_a_second_look(folders):
    found = [(s.name, s.is_target) for s in task_sources(files=[folders["classification"]])]
    assert found == [("classification", True), ("classification_clustering", False)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_known_by_its_files(folders, kind):
    assert local_tasks(folders[kind])[0].metadata.type.lower() == kind.replace("_", "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_may_be_asked_for_by_its_kind(folders, kind):
    assert len(local_tasks(f"{folders[kind]}#{kind}")) == 1


FORMATS = [(kind, ending) for kind in KINDS for ending in (".csv", ".tsv", ".parquet")]
FORMATS = [
    f for f in FORMATS if f[0] != "multilabel_classification" or f[1] == ".parquet"
]  # CSV has no lists of labels


@pytest.mark.parametrize(("kind", "ending"), FORMATS)
def test_the_kind_of_file_does_not_matter(folders, caretaker, tmp_path, kind, ending):
    rows = rows_of(kind, caretaker)
    for name, content in rows.items():
        if kind == "reranking" and ending != ".parquet":  # lists are written as JSON
            content = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in content]
        write(tmp_path / f"{name}{ending}", content)
    same = [t.metadata.dataset["revision"] for t in local_tasks(folders[kind])]
    assert [t.metadata.dataset["revision"] for t in local_tasks(tmp_path)] == same


@pytest.mark.parametrize("kind", KINDS)
def test_the_revision_changes_with_the_rows(folders, caretaker, tmp_path, kind):
    rows = rows_of(kind, caretaker)
    rows["corpus" if kind == "retrieval" else "test"].pop()
    if kind == "retrieval":
        rows["qrels/test"] = [r for r in rows["qrels/test"] if r["corpus-id"] != "d23"]
    for name, content in rows.items():
        write(tmp_path / f"{name}.jsonl", content)
    before, after = (local_tasks(f)[0].metadata.dataset["revision"] for f in (folders[kind], tmp_path))
    assert before != after


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_sets_know_the_test_texts_of_every_kind(folders, caretaker, kind):
    (texts,) = eval_sets(folders=[folders[kind]]).values()
    assert texts == all_texts_of(local_tasks(folders[kind])[0])
    expected = set(read_labelled(caretaker, ReadOptions(split="test")).texts)
    if kind in ("retrieval", "reranking"):  # their beginnings are asked for
        expected = {" ".join(t.split()[:3]) for t in read_labelled(caretaker, ReadOptions(split="test")).texts}
        assert set(texts) < expected
    else:
        assert set(texts) == expected


def test_a_named_kind_goes_along_to_evaluation_sets(folders):
    name = f"{folders['classification']}#clustering"
    assert list(eval_sets(folders=[name])) == [name]


def test_scores_of_another_range_give_the_same_correlation(folders, caretaker, tmp_path, wordllama):
    rows = rows_of("sts", caretaker)["test"]
    write(tmp_path / "test.jsonl", [{**r, "score": 100 * r["score"] - 7} for r in rows])
    other, task = local_tasks(tmp_path)[0], local_tasks(folders["sts"])[0]
    assert (task.min_score, task.max_score) == (min(r["score"] for r in rows), max(r["score"] for r in rows))
    assert other.min_score == 100 * task.min_score - 7
    assert scores_of(other, wordllama) == pytest.approx(scores_of(task, wordllama))


def test_the_whole_test_split_of_multilabel_data_is_scored(folders):
    assert local_tasks(folders["multilabel_classification"])[0].max_eval_samples is None


def test_tasks_of_a_dev_split_are_made_of_its_files(folders, caretaker, tmp_path):
    for kind in ("sts", "retrieval"):
        rows = rows_of(kind, caretaker)
        for name, content in rows.items():
            write(tmp_path / kind / f"{name.replace('test', 'dev')}.jsonl", content)
        task = local_tasks(tmp_path / kind, split="dev")[0]
        assert task.metadata.dataset["revision"] == local_tasks(folders[kind])[0].metadata.dataset["revision"]


def test_retrieval_asks_only_queries_with_judgements_and_searches_everything(folders):
    data = local_tasks(folders["retrieval"])[0].dataset["default"]["test"]
    assert len(data["queries"]) == len(data["relevant_docs"]) == 20
    assert len(data["corpus"]) == 24


def test_reranking_leaves_out_queries_of_one_sort(folders, caretaker, tmp_path, caplog):
    rows = rows_of("reranking", caretaker)["test"]
    rows += [{"query": "a", "positive": [], "negative": ["b"]}, {"query": "c", "positive": ["d"], "negative": None}]
    write(tmp_path / "test.jsonl", rows)
    assert (
        local_tasks(tmp_path)[0].metadata.dataset["revision"]
        == (local_tasks(folders["reranking"])[0].metadata.dataset["revision"])
    )
    assert "2 queries left out" in caplog.text


def test_the_reranking_candidates_of_a_query_are_its_own(folders):
    data = local_tasks(folders["reranking"])[0].dataset["default"]["test"]
    owners = defaultdict(set)
    for query, documents in data["top_ranked"].items():
        assert set(documents) == set(data["relevant_docs"][query])
        for document in documents:
            owners[document].add(query)
    assert {len(found) for found in owners.values()} == {1}
