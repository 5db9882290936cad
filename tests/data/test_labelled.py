"""Labelled texts: every kind of source is read alike, and every kind of bad source is refused by name."""

from __future__ import annotations

import json
import tracemalloc

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from helpers import files_under

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data.labelled import read_labelled
from gisttools.data.mteb_tasks import load_task, mteb_task
from gisttools.data.options import ReadOptions

TEXTS = ['He said "no",\nthen left', "naïve café 🙂", "plain", " two\u2028lines"]
LABELS = ["b", "a", "b", "a"]
FRAME = pd.DataFrame({"text": TEXTS, "label": LABELS})


def write(frame: pd.DataFrame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        lines = [json.dumps(r, ensure_ascii=False) for r in frame.to_dict("records")]
        path.write_bytes("\r\n".join(["", *lines, ""]).encode("utf-8-sig"))
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False, encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_files_with_bom_quotes_and_line_ends_are_read_as_they_are(tmp_path, ending):
    read = read_labelled(write(FRAME, tmp_path / f"mine.{ending}"))
    assert (read.texts, read.labels) == (TEXTS, LABELS)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_folder_holds_a_file_for_each_split(tmp_path, ending):
    write(FRAME, tmp_path / f"train.{ending}")
    write(FRAME[1:3], tmp_path / f"test.{ending}")
    assert read_labelled(tmp_path).texts == TEXTS
    assert read_labelled(str(tmp_path), ReadOptions(split="test")).texts == TEXTS[1:3]


def test_a_data_frame_is_read_in_place():
    read = read_labelled(FRAME)
    assert (read.texts, read.labels, read.source) == (TEXTS, LABELS, "DataFrame")


@pytest.mark.parametrize(
    ("labels", "names"),
    [([1, 0, 1, 0], "1010"), ([1.0, 0.0, 1.0, 0.0], "1010"), ([True, False, True, False], None)],
)
def test_numbers_as_labels_become_names_without_decimals(labels, names):
    read = read_labelled(FRAME.assign(label=labels))
    assert read.labels == (list(names) if names else ["True", "False", "True", "False"])


def test_int_labels_of_a_file_equal_those_of_a_data_frame(tmp_path):
    frame = FRAME.assign(label=[3, 10, 3, 10])
    wanted = read_labelled(frame).labels
    for ending in ("csv", "jsonl", "parquet"):
        assert read_labelled(write(frame, tmp_path / f"n.{ending}")).labels == wanted == ["3", "10", "3", "10"]


def test_the_words_null_and_na_are_texts_and_labels(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nnull,NA\nnone,None\n", encoding="utf-8")
    read = read_labelled(tmp_path / "t.csv")
    assert (read.texts, read.labels) == (["null", "none"], ["NA", "None"])


def test_told_columns_win_over_the_usual_ones():
    frame = FRAME.assign(body=["w", "x", "y", "z"], kind=["1", "2", "2", "1"])
    read = read_labelled(frame, ReadOptions(text_column="body", label_column="kind"))
    assert (read.texts, read.labels) == (["w", "x", "y", "z"], ["1", "2", "2", "1"])


def test_lists_of_labels_make_a_multi_label_set_in_files_and_frames(tmp_path):
    frame = FRAME.assign(label=[["a", "b"], ["b"], ["c", "a"], ["a"]])
    wanted = [("a", "b"), ("b",), ("a", "c"), ("a",)]
    for source in (frame, write(frame, tmp_path / "m.jsonl"), write(frame, tmp_path / "m.parquet")):
        read = read_labelled(source)
        assert (read.label_sets, read.labels[0]) == (wanted, "a | b")
    assert read.classes == {"a": 3, "b": 2, "c": 1}


def test_ids_that_repeat_are_refused_unless_they_are_no_ids(tmp_path):
    path = write(FRAME.assign(id=["1", "2", "1", "3"]), tmp_path / "i.csv")
    with pytest.raises(DataError, match=r"ids come more than once: '1' \(2 times\); set id_column to None"):
        read_labelled(path)
    assert len(read_labelled(path, ReadOptions(id_column=None))) == 4
    with pytest.raises(DataError, match="no column 'uid'"):
        read_labelled(path, ReadOptions(id_column="uid"))


def test_dropped_rows_are_counted_if_asked_for():
    frame = FRAME.assign(text=["a", "", "c", None], label=["x", "y", "y", None])
    read = read_labelled(frame, ReadOptions(drop_empty=True))
    assert (read.texts, read.labels, read.dropped) == (["a", "c"], ["x", "y"], {"empty text": 2})
    frame = FRAME.assign(label=["x", None, "y", ""])
    assert read_labelled(frame, ReadOptions(drop_unlabelled=True)).dropped == {"no label": 2}


def test_an_encoding_is_told_for_a_file(tmp_path):
    (tmp_path / "t.csv").write_bytes("text,label\ncafé,a\nthé,b\n".encode("windows-1252"))
    assert read_labelled(tmp_path / "t.csv", ReadOptions(encoding="windows-1252")).texts == ["café", "thé"]


def test_a_column_of_a_frame_that_comes_twice_is_refused():
    with pytest.raises(DataError, match="DataFrame has the column 'text' more than once"):
        read_labelled(pd.concat([FRAME, FRAME[["text"]]], axis=1))


def test_only_one_subset_is_read_at_a_time():
    with pytest.raises(ParameterError, match="read_sources reads several"):
        read_labelled("MassiveIntentClassification", ReadOptions(subset=["de", "en"]))


class Hub:
    """Stands for `datasets.load_dataset`: keeps what it was asked for."""

    def __init__(self):
        features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
        self.data = Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, -1]}, features=features)
        self.asked = None

    def __call__(self, *args, **told):
        self.asked = (*args, *told.values())
        return self.data


