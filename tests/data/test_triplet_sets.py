"""Triplet sets by name: streaming into the cache, memory, refusals, and a list of mixed sources."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers import ROOT, files_under

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data import triplet_sets
from gisttools.data.triplet_sets import concatenate, count_rows, number_sets, read_hub_triplets, triplet_tables
from gisttools.data.triplets import COLUMNS, make_triplets, read_triplets, write_triplets

COMMIT = "238a0499b6e6b690cc64ea56fde8461daa8341bb"


@pytest.fixture
def repository(tmp_path):
    """A function that writes rows as a data set's folder, as it would be on the hub."""

    def write(rows: list[dict], name: str = "faq", file: str = "train.jsonl") -> Path:
        (tmp_path / name).mkdir(exist_ok=True)
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (tmp_path / name / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / name

    return write


def plain(n: int, first: int = 0) -> list[dict]:
    return [{"query": f"a{i}", "pos": [f"p{i}"], "neg": [f"n{i}", f"m{i}"]} for i in range(first, first + n)]


def test_every_row_arrives_in_order_with_the_columns_of_the_table_and_where_it_comes_from(repository, tmp_path):
    table = read_hub_triplets(repository(plain(2500)), folder=tmp_path / "cache")
    assert table.column_names == COLUMNS.names
    expected = make_triplets(
        [{"anchor": f"a{i}", "positive": f"p{i}", "negatives": [f"n{i}", f"m{i}"]} for i in range(2500)]
    )
    same = ["id", "anchor", "positive", "negatives", "status"]
    assert table.select_columns(same).to_dict() == expected.select_columns(same).to_dict()
    assert set(table["source"]) == {"hub"}
    assert set(table["task_name"]) == {"faq"}
    assert table.unique("source_revision")[0].startswith("sha256:")


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".csv", ".tsv"])
def test_one_file_is_a_set_as_well(tmp_path, ending):
    file = tmp_path / f"faq{ending}"
    frame = make_triplets([{"anchor": "a", "positive": "p"}]).to_pandas()[["anchor", "positive"]]
    frame.columns = ["question", "answer"]
    {
        ".jsonl": lambda: frame.to_json(file, orient="records", lines=True),
        ".parquet": lambda: frame.to_parquet(file),
        ".csv": lambda: frame.to_csv(file, index=False),
        ".tsv": lambda: frame.to_csv(file, index=False, sep="\t"),
    }[ending]()
    table = read_hub_triplets(file, folder=tmp_path / "cache")
    assert (table["anchor"][:], table["positive"][:], table["negatives"][:]) == (["a"], ["p"], [[]])
    assert table["task_name"][:] == ["faq"]


def test_a_table_of_ours_keeps_its_labels_on_the_way_over_the_hub(repository, tmp_path):
    row = {"anchor": "a", "positive": "p", "negatives": ["n"], "anchor_label": "x", "positive_label": "x"}
    table = make_triplets([{**row, "negative_labels": ["y"], "language": "eng-Latn", "task_type": "Classification"}])
    back = read_hub_triplets(repository(table.to_list()), folder=tmp_path / "cache")
    kept = ["id", "anchor_label", "positive_label", "negative_labels", "language"]
    assert back.select_columns(kept).to_dict() == table.select_columns(kept).to_dict()


def test_the_second_time_nothing_is_streamed(repository, tmp_path, monkeypatch):
    folder, cache = repository(plain(10)), tmp_path / "cache"
    first = read_hub_triplets(folder, folder=cache)
    monkeypatch.setattr(triplet_sets, "open_stream", lambda source: pytest.fail("streamed again"))
    assert read_hub_triplets(folder, folder=cache).to_dict() == first.to_dict()


@pytest.mark.parametrize("told", [{"rows": 5}, {"instructions": True}, {"pairs": "texts"}])
def test_other_options_are_another_cache_entry(repository, tmp_path, told):
    folder, cache = repository(plain(10)), tmp_path / "cache"
    read_hub_triplets(folder, folder=cache)
    read_hub_triplets(folder, folder=cache, **told)
    assert len(list(cache.glob("*/data.arrow"))) == 2


def test_a_changed_set_is_read_anew(repository, tmp_path):
    assert len(read_hub_triplets(repository(plain(10)), folder=tmp_path / "cache")) == 10
    assert len(read_hub_triplets(repository(plain(11)), folder=tmp_path / "cache")) == 11


def test_rows_limits_what_is_read_not_what_comes_out(repository, tmp_path):
    rows = [{"query": "a", "pos": ["p", "q"]}, {"query": "", "pos": ["p"]}, {"query": "b", "pos": ["r"]}]
    table = read_hub_triplets(repository(rows), rows=2, folder=tmp_path / "cache")
    assert table["positive"][:] == ["p", "q"]


