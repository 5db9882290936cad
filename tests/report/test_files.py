"""The files next to the page: Markdown, the model card with its metadata, LaTeX, the commands that run a step again."""

from __future__ import annotations

import json
import math
import shlex

import pytest
import yaml
from helpers.html_page import Page
from helpers.report_runs import EVIL, comparison_row, evaluate, finetune, item_rows

from gisttools.common import card_problems
from gisttools.report.data import collect
from gisttools.report.hub_card import model_card, used_model_card
from gisttools.report.provenance import command
from gisttools.report.render import (
    escape,
    latex_table,
    numbers,
    render_html,
    render_markdown,
    score_table,
    write_report,
)


def identity(text):
    return text


@pytest.fixture
def data(tmp_path):
    finetune(tmp_path, parents=())
    rows = [comparison_row(), comparison_row("guard", is_target=False, trained_on=True)]
    tables = {
        "references.parquet": [
            {"name": "bm25", "kind": "bm25", "task": "support", "subset": "default", "metric": "accuracy", "score": 0.5}
        ],
        "averages.parquet": [
            {"variant": "tuned", "tasks": "zero-shot", "name": "all tasks", "n_tasks": 2, "base": 0.7, "tuned": 0.75,
             "difference": 0.05, "low": 0.01, "high": 0.09, "p": 0.01, "verdict": "helped"}
        ],
    }  # fmt: skip
    folder = evaluate(
        tmp_path,
        rows,
        ["finetune-1"],
        item_rows(),
        more=tables,
        score_columns={"revision": "r1", "dataset": "me/support"},
    )
    return collect(folder, tmp_path)


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_the_card_holds_the_scores_as_the_hub_reads_them(data):
    (model,) = front_matter(model_card(data, identity))["model-index"]
    first = model["results"][0]
    assert model["name"] == "finetune-1"
    assert first["task"] == {"type": "Classification"}
    assert first["dataset"] == {
        "type": "me/support", "name": "MTEB support", "config": "default", "split": "test", "revision": "r1",
    }  # fmt: skip
    assert first["metrics"][0] | {"verified": None} == {
        "type": "accuracy", "value": 78.9, "name": "accuracy", "verified": None,
    }  # fmt: skip
    assert len(first["metrics"]) == 2  # of both tasks, which are of one data set here


def test_a_data_set_that_is_not_told_is_not_called_one_of_mteb(tmp_path):
    data = collect(evaluate(tmp_path, [comparison_row()]), tmp_path)
    (model,) = front_matter(model_card(data, identity))["model-index"]
    assert model["results"][0]["dataset"]["name"] == "support"


def test_the_card_that_training_wrote_is_kept_and_gets_the_scores_before_the_licence(tmp_path):
    model = finetune(tmp_path, parents=()) / "model"
    model.mkdir()
    written = "---\nlicense: mit\ntags:\n- gist\n---\n# A model\n\nUse it.\n\n## Licence\n\nmit\n"
    (model / "README.md").write_text(written)
    card = model_card(collect(evaluate(tmp_path, [comparison_row()], ["finetune-1"]), tmp_path), identity)
    facts = front_matter(card)
    assert (facts["license"], facts["tags"]) == ("mit", ["gist", "mteb"])
    assert card.index("Use it.") < card.index("## Evaluation") < card.index("## Licence")
    assert "| support | accuracy | 71.4 | 78.9 | +7.5 | +4.1 to +10.9 | helped |" in card


def test_a_card_passes_the_checks_of_the_hub_whatever_the_texts_are(data, tmp_path):
    assert card_problems(model_card(data), "model") == []
    hostile = collect(evaluate(tmp_path / "more", [comparison_row(f"{EVIL}\n---\n")]), tmp_path)
    assert card_problems(model_card(hostile), "model") == []


def test_where_seeds_were_averaged_the_card_says_so(tmp_path):
    card = model_card(collect(evaluate(tmp_path, [comparison_row(n_seeds=3)]), tmp_path))
    assert "Means of 3 trainings that differ in the seed" in card
    assert "Means of" not in model_card(collect(evaluate(tmp_path / "one", [comparison_row()]), tmp_path))