@pytest.mark.parametrize(
    ("name", "told", "asked"),
    [
        ("org/set", {}, ("org/set", None, "train", None)),
        ("org/set#de@v1:dev", {}, ("org/set", "de", "dev", "v1")),
        ("org/set", {"subset": "de", "revision": "v1", "split": "dev"}, ("org/set", "de", "dev", "v1")),
        ("org/set@v2:test", {"revision": "v1", "split": "dev"}, ("org/set", None, "test", "v2")),
    ],
)
def test_a_hub_set_is_read_by_name_or_by_arguments_and_the_name_wins(monkeypatch, name, told, asked):
    hub = Hub()
    monkeypatch.setattr("datasets.load_dataset", hub)
    read = read_labelled(name, ReadOptions(drop_unlabelled=True, **told))
    assert hub.asked == asked
    assert (read.texts, read.labels, read.split, read.dropped) == (["a", "b"], ["no", "yes"], asked[2], {"no label": 1})


def test_the_commit_of_a_hub_set_is_kept_where_the_library_knows_it(monkeypatch):
    hub, commit = Hub(), "d" * 40
    hub.data.info.download_checksums = {f"hf://datasets/org/set@{commit}/train.csv": {}}
    monkeypatch.setattr("datasets.load_dataset", hub)
    assert read_labelled("org/set@main", ReadOptions(drop_unlabelled=True)).revision == commit


def test_columns_that_are_not_asked_for_take_no_memory(tmp_path):
    path = tmp_path / "wide.csv"
    with open(path, "w") as file:
        file.write("text,label,other\n")
        file.writelines(f"text number {i},label {i % 9},{'x' * 10_000}\n" for i in range(2_000))
    tracemalloc.start()
    try:
        assert len(read_labelled(path)) == 2_000
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 8_000_000, "the file has 20 MB"


def test_classes_count_the_largest_first():
    assert list(read_labelled(FRAME.assign(label=["x", "y", "y", "y"])).classes.items()) == [("y", 3), ("x", 1)]


def test_a_missing_column_is_named_with_the_columns_there_are():
    with pytest.raises(DataError, match=r"none of the usual text columns.*Columns found: body, label.*Set text_column"):
        read_labelled(FRAME.rename(columns={"text": "body"}))


