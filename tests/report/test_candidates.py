"""The first screen: which model to use, every candidate with its numbers, and nothing said that was not measured."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from helpers.candidates import found, row
from helpers.html_page import Page, seen
from helpers.report_runs import EVIL, comparison_row, evaluate, finetune

from gisttools.evaluation.candidate_scores import Candidates, CandidateScore, TargetAdvice
from gisttools.evaluation.judging import headline as headline_of
from gisttools.report import candidates
from gisttools.report.candidates import _speed, view
from gisttools.report.data import collect
from gisttools.report.render import numbers, render_html, render_markdown
from gisttools.report.verdict import action, headline

ROWS = (
    row("most frequent class", "floor", 0.07, None),
    row("TF-IDF", "classic", 0.45, 20000.0, megabytes=0.8),
    row("tuned", "tuned", 0.44, 5000.0, few_shot=0.387, samples_per_label=8, encoder_labels=476, dollars=1.5),
    row("guide", "guide", 0.64, 300.0, few_shot=0.5, samples_per_label=8, encoder_labels=0),
)  # fmt: skip


def data_of(tmp_path, candidates, trained=True, **options):
    finetune(tmp_path, parents=())
    tables = {f"{k}.parquet": t for k, t in candidates.tables().items()}
    summary = {"advice": candidates.summary(), "trained": trained}
    folder = evaluate(tmp_path, [comparison_row()], ["finetune-1"], more=tables, summary=summary, **options)
    return collect(folder, tmp_path)


def test_the_page_begins_with_the_advice_and_every_candidate(tmp_path):
    data = data_of(tmp_path, found(*ROWS))
    page = seen(render_html(data))
    assert page.index("Use guide") < page.index("What training changed") < page.index("HELPED")
    for name in ("most frequent class", "TF-IDF", "tuned", "guide"):
        assert f"what {name} is" in page
    for said in ("Classifier fitted on all your labels (476)", "Classifier fitted on 8 texts a class",
                 "encoder trained on 476 labels", "encoder as it came", "20,000", "$1.50", "0.8", "38.7"):  # fmt: skip
        assert said in page, said
    text = render_markdown(data)
    assert text.startswith("# Use guide")
    assert "TF-IDF: 19.0 points less, 67 times as fast" in text


def test_no_page_says_ship(tmp_path):
    data = data_of(tmp_path, found(*ROWS))
    assert "Ship" not in render_html(data)
    assert action(data).head == "Use guide"


def test_the_headline_is_the_evaluations_own_and_begins_with_the_advice(tmp_path):
    candidates = found(*ROWS)
    data = data_of(tmp_path, candidates)
    assert headline(data).startswith(
        "Use guide (support accuracy 64.0 with a classifier fitted on all labels). Training: "
    )
    assert headline(data) == headline_of(data.comparison, advice=candidates.summary())


def test_an_undecided_page_names_both_with_the_trade(tmp_path):
    rows = (ROWS[0], row("tuned", "tuned", 0.63, 4200.0), row("guide", "guide", 0.64, 300.0))
    page = seen(render_html(data_of(tmp_path, found(*rows))))
    assert "guide or tuned: not decided" in page
    assert "1.0 points less" in page
    assert "14 times as fast" in page
    assert "Choose between guide and tuned" in page
    assert "of one training seed" in page


def test_a_smoke_run_says_no_word(tmp_path):
    data = data_of(tmp_path, found(*ROWS, smoke=True))
    page = seen(render_html(data))
    assert "No claim: this was a smoke run" in page
    assert '<p class="word' not in render_html(data)
    assert "HELPED" not in headline(data)
    assert action(data).head == "Run it in full"


def test_where_no_training_is_known_nothing_helped(tmp_path):
    rows = (ROWS[0], row("a", "reference", 0.5, 900.0), row("b", "reference", 0.6, 900.0))
    data = data_of(tmp_path, found(*rows), trained=False)
    page = render_html(data)
    first = page[: page.index("Can it be trusted")]
    assert "One model against the other" in first
    assert '<p class="word helped">BETTER</p>' in first
    assert "HELPED" not in first
    assert headline(data).endswith(": BETTER")
    assert "What training changed" not in page


def test_an_old_evaluation_says_that_candidates_were_not_measured(tmp_path):
    data = collect(evaluate(tmp_path, [comparison_row()]), tmp_path)
    assert data.candidates is None
    page = seen(render_html(data))
    assert "Which model to use was not measured" in page
    assert "HELPED" in page
    assert view(data)["tables"] == []
    assert "Evaluate again with candidates" in page


def test_names_from_outside_stay_text(tmp_path):
    rows = (ROWS[0], row(EVIL, "reference", 0.6, 900.0, what=EVIL), row("b", "reference", 0.5, 900.0))
    data = data_of(tmp_path, found(*rows))
    page = Page(render_html(data))
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 2
    assert EVIL in "".join(page.text)
    render_markdown(data)


def test_the_numbers_of_the_page_hold_advice_and_candidates(tmp_path):
    told = json.loads(json.dumps(numbers(data_of(tmp_path, found(*ROWS)))))
    assert told["advice"]["targets"][0]["best"] == "guide"
    assert told["candidates"]["name"] == [r.name for r in ROWS]


def test_several_targets_each_have_their_line(tmp_path):
    one, two = found(*ROWS), found(ROWS[0], row("x", "tuned", 0.6, 9.0), row("y", "guide", 0.3, 9.0))
    second = TargetAdvice(task="search", subset="default", metric="ndcg_at_10", advice=two.targets[0].advice)
    rows = (*one.rows, *(CandidateScore(**{**vars(r), "task": "search"}) for r in two.rows))
    both = Candidates(rows=rows, targets=(*one.targets, second))
    page = seen(render_html(data_of(tmp_path, both)))
    assert "support : Use guide" in page
    assert "search : Use x" in page


@pytest.mark.parametrize(
    ("speed", "told"), [(None, "–"), (8512.3, "8,500"), (87.2, "87"), (5.21, "5"), (0.314, "0.31"), (14588, "15,000")]
)
def test_a_speed_has_two_digits_that_count(speed, told):
    assert _speed(speed) == told


@pytest.mark.parametrize(("right", "n"), [(53, 79), (0, 10), (280, 280)])
def test_how_sure_an_accuracy_is_by_wilson(right, n):
    """By his formula, by hand."""
    z, p = 1.959963984540054, right / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
    row = CandidateScore(task="own", name="a", kind="tuned", score=p, n_train=5, n_test=n)
    assert row.score_interval == pytest.approx((max(low, 0), high))
    assert replace(row, seeds=3).score_interval is None


def left(name, **told):
    """What an evaluation says of a model that it left."""
    about = {"name": name, "folder": "model", "classifier": True, "labels": ["a", "b"], "texts": 280, "accuracy": 0.64}
    return {**about, "fitted_on": 476, "calibration_error": 0.05, "threshold": 0.3, "right_lost": 0.05, **told}


def with_advice(data, **more):
    """The same with more said in its advice."""
    data.evaluate.summary["advice"].update(more)
    return data


def test_both_models_of_an_undecided_page_have_the_lines_that_use_them(tmp_path):
    models = [left("guide"), left("tuned", folder="faster_model", wrong_caught=0.4)]
    data = with_advice(data_of(tmp_path, found(*ROWS)), models=models)
    page = seen(render_html(data))
    for folder in ("model", "faster_model"):
        assert f"gisttools predict results/{data.evaluate.id}/{folder} texts.csv --out labelled.csv" in page
        assert f'Classifier.load("results/{data.evaluate.id}/{folder}")' in page
    assert "fitted on 476 texts. Of 280 test texts it labels 64.0 % right" in page
    assert "in place of 5 % of its right answers and 40 % of the wrong ones" in page
    text = render_markdown(data)
    assert f"```\ngisttools predict results/{data.evaluate.id}/model texts.csv --out labelled.csv\n```" in text
    assert 'print(classifier.predict(["a first text", "a second one"]))\n' in text


def test_what_training_changed_is_said_by_the_score_of_the_advice_too(tmp_path):
    data = data_of(tmp_path, found(*ROWS))
    of = {"name": "student", "kind": "base", "score": 0.41}
    head = {"name": "student + linear head", "kind": "head", "score": 0.5}
    tuned = {"name": "tuned", "kind": "tuned", "score": 0.44}
    pairs = [
        {"from": of, "to": tuned, "difference": 0.03, "low": -0.01, "high": 0.07},
        {"from": head, "to": tuned, "difference": -0.06, "low": None, "high": None},
    ]
    data.evaluate.summary["advice"]["targets"][0]["changed"] = pairs
    page = seen(render_html(data))
    assert "tuned: by a classifier fitted on all your labels from 41.0 to 44.0 (+3.0 points, −1.0 to +7.0)." in page
    assert "tuned has 44.0, student + linear head 50.0 (−6.0 points, no interval)." in page
    assert "from 41.0 to 44.0 (+3.0 points" in render_markdown(data)


def test_the_classes_that_the_advised_model_finds_least_often_are_named(tmp_path):
    data = data_of(tmp_path, found(*ROWS))
    recalls = {"a": 0.9, "b": 0.3, "c": 0.8, "d": 0.0}
    rows = [
        {"task": "support", "subset": "default", "candidate": "guide", "seed": 0, "label": label, "precision": 0.5,
         "recall": recall, "f1": 0.5, "support": 2 if label == "d" else 20}
        for label, recall in recalls.items()
    ]  # fmt: skip
    known = replace(data, classes=pd.DataFrame(rows))
    told = "guide finds b (30.0 % of its texts) least often: texts of these are what to label next."
    assert candidates.weakest(known) == told  # of d there are too few texts
    assert candidates.weakest(data) == ""


def test_speed_is_told_once(tmp_path):
    told = evaluate(tmp_path / "none", [comparison_row()])
    assert "Texts a second on the machine of the evaluation 900 910" in seen(
        render_html(collect(told, tmp_path / "none"))
    )
    assert "910" not in seen(render_html(data_of(tmp_path / "some", found(*ROWS))))
