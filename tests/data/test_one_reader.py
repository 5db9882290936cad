"""One reader of rows: every place that takes a file reads the same cells from every format, and each file once."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gisttools.common.errors import DataError
from gisttools.data.folder_rows import read_pairs, read_splits
from gisttools.data.folders import eval_folder
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.data.sources import kind_of
from gisttools.data.triplet_sets import read_hub_triplets, triplet_tables
from gisttools.data.triplets import read_triplets
from gisttools.models.guides import GivenVectors
from gisttools.synthesis.task import read_texts
from gisttools.training.retention import _texts_of

PLAIN = [".csv", ".tsv", ".jsonl", ".json", ".parquet"]
FORMATS = [*PLAIN, ".csv.gz", ".tsv.zst", ".jsonl.gz", ".json.gz", ".jsonl.zst"]
WORDS = ["NA", "null", "None", "nan", "N/A", "007", "7.0", "1e5", "TRUE", "-"]  # strings that stay what they are
MISSING = "(a missing cell)"
Rows = list[dict[str, object]]


def written(rows: Rows, path: Path, encoding: str = "utf-8") -> Path:
    """The rows as a file of the path's ending; `MISSING` is null, in CSV an empty cell."""
    rows = [{name: None if cell is MISSING else cell for name, cell in row.items()} for row in rows]
    kind = path.suffixes[0]
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if kind == ".jsonl":
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    elif kind == ".json":
        text = json.dumps(rows, ensure_ascii=False)
    else:
        sink = io.StringIO(newline="")
        writer = csv.DictWriter(sink, list(rows[0]), delimiter="\t" if kind == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = sink.getvalue()
    content = text.encode(encoding)
    if path.suffix == ".gz":
        content = gzip.compress(content)
    path.write_bytes(pa.compress(content, "zstd", asbytes=True) if path.suffix == ".zst" else content)
    return path


# places that read labels: the labels by their texts, None or nothing where there is none


def labelled(path: Path, labels: Sequence) -> dict:
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate([*labels, "x", "y"])]
    read = read_labelled(written(rows, path), ReadOptions(drop_unlabelled=True))
    return dict(zip(read.texts, read.labels, strict=True))


def evaluation_folder(path: Path, labels: Sequence) -> dict:
    """Where a text without a label is refused, not left out."""
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate([*labels, "x", "y"])]
    for split in ("train", "test"):
        written(rows, path.with_name(path.name.replace("rows", split)))
    with pytest.raises(DataError) as caught:
        read_splits(eval_folder(path.parent))
    missing = [i for i, label in enumerate(labels) if label is MISSING or label in ("", " ")]
    assert str(caught.value).count(f"'label' is empty in row(s) {', '.join(map(str, missing))}\n") == 2
    for split in ("train", "test"):
        there = [row for i, row in enumerate(rows) if i not in missing]
        written(there, path.with_name(path.name.replace("rows", split)))
    test = read_splits(eval_folder(path.parent)).test
    return dict(zip(test.texts, test.labels, strict=True))


def triplet_rows(labels: Sequence, anchor: str, positive: str) -> Rows:
    named = enumerate(labels)
    return [{anchor: f"text {i}", positive: "p", "anchor_label": x, "positive_label": x} for i, x in named]


def as_dict(table) -> dict:
    assert table["anchor_label"][:] == table["positive_label"][:]
    return dict(zip(table["anchor"][:], table["anchor_label"][:], strict=True))


def triplet_table(path: Path, labels: Sequence) -> dict:
    return as_dict(read_triplets(written(triplet_rows(labels, "anchor", "positive"), path)))


def triplet_table_by_name(path: Path, labels: Sequence) -> dict:
    (table,) = triplet_tables([written(triplet_rows(labels, "anchor", "positive"), path)]).values()
    assert table.unique("source") == [None]  # a table of ours, no foreign set, whatever the format
    return as_dict(table)


def foreign_file(path: Path, labels: Sequence) -> dict:
    written(triplet_rows(labels, "query", "pos"), path)
    assert kind_of(path) == "triplets"
    (table,) = triplet_tables([path]).values()
    return as_dict(table)


def foreign_folder(path: Path, labels: Sequence) -> dict:
    written(triplet_rows(labels, "query", "pos"), path.with_name(path.name.replace("rows", "train")))
    return as_dict(read_hub_triplets(path.parent))


LABELS = [
    labelled,
    evaluation_folder,
    triplet_table,
    triplet_table_by_name,
    foreign_file,
    foreign_folder,
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path_factory.mktemp("cache")))


def read_labels(place: Callable, path: Path, labels: Sequence) -> list:
    found = place(path, labels)
    return [found.get(f"text {i}") for i in range(len(labels))]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("place", LABELS)
def test_a_label_is_its_string_everywhere_and_only_an_empty_cell_is_missing(tmp_path, place, ending):
    labels = [*WORDS, " stripped ", MISSING, "", " "]
    wanted = [*WORDS, "stripped", None, None, None]
    assert read_labels(place, tmp_path / f"rows{ending}", labels) == wanted


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ([7, 0, -1, MISSING], ["7", "0", "-1", None]),
        ([7.0, 1.5, 1e5, MISSING], ["7", "1.5", "100000", None]),
        ([True, False, MISSING], ["True", "False", None]),
    ],
    ids=["int", "float", "bool"],
)
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("place", LABELS)
def test_a_number_or_truth_value_as_a_label_has_one_name_everywhere(tmp_path, place, ending, labels, wanted):
    if ending == ".parquet" and place in (labelled, evaluation_folder):  # whose other rows hold strings
        labels = [label if label is MISSING else str(name) for label, name in zip(labels, wanted, strict=True)]
    assert read_labels(place, tmp_path / f"rows{ending}", labels) == wanted