def test_a_told_column_that_is_not_there_has_a_suggestion():
    with pytest.raises(DataError, match=r"no column 'lable'. Did you mean 'label'\?.*Set label_column"):
        read_labelled(FRAME, ReadOptions(label_column="lable"))


@pytest.mark.parametrize("kind", ["object", "string"])
def test_empty_texts_and_labels_are_listed_together(kind):
    frame = pd.DataFrame(
        {
            "text": pd.array(["a", " ", None, "d"], dtype=kind),
            "label": pd.array(["x", "x", "y", None], dtype=kind),
        }
    )
    with pytest.raises(DataError) as caught:
        read_labelled(frame)
    assert "2 problem(s)" in str(caught.value)
    assert "'text' is empty or no text in row(s) 1, 2" in str(caught.value)
    assert "'label' is empty in row(s) 3" in str(caught.value)


def test_missing_whole_numbers_are_missing_labels():
    with pytest.raises(DataError, match=r"'label' is empty in row\(s\) 2"):
        read_labelled(FRAME.assign(label=pd.array([1, 2, None, 1], dtype="Int64")))


def test_one_class_only_is_refused_with_its_name():
    with pytest.raises(DataError, match="there is only the label 'x'; at least two classes are needed"):
        read_labelled(FRAME.assign(label="x"))


def test_no_rows_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(DataError, match="there are no rows at all"):
        read_labelled(tmp_path / "t.csv")


def test_numbers_are_no_texts():
    with pytest.raises(DataError, match="'text' is empty or no text"):
        read_labelled(FRAME.assign(text=[1, 2, 3, 4]))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "t.csv",
            b"text,label\nhello, you,greeting\n",
            "more or fewer fields than the header, which has 2.\n  - line 2: 3",
        ),
        ("t.csv", b"text,label\na,b\nhello, you,greeting\n", "cannot be read as csv"),
        ("t.csv", "text,label\ncafé,a\n".encode("latin-1"), "is not UTF-8: line 2 holds the byte 0xe9"),
        ("t.csv", b"", "cannot be read as csv"),
        ("t.jsonl", b'{"text": "a", "label": ', "cannot be read as jsonl"),
        ("t.parquet", b"PAR1", "cannot be read as parquet"),
        ("t.docx", b"", "unknown ending '.docx'. Use one of .csv"),
        ("t.xlsx", b"text,label", "cannot be read as xlsx: it is no workbook"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused_by_name(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_labelled(tmp_path / name)
    assert expected in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere", "./nowhere"])
def test_a_missing_file_or_folder_is_named(tmp_path, name):
    wanted = name if name.startswith(".") else str(tmp_path / name)
    with pytest.raises(MissingError, match=r"There is no file.*nowhere"):
        read_labelled(wanted)


def test_a_folder_without_the_split_says_which_file_it_wants(tmp_path):
    write(FRAME, tmp_path / "train.csv")
    with pytest.raises(MissingError, match=r"test\.jsonl"):
        read_labelled(tmp_path, ReadOptions(split="test"))


def test_an_unknown_task_has_a_suggestion():
    with pytest.raises(MissingError, match=r"no MTEB task 'Bankin77Classification'. Did you mean 'Banking77Class"):
        read_labelled("Bankin77Classification")


def test_a_task_without_labels_is_refused():
    with pytest.raises(DataError, match="STSBenchmark is of type STS"):
        read_labelled("STSBenchmark")


def test_a_hub_data_set_out_of_reach_is_named_and_leaves_nothing(results):
    with pytest.raises(MissingError, match=r"Data set nobody/nothing-here .* cannot be read.*Check the names"):
        read_labelled("nobody/nothing-here")
    assert files_under(results) == []


def test_a_task_whose_data_is_out_of_reach_is_named_with_its_revision():
    task = mteb_task("Banking77Classification")
    with pytest.raises(MissingError, match=r"Banking77Classification \(mteb/banking77 at revision .*set HF_HOME"):
        load_task(task)
