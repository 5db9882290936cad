"""The spec of a run: it changes with whatever decides the outcome, and with nothing else."""

from __future__ import annotations

import json
import os

import pytest

from gisttools.workflow.params import check_params
from gisttools.workflow.spec import parents_of, spec_hash

LABELLED = '{"text": "warm", "label": "a"}\n{"text": "cold", "label": "b"}\n'


def spec_of(verb: str, **given) -> str:
    return spec_hash(verb, check_params(verb, given))


def test_the_spec_is_the_same_at_another_time_and_for_spelt_out_defaults():
    assert spec_of("convert") == spec_of("convert") == spec_of("convert", negatives=1)


@pytest.mark.parametrize("given", [{"negatives": 2}, {"seed": 1}, {"strategy": "hard"}, {"guide_revision": "x"}])
def test_the_spec_changes_with_a_parameter(given):
    assert spec_of("convert", **given) != spec_of("convert")


def test_the_spec_changes_with_the_content_of_a_named_file_not_with_its_date(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(LABELLED)
    before = spec_of("convert", sources=[str(path)])
    os.utime(path, (1, 1))
    assert spec_of("convert", sources=[str(path)]) == before
    path.write_text(LABELLED.replace("cold", "cool"))
    assert spec_of("convert", sources=[str(path)]) != before


@pytest.mark.parametrize("name", ["train.jsonl", "1_Pooling/config.json"])
def test_the_spec_changes_with_the_content_of_a_named_folder_at_any_depth(tmp_path, name):
    path = tmp_path / "folder" / name
    path.parent.mkdir(parents=True)
    path.write_text("one")
    before = spec_of("finetune", student=str(tmp_path / "folder"))
    path.write_text("two")
    assert spec_of("finetune", student=str(tmp_path / "folder")) != before


def test_the_spec_changes_with_weights_of_the_same_size(tmp_path):
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    with weights.open("wb") as file:
        file.truncate(1 << 27)  # as large as those of a small encoder, and no bytes on the disk
    before = spec_of("finetune", student=str(weights.parent))
    assert spec_of("finetune", student=str(weights.parent)) == before
    with weights.open("r+b") as file:
        file.seek(1 << 26)
        file.write(b"trained on")
    os.utime(weights, ns=(1, 1))
    assert spec_of("finetune", student=str(weights.parent)) != before


def test_the_spec_depends_on_what_an_input_run_made_not_on_when(make_run, results):
    def run(second: int, content: bytes) -> str:
        files = {"triplets.parquet": content, "summary.json": str(second).encode()}
        return make_run("convert", started=f"2026-01-01T00:00:{second}+00:00", files=files, seed=second).name

    one, again, other = run(10, b"x"), run(11, b"x"), run(12, b"y")
    assert spec_of("finetune", triplets=[one]) == spec_of("finetune", triplets=[again])
    assert spec_of("finetune", triplets=[one]) != spec_of("finetune", triplets=[other])


def test_the_spec_changes_with_the_notebooks_code_but_not_with_its_prose(tmp_path, monkeypatch):
    def notebook(code: str, prose: str) -> str:
        cells = [
            {"cell_type": "markdown", "metadata": {}, "source": [prose]},
            {"cell_type": "code", "metadata": {}, "source": [code]},
        ]
        (tmp_path / "notebooks" / "5_report.ipynb").write_text(json.dumps({"cells": cells}))
        return spec_of("report", evaluation="mine")

    (tmp_path / "notebooks").mkdir()
    (tmp_path / "prompts").mkdir()
    (tmp_path / "gisttools.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert notebook("1 + 1", "one") == notebook("1 + 1", "two")
    assert notebook("1 + 1", "one") != notebook("1 + 2", "one")


def test_the_latest_evaluation_is_the_run_that_it_is_now(make_run):
    first = make_run("evaluate", started="2026-01-01T00:00:01+00:00", files={"scores.parquet": b"1"})
    before = spec_of("report")
    assert before == spec_of("report", evaluation=first.name)
    assert parents_of(check_params("report", {})) == [first.name]
    make_run("evaluate", started="2026-01-01T00:00:02+00:00", files={"scores.parquet": b"2"}, seed=1)
    assert spec_of("report") != before


TASK = "name: t\nkind: retrieval\ndescription: d\ndomain: d\nlanguage: eng-Latn\npassages: texts.txt\n"


def test_the_spec_changes_with_a_file_that_a_task_description_names(tmp_path):
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "texts.txt").write_text("one passage\n")
    given = {"task": str(tmp_path / "task.yaml"), "eval_files": [], "labelled_files": []}
    before = spec_of("synthesize", **given)
    os.utime(tmp_path / "texts.txt", (1, 1))
    (tmp_path / "beside.txt").write_text("not named\n")
    assert spec_of("synthesize", **given) == before
    (tmp_path / "texts.txt").write_text("another passage\n")
    assert spec_of("synthesize", **given) != before


@pytest.mark.parametrize("text", ["- a list\n", "a: [\n", "name: gone.txt\n", "1: 2\n", ""])
def test_a_task_description_that_cannot_be_read_has_a_spec_all_the_same(tmp_path, text):
    (tmp_path / "task.yaml").write_text(text)
    before = spec_of("synthesize", task=str(tmp_path / "task.yaml"))
    (tmp_path / "task.yaml").write_text(text + "# more\n")
    assert spec_of("synthesize", task=str(tmp_path / "task.yaml")) != before


def test_the_spec_changes_with_a_prompt_in_the_users_folder(tmp_path):
    (tmp_path / "sts.yaml").write_text("name: one\n")
    before = spec_of("synthesize", prompts=str(tmp_path))
    (tmp_path / "sts.yaml").write_text("name: two\n")
    assert spec_of("synthesize", prompts=str(tmp_path)) != before


def test_the_spec_changes_with_the_files_of_a_folder_that_is_named_with_its_kind(tmp_path):
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na,b,1\n")
    before = spec_of("evaluate", files=[f"{tmp_path}#sts"])
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na,b,2\n")
    assert spec_of("evaluate", files=[f"{tmp_path}#sts"]) != before
