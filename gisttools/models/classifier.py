"""The classifier that goes with an encoder: a logistic regression on its vectors, with calibrated probabilities.

    from gisttools import Classifier

    classifier = Classifier.load("my_model")
    classifier.predict(["my parcel is late"])

The same regression is what `evaluation` scores as "a classifier fitted on all your labels": what is measured is what is
used. Its files lie in the model's folder, `classifier.json` and `classifier.safetensors`, and hold no code. An
evaluation leaves such a folder, `model/`, with probabilities calibrated on the test texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gisttools.common import DataError, MissingError, ModelError, ParameterError, whole_file, write_whole

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

C = 3.0  # inverse strength of the L2 penalty, of unit vectors; chosen on held-out train texts, benchmarks/linear.py
FORMAT = 1
_TOLD, _WEIGHTS = "classifier.json", "classifier.safetensors"
_ITERATIONS = 2000
_FEWEST = 2
_POOL, _MOST = 10, 4000  # texts that are clustered: so many for each that is wanted, and at most

Encode = Callable[[Sequence[str]], ArrayLike]


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A linear classifier of unit vectors.

    Attributes:
        labels: the classes, sorted.
        weights, bias: (classes, dimension) and (classes,), float64; the logits of a vector x are weights @ x + bias.
        temperature: what logits are divided by before the softmax.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    temperature: float = 1.0

    def logits(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """(n, classes), before the temperature."""
        return unit(vectors) @ self.weights.T + self.bias

    def probabilities(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """(n, classes); each row sums to 1."""
        from scipy.special import softmax

        return softmax(self.logits(vectors) / self.temperature, axis=1)

    def answers(self, vectors: ArrayLike) -> list[str]:
        """The most likely label of each vector; of equally likely ones the first."""
        return [self.labels[i] for i in self.logits(vectors).argmax(axis=1)]

    def calibrated(self, vectors: ArrayLike, labels: Sequence[str]) -> Linear:
        """With the temperature that makes these labels most likely (C. Guo and others 2017, "On Calibration of Modern
        Neural Networks"); the answers stay what they are. The vectors must be of texts that neither the encoder nor
        this classifier was fitted on, or probabilities come out too sure. Labels that it does not know are left out;
        where none is left, it stays as it is."""
        from scipy.optimize import minimize_scalar
        from scipy.special import log_softmax

        places = {label: i for i, label in enumerate(self.labels)}
        known = [row for row, label in enumerate(labels) if label in places]
        if not known:
            return self
        logits = self.logits(vectors)[known]
        truth = np.array([places[labels[row]] for row in known])

        def loss(log_temperature: float) -> float:
            told = log_softmax(logits / np.exp(log_temperature), axis=1)
            return -float(told[np.arange(len(truth)), truth].mean())

        found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
        return replace(self, temperature=float(np.exp(found.x)))


def fit_linear(vectors: ArrayLike, labels: Sequence[str]) -> Linear:
    """Logistic regression on vectors of length one, with the fixed `C` of this module: scikit-learn's
    `LogisticRegression(C=3, max_iter=2000)`.

    Fixed, because an encoder that was trained on these texts has seen them: a cross-validation on them would measure
    nothing, and every encoder must be treated alike.

    Args:
        vectors: (n, dimension), of any length.
        labels: (n,).

    Raises:
        DataError: numbers differ, there is only one label, or a vector is not finite.
    """
    from sklearn.linear_model import LogisticRegression

    rows = unit(vectors)
    if len(rows) != len(labels):
        raise DataError(f"There are {len(labels):,} labels for {len(rows):,} vectors.")
    if len(set(labels)) < _FEWEST:
        raise DataError(
            f"A classifier needs at least two labels; all {len(labels):,} texts have {set(labels) or 'none'}."
        )
    fitted = LogisticRegression(C=C, max_iter=_ITERATIONS).fit(rows, np.asarray(labels, dtype=object))
    return linear_of(fitted)


def linear_of(fitted: Any) -> Linear:
    """A fitted `sklearn.linear_model.LogisticRegression` as a `Linear`; of two classes the first has the logit 0."""
    weights, bias = np.asarray(fitted.coef_, dtype=np.float64), np.asarray(fitted.intercept_, dtype=np.float64)
    if len(fitted.classes_) == _FEWEST:
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.concatenate([[0.0], bias])
    return Linear(labels=tuple(str(c) for c in fitted.classes_), weights=weights, bias=bias)


def unit(vectors: ArrayLike) -> NDArray[np.float64]:
    """(n, dimension), each of length one; one of zeros, of a text without a known token, stays that: it says nothing of
    any label, so that the bias alone decides.

    Raises:
        DataError: one is not finite.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if bad := np.flatnonzero(~np.isfinite(lengths[:, 0])).tolist():
        raise DataError(f"The vector of text {bad[0]} (of {len(bad)} such) is not finite. Did the training diverge?")
    return rows / np.where(lengths > 0, lengths, 1)


def calibration_error(probabilities: ArrayLike, right: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: how far the said probability is from the share of right answers, over bins of equally
    many answers (M. Naeini and others 2015), weighted by their size. Between 0 and 1.

    Args:
        probabilities: (n,), of the answers.
        right: (n,), whether each was right.
    """
    said, hit = np.asarray(probabilities, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not len(said):
        return 0.0
    order = np.argsort(said, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return float(sum(abs(said[p].mean() - hit[p].mean()) * len(p) for p in parts) / len(said))


def threshold_for(probabilities: ArrayLike, right: ArrayLike, lost: float = 0.05) -> float:
    """The probability below which an answer is better given as "none of these": the highest one that takes away at most
    the share `lost` of the right answers. 0 where none was right.

    Args:
        probabilities: (n,), of the answers.
        right: (n,), whether each was right.
        lost: between 0 and 1.
    """
    said = np.sort(np.asarray(probabilities, dtype=np.float64)[np.asarray(right, dtype=bool)])
    return float(said[int(lost * len(said))]) if len(said) else 0.0


def measured_on(
    linear: Linear, vectors: ArrayLike, labels: Sequence[str], *, lost: float = 0.05, folds: int = 5
) -> tuple[Linear, dict[str, Any]]:
    """Calibrate a classifier on texts that nothing was fitted on, and say what that gives on texts like them.

    Temperature and threshold are those of all these texts. What is said of them is cross-fitted: in each of `folds`
    parts under the temperature and the threshold of the others, so that no text judges what it helped to choose.

    Args:
        linear: fitted on other texts.
        vectors, labels: (n, dimension), (n,).
        lost: share of the right answers that the threshold may take away, see `threshold_for`.

    Returns:
        The calibrated classifier, and by name: texts, accuracy, calibration_error (of the answers),
        threshold, right_lost (share of the right answers that become "none of these"), wrong_caught (the same of the
        wrong ones); None of what there is nothing of.
    """
    rows, truth = unit(vectors), np.asarray(labels, dtype=object)
    answers = np.asarray(linear.answers(rows), dtype=object)
    right = answers == truth
    parts = np.arange(len(rows)) % max(min(folds, len(rows)), 1)
    said, kept = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    for part in np.unique(parts):
        own, others = parts == part, parts != part
        fitted, least = _calibrated(linear, rows[others], truth[others], lost)
        said[own] = fitted.probabilities(rows[own]).max(axis=1)
        kept[own] = said[own] >= least
    found, threshold = _calibrated(linear, rows, truth, lost)
    told = {
        "texts": len(rows),
        "accuracy": _mean(right),
        "calibration_error": calibration_error(said, right),
        "threshold": threshold,
        "right_lost": _mean(~kept[right]),
        "wrong_caught": _mean(~kept[~right]),
    }
    return found, told


def _calibrated(linear: Linear, vectors: NDArray[np.float64], truth: NDArray[Any], lost: float) -> tuple[Linear, float]:
    found = linear.calibrated(vectors, list(truth))
    right = np.asarray(found.answers(vectors), dtype=object) == truth
    return found, threshold_for(found.probabilities(vectors).max(axis=1), right, lost) if len(truth) else 0.0


def _mean(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """An encoder with the linear classifier of its vectors.

    Attributes:
        encode: texts to (n, dimension) vectors.
        linear: the classifier.
        prompt: what `encode` puts before every text; None: what the model does by itself.
        threshold: answers of a lower probability are None, "none of these"; 0 answers always.
        about: what was measured of it, to be shown, as `measured_on` has it.
    """

    encode: Encode
    linear: Linear
    prompt: str | None = None
    threshold: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        encoder: SentenceTransformer | Encode,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        prompt: str | None = None,
    ) -> Classifier:
        """Fit one on labelled texts; see `fit_linear`. `prompt`: before every text, in place of the model's own."""
        encode = encode_of(encoder, prompt)
        return cls(encode=encode, linear=fit_linear(encode(list(texts)), list(labels)), prompt=prompt)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.linear.labels

    def predict(self, texts: Sequence[str], *, threshold: float | None = None) -> list[str | None]:
        """The label of each text; None for "none of these", where no label is at least as likely as the threshold.

        Args:
            texts: (n,).
            threshold: instead of the classifier's own; 0 answers always.

        Raises:
            ParameterError: `texts` is a single string, or the threshold is not between 0 and 1.
        """
        least = self.threshold if threshold is None else threshold
        if not 0 <= least <= 1:
            raise ParameterError(f"threshold is {least}; it must lie between 0 and 1.")
        told = self.predict_proba(texts)
        best = told.argmax(axis=1)
        return [self.labels[i] if row[i] >= least else None for i, row in zip(best, told, strict=True)]

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n, labels) probabilities, in the order of `labels`."""
        if isinstance(texts, str):
            raise ParameterError("texts is one string; give a list of texts.")
        if not len(texts):
            return np.empty((0, len(self.labels)))
        return self.linear.probabilities(self.encode(list(texts)))

    def label_next(self, texts: Sequence[str], n: int) -> list[int]:
        """Places of the texts that are worth a label, the most so first: unsure ones, of many kinds.

        Of the ten times as many texts with the smallest margin between the two likeliest labels as many clusters are
        made as texts are wanted; each gives its least sure one, the smallest clusters first (after Cluster-Margin,
        G. Citovsky and others 2021, arXiv 2107.14263). Of equal texts one is taken.

        Args:
            texts: (m,) without labels.
            n: how many; fewer where there are fewer different texts.

        Raises:
            ParameterError: `n` is less than 1.
        """
        from sklearn.cluster import AgglomerativeClustering

        if n < 1:
            raise ParameterError(f"n is {n}; give 1 or more.")
        first: dict[str, int] = {}
        for place, text in enumerate(texts):
            first.setdefault(text, place)
        places = np.array(list(first.values()), dtype=np.int64)
        if not len(places):
            return []
        vectors = unit(self.encode([texts[i] for i in places.tolist()]))
        likeliest = np.sort(self.linear.probabilities(vectors), axis=1)
        margins = likeliest[:, -1] - likeliest[:, -2]
        pool = np.argsort(margins, kind="stable")[: min(_POOL * n, max(_MOST, n))]
        if len(pool) <= n:
            return places[pool].tolist()
        clusters = AgglomerativeClustering(n, linkage="average").fit_predict(vectors[pool])
        sizes = np.bincount(clusters)
        taken = [pool[clusters == cluster][0] for cluster in np.argsort(sizes, kind="stable").tolist()]
        return places[taken].tolist()

    def save(self, folder: Path | str) -> None:
        """Write it beside the encoder, into the model's folder."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        with whole_file(folder / _WEIGHTS) as path:
            # safetensors writes memory as it lies, and scikit-learn's may lie column by column
            arrays = {"weights": self.linear.weights, "bias": self.linear.bias}
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
        told = {
            "format": FORMAT,
            "labels": self.labels,
            "prompt": self.prompt,
            "temperature": self.linear.temperature,
            "threshold": self.threshold,
            "about": dict(self.about),
        }
        write_whole(folder / _TOLD, json.dumps(told, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path | str, *, device: str | None = None) -> Classifier:
        """Open a model folder with its classifier.

        Raises:
            MissingError: there is no such folder, or no classifier in it.
            ModelError: the files do not belong together.
        """
        from gisttools.models.loading import open_model

        linear, told = read_linear(Path(folder))
        model = open_model(str(folder), device=device)
        wide, made = linear.weights.shape[1], model.get_embedding_dimension()
        if wide != made:
            raise ModelError(f"The classifier in {folder} is for vectors of {wide} numbers, the model makes {made}.")
        return cls(encode=encode_of(model, told["prompt"]), linear=linear, **told)


def read_linear(folder: Path) -> tuple[Linear, dict[str, Any]]:
    """The classifier in a model folder; and its prompt, its threshold and what was measured of it, by name.

    Raises:
        MissingError: there is none.
        ModelError: its files are damaged or do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not (folder / _TOLD).is_file():
        raise MissingError(
            f"{folder} holds no classifier ({_TOLD}). An evaluate run of this model on labelled texts "
            "leaves one: name that run. Or fit one: Classifier.fit(model, texts, labels)."
        )
    try:
        told = {"prompt": None} | json.loads((folder / _TOLD).read_text(encoding="utf-8"))
        found = load_file(folder / _WEIGHTS)
        linear = Linear(
            labels=tuple(told["labels"]), weights=found["weights"], bias=found["bias"], temperature=told["temperature"]
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"The classifier in {folder} cannot be read: {error}. Fit it again.") from error
    if (
        told.get("format") != FORMAT
        or linear.weights.shape[:1] != linear.bias.shape
        or len(linear.labels) != len(linear.bias)
    ):
        raise ModelError(f"The files of the classifier in {folder} do not belong together. Fit it again.")
    return linear, {"prompt": told["prompt"], "threshold": float(told["threshold"]), "about": dict(told["about"])}


def encode_of(encoder: SentenceTransformer | Encode, prompt: str | None = None) -> Encode:
    """What makes vectors of texts: the model's `encode`, with this prompt or its own; or the function as it is.

    Raises:
        ParameterError: there is a prompt, and a function.
    """
    if not hasattr(encoder, "encode"):
        if prompt is not None:
            raise ParameterError(
                f"prompt is {prompt!r}, but the encoder is a function: write it before the texts there."
            )
        return encoder
    return lambda texts: encoder.encode(list(texts), prompt=prompt, show_progress_bar=False, convert_to_numpy=True)
