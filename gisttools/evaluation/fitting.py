"""Fits classifiers on all train labels and scores their answers: on vectors, on words, and the most frequent class.

One rule for all: a logistic regression of fixed strength (`gisttools.models.fit_linear`), so that an encoder that has
seen the train texts has no advantage from a search for the best strength.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from datasets import Dataset
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import DataLoader

from gisttools.common import digest, first_line, whole_file
from gisttools.data import split_of
from gisttools.evaluation.models import ScoredModel
from gisttools.evaluation.scores import ScoreCache
from gisttools.models import C, Linear, fit_linear

if TYPE_CHECKING:
    from mteb import AbsTask

log = logging.getLogger(__name__)
MOST_TRAIN = 100_000  # train texts that classifiers are fitted on; of more, so many drawn at random
_SAMPLE, _BATCH = 256, 32  # test texts that speed is measured on, and how many at a time
_SECONDS, _ROUNDS = 1.5, 3  # of measuring at most; rounds over the sample at least, where they take less
_ITERATIONS = 2000
_PAIR = 2
_WORDS_C = 100.0  # chosen as that of vectors, benchmarks/linear.py


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Train and test texts of one subset of a classification task, with their labels.

    Attributes:
        task, subset, split, train_split: where they are from.
        train_texts, train_labels, test_texts, test_labels: labels are names.
        of_train: train texts that there are; more than `train_texts` where these are a sample.
    """

    task: AbsTask
    subset: str
    split: str
    train_split: str
    train_texts: list[str]
    train_labels: list[str]
    test_texts: list[str]
    test_labels: list[str]
    of_train: int

    @property
    def classes(self) -> int:
        return len({*self.train_labels, *self.test_labels})


def labelled_of(task: AbsTask, subset: str, split: str, *, most: int = MOST_TRAIN) -> Labelled | None:
    """The labelled texts of a loaded task; None where it has no train labels apart from those it is scored on.

    Args:
        task: of classification, one label a text.
        subset, split: that is scored.
        most: train texts; of more, a sample drawn with a fixed seed.
    """
    train_split = getattr(task, "train_split", "train")
    train, test = split_of(task, subset, train_split), split_of(task, subset, split)
    column = task.input_column_name
    if train is None or test is None or train_split == split or not isinstance(column, str):
        return None
    names = _names(task, train)
    labels = [names(label) for label in train[task.label_column_name]]
    texts, whole = list(train[column]), len(train)
    if whole > most:
        chosen = np.sort(np.random.default_rng(0).permutation(whole)[:most]).tolist()
        texts, labels = [texts[i] for i in chosen], [labels[i] for i in chosen]
    return Labelled(
        task=task, subset=subset, split=split, train_split=train_split, train_texts=texts, train_labels=labels,
        test_texts=list(test[column]), test_labels=[names(label) for label in test[task.label_column_name]],
        of_train=whole,
    )  # fmt: skip


def _names(task: AbsTask, rows: Any) -> Callable[[Any], str]:
    """What a label is called: by the task's own names, by those of its column, by a second column, or as it is."""
    column = task.label_column_name
    known = getattr(task, "label_names", None) or getattr(rows.features[column], "names", None)
    if known:
        return lambda label: str(known[label]) if isinstance(label, int) and 0 <= label < len(known) else str(label)
    if column != "label_text" and "label_text" in rows.column_names:
        told = dict(zip(rows[column], rows["label_text"], strict=True))
        if len(set(told.values())) == len(told):
            return lambda label: str(told.get(label, label))
    return str


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a classifier says of the test texts: `answers` and, of each, `probabilities` (not calibrated)."""

    answers: list[str]
    probabilities: NDArray[np.float64]

    def right(self, labels: Sequence[str]) -> NDArray[np.float64]:
        """(n,) 1 where the answer is the label, else 0."""
        return np.array([a == b for a, b in zip(self.answers, labels, strict=True)], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A classifier that was fitted on texts: `say` answers texts; `megabytes` is what has to be kept to use it."""

    say: Callable[[Sequence[str]], Said]
    megabytes: float | None


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Precision, recall, F1 and number of test texts of a class, as scikit-learn has them; 0 where there is nothing."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def class_scores(answers: Sequence[str], labels: Sequence[str]) -> list[ClassScore]:
    """Of each class that occurs among the labels or the answers, sorted; the mean of `f1` is macro-F1."""
    from sklearn.metrics import precision_recall_fscore_support

    names = sorted({*answers, *labels})
    found = precision_recall_fscore_support(labels, answers, labels=names, zero_division=0)
    return [
        ClassScore(label=name, precision=float(p), recall=float(r), f1=float(f), support=int(n))
        for name, p, r, f, n in zip(names, *found, strict=True)
    ]


