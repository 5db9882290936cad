"""mteb's own files: its `ResultCache` reads what an evaluation leaves, and finds the scores that were told."""

from __future__ import annotations

import json

import mteb
import pytest
from datasets import Dataset, DatasetDict
from helpers import WORDLLAMA
from helpers.evaluation_folders import TOPICS, label_folder, shaken
from mteb.models.model_meta import ModelMeta

from gisttools.evaluation.evaluating import evaluate
from gisttools.evaluation.models import ScoredModel, scored
from gisttools.evaluation.mteb_files import renamed_results, write_mteb_result
from gisttools.evaluation.scores import KeptScores, ScoreCache
from gisttools.evaluation.tasks import TaskSource, task_sources

TASK = "Banking77Classification"


def small():
    """mteb's task of that name with a dozen texts in place of its own."""
    task = mteb.get_task(TASK)
    rows = [(text, number) for number, texts in enumerate(TOPICS.values()) for text in texts]
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    train = Dataset.from_dict({"text": texts, "label": labels})
    test = Dataset.from_dict({"text": [f"please: {text}" for text in texts], "label": labels})
    task.dataset, task.data_loaded = DatasetDict(train=train, test=test), True
    return task


@pytest.fixture(scope="module")
def left(wordllama, tmp_path_factory):
    """The folder of an evaluation on a task of mteb's and one of files, and what it found."""
    folder = tmp_path_factory.mktemp("left")
    models = {
        "base": scored(wordllama, WORDLLAMA),
        "tuned": scored(shaken(wordllama, 1), str(folder / "finetune-20260101T000000Z-0123abcd" / "model")),
    }
    files = task_sources(files=[label_folder(folder / "mine")])
    sources = [TaskSource(TASK, small, True, TASK), *files]
    return folder, evaluate(models, sources, folder, cache=ScoreCache(folder / "cache"))


@pytest.mark.slow
def test_mtebs_own_cache_reads_the_scores_of_both_models(left):
    folder, found = left
    cache = mteb.ResultCache(cache_path=folder / "mteb")
    results = cache.load_results()
    told = found.scores[found.scores["is_main"] & (found.scores["task"] == TASK)].set_index("role")["score"]
    read = {r.model_name: r for r in results.model_results}
    assert set(read) == {"local/embedded-wordllama-256", "local/finetune-20260101T000000Z-0123abcd"}
    for name, role in zip(sorted(read), ("base", "tuned"), strict=True):
        (result,) = read[name].task_results
        assert result.get_score() == pytest.approx(told[role], abs=1e-6)
        assert (result.task_name, result.dataset_revision) == (TASK, mteb.get_task(TASK).metadata.revision)
        assert result.scores["test"][0]["languages"] == ["eng-Latn"]


@pytest.mark.slow
def test_it_also_reads_them_as_the_leaderboard_does(left):
    folder, _ = left
    cache = mteb.ResultCache(cache_path=folder / "mteb")
    results = cache.load_results(tasks=[mteb.get_task(TASK)], validate_and_filter=True, only_main_score=True)
    table = results.to_dataframe()
    assert table["task_name"].tolist() == [TASK]
    assert sum(c.startswith("local/") for c in table.columns) == 2


@pytest.mark.slow
def test_tasks_of_files_are_left_out_for_mteb_knows_none_of_that_name(left):
    folder, found = left
    assert "mine" in set(found.scores["task"])
    names = {p.name for p in (folder / "mteb" / "results").rglob("*.json")}
    assert names == {f"{TASK}.json", "model_meta.json"}


@pytest.mark.slow
def test_the_model_is_told_in_mtebs_form_and_without_places_of_this_machine(left):
    folder, _ = left
    for file in (folder / "mteb").rglob("model_meta.json"):
        text = file.read_text()
        assert str(folder) not in text
        meta = ModelMeta.model_validate_json_resolved(text)
        assert (meta.embed_dim, meta.framework) == (256, ["Sentence Transformers", "PyTorch"])
        assert meta.loader is not None
        assert (file.parent.parent.name, file.parent.name) == (meta.model_name_as_path(), meta.revision)


@pytest.mark.slow
def test_under_the_name_of_the_hub_they_are_found_by_that_name(left, tmp_path):
    folder, _ = left
    (tuned,) = (folder / "mteb" / "results").glob("local__finetune-*/*")
    commit = "a" * 40
    for name, text in renamed_results(tuned, "me/mine", commit):
        (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / name).write_text(text)
    (read,) = mteb.ResultCache(cache_path=tmp_path).load_results(models=["me/mine"], tasks=[TASK]).model_results
    assert (read.model_name, read.model_revision) == ("me/mine", commit)


def kept(**raw) -> KeptScores:
    part = {"hf_subset": "default", "languages": ["eng-Latn"], "main_score": 0.5, "accuracy": 0.5}
    return KeptScores({}, [], {"default": part | raw}, "test", None, 1, 1, 1.0, "d")


@pytest.mark.parametrize(
    ("name", "kind", "revision", "wanted"),
    [
        ("BAAI/bge-small-en-v1.5", "model", "b" * 40, f"BAAI__bge-small-en-v1.5/{'b' * 40}"),
        ("endpoint:my-model", "endpoint", "https://secret.example/v1", "local__endpoint-my-model/KEY"),
        ("mteb:intfloat/e5-small-v2", "registry", "r1", "intfloat__e5-small-v2/r1"),
        ("a b/../c", "model", "sha:1/2", "local__c/sha-1-2"),
    ],
)
def test_every_kind_of_model_has_a_folder_of_its_own(tmp_path, name, kind, revision, wanted):
    model = ScoredModel(name=name, kind=kind, encoder=None, identity="i", revision=revision)
    file = write_mteb_result(tmp_path, model, mteb.get_task(TASK), kept())
    assert file == tmp_path / "mteb" / "results" / wanted.replace("KEY", model.key) / f"{TASK}.json"
    assert "secret" not in (file.parent / "model_meta.json").read_text()


def test_all_splits_are_there_and_a_score_that_is_no_number(tmp_path, wordllama):
    from gisttools.evaluation.comparison import ScoreRow

    def row(metric, score, **more):
        return ScoreRow(
            task=TASK, task_type="Classification", split="validation", subset="default", n_items=1, n_draws=1,
            revision="r", mteb="2", metric=metric, score=score, **{"is_main": False} | more,
        )  # fmt: skip

    told = kept(ap=float("nan"))
    told.rows.extend([row("accuracy", 0.25, is_main=True), row("f1", 0.125)])
    file = write_mteb_result(tmp_path, scored(wordllama, WORDLLAMA), mteb.get_task(TASK), told)
    (read,) = mteb.ResultCache(cache_path=tmp_path / "mteb").load_results().model_results
    scores = read.task_results[0].scores
    assert set(scores) == {"test", "validation"}
    assert scores["validation"][0] | {"main_score": 0.25, "f1": 0.125} == scores["validation"][0]
    assert json.loads(file.read_text())["evaluation_time"] is None
