"""The report's page: what it refuses to read, and that nothing in the data can break out of it."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import pairwise
from types import SimpleNamespace

import pandas as pd
import pytest
from helpers.html_page import Page, seen
from helpers.report_runs import EVIL, comparison_row, convert, evaluate, finetune, item_rows, synthesize

from gisttools.common.errors import DataError, MissingError
from gisttools.common.runs import ancestors
from gisttools.report.data import _beside, collect
from gisttools.report.render import render_html, render_markdown, write_report


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The data of a whole chain of runs, full of hostile texts, with one score missing."""
    tmp_path = tmp_path_factory.mktemp("results")
    synthesize(tmp_path)
    convert(tmp_path)
    finetune(tmp_path)
    nothing = dict.fromkeys(("tuned", "difference", "low", "high"), float("nan"))
    other = comparison_row(EVIL, is_target=False, verdict="not shown", **nothing, overlap=None)
    folder = evaluate(tmp_path, [comparison_row(), other], ["finetune-1"], item_rows())
    return collect(folder, tmp_path)


@pytest.fixture(scope="module")
def page(whole):
    return render_html(whole)


@pytest.fixture
def alone(tmp_path):
    """An evaluate run without parents and without items."""
    unknown = comparison_row(trained_on=None, overlap=None, n_test=None)
    return collect(evaluate(tmp_path, [unknown]), tmp_path)


# --- reading -------------------------------------------------------------------------------------------------------


def test_ancestors_are_found_across_generations(whole):
    assert [run.id for run in whole.runs] == ["synthesize-1", "convert-1", "finetune-1", "evaluate-1"]
    assert len(whole.history) == 30


def test_test_texts_in_the_training_table_are_shown_as_text(tmp_path):
    row = {"task": "support", "text": f"asked {EVIL}", "training_text": f"known {EVIL}", "tier": "near", "score": 0.9}
    data = collect(evaluate(tmp_path, [comparison_row()], overlap=[row]), tmp_path)
    said = seen(render_html(data))
    assert "Test texts in the training table" in said
    assert f"asked {' '.join(EVIL.split())}" in said
    assert "near · in training: known" in said
    assert "in the training table (near): asked" in render_markdown(data)


def test_a_cleaned_task_is_offered(tmp_path):
    row = comparison_row(cleaned_task="support.v2", in_train=11)
    said = seen(render_html(collect(evaluate(tmp_path, [row]), tmp_path)))
    assert "mteb counts 11 of its test texts in its own train split and offers support.v2" in said


def test_a_missing_ancestor_is_named_not_fatal(tmp_path):
    data = collect(evaluate(tmp_path, [comparison_row()], ["finetune-gone"]), tmp_path)
    assert data.finetune is None
    assert "finetune-gone" in data.missing[0]
    assert "finetune-gone" in seen(render_html(data))


def test_a_training_shown_beside_is_none_of_the_models(tmp_path):
    def told(**parameters):
        return _beside(SimpleNamespace(parameters=parameters))

    assert told(model="finetune-1", references=["guide", "results/finetune-2"]) == {"guide", "finetune-2"}
    assert told(model=["finetune-1", "finetune-2"], references=["finetune-2"]) == set()
    assert told(model="finetune-1", baseline="finetune-2", references=["finetune-2"]) == set()
    parents = SimpleNamespace(id="evaluate-1", parents=["finetune-1", "finetune-2"])
    assert all("finetune-2" not in line for line in ancestors(parents, tmp_path, {"finetune-2"})[1])


def test_models_are_never_called_by_the_id_of_a_run(tmp_path):
    made = finetune(tmp_path, parents=(), by_source={"labelled": 476, "llm": 37})
    manifest = json.loads((made / "manifest.json").read_text())
    manifest |= {"run_id": "finetune-2", "parameters": {"student": "embedded:base"}}
    (made / "manifest.json").write_text(json.dumps(manifest))
    made.rename(tmp_path / "finetune-2")  # shown beside; finetune-1 itself is not here
    beside = {"name": "finetune-2", "kind": "model", "task": "support", "metric": "accuracy", "score": 0.6}
    told = {"model": "finetune-1", "references": ["finetune-2"]}
    folder = evaluate(tmp_path, [comparison_row()], more={"references.parquet": [beside]}, parameters=told)
    said = seen(render_html(collect(folder, tmp_path)))
    assert "tuned model against base" in said
    assert "base trained on 476 labelled and 37 LLM rows model accuracy 60.0 71.4 78.9" in said
    assert "finetune-2" not in said.split("How to reproduce it")[0]