def most_frequent(_texts: Sequence[str], labels: Sequence[str]) -> Fitted:
    """Answers always the most frequent label; of equally frequent ones the first by name."""
    counts = Counter(labels)
    label = min(counts, key=lambda name: (-counts[name], name))
    share = counts[label] / len(labels)

    def say(texts: Sequence[str]) -> Said:
        return Said(answers=[label] * len(texts), probabilities=np.full(len(texts), share))

    return Fitted(say=say, megabytes=0.0)


def words(texts: Sequence[str], labels: Sequence[str]) -> Fitted:
    """TF-IDF of words and pairs of words, 1 + log of counts, rows of length one; then a logistic regression with a
    penalty of its own: scikit-learn's `TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)`, whose other settings
    stay at their defaults, and `LogisticRegression(C=100, max_iter=2000)`.

    Raises:
        ValueError: no text holds a word, or there is only one label.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    terms = TfidfVectorizer(ngram_range=(1, _PAIR), sublinear_tf=True)
    rows = terms.fit_transform(texts)
    fitted = LogisticRegression(C=_WORDS_C, max_iter=_ITERATIONS).fit(rows, np.asarray(labels, dtype=object))

    def say(texts: Sequence[str]) -> Said:
        told = fitted.predict_proba(terms.transform(texts))
        return Said(answers=[str(fitted.classes_[i]) for i in told.argmax(axis=1)], probabilities=told.max(axis=1))

    return Fitted(say=say, megabytes=len(pickle.dumps((terms, fitted))) / 1e6)


def on_vectors(linear: Linear, vectors: ArrayLike) -> Said:
    """What a linear classifier says of vectors, (n, dimension)."""
    told = linear.probabilities(vectors)
    return Said(answers=linear.answers(vectors), probabilities=told.max(axis=1))


def kept_linear(vectors: NDArray[np.float64], labels: Sequence[str], cache: ScoreCache) -> Linear:
    """`fit_linear`, whose result is kept by all that decides it: of many texts and classes a fit takes minutes.

    Raises:
        DataError: as `fit_linear`.
    """
    told = repr((C, metadata.version("scikit-learn"), list(labels)))
    file = cache.folder / "linear" / f"{digest(told.encode() + vectors.tobytes(), 16)}.npz"
    try:
        with np.load(file, allow_pickle=False) as kept:
            return Linear(labels=tuple(sorted(set(labels))), weights=kept["weights"], bias=kept["bias"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        log.warning("%s is damaged (%s); the classifier is fitted again", file, first_line(error))
    linear = fit_linear(vectors, labels)
    with whole_file(file) as path, path.open("wb") as out:
        np.savez(out, weights=linear.weights, bias=linear.bias)
    return linear


def vectors_of(
    model: ScoredModel, part: Labelled, cache: ScoreCache, *, batch_size: int, test_only: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors of train and test texts, (n, dimension) each, embedded with the prompts that mteb gives such a task; what
    is kept of them is not embedded again. `test_only`: no train texts."""
    train, test = (
        _embedded(model, part, texts, split, cache, batch_size)
        for texts, split in (([] if test_only else part.train_texts, part.train_split), (part.test_texts, part.split))
    )
    return train, test


def _embedded(
    model: ScoredModel, part: Labelled, texts: list[str], split: str, cache: ScoreCache, batch_size: int
) -> NDArray[np.float64]:
    if not texts:
        return np.zeros((0, 0))
    encoder = model.encoder
    if encoder is model.transformer:
        encoder = SentenceTransformerEncoderWrapper(encoder)
    loader = DataLoader(Dataset.from_dict({"text": texts}), batch_size=batch_size)
    with model.counting(cache.vectors(model), of=f"{part.task.metadata.name} ({model.name})"):
        found = encoder.encode(
            loader, task_metadata=part.task.metadata, hf_split=split, hf_subset=part.subset, batch_size=batch_size,
            show_progress_bar=False,
        )  # fmt: skip
    return np.array(found, dtype=np.float64)


def texts_per_second(answer: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> float | None:
    """How many texts a second `answer` takes, 32 at a time, on a fixed sample of 256 of these texts after a warm-up;
    None without texts."""
    sample = list(texts)[:: max(len(texts) // _SAMPLE, 1)][:_SAMPLE]
    if not sample:
        return None
    batches = [sample[i : i + _BATCH] for i in range(0, len(sample), _BATCH)]
    answer(batches[0])
    done, started, spent = 0, time.perf_counter(), 0.0
    for n in range(_ROUNDS * len(batches)):
        answer(batches[n % len(batches)])
        done, spent = done + len(batches[n % len(batches)]), time.perf_counter() - started
        if spent > _SECONDS:
            break
    return done / spent if spent > 0 else None