def test_the_table_lies_on_disk_and_stays_there_when_sets_are_mixed(repository, tmp_path):
    tables = {n: read_hub_triplets(repository(plain(3, i), n), folder=tmp_path / "c") for i, n in enumerate("ab")}
    mixed = concatenate(tables)
    assert mixed["anchor"][:] == ["a0", "a1", "a2", "a1", "a2", "a3"]
    assert [Path(f["filename"]).parent.parent for f in mixed.cache_files] == [tmp_path / "c"] * 2


def test_bad_rows_are_dropped_and_counted_in_one_line(repository, tmp_path, caplog):
    rows = [*plain(5), {"query": " ", "pos": ["p"], "neg": []}, {"query": "a", "pos": [], "neg": []}]
    with caplog.at_level(logging.INFO, logger="gisttools"):
        assert len(read_hub_triplets(repository(rows), folder=tmp_path / "cache")) == 5
    (line,) = [r.getMessage() for r in caplog.records if "triplets of" in r.getMessage()]
    assert "5 triplets of 7 rows; 2 lack an anchor or a positive" in line


def test_pairs_below_the_threshold_are_left_out_and_counted(repository, tmp_path, caplog):
    rows = [{"sentence1": f"a{i}", "sentence2": f"p{i}", "score": i / 10} for i in range(11)]
    with caplog.at_level(logging.INFO, logger="gisttools"):
        table = read_hub_triplets(repository(rows), threshold=0.8, folder=tmp_path / "cache")
    assert table["anchor"][:] == ["a8", "a9", "a10"]
    (line,) = [r.getMessage() for r in caplog.records if "triplets of" in r.getMessage()]
    assert "3 triplets of 11 rows; 0 lack an anchor or a positive; 8 are below the threshold" in line


def test_a_threshold_that_no_score_reaches_is_told(repository, tmp_path):
    rows = [{"sentence1": "a", "sentence2": "p", "score": 5}]
    with pytest.raises(DataError, match=r"none of its 1 scores reaches the threshold. Lower it"):
        read_hub_triplets(repository(rows), threshold=6, folder=tmp_path / "cache")


def test_packed_files_are_read_as_their_content(tmp_path):
    import gzip

    (tmp_path / "faq.jsonl.gz").write_bytes(gzip.compress(b'{"query": "a", "pos": "p"}\n'))
    (tmp_path / "faq.csv.gz").write_bytes(gzip.compress(b"anchor,positive\nnull,NA\n"))
    tables = triplet_tables([tmp_path / "faq.jsonl.gz", tmp_path / "faq.csv.gz"])
    assert [(t["anchor"][0], t["positive"][0]) for t in tables.values()] == [("a", "p"), ("null", "NA")]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [{"text": "a", "label": 1}],
            "no column known to hold the anchor and positive. Its columns: text, label. Known",
        ),
        ([{"query": "", "pos": "p"}], "none of its 1 rows has an anchor and a positive"),
    ],
)
def test_a_set_that_gives_nothing_is_refused_and_leaves_nothing(repository, tmp_path, rows, expected):
    with pytest.raises(DataError, match=expected):
        read_hub_triplets(repository(rows), folder=tmp_path / "cache")
    assert [f for f in files_under(tmp_path / "cache") if not f.endswith(".lock")] == []


def test_a_broken_file_is_named_and_the_next_try_reads_it_anew(repository, tmp_path):
    folder = repository(plain(3000))
    whole = (folder / "train.jsonl").read_text()
    (folder / "train.jsonl").write_text(whole + '{"query": "a"')
    with pytest.raises(DataError, match=r"faq/train\.jsonl cannot be read as jsonl: 1 line\(s\)"):
        read_hub_triplets(folder, folder=tmp_path / "cache")
    (folder / "train.jsonl").write_text(whole)
    assert len(read_hub_triplets(folder, folder=tmp_path / "cache")) == 3000


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b/c", r"There is no file or folder a/b/c. Name one, or a hub set: org/name@revision"),
        ("nobody/nothing", "There is no file or folder nobody/nothing, and it is not found on the hub: .*network"),
        (f"nobody/nothing@{COMMIT}", f"Data set nobody/nothing .*revision {COMMIT}.* cannot be read: .*network"),
    ],
)
def test_a_set_that_is_not_there_is_named(tmp_path, name, expected):
    with pytest.raises(MissingError, match=expected):
        read_hub_triplets(name, folder=tmp_path / "cache")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"pairs": "both"}, "pairs is 'both'"),
        ({"threshold": float("nan")}, "threshold is nan"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, told, expected):
    with pytest.raises(ParameterError, match=expected):
        read_hub_triplets(tmp_path, **told)


