"""Every test text with every answer: what the page holds, and what search and filters show in a browser."""

from __future__ import annotations

import json

import pytest
from helpers.browser import in_browser, needs_chromium, on_paper
from helpers.report_runs import comparison_row, evaluate

from gisttools.report.data import collect
from gisttools.report.render import render_html
from gisttools.report.texts import all_texts, confusion_tables

TEXTS = [
    "where is it",
    "my parcel's late",
    "Refund, please </script><script>document.title='gone'</script>",
    "pay me back",
]
GOLD = ["late", "late", "refund", "refund"]
ANSWERS = {  # by candidate
    "guide": ["late", "late", "refund", "late"],
    "tuned": ["late", "refund", "refund", "refund"],
    "student": ["refund", "late", "refund", "late"],
}


KINDS = {"guide": ("guide", 0.75), "tuned": ("tuned", 0.75), "student": ("base", 0.5)}


def data(tmp_path, n=4, **given):
    rows = [
        {"task": "t", "subset": "default", "item": i, "text": TEXTS[i % 4] + " " * (i // 4), "gold": GOLD[i % 4],
         "candidate": name, "seed": seed, "answer": answers[i % 4] if seed == 0 else "late", "probability": 0.5}
        for name, answers in ANSWERS.items() for seed in (0, 1) for i in range(n)
    ]  # fmt: skip
    candidates = [
        {"task": "t", "subset": "default", "metric": "accuracy", "name": name, "kind": kind, "what": "", "score": score,
         "difference": 0.0, "low": None, "high": None, "best": name == "guide", "n_test": 4, "seeds": 2,
         "n_train": 8, "n_classes": 2}
        for name, (kind, score) in KINDS.items()
    ]  # fmt: skip
    tables = {"answers.parquet": rows, "candidates.parquet": candidates} | given
    return collect(evaluate(tmp_path, [comparison_row("t")], more=tables), tmp_path)


def rows_of(found):
    return json.loads(found["rows"])


def test_every_text_has_the_answer_of_every_model_once(tmp_path):
    found = all_texts(data(tmp_path))
    told = rows_of(found)
    assert found["models"] == ["guide", "tuned", "student"]
    assert (found["chosen"], told["base"], found["before"]) == (1, 2, "student")
    assert [row["text"] for row in told["rows"]] == TEXTS
    for m, name in enumerate(found["models"]):
        assert [told["labels"][row["answers"][m][0]] for row in told["rows"]] == ANSWERS[name]
    assert [told["labels"][row["gold"]] for row in told["rows"]] == GOLD


def test_of_very_many_texts_some_of_each_class_are_shown_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("gisttools.report.texts._MOST", 10)
    found = all_texts(data(tmp_path, n=40))
    golds = [row["gold"] for row in rows_of(found)["rows"]]
    assert (len(golds), golds.count(0), found["sampled"]) == (10, 5, "10 of 40")


def test_without_candidates_it_is_what_most_draws_said(tmp_path):
    items = [
        {"task": "t", "item": i, "text": text, "gold": gold, "base_correct": 0.4, "tuned_correct": 0.6,
         "base_answer": "late", "tuned_answer": gold}
        for i, (text, gold) in enumerate(zip(TEXTS, GOLD, strict=True))
    ]  # fmt: skip
    found = all_texts(collect(evaluate(tmp_path, [comparison_row("t")], items=items), tmp_path))
    assert found["models"] == ["tuned model", "base model"]
    assert "most few-shot draws" in found["told"]
    assert [row["answers"][0][1] for row in rows_of(found)["rows"]] == [None] * 4


def test_without_answers_there_is_no_table_and_no_link(tmp_path):
    run = collect(evaluate(tmp_path, [comparison_row("t")]), tmp_path)
    assert (all_texts(run), confusion_tables(run)) == (None, [])
    assert 'href="#texts"' not in render_html(run)


def test_who_confuses_what_is_counted_of_the_tuned_model(tmp_path):
    assert confusion_tables(data(tmp_path)) == [
        ("t", "tuned", {"late": {"late": 1, "refund": 1}, "refund": {"refund": 2}})
    ]


_DRIVE = """
addEventListener("load", () => {
  const get = (name) => document.querySelector(`#texts [name=${name}]`);
  const shown = () => [...document.querySelectorAll("#texts tbody th")].map((c) => c.textContent);
  const input = () => new Event("input", { bubbles: true });
  const set = (name, value) => { get(name).value = value; get(name).dispatchEvent(input()); };
  const seen = { errors, all: shown(), title: document.title };
  for (const kind of ["right", "wrong", "fixed", "broken"]) { set("answers", kind); seen[kind] = shown(); }
  set("answers", "wrong"); set("model", "0"); seen.guide = shown();
  set("answers", "all"); set("label", get("label").options[2].value); seen.refund = shown();
  set("label", ""); set("search", "PARCEL"); seen.found = shown();
  seen.said = document.querySelector("#texts [role=status]").textContent;
  const small = [...document.querySelectorAll("nav a, summary, thead button, #texts select, #texts input, .to-texts")];
  seen.small = small.filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44).map((e) => e.outerHTML);
  const boxes = [...document.querySelectorAll(".box, pre")].filter((b) => b.scrollWidth > b.clientWidth + 1);
  seen.cut = boxes.map((b) => b.outerHTML.slice(0, 200));
  parent.postMessage(JSON.stringify(seen), "*");
});
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_search_and_filters_in_a_browser(tmp_path, width):
    needs_chromium()
    (tmp_path / "b").mkdir()
    seen, logged = in_browser(render_html(data(tmp_path)), tmp_path / "b", width, _DRIVE)
    assert (seen["errors"], logged, seen["title"] != "gone") == ([], [], True)
    assert seen["all"] == TEXTS
    assert seen["right"] == [TEXTS[0], TEXTS[2], TEXTS[3]]
    assert seen["wrong"] == [TEXTS[1]]
    assert seen["fixed"] == [TEXTS[0], TEXTS[3]]  # the student had these wrong
    assert seen["broken"] == [TEXTS[1]]
    assert seen["guide"] == [TEXTS[3]]
    assert seen["refund"] == TEXTS[2:]
    assert (seen["found"], seen["said"]) == ([TEXTS[1]], "1 of 4 test texts")
    assert seen["small"] == []
    assert seen["cut"] == []


@pytest.mark.slow
def test_on_paper_the_appendices_are_closed(tmp_path):
    needs_chromium()
    page = render_html(data(tmp_path, n=280))
    assert page.count(".appendix { display: none !important; }") == 1
    assert on_paper(page, tmp_path) <= 4
    assert on_paper(page.replace(".appendix { display: none !important; }", ""), tmp_path) > 4
