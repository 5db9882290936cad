"""Every reader takes any file: its rows, or one error of ours that names the file. No other exception, no hang."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset
from helpers import PROMPTS_FOLDER
from hypothesis import HealthCheck, given, settings, strategies as st

from gisttools.common.errors import GistError
from gisttools.data.files import read_lines, read_rows
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.labelled import read_labelled
from gisttools.data.sources import kind_of
from gisttools.data.triplet_sets import triplet_tables
from gisttools.data.triplets import read_triplets
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import read_task, read_texts
from gisttools.workflow.recipes import read_recipe

LABELLED = [{"text": f"some text no. {i}", "label": "xy"[i % 2], "n": i} for i in range(6)]
TRIPLETS = [{"anchor": f"some a {i}", "positive": f"some p {i}", "negatives": ["n one", "n two"]} for i in range(4)]
FOREIGN = [{"query": f"a q {i}", "pos": [f"a p {i}", "another p"], "neg": ["a n"], "task": "t"} for i in range(4)]
ODD = [None, 1, -1.5, True, "", "\x00", "é", "\ud800", "\u202e", "nan", [], [[]], ["a", None], {}, {"a": {"b": []}},
       "x" * 200_000, 10**30, float("inf"), [1, "a"], [{"text": "a"}], "['a', 'b']", "[1, 2", "{",
       b"\xff\xfe"]  # fmt: skip
KINDS = [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".tsv.zst", ".jsonl.gz", ".jsonl.zst", ".json.gz",
         ".json.zst"]  # fmt: skip
SLOWEST = 5.0  # seconds of one file
EXAMPLES = int(os.environ.get("GISTTOOLS_FUZZ", "5"))  # of each test; hundreds find more, and take minutes
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path_factory.mktemp("cache")))


def content_of(rows: list[dict], kind: str) -> bytes:
    """The rows as a file; cells that a format cannot hold are left out."""
    plain = kind.split(".")[1]
    if plain == "parquet":
        sink = io.BytesIO()
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: as_column([row.get(name) for row in rows]) for name in names}
        pq.write_table(pa.table(columns), sink)
        return sink.getvalue()
    if plain in ("csv", "tsv"):
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter="\t" if plain == "tsv" else ",")
        writer.writerow(rows[0])
        writer.writerows([json.dumps(c) if isinstance(c, list | dict) else c for c in row.values()] for row in rows)
        whole = text.getvalue()
    else:
        lines = [json.dumps(row, default=str) for row in rows]
        whole = "\n".join(lines) if plain == "jsonl" else f"[{','.join(lines)}]"
    return packed(whole.encode("utf-8", "surrogatepass"), kind)


def packed(content: bytes, kind: str) -> bytes:
    if kind.endswith(".gz"):
        return gzip.compress(content)
    return pa.compress(content, "zstd", asbytes=True) if kind.endswith(".zst") else content


def as_column(cells: list) -> pa.Array:
    try:
        column = pa.array(cells)
        pq.write_table(pa.table({"x": column}), io.BytesIO())  # which refuses some types
        return column
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return pa.array([str(cell).encode("utf-8", "replace").decode() for cell in cells])


@st.composite
def spoilt(draw: st.DrawFn, content: bytes, kind: str = "") -> bytes:
    """The bytes of a file, damaged in one of many ways."""
    how = draw(
        st.sampled_from(["cut", "flip", "insert", "utf-16", "latin-1", "mark", "crlf", "cr", "nul", "again", "drop"])
    )
    at = draw(st.integers(0, len(content)))
    if how in ("utf-16", "latin-1", "mark", "crlf", "cr") and kind.endswith((".gz", ".zst", ".parquet", ".arrow")):
        how = "flip"
    if how == "cut":
        return content[:at]
    if how == "flip":
        damaged = bytearray(content)
        for place in draw(st.lists(st.integers(0, max(len(content) - 1, 0)), min_size=1, max_size=8)):
            if damaged:
                damaged[place] ^= 1 << draw(st.integers(0, 7))
        return bytes(damaged)
    if how == "insert":
        return (
            content[:at]
            + draw(st.binary(max_size=20) | st.sampled_from([b'"', b",", b"\t", b"[" * 3000, b"\n\n", b"{"]))
            + content[at:]
        )
    if how == "drop":
        return content[:at] + content[at + draw(st.integers(1, 30)) :]
    text = content.decode("utf-8", "ignore")
    return {
        "utf-16": lambda: text.encode("utf-16", "surrogatepass"),
        "latin-1": lambda: f"{text}é".encode("latin-1", "ignore"),
        "mark": lambda: b"\xef\xbb\xbf" + content,
        "crlf": lambda: content.replace(b"\n", b"\r\n"),
        "cr": lambda: content.replace(b"\r\n", b"\r").replace(b"\n", b"\r"),
        "nul": lambda: content[:at] + b"\x00" * draw(st.integers(1, 5)) + content[at:],
        "again": lambda: content + content,
    }[how]()


@st.composite
def odd_rows(draw: st.DrawFn, rows: list[dict]) -> list[dict]:
    """Rows some of whose cells, names or numbers of cells are not what a reader hopes for."""
    rows = [dict(row) for row in rows[: draw(st.integers(1, len(rows)))]]
    for _ in range(draw(st.integers(1, 3))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        name = draw(st.sampled_from(sorted(rows[0])))
        what = draw(st.sampled_from(["cell", "missing", "more", "name"]))
        if what == "cell":
            row[name] = draw(st.sampled_from(ODD) | st.text(max_size=5) | st.integers())
        elif what == "missing":
            row.pop(name, None)
        else:
            new = draw(st.sampled_from(["", "Unnamed: 0", name.upper(), "negative_1", "negativ", "score", "\x00"]))
            row[new] = draw(st.sampled_from(ODD)) if what == "more" else row.pop(name, None)
    return rows


def refused_or_read(read: Callable[[Path], object], path: Path, named: str) -> None:
    begin, said = time.monotonic(), named
    try:
        read(path)
    except GistError as error:
        said = str(error)
    assert named in said
    assert time.monotonic() - begin < SLOWEST


def all_of(read: Callable) -> Callable[[Path], object]:
    return lambda path: list(read(path))


READERS: dict[str, tuple[list[dict], Callable[[Path], object]]] = {
    "rows": (LABELLED, all_of(read_rows)),
    "labelled": (LABELLED, read_labelled),
    "kind": (FOREIGN, kind_of),
    "triplets": (TRIPLETS, read_triplets),
    "foreign": (FOREIGN, lambda path: triplet_tables([path])),
    "texts": (LABELLED, read_texts),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
@BOUNDED
@given(data=st.data())
def test_a_damaged_file_of_rows_is_read_or_refused_by_name(tmp_path, kind, reader, data):
    rows, read = READERS[reader]
    path = tmp_path / f"fuzzed{kind}"
    plain = content_of(rows, kind.removesuffix(".gz").removesuffix(".zst"))
    content = packed(data.draw(spoilt(plain, kind.removesuffix(".gz").removesuffix(".zst"))), kind)
    path.write_bytes(data.draw(spoilt(content, kind)) if data.draw(st.booleans()) else content)
    refused_or_read(read, path, path.name)


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("reader", READERS)
@BOUNDED
@given(data=st.data())
def test_odd_rows_are_read_or_refused_by_name(tmp_path, kind, reader, data):
    rows, read = READERS[reader]
    path = tmp_path / f"fuzzed{kind}"
    path.write_bytes(content_of(data.draw(odd_rows(rows)), kind))
    refused_or_read(read, path, path.name)


@pytest.mark.parametrize("ending", [".txt", ".txt.gz", ".txt.zst"])
@BOUNDED
@given(data=st.data())
def test_a_damaged_file_of_lines_is_read_or_refused_by_name(tmp_path, ending, data):
    path = tmp_path / f"fuzzed{ending}"
    path.write_bytes(data.draw(spoilt(packed("one line\nänother\n".encode() * 9, ending), ending)))
    refused_or_read(all_of(read_lines), path, path.name)


TASK = yaml.safe_dump({
    "name": "pets", "kind": "classification", "description": "Pets.", "domain": "a forum", "language": "eng-Latn",
    "labels": {n: {"about": f"of {n}", "seeds": [f"my {n}"]} for n in ("cat", "dog")}, "forbidden": ["x+y"],
})  # fmt: skip
YAML = {
    "task": (TASK, read_task),
    "prompt": ((PROMPTS_FOLDER / "classification.yaml").read_text(encoding="utf-8"), load_prompt),
    "recipe": ("name: r\nsteps:\n- {name: a, notebook: convert, parameters: {sources: [x]}}\n", read_recipe),
}


@pytest.mark.parametrize("form", YAML)
@settings(BOUNDED, max_examples=2 * EXAMPLES)
@given(data=st.data())
def test_a_damaged_yaml_file_is_read_or_refused_by_name(tmp_path, form, data):
    text, read = YAML[form]
    path = tmp_path / "fuzzed.yaml"
    path.write_bytes(data.draw(spoilt(text.encode())))
    refused_or_read(read, path, path.name)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["{{", "{{ x.y }}", "(a+"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("form", YAML)
@settings(BOUNDED, max_examples=2 * EXAMPLES)
@given(data=st.data())
def test_any_value_under_any_key_of_a_yaml_file_is_read_or_refused_by_name(tmp_path, form, data):
    text, read = YAML[form]
    content = yaml.safe_load(text)
    for _ in range(data.draw(st.integers(1, 2))):
        node = content
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            if not keys:
                break
            key = data.draw(st.sampled_from(list(keys)))
            if isinstance(node[key], dict | list) and data.draw(st.booleans()):
                node = node[key]
                continue
            node[key] = data.draw(VALUES)
            break
    path = tmp_path / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    refused_or_read(read, path, path.name)


def beir(folder: Path) -> None:
    texts = [{"_id": f"{i}", "title": "t", "text": f"a text {i}"} for i in range(3)]
    judged = [{"query-id": "0", "corpus-id": "1", "score": 1}, {"query-id": "1", "corpus-id": "2", "score": 1}]
    for name, rows in (("corpus.jsonl", texts), ("queries.jsonl", texts[:2]), ("qrels/test.tsv", judged)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content_of(rows, Path(name).suffix))


def split(folder: Path) -> None:
    for name in ("train.jsonl", "test.csv"):
        (folder / name).write_bytes(content_of(LABELLED, Path(name).suffix))


def pairs(folder: Path) -> None:
    rows = [{"sentence1": f"a {i}", "sentence2": f"b {i}", "score": i / 2} for i in range(4)]
    (folder / "test.parquet").write_bytes(content_of(rows, ".parquet"))


def ranked(folder: Path) -> None:
    rows = [{"query": f"a {i}", "positive": ["b"], "negative": [f"c {i}", "d"]} for i in range(3)]
    (folder / "test.jsonl").write_bytes(content_of(rows, ".jsonl"))


@pytest.mark.parametrize("make", [beir, split, pairs, ranked])
@BOUNDED
@given(data=st.data())
def test_a_damaged_evaluation_folder_is_read_or_refused_by_name(tmp_path, make, data):
    folder = tmp_path / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    make(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for file in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=2)):
        file.write_bytes(data.draw(spoilt(file.read_bytes(), file.suffix)))
    refused_or_read(local_tasks, folder, "fuzzed")


@pytest.mark.parametrize("read", [read_labelled, lambda path: triplet_tables([path])], ids=["labelled", "triplets"])
@BOUNDED
@given(data=st.data())
def test_a_damaged_folder_of_save_to_disk_is_read_or_refused_by_name(tmp_path, read, data):
    folder, whole = tmp_path / "fuzzed", tmp_path / "whole"
    if not whole.exists():
        Dataset.from_list([a | {"query": b["query"], "pos": b["pos"]} for a, b in zip(LABELLED, FOREIGN, strict=False)]
                          ).save_to_disk(whole)  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    file.write_bytes(data.draw(spoilt(file.read_bytes(), file.suffix)))
    refused_or_read(read, folder, "fuzzed")
