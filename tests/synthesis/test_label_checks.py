"""Does a text belong to its label: nearest centre, nearest known texts, against a count by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gisttools.synthesis.label_checks import LabelCentroids, LabelClassifier, NearestLabelled


def _unit(vectors) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# --- centroids -----------------------------------------------------------------------------------------------------


def test_a_text_belongs_to_the_nearest_label_unless_it_is_far_from_all():
    vectors = _unit(np.eye(6)[[0, 0, 1, 1]] + 0.3 * np.eye(6)[[2, 3, 2, 3]])
    centroids = LabelCentroids(vectors, ["a", "a", "b", "b"], [True] * 4)
    assert centroids.judge(np.eye(6)[0], "a") is None
    assert centroids.judge(np.eye(6)[0], "b") == "label-mismatch"
    stray = np.array([0.2, 0, 0, 0, 0, np.sqrt(0.96)])
    assert centroids.judge(stray, "a") == "off-topic"


def test_centroids_agree_with_means_and_the_floor_with_seeds_left_out_one_by_one():
    rng = np.random.default_rng(1)
    labels = [name for name in "abcd" for _ in range(9)]
    vectors = _unit(rng.normal(size=(36, 12)) + 2 * np.eye(12)[np.repeat(range(4), 9)])
    is_seed = [i % 9 != 0 for i in range(36)]
    centroids = LabelCentroids(vectors, labels, is_seed)

    def centre(name, without=None):
        return _unit(np.mean([v for i, v in enumerate(vectors) if labels[i] == name and i != without], axis=0))

    own = [vectors[i] @ centre(labels[i], i) for i in range(36) if is_seed[i]]
    assert centroids.floor == pytest.approx(np.quantile(own, 0.1))
    reasons = Counter()
    for v in _unit(rng.normal(size=(200, 12)) + 2 * np.eye(12)[rng.integers(0, 4, 200)]):
        near = max("abcd", key=lambda name: v @ centre(name))
        wanted = "off-topic" if v @ centre(near) < centroids.floor else None
        assert centroids.judge(v, near) == wanted
        other = "b" if near == "a" else "a"
        assert centroids.judge(v, other) == "label-mismatch"
        reasons[wanted] += 1
    assert min(reasons[None], reasons["off-topic"]) > 5


def test_without_seeds_nothing_is_off_topic():
    centroids = LabelCentroids(np.eye(3)[:2], ["a", "b"], [False, False])
    assert centroids.judge(_unit([0.1, 0.0, 1.0]), "a") is None


# --- classifier ----------------------------------------------------------------------------------------------------


def _three(rng, count: int, spread: float):
    """Unit vectors of three labels around axes of their own, and their labels."""
    owner = np.repeat(range(3), count)
    return _unit(np.eye(8)[owner] + spread * rng.normal(size=(3 * count, 8))), ["abc"[i] for i in owner]


def test_a_classifier_stops_what_is_clearly_of_another_label_and_keeps_what_is_near_the_border():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    vectors, labels = _three(rng, 20, 0.25)
    check = LabelClassifier(vectors, labels, [True] * 60)
    oracle = LogisticRegression(C=10, max_iter=300, class_weight="balanced").fit(vectors, labels)
    asked, _ = _three(rng, 100, 0.4)
    kept_though_second = 0
    for v, chances in zip(asked, oracle.predict_proba(asked), strict=True):
        for name, own in zip("abc", chances, strict=True):
            wrong = own < chances.max() / 3
            assert (check.judge(v, name) == "label-mismatch") == wrong
            kept_though_second += not wrong and own < chances.max()
    assert kept_though_second > 5


def test_a_classifier_finds_swapped_labels_and_loses_fewer_right_ones_than_centres():
    rng = np.random.default_rng(3)
    faces = _unit(rng.normal(size=(6, 16)))  # each label has two, far from each other
    owner = np.repeat(range(6), 30)
    vectors, labels = _unit(faces[owner] + 0.15 * rng.normal(size=(180, 16))), ["abc"[i // 2] for i in owner]
    known = np.arange(180) % 3 == 0
    told = [labels[i] for i in np.flatnonzero(known)]
    checks = [kind(vectors[known], told, [True] * len(told)) for kind in (LabelClassifier, LabelCentroids)]
    kept, found = ([], [])
    for check in checks:
        asked = [(vectors[i], labels[i]) for i in np.flatnonzero(~known)]
        kept.append(np.mean([check.judge(v, name) != "label-mismatch" for v, name in asked]))
        found.append(np.mean([check.judge(v, "abc"[("abc".index(n) + 1) % 3]) == "label-mismatch" for v, n in asked]))
    assert kept[0] > 0.97
    assert kept[0] >= kept[1]
    assert found[0] > 0.97


def test_a_classifier_is_sure_of_a_label_ten_times_as_likely_as_any_other():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(5)
    vectors, labels = _three(rng, 20, 0.25)
    check = LabelClassifier(vectors, labels, [True] * 60)
    oracle = LogisticRegression(C=10, max_iter=300, class_weight="balanced").fit(vectors, labels)
    asked, _ = _three(rng, 100, 0.5)
    sure = 0
    for v, chances in zip(asked, oracle.predict_proba(asked), strict=True):
        first, second, _ = sorted(chances, reverse=True)
        expected = "abc"[int(np.argmax(chances))] if first > 10 * second else None
        found = check.surely(v)
        assert found in (expected, None)
        assert found == expected or check.judge(v, expected) == "off-topic"  # too far from it to be sure
        sure += found is not None
    assert 20 < sure < 250
    assert LabelCentroids(vectors, labels, [True] * 60).surely(asked[0]) is None
    assert NearestLabelled(vectors, labels).surely(asked[0]) is None


def test_what_is_far_from_all_known_texts_is_off_topic_to_a_classifier():
    vectors, labels = _three(np.random.default_rng(4), 20, 0.1)
    check = LabelClassifier(vectors, labels, [True] * 60)
    stray = _unit([0.3, 0, 0, 0, 0, 0, 0, 1.0])
    assert check.judge(stray, "a") == "off-topic"
    assert check.judge(np.eye(8)[0], "a") is None


def test_a_single_label_has_nothing_to_be_mistaken_for():
    check = LabelClassifier(np.eye(3)[:1], ["a"], [False])
    assert check.judge(np.eye(3)[1], "a") is None


# --- nearest labelled ----------------------------------------------------------------------------------------------


def _vote(vectors, labels, k, vector) -> str:
    """The winner among the k nearest: most votes, then the greatest sum of cosines."""
    near = sorted(range(len(labels)), key=lambda i: -(vectors[i] @ vector))[:k]
    cosines = {n: [vectors[i] @ vector for i in near if labels[i] == n] for n in labels}
    return max(labels, key=lambda n: (len(cosines[n]), sum(cosines[n])))


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_the_nearest_labelled_texts_vote_as_counted_by_hand(k):
    rng = np.random.default_rng(k)
    labels = list(rng.permutation(list("abc") * 10))
    vectors = _unit(rng.normal(size=(30, 5)))
    check = NearestLabelled(vectors, labels, k)
    assert check.k == k
    for v in _unit(rng.normal(size=(100, 5))):
        winner = _vote(vectors, labels, k, v)
        assert {n: check.judge(v, n) for n in "abc"} == {n: None if n == winner else "label-mismatch" for n in "abc"}


def test_no_more_texts_vote_than_the_smallest_label_has():
    vectors = _unit([[1, 0], [0.2, 1], [0.1, 1], [0, 1]])
    check = NearestLabelled(vectors, ["few", "many", "many", "many"], 5)
    assert check.k == 1
    assert check.judge(_unit([1, 0.1]), "few") is None  # of four, three would have outvoted it


def test_a_tie_goes_to_the_nearer_texts():
    vectors = _unit([[1, 0.3], [1, 0.6], [1, 0.4], [1, 0.9]])
    check = NearestLabelled(vectors, ["near", "near", "far", "far"], 2)
    assert check.judge(_unit([1, 0.3]), "near") is None  # one vote each
    assert check.judge(_unit([1, 0.3]), "far") == "label-mismatch"


def test_texts_equally_near_go_to_the_one_that_was_known_first():
    check = NearestLabelled(_unit([[1, 0], [1, 0]]), ["first", "second"], 1)
    assert check.judge(np.array([1.0, 0.0]), "first") is None
    assert check.judge(np.array([1.0, 0.0]), "second") == "label-mismatch"
