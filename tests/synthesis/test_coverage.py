"""Which kinds of real texts the written ones reach."""

from __future__ import annotations

import numpy as np

from gisttools.synthesis.coverage import coverage

KINDS = {"card": (1.0, 0.0, 0.0), "cash": (0.0, 1.0, 0.0), "fee": (0.0, 0.0, 1.0)}


def embed(texts):
    """Near the direction of the kind that a text names, a little apart from the others by its number."""
    rows = []
    for text in texts:
        kind, number = text.split()
        turned = np.array(KINDS[kind]) + 0.01 * np.array([np.sin(int(number)), np.cos(int(number)), 0.1])
        rows.append(turned / np.linalg.norm(turned))
    return np.array(rows, dtype=np.float32)


def texts(label, **counts):
    return [(f"{kind} {i}", label) for kind, n in counts.items() for i in range(n)]


def test_a_cluster_that_no_written_text_falls_into_is_named():
    real = texts("lost", card=7, cash=5, fee=3)  # 15 real texts: three clusters
    (row,) = coverage([("card 90", "lost"), ("card 91", "lost"), ("fee 92", "lost")], real, embed)
    (example,) = row.pop("missed")
    assert example.startswith("cash")
    assert example in [text for text, _ in real]
    assert row == {"label": "lost", "real": 15, "written": 3, "clusters": 3, "covered": 2}


def test_labels_stand_by_themselves_the_least_covered_first():
    real = [*texts("a", card=8, cash=2), *texts("b", card=3, cash=7)]
    written = [("card 50", "a"), ("cash 51", "a"), ("card 52", "b"), ("cash 53", "elsewhere")]
    rows = coverage(written, real, embed)
    assert [(row["label"], row["covered"], row["clusters"]) for row in rows] == [("b", 1, 2), ("a", 2, 2)]


def test_equal_texts_count_once_and_order_does_not_matter():
    real = texts("a", card=6, cash=4)
    found = coverage([("card 50", "a")], real, embed)
    assert coverage([("card 50", "a")] * 3, [*real, *real], embed) == found


def test_of_few_or_equal_real_texts_nothing_is_said():
    assert coverage([("card 9", "a")], texts("a", card=3), embed) == []
    assert coverage([("card 9", "a")], texts("a", card=9), lambda texts: np.ones((len(texts), 2)) / 2**0.5) == []
    assert coverage([], texts("a", card=9), embed) == []


def test_very_many_texts_are_drawn_from_and_the_same_seed_draws_the_same():
    real = [(f"card {i}", "a") for i in range(900)]
    (row,) = coverage([("card 901", "a")], real, embed, seed=3)
    assert (row["real"], row["clusters"], len(row["missed"])) == (500, 8, 3)
    assert coverage([("card 901", "a")], real, embed, seed=3) == [row]
