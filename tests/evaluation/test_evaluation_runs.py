"""A whole evaluation: seeds and variants, references, failures, and going on after a kill."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import mteb
import numpy as np
import pandas as pd
import pytest
from helpers import ROOT
from helpers.evaluation_folders import compare, label_folder, search_folder, shaken, sts_folder

from gisttools.common import progress
from gisttools.common.errors import DataError, ParameterError
from gisttools.data.folder_tasks import local_tasks
from gisttools.evaluation.comparison import read_comparisons, targets_and_guards
from gisttools.evaluation.contenders import differences
from gisttools.evaluation.evaluating import TABLES, Variant, evaluate
from gisttools.evaluation.models import open_scored, scored
from gisttools.evaluation.scores import ScoreCache
from gisttools.evaluation.tasks import TaskSource, task_sources
from gisttools.workflow.evaluations import read_contenders, write_pages


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("folders")
    return [label_folder(home / "house"), sts_folder(home / "alike"), search_folder(home / "find")]


@pytest.fixture(scope="module")
def seeds(wordllama):
    return {"base": wordllama} | {role: shaken(wordllama, i) for i, role in enumerate(("tuned", "tuned_2", "tuned_3"))}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return ScoreCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def variants():
    return [Variant(roles=("tuned", "tuned_2")), Variant(name="other", roles=("tuned_3",))]


@pytest.fixture(scope="module")
def result(seeds, folders, cache, variants, tmp_path_factory):
    references = {"bm25": open_scored("bm25"), "random": open_scored("random")}
    out = tmp_path_factory.mktemp("out")
    return evaluate(seeds, task_sources(files=folders), out, variants=variants, references=references, cache=cache)


def broken(name: str, error: BaseException | None = None, *, target: bool = True) -> TaskSource:
    def make():
        raise error or ValueError("the rows are mixed up")

    return TaskSource(name, make, target, name, False)


# Seeds and variants


@pytest.mark.slow
def test_seeds_of_one_variant_speak_of_the_recipe_and_one_alone_of_its_checkpoint(result):
    rows = result.comparison.groupby("variant", sort=False)[["n_seeds", "speaks_of"]].first()
    assert rows.loc["tuned"].tolist() == [2, "the recipe"]
    assert rows.loc["other"].tolist() == [1, "this checkpoint"]


def test_over_seeds_the_score_is_their_mean(result):
    main = result.scores[result.scores["is_main"]].set_index(["task", "role"])["score"]
    for row in result.comparison.itertuples():
        roles = ["tuned", "tuned_2"] if row.variant == "tuned" else ["tuned_3"]
        assert row.tuned == pytest.approx(np.mean([main[row.task, role] for role in roles]))
        assert row.difference == pytest.approx(row.tuned - row.base)
        assert row.base == main[row.task, "base"]


def test_the_errors_of_seeds_and_items_stand_apart(result):
    several, one = (result.comparison[result.comparison["variant"] == v] for v in ("tuned", "other"))
    assert (several["seed_error"] >= 0).all()
    assert one["seed_error"].isna().all()
    known = one[one["standard_error"].notna()]
    assert known["item_error"].tolist() == known["standard_error"].tolist()


def test_p_is_corrected_over_all_variants(result):
    rows = result.comparison[result.comparison["p"].notna()]
    assert (rows["p_holm"] >= rows["p"]).all()
    smallest = rows.loc[rows["p"].idxmin()]
    assert smallest["p_holm"] == pytest.approx(min(1.0, smallest["p"] * len(rows)))


def test_items_tell_their_variant_and_hold_the_draws_of_all_seeds(result):
    items = result.items.groupby("variant")["tuned_draws"].first().map(len)
    base = len(result.items["base_draws"].iloc[0])
    assert items.to_dict() == {"tuned": 2 * base, "other": base}
    assert result.items["tuned_correct"].between(0, 1).all()


def test_each_variant_has_a_verdict_and_averages(result):
    assert set(result.verdicts()) == {"tuned", "other"}
    assert set(result.verdicts().values()) <= {"HELPED", "HURT", "MIXED", "NOT SHOWN"}
    table = result.averages[result.averages["tasks"] == "all"]
    for variant, part in table.groupby("variant"):
        own = result.comparison[(result.comparison["variant"] == variant) & ~result.comparison["second_look"]]
        row = part.set_index("name").loc["all tasks"]
        assert row["n_tasks"] == len(own)
        assert row["difference"] == pytest.approx(own["difference"].mean())


def test_a_variant_that_trained_on_a_task_is_averaged_without_it_as_well(seeds, folders, cache, tmp_path):
    trained = [Variant(roles=("tuned",), trained_on=(str(folders[1]),), training_sets=frozenset())]
    models = {role: seeds[role] for role in ("base", "tuned")}
    result = evaluate(models, task_sources(files=folders), tmp_path, variants=trained, cache=cache)
    assert result.comparison.set_index("task")["trained_on"].to_dict()["alike"] is True
    rows = result.averages[result.averages["tasks"] == "not trained on"]
    assert "STS" not in set(rows["name"])
    assert rows.set_index("name").loc["all tasks", "n_tasks"] == 2  # clustering of house's texts is a second look


def test_a_second_look_is_told_and_is_no_guard(result):
    rows = read_comparisons(result.comparison)
    assert {row.task for row in rows if row.second_look} == {"house_clustering"}
    assert all(row.non_inferior is None and math.isnan(row.allowed_loss) for row in rows if row.second_look)
    targets, guards = targets_and_guards(rows)
    assert "house_clustering" not in {row.task for row in (*targets, *guards)}


# Models of every kind


def test_scores_of_every_kind_of_task_equal_mteb_run_by_hand(result, seeds, folders):
    main = result.scores[result.scores["is_main"]].set_index(["task", "role"])["score"]
    for folder in folders:
        for task in local_tasks(folder):
            done = mteb.evaluate(seeds["base"], task, cache=None, co2_tracker=False, show_progress_bar=False)
            assert main[task.metadata.name, "base"] == pytest.approx(done.task_results[0].get_score(), abs=1e-6)


def test_references_are_scored_and_not_judged(result):
    found = result.references.groupby("name")["task"].agg(set).to_dict()
    assert found == {"bm25": {"find"}, "random": set(result.comparison["task"])}
    assert set(result.references["kind"]) == {"bm25", "random"}
    assert "random" not in set(result.scores["role"])
    search = result.references[result.references["task"] == "find"].set_index("name")["score"]
    assert search["bm25"] > search["random"]


def test_averages_and_references_are_read_in_points(result):
    averages, read = result.averages, result.beside("averages")
    assert read["tuned"].tolist() == pytest.approx((100 * averages["tuned"]).tolist(), abs=0.06)
    assert read["n_tasks"].tolist() == averages["n_tasks"].tolist()
    assert result.beside("references")["score"].max() > 1
    nothing = replace(result, references=result.references.head(0).astype(object))
    assert nothing.beside("references").empty


def test_a_model_of_another_dimension_is_compared(wordllama, minilm, folders, cache, tmp_path):
    models = {"base": wordllama, "tuned": minilm}
    result = evaluate(models, task_sources(files=folders[1:2]), tmp_path, cache=cache)
    assert result.summary(models, {"base": "a", "tuned": "b"})["dimension"] == {"base": 256, "tuned": 384}


def test_the_summary_is_json(result, seeds):
    told = json.loads(json.dumps(result.summary(seeds, {role: role for role in seeds}, ["a note"]), allow_nan=False))
    assert told["verdict"] == told["verdicts"]["tuned"]
    assert told["notes"] == ["a note"]
    assert [v["n_seeds"] for v in told["variants"]] == [2, 1]
    assert told["references"] == ["random", "bm25"] or told["references"] == ["bm25", "random"]


def test_every_table_is_written(result, tmp_path):
    result.save(tmp_path)
    for name in TABLES:
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), getattr(result, name))


# Once is enough


@pytest.mark.slow
def test_a_repeat_embeds_nothing_and_says_the_same(result, seeds, folders, cache, variants, tmp_path):
    again = evaluate(seeds, task_sources(files=folders), tmp_path, variants=variants, cache=cache)
    assert set(again.encoded.values()) == {0}
    pd.testing.assert_frame_equal(again.comparison, result.comparison)
    pd.testing.assert_frame_equal(again.items, result.items)
    assert (tmp_path / "predictions" / "tuned" / "find.json").exists()


@pytest.mark.slow
def test_a_text_of_two_tasks_is_embedded_once(wordllama, tmp_path):
    folders = [label_folder(tmp_path / "one"), label_folder(tmp_path / "two")]
    models = {"base": wordllama, "tuned": shaken(wordllama, 9)}
    result = evaluate(models, task_sources(files=folders), tmp_path / "out", cache=ScoreCache(tmp_path / "cache"))
    assert result.encoded == {"base": 24, "tuned": 24}  # 12 train and 12 test texts, in four tasks


@pytest.mark.slow
def test_changed_data_is_scored_anew(wordllama, tmp_path):
    folder, cache = sts_folder(tmp_path / "mine"), ScoreCache(tmp_path / "cache")
    models = {"base": wordllama, "tuned": wordllama}
    before = evaluate(models, task_sources(files=[folder]), tmp_path / "out", cache=cache)
    text = (folder / "test.jsonl").read_text()
    (folder / "test.jsonl").write_text(text.replace("radiator stays cold", "radiator is freezing"))
    after = evaluate(models, task_sources(files=[folder]), tmp_path / "out", cache=cache)
    assert after.encoded["base"] == 1
    assert set(after.scores["revision"]) != set(before.scores["revision"])


@pytest.mark.slow
def test_damaged_scores_are_made_again(wordllama, tmp_path):
    folder, cache = sts_folder(tmp_path / "mine"), ScoreCache(tmp_path / "cache")
    models = {"base": wordllama, "tuned": shaken(wordllama, 3)}
    before = evaluate(models, task_sources(files=[folder]), tmp_path / "out", cache=cache)
    for what in ("predictions/*.json", "*.json"):
        for told in ("{}", "[]", "null", "", '{"format": 1}', "\udcff", "[1]"):
            for path in (tmp_path / "cache").rglob(what):
                path.write_bytes(told.encode("utf-8", "surrogateescape"))
            after = evaluate(models, task_sources(files=[folder]), tmp_path / "out", cache=cache)
            pd.testing.assert_frame_equal(after.comparison, before.comparison)


@pytest.mark.slow
def test_after_a_kill_only_what_is_missing_is_embedded(tmp_path, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path / "cache"))
    first, second = label_folder(tmp_path / "first"), sts_folder(tmp_path / "slow")
    out = tmp_path / "out"
    out.mkdir()
    script = str(ROOT / "tests" / "helpers" / "evaluation_folders.py")
    child = subprocess.Popen(
        [sys.executable, script, str(out), str(first), str(second)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    while not (out / "waiting").exists():
        assert child.poll() is None
        time.sleep(0.1)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    result = compare(out, [str(first), str(second)])
    # the baseline was done with both folders; of the tuned model the second folder's texts were missing: the test
    # texts of the first one say "please", so none is known yet
    texts = {t for row in (second / "test.jsonl").read_text().splitlines() for t in list(json.loads(row).values())[:2]}
    train = {json.loads(row)["text"] for row in (first / "train.jsonl").read_text().splitlines()}
    assert result.encoded == {"base": 0, "tuned": len(texts - train)}
    assert set(result.comparison["task"]) == {"first", "first_clustering", "slow"}


# What fails


def test_a_broken_task_in_the_middle_is_recorded_and_the_others_go_on(seeds, folders, cache, tmp_path):
    sources = task_sources(files=folders)
    sources.insert(1, broken("bad"))
    models = {role: seeds[role] for role in ("base", "tuned")}
    result = evaluate(models, sources, tmp_path, cache=cache)
    assert set(result.comparison["task"]) == {"house", "house_clustering", "alike", "find"}
    assert result.failed.to_dict("records") == [
        {"task": "bad", "model": "base", "error": "ValueError: the rows are mixed up.", "is_target": True}
    ]
    assert "1 failed" in result.headline()
    assert "HELPED" not in result.verdicts().values()  # a target that was not scored is not shown


@pytest.mark.slow
def test_a_score_that_is_no_number_is_a_failure(seeds, folders, wordllama, cache, tmp_path):
    ruined = shaken(wordllama, 5)
    for weight in ruined.parameters():
        weight.data.zero_()
    models = {"base": wordllama, "tuned": seeds["tuned"], "tuned_2": ruined}
    variants = [Variant(roles=("tuned", "tuned_2"))]
    result = evaluate(models, task_sources(files=folders[1:2]), tmp_path, variants=variants, cache=cache)
    assert result.failed["model"].tolist() == ["tuned_2"]
    assert "the main score is not a number (test, default)" in result.failed["error"].iloc[0]
    assert result.comparison["n_seeds"].tolist() == [1]


def test_too_little_memory_names_the_batch_size(seeds, folders, wordllama, tmp_path, monkeypatch):
    tuned = shaken(wordllama, 6)
    encode = tuned.encode

    def fails(inputs, **options):
        if len(inputs) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return encode(inputs, **options)

    monkeypatch.setattr(tuned, "forward", lambda *_, **__: fails([1, 2]))
    with pytest.raises(DataError, match=r"(?s)Nothing could be compared.*alike, tuned: out of memory .*batch_size"):
        evaluate(
            {"base": wordllama, "tuned": tuned},
            task_sources(files=folders[1:2]),
            tmp_path,
            cache=ScoreCache(tmp_path / "c"),
        )


def test_a_failed_reference_spoils_nothing(seeds, folders, cache, tmp_path):
    reference = open_scored("random", seed=3)
    object.__setattr__(reference.encoder, "encode", lambda *_, **__: 1 / 0)
    models = {role: seeds[role] for role in ("base", "tuned")}
    sources = task_sources(files=folders[1:2])
    result = evaluate(models, sources, tmp_path, references={"zero": reference}, cache=cache)
    assert result.failed["error"].tolist() == ["ZeroDivisionError: division by zero."]
    assert len(result.comparison) == 1


def test_without_any_target_left_the_evaluation_fails_and_lists_why(seeds, folders, cache, tmp_path):
    guard = TaskSource("alike", lambda: local_tasks(folders[1])[0], False, "alike", False)
    models = {role: seeds[role] for role in ("base", "tuned")}
    with pytest.raises(DataError, match=r"(?s)None of the targets could be compared:.*bad, base: ValueError"):
        evaluate(models, [broken("bad"), guard], tmp_path, cache=cache)


def test_a_stop_by_hand_is_no_failure(seeds, tmp_path):
    models = {role: seeds[role] for role in ("base", "tuned")}
    with pytest.raises(KeyboardInterrupt):
        evaluate(models, [broken("bad", KeyboardInterrupt())], tmp_path)


@pytest.mark.slow
def test_other_weights_or_prompts_are_another_model(wordllama):
    prompted = shaken(wordllama, 1, by=0.0)
    same = scored(prompted, "b").key
    prompted.prompts = {"query": "query: "}
    assert scored(wordllama, "a").key == same
    assert len({scored(wordllama).key, scored(shaken(wordllama, 1)).key, scored(prompted).key}) == 3


# Read again by what compares runs


@pytest.fixture
def evaluation_run(make_run, tmp_path):
    """A function that leaves an evaluate run: its id."""

    def leave(evaluation, models: dict, names: dict[str, str]) -> str:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        evaluation.save(folder)
        files = {f"{name}.parquet": (folder / f"{name}.parquet").read_bytes() for name in TABLES}
        files["summary.json"] = json.dumps(evaluation.summary(models, names)).encode()
        return make_run("evaluate", model=[n for r, n in names.items() if r != "base"], files=files).name

    return leave


@pytest.mark.slow
def test_several_models_of_one_run_read_as_if_each_had_a_run_of_its_own(
    result, seeds, folders, cache, evaluation_run, tmp_path
):
    names = {"base": "student"} | {role: f"org/{role}" for role in seeds if role != "base"}
    together = read_contenders([evaluation_run(result, seeds, names)])
    assert [c.parameters for c in together] == [{"model": f"org/{role}"} for role in ("tuned", "tuned_2", "tuned_3")]
    for contender, role in zip(together, ("tuned", "tuned_2", "tuned_3"), strict=True):
        models = {"base": seeds["base"], "tuned": seeds[role]}
        single = evaluate(models, task_sources(files=folders), tmp_path, cache=cache)
        run = evaluation_run(single, models, {"base": "student", "tuned": f"org/{role}"})
        (alone,) = read_contenders([run])
        assert (alone.name, alone.evaluation) == (run, run)
        assert differences(alone, contender) == []
        assert contender.about == alone.about
        for part, did in alone.tuned.items():
            assert contender.tuned[part].score == pytest.approx(did.score, abs=1e-12)
            np.testing.assert_array_equal(contender.tuned[part].values, did.values)
            np.testing.assert_array_equal(contender.base[part].values, alone.base[part].values)


@pytest.mark.slow
@pytest.mark.parametrize("left", [["tuned_2", "tuned_3"], ["tuned_2"]])
def test_a_seed_that_failed_on_a_task_has_no_score_there(seeds, folders, cache, evaluation_run, tmp_path, left):
    failing = open_scored("random", seed=4)
    object.__setattr__(failing.encoder, "encode", lambda *_, **__: 1 / 0)
    models = {"base": seeds["base"], "tuned": failing} | {role: seeds[role] for role in left}
    variants = [Variant(roles=("tuned", *left))]
    found = evaluate(models, task_sources(files=folders[:1]), tmp_path, variants=variants, cache=cache)
    lost, *others = read_contenders([evaluation_run(found, models, {role: role for role in models})])
    assert ("house", "default") not in lost.tuned
    assert len(others) == len(left)
    for contender, role in zip(others, left, strict=True):
        did = contender.tuned["house", "default"]
        own = found.scores[(found.scores["role"] == role) & found.scores["is_main"]]
        assert did.score == pytest.approx(own["score"].iloc[0])
        assert did.values.mean() == pytest.approx(did.score)


@pytest.fixture
def swept(result, seeds, evaluation_run):
    """A run of two variants, one of them of two seeds."""
    return evaluation_run(result, seeds, {"base": "student"} | {r: f"org/{r}" for r in seeds if r != "base"})


@pytest.mark.slow
def test_the_report_of_several_variants_is_a_page_and_a_leaderboard(swept, tmp_path):
    pages = write_pages(swept, tmp_path)
    assert (pages.page, pages.summary) == (tmp_path / "report.html", {"evaluation": swept})
    assert pages.picture.title.startswith("Difference by task")
    assert "org/tuned_3" in (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert f"gisttools compare {swept}\n" in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_report_of_several_evaluations_is_their_leaderboard(
    swept, seeds, folders, cache, evaluation_run, make_run, tmp_path
):
    models = {"base": seeds["base"], "tuned": shaken(seeds["base"], 7)}
    single = evaluate(models, task_sources(files=folders), tmp_path / "single", cache=cache)
    other = evaluation_run(single, models, {"base": "student", "tuned": "org/other"})
    pages = write_pages([swept, other], tmp_path / "out")
    assert pages.page.name == "leaderboard.html"
    assert pages.picture.title.startswith("Variants against the baseline")
    assert not (tmp_path / "out" / "report.html").exists()
    board = pages.page.read_text(encoding="utf-8")
    assert all(name in board for name in ("org/tuned", "org/tuned_2", "org/tuned_3", "org/other"))
    assert pages.headline.startswith("4 variants of 4 runs on mean of 3 tasks: Best is model=org/")
    with pytest.raises(ParameterError, match="latex = True is for one evaluation"):
        write_pages([swept, other], tmp_path / "none", latex=True)
    assert not (tmp_path / "none").exists()


def test_a_model_whose_vectors_have_collapsed_is_told(wordllama, folders, tmp_path):
    """Made elsewhere, so that no training has refused it."""
    collapsed = shaken(wordllama, 0)
    weight = collapsed[0].embedding.weight.data
    weight[:] = weight.mean(dim=0) + 1e-4 * weight
    models = {"base": wordllama, "tuned": collapsed}
    result = evaluate(models, task_sources(files=folders[:1]), tmp_path, cache=ScoreCache(tmp_path / "cache"))
    assert "mean cosine" in result.collapsed()["tuned"]
    assert "of the baseline" in result.collapsed()["tuned"]
    told = result.summary(models, {"base": "base", "tuned": "tuned"})
    assert told["spread"]["tuned"]["mean_cosine"] > 0.95
    assert told["collapsed"].keys() == {"tuned"}


def test_while_it_evaluates_the_status_tells_texts_task_and_model(wordllama, folders, tmp_path, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_STATUS_FILE", str(tmp_path / "status.txt"))
    monkeypatch.setattr("gisttools.evaluation.kept_vectors._SECONDS_WITHOUT_BAR", 0)
    monkeypatch.setattr("gisttools.evaluation.kept_vectors.MANY", 10)
    monkeypatch.setattr("gisttools.evaluation.evaluating._MANY", 10)
    seen = []
    write = progress._Status.write
    monkeypatch.setattr(progress._Status, "write", lambda self: (write(self), seen.append(_status(tmp_path))))
    models = {"base": wordllama, "tuned": shaken(wordllama, 0)}
    evaluate(models, task_sources(files=folders[:1]), tmp_path, cache=ScoreCache(tmp_path / "cache"))
    assert any("evaluating: " in text and "; embedding: " in text and " texts of house (base)" in text for text in seen)
    notices = (tmp_path / "notices.txt").read_text()
    assert "house, a target, has about 1,000 texts for base, tuned to embed" in notices
    assert "texts of house (tuned): about " in notices


def _status(folder):
    return (folder / "status.txt").read_text() if (folder / "status.txt").exists() else ""
