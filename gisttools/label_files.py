"""Labelled texts of an evaluation folder: the texts that are scored, and those that a classifier learns from."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from gisttools.common import DataError, problems
from gisttools.eval_files import EvalFolder
from gisttools.eval_rows import is_json_list, some, together
from gisttools.labelled import LabelledTexts, read_labelled

log = logging.getLogger(__name__)
_NEIGHBOURS = 5  # that mteb's multi-label classifier looks at


@dataclass(frozen=True)
class LabelledSplits:
    """`test` is the split that is scored; `train` is None where only clusters are looked for."""

    kind: str
    train: LabelledTexts | None
    test: LabelledTexts

    @property
    def known(self) -> list[str]:
        """The names of all labels that can be answered, sorted."""
        return sorted((self.train or self.test).classes)

    @property
    def test_texts(self) -> list[str]:
        """The texts that are scored."""
        return self.test.texts


def read_scored(folder: EvalFolder) -> LabelledTexts:
    """The texts that are scored, with their labels.

    Raises:
        DataError: as `read_labelled`; also where cells of a CSV are lists written as JSON.
    """
    return _read(folder, folder.split)


def read_splits(folder: EvalFolder) -> LabelledSplits:
    """Texts and labels to classify, or to cluster. Where the kind was not told, lists of labels make it multi-label.

    Raises:
        DataError: a file is as `read_labelled` refuses it, texts have several labels where one is meant, the scored
            split has labels that train lacks, or there are too few train texts; all problems at once.
    """
    alone = folder.kind == "clustering"
    jobs = {} if alone else {"train": lambda: _read(folder, "train")}
    found = together({**jobs, "test": lambda: read_scored(folder)})
    train, test = found.get("train"), found["test"]
    several = [split for split in found.values() if split.label_sets is not None]
    kind = "multilabel_classification" if several and not folder.told else folder.kind
    wrong = []
    if several and kind != "multilabel_classification":
        where = ", ".join(split.split for split in several)
        wrong.append(f"texts of {where} have several labels, {kind} needs one for each")
    if kind == "multilabel_classification" and len(train) < _NEIGHBOURS:
        wrong.append(f"train holds {len(train)} texts; mteb's classifier looks at the {_NEIGHBOURS} nearest")
    unknown = sorted(set(test.classes) - set(train.classes)) if train else []
    if unknown:
        wrong.append(f"{len(unknown)} label(s) of the {folder.split} split never occur in train: {', '.join(unknown)}")
    if wrong:
        mends = {
            "several": f"Say {folder.path}#multilabel_classification, or give each text one label.",
            "train holds": "Add train texts.",
            "never": "A classifier cannot learn labels that it never sees: add train texts for them, or take them out "
            f"of {folder.split}.",
        }
        mend = " ".join(m for word, m in mends.items() if any(word in w for w in wrong))
        raise DataError(problems(f"{folder.path}: {len(wrong)} problem(s)", wrong, mend))
    if train and (never := sorted(set(train.classes) - set(test.classes))):
        log.info("%s: %d label(s) of train never occur in %s: %s", folder.path, len(never), folder.split, some(never))
    if train and (unseen := sorted(set(train.classes) - set(test.classes))):
        log.warning("%s: %d label(s) have no %s text, nothing is said of them: %s", folder.path.name, len(unseen),
                    folder.split, ", ".join(unseen))  # fmt: skip
    return LabelledSplits(kind, train, test)


def _read(folder: EvalFolder, split: str) -> LabelledTexts:
    texts = read_labelled(folder.path, split=split)
    if texts.label_sets is None and all(is_json_list(label) for label in texts.labels):
        raise DataError(
            f"{folder.path}, split {split}: the labels are lists written as JSON, such as {texts.labels[0]!r}. "
            "Save the file as JSONL or Parquet, where a cell can be a list."
        )
    return texts
