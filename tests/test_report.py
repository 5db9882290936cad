"""The report: what it refuses, what it says, and that nothing in the data can break out of it."""

import hashlib
import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from html_page import Page, seen

from gisttools.errors import DataError, MissingError
from gisttools.report import figures
from gisttools.report.data import collect
from gisttools.report.formats import duration, model_name, plural, score, signed
from gisttools.report.render import render_html, render_markdown, write_report
from gisttools.report.words import limits, verdict_sentences, verdict_word

EVIL = "</script><script>alert(1)</script> \"quotes\" & 'ticks' 🙂 שלום | `x` $a_b$"
LABELS = ["refund_status", "order_status", EVIL, "🙂 مرحبا"]


def write_run(results, run_id, verb, summary, tables=(), parents=(), **manifest):
    """One run folder as a finished run leaves it."""
    folder = results / run_id
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    for name, rows in dict(tables).items():
        pd.DataFrame(rows).to_parquet(folder / name)
    content = {
        "run_id": run_id,
        "verb": verb,
        "status": "ok",
        "started": "2025-11-23T16:00:00Z",
        "seconds": 60.0,
        "parameters": {"text": EVIL},
        "spec_hash": "ab" * 32,
        "git": {"sha": "c" * 40, "dirty": False},
        "versions": {"torch": "2.13.0"},
        "hardware": {"cpu": "a cpu", "cores": 2, "memory_gb": 8.0, "gpu": [], "platform": "Linux"},
        "seeds": {"seed": 7},
        "artefacts": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())},
        "parents": list(parents),
        "error": None,
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def comparison_row(task="support", **values):
    row = {
        "task": task, "task_type": "Classification", "subset": "default", "metric": "accuracy", "base": 0.714,
        "tuned": 0.789, "difference": 0.075, "low": 0.041, "high": 0.109, "n_items": 280, "n_draws": 10,
        "method": "paired bootstrap over draws and items", "verdict": "helped", "trained_on": False, "is_target": True,
        "overlap": 0, "n_test": 280,
    }  # fmt: skip
    return row | values


def score_rows(comparison):
    """Base and tuned scores for each comparison row, and a second metric beside it."""
    rows = []
    for c in comparison:
        for role in ("base", "tuned"):
            row = {k: c[k] for k in ("task", "task_type", "subset", "metric", "n_items", "n_draws")}
            row |= {"role": role, "model": role, "split": "test", "is_main": True, "score": c[role], "seconds": 1.0}
            rows += [row, row | {"metric": "f1", "is_main": False, "score": 0.5}]
    return rows


def evaluate(results, comparison, parents=(), items=None, overlap=None, **manifest):
    tables = {"comparison.parquet": comparison, "scores.parquet": score_rows(comparison)}
    if items is not None:
        tables["items.parquet"] = items
    if overlap is not None:
        tables["overlap.parquet"] = overlap
    summary = {
        "base": "embedded:base", "tuned": "results/finetune-1/model", "tasks": [c["task"] for c in comparison],
        "seconds": 9.0, "speed": {"base": {"texts_per_s": 900}, "tuned": {"texts_per_s": 910}},
        "dimension": {"base": 256, "tuned": 256},
    }  # fmt: skip
    return write_run(results, "evaluate-1", "evaluate", summary, tables, parents, **manifest)


def item_rows(task="support", n=40):
    rng = np.random.default_rng(0)
    base, tuned = rng.integers(0, 11, n) / 10, rng.integers(0, 11, n) / 10
    return [
        {
            "task": task, "item": i, "text": f"{i} {EVIL}", "gold": LABELS[i % 4], "base_correct": base[i],
            "tuned_correct": tuned[i], "base_answer": LABELS[(i + 1) % 4], "tuned_answer": LABELS[i % 4],
        }
        for i in range(n)
    ]  # fmt: skip


def synthesize(results):
    row = {"anchor": EVIL, "positive": "ما هو", "negatives": ["no"], "anchor_label": EVIL}
    summary = {
        "task": EVIL, "kind": "classification", "prompt_id": "p", "llm_model": "tiny", "base_url": "http://x",
        "asked": 10, "accepted": 6, "rejected": 4, "reasons": {EVIL: 3, "length": 1},
        "by_label": {label: {"asked": 3, "accepted": 2} for label in LABELS}, "calls": 5, "cached_calls": 2,
        "tokens_in": 1000, "tokens_out": 2000, "cost_usd": None, "seconds": 3.0,
    }  # fmt: skip
    tables = {
        "triplets.parquet": [row | {"status": "accepted", "reject_reason": None}],
        "rejected.parquet": [row | {"status": "rejected", "reject_reason": EVIL}],
    }
    return write_run(results, "synthesize-1", "synthesize", summary, tables)