def test_nothing_that_only_this_machine_understands_is_in_the_page(tmp_path):
    error = "OSError: [Errno 2] No such file: '/home/me/data/tests.csv'"
    lost = {"task": "lost", "model": "tuned", "error": error, "is_target": False}
    told = {"base": "/home/me/models/base", "tuned": "/home/me/models/mine", "notes": [error]}
    folder = evaluate(tmp_path, [comparison_row()], more={"failed.parquet": [lost]}, summary=told)
    page = render_html(collect(folder, tmp_path))
    assert page.count("…/tests.csv") >= 4  # where it failed, in the limits, and both in the numbers
    assert "Errno" not in page
    assert "/home/me" not in page


def test_parents_cannot_point_out_of_the_results_folder(tmp_path):
    finetune(tmp_path / "elsewhere", parents=())
    data = collect(evaluate(tmp_path, [comparison_row()], ["elsewhere/finetune-1"]), tmp_path)
    assert data.finetune is None


def test_runs_that_name_each_other_do_not_loop(tmp_path):
    finetune(tmp_path, parents=["evaluate-1", "finetune-1"])
    data = collect(evaluate(tmp_path, [comparison_row()], ["finetune-1"]), tmp_path)
    assert [run.id for run in data.runs] == ["finetune-1", "evaluate-1"]


def test_a_run_without_manifest_is_unfinished(tmp_path):
    folder = evaluate(tmp_path, [comparison_row()])
    (folder / "manifest.json").unlink()
    with pytest.raises(MissingError, match="unfinished"):
        collect(folder, tmp_path)


def test_a_failed_run_is_refused_with_its_error(tmp_path):
    folder = evaluate(tmp_path, [comparison_row()], status="failed", error={"message": "out of memory"})
    with pytest.raises(DataError, match="out of memory"):
        collect(folder, tmp_path)


def test_a_run_of_another_verb_is_refused(tmp_path):
    with pytest.raises(DataError, match="'finetune', not 'evaluate'"):
        collect(finetune(tmp_path), tmp_path)


@pytest.mark.parametrize("name", ["comparison.parquet", "summary.json"])
def test_a_changed_artefact_is_refused(tmp_path, name):
    folder = evaluate(tmp_path, [comparison_row()])
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(DataError, match="changed since the run"):
        collect(folder, tmp_path)


def test_a_changed_artefact_of_an_ancestor_is_refused(tmp_path):
    history = finetune(tmp_path, parents=()) / "history.parquet"
    folder = evaluate(tmp_path, [comparison_row()], ["finetune-1"])
    history.write_bytes(history.read_bytes()[::-1])
    with pytest.raises(DataError, match=r"history\.parquet changed since the run"):
        collect(folder, tmp_path)


