"""What the report says: the word, the sentence, what is trusted, what it cost, what it does not show."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.html_page import seen
from helpers.report_runs import comparison_row, convert, evaluate, finetune, score_rows, synthesize, write_run

from gisttools.common.wording import dollars, duration, model_name, p_value, plural, score, signed
from gisttools.evaluation.comparison import Comparison
from gisttools.report.checks import cost, limits, trust
from gisttools.report.data import collect
from gisttools.report.render import render_html, render_markdown
from gisttools.report.verdict import action, compared_name, guard_note, size, targets, verdict_sentence, verdict_word


def data_of(tmp_path, *rows, **options):
    return collect(evaluate(tmp_path, list(rows), **options), tmp_path)


def guard(task="guard", **values):
    told = {"is_target": False, "allowed_loss": 0.005, "non_inferior": True, "verdict": "not shown"}
    return comparison_row(task, **{"difference": 0.001, "low": -0.002, "high": 0.004, **told, **values})


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["helped", "helped"], "HELPED"),
        (["helped", "hurt"], "MIXED"),
        (["helped", "not shown"], "MIXED"),
        (["hurt", "not shown"], "HURT"),
        (["not shown"], "NOT SHOWN"),
    ],
)
def test_a_verdict_never_says_more_than_every_task(tmp_path, verdicts, word):
    assert (
        verdict_word(data_of(tmp_path, *(comparison_row(f"t{i}", verdict=v) for i, v in enumerate(verdicts)))) == word
    )


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, "HELPED"),
        ({"non_inferior": False, "low": -0.03}, "HELPED"),
        ({"verdict": "hurt", "difference": -0.004, "low": -0.0045, "high": -0.001}, "HELPED"),
        ({"verdict": "hurt", "difference": -0.02, "low": -0.03, "high": -0.01, "non_inferior": False}, "MIXED"),
    ],
)
def test_a_guard_counts_where_it_may_have_lost_more_than_allowed(tmp_path, values, word):
    assert verdict_word(data_of(tmp_path, comparison_row(), guard(**values))) == word


def test_a_guard_that_is_not_shown_to_be_safe_is_named_next_to_the_word(tmp_path):
    unclear = data_of(tmp_path / "a", comparison_row(), guard(non_inferior=False, low=-0.03))
    assert guard_note(unclear) == (
        "Not shown to be safe: guard. A loss of more than 0.5 points is not ruled out there."
    )
    assert guard_note(data_of(tmp_path / "b", comparison_row(), guard())) == ""


def test_a_guard_that_lost_stands_in_the_sentence(tmp_path):
    lost = guard(verdict="hurt", difference=-0.02, low=-0.03, high=-0.01, non_inferior=False)
    sentence = verdict_sentence(data_of(tmp_path, comparison_row(), lost))
    assert sentence.endswith("But a guard lost more than allowed: guard −2.0 (−3.0 to −1.0).")


def test_a_target_that_failed_counts_as_not_shown(tmp_path):
    failed = [{"task": "lost", "model": "tuned", "error": "out of memory", "is_target": True}]
    data = data_of(tmp_path, comparison_row(), more={"failed.parquet": failed})
    assert verdict_word(data) == "MIXED"
    assert verdict_sentence(data).endswith("1 target could not be scored.")
    assert "out of memory" in seen(render_html(data))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "Accuracy on support rose from 71.4 to 78.9: +7.5 points (95 % interval +4.1 to +10.9)."),
        (
            {"verdict": "hurt", "tuned": 0.7, "difference": -0.014, "low": -0.02, "high": -0.008, "metric": "ap_50"},
            "Ap 50 on support fell from 71.4 to 70.0: −1.4 points (95 % interval −2.0 to −0.8).",
        ),
        (
            {"verdict": "not shown", "low": -0.01},
            "Accuracy on support went from 71.4 to 78.9: +7.5 points (95 % interval −1.0 to +10.9). Neither a gain nor"
            " a loss is shown.",
        ),
        (
            {"verdict": "not shown", "low": None, "high": None},
            "Accuracy on support went from 71.4 to 78.9: +7.5 points (no interval). Neither a gain nor a loss is"
            " shown.",
        ),
    ],
)
def test_the_sentence_holds_every_number_and_says_no_more(tmp_path, values, sentence):
    assert verdict_sentence(data_of(tmp_path, comparison_row(**values))) == sentence


def test_several_targets_are_counted_and_averaged(tmp_path):
    rows = [comparison_row(f"t{i}", standard_error=0.01, freedom=100) for i in range(3)]
    rows[2] |= {"verdict": "not shown", "tuned": 0.714, "difference": 0.0, "low": -0.02, "high": 0.02}
    sentence = verdict_sentence(data_of(tmp_path, *rows))
    assert sentence.startswith(
        "Of 3 target tasks 2 improved and 1 did not show a change. Their mean went from 71.4 to 76.4"
    )
    assert verdict_sentence(data_of(tmp_path / "all", *rows[:2])).startswith("All 2 target tasks improved. Their mean")
    half = 1.96 * 0.01 * np.sqrt(3) / 3
    assert f"(95 % interval {signed(0.05 - half)} to {signed(0.05 + half)})" in sentence


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"task_type": "Classification", "n_items": 280, "n_draws": 10}, "280 test texts × 10 draws"),
        ({"task_type": "STS", "n_items": 1379, "n_draws": 1}, "1,379 pairs"),
        ({"task_type": "Retrieval", "n_items": 1, "n_draws": None}, "1 query"),
        ({"task_type": "Clustering", "n_items": 280, "n_draws": 10}, "10 draws from 280 texts"),
        ({"task_type": "Clustering", "n_items": 10, "n_draws": 10}, "10 draws"),
        ({"task_type": "STS", "n_items": None, "n_draws": None}, ""),
    ],
)
def test_a_sample_is_called_what_it_is(values, said):
    assert size(Comparison(task="t", **values)) == said


def test_the_first_screen_tells_items_draws_and_seeds(tmp_path):
    finetune(tmp_path, parents=())
    one = collect(evaluate(tmp_path, [comparison_row()], ["finetune-1"]), tmp_path)
    assert targets(one)[0]["sample"] == "280 test texts × 10 draws, 1 training seed"
    three = data_of(tmp_path / "b", comparison_row(n_seeds=3))
    assert targets(three)[0]["sample"].endswith("3 training seeds")


# --- what is trusted -----------------------------------------------------------------------------------------------


def status(data):
    return {check.name: check.status for check in trust(data)}


def test_each_check_passes_fails_or_was_not_run(tmp_path):
    row = comparison_row(mde=0.027)
    whole = data_of(
        tmp_path / "a", row, score_columns={"revision": "r1"},
        summary={"prompts": {"base": None, "tuned": None}, "revisions": {"base": "a", "tuned": "b"}},
    )  # fmt: skip
    assert set(status(whole).values()) == {"pass"}
    bare = data_of(tmp_path / "b", comparison_row(overlap=None))
    assert status(bare) == {
        "No leakage": "not run", "Same draws": "pass", "Same prompts": "not run", "Revisions pinned": "not run",
        "Enough items": "not run",
    }  # fmt: skip
    bad = data_of(
        tmp_path / "c", comparison_row(overlap=3, mde=0.2), score_columns={"revision": None},
        summary={"prompts": {"base": "query: ", "tuned": None}, "revisions": {"base": None, "tuned": "b"}},
        scores_of={"tuned": {"n_items": 270}},
    )  # fmt: skip
    found = status(bad)
    assert found.pop("Revisions pinned") == "not run"  # no revision of the data was recorded
    assert set(found.values()) == {"fail"}


def test_a_model_without_revision_is_not_pinned(tmp_path):
    data = data_of(
        tmp_path, comparison_row(), score_columns={"revision": "r"}, summary={"revisions": {"base": None, "tuned": "b"}}
    )
    check = next(c for c in trust(data) if c.name == "Revisions pinned")
    assert (check.status, check.detail) == ("fail", "not pinned: base")


def test_costs_are_those_of_all_steps_and_of_a_point(tmp_path):
    synthesize(tmp_path, cost_usd=1.5)
    convert(tmp_path)
    finetune(tmp_path, training_seconds=45.0)
    facts = {f.name: f for f in cost(collect(evaluate(tmp_path, [comparison_row()], ["finetune-1"]), tmp_path))}
    assert facts["Training"].value == "45 s"
    assert facts["Everything"].value == duration(4 * 60)
    assert facts["LLM tokens"].value == "3,000"
    assert facts["LLM tokens"].detail == "$1.50 · 5 calls, 2 of them cached"
    assert facts["Cost per point"].value == duration(240 / 7.5)
    assert facts["Cost per point"].detail.startswith("$0.20 · ")


def test_runs_of_one_verb_are_told_together(tmp_path):
    finetune(tmp_path, [])
    write_run(tmp_path, "finetune-2", "finetune", {"steps": 30}, seconds=30.0)
    told = cost(collect(evaluate(tmp_path, [comparison_row()], ["finetune-1", "finetune-2"]), tmp_path))
    assert told[0].detail.startswith("2 trainings, the first of 30 steps on 96 triplets")
    assert told[1].detail == "finetune 1.5 min (2 runs) · evaluate 60 s"


@pytest.mark.parametrize(
    ("names", "seeds", "said"),
    [
        (["tuned"], 1, "tuned model"),
        (["tuned"], 3, "tuned model and 2 more seeds"),
        (["guide=none", "guide=g"], 3, "guide=none, 3 seeds"),
        (["guide=none", "guide=g"], 1, "guide=none"),
    ],
)
def test_the_tuned_model_is_called_by_its_variant_and_seeds(tmp_path, names, seeds, said):
    told = [{"name": name, "models": ["m"] * seeds, "n_seeds": seeds} for name in names]
    rows = [comparison_row(variant=name, n_seeds=seeds) for name in names]
    data = data_of(tmp_path, *rows, summary={"variants": told})
    assert compared_name(data, "tuned") == said
    assert compared_name(data, "base") == "base"


def test_without_a_gain_no_point_has_a_cost(tmp_path):
    fact = cost(data_of(tmp_path, comparison_row(verdict="not shown", low=-0.01)))[-1]
    assert (fact.name, fact.value) == ("Cost per point", "no gain shown")


# --- limits --------------------------------------------------------------------------------------------------------


def test_a_task_without_interval_is_said_to_have_none(tmp_path):
    row = comparison_row(low=None, high=None, verdict="not shown", n_items=None, n_draws=None, method="no interval yet")
    data = data_of(tmp_path, row)
    assert "support has no interval" in " ".join(limits(data))
    assert "NOT SHOWN" in seen(render_html(data))


def test_a_change_that_does_not_survive_the_correction_is_named(tmp_path):
    rows = [comparison_row("kept", p_holm=0.001), comparison_row("gone", p_holm=0.09)]
    said = " ".join(limits(data_of(tmp_path, *rows)))
    assert "the change on gone is no longer shown (p = 0.090)" in said
    assert "change on kept" not in said


def test_what_the_evaluation_noted_is_said(tmp_path):
    data = data_of(tmp_path, comparison_row(), summary={"notes": ["No guard was run: no network."]})
    assert "No guard was run: no network." in limits(data)


def test_what_guide_and_student_hardly_read_is_said(tmp_path):
    reading = {"texts": 10, "unknown_share": 0.82, "hardly_read": 9}
    finetune(tmp_path, (), guide_reading=reading, student_reading={**reading, "unknown_share": 0.0})
    said = " ".join(limits(collect(evaluate(tmp_path, [comparison_row()], ["finetune-1"]), tmp_path)))
    assert "The guide does not know 82 % of the tokens" in said
    assert "The student does not know" not in said


def test_code_that_was_allowed_to_run_is_said_with_its_pins(tmp_path):
    folder = finetune(tmp_path, ())
    manifest = json.loads((folder / "manifest.json").read_text())
    told = {"trust_remote_code": ["org/code@abc"], "student": "org/model", "student_revision": "def"}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"parameters": {**manifest["parameters"], **told}}))
    said = " ".join(limits(collect(evaluate(tmp_path, [comparison_row()], ["finetune-1"]), tmp_path)))
    assert "allowed to run (trust_remote_code) in finetune-1; pinned: org/code@abc, org/model@def." in said


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
        (p_value(0.0004), "< 0.001"),
        (p_value(0.0712), "0.071"),
        (p_value(None), "not run"),
        (dollars(0.0123), "$0.012"),
        (dollars(None), "not known"),
        (model_name("sentence-transformers/all-MiniLM-L6-v2"), "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_numbers_and_names_as_written(text, wanted):
    assert text == wanted


HURT = {"verdict": "hurt", "tuned": 0.07, "difference": -0.42, "low": -0.45, "high": -0.4}
SPOILT = "the mean cosine of 64 different texts is 0.999, 0.140 of the baseline"


def test_the_report_of_a_collapsed_model_says_so(tmp_path):
    data = data_of(tmp_path, comparison_row(**HURT), summary={"collapsed": {"tuned": SPOILT}})
    assert action(data).word == "Train again"
    assert SPOILT in limits(data)[0]
    text = seen(render_html(data))
    assert "Lower the learning rate and train again" in text
    assert "Change the training data" not in text


def test_a_loss_that_ended_above_its_start_is_told_of_trainings_of_earlier_versions(tmp_path):
    finetune(tmp_path, parents=(), first_loss=1.83, final_loss=4.71)
    data = data_of(tmp_path, comparison_row(**HURT), parents=("finetune-1",))
    assert action(data).why.startswith("The training's loss ended above its start: 1.83 to 4.71.")


@pytest.mark.parametrize(("alike", "word"), [(0.99, "Train again"), (0.5, "Change the data")])
def test_of_evaluations_of_earlier_versions_the_map_tells_it(tmp_path, alike, word):
    rows = [
        {"role": role, "kind": "different", "low": value - 0.01, "high": value + 0.01, "value": 1.0}
        for role, value in (("base", 0.1), ("tuned", alike))
    ]
    table = pd.DataFrame(rows).assign(x=np.nan, y=np.nan, label="", neighbour="")
    data = replace(data_of(tmp_path, comparison_row(**HURT)), embedding=table)
    assert action(data).word == word


def test_an_unusual_learning_rate_is_told(tmp_path):
    finetune(tmp_path, parents=(), warnings=["learning_rate is 0.01, 100 times above"])
    data = data_of(tmp_path, comparison_row(), parents=("finetune-1",))
    assert "learning_rate is 0.01, 100 times above" in limits(data)


@pytest.mark.parametrize("profile", ["smoke", ""])
def test_a_smoke_run_is_marked_and_has_no_verdict(tmp_path, profile):
    data = data_of(tmp_path, comparison_row(), profile=profile)
    page = render_html(data)
    assert ("SMOKE RUN" in render_markdown(data)) is bool(profile)
    assert ("Smoke run" in page) is bool(profile)
    assert ('class="word helped"' in page) is not bool(profile)
