"""A labelled file without a test part is split by content, the same for whoever reads it; columns can be named."""

from __future__ import annotations

import json
import random

import pandas as pd
import pytest

from gisttools.common import DataError, MissingError, ParameterError
from gisttools.data import (
    FileOptions,
    ReadOptions,
    eval_folder,
    eval_sets,
    find_overlap,
    kind_of,
    local_tasks,
    read_labelled,
)
from gisttools.training import DevelopmentScore

NAMED = {"text_column": "ticket_text", "label_column": "category"}
SHARE = FileOptions(**NAMED, test_share=0.2)
WORDS = ["parcel", "refund", "tent", "lamp", "invoice", "colour", "delivery", "voucher", "repair", "battery"]


def rows(n: int = 200, seed: int = 0) -> list[dict[str, str]]:
    """Texts of four labels, each fourth one with a near copy."""
    draw, found = random.Random(seed), []
    for i in range(n * 4 // 5):
        text = f"{' '.join(draw.sample(WORDS, 6))} number {draw.randrange(10**9)}"
        found.append({"ticket_text": text, "category": "abcd"[i % 4]})
        found += [{"ticket_text": f"{text}!", "category": "abcd"[i % 4]}] if i % 4 == 0 else []
    return found


def write(path, found, separator=";", encoding="utf-8"):
    pd.DataFrame(found).to_csv(path, index=False, sep=separator, encoding=encoding)
    return path


def part(path, split, **more):
    return read_labelled(path, ReadOptions(**(NAMED | {"test_share": 0.2, "split": split} | more)))


def test_both_sides_see_the_same_split_and_no_near_copy_crosses_it(tmp_path):
    file = write(tmp_path / "tickets.csv", rows())
    train, test = part(file, "train"), part(file, "test")
    assert sorted(train.texts + test.texts) == sorted(row["ticket_text"] for row in rows())
    assert train.parts == test.parts == {"train": len(train), "test": len(test)}
    assert 0.17 < len(test) / len(rows()) < 0.23
    assert not len(find_overlap(test.texts, train.texts))
    (scored, *_), sets = local_tasks(file, reading=SHARE), eval_sets(folders=[file], reading=SHARE)
    assert scored.dataset["train"]["text"][:] == train.texts
    assert scored.dataset["test"]["text"][:] == test.texts
    assert sets == {str(file): list(dict.fromkeys(test.texts))}


def test_the_order_of_rows_the_form_of_the_file_and_the_names_of_columns_change_nothing(tmp_path):
    wanted = sorted(part(write(tmp_path / "a.csv", rows()), "test").texts)
    mixed = rows()
    random.Random(1).shuffle(mixed)
    write(tmp_path / "b.tsv", mixed, "\t", "utf-16")
    assert sorted(part(tmp_path / "b.tsv", "test").texts) == wanted
    plain = [{"text": row["ticket_text"], "label": row["category"]} for row in rows()]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, plain)))
    options = ReadOptions(test_share=0.2, split="test")
    assert sorted(read_labelled(tmp_path, options).texts) == wanted, "a folder with a train file alone"
    assert sorted(read_labelled(pd.DataFrame(plain), options).texts) == wanted


def test_a_folder_that_has_a_test_file_is_not_split(tmp_path):
    write(tmp_path / "train.csv", rows(), ",")
    write(tmp_path / "test.csv", rows(40, seed=1), ",")
    assert len(part(tmp_path, "train")) == len(rows())
    assert part(tmp_path, "test").texts == [row["ticket_text"] for row in rows(40, seed=1)]


def test_development_texts_are_neither_trained_nor_tested_on(tmp_path):
    file = write(tmp_path / "tickets.csv", rows())
    parts = {split: part(file, split, dev_share=0.1).texts for split in ("train", "dev", "test")}
    assert sorted(text for texts in parts.values() for text in texts) == sorted(row["ticket_text"] for row in rows())
    assert parts["test"] == part(file, "test").texts, "the test part stays what it is without development texts"
    assert not len(find_overlap(parts["dev"], parts["train"] + parts["test"]))
    reading = FileOptions(**NAMED, test_share=0.2, dev_share=0.1)
    (task, *_) = local_tasks(file, split="dev", reading=reading)
    assert task.dataset["test"]["text"][:] == parts["dev"]
    assert task.dataset["train"]["text"][:] == parts["train"]
    DevelopmentScore([str(file)], reading=reading)
    with pytest.raises(MissingError, match=r"dev_share to 0\.2"):
        DevelopmentScore([str(file)], reading=SHARE)


