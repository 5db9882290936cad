"""The classifier of an encoder: scikit-learn's regression to the last digit, honest probabilities, whole files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.linear_model import LogisticRegression

from gisttools.common import DataError, MissingError, ModelError, ParameterError
from gisttools.models.classifier import Classifier, Linear, calibration_error, fit_linear, measured_on, threshold_for


def rows(classes: int, n: int = 120, dimension: int = 8, seed: int = 0, noise: float = 1.0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dimension))
    truth = np.arange(n) % classes
    return centres[truth] + noise * rng.normal(size=(n, dimension)), [f"label {i}" for i in truth]


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_it_is_the_regression_of_scikit_learn(classes) -> None:
    vectors, labels = rows(classes)
    by_hand = LogisticRegression(C=3, max_iter=2000)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    by_hand.fit(units, labels)
    found = fit_linear(vectors, labels)
    assert found.labels == tuple(by_hand.classes_)
    np.testing.assert_allclose(found.probabilities(vectors), by_hand.predict_proba(units), rtol=1e-12, atol=1e-14)
    assert found.answers(vectors) == by_hand.predict(units).tolist()


def test_calibration_makes_an_overconfident_classifier_honest() -> None:
    vectors, labels = rows(3, n=3040, dimension=30, noise=4.0)
    new, truth = vectors[40:], labels[40:]
    linear = replace(fit_linear(vectors[:40], labels[:40]), temperature=0.3)  # too sure of itself
    half = len(new) // 2
    calibrated = linear.calibrated(new[:half], truth[:half])

    def error(of) -> float:
        told = of.probabilities(new[half:])
        right = [of.labels[i] == label for i, label in zip(told.argmax(axis=1), truth[half:], strict=True)]
        return calibration_error(told.max(axis=1), right)

    assert calibrated.answers(new) == linear.answers(new)
    assert error(calibrated) < 0.05 < 0.2 < error(linear)


def test_labels_that_it_does_not_know_do_not_calibrate() -> None:
    vectors, labels = rows(3)
    linear = fit_linear(vectors, labels)
    assert linear.calibrated(vectors, ["another"] * len(vectors)) is linear


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50), st.floats(0, 0.99))
def test_a_threshold_takes_no_more_right_answers_than_it_may(answers, lost) -> None:
    said, right = map(np.array, zip(*answers, strict=True))
    least = threshold_for(said, right, lost)
    assert (said[right] < least).sum() <= lost * right.sum()


def test_calibration_error_by_hand() -> None:
    # two bins of equally many: said 0.6 on average and right half the time, said 0.9 and right always
    said, right = [0.5, 0.7, 0.9, 0.9], [1, 0, 1, 1]
    assert calibration_error(said, right, bins=2) == pytest.approx((0.1 + 0.1) / 2)


def encode(texts):
    return np.array([[len(t), t.count("a") + 1, t.count("b")] for t in texts], dtype=float)


TEXTS, LABELS = ["aaa", "aaaa", "bbb", "bbbb", "aab", "bba"], ["a", "a", "b", "b", "a", "b"]


def test_predictions_and_none_of_these() -> None:
    classifier = Classifier.fit(encode, TEXTS, LABELS)
    assert classifier.predict(["aaaaa", "bbbbb"]) == ["a", "b"]
    told = classifier.predict_proba(["ab"])
    assert told.sum() == pytest.approx(1)
    assert classifier.predict(["ab"], threshold=told.max() + 1e-6) == [None]
    assert classifier.predict([]) == []


@pytest.mark.parametrize("texts", ["one text"])
def test_a_single_string_is_refused(texts) -> None:
    with pytest.raises(ParameterError, match="list"):
        Classifier.fit(encode, TEXTS, LABELS).predict(texts)


def test_a_saved_classifier_answers_the_same(tmp_path) -> None:
    from gisttools.models import open_model

    model = open_model("embedded:wordllama-256")
    texts = ["my parcel is late", "where is my parcel", "refund me", "I want my money back"]
    classifier = Classifier.fit(model, texts, ["parcel", "parcel", "refund", "refund"])
    model.save(str(tmp_path / "model"))
    classifier.save(tmp_path / "model")
    opened = Classifier.load(tmp_path / "model")
    np.testing.assert_array_equal(opened.predict_proba(texts), classifier.predict_proba(texts))
    assert opened.labels == ("parcel", "refund")


@pytest.mark.parametrize(
    ("vectors", "labels", "told"),
    [
        (np.ones((3, 2)), ["a", "a", "a"], "two labels"),
        (np.ones((3, 2)), ["a", "b"], "2 labels for 3 vectors"),
        (np.array([[1, np.nan], [1, 2]]), ["a", "b"], r"text 0 .* not finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(vectors, labels, told) -> None:
    with pytest.raises(DataError, match=told):
        fit_linear(vectors, labels)


def test_files_that_do_not_belong_together_are_refused(tmp_path) -> None:
    with pytest.raises(MissingError, match=r"classifier\.json"):
        Classifier.load(tmp_path)
    Classifier.fit(encode, TEXTS, LABELS).save(tmp_path)
    told = json.loads((tmp_path / "classifier.json").read_text())
    for damage in ("", "[]", "{}", json.dumps(told | {"labels": ["a", "b", "c"]}), json.dumps(told | {"format": 9})):
        (tmp_path / "classifier.json").write_text(damage)
        with pytest.raises(ModelError, match="classifier"):
            Classifier.load(tmp_path)


def clouds(n: int, spread: float, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Vectors of three classes around three axes."""
    generator = np.random.default_rng(seed)
    numbers = generator.integers(3, size=n)
    return np.eye(8)[numbers] + spread * generator.normal(size=(n, 8)), [f"c{i}" for i in numbers]


