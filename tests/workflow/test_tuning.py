"""The best of some trainings: by their development scores, of few settings and enough texts, never where they differ in
what they were scored on."""

from __future__ import annotations

import json

import pytest

from gisttools.common.errors import ParameterError
from gisttools.data.options import FileOptions
from gisttools.workflow import tuning
from gisttools.workflow.params import FinetuneParams, check_params
from gisttools.workflow.schedule import checked_recipe
from gisttools.workflow.session import new_run, start
from gisttools.workflow.spec import parents_of
from gisttools.workflow.tuning import best_told, held_out, with_best


@pytest.fixture
def dev(tmp_path):
    """A folder with exactly as many held-out texts as are needed; some words each, all different."""
    return _folder(tmp_path / "enough", tuning.FEWEST)


def _folder(folder, count):
    folder.mkdir()
    for name, n in (("train", 20), ("dev", count)):
        rows = [{"text": f"{name} text number {i} of a kind", "label": f"label {i % 2}"} for i in range(n)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(folder)


def trial(score, dev, settings=None, **given):
    """A finished finetune run of this development score."""
    run = new_run("finetune", {"dev": [dev], **given})
    told = {"development_score": score, "settings": settings or {}}
    run.finish({name: value for name, value in told.items() if value is not None}, headline="trained")
    return run.folder.name


def test_what_the_trials_differ_in_is_taken_from_the_best(results, dev):
    scores = {(1e-3, 3.0): 0.71, (1e-2, 3.0): 0.84, (1e-3, 9.0): 0.83, (1e-2, 9.0): 0.70}
    names = [trial(s, dev, learning_rate=rate, epochs=epochs) for (rate, epochs), s in scores.items()]
    found = with_best("finetune", {"best_of": names, "seed": 7})
    assert found == {"best_of": names, "seed": 7, "learning_rate": 1e-2, "epochs": 3.0}
    assert best_told(names) == (
        f"best_of takes epochs 3.0, learning_rate 0.01 ({names[1]}): development score 84.0; of 3 other(s) at most 83.0"
    )
    assert with_best("finetune", found) == found  # the notebook is given what was chosen
    assert set(parents_of(check_params("finetune", found))) == set(names)


def test_a_word_is_taken_as_the_number_that_it_stood_for(results, dev):
    names = [trial(0.5, dev), trial(0.6, dev, {"learning_rate": 0.03}, learning_rate="high")]
    assert with_best("finetune", {"best_of": names})["learning_rate"] == 0.03


def test_what_the_trials_have_in_common_is_taken_too_and_gives_way_to_what_is_told(results, dev):
    alike = {"loss_temperature": 0.02, "epochs": 3.0, "dev_every": 5}
    names = [trial(score, dev, learning_rate=rate, **alike) for rate, score in ((1e-3, 0.5), (1e-2, 0.6))]
    found = with_best("finetune", {"best_of": names, "epochs": 10.0})
    assert found == {"best_of": names, "learning_rate": 1e-2, "loss_temperature": 0.02, "epochs": 10.0}


def test_how_long_and_which_rows_are_not_taken_beside_what_is_told_of_them(results, dev):
    alike = {"max_steps": 75, "limit": 60, "limit_seed": 1, "mix": "weights", "weights": [1.0]}
    names = [trial(score, dev, learning_rate=rate, **alike) for rate, score in ((1e-3, 0.5), (1e-2, 0.6))]
    assert with_best("finetune", {"best_of": names}) == {"best_of": names, "learning_rate": 1e-2, "max_steps": 75}
    told = {"best_of": names, "epochs": 10.0}
    assert with_best("finetune", told) == told | {"learning_rate": 1e-2}


def test_a_share_of_the_start_is_taken_as_it_was_chosen(results, dev):
    names = [
        trial(s, dev, {"keep_start": k}, keep_start="auto", epochs=e) for s, k, e in ((0.5, 0.0, 2.0), (0.6, 0.3, 4.0))
    ]
    assert with_best("finetune", {"best_of": names}) == {"best_of": names, "keep_start": 0.3, "epochs": 4.0}


def test_a_notebook_by_hand_takes_them_where_its_cell_has_the_defaults(results, dev):
    names = [trial(0.5, dev, epochs=2.0), trial(0.6, dev, epochs=4.0)]
    cell = {name: FinetuneParams.defaults()[name] for name in FinetuneParams.cell}
    run = start("finetune", {**cell, "best_of": names})
    run.release()
    assert run.params.epochs == 4.0


def test_seeds_of_one_setting_count_by_their_mean(results, dev):
    lucky = [trial(score, dev, learning_rate=1e-3, seed=seed) for seed, score in ((1, 0.9), (2, 0.5))]
    steady = [trial(score, dev, learning_rate=1e-2, seed=seed) for seed, score in ((1, 0.8), (2, 0.8))]
    assert with_best("finetune", {"best_of": [*lucky, *steady]})["learning_rate"] == 1e-2
    assert "seed" not in with_best("finetune", {"best_of": [*lucky, *steady]})


def test_other_notebooks_and_trainings_without_trials_are_left_alone(results):
    assert with_best("convert", {"negatives": 2}) == {"negatives": 2}
    assert with_best("finetune", {"epochs": 2.0}) == {"epochs": 2.0}


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({}, {"score": None}, "has no development score: it was trained without dev"),
        ({}, {"student": "embedded:all-MiniLM-L6-v2"}, "the trials differ in student: their scores do not compare"),
        ({}, {"text_column": "body"}, "the trials differ in text_column"),
        ({}, {"triplets": ["other.jsonl"]}, "the trials differ in triplets"),
    ],
    ids=["no-score", "student", "reading", "data"],
)
def test_what_cannot_be_compared_is_refused(results, dev, first, second, said):
    told = {"score": 0.5, "dev": dev}
    names = [trial(**told | first), trial(**told | {"learning_rate": 0.02} | second)]
    with pytest.raises(ParameterError, match=said):
        with_best("finetune", {"best_of": names})