def test_the_card_of_the_model_to_be_used_says_which_candidate_it_is_and_what_the_others_scored(tmp_path):
    row = {"task": "support", "subset": "default", "metric": "accuracy", "kind": "tuned", "best": False}
    rows = [
        {**row, "name": "tuned", "score": 0.9, "best": True, "difference": None, "low": None, "high": None},
        {**row, "name": "base | x", "score": 0.85, "difference": -0.05, "low": -0.08, "high": -0.02},
        {**row, "task": "other", "name": "tuned", "score": 0.1, "difference": None, "low": None, "high": None},
    ]
    data = collect(evaluate(tmp_path, [comparison_row()], more={"candidates.parquet": rows}), tmp_path)
    told = {"name": "tuned", "task": "support", "labels": ["a", "b"], "folder": "model"}
    card = used_model_card(data, told, "# tuned\n\nUse it.\n", name="me/mine")
    assert card_problems(card, "model") == []
    facts = front_matter(card)
    assert facts["pipeline_tag"] == "text-classification"
    (model,) = facts["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["metrics"][0]["value"]) == ("me/mine", 90.0)
    assert "| **tuned** (this model) | accuracy | 90.0 |  |  |" in card
    assert r"| base \| x | accuracy | 85.0 | −5.0 | −8.0 to −2.0 |" in card
    assert "10.0" not in card


@pytest.mark.parametrize(
    ("kind", "wanted"), [("tuned", "org/small"), ("head", "org/base"), ("base", "org/base"), ("classic", None)]
)
def test_the_card_of_the_model_to_be_used_names_what_it_was_made_from(tmp_path, kind, wanted):
    trained = finetune(tmp_path, parents=())
    (trained / "model").mkdir()
    (trained / "model" / "README.md").write_text("---\nbase_model: org/small\n---\n# A model\n")
    row = {"task": "support", "subset": "default", "metric": "accuracy", "kind": kind, "best": True, "name": "n"}
    tables = {"candidates.parquet": [{**row, "score": 0.9}]}
    run = evaluate(tmp_path, [comparison_row()], ["finetune-1"], more=tables, summary={"base": "org/base"})
    told = {"name": "n", "task": "support", "labels": ["a"]}
    card = used_model_card(collect(run, tmp_path), told, "# n", name="me/mine")
    assert front_matter(card).get("base_model") == wanted


def test_a_hostile_task_cannot_break_the_card(tmp_path):
    data = collect(evaluate(tmp_path, [comparison_row(f"{EVIL}\n---\n")]), tmp_path)
    page = write_report(data, tmp_path / "out")
    card = (page.parent / "model_card.md").read_text(encoding="utf-8")
    (model,) = yaml.safe_load(card[4 : card.index("\n---\n#")])["model-index"]
    assert model["results"][0]["dataset"]["name"].startswith("</script>")
    assert "<script>" not in card[card.index("\n---\n#") :]


@pytest.mark.slow
def test_latex_is_written_on_request_and_reads_texts_as_texts(data, tmp_path):
    assert not (write_report(data, tmp_path / "plain").parent / "table.tex").exists()
    text = (write_report(data, tmp_path / "out", latex=True).parent / "table.tex").read_text(encoding="utf-8")
    assert r"support & accuracy & 71.4 & 78.9 & +7.5 & +4.1 to +10.9 \\" in text
    assert r"guard$\dagger$ & accuracy" in text
    assert r"All tasks, zero-shot (2) &  & 70.0 & 75.0 & +5.0" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a_b & 5 %", r"a\_b \& 5 \%"), ("\\x{y}$~^#", r"\textbackslash{}x\{y\}\$\textasciitilde{}\textasciicircum{}\#"),
     ("−1.0\n†", r"$-$1.0 $\dagger$")],
)  # fmt: skip
def test_what_latex_would_read_as_commands_is_escaped(text, wanted):
    assert escape(text) == wanted


def test_latex_of_several_variants_is_of_the_first(tmp_path):
    rows = [comparison_row(variant="one"), comparison_row(variant="two", tuned=0.5)]
    text = latex_table(collect(evaluate(tmp_path, rows), tmp_path))
    assert text.count("support &") == 1


def test_every_table_of_scores_is_in_the_csv(data):
    table = score_table(data)
    assert table["table"].value_counts().to_dict() == {"scores": 8, "comparison": 2, "averages": 1, "references": 1}


def test_markdown_and_page_name_references_averages_and_the_next_step(data):
    page, text = " ".join(Page(render_html(data)).text), render_markdown(data)
    for said in (page, text):
        assert "bm25" in said
        assert "All tasks, zero-shot (2)" in said
        assert "Evaluate again with candidates" in said


@pytest.mark.slow
def test_all_numbers_of_the_page_stand_in_it_as_json(data):
    raw = next(code for code in Page(render_html(data)).scripts if code.startswith("{"))
    found = json.loads(raw)
    assert found == json.loads(json.dumps(numbers(data)))
    assert found["verdict"] == "HELPED"
    assert found["next_action"]["word"] == "Evaluate again"
    assert [c["status"] for c in found["trust"]] == ["pass", "pass", "not run", "not run", "not run"]
    assert found["averages"]["difference"] == [0.05]
    assert found["references"]["score"] == [0.5]
    assert set(found["items"]) == {"fixed", "broken", "same"}
    assert len(found["history"]["loss"]) == 30


def test_a_command_runs_the_step_again_with_what_differs_from_the_defaults():
    text = command("evaluate", {"model": "finetune-1", "files": ["my folder"], "seed": 0}, ["model", "files"])
    assert shlex.split(text.replace("\\\n", "")) == [
        "gisttools", "run", "evaluate", "-p", "model", '"finetune-1"', "-p", "files", '["my folder"]',
    ]  # fmt: skip


def test_of_a_run_that_does_not_say_what_differs_the_command_names_all():
    assert "-p seed 0" in command("evaluate", {"model": "finetune-1", "seed": 0})


def test_a_hostile_parameter_is_one_word_of_the_command():
    text = command("evaluate", {"model": f"'; rm -rf / # {EVIL}"})
    words = shlex.split(text.replace("\\\n", ""))
    assert len(words) == 6
    assert json.loads(words[5]) == f"'; rm -rf / # {EVIL}"


def test_columns_that_only_newer_evaluations_have_may_be_missing(tmp_path):
    data = collect(evaluate(tmp_path, [comparison_row()]), tmp_path)
    assert all(math.isnan(row.p_holm) for row in data.comparison)
    assert "not run" in render_markdown(data)


def test_a_time_budget_is_repeated_by_the_steps_that_it_led_to():
    given, changed = {"max_minutes": 5.0, "seed": 1}, ["max_minutes", "seed"]
    text = command("finetune", given, changed, {"max_steps": 137, "learning_rate": 0.01})
    assert "max_minutes" not in text
    assert "-p max_steps 137" in text
    assert "max_steps" not in command("finetune", {"seed": 1}, ["seed"], {"max_steps": 137})
