"""Labels to repair: found by a classifier that has not seen the text, written to be edited, and read back."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from gisttools.common import DataError, ParameterError
from gisttools.data import ReadOptions, read_labelled
from gisttools.mining import MiningOptions, convert, labels_to_repair

WORDS = {"x": ["tent", "rope", "stove"], "y": ["wine", "cheese", "bread"], "z": ["disk", "screen", "cable"]}


class BagOfWords:
    """A guide whose vectors count words."""

    guide_id = "words"
    known = sorted(word for words in WORDS.values() for word in words)

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    def add(self, texts):
        return np.array([self.rows.setdefault(text, len(self.rows)) for text in texts], dtype=np.int64)

    def vectors(self, rows):
        texts = list(self.rows)
        found = np.array([[texts[r].split().count(w) + 0.01 for w in self.known] for r in rows.tolist()], np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def data(n: int = 90):
    draw = random.Random(0)
    labels = ["xyz"[i % 3] for i in range(n)]
    texts = [
        f"{draw.choice(WORDS[k])} {draw.choice(WORDS[k])} {draw.randrange(10**9)} {i}" for i, k in enumerate(labels)
    ]
    return texts, labels


def test_wrong_labels_come_first_with_the_right_suggestion_whatever_the_order():
    texts, labels = data()
    wrong = {4: "x", 11: "y", 30: "z"}
    noisy = [wrong.get(i, label) for i, label in enumerate(labels)]
    found = labels_to_repair(texts, noisy, BagOfWords())
    assert dict(zip(found["text"], found["suggested"], strict=True)) == {texts[i]: labels[i] for i in wrong}
    assert found["new_label"].tolist() == found["label"].tolist()
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    again = labels_to_repair([texts[i] for i in order], [noisy[i] for i in order], BagOfWords())
    assert again["text"].tolist() == found["text"].tolist()
    np.testing.assert_allclose(again["score"], found["score"], atol=1e-4)


def test_a_near_copy_does_not_vouch_for_a_wrong_label():
    texts, labels = data()
    copies = [f"{texts[4]}{mark}" for mark in ("", ".", "!", "?", " .", " !", "..", "!!")]
    found = labels_to_repair([*texts, *copies[1:]], [*labels, *["z"] * 7], BagOfWords())
    assert set(copies[1:]) <= set(found["text"])
    assert set(found["suggested"]) == {"y"}


@pytest.mark.parametrize("few", [[], ["a"], ["a", "b", "c"]])
def test_of_few_texts_nothing_is_said(few):
    assert labels_to_repair(few, ["x", "y", "x"][: len(few)], BagOfWords()).empty


def written(path, lines, separator=","):
    pd.DataFrame(lines, columns=["text", "label", "suggested", "new_label"]).to_csv(path, sep=separator, index=False)
    return str(path)


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_changed_label_counts_an_emptied_one_drops_and_an_equal_one_does_nothing(tmp_path, separator):
    frame = pd.DataFrame({"text": ["A a", "b", "c", "d"], "label": ["x", "x", "y", 1.0]})
    lines = [
        ("a  A".replace("a  A", "A  a"), "x", "y", "y"),
        ("b", "x", "y", ""),
        ("c", "y", "x", "y"),
        ("d", 1, "x", 1),
    ]
    found = read_labelled(frame, ReadOptions(relabel=written(tmp_path / "r.csv", lines, separator)))
    assert (found.texts, found.labels) == (["A a", "c", "d"], ["y", "y", "1"])
    assert (found.relabelled, found.dropped) == (1, {"dropped by relabel": 1})


def test_a_split_is_the_same_with_other_labels(tmp_path):
    texts, labels = data()
    frame = pd.DataFrame({"text": texts, "label": labels})
    more = {"relabel": written(tmp_path / "r.csv", [(texts[0], "x", "y", "y")])}
    for split in ("train", "test"):
        plain = read_labelled(frame, ReadOptions(test_share=0.3, split=split))
        told = read_labelled(frame, ReadOptions(test_share=0.3, split=split, **more))
        assert plain.texts == told.texts


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([("a", "x", "", "y"), ("A", "x", "", "z")], "row 1 decides 'A' otherwise"),
        ([("a", None, "", "y")], "row 0 has no text, or no label"),
    ],
)
def test_decisions_that_cannot_be_followed_are_refused(tmp_path, lines, why):
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
    with pytest.raises(DataError, match=why):
        read_labelled(frame, ReadOptions(relabel=written(tmp_path / "r.csv", lines)))


def test_a_file_without_the_column_is_refused_with_what_it_has(tmp_path):
    (tmp_path / "r.csv").write_text("text,label\na,x\n")
    with pytest.raises(DataError, match=r"no column new_label or decision\. Columns found: text, label"):
        read_labelled(
            pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]}), ReadOptions(relabel=str(tmp_path / "r.csv"))
        )


def test_what_a_conversion_writes_is_read_back_by_the_next(tmp_path, cache):
    rows = "".join(f'{{"text": "{t}", "label": "{k}"}}\n' for t, k in zip(*data(), strict=True))
    (tmp_path / "t.jsonl").write_text(rows)
    made = convert([str(tmp_path / "t.jsonl")], cache)
    made.save(tmp_path)
    file = tmp_path / "labels_to_repair.csv"
    assert pd.read_csv(file)["text"].tolist() == made.repairs["text"].tolist()
    text, label = data()[0][0], data()[1][0]
    more = pd.DataFrame([{"text": text, "label": label, "new_label": "y"}])
    pd.concat([pd.read_csv(file), more]).to_csv(file, index=False)
    again = convert([str(tmp_path / "t.jsonl")], cache, reading=ReadOptions(relabel=str(file)))
    assert again.summary["sources"][0]["relabelled"] == 1
    assert "1 labels were changed by relabel" in again.card.markdown()
    assert dict(zip(again.data[0].texts, again.data[0].labels, strict=True))[text] == "y"


def test_texts_of_doubted_labels_are_left_out_where_asked_for(tmp_path, cache):
    """Those by the margin that is told, from triplets and classes alike; the table still lists them."""
    texts, labels = data()
    wrong = {4: "x", 11: "y", 30: "z"}
    noisy = [wrong.get(i, label) for i, label in enumerate(labels)]
    rows = "".join(f'{{"text": "{t}", "label": "{k}"}}\n' for t, k in zip(texts, noisy, strict=True))
    (tmp_path / "t.jsonl").write_text(rows)
    whole = convert([str(tmp_path / "t.jsonl")], cache)
    doubt = whole.repairs["suggested_score"] - whole.repairs["score"]
    least = float(doubt.median())
    some = convert([str(tmp_path / "t.jsonl")], cache, mining=MiningOptions(drop_doubted=least))
    gone = set(whole.repairs["text"][doubt >= least])
    assert gone
    assert set(texts) - set(some.data[0].texts) == gone
    assert not gone & {t for row in some.triplets for t in (row["anchor"], row["positive"], *row["negatives"])}
    assert some.summary["sources"][0]["dropped"] == {"label doubted by the guide": len(gone)}
    assert some.repairs.equals(whole.repairs)


def test_doubt_that_nobody_measures_is_refused(tmp_path, cache):
    (tmp_path / "t.jsonl").write_text(
        "".join(f'{{"text": "where is parcel {i}", "label": ["a", "b"]}}\n' for i in range(12))
    )
    with pytest.raises(ParameterError, match=r"drop_doubted is 0\.2, but .* has texts of several labels"):
        convert([str(tmp_path / "t.jsonl")], cache, mining=MiningOptions(drop_doubted=0.2))