def convert(results):
    source = {"source": EVIL, "revision": "f" * 40, "split": "train", "texts": 100, "classes": 4, "triplets": 90}
    summary = {
        "sources": [source | {"dropped": {"singleton": 10}}], "guide_id": "g", "strategy": "gistembed", "triplets": 90,
        "seconds": 1.0, "live_share": 0.5,
    }  # fmt: skip
    return write_run(results, "convert-1", "convert", summary)


def finetune(results, parents=("synthesize-1", "convert-1"), steps=30, **summary):
    history = [
        {"step": i, "epoch": i / 10, "loss": 2 / i, "learning_rate": 1e-3, "masked_ap": 0.1, "masked_aa": 0.2,
         "masked_pp": 0.3, "masked_an": None} for i in range(1, steps + 1)
    ]  # fmt: skip
    content = {
        "student": "embedded:base", "guide_id": "g", "triplets": 96, "by_source": {"llm": 6, "labelled": 90},
        "steps": steps, "seconds": 30.0, "parameters_trained": 1000, "dimension": 256, "settings": {"seed": 7},
        "final_loss": 0.1, "first_loss": 2.0, "masked": {"ap": 0.1, "aa": 0.2, "pp": 0.3, "an": None},
        "labels_masked": True, "model_mb": 16.3,
    }  # fmt: skip
    return write_run(results, "finetune-1", "finetune", content | summary, {"history.parquet": history}, parents)


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
    with pytest.raises(DataError, match="sha256"):
        collect(folder, tmp_path)


def test_a_changed_artefact_of_an_ancestor_is_refused(tmp_path):
    history = finetune(tmp_path, parents=()) / "history.parquet"
    folder = evaluate(tmp_path, [comparison_row()], ["finetune-1"])
    history.write_bytes(history.read_bytes()[::-1])
    with pytest.raises(DataError, match=r"history\.parquet is not the file"):
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


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["helped", "helped"], "HELPED"),
        (["helped", "hurt"], "MIXED"),
        (["helped", "not shown"], "MIXED"),
        (["hurt", "not shown"], "HURT"),
        (["not shown"], "NOT SHOWN"),
        ([], "NOT SHOWN"),
    ],
)
def test_a_verdict_never_says_more_than_every_task(verdicts, word):
    assert verdict_word(verdicts) == word


def test_the_sentence_holds_every_number(whole):
    assert verdict_sentences(whole) == [
        "Accuracy on support 71.4 → 78.9, +7.5 points, 95 % interval +4.1 to +10.9, 280 test texts × 10 draws."
    ]


def test_the_verdict_stands_on_the_target_tasks_alone(tmp_path):
    rows = [comparison_row(), comparison_row("other", is_target=False, verdict="hurt", difference=-0.1)]
    page = render_html(collect(evaluate(tmp_path, rows), tmp_path))
    assert '<p class="word helped">HELPED</p>' in page


def test_a_task_without_interval_is_said_to_have_none(tmp_path):
    row = comparison_row(low=None, high=None, verdict="not shown", n_items=None, n_draws=None, method="no interval yet")
    data = collect(evaluate(tmp_path, [row]), tmp_path)
    assert verdict_sentences(data) == ["Accuracy on support 71.4 → 78.9, +7.5 points, no interval."]
    assert "support has no interval" in " ".join(limits(data))
    assert "NOT SHOWN" in seen(render_html(data))


def test_an_evaluation_without_items_may_write_an_empty_table(tmp_path):
    data = collect(evaluate(tmp_path, [comparison_row()], items=[]), tmp_path)
    assert "Answers to single texts: not run" in seen(render_html(data))