def test_more_than_six_settings_are_refused_and_more_seeds_are_not(results, dev):
    rates = [10.0**-n for n in range(1, 8)]
    names = [trial(0.5, dev, learning_rate=rate) for rate in rates]
    with pytest.raises(ParameterError, match="7 settings, at most 6 are allowed"):
        with_best("finetune", {"best_of": names})
    assert with_best("finetune", {"best_of": [*names[:6], trial(0.4, dev, learning_rate=rates[0], seed=9)]})


@pytest.mark.parametrize("lacking", [0, 1])
def test_too_few_held_out_texts_are_refused(results, tmp_path, lacking):
    folder = _folder(tmp_path / "texts", tuning.FEWEST - lacking)
    names = [trial(0.5, folder), trial(0.6, folder, learning_rate=0.02)]
    if lacking:
        with pytest.raises(ParameterError, match=f"{tuning.FEWEST - 1} held-out texts .*at least {tuning.FEWEST}"):
            with_best("finetune", {"best_of": names})
    else:
        assert with_best("finetune", {"best_of": names})["learning_rate"] == 0.02


def test_texts_are_counted_as_they_are_held_out(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    words = ["stone", "river", "lamp", "window", "garden", "violin", "copper", "market", "ferry", "winter"]
    rows = [
        {"text": f"{a} {b} {i}", "label": f"{i % 2}"} for i, (a, b) in enumerate(zip(words, words[::-1], strict=True))
    ]
    (folder / "all.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert held_out([str(folder / "all.jsonl")], FileOptions(dev_share=0.4)) in (3, 4)
    assert held_out(["Banking77Classification"], FileOptions()) is None  # only the hub could tell


def test_what_is_chosen_may_not_be_told_otherwise(results, dev):
    names = [trial(0.5, dev, learning_rate=1e-3), trial(0.6, dev, learning_rate=1e-2)]
    with pytest.raises(ParameterError, match=r"learning_rate is 0.5 here, and the best of the trials has 0.01"):
        with_best("finetune", {"best_of": names, "learning_rate": 0.5})


def test_what_is_no_training_is_named(results):
    with pytest.raises(ParameterError, match="embedded:wordllama-256 is no finetune run"):
        with_best("finetune", {"best_of": ["embedded:wordllama-256"]})


RECIPE = """
name: mine
steps:
  - {name: trial, verb: finetune, parameters: {DEV}, matrix: {learning_rate: [low, null, high, 1, 2, 3, RATES]}}
  - {name: finetune, verb: finetune, parameters: {best_of: [$trial]}}
"""


@pytest.mark.parametrize(
    ("count", "rates", "said"),
    [
        (30, "", "30 held-out texts"),
        (None, "", "has no dev, so that it gets no score"),
        (tuning.FEWEST, "4", "7 settings, at most 6"),
        (tuning.FEWEST, "", None),
    ],
    ids=["few", "none", "many", "right"],
)
def test_a_recipe_is_refused_before_its_first_step(results, tmp_path, count, rates, said):
    told = "" if count is None else f"dev: ['{_folder(tmp_path / 'texts', count)}']"
    text = RECIPE.replace("{DEV}", f"{{{told}}}").replace(", RATES", f", {rates}" if rates else "")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    if said is None:
        assert len(checked_recipe(tmp_path / "mine.yaml").steps) == 7
    else:
        with pytest.raises(ParameterError, match=said):
            checked_recipe(tmp_path / "mine.yaml")
    assert not list(results.glob("*-*"))
