"""What an item is in each kind of mteb task: mteb runs small tasks of every kind, and its predictions add up."""

from __future__ import annotations

import json
from types import SimpleNamespace

import mteb
import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from mteb.abstasks.multilabel_classification import AbsTaskMultilabelClassification
from mteb.abstasks.pair_classification import AbsTaskPairClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
from mteb.abstasks.text.summarization import AbsTaskSummarization

from gisttools.common.errors import DataError
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.data.overlap import split_of
from gisttools.evaluation.comparison import TaskResult, compare
from gisttools.evaluation.items import task_interval

KINDS = {
    "STS": (AbsTaskSTS, "cosine_spearman"),
    "PairClassification": (AbsTaskPairClassification, "max_ap"),
    "Retrieval": (AbsTaskRetrieval, "ndcg_at_10"),
    "Reranking": (AbsTaskRetrieval, "map_at_1000"),
    "BitextMining": (AbsTaskBitextMining, "f1"),
    "Summarization": (AbsTaskSummarization, "cosine_spearman"),
    "MultilabelClassification": (AbsTaskMultilabelClassification, "accuracy"),
}


@pytest.fixture(scope="module")
def texts(caretaker):
    return read_labelled(caretaker, ReadOptions(split="test"))


def columns(kind, texts):
    """Small data of each kind, made of 24 labelled texts; which answers are right does not matter here."""
    rng = np.random.default_rng(0)
    one = texts.texts
    other = [one[i] for i in rng.permutation(len(one))]
    if kind == "STS":
        return {"sentence1": one, "sentence2": other, "score": rng.integers(0, 6, len(one)).astype(float).tolist()}
    if kind == "PairClassification":
        return {"sentence1": one, "sentence2": other, "labels": (np.arange(len(one)) % 3 == 0).astype(int).tolist()}
    if kind == "BitextMining":
        return {"sentence1": one, "sentence2": [t.split(" ", 2)[-1] for t in one]}
    if kind == "Summarization":
        return {
            "text": one[:6],
            "human_summaries": [[t, o] for t, o in zip(one[:6], other, strict=False)],
            "machine_summaries": [one[k : k + 5] for k in range(6, 12)],
            "relevance": rng.integers(1, 6, (6, 5)).astype(float).tolist(),
        }
    labels = sorted(set(texts.labels))
    return {"text": one, "label": [sorted({label, labels[i % 2]}) for i, label in enumerate(texts.labels)]}


def searched(kind, texts):
    """Queries are beginnings of texts; each two are written for one document, for every sixth there is none."""
    names = [f"d{i}" for i in range(len(texts.texts))]
    queries = {f"q{i}": " ".join(t.split()[:3]) for i, t in enumerate(texts.texts)}
    relevant = {q: {} if i % 6 == 5 else {names[i - i % 2]: 1} for i, q in enumerate(queries)}
    return {
        "queries": Dataset.from_dict({"id": list(queries), "text": list(queries.values())}),
        "corpus": Dataset.from_dict({"id": names, "text": texts.texts, "title": [""] * len(names)}),
        "relevant_docs": relevant,
        "top_ranked": dict.fromkeys(queries, names[:12]) if kind == "Reranking" else None,
    }


def make(kind, texts, metric=None):
    """A fresh task over that data, as `local_tasks` makes its own."""
    base, main = KINDS[kind]
    metadata = TaskMetadata(
        name=f"Small{kind}",
        description="Small data made for a test",
        dataset={"path": f"local/{kind}", "revision": "1"},
        type=kind,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=metric or main,
    )
    if base is AbsTaskRetrieval:
        data = {"default": {"test": searched(kind, texts)}}
    else:
        data = DatasetDict(dict.fromkeys(("train", "test"), Dataset.from_dict(columns(kind, texts))))
    members = {
        "metadata": metadata,
        "dataset": data,
        "data_loaded": True,
        "load_data": lambda self, num_proc=None, **_: None,
        "samples_per_label": 4,
        "min_score": 0,
        "max_score": 5,
    }
    return type(f"Small{kind}", (base,), members)()


