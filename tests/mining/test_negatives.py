"""Hard negatives of pairs: what brute force finds, by the guide, by BM25 and in turns; never a known answer."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gisttools.common.errors import DataError, ParameterError
from gisttools.data.triplets import make_triplets
from gisttools.data.words import WordIndex
from gisttools.mining.negatives import bare_rows, mine_negatives, with_hard_negatives
from gisttools.mining.options import MiningOptions
from gisttools.models import VectorCache


def unit(rows) -> np.ndarray:
    found = np.asarray(rows, dtype=np.float64)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def at(*cosines: float) -> np.ndarray:
    """Vectors in the plane with these cosines to (1, 0)."""
    return unit([[c, np.sqrt(1 - c * c)] for c in cosines])


def hard(**options) -> MiningOptions:
    return MiningOptions(strategy="hard", **options)


def test_values_by_hand():
    """θ = 0.8, so that 0.76 is the most: 0.9 and 0.77 are too near, 0.5 and then 0.2 are left."""
    corpus = ["p", "too near", "near", "hard", "easy"]
    found = mine_negatives(["q"], corpus, [[0]], (unit([[1, 0]]), at(0.8, 0.9, 0.77, 0.5, 0.2)), hard(negatives=3))
    assert (found.queries.tolist(), found.positives.tolist(), found.negatives.tolist()) == ([0], [0], [[3, 4, -1]])


def test_the_margin_lies_below_a_positive_that_is_negative_too():
    """θ = −0.2: the limit is −0.21, not −0.19."""
    found = mine_negatives(["q"], ["p", "a", "b"], [[0]], (unit([[1, 0]]), at(-0.2, -0.205, -0.3)), hard())
    assert found.negatives.tolist() == [[2]]


def test_no_known_answer_and_no_copy_of_the_query_is_a_negative():
    """Two positives: each has its own limit, 0.57 and 0.855; neither is a negative of the other."""
    corpus = ["p one", "p two", "q", "far", "nearer"]
    vectors = unit([[1, 0]]), at(0.6, 0.9, 0.55, 0.3, 0.8)
    found = mine_negatives(["q"], corpus, [[0, 1, 0]], vectors, hard(negatives=2))
    assert found.positives.tolist() == [0, 1]
    assert found.negatives.tolist() == [[3, -1], [4, 3]]


def test_by_bm25_and_in_turns():
    corpus = ["the answer", "key key lock", "key of the house", "nothing shared", "a second lift"]
    vectors = unit([[1, 0]]), at(0.9, 0.1, 0.2, 0.8, 0.7)
    find = lambda **o: mine_negatives(["key lock"], corpus, [[0]], vectors, hard(**o)).negatives.tolist()  # noqa: E731  # short
    assert find(negatives=3, hard_from="bm25") == [[1, 2, -1]]  # others share no word
    assert find(negatives=3, hard_from="guide") == [[3, 4, 2]]
    assert find(negatives=4, hard_from="both") == [[3, 1, 4, 2]]
    assert find(negatives=2, hard_from="both", rank_from=1) == [[1, 4]]
    assert find(negatives=3, hard_from="bm25", margin=0.2) == [[1, -1, -1]]  # the guide's limit, 0.18, holds for all


def brute(queries, corpus, relevant, vectors, o: MiningOptions) -> list[list[int]]:
    """One pair after the other, in float64."""
    asked, given = (part.astype(np.float64) for part in vectors)
    index = WordIndex(corpus)
    rows = []
    for q, answers in enumerate(relevant):
        cosines, words = given @ asked[q], index.scores(queries[q])
        for p in answers:
            limit = cosines[p] - (1 - o.margin) * abs(cosines[p])
            may = [
                n for n in range(len(corpus)) if cosines[n] <= limit and n not in answers and corpus[n] != queries[q]
            ]
            near = sorted(may, key=lambda n: (-cosines[n], n))
            told = sorted((n for n in may if words[n] > 0), key=lambda n: (-words[n], n))
            ranked = {"guide": near, "bm25": told}.get(o.hard_from)
            if ranked is None:
                depth = o.rank_from + o.negatives
                both = zip(near[:depth] + [-1] * depth, told[:depth] + [-1] * depth, strict=False)
                ranked = list(dict.fromkeys(n for pair in both for n in pair if n >= 0))
            taken = ranked[o.rank_from : o.rank_from + o.negatives]
            rows.append(taken + [-1] * (o.negatives - len(taken)))
    return rows


@pytest.mark.parametrize("hard_from", ["guide", "bm25", "both"])
@pytest.mark.parametrize(("negatives", "rank_from", "margin"), [(1, 0, 0.95), (4, 2, 0.95), (3, 0, 1.0), (5, 1, 0.5)])
def test_brute_force_finds_the_same(hard_from, negatives, rank_from, margin):
    rng = np.random.default_rng(7)
    words = [f"w{i}" for i in range(30)]
    corpus = list(dict.fromkeys(" ".join(rng.choice(words, 6)) for _ in range(300)))
    queries = [" ".join(rng.choice(words, 3)) for _ in range(90)] + corpus[5:8]
    relevant = [sorted(set(rng.integers(0, len(corpus), 1 + i % 3).tolist())) for i in range(len(queries))]
    vectors = tuple(unit(rng.normal(size=(len(texts), 8))) for texts in (queries, corpus))
    options = hard(negatives=negatives, rank_from=rank_from, margin=margin, hard_from=hard_from)
    found = mine_negatives(queries, corpus, relevant, vectors, options)
    assert found.negatives.tolist() == brute(queries, corpus, relevant, vectors, options)
    assert found.queries.tolist() == [q for q, part in enumerate(relevant) for _ in part]


def test_ranks_are_drawn_without_repeats_and_by_the_seed_alone():
    rng = np.random.default_rng(0)
    corpus = [f"d{i}" for i in range(200)]
    vectors = unit(rng.normal(size=(40, 8))), unit(rng.normal(size=(200, 8)))
    queries, relevant = [f"q{i}" for i in range(40)], [[i] for i in range(40)]
    whole = mine_negatives(queries, corpus, relevant, vectors, hard(negatives=20, margin=1.0)).negatives
    options = hard(negatives=5, rank_from=5, rank_to=15, margin=1.0, seed=3)
    found = [mine_negatives(queries, corpus, relevant, vectors, options).negatives for _ in range(2)]
    assert (found[0] == found[1]).all()
    for own, ranked in zip(found[0].tolist(), whole.tolist(), strict=True):
        filled = [n for n in own if n >= 0]
        assert len(set(filled)) == len(filled)
        assert set(filled) <= {n for n in ranked[5:15] if n >= 0}
    other = mine_negatives(queries, corpus, relevant, vectors, MiningOptions(**(options.changed() | {"seed": 4})))
    assert (other.negatives != found[0]).any()


def test_memory_grows_with_the_texts_and_not_with_their_product():
    def peak(n: int) -> int:
        rng = np.random.default_rng(0)
        vectors = tuple(unit(rng.normal(size=(n, 4))) for _ in range(2))
        texts = [f"d{i}" for i in range(n)]
        tracemalloc.start()
        mine_negatives([f"q{i}" for i in range(n)], texts, [[i] for i in range(n)], vectors, hard())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(12_000) < 600 << 20  # all similarities are 576 MB, and twice that as they are marked


def test_texts_that_repeat_and_vectors_of_other_numbers_are_refused():
    with pytest.raises(DataError, match="more than once"):
        mine_negatives(["q"], ["d", "d"], [[0]], (unit([[1, 0]]), at(0.1, 0.2)))
    with pytest.raises(DataError, match="1 queries and 2 documents"):
        mine_negatives(["q"], ["d", "e"], [[0]], (unit([[1, 0]]), at(0.1)))
    with pytest.raises(ParameterError, match="hard_from is 'both', which needs strategy 'hard'"):
        MiningOptions(hard_from="both")


def test_words_of_no_document_and_empty_texts_score_nothing():
    index = WordIndex(["a key", "the lock", "?!"])
    assert index.scores("lift").tolist() == [0, 0, 0]
    assert index.scores("").tolist() == [0, 0, 0]
    assert index.scores("KEY").argmax() == 0
    assert WordIndex(["?", "!"]).scores("key").tolist() == [0, 0]


def test_words_without_spaces_are_found_by_two_letters():
    index = WordIndex(["厨房的暖气片是冷的。", "自行车放在地下室。", "radiator 暖气"])
    assert index.rank("暖气片不热", 0) == 0
    assert index.rank("自行车在哪里", 1) == 0
    assert index.rank("自行车在哪里", 0) is None
    assert index.rank("radiator", 2) == 0


PAIRS = [
    ("how do I get warm water", "turn the boiler up"),
    ("how do I get warm water", "call the caretaker about the boiler"),
    ("who repairs the lift", "the lift company comes within a day"),
    ("where is my key", "keys are in the box by the door"),
]


def test_a_table_keeps_rows_that_have_negatives_and_fills_the_others(guide):
    rows = [{"anchor": a, "positive": p, "task_name": "t"} for a, p in PAIRS]
    rows.append({"anchor": "x", "positive": "y", "negatives": ["given by hand"], "task_name": "t"})
    rows.append({"anchor": "z", "positive": "w", "anchor_label": "l", "task_name": "t"})
    rows.append({"anchor": "alone", "positive": "in its task", "task_name": "other"})
    table = make_triplets(rows)
    assert bare_rows(table).tolist() == [True] * 4 + [False, False, True]
    made = with_hard_negatives(table, guide, hard(negatives=3, margin=1.5), corpus=["a text of the corpus"])
    negatives, sources = made["negatives"][:], made["negative_sources"][:]
    assert negatives[4:6] == [["given by hand"], []]
    assert negatives[6] == ["a text of the corpus"]
    for row in range(4):
        assert len(negatives[row]) == 3
        assert not set(negatives[row]) & {p for a, p in PAIRS if a == PAIRS[row][0]}
        assert sources[row] == ["mined"] * 3
    assert "in its task" not in {n for own in negatives[:4] for n in own}
    assert len(set(made["id"][:])) == 7
    assert set(made["id"][:4]).isdisjoint(table["id"][:4])


def test_queries_and_documents_have_their_own_prompts(guide, monkeypatch):
    asked: list[str] = []
    table = make_triplets([{"anchor": a, "positive": p, "task_type": "Retrieval"} for a, p in PAIRS])
    prompted = guide.guide.prompts.with_user("query: ", "passage: ")
    monkeypatch.setattr(guide.guide, "prompts", prompted)
    monkeypatch.setattr(VectorCache, "with_prompt", lambda self, prompt: asked.append(prompt) or self)
    with_hard_negatives(table, guide, hard())
    assert asked == ["query: ", "passage: "]


def test_answers_that_the_table_does_not_hold_are_known_all_the_same(guide):
    rows = [{"anchor": a, "positive": p} for a, p in PAIRS]
    made = with_hard_negatives(make_triplets(rows[:1]), guide, hard(negatives=9, margin=9.0), known=make_triplets(rows))
    assert set(made["negatives"][0]) == {PAIRS[2][1], PAIRS[3][1]}
