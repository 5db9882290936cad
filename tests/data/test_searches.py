"""Searches to train on: three layouts give the same; what is wrong is named, all at once."""

from __future__ import annotations

import gzip
import json

import pytest

from gisttools.common.errors import DataError, MissingError
from gisttools.data.searches import read_search, search_layout, search_pairs
from gisttools.data.sources import kind_of

QUERIES = {"q1": "where is my key", "q2": "who repairs the lift"}
CORPUS = {"d1": "in the box by the door", "d2": "the lift company", "d3": "ask the caretaker"}
RELEVANT = {"q1": ["d1", "d3"], "q2": ["d2"]}


def beir(place, title=""):
    (place / "qrels").mkdir(parents=True)
    rows = [{"_id": k, "title": title, "text": t} for k, t in CORPUS.items()]
    (place / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (place / "queries.jsonl").write_text("\n".join(json.dumps({"_id": k, "text": t}) for k, t in QUERIES.items()))
    lines = [f"{q}\t{d}\t1" for q, own in RELEVANT.items() for d in own]
    (place / "qrels" / "train.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines, "q1\td2\t0"]))
    return place


def llamaindex(place, **changed):
    told = {"queries": QUERIES, "corpus": CORPUS, "relevant_docs": RELEVANT, "mode": "text"} | changed
    place.mkdir(parents=True, exist_ok=True)
    (place / "train.json").write_text(json.dumps(told, indent=4))
    return place / "train.json"


def msmarco(place):
    place.mkdir(parents=True)
    (place / "collection.tsv.gz").write_bytes(gzip.compress("\n".join(f"{k}\t{t}" for k, t in CORPUS.items()).encode()))
    (place / "queries.train.tsv").write_text("\n".join(f"{k}\t{t}" for k, t in QUERIES.items()))
    lines = [f"{q}\t0\t{d}\t1" for q, own in RELEVANT.items() for d in own]
    (place / "qrels.train.tsv").write_text("\n".join(lines))
    return place


@pytest.mark.parametrize("layout", [beir, llamaindex, msmarco])
def test_three_layouts_give_the_same_pairs(tmp_path, layout):
    place = layout(tmp_path / "set")
    assert (search_layout(place), kind_of(place)) == (layout.__name__, "search")
    found = read_search(place)
    assert found.queries == QUERIES
    assert {key: text for key, (_, text) in found.corpus.items()} == CORPUS
    table = search_pairs(found, "set")
    wanted = [(QUERIES[q], CORPUS[d]) for q, own in RELEVANT.items() for d in own]
    assert list(zip(table["anchor"][:], table["positive"][:], strict=True)) == wanted
    assert set(table["task_type"][:]) == {"Retrieval"}


def test_titles_stand_before_texts_as_in_mteb(tmp_path):
    table = search_pairs(read_search(beir(tmp_path / "b", title="House")), "b")
    assert table["positive"][0] == "House in the box by the door"


def test_a_split_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"qrels/dev\.tsv"):
        read_search(beir(tmp_path / "b"), "dev")
    with pytest.raises(MissingError, match=r"queries\.dev\.tsv, qrels\.dev\.tsv"):
        read_search(msmarco(tmp_path / "m"), "dev")


def test_all_that_is_wrong_is_named(tmp_path):
    place = llamaindex(
        tmp_path, queries=QUERIES | {"q3": ""}, corpus=CORPUS | {"d4": 7}, relevant_docs=RELEVANT | {"q9": ["d9"]}
    )
    with pytest.raises(DataError) as error:
        read_search(place)
    for words in ("queries: a text is empty", "'q3'", "documents: a text", "'d4'", "queries that are not there: 'q9'",
                  "documents that are not there: 'd9'"):  # fmt: skip
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"queries": {"a": "x", "a": "y"}, "corpus": {}, "relevant_docs": {}}', "come more than once: 'a'"),
        ('{"queries": {"a": "x"}, "corpus": {}', "cannot be read as JSON"),
        ('{"queries": {"a": "x"}, "corpus": []}', "'corpus' is no object"),
        ('{"queries": {"a": "x"}, "corpus": {"d": "t"}, "relevant_docs": {"a": "d"}}', "no lists for 'a'"),
        ('{"queries": {"a": "x"}, "corpus": {"d": "t"}, "relevant_docs": {"a": []}}', "no document is relevant"),
        ('{"queries": ' + '{"a":' * 100_000, "cannot be read as JSON"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=words):
        read_search(tmp_path / "a.json")


def test_a_broken_collection_is_named(tmp_path):
    place = msmarco(tmp_path / "m")
    (place / "collection.tsv.gz").write_bytes(gzip.compress(b"d1\tone\nd1\ttwo\nd2\tx\ty\nd3\tz"))
    with pytest.raises(DataError) as error:
        read_search(place)
    for words in ("lines that have not 2 fields: 3", "come more than once: 'd1'", "are not there: 'd2'"):
        assert words in str(error.value)


def test_other_files_and_folders_are_no_search(tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "a", "label": "b"}]')
    (tmp_path / "b.jsonl").write_text('{"queries": {"a": 1}}')
    assert [search_layout(tmp_path / name) for name in ("a.json", "b.jsonl", ".", "nowhere")] == [None] * 4
    with pytest.raises(DataError, match="holds no search"):
        read_search(tmp_path / "a.json")
