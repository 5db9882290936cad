"""Evaluation: scores are mteb's own, items add up to them, and what was trained on is flagged."""

from __future__ import annotations

import shutil

import mteb
import numpy as np
import pandas as pd
import pytest

from gisttools.common.errors import DataError, MissingError
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.evaluation.evaluating import EvaluateOptions, Variant, evaluate
from gisttools.evaluation.scores import ScoreCache
from gisttools.evaluation.tasks import task_sources


@pytest.fixture(scope="module")
def models(wordllama, minilm):
    return {"base": wordllama, "tuned": minilm}


@pytest.fixture(scope="module")
def same(wordllama):
    return {"base": wordllama, "tuned": wordllama}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def result(models, caretaker, folder):
    test = read_labelled(caretaker, ReadOptions(split="test")).texts
    return evaluate(
        models,
        task_sources(files=[caretaker]),
        folder,
        cache=ScoreCache(folder / "cache"),
        variants=[
            Variant(trained_on=["elsewhere.csv"], training_texts=[test[0].upper(), test[3] + "  ", "something else"])
        ],
        options=EvaluateOptions(allow_overlap=True),
    )


def main_scores(result) -> dict[tuple[str, str], float]:
    rows = result.scores[result.scores["is_main"]]
    return {(r.task, r.role): r.score for r in rows.itertuples()}


@pytest.mark.slow
def test_scores_equal_mteb_run_by_hand(result, models, caretaker):
    for role, model in models.items():
        for task in local_tasks(caretaker):
            by_hand = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results[0]
            assert main_scores(result)[task.metadata.name, role] == pytest.approx(by_hand.get_score(), abs=1e-12)


def test_every_metric_that_mteb_gives_is_kept(result, models, caretaker):
    task = local_tasks(caretaker)[0]
    by_hand = mteb.evaluate(models["tuned"], task, cache=None, co2_tracker=False, show_progress_bar=False)
    scores = by_hand.task_results[0].scores["test"][0]
    rows = result.scores[(result.scores["task"] == "caretaker") & (result.scores["role"] == "tuned")]
    kept = dict(zip(rows["metric"], rows["score"], strict=True))
    assert {"accuracy", "f1"} <= set(kept)
    for metric, score in kept.items():
        assert score == pytest.approx(scores[metric], nan_ok=True)


def test_the_comparison_is_the_difference_of_the_scores(result):
    scores = main_scores(result)
    for r in result.comparison.itertuples():
        assert (r.base, r.tuned) == (scores[r.task, "base"], scores[r.task, "tuned"])
        assert r.difference == pytest.approx(r.tuned - r.base)
        assert r.low <= r.difference <= r.high
        assert r.verdict == ("helped" if r.low > 0 else "hurt" if r.high < 0 else "not shown")


def test_shares_of_correct_draws_add_up_to_the_accuracy(result):
    scores = main_scores(result)
    items = result.items[result.items["task"] == "caretaker"]
    for role in ("base", "tuned"):
        assert items[f"{role}_correct"].mean() == pytest.approx(scores["caretaker", role], abs=1e-9)


def test_items_tell_each_draw(result):
    for role in ("base", "tuned"):
        draws = np.stack(result.items[f"{role}_draws"].to_numpy())
        assert draws.dtype == bool
        assert draws.mean(axis=1) == pytest.approx(result.items[f"{role}_correct"].to_numpy())
    assert set(result.items["subset"]) == {"default"}


def test_items_are_the_test_texts_with_their_labels_by_name(result, caretaker):
    test = read_labelled(caretaker, ReadOptions(split="test"))
    assert result.items["text"].tolist() == test.texts
    assert result.items["gold"].tolist() == test.labels
    sure = result.items[result.items["tuned_correct"] > 0.5]
    assert len(sure) > 12
    assert (sure["tuned_answer"] == sure["gold"]).all()