@pytest.mark.parametrize("kind", ["", "#classification"])
def test_one_file_without_a_test_part_is_offered_the_split_and_nothing_else(tmp_path, kind):
    file = write(tmp_path / "tickets.csv", rows())
    with pytest.raises(MissingError, match=r"--test-share 0\.2") as caught:
        eval_folder(f"{file}{kind}", reading=FileOptions(**NAMED))
    for other in ("retrieval", "sts", "reranking", "corpus"):
        assert other not in str(caught.value)


@pytest.mark.parametrize("name", ["train.csv", "tickets.csv"])
def test_a_folder_without_a_test_file_is_offered_it_too(tmp_path, name):
    write(tmp_path / name, rows())
    with pytest.raises(MissingError, match=r"test_share to 0\.2") as caught:
        eval_folder(tmp_path, reading=FileOptions(**NAMED))
    assert "retrieval" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [FileOptions(text_column="ticket"), FileOptions(), SHARE.model_copy(update={"text_column": "ticket"})]
)
def test_a_wrong_column_is_asked_for_by_every_reader(tmp_path, options):
    file = write(tmp_path / "tickets.csv", rows())
    asked = r"Columns found: ticket_text, category\. Which one is the text\?"
    for read in (
        lambda: eval_folder(file, reading=options),
        lambda: read_labelled(file, ReadOptions(**options.model_dump())),
        lambda: kind_of(file, ReadOptions(**options.model_dump())),
    ):
        with pytest.raises(DataError, match=asked):
            read()


def test_a_file_of_pairs_is_scored_whole(tmp_path):
    write(tmp_path / "pairs.csv", [{"sentence1": "a b", "sentence2": "c d", "score": i} for i in range(4)], ",")
    assert eval_folder(tmp_path / "pairs.csv").kind == "sts"
    assert len(local_tasks(tmp_path / "pairs.csv", reading=FileOptions(test_share=0.5))[0].dataset["test"]) == 4


def test_a_named_column_says_that_labelled_texts_are_meant(tmp_path):
    found = [{"query": r["ticket_text"], "answer": r["ticket_text"][:9], "label": r["category"]} for r in rows()]
    file = write(tmp_path / "t.csv", found, ",")
    assert kind_of(file) == "triplets"
    assert kind_of(file, ReadOptions(text_column="query")) == "labelled"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"test_share": 0.0}, "test_share = 0.0"),
        ({"test_share": 1.0}, "test_share = 1.0"),
        ({"test_share": 0.6, "dev_share": 0.4}, "leave nothing to train on"),
        ({"text_column": "a", "label_column": "a"}, "are both 'a'"),
    ],
)
def test_shares_and_columns_that_make_no_sense_are_refused(told, why):
    with pytest.raises(ParameterError, match=why):
        FileOptions(**told)


def test_a_part_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="is split into train, test"):
        part(write(tmp_path / "tickets.csv", rows()), "dev")


def test_a_workbook_is_read_like_its_csv(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([None, None, None])
    sheet.append(["Nr", "ticket_text", "category"])
    for i, row in enumerate(rows()):
        sheet.append([i, row["ticket_text"], {"a": 1, "b": 2.0, "c": True, "d": "x"}[row["category"]]])
    sheet.append([999, None, None])
    book.create_sheet("notes").append(["nothing"])
    book.save(tmp_path / "t.xlsx")
    found = part(tmp_path / "t.xlsx", "train", test_share=None, drop_empty=True, drop_unlabelled=True)
    assert found.texts == [row["ticket_text"] for row in rows()]
    assert set(found.labels) == {"1", "2", "TRUE", "x"}
    assert sorted(part(tmp_path / "t.xlsx", "test", drop_empty=True).texts)
    assert local_tasks(tmp_path / "t.xlsx", reading=SHARE.model_copy(update={"drop_empty": True}))


@pytest.mark.parametrize("content", [b"", b"text,label", b"\xd0\xcf\x11\xe0 old", b"PK\x03\x04 broken"])
def test_what_is_no_workbook_is_refused(tmp_path, content):
    (tmp_path / "t.xlsx").write_bytes(content)
    with pytest.raises((DataError, MissingError), match=r"t\.xlsx"):
        read_labelled(tmp_path / "t.xlsx")
