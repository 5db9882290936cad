"""Mining: what holds for every mined row, that draws follow the stated distributions, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from gisttools import mining
from gisttools.errors import DataError, ParameterError
from gisttools.labelled import read_labelled
from gisttools.mining import MiningOptions, mine, triplets_from_labelled


@st.composite
def tables(draw):
    """Texts (some equal, also across classes), labels of 2 to 4 classes, unit vectors that agree with the texts."""
    sizes = draw(st.lists(st.integers(2, 9), min_size=2, max_size=4))
    labels = [f"c{i}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = draw(st.permutations(labels))
    numbers = draw(st.lists(st.integers(0, 3 * len(labels)), min_size=len(labels), max_size=len(labels)))
    pool = unit(np.random.default_rng(draw(st.integers(0, 99))), 3 * len(labels) + 1)
    return [f"text {n}" for n in numbers], labels, pool[numbers]


def unit(rng: np.random.Generator, n: int, dim: int = 5) -> np.ndarray:
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


OPTIONS = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["gistembed", "hard"]),
        "negatives": st.integers(1, 3),
        "topk": st.integers(1, 8),
        "margin": st.sampled_from([0.5, 0.95, 1.0]),
        "seed": st.integers(0, 5),
    }
)


@given(tables(), OPTIONS)
def test_no_text_is_lost_or_invented(table, options):
    mined = mine(*table, MiningOptions(**options))
    assert len(set(mined.anchors)) == len(mined.anchors) == len(mined.positives) == len(mined.negatives)
    assert len(mined.anchors) + sum(mined.dropped.values()) == len(table[0])
    assert mined.negatives.shape[1] == options["negatives"]
    assert set(mined.positives) | set(mined.anchors) <= set(range(len(table[0])))


@given(tables(), OPTIONS)
def test_labels_and_texts_of_a_row_are_what_they_must_be(table, options):
    texts, labels, vectors = table
    mined = mine(texts, labels, vectors, MiningOptions(**options))
    for a, p, ns in zip(mined.anchors, mined.positives, mined.negatives, strict=True):
        real = [n for n in ns if n >= 0]
        assert real, "a row without any negative"
        assert labels[a] == labels[p]
        assert labels[a] not in {labels[n] for n in real}
        assert texts[a] != texts[p]
        assert not {texts[a], texts[p]} & {texts[n] for n in real}


@pytest.mark.parametrize("strategy", ["gistembed", "hard"])
@pytest.mark.parametrize("values", [1, 9_000, 70_000])
def test_the_same_seed_gives_the_same_rows_for_any_block_size(monkeypatch, strategy, values):
    rng = np.random.default_rng(0)
    vectors = np.tile(unit(rng, 500, 384), (2, 1))  # every text twice: the smallest difference in rounding shows
    texts, labels = [f"text {i % 500}" for i in range(1000)], [f"c{c}" for c in rng.integers(0, 3, 1000)]
    whole = mine(texts, labels, vectors, MiningOptions(strategy=strategy, negatives=3))
    monkeypatch.setattr(mining, "_BLOCK_VALUES", values)
    parts = mine(texts, labels, vectors, MiningOptions(strategy=strategy, negatives=3))
    for name in ("anchors", "positives", "negatives"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert whole.dropped == parts.dropped


def test_another_seed_gives_other_rows():
    rng = np.random.default_rng(0)
    vectors, labels = unit(rng, 60), ["a", "b"] * 30
    one, other = (mine(list(map(str, range(60))), labels, vectors, MiningOptions(seed=s)) for s in (1, 2))
    assert (one.positives != other.positives).any()
    assert (one.negatives != other.negatives).any()


@pytest.mark.parametrize("topk", [3, 100])
def test_positives_are_drawn_from_the_softmax_over_the_nearest(topk):
    n, draws, temperature = 6, 3000, 0.4
    vectors = unit(np.random.default_rng(3), n + 2)
    labels = ["mine"] * n + ["other"] * 2
    texts = list(map(str, range(n + 2)))
    counts = np.zeros(n)
    for seed in range(draws):
        counts[
            mine(texts, labels, vectors, MiningOptions(topk=topk, temperature=temperature, seed=seed)).positives[0]
        ] += 1
    scores = vectors[1:n].astype(float) @ vectors[0].astype(float)
    weights = np.exp(scores / temperature)
    weights[scores < np.sort(scores)[::-1][: min(topk, n - 1)].min()] = 0
    expected = draws * weights / weights.sum()
    drawn = counts[1:]
    assert (drawn[expected == 0] == 0).all()
    assert (expected > 0).sum() == min(topk, n - 1)
    assert chisquare(drawn[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_only_the_topk_nearest_become_positives():
    vectors, labels = unit(np.random.default_rng(1), 40), ["a"] * 20 + ["b"] * 20
    texts = list(map(str, range(40)))
    similarity = vectors.astype(float) @ vectors.T
    for seed in range(20):
        mined = mine(texts, labels, vectors, MiningOptions(topk=4, temperature=10.0, seed=seed))
        for a, p in zip(mined.anchors, mined.positives, strict=True):
            same = [i for i in range(40) if labels[i] == labels[a] and i != a]
            assert (similarity[a, same] > similarity[a, p]).sum() < 4


def test_negatives_are_uniform_over_all_other_classes():
    sizes = [2, 5, 9, 14]
    labels = [str(c) for c, size in enumerate(sizes) for _ in range(size)]
    order = np.random.default_rng(5).permutation(len(labels))
    labels = [labels[i] for i in order]
    mined = mine(
        list(map(str, range(30))), labels, unit(np.random.default_rng(0), 30), MiningOptions(negatives=1000, seed=11)
    )
    assert len(mined.anchors) == 30
    for a, ns in zip(mined.anchors, mined.negatives, strict=True):
        others = [i for i in range(30) if labels[i] != labels[a]]
        counts = Counter(ns.tolist())
        assert set(counts) <= set(others)
        assert chisquare([counts[i] for i in others]).pvalue > 1e-4


@given(tables(), st.integers(1, 4), st.sampled_from([0.3, 0.95, 1.0]))
def test_hard_negatives_are_the_nearest_under_the_margin_no_text_twice(table, k, margin):
    texts, labels, vectors = table
    mined = mine(texts, labels, vectors, MiningOptions(strategy="hard", negatives=k, margin=margin))
    similarity = vectors.astype(float) @ vectors.T.astype(float)
    first = [texts.index(t) for t in texts]
    for a, p, ns in zip(mined.anchors, mined.positives, mined.negatives, strict=True):
        limit = margin * similarity[a, p]
        others = [i for i in set(first) if labels[i] != labels[a] and texts[i] not in (texts[a], texts[p])]
        surely = sorted((similarity[a, i] for i in others if similarity[a, i] < limit - 1e-5), reverse=True)
        chosen = [n for n in ns if n >= 0]
        scores = [similarity[a, n] for n in chosen]
        assert len({texts[n] for n in chosen}) == len(chosen)
        assert max(scores) <= limit + 1e-5
        assert len(chosen) >= min(k, len(surely))
        in_doubt = [s for s in scores if s >= limit - 1e-5]
        assert [s for s in scores if s < limit - 1e-5] == pytest.approx(surely[: len(scores) - len(in_doubt)], abs=1e-5)


def test_one_class_only_is_refused_with_its_name():
    with pytest.raises(DataError, match="at least two classes; there is only 'a'"):
        mine(["x", "y"], ["a", "a"], unit(np.random.default_rng(0), 2))


def test_every_class_of_one_text_is_named_with_the_ways_out():
    with pytest.raises(DataError) as caught:
        mine(list("uvwxyz"), ["a", "a", "b", "b", "one", "uno"], unit(np.random.default_rng(0), 6))
    for part in ("2 class(es) of one text", "- one", "- uno", "drop_singletons = true"):
        assert part in str(caught.value)


def test_classes_of_one_text_can_be_dropped_but_still_serve_as_negatives():
    labels = ["a"] * 10 + ["one"]
    mined = mine(
        list(map(str, range(11))), labels, unit(np.random.default_rng(0), 11), MiningOptions(drop_singletons=True)
    )
    assert mined.dropped == {"class of one text": 1}
    assert set(mined.negatives.ravel()) == {10}


def test_copies_in_a_class_give_no_positive():
    texts = ["same", "same", "c", "d"]
    mined = mine(texts, ["a", "a", "b", "b"], unit(np.random.default_rng(0), 4))
    assert mined.dropped == {"no other text in its class": 2}
    assert mined.anchors.tolist() == [2, 3]


def test_all_wrong_options_come_in_one_message():
    with pytest.raises(ParameterError) as caught:
        MiningOptions(strategy="soft", negatives=0, topk=0, temperature=0.0)
    for part in ("strategy is 'soft'", "negatives is 0", "topk is 0", "temperature is 0.0"):
        assert part in str(caught.value)


def test_a_mined_table_says_where_its_rows_come_from(caretaker, guide):
    data = read_labelled(caretaker)
    table, mined = triplets_from_labelled(data, guide, MiningOptions(negatives=2))
    frame = table.to_pandas()
    assert mined.dropped == {}
    assert frame["anchor"].tolist() == data.texts
    assert set(frame["source"]) == {"labelled"}
    assert set(frame["guide_id"]) == {guide.guide_id}
    a, p = guide.embed(frame["anchor"].tolist()), guide.embed(frame["positive"].tolist())
    assert frame["guide_ap"].to_numpy() == pytest.approx((a * p).sum(1), abs=1e-6)
    label_of = dict(zip(data.texts, data.labels, strict=True))
    assert all([label_of[n] for n in r.negatives] == list(r.negative_labels) for r in frame.itertuples())
    assert (frame["live"] == [min(r.guide_an) <= r.guide_ap for r in frame.itertuples()]).all()


def test_a_data_frame_goes_through_mining(guide):
    data = read_labelled(pd.DataFrame({"text": ["hot", "warm", "loud", "noisy"], "label": [0, 0, 1, 1]}))
    table, _ = triplets_from_labelled(data, guide)
    assert next(zip(table["anchor"], table["positive"], strict=True)) == ("hot", "warm")
