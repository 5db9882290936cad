"""Converting: every text is accounted for, evaluation texts stay out, and what was made is told."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from helpers import MINILM, files_under

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data.labelled import ReadOptions, read_labelled
from gisttools.data.overlap import Tiers, table_texts
from gisttools.data.triplets import read_triplets
from gisttools.mining.converting import convert
from gisttools.mining.options import MiningOptions
from gisttools.models import VectorCache


def test_every_text_becomes_an_anchor_once(caretaker, guide):
    converted = convert([str(caretaker)], guide)
    assert sorted(converted.triplets["anchor"]) == sorted(read_labelled(caretaker).texts)
    (source,) = converted.summary["sources"]
    assert (source["texts"], source["classes"], source["triplets"], source["dropped"]) == (48, 4, 48, {})
    assert converted.summary["guide_id"] == guide.guide_id
    assert converted.summary["live_share"] == pytest.approx(sum(converted.triplets["live"]) / 48)
    assert converted.headline().startswith("48 triplets of 48 texts in 4 classes")


def test_rows_that_overlap_an_evaluation_set_are_left_out_and_listed(caretaker, guide):
    texts = read_labelled(caretaker).texts
    converted = convert([str(caretaker)], guide, eval_sets={"exam": [texts[0].upper(), texts[20] + "!"]})
    assert not {texts[0], texts[20]} & set(table_texts(converted.triplets))
    (source,) = converted.summary["sources"]
    assert source["dropped"] == {"overlaps an evaluation set": 48 - len(converted.triplets)}
    found = converted.overlap.drop_duplicates("text").set_index("text")
    assert found["tier"].to_dict() == {texts[0]: "exact", texts[20]: "near"}
    assert set(found["eval_set"]) == {"exam"}
    assert set(found["source"]) == {str(caretaker)}


def test_the_tiers_that_are_asked_for_decide(caretaker, guide):
    near = [read_labelled(caretaker).texts[20] + "!"]
    assert len(convert([str(caretaker)], guide, eval_sets={"exam": near}, tiers=Tiers(near=None)).triplets) == 48


def test_triplets_are_mined_inside_each_source(caretaker, guide, tmp_path):
    rows = [{"text": f"{label} {i}", "label": label} for label in ("red", "blue") for i in range(3)]
    (tmp_path / "colours.jsonl").write_text("\n".join(map(json.dumps, rows)))
    converted = convert([str(caretaker), str(tmp_path / "colours.jsonl")], guide)
    assert [s["triplets"] for s in converted.summary["sources"]] == [48, 6]
    for row in converted.triplets.to_list()[48:]:
        assert {row["anchor_label"], row["positive_label"], *row["negative_labels"]} <= {"red", "blue"}
        assert row["task_name"].endswith("colours.jsonl")


def test_triplets_and_scored_pairs_are_taken_over_and_scored_by_the_guide(caretaker, guide, tmp_path):
    (tmp_path / "bge.jsonl").write_text(json.dumps({"query": "q", "pos": ["p", "r"], "neg": ["n"]}))
    pairs = pd.DataFrame({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [4.5, 1.0]})
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    names = [str(tmp_path / "bge.jsonl"), str(caretaker), str(tmp_path / "pairs.csv")]
    converted = convert(names, guide, threshold=4.0)
    rows = {(r["anchor"], r["positive"]): r for r in converted.triplets.to_list()}
    assert {("q", "p"), ("q", "r"), ("a", "c")} <= set(rows)
    assert ("b", "d") not in rows
    assert rows["q", "p"]["guide_ap"] == pytest.approx(float(guide.embed(["q"])[0] @ guide.embed(["p"])[0]), abs=1e-5)
    assert [d.source for d in converted.data] == [str(caretaker)]


def test_options_of_reading_and_mining_are_passed_on(guide, tmp_path):
    (tmp_path / "t.csv").write_text("body,kind\nwarm,a\nhot,a\ncold,b\nfrosty,b\nlonely,c\n")
    reading = ReadOptions(text_column="body", label_column="kind")
    mining = MiningOptions(negatives=2, strategy="hard", margin=2.0, drop_singletons=True)
    converted = convert([str(tmp_path / "t.csv")], guide, reading=reading, mining=mining)
    assert converted.summary["strategy"] == "hard"
    assert converted.summary["sources"][0]["dropped"]["class of one text"] == 1
    assert {len(ns) for ns in converted.triplets["negatives"]} == {2}


def test_what_is_saved_can_be_read_again(caretaker, guide, tmp_path):
    (tmp_path / "one.csv").write_text("anchor,positive\na cat,a tomcat\n")
    converted = convert([str(caretaker), str(tmp_path / "one.csv")], guide)
    out = tmp_path / "out"
    converted.save(out)
    assert files_under(out) == [
        "data_card.json", "data_card.md", "labels_to_repair.csv", "overlap.parquet", "tables",
        "tables/01-caretaker.parquet",
        "tables/02-one.csv.parquet", "triplets.parquet",
    ]  # fmt: skip
    assert read_triplets(out).to_list() == converted.triplets.to_list()
    assert read_triplets(out / "tables" / "02-one.csv.parquet")["anchor"][:] == ["a cat"]
    facts = json.loads((out / "data_card.json").read_text(encoding="utf-8"))
    assert facts["triplets"] == 49
    assert "caretaker" in (out / "data_card.md").read_text(encoding="utf-8")


def test_labels_that_look_wrong_are_told_and_left_as_they_are(guide, tmp_path):
    rows = ["warm,a", "hot,a", "warm,b", "frosty,b", "icy,b"]
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(rows))
    converted = convert([str(tmp_path / "t.csv")], guide)
    (noise,) = converted.noise.values()
    assert set(noise.conflicts["label"]) == {"a", "b"}
    assert len(converted.data[0]) == 5
    (counts,) = converted.summary["label_noise"].values()
    assert counts["texts under several labels"] == 1


def test_a_later_source_that_is_missing_is_found_before_any_work(caretaker, guide, monkeypatch):
    monkeypatch.setattr(guide, "embed", lambda texts: pytest.fail("embedded before all sources were read"))
    with pytest.raises(MissingError, match=r"nowhere\.csv"):
        convert([str(caretaker), "nowhere.csv"], guide)


def test_no_source_is_refused(guide):
    with pytest.raises(ParameterError, match="no sources"):
        convert([], guide)


def test_no_triplet_left_is_refused_with_the_reasons(caretaker, guide):
    with pytest.raises(DataError, match=r"No triplet is left of .*dropped: .*'overlaps an evaluation set': 48"):
        convert([str(caretaker)], guide, eval_sets={"all": read_labelled(caretaker).texts})


def test_a_class_of_one_text_is_named(guide, tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nwarm,a\nhot,a\ncold,b\n")
    with pytest.raises(DataError, match=r"(?s)of one text.*- b.*drop_singletons"):
        convert([str(tmp_path / "t.csv")], guide)


DELIVERY = [
    "我的包裹在哪里",
    "包裹还没有送到",
    "快递什么时候到",
    "物流信息没有更新",
    "我的订单发货了吗",
    "配送员没有联系我",
]
REFUND = ["我想退货", "怎么申请退款", "退款还没有到账", "商品坏了要换货", "退货地址是什么", "退款需要几天"]


def chinese(folder):
    rows = [{"text": t, "label": label} for label, texts in (("a", DELIVERY), ("b", REFUND)) for t in texts]
    path = folder / "zh.jsonl"
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows), encoding="utf-8")
    return str(path)


def test_texts_that_the_guide_cannot_read_are_not_dropped_as_overlap(tmp_path, caplog):
    guide = VectorCache(MINILM, folder=tmp_path / "cache")
    exam = ["包裹丢了怎么办", "我想开户", "密码忘记怎么办", "怎么修改密码"]
    vectors = guide.embed([*DELIVERY, *REFUND, *exam])
    assert (vectors[:12] @ vectors[12:].T).max() > 0.98  # the guide takes different texts for one
    source = chinese(tmp_path)
    converted = convert([source], guide, eval_sets={"exam": exam}, tiers=Tiers(guide=guide))
    assert (len(converted.triplets), len(converted.overlap)) == (12, 0)
    assert "does not know 82 % of the tokens of these texts" in caplog.text
    assert converted.summary["guide_reading"]["unknown_share"] == pytest.approx(0.817, abs=0.001)
    assert converted.summary["label_noise"][source]["texts nearer to another class"] is None
    facts, page = converted.card.facts, converted.card.markdown()
    assert facts["languages_seen"] == {"Chinese": 24}
    assert facts["duplicates"]["semantic"] == 0
    assert "does not know: 81.7 %" in page


def test_a_copy_is_dropped_whatever_the_guide_reads(guide, tmp_path):
    converted = convert([chinese(tmp_path)], guide, eval_sets={"exam": [DELIVERY[0]]}, tiers=Tiers(guide=guide))
    assert set(converted.overlap["tier"]) == {"exact"}


def pairs_file(folder, rows=6):
    path = folder / "pairs.csv"
    path.write_text("anchor,positive\n" + "\n".join(f"a question {i},an answer {i}" for i in range(rows)) + "\n")
    return str(path)


@pytest.mark.parametrize(
    "options",
    [{"per_class": 2}, {"balanced": True}, {"negatives": 2}, {"topk": 3}, {"drop_singletons": True}],
)
def test_options_that_do_nothing_with_pairs_are_refused(guide, tmp_path, options):
    with pytest.raises(ParameterError) as caught:
        convert([pairs_file(tmp_path)], guide, mining=MiningOptions(**options))
    assert all(
        f"{name} is {value!r}, which needs labelled texts" in str(caught.value) for name, value in options.items()
    )


@pytest.mark.parametrize("limit", [1, 4, 100])
def test_a_limit_holds_for_pairs_as_well(caretaker, guide, tmp_path, limit):
    converted = convert([pairs_file(tmp_path), str(caretaker)], guide, mining=MiningOptions(limit=limit))
    assert [s["triplets"] for s in converted.summary["sources"]] == [min(limit, 48), min(limit, 6)]


def test_options_that_some_sources_have_no_use_for_are_told(caretaker, guide, tmp_path, caplog):
    name = pairs_file(tmp_path)
    convert([name, str(caretaker)], guide, mining=MiningOptions(negatives=2))
    assert f"negatives do nothing with {name}" in caplog.text


@pytest.mark.parametrize(
    ("reading", "threshold"),
    [({"subset": "de"}, None), ({"revision": "abc"}, None), ({}, 0.5)],
)
def test_options_of_other_sources_are_refused(caretaker, guide, reading, threshold):
    with pytest.raises(ParameterError, match=r"(?s)would do nothing with .*caretaker.*which needs"):
        convert([str(caretaker)], guide, reading=ReadOptions(**reading), threshold=threshold)


@pytest.mark.parametrize(
    "reading", [{"encoding": "cp1252"}, {"text_column": "x"}, {"drop_empty": True}, {"split": "x"}]
)
def test_options_of_labelled_texts_are_refused_for_pairs(guide, tmp_path, reading):
    (name,) = reading
    with pytest.raises(ParameterError, match=f"{name} is .*which needs labelled texts"):
        convert([pairs_file(tmp_path)], guide, reading=ReadOptions(**reading))


def test_a_threshold_that_no_pair_has_a_score_for_is_refused(guide, tmp_path):
    with pytest.raises(ParameterError, match=r"threshold is 0\.5, which needs a set of scored pairs"):
        convert([pairs_file(tmp_path)], guide, threshold=0.5)
    (tmp_path / "bge.jsonl").write_text(json.dumps({"query": "q", "pos": ["p", "r"], "neg": ["n"]}))
    with pytest.raises(ParameterError, match=r"threshold is 0\.5, which needs a set of scored pairs"):
        convert([str(tmp_path / "bge.jsonl")], guide, threshold=0.5)


def test_few_rows_of_balanced_classes_are_told(guide, tmp_path, caplog):
    rows = [f"text number {i} of many,{'big' if i > 1 else 'small'}" for i in range(40)]
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(rows))
    converted = convert([str(tmp_path / "t.csv")], guide, mining=MiningOptions(balanced=True, limit=30))
    assert len(converted.triplets) == 4
    assert "as the smallest has, 2 of 'small': 4 rows of 40 texts" in caplog.text
    with pytest.raises(ParameterError, match=r"limit is 1 and balanced, but .* has 2 classes"):
        convert([str(tmp_path / "t.csv")], guide, mining=MiningOptions(balanced=True, limit=1))


def test_fewer_negatives_than_asked_for_are_told(guide, tmp_path, caplog):
    (tmp_path / "t.csv").write_text("text,label\nwarm,a\nhot,a\ncold,b\nfrosty,b\n")
    convert([str(tmp_path / "t.csv")], guide, mining=MiningOptions(strategy="hard", negatives=3, margin=2.0))
    assert "4 of 4 rows have fewer than the 3 negatives asked for" in caplog.text


@pytest.mark.parametrize("hard_from", ["guide", "bm25", "both"])
def test_negatives_of_pairs_are_mined(guide, tmp_path, hard_from):
    mining = MiningOptions(strategy="hard", negatives=2, margin=2.0, hard_from=hard_from)
    converted = convert([pairs_file(tmp_path)], guide, mining=mining)
    rows = converted.triplets.to_list()
    assert all(r["negative_sources"] == ["mined"] * len(r["negatives"]) for r in rows)
    assert any(r["negatives"] for r in rows) == (hard_from != "bm25")  # these pairs share no word
    for r in rows:
        answers = {other["positive"] for other in rows if other["anchor"] == r["anchor"]}
        assert not answers & set(r["negatives"])
        assert len(r["guide_an"]) == len(r["negatives"])


def test_a_search_is_a_source_with_its_whole_corpus_and_without_its_test_queries(guide, tmp_path):
    place = tmp_path / "search"
    (place / "qrels").mkdir(parents=True)
    corpus = ["in the box by the door", "the lift company", "ask the caretaker", "on the roof"]
    queries = ["where is my key", "who repairs the lift", "who knows"]
    (place / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": i, "text": t}) for i, t in enumerate(corpus)))
    (place / "queries.jsonl").write_text("\n".join(json.dumps({"_id": i, "text": t}) for i, t in enumerate(queries)))
    (place / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n0\t0\t1\n1\t1\t1\n1\t2\t1\n")
    (place / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n2\t2\t1\n")
    bare = convert([str(place)], guide)
    assert [len(n) for n in bare.triplets["negatives"][:]] == [0, 0, 0]
    mined = convert([str(place)], guide, mining=MiningOptions(strategy="hard", negatives=9, margin=9.0))
    by_pair = {(r["anchor"], r["positive"]): set(r["negatives"]) for r in mined.triplets.to_list()}
    assert by_pair == {
        (queries[0], corpus[0]): set(corpus[1:]),
        (queries[1], corpus[1]): {corpus[0], corpus[3]},
        (queries[1], corpus[2]): {corpus[0], corpus[3]},
    }
    one = convert([str(place)], guide, mining=MiningOptions(strategy="hard", negatives=9, margin=9.0, limit=1))
    (row,) = one.triplets.to_list()
    assert set(row["negatives"]) == by_pair[row["anchor"], row["positive"]]


def test_hard_without_rows_to_mine_for_is_refused(guide, tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps({"query": "q", "pos": ["p"], "neg": ["n"]}))
    with pytest.raises(ParameterError, match="has negatives, or a label"):
        convert([str(tmp_path / "t.jsonl")], guide, mining=MiningOptions(strategy="hard"))
    with pytest.raises(ParameterError, match="hard_from is 'both', which needs pairs, or a search"):
        convert(["data/support_intents"], guide, mining=MiningOptions(strategy="hard", hard_from="both"))
