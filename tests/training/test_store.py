"""The guide store: what it answers by row id, and the columns that training reads; and the guide's scores."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from hypothesis import given, strategies as st

from gisttools.common.errors import DataError
from gisttools.data.triplets import make_triplets
from gisttools.mining.miner import score_triplets
from gisttools.models.numbered_texts import numbered
from gisttools.training.store import GuideStore

ROWS = [
    {"anchor": "a", "positive": "b", "negatives": ["c", "d"], "anchor_label": "x", "positive_label": "x",
     "negative_labels": ["y", None]},
    {"anchor": "c", "positive": "d", "negatives": ["a"], "anchor_label": "y"},
    {"anchor": "e", "positive": "a", "negatives": []},
]  # fmt: skip


def ids(store: GuideStore, *rows: int) -> torch.Tensor:
    return torch.from_numpy(store.row_ids[list(rows)])


def test_rows_answer_with_the_vectors_of_their_texts(cache):
    store = GuideStore.build(make_triplets(ROWS), cache)
    rows = store.rows(ids(store, 1, 0))
    assert torch.equal(rows.anchor, torch.from_numpy(cache.embed(["c", "a"])))
    assert torch.equal(rows.positive, torch.from_numpy(cache.embed(["d", "b"])))
    assert torch.equal(rows.negatives[1], torch.from_numpy(cache.embed(["c", "d"])))
    assert torch.equal(rows.negatives[0, 0], torch.from_numpy(cache.embed(["a"])[0]))


def test_rows_number_equal_texts_and_labels_alike_and_padding_as_minus_one(cache):
    store = GuideStore.build(make_triplets(ROWS), cache)
    rows = store.rows(ids(store, 0, 1, 2))
    a, b, c, d = rows.text_ids[0].tolist()
    assert len({a, b, c, d}) == 4
    assert rows.text_ids[1].tolist() == [c, d, a, -1]
    assert rows.text_ids[2, 1:].tolist() == [a, -1, -1]
    x, y = rows.label_ids[0, 0].item(), rows.label_ids[1, 0].item()
    assert x != y
    assert rows.label_ids.tolist() == [[x, x, y, -1], [y, -1, -1, -1], [-1, -1, -1, -1]]


def test_a_store_without_guide_still_knows_texts_and_labels():
    store = GuideStore.build(make_triplets(ROWS), None)
    rows = store.rows(ids(store, 0))
    assert (rows.anchor, rows.positive, rows.negatives, store.guide_id) == (None, None, None, None)
    assert rows.text_ids.shape == rows.label_ids.shape == (1, 4)


@pytest.mark.slow
def test_a_table_without_negatives_has_none(cache):
    store = GuideStore.build(make_triplets(ROWS[2:]), cache)
    assert store.rows(ids(store, 0)).negatives.shape == (1, 0, 256)
    assert store.training_columns().column_names == ["anchor", "positive", "label"]


def test_a_row_beyond_the_table_is_refused(cache):
    store = GuideStore.build(make_triplets(ROWS), cache)
    with pytest.raises(DataError, match=r"Row 3 was asked of a guide store of 3 rows\. Train on the columns"):
        store.rows(torch.tensor([store.row_ids[0], store.row_ids[2] + 1]))


@pytest.mark.parametrize(
    "other",
    [[{**ROWS[0], "positive": "z"}, *ROWS[1:]], [{**ROWS[0], "anchor_label": "z"}, *ROWS[1:]], ROWS[::-1], ROWS[:2]],
    ids=["text", "label", "order", "fewer"],
)
def test_row_ids_of_another_table_are_refused(cache, other):
    store, stranger = (GuideStore.build(make_triplets(rows), cache) for rows in (ROWS, other))
    mixed = torch.tensor([*store.row_ids[:2], stranger.row_ids[0]])
    with pytest.raises(DataError, match=f"1 of 3 row ids are of another data set.*{stranger.row_ids[0]}"):
        store.rows(mixed)


@pytest.mark.parametrize("plain", [0, 2, -1])
def test_plain_row_numbers_are_refused(cache, plain):
    with pytest.raises(DataError, match=f"are no row ids at all .the first: {plain}"):
        GuideStore.build(make_triplets(ROWS), cache).rows(torch.tensor([plain]))


def test_row_ids_depend_on_texts_and_labels_alone(cache):
    ids_ = [GuideStore.build(make_triplets(ROWS), guide).row_ids for guide in (cache, None)]
    assert np.array_equal(*ids_)
    assert (ids_[0] > 0).all()


def test_training_columns_pad_with_the_positive_and_carry_the_row_id():
    store = GuideStore.build(make_triplets(ROWS), None)
    columns = store.training_columns()
    assert columns.column_names == ["anchor", "positive", "negative_1", "negative_2", "label"]
    assert columns["anchor"][:] == ["a", "c", "e"]
    assert columns["negative_1"][:] == ["c", "a", "a"]
    assert columns["negative_2"][:] == ["d", "d", "a"]
    assert columns["label"][:] == store.row_ids.tolist()


texts = st.sampled_from(["a", "b", "ä", "a longer text", "\u2028", "c" * 300])
rows_of_texts = st.lists(
    st.fixed_dictionaries(
        {"anchor": texts, "positive": texts, "negatives": st.lists(texts, max_size=3)},
        optional={"anchor_label": st.sampled_from(["x", "y"])},
    ).filter(lambda row: all(t.strip() for t in (row["anchor"], row["positive"], *row["negatives"]))),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@given(rows=rows_of_texts, block=st.integers(1, 5), chosen=st.booleans())
def test_blocks_and_chunks_and_selections_do_not_show(rows, block, chosen):
    table = make_triplets(rows)
    if chosen:
        table, rows = table.select(range(len(rows) - 1, -1, -1)), rows[::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gisttools.data.triplets._BLOCK", block)
        store = GuideStore.build(table, None)
        columns = store.training_columns()
    k = max(len(r["negatives"]) for r in rows)
    wanted = [[r["anchor"], r["positive"], *r["negatives"], *[None] * (k - len(r["negatives"]))] for r in rows]
    assert same_partition(store.text_ids.ravel().tolist(), [t for row in wanted for t in row])
    labels = [[r.get("anchor_label"), *[None] * (k + 1)] for r in rows]
    assert same_partition(store.label_ids.ravel().tolist(), [x for row in labels for x in row])
    given_ = [columns[name][:] for name in columns.column_names[:-1]]
    assert [list(row) for row in zip(*given_, strict=True)] == [[t or row[1] for t in row] for row in wanted]


def same_partition(numbers: list[int], values: list) -> bool:
    """Equal values have equal numbers, different ones different numbers, None has -1."""
    pairs = set(zip(numbers, values, strict=True))
    return len(pairs) == len(set(numbers)) == len(set(values)) and all((n == -1) == (v is None) for n, v in pairs)


def on_disk(folder, rows) -> Dataset:
    """A memory-mapped table, as a data set that was streamed into the cache is."""
    table = make_triplets(rows).with_format("arrow")[:]
    with pa.OSFile(str(folder / "table.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return Dataset.from_file(str(folder / "table.arrow"))


@pytest.mark.parametrize("negatives", [["n1 {}"], ["n1 {}", "n2 {}"]], ids=["one negative", "two negatives"])
def test_columns_of_a_table_on_disk_stay_on_disk(tmp_path, monkeypatch, negatives):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path / "cache"))
    rows = [
        {"anchor": f"a {i} {'x' * 500}", "positive": f"p {i}", "negatives": [n.format(i) for n in negatives]}
        for i in range(2000)
    ]
    store = GuideStore.build(on_disk(tmp_path, rows), None)
    before = pa.total_allocated_bytes()
    columns = store.training_columns()
    assert pa.total_allocated_bytes() - before < 100_000  # the texts are more than 1,000,000
    assert columns[1999]["anchor"] == rows[1999]["anchor"]
    assert columns[1999][f"negative_{len(negatives)}"] == negatives[-1].format(1999)
    assert store.training_columns()[7] == columns[7]


@pytest.mark.slow
def test_texts_on_disk_are_numbered_in_bounded_memory(tmp_path):
    script = """