def test_what_is_measured_is_blind_to_the_text_it_speaks_of():
    """By hand: each fold under temperature and threshold of the others."""
    linear = fit_linear(*clouds(300, 0.6))
    vectors, labels = clouds(200, 0.6, seed=1)
    found, told = measured_on(linear, vectors, labels, folds=2)
    right = np.array(linear.answers(vectors)) == labels
    said, kept = np.zeros(200), np.zeros(200, dtype=bool)
    for own, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        fitted = linear.calibrated(vectors[other], labels[other])
        least = threshold_for(fitted.probabilities(vectors[other]).max(axis=1), right[other])
        said[own] = fitted.probabilities(vectors[own]).max(axis=1)
        kept[own] = said[own] >= least
    assert told["calibration_error"] == pytest.approx(calibration_error(said, right), rel=1e-9)
    assert (told["right_lost"], told["wrong_caught"]) == pytest.approx(
        (1 - kept[right].mean(), 1 - kept[~right].mean())
    )
    assert (told["accuracy"], told["texts"]) == (right.mean(), 200)
    assert found.temperature == pytest.approx(linear.calibrated(vectors, labels).temperature, rel=1e-9)
    assert told["threshold"] == pytest.approx(threshold_for(found.probabilities(vectors).max(axis=1), right), rel=1e-9)


def test_calibrating_an_overconfident_classifier_makes_its_error_small():
    linear = replace(fit_linear(*clouds(300, 0.6)), temperature=0.1)
    vectors, labels = clouds(2000, 0.6, seed=1)
    before = calibration_error(linear.probabilities(vectors).max(axis=1), np.array(linear.answers(vectors)) == labels)
    assert before > 0.08 > 0.04 > measured_on(linear, vectors, labels)[1]["calibration_error"]


def test_nothing_wrong_has_no_share_caught():
    vectors, labels = clouds(60, 0.0)
    linear = fit_linear(vectors, labels)
    assert measured_on(linear, vectors, labels)[1]["wrong_caught"] is None


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_saved_is_what_is_loaded_however_it_lies_in_memory(order, wordllama, tmp_path) -> None:
    wordllama.save(str(tmp_path))
    weights = np.asarray(np.random.default_rng(0).normal(size=(3, 256)), order=order)
    linear = Linear(labels=("a", "b", "c"), weights=weights, bias=np.arange(3.0))
    Classifier(encode=wordllama.encode, linear=linear).save(tmp_path)
    found = Classifier.load(tmp_path).linear
    assert np.array_equal(found.weights, weights)
    assert np.array_equal(found.bias, linear.bias)


def test_what_to_label_next_is_unsure_and_of_many_kinds() -> None:
    """Two unsure crowds, one of forty near copies and one of three texts, and many sure texts: both get a label."""
    axes = np.eye(6)
    linear = Linear(labels=("a", "b"), weights=4 * axes[:2], bias=np.zeros(2))
    vectors = {f"sure {i}": axes[i % 2] + 0.01 * axes[2] for i in range(500)}
    vectors |= {f"crowd {i}": axes[3] + 0.001 * i * axes[0] for i in range(10, 50)}
    vectors |= {f"rare {i}": axes[4] + 0.001 * i * axes[1] for i in range(10, 13)}
    texts = list(vectors)
    classifier = Classifier(encode=lambda asked: np.stack([vectors[text] for text in asked]), linear=linear)
    chosen = [texts[i] for i in classifier.label_next([*texts, *texts], 4)]
    assert {"rare 10", "crowd 10"} <= set(chosen)
    assert len(classifier.label_next(texts[:3], 10)) == 3
    assert classifier.label_next([], 5) == []
    with pytest.raises(ParameterError, match="n is 0"):
        classifier.label_next(texts, 0)


def test_a_text_without_a_known_token_gets_the_answer_of_the_bias_and_fails_nothing() -> None:
    vectors = np.array([[1.0, 0], [0, 1], [0, 0.9], [0, 0]])
    linear = fit_linear(vectors, ["a", "b", "b", "b"])
    classifier = Classifier(encode=lambda texts: np.array([vectors[3], vectors[0]]), linear=linear)
    assert classifier.predict(["x", "y"]) == ["b", "a"]
    assert linear.logits(vectors[3:])[0] == pytest.approx(linear.bias)
    assert (
        len(Classifier(encode=lambda texts: np.zeros((len(texts), 2)), linear=linear).label_next(list("abc"), 2)) == 2
    )


def test_a_prompt_is_kept_with_the_classifier(wordllama, tmp_path) -> None:
    wordllama.save(str(tmp_path))
    classifier = Classifier.fit(wordllama, TEXTS, LABELS, prompt="sort this: ")
    classifier.save(tmp_path)
    opened = Classifier.load(tmp_path)
    assert opened.prompt == "sort this: "
    assert opened.encode(["x"]) == pytest.approx(wordllama.encode(["sort this: x"]))
    with pytest.raises(ParameterError, match="encoder is a function"):
        Classifier.fit(encode, TEXTS, LABELS, prompt="a")