def test_test_texts_in_the_training_table_are_counted_whatever_their_case(result):
    rows = result.comparison.set_index("task")
    assert rows.loc["caretaker", ["overlap", "n_test"]].tolist() == [2, 24]
    assert not rows.loc["caretaker", "trained_on"]


def test_a_model_against_itself_shows_nothing(same, caretaker, folder):
    result = evaluate(same, task_sources(files=[caretaker]), folder / "same")
    assert (result.comparison["difference"] == 0).all()
    assert (result.comparison["low"] == -result.comparison["high"]).all()  # what texts that were not seen might do
    assert set(result.comparison["verdict"]) == {"not shown"}
    assert (result.items["base_correct"] == result.items["tuned_correct"]).all()


@pytest.mark.parametrize("name", ["folder", "train file", "triplet file", "other folder"])
def test_a_model_trained_on_the_tasks_own_texts_is_flagged(same, caretaker, tmp_path, name):
    mine = tmp_path / "caretaker"
    shutil.copytree(caretaker, mine)
    trained = {"folder": mine, "train file": mine / "train.jsonl", "triplet file": mine / "t.jsonl"}.get(
        name, caretaker
    )
    result = evaluate(
        same, task_sources(files=[mine])[:1], tmp_path / "out", variants=[Variant(trained_on=[str(trained)])]
    )
    assert bool(result.comparison["trained_on"].iloc[0]) is (name != "other folder")


def test_what_is_not_known_of_the_training_is_null(same, caretaker, tmp_path):
    row = evaluate(same, task_sources(files=[caretaker])[:1], tmp_path).comparison.iloc[0]
    assert pd.isna(row["trained_on"])
    assert pd.isna(row["overlap"])


def test_a_saved_evaluation_is_read_back(result, tmp_path):
    result.save(tmp_path)
    for name in ("scores", "comparison", "items"):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), getattr(result, name))


def test_predictions_of_both_models_are_kept_apart(result, folder):
    for role in ("base", "tuned"):
        assert (folder / "predictions" / role / "caretaker.json").exists()
    base, tuned = ((folder / "predictions" / r / "caretaker.json").read_text() for r in ("base", "tuned"))
    assert base != tuned


def test_speeds_and_names_go_into_the_summary(result, models):
    summary = result.summary(models, {"base": "a", "tuned": "b"})
    assert summary["tasks"] == ["caretaker", "caretaker_clustering"]
    assert summary["dimension"] == {"base": 256, "tuned": 384}
    assert summary["speed"]["base"]["texts_per_s"] > summary["speed"]["tuned"]["texts_per_s"] > 0
    assert (summary["base"], summary["tuned"]) == ("a", "b")


def test_models_are_left_as_they_were(result, models):
    assert all("encode" not in vars(model) for model in models.values())
    assert np.isfinite(models["base"].encode(["still works"])).all()


def test_the_headline_tells_score_difference_and_interval(result):
    row = result.comparison.iloc[0]
    assert result.headline().startswith(f"caretaker accuracy {100 * row.base:.1f} → {100 * row.tuned:.1f}")
    (word,) = result.verdicts().values()
    assert result.headline().endswith(f": {word}")


def test_an_unknown_task_has_a_suggestion():
    with pytest.raises(MissingError, match=r"'Bankin77Classification'\. Did you mean 'Banking77Classification'"):
        task_sources(["Bankin77Classification"])


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(MissingError, match=r"Nothing to evaluate: give tasks .* or files"):
        task_sources()


def test_tasks_of_one_name_are_refused(caretaker, tmp_path):
    shutil.copytree(caretaker, tmp_path / "caretaker")
    with pytest.raises(DataError, match=r"(?s)same name.*caretaker \(2 times\).*caretaker_clustering.*rename one"):
        task_sources(files=[caretaker, tmp_path / "caretaker"])


def test_a_task_out_of_reach_is_named_and_leaves_nothing(models, tmp_path):
    with pytest.raises(MissingError, match=r"The data of MTEB task Banking77Classification .* cannot be loaded"):
        evaluate(models, task_sources(["Banking77Classification"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