@pytest.mark.parametrize("ending", FORMATS)
def test_labels_of_negatives_are_read_by_the_same_rule(tmp_path, ending):
    typed = file_is_typed(ending)
    names = ["007", "NA"] if ending == ".parquet" else ["007", None, 7]
    row = {"anchor": "a", "positive": "p", "negatives": list("nmo")[: len(names)], "negative_labels": names}
    cells = row if typed else {n: json.dumps(v) if isinstance(v, list) else v for n, v in row.items()}
    table = read_triplets(written([cells], tmp_path / f"rows{ending}"))
    assert table["negative_labels"][0] == (["007", "NA"] if ending == ".parquet" else ["007", None, "7"])


def file_is_typed(ending: str) -> bool:
    return not ending.startswith((".csv", ".tsv"))


# places that read texts


def seeds(path: Path, texts: Sequence) -> list:
    return read_texts(written([{"text": t, "n": 1} for t in texts], path))


def general_texts(path: Path, texts: Sequence) -> list:
    return [t for t in _texts_of(written([{"text": t, "n": 1} for t in texts], path)) if t.strip()]


def pairs(path: Path, texts: Sequence) -> list:
    """Where a missing text is refused."""
    rows = [{"sentence1": t, "sentence2": "b", "score": i} for i, t in enumerate(texts)]
    path = path.with_name(path.name.replace("rows", "test"))
    with pytest.raises(DataError, match=rf"'sentence1' is empty or no text in row\(s\) {len(WORDS)}, {len(WORDS) + 1}"):
        read_pairs(eval_folder(written(rows, path).parent))
    there = [row for row in rows if row["sentence1"] not in (MISSING, "")]
    return read_pairs(eval_folder(written(there, path).parent)).first


def triplets(path: Path, texts: Sequence) -> list:
    there = [t for t in texts if t not in (MISSING, "")]
    return read_triplets(written([{"anchor": t, "positive": t} for t in there], path))["anchor"][:]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("place", [seeds, general_texts, pairs, triplets])
def test_a_text_is_its_string_everywhere_and_only_an_empty_cell_is_missing(tmp_path, place, ending):
    assert place(tmp_path / f"rows{ending}", [*WORDS, MISSING, ""]) == WORDS


@pytest.mark.parametrize("ending", [e for e in FORMATS if e != ".parquet"])
def test_texts_of_given_vectors_are_read_alike(tmp_path, ending):
    np.save(tmp_path / "rows.npy", np.eye(len(WORDS), dtype=np.float32))
    written([{"text": t, "n": 1} for t in WORDS], tmp_path / f"rows{ending}")
    assert [text for texts, _ in GivenVectors(tmp_path / "rows.npy").items() for text in texts] == WORDS


@pytest.mark.parametrize("ending", [".txt", ".txt.gz", ".txt.zst"])
def test_a_file_of_lines_is_read_alike(tmp_path, ending):
    content = "\ufeff" + "\r\n".join([*WORDS, "two\u2028lines"]) + "\n"
    path, packed = tmp_path / f"rows{ending}", content.encode()
    if ending == ".txt.gz":
        packed = gzip.compress(packed)
    path.write_bytes(pa.compress(packed, "zstd", asbytes=True) if ending == ".txt.zst" else packed)
    np.save(tmp_path / "rows.npy", np.eye(len(WORDS) + 1, dtype=np.float32))
    given = [text for texts, _ in GivenVectors(tmp_path / "rows.npy").items() for text in texts]
    assert given == read_texts(path) == "\n".join(_texts_of(path)).split("\n") == [*WORDS, "two\u2028lines"]


# encodings

PLACES: list[tuple[dict, Callable]] = [
    ({"text": "é", "label": "x"}, lambda path: read_labelled(path).texts),
    ({"anchor": "é", "positive": "p"}, lambda path: read_triplets(path)["anchor"][:]),
    ({"query": "é", "pos": "p"}, lambda path: read_hub_triplets(path)["anchor"][:]),
    ({"text": "é"}, read_texts),
    ({"text": "é"}, lambda path: list(_texts_of(path))),
]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json", ".csv.gz"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize(("row", "read"), PLACES)
def test_text_is_utf8_with_or_without_a_mark_and_anything_else_is_refused_by_file_and_byte(
    tmp_path, row, read, encoding, ending
):
    rows = [row, {name: "x" if cell == "é" else "y" for name, cell in row.items()}]
    path = written(rows, tmp_path / f"rows{ending}", encoding)
    if encoding == "latin-1":
        with pytest.raises(DataError, match=r"rows\.\S+ is not UTF-8: line \d holds the byte 0xe9 after \d+ bytes"):
            read(path)
    else:
        assert read(path) == ["é", "x"]


# reading once


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads")
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json"])
@pytest.mark.parametrize(
    ("row", "read"), [({"text": "", "label": ""}, read_labelled), ({"anchor": "", "positive": ""}, read_triplets)]
)
def test_a_file_is_read_once(tmp_path, row, read, ending):
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    rows = [{name: f"{name} {i} {'x' * 1000}" for name in row} for i in range(1500)]
    path = written(rows, tmp_path / f"rows{ending}")
    read(written(rows[:2], tmp_path / f"two{ending}"))  # what modules read when they are first used
    before = bytes_read()
    read(path)
    assert path.stat().st_size <= bytes_read() - before < 1.05 * path.stat().st_size + 100_000