import json, resource, sys
import pyarrow as pa
from datasets import Dataset
from gisttools.training.store import GuideStore
from gisttools.data.triplets import COLUMNS
n = 150_000
with pa.OSFile(sys.argv[1], "wb") as file, pa.ipc.new_stream(file, COLUMNS) as writer:
    for begin in range(0, n, 10_000):
        numbers = range(begin, begin + 10_000)
        told = {"anchor": [f"anchor {i} " + "x" * 1500 for i in numbers],
                "positive": [f"positive {i}" for i in numbers], "negatives": [[f"negative {i}"] for i in numbers]}
        columns = [pa.array(told.get(f.name, [None] * 10_000), f.type) for f in COLUMNS]
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=COLUMNS))
table = Dataset.from_file(sys.argv[1])
def private():  # the map itself is the file's, not ours
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1]) / 1024
before = private()
store = GuideStore.build(table, None)
columns = store.training_columns()
print(json.dumps([private() - before, store.text_ids.shape, int(store.text_ids.max())]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "t.arrow")], capture_output=True, text=True, check=True
    )
    extra, shape, last = json.loads(done.stdout.splitlines()[-1])
    assert (shape, last) == ([150_000, 3], 449_999)
    assert extra < 150  # MB; the texts have 235 as Arrow and more as Python strings


@pytest.mark.slow
def test_rows_of_a_batch_come_quickly_from_a_large_store(tmp_path, cache, monkeypatch):
    random = np.random.default_rng(0)

    def stream(texts):
        yield np.arange(len(texts)), random.normal(size=(len(texts), 256))

    monkeypatch.setattr(cache.guide, "stream", stream)
    rows = [{"anchor": f"a {i}", "positive": f"p {i}", "negatives": [f"n {i}"]} for i in range(20_000)]
    store = GuideStore.build(make_triplets(rows), cache)
    took = []
    for _ in range(20):
        asked = torch.from_numpy(random.choice(store.row_ids, 128))
        started = time.perf_counter()
        store.rows(asked)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.01  # seconds; 0.3 ms on a quiet machine


