"""Makes mteb tasks of every kind from a folder of the user's own files, scored by mteb's own code and metrics."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.multilabel_classification import AbsTaskMultilabelClassification
from mteb.abstasks.pair_classification import AbsTaskPairClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from gisttools.data.folder_rows import (
    LabelledSplits,
    Pairs,
    Searched,
    read_candidates,
    read_pairs,
    read_searched,
    read_splits,
)
from gisttools.data.folders import eval_folder
from gisttools.data.labelled import LabelledTexts
from gisttools.data.options import FileOptions


class _Classification(AbsTaskClassification):
    """mteb takes a test split of two classes for a binary task, and fails where train holds more."""

    def _calculate_scores(self, y_test: Iterable[int], y_pred: np.ndarray) -> dict[str, float | None]:
        y_test = np.asarray(list(y_test))  # a column of the table, slow to walk, and each metric walks it many times
        if len(self.label_names) == 2 or len(np.unique(y_test)) != 2:
            return super()._calculate_scores(y_test, y_pred)
        scores: dict[str, float | None] = {"accuracy": accuracy_score(y_test, y_pred), "ap": None, "ap_weighted": None}
        for average, end in (("macro", ""), ("weighted", "_weighted")):
            found = precision_recall_fscore_support(y_test, y_pred, average=average)
            scores |= {f"{name}{end}": float(x) for name, x in zip(("precision", "recall", "f1"), found, strict=False)}
        return scores


# mteb's class, its name of the type, the main score that most of its own tasks of the type have, and the category
_TYPES = {
    "classification": (_Classification, "Classification", "accuracy", "t2c"),
    "multilabel_classification": (AbsTaskMultilabelClassification, "MultilabelClassification", "accuracy", "t2c"),
    "clustering": (AbsTaskClustering, "Clustering", "v_measure", "t2c"),
    "pair_classification": (AbsTaskPairClassification, "PairClassification", "max_ap", "t2t"),
    "sts": (AbsTaskSTS, "STS", "cosine_spearman", "t2t"),
    "retrieval": (AbsTaskRetrieval, "Retrieval", "ndcg_at_10", "t2t"),
    "reranking": (AbsTaskRetrieval, "Reranking", "map_at_1000", "t2t"),
}
Made = tuple[str, DatasetDict | dict[str, dict], dict[str, object]]  # revision, data, further members of the task
_SPLIT = "test"  # what mteb calls the split that is scored, whatever its file is called


def local_tasks(
    folder: str | Path,
    *,
    language: str = "eng-Latn",
    kinds: tuple[str, ...] | None = None,
    split: str = "test",
    reading: FileOptions | None = None,
) -> list[AbsTask]:
    """mteb tasks over a folder of JSONL, CSV, TSV, Parquet or XLSX files, or over one file; docs/evaluation.md has the
    layouts of all kinds.

    A folder gives one task, called like the folder (or the file); classification brings clustering of the same test
    texts along, as a second look. Scores are those of mteb's own tasks on the same data.

    Args:
        folder: the files and their columns tell the kind of task; or the name does: `folder#kind`, one of
            `gisttools.data.KINDS`.
        language: ISO 639-3 code and script, as in mteb.
        kinds: keep only these of the folder's tasks.
        split: the split that is scored, where it is not test, e.g. "dev".
        reading: how labelled texts are read, and what share of them is scored; as in `eval_folder`.

    Returns:
        Fresh tasks (they hold random state: make new ones for each model), the folder's own task first.

    Raises:
        MissingError, DataError, ParameterError: as `eval_folder`; DataError also for what is wrong with the rows.
    """
    found = eval_folder(folder, split, reading)
    name = found.name
    if found.kind in ("pair_classification", "sts"):
        tasks = {found.kind: _pairs(found.kind, read_pairs(found))}
    elif found.kind in ("retrieval", "reranking"):
        data = read_searched(found) if found.kind == "retrieval" else read_candidates(found)
        tasks = {found.kind: _searched(data)}
    else:
        tasks = _labelled(read_splits(found), alone=found.named)
    return [_task(name, kind, language, made) for kind, made in tasks.items() if kinds is None or kind in kinds]


class _Loaded:
    """Data that is already here: mteb must not go to the hub for it."""

    def load_data(self, num_proc: int | None = None, **_: object) -> None:
        self.data_loaded = True


def _task(name: str, kind: str, language: str, made: Made) -> AbsTask:
    revision, dataset, more = made
    base, mteb_type, main_score, category = _TYPES[kind]
    name = f"{name}_clustering" if kind == "clustering" else name
    metadata = TaskMetadata(
        name=name,
        description=f"Local files: {name}",
        dataset={"path": f"local/{name}", "revision": revision},
        type=mteb_type,
        category=category,
        modalities=["text"],
        eval_splits=[_SPLIT],
        eval_langs=[language],
        main_score=main_score,
    )
    members = {"metadata": metadata, "dataset": dataset, **more}
    return type(f"Local{mteb_type}", (_Loaded, base), members)()


def _labelled(data: LabelledSplits, *, alone: bool) -> dict[str, Made]:
    """The task that the labels are for and, unless it was asked for alone, clustering next to classification."""
    number = {label: i for i, label in enumerate(data.known)}
    multilabel = data.kind == "multilabel_classification"
    sets = {"train": data.train, _SPLIT: data.test}
    dataset = DatasetDict({s: _numbered(texts, number, multilabel) for s, texts in sets.items() if texts is not None})
    members: dict[str, object] = {"label_names": data.known, "input_column_name": "text", "label_column_name": "label"}
    made = {}
    if data.train is not None:
        own = ("max_eval_samples", None) if multilabel else ("samples_per_label", _samples(data.train))
        revision = _revision([*_label_rows(data.train), *_label_rows(data.test)])
        made[data.kind] = revision, dataset, {**members, own[0]: own[1]}
    if data.kind == "clustering" or (data.kind == "classification" and not alone):
        whole = {"max_fraction_of_documents_to_embed": None, "max_documents_per_cluster": len(data.test)}
        made["clustering"] = _revision(_label_rows(data.test)), dataset, {**members, **whole}
    return made


def _samples(train: LabelledTexts) -> int:
    """Train texts a label: as many as in mteb, fewer where the smallest class has not as many."""
    return min(AbsTaskClassification.samples_per_label, *Counter(train.labels).values())


def _numbered(texts: LabelledTexts, number: dict[str, int], multilabel: bool) -> Dataset:
    if multilabel:
        sets = texts.label_sets or [(label,) for label in texts.labels]
        labels: list = [[number[name] for name in names] for names in sets]
    else:
        labels = [number[label] for label in texts.labels]
    return Dataset.from_dict({"text": texts.texts, "label": labels})


def _label_rows(texts: LabelledTexts) -> list[tuple[str, str]]:
    return list(zip(texts.texts, texts.labels, strict=True))


def _pairs(kind: str, data: Pairs) -> Made:
    """Labels are whole numbers; scores keep their range, which mteb brings to 0 to 1."""
    columns: dict[str, list] = {"sentence1": data.first, "sentence2": data.second}
    members: dict[str, object] = {}
    if kind == "sts":
        columns["score"] = data.values
        members = {"min_score": min(data.values), "max_score": max(data.values)}
    else:
        columns["labels"] = data.values
    revision = _revision(zip(data.first, data.second, data.values, strict=True))
    return revision, DatasetDict({_SPLIT: Dataset.from_dict(columns)}), members


def _searched(data: Searched) -> Made:
    documents = [(name, title, text) for name, (title, text) in data.corpus.items()]
    parts = {
        "queries": Dataset.from_dict({"id": list(data.queries), "text": list(data.queries.values())}),
        "corpus": Dataset.from_dict({c: list(v) for c, v in zip(("id", "title", "text"), zip(*documents, strict=True),
                                                               strict=True)}),
        "relevant_docs": data.relevant,
        "top_ranked": data.candidates,
    }  # fmt: skip
    judged = ((query, document, score) for query, found in data.relevant.items() for document, score in found.items())
    revision = _revision([*data.queries.items(), *documents, *judged])
    return revision, {"default": {_SPLIT: parts}}, {}


def _revision(rows: Iterable[tuple]) -> str:
    """A hash of the content."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(("\x1f".join(map(str, row)) + "\x1e").encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