def test_all_missing_columns_are_named(tmp_path):
    row = comparison_row()
    folder = evaluate(tmp_path, [row])
    pd.DataFrame([row]).drop(columns=["low", "verdict"]).to_parquet(folder / "comparison.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"artefacts": {}}))
    with pytest.raises(DataError, match="'low' is missing") as caught:
        collect(folder, tmp_path)
    assert "'verdict' is missing" in str(caught.value)


# --- the page ------------------------------------------------------------------------------------------------------


def test_hostile_texts_stay_texts(page):
    read = Page(page)
    assert [tag for tag, _ in read.elements].count("script") == 3
    assert not any("alert(1)" in code for code in read.scripts if not code.startswith("{"))
    assert any("<script>alert(1)</script>" in text for text in read.text)


def test_the_numbers_in_the_page_are_json_without_nan(page):
    raw = next(code for code in Page(page).scripts if code.startswith("{"))
    numbers = json.loads(raw, parse_constant=lambda name: pytest.fail(name))
    assert numbers["comparison"]["difference"] == [0.075, None]
    assert numbers["comparison"]["task"] == ["support", EVIL]


def test_the_page_names_no_address_that_a_browser_would_load(page):
    for tag, attributes in Page(page).elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    assert "url(http" not in page
    assert "default-src 'none'" in page


def test_ids_are_unique_and_references_hit_them(page):
    page = page
    ids = [a["id"] for _, a in Page(page).elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', page)) <= set(ids)


def test_headings_are_in_order_and_figures_have_titles(page):
    elements = Page(page).elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert [t for t, _ in elements].count("svg") == [t for t, _ in elements].count("desc") == 7


def test_every_table_has_a_caption_and_scoped_heads(page):
    elements = Page(page).elements
    tags = [tag for tag, _ in elements]
    assert tags.count("table") == tags.count("caption")
    assert all("scope" in a for tag, a in elements if tag == "th")


def test_a_lone_evaluation_says_not_run_where_steps_are_missing(alone):
    text = seen(render_html(alone))
    assert "Synthesis: not run" in text
    assert "Training: not run" in text
    assert "Answers to single texts: not run" in text
    assert "the training texts are not known here" in text
    assert "Map of the embeddings: not run" in text
    assert "Where the noise comes from: not run" in text


@pytest.mark.parametrize(("share", "drawn"), [(0.05, False), (0.29, False), (0.31, True), (float("nan"), False)])
def test_a_map_is_drawn_only_where_two_dimensions_hold_enough_to_say_something(alone, share, drawn):
    one = {"role": "base", "kind": "point", "x": 0.0, "y": 0.0, "label": "a", "neighbour": "a"}
    points = [one | {"role": role, "x": x} for role in ("base", "tuned") for x in (0.0, 1.0)]
    held = [{"role": role, "kind": "explained", "value": share / n} for n, role in enumerate(("tuned", "base"), 1)]
    table = pd.DataFrame([*points, *held], columns=[*one, "low", "high", "value"])
    page = render_html(dataclasses.replace(alone, embedding=table))
    assert ("one dot each" in page) == drawn
    assert ("would hold too little of the variance to say anything" in seen(page)) == (not drawn and share == share)
    assert "nan" not in seen(page)


def test_a_missing_score_reads_not_run_and_never_nan(whole, page):
    for text in (seen(page), render_markdown(whole)):
        assert "not run" in text
        assert not re.search(r"\b(nan|None|NaN)\b", text)


def test_markdown_keeps_one_row_a_task_whatever_its_name(whole):
    row = next(line for line in render_markdown(whole).splitlines() if "alert" in line and line.startswith("|"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 12
    assert "<script>" not in row


def test_the_same_data_give_the_same_bytes(whole, page):
    assert render_html(whole) == page


def test_files_are_whole_and_hold_every_score(whole, tmp_path):
    page = write_report(whole, tmp_path / "out")
    assert page.name == "report.html"
    assert sorted(p.name for p in page.parent.iterdir()) == ["model_card.md", "report.html", "report.md", "scores.csv"]
    table = pd.read_csv(page.parent / "scores.csv")
    assert table["table"].value_counts().to_dict() == {"scores": 8, "comparison": 2}


def test_a_text_that_utf8_cannot_hold_does_not_stop_the_report(tmp_path):
    synthesize(tmp_path)
    summary = json.loads((tmp_path / "synthesize-1" / "summary.json").read_text())
    summary |= {"task": "\ud800", "reasons": {"\ud800\x00": 2}, "by_label": {"\ud800": {"asked": 1, "accepted": 1}}}
    (tmp_path / "synthesize-1" / "summary.json").write_text(json.dumps(summary))
    manifest = json.loads((tmp_path / "synthesize-1" / "manifest.json").read_text())
    (tmp_path / "synthesize-1" / "manifest.json").write_text(json.dumps(manifest | {"artefacts": {}}))
    folder = evaluate(tmp_path, [comparison_row()], ["synthesize-1"])
    assert write_report(collect(folder, tmp_path), tmp_path / "out").exists()


@pytest.mark.slow
def test_a_large_evaluation_stays_under_two_megabytes(tmp_path):
    finetune(tmp_path, parents=(), steps=20_000)
    rows = [comparison_row(f"task {i}", is_target=i < 2) for i in range(1500)]
    data = collect(evaluate(tmp_path, rows, ["finetune-1"], item_rows("task 0", 3000)), tmp_path)
    assert len(render_html(data).encode()) < 2_000_000