def test_a_task_whose_scores_go_by_another_name_is_kept(tmp_path):
    folder = evaluate(tmp_path, [comparison_row("a"), comparison_row("b", verdict="hurt")])
    scores = pd.DataFrame(score_rows([comparison_row("a"), comparison_row("full name of b")]))
    scores.to_parquet(folder / "scores.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"artefacts": {}}))
    assert "MIXED" in seen(render_html(collect(folder, tmp_path)))


def test_without_a_target_all_tasks_count_and_the_page_says_so(tmp_path):
    rows = [comparison_row(is_target=False), comparison_row("b", is_target=False, verdict="hurt")]
    text = seen(render_html(collect(evaluate(tmp_path, rows), tmp_path)))
    assert "No task was named as target" in text
    assert "MIXED" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "not shown", "low": -0.01}, "covers zero"),
        ({"n_items": 100}, "only 100 test items"),
        ({"overlap": 12}, "12 of 280 test texts"),
        ({"trained_on": True}, "trained on the train split of support"),
        ({"overlap": None}, "was not checked"),
    ],
)
def test_each_weakness_of_the_data_is_said_and_only_where_it_is_so(tmp_path, change, said):
    weak = collect(evaluate(tmp_path / "a", [comparison_row(**change)]), tmp_path)
    sound = collect(evaluate(tmp_path / "b", [comparison_row(n_items=3000)]), tmp_path)
    assert said in " ".join(limits(weak))
    assert said not in " ".join(limits(sound))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (score(None), "not run"),
        (score(np.float32("nan")), "not run"),
        (score(0.7894), "78.9"),
        (signed(-0.0316), "−3.2"),
        (signed(-0.0001), "0.0"),
        (plural(1, "query"), "1 query"),
        (plural(2000, "query"), "2,000 queries"),
        (duration(3.21), "3.2 s"),
        (duration(754), "12.6 min"),
        (model_name("/a/results/finetune-1/model"), "finetune-1"),
        (model_name("sentence-transformers/all-MiniLM-L6-v2"), "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_numbers_and_names_as_written(text, wanted):
    assert text == wanted


# --- the page ------------------------------------------------------------------------------------------------------


def test_hostile_texts_stay_texts(page):
    read = Page(page)
    assert [tag for tag, _ in read.elements].count("script") == 2
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
    assert [t for t, _ in elements].count("svg") == [t for t, _ in elements].count("desc") == 6


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
    assert "Trained on its train split not known" in text


def test_a_missing_score_reads_not_run_and_never_nan(whole, page):
    for text in (seen(page), render_markdown(whole)):
        assert "not run" in text
        assert not re.search(r"\b(nan|None|NaN)\b", text)


def test_markdown_keeps_one_row_a_task_whatever_its_name(whole):
    row = next(line for line in render_markdown(whole).splitlines() if "alert" in line and line.startswith("|"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 9
    assert "<script>" not in row


def test_the_same_data_give_the_same_bytes(whole, page):
    assert render_html(whole) == page


def test_files_are_whole_and_hold_every_score(whole, tmp_path):
    page = write_report(whole, tmp_path / "out")
    assert page.name == "report.html"
    assert sorted(p.name for p in page.parent.iterdir()) == ["report.html", "report.md", "scores.csv"]
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


def test_a_large_evaluation_stays_under_a_megabyte(tmp_path):
    finetune(tmp_path, parents=(), steps=20_000)
    rows = [comparison_row(f"task {i}", is_target=i < 2) for i in range(1500)]
    data = collect(evaluate(tmp_path, rows, ["finetune-1"], item_rows("task 0", 3000)), tmp_path)
    assert len(render_html(data).encode()) < 1_000_000


# --- figures -------------------------------------------------------------------------------------------------------


def test_figure_texts_are_not_read_as_mathematics_and_stay_text():
    svg = figures.to_svg(figures.class_balance(["$x^2$ <b>", "$x^2$ <b>", "🙂"]))
    assert "$x^2$ &lt;b&gt;" in svg
    assert "🙂" in svg


def test_figures_follow_the_colours_of_the_page():
    svg = figures.to_svg(figures.class_balance(["a", "b"]))
    assert "var(--fig-good, #" in svg
    assert not re.search(r"(?:fill|stroke): #", svg)


def test_a_long_history_does_not_make_a_large_figure():
    noise = np.random.default_rng(0).random(50_000)
    history = pd.DataFrame({"step": range(50_000), "loss": noise, "masked_ap": noise})
    assert len(figures.to_svg(figures.loss_curve(history))) < 60_000
    assert len(figures.to_svg(figures.masked_shares(history))) < 60_000


def test_the_best_development_score_stands_below_the_loss():
    history = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]})
    looks = pd.DataFrame({"step": [1, 2, 3], "dev_score": [0.5, 0.71, 0.6]})
    figure = figures.loss_curve(history, looks)
    assert "best at step 2: 71.0" in figure.alt
    assert ">71.0<" in figures.to_svg(figure)
    assert "development" not in figures.to_svg(figures.loss_curve(history))


def test_classes_of_several_tasks_are_kept_apart():
    items = pd.DataFrame(item_rows("one", 8) + item_rows("two", 8))
    assert ">two: order_status<" in figures.to_svg(figures.per_class(items))


def test_the_forest_draws_target_tasks_first():
    table = pd.DataFrame([comparison_row("other", is_target=False, difference=0.5), comparison_row("mine")])
    svg = figures.to_svg(figures.forest(table))
    assert svg.index(">mine<") < svg.index(">other<")


@pytest.mark.parametrize(
    ("draw", "empty"),
    [
        (figures.loss_curve, pd.DataFrame({"step": [], "loss": []})),
        (figures.masked_shares, pd.DataFrame({"step": [1], "masked_ap": [None]})),
        (figures.accept_reject, {}),
        (figures.label_counts, {}),
        (figures.class_balance, []),
    ],
)
def test_nothing_to_draw_is_said(draw, empty):
    with pytest.raises(DataError, match="Nothing to draw"):
        draw(empty)


def test_drawing_leaves_matplotlibs_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.to_svg(figures.class_balance(["a"]))
    assert dict(mpl.rcParams) == before