def test_scores_of_the_guide_are_its_cosines(cache):
    table = make_triplets(ROWS)
    scored = score_triplets(table, cache)
    a, p, c, d = cache.embed(["a", "b", "c", "d"])
    assert scored["guide_ap"][0] == pytest.approx(float(a @ p), abs=1e-6)
    assert scored["guide_an"][0] == pytest.approx([float(a @ c), float(a @ d)], abs=1e-6)
    assert scored["live"][0] is bool(min(a @ c, a @ d) <= a @ p)
    assert scored["live"][2] is None
    kept = ["id", "anchor", "negatives", "anchor_label", "negative_labels"]
    assert scored.select_columns(kept).to_dict() == table.select_columns(kept).to_dict()


@pytest.mark.parametrize("block", [1, 2, 1000])
def test_scores_do_not_depend_on_the_blocks(cache, monkeypatch, block):
    wanted = score_triplets(make_triplets(ROWS), cache)
    monkeypatch.setattr("gisttools.mining.miner._SCORED", block)
    monkeypatch.setattr("gisttools.data.triplets._BLOCK", block)
    scored = score_triplets(make_triplets(ROWS), cache)
    assert scored.features == wanted.features
    assert scored.to_dict() == wanted.to_dict()


def test_an_empty_table_is_scored(cache):
    empty = make_triplets(ROWS).select([])
    assert score_triplets(empty, cache).to_dict() == empty.to_dict()


def test_a_label_that_two_tasks_use_is_told_apart_by_task():
    def row(name, label, task):
        return {"anchor": name, "positive": "p", "anchor_label": label, "task_name": task}

    rows = [
        row("a", "0", "one"), row("b", "0", "one"), row("c", "0", "two"), row("d", "0", None),
        row("e", "refund", "one"), row("f", "refund", None), row("g", None, "two"),
    ]  # fmt: skip
    ids = GuideStore.build(make_triplets(rows), None).label_ids[:, 0].tolist()
    a, b, c, d, e, f, g = ids
    assert a == b
    assert len({a, c, d, e}) == 4
    assert e == f  # only one task uses it: equal strings are equal labels
    assert g == -1


@pytest.mark.parametrize(
    ("labels", "others", "source", "alike"),
    [
        ("refund lost damaged", "refund lost damaged", "labelled", True),
        ("refund lost damaged", "refund lost damaged late wrong", "labelled", True),  # a part of them
        ("refund lost damaged", "refund lost broken", "labelled", False),
        ("0 1 2 3", "0 1 2 3", "labelled", False),  # numbers may mean anything
        ("yes no", "yes no", "labelled", False),  # and so may two words
        ("yes no", "yes no", "llm", True),  # but not those that an LLM was given
        ("0 1", "0 1", "llm", True),
        ("refund", "refund lost", "llm", False),  # one name says too little
    ],
)
def test_tasks_that_have_their_labels_in_common_share_them(labels, others, source, alike):
    rows = [
        {"anchor": f"{task} {label}", "positive": f"p {task} {label}", "anchor_label": label, "task_name": task,
         "source": by}
        for task, told, by in (("mine", labels, source), ("yours", others, "labelled"))
        for label in told.split()
    ]  # fmt: skip
    ids = GuideStore.build(make_triplets(rows), None).label_ids[:, 0].tolist()
    mine, yours = ids[: len(labels.split())], ids[len(labels.split()) :]
    in_common = [i for i, label in enumerate(labels.split()) if label in others.split()]
    assert [mine[i] == yours[others.split().index(labels.split()[i])] for i in in_common] == [alike] * len(in_common)
    assert len(set(ids)) == len(set(labels.split()) | set(others.split())) + (0 if alike else len(in_common))


def test_labels_are_shared_along_a_chain_of_tasks():
    told = {"small": "a b c", "middle": "a b c d", "large": "a b c d e", "other": "x y z"}
    rows = [
        {"anchor": f"{task} {label}", "positive": "p", "anchor_label": label, "task_name": task}
        for task, labels in told.items()
        for label in labels.split()
    ]
    ids = GuideStore.build(make_triplets(rows), None).label_ids[:, 0]
    assert len(set(ids.tolist())) == 8


def test_keys_that_share_their_first_half_are_told_apart():
    keys = np.array([[b"12345678b", b""], [b"12345678a", b"12345678b"]], dtype="S16")
    ids, known, first = numbered(keys)
    assert ids[0, 0] == ids[1, 1] != ids[1, 0]
    assert ids[0, 1] == -1
    assert [known[i] for i in ids[[0, 1], [0, 0]]] == [b"12345678b", b"12345678a"]
    assert (keys.reshape(-1)[first] == known).all()
