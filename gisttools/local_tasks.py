"""A folder of the user's own labelled texts as mteb tasks, scored by mteb's own code."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from datasets import Dataset, DatasetDict
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.task_metadata import TaskMetadata

from gisttools.errors import DataError, problems
from gisttools.labelled import LabelledTexts, read_labelled


def local_tasks(
    folder: str | Path,
    *,
    language: str = "eng-Latn",
    kinds: tuple[str, ...] = ("classification", "clustering"),
    split: str = "test",
):
    """mteb tasks over a folder with `train` and `test` files of labelled texts (JSONL, CSV, TSV or Parquet).

    Classification is scored as in MTEB: a logistic regression on 8 train texts a label, 10 draws, accuracy on all test
    texts. Clustering: 10 draws of the test texts, k-means, v-measure. Tasks are named after the folder.

    Args:
        folder: holds train.<ending> and test.<ending>.
        language: ISO 639-3 code and script, as in mteb.
        kinds: any of "classification", "clustering".
        split: the split that is scored, where it is not test, e.g. "dev".

    Returns:
        Fresh tasks (they hold random state: make new ones for each model).

    Raises:
        MissingError, DataError: as `read_labelled`; also if test holds a label that train does not.
    """
    train, test = read_labelled(folder, split="train"), read_labelled(folder, split=split)
    unknown = sorted(set(test.labels) - set(train.labels))
    if unknown:
        raise DataError(
            problems(
                f"{folder}: {len(unknown)} label(s) of the {split} split never occur in train:",
                unknown,
                f"A classifier cannot learn them: add train texts for them, or take them out of {split}.",
            )
        )
    known = sorted(set(train.labels))
    data = DatasetDict({"train": _dataset(train, known), "test": _dataset(test, known)})
    revision = _revision(train, test)
    name = Path(folder).resolve().name
    made = {
        "classification": lambda: _classification(name, data, known, revision, language),
        "clustering": lambda: _clustering(f"{name}_clustering", data, known, revision, language),
    }
    return [made[kind]() for kind in kinds]


def _dataset(texts: LabelledTexts, known: list[str]) -> Dataset:
    number = {label: i for i, label in enumerate(known)}
    return Dataset.from_dict({"text": texts.texts, "label": [number[label] for label in texts.labels]})


def _revision(*splits: LabelledTexts) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for text, label in zip(split.texts, split.labels, strict=True):
            digest.update(f"{text}\x1f{label}\x1e".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _metadata(name: str, kind: str, main_score: str, revision: str, language: str) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description=f"Local labelled texts: {name}",
        dataset={"path": f"local/{name}", "revision": revision},
        type=kind,
        category="t2c",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=[language],
        main_score=main_score,
    )


class _Loaded:
    """Data that is already here: mteb must not go to the hub for it."""

    label_names: list[str]

    def load_data(self, num_proc=None, **_) -> None:
        self.data_loaded = True


def _classification(name: str, data: DatasetDict, known: list[str], revision: str, language: str):
    fewest = min(Counter(data["train"]["label"]).values())
    members = {
        "metadata": _metadata(name, "Classification", "accuracy", revision, language),
        "dataset": data,
        "label_names": known,
        "samples_per_label": min(AbsTaskClassification.samples_per_label, fewest),
    }
    return type("LocalClassification", (_Loaded, AbsTaskClassification), members)()


def _clustering(name: str, data: DatasetDict, known: list[str], revision: str, language: str):
    members = {
        "metadata": _metadata(name, "Clustering", "v_measure", revision, language),
        "dataset": data,
        "label_names": known,
        "input_column_name": "text",
        "label_column_name": "label",
        "max_fraction_of_documents_to_embed": None,
        "max_documents_per_cluster": len(data["test"]),
    }
    return type("LocalClustering", (_Loaded, AbsTaskClustering), members)()