@pytest.mark.slow
def test_a_large_set_needs_little_memory(tmp_path):
    """200,000 rows of 100 MB: the process grows by far less than their size."""
    with open(tmp_path / "train.jsonl", "w") as file:
        texts = [f'"{word * 30}' for word in ("word ", "cord ", "lord ")]
        row = '{{"query": {1}{0}", "pos": {2}{0}", "neg": {3}{0}"}}\n'
        file.writelines(row.format(i, *texts) for i in range(200_000))
    script = """
import resource, sys, pathlib
from gisttools.data.triplet_sets import read_hub_triplets
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
cache = pathlib.Path(sys.argv[2])
read_hub_triplets(sys.argv[1], rows=1000, folder=cache)  # what the libraries need
before = peak()
print(len(read_hub_triplets(sys.argv[1], folder=cache)), peak() - before)
"""
    line = [sys.executable, "-c", script, str(tmp_path), str(tmp_path / "cache")]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=ROOT)
    rows, grown = map(int, done.stdout.split())
    assert rows == 200_000
    assert grown < 60, f"{grown} MB more for a set of 100 MB"


def test_sources_of_all_kinds_come_by_name_and_in_order(repository, tmp_path):
    run = tmp_path / "run"
    write_triplets(make_triplets([{"anchor": "ours", "positive": "p"}]), run)
    (tmp_path / "own.csv").write_text("anchor,positive\nmine,p\n")
    (tmp_path / "medi.jsonl").write_text('{"query": ["i", "theirs"], "pos": ["i", "p"], "neg": ["i", "n"]}\n')
    (tmp_path / "array.json").write_text('[{"query": "array", "pos": "p"}]')
    names = [repository(plain(2)), run, tmp_path / "own.csv", tmp_path / "medi.jsonl", tmp_path / "array.json"]
    tables = triplet_tables(names, rows=1)
    assert list(tables) == [str(n) for n in names]
    assert concatenate(tables)["anchor"][:] == ["a0", "ours", "mine", "theirs", "array"]
    assert concatenate(tables).features == read_triplets(run).features


def test_a_file_with_our_columns_is_checked_as_strictly_as_ever(tmp_path):
    (tmp_path / "own.jsonl").write_text('{"anchor": "a", "positive": "p", "negativ": "n"}\n')
    with pytest.raises(DataError, match="unknown columns: negativ"):
        triplet_tables([tmp_path / "own.jsonl"])


def test_a_missing_file_is_told_as_by_the_triplet_table(tmp_path):
    with pytest.raises(MissingError, match=r"No triplet table at .*none\.parquet"):
        triplet_tables([tmp_path / "none.parquet"])


def test_a_source_named_twice_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"Named more than once: a\.csv"):
        triplet_tables(["a.csv", "b.csv", Path("a.csv")])
    with pytest.raises(MissingError, match="No triplet table was named"):
        concatenate({})


def test_a_large_parquet_table_is_opened_through_the_cache_and_is_the_same(tmp_path, monkeypatch):
    rows = [
        {"anchor": f"a{i}", "positive": "p", "anchor_label": "x", "guide_an": [0.5], "cost_usd": 0.1} for i in range(9)
    ]
    path = write_triplets(make_triplets(rows), tmp_path / "t.parquet")
    monkeypatch.setattr(triplet_sets, "_LARGE", 100)
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path / "cache"))
    table = triplet_tables([path])[str(path)]
    assert table.cache_files
    assert table.to_dict() == read_triplets(path).to_dict()
    fewer = pq.read_table(path).select(["anchor", "positive"])
    pq.write_table(fewer, path)
    assert triplet_tables([path])[str(path)].to_dict() == read_triplets(path).to_dict()


def test_rows_are_numbered_by_source_or_by_task():
    def table(*tasks):
        return make_triplets([{"anchor": f"{t} {i}", "positive": "p", "task_name": t} for i, t in enumerate(tasks)])

    tables = {"one": table("b", "a", "b"), "two": table("a"), "three": table("Z", None)}
    assert number_sets(tables).tolist() == [0, 0, 0, 1, 2, 2]
    assert number_sets(tables, "task_name").tolist() == [3, 2, 3, 2, 1, 0]


def test_rows_are_counted_by_the_values_of_columns():
    rows = [{"anchor": str(i), "positive": "p", "task_name": t} for i, t in enumerate(["a", "b", "b", None])]
    assert count_rows(make_triplets(rows), "task_name") == [
        {"task_name": "b", "rows": 2},
        {"task_name": None, "rows": 1},
        {"task_name": "a", "rows": 1},
    ]