def run(model, task, folder) -> TaskResult:
    """mteb's scores and saved predictions."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    scores = mteb.evaluate(model, task, prediction_folder=folder, **options).task_results[0].scores["test"]
    saved = json.loads((folder / task.prediction_file_name).read_text(encoding="utf-8"))
    by_subset = {s: p["test"] for s, p in saved.items() if s != "mteb_model_meta"}
    return TaskResult(raw={part["hf_subset"]: part for part in scores}, predictions=by_subset, split="test")


@pytest.fixture(scope="module")
def compared(texts, wordllama, minilm, tmp_path_factory):
    """The comparison row of a task of each kind, and what mteb saved."""
    found = {}

    def get(kind, metric=None):
        if (kind, metric) not in found:
            folder = tmp_path_factory.mktemp("predictions")
            results = []
            for role, model in (("base", wordllama), ("tuned", minilm)):
                task = make(kind, texts, metric)
                results.append(run(model, task, folder / role))
            found[kind, metric] = compare(task, *results)[0].row, task, results
        return found[kind, metric]

    return get


CASES = [
    *((kind, None) for kind in KINDS),
    ("PairClassification", "cosine_ap"),
    ("Retrieval", "mrr_at_10"),
    ("Retrieval", "recall_at_5"),
    ("MultilabelClassification", "f1"),
]


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_every_kind_has_an_interval_around_mtebs_difference(compared, kind, metric):
    # items that do not add up to mteb's scores give no interval at all
    row, _, _ = compared(kind, metric)
    assert row.low <= row.difference <= row.high
    assert row.low < row.high
    assert 0 <= row.p <= 1
    assert row.mde > 0


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_the_interval_stands_around_the_difference_of_the_items(compared, kind, metric):
    row, task, results = compared(kind, metric)
    found = task_interval(
        task, split_of(task, "default", "test"), *([getattr(r, f)["default"] for r in results] for f in
        ("raw", "predictions"))
    )  # fmt: skip
    assert found.difference == pytest.approx(row.difference, abs=2e-5)


def test_queries_count_as_items_and_those_of_one_document_as_a_cluster(compared):
    row, _, _ = compared("Retrieval")
    assert row.n_items == 20  # of 24 the sixth, twelfth, ... have no document
    assert row.method == "paired t over items in 12 clusters"


@pytest.mark.parametrize("kind", ["STS", "Retrieval", "BitextMining"])
def test_predictions_that_do_not_add_up_give_no_interval(compared, kind, caplog):
    _, task, results = compared(kind)
    raw = [{**r.raw["default"], "main_score": 0.123} for r in results]
    data, predictions = split_of(task, "default", "test"), [r.predictions["default"] for r in results]
    assert task_interval(task, data, raw, predictions) is None
    assert "0.123" in caplog.text


def test_a_task_without_predictions_has_no_interval(compared):
    _, task, results = compared("STS")
    raw = [r.raw["default"] for r in results]
    assert task_interval(task, split_of(task, "default", "test"), raw, [None, None]) is None


def test_true_scores_that_are_all_equal_give_no_interval(compared, caplog):
    _, task, results = compared("STS")
    data, predictions = split_of(task, "default", "test"), [r.predictions["default"] for r in results]
    alike = Dataset.from_dict({"score": [1.0] * len(data)})
    assert task_interval(task, alike, [{"main_score": 0.5}] * 2, predictions) is None
    assert "SmallSTS: no interval" in caplog.text


def classified(answers, truth, metric="accuracy", scores=None, kind="Classification"):
    task = SimpleNamespace(
        metadata=SimpleNamespace(name="fake", type=kind, main_score=metric), label_column_name="label"
    )
    scores = scores or [float((np.asarray(a) == truth).mean()) for a in answers]
    return task_interval(task, Dataset.from_dict({"label": truth}), [{"main_score": s} for s in scores], answers)


def test_accuracy_that_does_not_add_up_is_refused():
    with pytest.raises(DataError, match=r"give accuracy 0\.5000 \(mteb: 0\.7500\)"):
        classified([[[0, 0]], [[1, 1]]], [0, 1], scores=[0.75, 0.5])


def test_folds_of_other_sizes_are_no_draws_of_the_same_items():
    assert classified([[[0, 0], [1]]] * 2, [0, 1, 1], scores=[0.5, 0.5]) is None


def test_clustering_of_the_whole_folder_resamples_documents(caretaker, wordllama, minilm, tmp_path):
    results = [run(m, local_tasks(caretaker)[1], tmp_path / str(i)) for i, m in enumerate((wordllama, minilm))]
    row = compare(local_tasks(caretaker)[1], *results)[0].row
    assert row.method == "paired t over draws that resample documents"
    assert row.low <= row.difference <= row.high


def clustered(**attributes):
    task = SimpleNamespace(metadata=SimpleNamespace(name="c", type="Clustering", main_score="v_measure"), **attributes)
    raw = [{"v_measures": {"Level 0": m}, "main_score": 0.5} for m in ([0.4, 0.5, 0.6], [0.5, 0.7, 0.6])]
    return task_interval(task, Dataset.from_dict({"text": ["a"] * 100}), raw, [None, None])


def test_clustering_draws_far_larger_than_their_pool_tell_of_draws_alone():
    found = clustered(max_documents_per_cluster=16_384, max_fraction_of_documents_to_embed=0.04)
    assert found.method == "paired t over draws, documents not resampled"


def test_the_pool_of_clustering_is_what_mteb_embeds():
    assert clustered(max_documents_per_cluster=40, max_fraction_of_documents_to_embed=0.5).n_items == 50
    assert clustered(max_documents_per_cluster=40, max_document_to_embed=30).n_items == 30
