"""Mining: what holds for every mined row, that draws follow the stated distributions, and what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy.stats import chisquare
from threadpoolctl import threadpool_limits

from gisttools.common.errors import DataError, ParameterError
from gisttools.data.labelled import LabelledTexts, read_labelled
from gisttools.mining import miner, neighbours
from gisttools.mining.miner import Mined, mine, mine_labelled, triplets_from_labelled
from gisttools.mining.options import MiningOptions


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


@st.composite
def options(draw):
    """Options of all kinds that go together."""
    strategy = draw(st.sampled_from(["gistembed", "hard"]))
    negatives, rank_from = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    if strategy == "hard":
        rank_to = draw(st.sampled_from([None, rank_from + negatives, rank_from + negatives + 2]))
        told = {"rank_from": rank_from, "rank_to": rank_to, "margin": draw(st.sampled_from([0.5, 0.95, 1.0]))}
    else:
        told = {"negatives_from": draw(st.sampled_from(["uniform", "softmax", "least_similar"])), "least": 4}
    return MiningOptions(
        strategy=strategy,
        negatives=negatives,
        positives=draw(st.sampled_from(["softmax", "nearest", "farthest", "random"])),
        topk=draw(st.integers(1, 8)),
        per_class=draw(st.sampled_from([None, 1, 3])),
        limit=draw(st.sampled_from([None, 1, 7])),
        balanced=draw(st.booleans()),
        drop_singletons=True,
        seed=draw(st.integers(0, 5)),
        **told,
    )


@st.composite
def several_labels(draw):
    """Texts with none to three labels each, of which at least two texts share none."""
    n = draw(st.integers(4, 16))
    sets = st.lists(st.sampled_from("abcde"), max_size=3, unique=True).map(tuple)
    labels = [("a",), ("b",), *draw(st.lists(sets, min_size=n - 2, max_size=n - 2))]
    return [f"text {i}" for i in range(n)], labels, unit(np.random.default_rng(draw(st.integers(0, 99))), n)


@given(st.one_of(tables(), several_labels()), options())
def test_no_text_is_lost_or_invented(table, options):
    mined = mine(*table, options)
    assert len(set(mined.anchors)) == len(mined.anchors) == len(mined.positives) == len(mined.negatives)
    assert len(mined.anchors) + sum(mined.dropped.values()) == len(table[0])
    assert mined.negatives.shape[1] == options.negatives
    assert set(mined.positives) | set(mined.anchors) <= set(range(len(table[0])))
    assert (mined.recall, mined.negatives.max(initial=0) < len(table[0])) == (None, True)


@given(tables(), options())
def test_labels_and_texts_of_a_row_are_what_they_must_be(table, options):
    texts, labels, vectors = table
    mined = mine(texts, labels, vectors, options)
    for a, p, ns in zip(mined.anchors, mined.positives, mined.negatives, strict=True):
        real = [n for n in ns if n >= 0]
        assert real, "a row without any negative"
        assert labels[a] == labels[p]
        assert labels[a] not in {labels[n] for n in real}
        assert texts[a] != texts[p]
        assert not {texts[a], texts[p]} & {texts[n] for n in real}


@given(several_labels(), options())
def test_with_several_labels_a_positive_shares_one_and_a_negative_none(table, options):
    _, labels, _ = table
    mined = mine(*table, options)
    for a, p, ns in zip(mined.anchors, mined.positives, mined.negatives, strict=True):
        assert p != a
        assert set(labels[a]) & set(labels[p])
        assert not any(set(labels[a]) & set(labels[n]) for n in ns if n >= 0)


@given(tables(), options())
def test_one_label_in_a_tuple_is_a_label(table, options):
    texts, labels, vectors = table
    assert_equal(mine(texts, labels, vectors, options), mine(texts, [(x,) for x in labels], vectors, options))


def assert_equal(one: Mined, other: Mined) -> None:
    for name in ("anchors", "positives", "negatives"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert (one.dropped, one.recall) == (other.dropped, other.recall)


def copies(n: int = 1200) -> tuple[list[str], list[str], np.ndarray]:
    """Every text twice, so that the smallest difference in rounding shows."""
    rng = np.random.default_rng(0)
    vectors = np.tile(unit(rng, n // 2, 64), (2, 1))
    return [f"text {i % (n // 2)}" for i in range(n)], [f"c{c}" for c in rng.integers(0, 3, n)], vectors


@pytest.mark.parametrize("rows", [256, 512])
@pytest.mark.parametrize("search", ["exact", "approximate"])
@pytest.mark.parametrize("strategy", ["gistembed", "hard"])
def test_the_same_seed_gives_the_same_rows_however_many_a_thread_takes(monkeypatch, strategy, search, rows):
    options = MiningOptions(strategy=strategy, negatives=3, search=search)
    whole = mine(*copies(), options)
    monkeypatch.setattr(neighbours, "_TASK", rows)
    assert_equal(whole, mine(*copies(), options))


@pytest.mark.parametrize("search", ["exact", "approximate"])
@pytest.mark.parametrize("strategy", ["gistembed", "hard"])
def test_the_same_seed_gives_the_same_rows_for_any_number_of_threads(strategy, search):
    found = []
    for count in (1, 3):
        with threadpool_limits(limits=count, user_api="blas"):
            found.append(mine(*copies(), MiningOptions(strategy=strategy, negatives=2, search=search)))
    assert_equal(*found)


@pytest.mark.parametrize("search", ["exact", "approximate"])
def test_texts_of_one_large_class_are_not_compared_with_each_other(search):
    _, labels, vectors = topics(900, 2)
    apart = np.array([int(x[1:]) for x in labels])
    pool = neighbours.Pool(vectors, np.arange(900), search == "approximate", 0, apart)
    wanted, met = np.ones(900, dtype=bool), []
    for join in pool.joins(wanted):
        met += join.rows.tolist()
        assert not set(apart[join.rows]) & set(apart[np.concatenate(join.parts)])
    assert sorted(met) == list(range(900))


def test_another_seed_gives_other_rows():
    rng = np.random.default_rng(0)
    vectors, labels = unit(rng, 60), ["a", "b"] * 30
    one, other = (mine(list(map(str, range(60))), labels, vectors, MiningOptions(seed=s)) for s in (1, 2))
    assert (one.positives != other.positives).any()
    assert (one.negatives != other.negatives).any()


@pytest.mark.parametrize("topk", [3, 100])
def test_positives_are_drawn_from_the_softmax_over_the_nearest(topk):
    n, draws, temperature = 6, 800, 0.4
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


DRAWS = 400


def unequal_table():
    """A small table and its similarities in float64: three classes, one text twice in a class and again in another."""
    vectors = unit(np.random.default_rng(8), 14)
    labels = list("aaaaaabbbbbccc")
    texts = list("rstuvwxyzAABCD")
    vectors[10] = vectors[9]
    return texts, labels, vectors, vectors.astype(float) @ vectors.T.astype(float)


def drawn(options: dict) -> tuple[list[Mined], tuple]:
    table = unequal_table()
    return [mine(*table[:3], MiningOptions(seed=seed, **options)) for seed in range(DRAWS)], table


def assert_drawn_from(counts: Counter, weights: dict[int, float]) -> None:
    """The counts follow the weights: nothing else is drawn, and chi-square sees no difference."""
    assert set(counts) <= {i for i, w in weights.items() if w > 0}
    total, times = sum(weights.values()), sum(counts.values())
    some = [i for i in weights if weights[i] * times / total > 1]
    seen, expected = [counts[i] for i in some], [weights[i] * times / total for i in some]
    if len(some) < len(weights):
        seen, expected = [*seen, times - sum(seen)], [*expected, max(times - sum(expected), 1e-9)]
        if seen[-1] == 0:
            seen, expected = seen[:-1], [e * sum(seen) / sum(expected[:-1]) for e in expected[:-1]]
    assert chisquare(seen, expected).pvalue > 1e-4


def test_random_positives_are_uniform_over_the_class_without_copies():
    mined, (texts, labels, *_) = drawn({"positives": "random"})
    for anchor in (0, 9, 12):
        counts = Counter(int(m.positives[m.anchors == anchor][0]) for m in mined if anchor in m.anchors)
        assert_drawn_from(
            counts, {i: 1.0 for i in range(14) if labels[i] == labels[anchor] and texts[i] != texts[anchor]}
        )


@pytest.mark.parametrize(("positives", "best"), [("nearest", np.argmax), ("farthest", np.argmin)])
def test_nearest_and_farthest_positives_are_those_of_the_class(positives, best):
    texts, labels, vectors, similarity = unequal_table()
    mined = mine(texts, labels, vectors, MiningOptions(positives=positives, strategy="hard", margin=50.0))
    for a, p in zip(mined.anchors, mined.positives, strict=True):
        same = [i for i in range(14) if labels[i] == labels[a] and texts[i] != texts[a]]
        assert similarity[a, p] == pytest.approx(similarity[a, same[best(similarity[a, same])]], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("negatives_from", "temperature"), [("softmax", 0.3), ("least_similar", 0.3)])
def test_negatives_are_drawn_as_told_from_texts_that_differ_from_anchor_and_positive(negatives_from, temperature):
    mined, (texts, labels, _, similarity) = drawn(
        {
            "negatives_from": negatives_from,
            "temperature": temperature,
            "least": 3,
            "negatives": 2,
            "positives": "nearest",
        }
    )
    for anchor in (0, 9, 12):
        counts = Counter(n for m in mined for n in m.negatives[m.anchors == anchor].ravel().tolist())
        positive = mined[0].positives[mined[0].anchors == anchor][0]
        others = [
            i for i in range(14) if labels[i] != labels[anchor] and texts[i] not in (texts[anchor], texts[positive])
        ]
        if negatives_from == "softmax":
            weights = {i: float(np.exp(similarity[anchor, i] / temperature)) for i in others}
        else:
            third = np.sort(similarity[anchor, others])[2]  # text 10 is as near as text 9: ties count
            weights = {i: 1.0 for i in others if similarity[anchor, i] <= third + 1e-6}
        assert_drawn_from(counts, weights)


def test_with_several_labels_negatives_are_uniform_over_the_texts_that_share_none():
    labels = [("a",), ("a", "b"), ("b", "c"), ("c",), ("d",), ("d", "a"), (), ("e", "b")]
    labels = labels * 2
    vectors = unit(np.random.default_rng(0), len(labels))
    mined = mine([str(i) for i in range(16)], labels, vectors, MiningOptions(negatives=2000, drop_singletons=True))
    assert mined.dropped == {"class of one text": 2}
    for a, ns in zip(mined.anchors, mined.negatives, strict=True):
        assert_drawn_from(
            Counter(ns.tolist()), {i: 1.0 for i in range(16) if not set(labels[i]) & set(labels[a]) and i != a}
        )


def test_with_several_labels_positives_are_drawn_from_the_softmax_over_those_that_share_one():
    labels = [("a", "b"), ("a",), ("b", "c"), ("c",), ("b",), ("a", "c")]
    vectors = unit(np.random.default_rng(2), 6)
    counts = Counter()
    for seed in range(DRAWS):
        mined = mine(list("uvwxyz"), labels, vectors, MiningOptions(temperature=0.5, seed=seed))
        counts[int(mined.positives[mined.anchors == 0][0])] += 1
    weights = np.exp(vectors.astype(float) @ vectors[0] / 0.5)
    assert_drawn_from(counts, {i: float(weights[i]) for i in (1, 2, 4, 5)})


@pytest.mark.parametrize(("begin", "end"), [(0, None), (2, None), (1, 4)])
def test_hard_negatives_come_from_the_ranks_asked_for(begin, end):
    texts, labels, vectors, similarity = unequal_table()
    seen: dict[int, Counter] = {0: Counter(), 12: Counter()}
    for seed in range(200):
        told = MiningOptions(
            strategy="hard", negatives=2, margin=50.0, positives="nearest", rank_from=begin, rank_to=end, seed=seed
        )
        mined = mine(texts, labels, vectors, told)
        for anchor, counts in seen.items():
            row = mined.anchors == anchor
            limit = 50.0 * similarity[anchor, mined.positives[row][0]]
            ranked = [
                i for i in np.argsort(-similarity[anchor]) if labels[i] != labels[anchor] and i != 10
                and similarity[anchor, i] <= limit
            ]  # fmt: skip
            chosen = mined.negatives[row][0].tolist()
            assert len(set(chosen)) == 2
            if end is None:
                assert chosen == ranked[begin : begin + 2]
            counts.update(chosen)
            wanted = {int(i): 1.0 for i in ranked[begin:end]}
    if end is not None:
        assert_drawn_from(seen[12], wanted)


@given(tables(), st.integers(1, 5), st.integers(1, 12))
def test_limits_hold_and_take_as_many_anchors_as_they_allow(table, per_class, limit):
    texts, labels, vectors = (
        [str(i) for i in range(len(table[0]))],
        table[1],
        unit(np.random.default_rng(1), len(table[0])),
    )
    mined = mine(texts, labels, vectors, MiningOptions(per_class=per_class, limit=limit))
    counts = Counter(labels[a] for a in mined.anchors)
    assert max(counts.values()) <= per_class
    assert len(mined.anchors) == min(limit, sum(min(per_class, size) for size in Counter(labels).values()))
    assert mined.dropped.get("over the limit", 0) == len(labels) - len(mined.anchors)


@given(tables(), st.sampled_from([None, 4, 9]))
def test_balanced_anchors_are_equally_many_of_each_class(table, limit):
    texts, labels, vectors = (
        [str(i) for i in range(len(table[0]))],
        table[1],
        unit(np.random.default_rng(1), len(table[0])),
    )
    mined = mine(texts, labels, vectors, MiningOptions(balanced=True, limit=limit))
    counts = Counter(labels[a] for a in mined.anchors)
    sizes = Counter(labels)
    each = min(sizes.values()) if limit is None else min(*sizes.values(), limit // len(sizes))
    assert [counts[name] for name in sizes] == [each] * len(sizes)


def topics(n: int, classes: int) -> tuple[list[str], list[str], np.ndarray]:
    """Vectors in clusters, two classes to a cluster, so that near texts of other classes exist."""
    rng = np.random.default_rng(4)
    centres, topic = unit(rng, 40, 16), rng.integers(0, 40, n)
    vectors = centres[topic] + 0.12 * rng.normal(size=(n, 16)).astype(np.float32)
    labels = [f"c{(t + c) % classes}" for t, c in zip(topic, rng.integers(0, 2, n), strict=True)]
    return [str(i) for i in range(n)], labels, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("strategy", ["gistembed", "hard"])
def test_approximate_search_says_what_share_of_the_nearest_it_found(monkeypatch, strategy):
    monkeypatch.setattr(neighbours, "_PROBED", 3)
    table = topics(6000, 2)
    mined = mine(*table, MiningOptions(strategy=strategy, search="approximate", positives="nearest"))
    assert len(mined.anchors) + sum(mined.dropped.values()) == 6000
    exact = mine(*table, MiningOptions(strategy=strategy, search="exact", positives="nearest"))
    assert exact.recall is None
    agreeing = np.mean(mined.positives == exact.positives)
    assert 0.5 < mined.recall <= 1
    assert agreeing == pytest.approx(1.0 if mined.recall == 1 else mined.recall, abs=0.15)


def test_rows_that_find_nothing_in_near_cells_are_searched_exactly(monkeypatch):
    monkeypatch.setattr(neighbours, "_PROBED", 1)
    rng = np.random.default_rng(0)
    sides = np.repeat([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 600, axis=0) + 0.01 * rng.normal(size=(1200, 3))
    vectors = (sides / np.linalg.norm(sides, axis=1, keepdims=True)).astype(np.float32)
    labels = ["left"] * 600 + ["right"] * 600  # a cell holds one class only
    mined = mine([str(i) for i in range(1200)], labels, vectors, MiningOptions(strategy="hard", search="approximate"))
    assert len(mined.anchors) == 1200
    assert (mined.negatives[:, 0] // 600 != mined.anchors // 600).all()


def test_auto_is_exact_for_few_texts_and_approximate_for_many(monkeypatch):
    table = topics(900, 2)
    assert mine(*table).recall is None
    monkeypatch.setattr(miner, "_EXACT_UP_TO", 300)
    assert mine(*table).recall is not None
    assert mine(*table, MiningOptions(search="exact")).recall is None


@given(tables(), st.integers(1, 4), st.sampled_from([0.3, 0.95, 1.0]))
def test_hard_negatives_are_the_nearest_under_the_margin_no_text_twice(table, k, margin):
    texts, labels, vectors = table
    mined = mine(texts, labels, vectors, MiningOptions(strategy="hard", negatives=k, margin=margin))
    similarity = vectors.astype(float) @ vectors.T.astype(float)
    first = [texts.index(t) for t in texts]
    for a, p, ns in zip(mined.anchors, mined.positives, mined.negatives, strict=True):
        limit = similarity[a, p] - (1 - margin) * abs(similarity[a, p])
        others = [i for i in set(first) if labels[i] != labels[a] and texts[i] not in (texts[a], texts[p])]
        surely = sorted((similarity[a, i] for i in others if similarity[a, i] < limit - 1e-5), reverse=True)
        chosen = [n for n in ns if n >= 0]
        scores = [similarity[a, n] for n in chosen]
        assert len({texts[n] for n in chosen}) == len(chosen)
        assert max(scores) <= limit + 1e-5
        assert len(chosen) >= min(k, len(surely))
        in_doubt = [s for s in scores if s >= limit - 1e-5]
        assert [s for s in scores if s < limit - 1e-5] == pytest.approx(surely[: len(scores) - len(in_doubt)], abs=1e-5)


def test_no_hard_negative_is_nearer_than_a_positive_of_negative_similarity():
    """margin times -0.5 is -0.475, which is nearer."""
    angles = np.radians([0, 120, 118, 150])  # anchor, positive at cosine -0.5, others at -0.47 and -0.87
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    mined = mine(list("apnm"), ["x", "x", "y", "y"], vectors, MiningOptions(strategy="hard", margin=0.95))
    row = mined.anchors.tolist().index(0)
    assert mined.negatives[row].tolist() == [3]


@pytest.mark.parametrize("theta", [-0.6, -0.2, 0.0, 0.4])
def test_a_hard_negative_is_never_nearer_than_the_positive(theta):
    """Below 0 a plain product, 0.95 * -0.2, lies above the positive's similarity."""
    angles = [0.0, np.arccos(theta), *(np.arccos(theta + d) for d in (0.005, -0.005, -0.05, -0.2))]
    vectors = np.array([[np.cos(x), np.sin(x)] for x in angles], dtype=np.float32)
    texts, labels = [f"text {i}" for i in range(6)], ["a", "a", "b", "b", "b", "b"]
    mined = mine(texts, labels, vectors, MiningOptions(strategy="hard", negatives=4, margin=0.95))
    row = mined.negatives[mined.anchors.tolist().index(0)]
    expected = [n for n in (2, 3, 4, 5) if vectors[0] @ vectors[n] <= theta - 0.05 * abs(theta)]
    assert [n for n in row.tolist() if n >= 0] == expected
    assert 2 not in row


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
        MiningOptions(strategy="soft", negatives=0, topk=0, temperature=0.0, limit=0, seed=-1, search="fast")
    for part in ("strategy = 'soft'", "negatives = 0", "topk = 0", "temperature = 0.0", "limit = 0", "seed = -1",
                 "search = 'fast'", "7 parameter problem(s)"):  # fmt: skip
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "hard", "negatives_from": "softmax"}, "needs strategy 'gistembed'"),
        ({"rank_from": 2}, "need strategy 'hard'"),
        ({"strategy": "hard", "rank_from": 2, "rank_to": 3, "negatives": 2}, r"rank_to is 3, .* \(4\)"),
        ({"positives": "farthest", "search": "approximate"}, "finds near texts only: use search 'exact'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        MiningOptions(**options)


@pytest.mark.parametrize(
    ("labels", "vectors", "message"),
    [
        (["a", "b", "b"], np.eye(2), "2 texts, 3 labels"),
        (["a", "b"], np.eye(3), r"vectors of shape \(3, 3\)"),
        (["a", "b"], 2 * np.eye(2), "Vector 0 has the squared length 4"),
        (["a", "b"], np.array([[1.0, 0.0], [np.nan, 0.0]]), "Vector 1 has the squared length nan"),
        (["a", ("b",)], np.eye(2), "1 of 2 labels are tuples"),
        ([("a", "b"), ("b", "c")], np.eye(2), "every text shares a label with every other"),
    ],
)
def test_tables_that_cannot_be_mined_are_refused(labels, vectors, message):
    with pytest.raises(DataError, match=message):
        mine(["x", "y"], labels, vectors)


def test_a_mined_table_says_where_its_rows_come_from(caretaker, guide):
    data = read_labelled(caretaker)
    frame = triplets_from_labelled(data, guide, MiningOptions(negatives=2)).to_pandas()
    assert mine_labelled(data, guide, MiningOptions(negatives=2)).dropped == {}
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
    table = triplets_from_labelled(data, guide)
    assert next(zip(table["anchor"], table["positive"], strict=True)) == ("hot", "warm")


def test_a_low_recall_of_the_approximate_search_is_told(monkeypatch, guide, caplog):
    texts = [f"text {i}" for i in range(6)]
    data = LabelledTexts(texts, ["a", "b"] * 3, "mine.csv", "train")
    found = mine(texts, data.labels, guide.embed(texts))
    monkeypatch.setattr(miner, "mine", lambda *_: replace(found, recall=0.52))
    triplets_from_labelled(data, guide)
    assert "mine.csv: the approximate search found 52 % of the nearest candidates" in caplog.text
