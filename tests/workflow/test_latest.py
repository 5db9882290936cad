"""What "latest" stands for: what an earlier notebook made, so that 1 to 5, run by hand, speak of the same model."""

from __future__ import annotations

import pytest
from helpers import MINILM, WORDLLAMA

from gisttools.common.errors import MissingError
from gisttools.workflow.params import DEMO_TRIPLETS, check_params
from gisttools.workflow.spec import parents_of, settled, spec_hash

TABLE = {"triplets.parquet": b"1"}


def settle(verb, **given):
    return settled(check_params(verb, given))


@pytest.mark.parametrize(("first", "second"), [("convert", "synthesize"), ("synthesize", "convert")])
def test_a_training_takes_the_newest_run_that_left_triplets(make_run, first, second):
    make_run(first, started="2026-01-01T00:00:01+00:00", files=TABLE)
    newest = make_run(second, started="2026-01-01T00:00:02+00:00", files=TABLE)
    make_run("convert", started="2026-01-01T00:00:03+00:00", status="failed", files=TABLE, seed=3)
    make_run("synthesize", started="2026-01-01T00:00:04+00:00", files=TABLE, dry_run=True)
    params = check_params("finetune", {})
    assert settled(params).triplets == [newest.name]
    assert parents_of(params) == [newest.name]
    assert spec_hash("finetune", params) == spec_hash("finetune", settled(params))


def test_an_evaluation_takes_the_newest_training_and_its_student(make_run):
    make_run("finetune", started="2026-01-01T00:00:01+00:00")
    newest = make_run("finetune", started="2026-01-01T00:00:02+00:00", seed=2)
    found = settle("evaluate")
    assert (found.model, found.baseline) == (newest.name, None)
    assert settle("evaluate", baseline="org/mine").baseline == "org/mine"
    assert settle("evaluate", model=["latest", MINILM]).model == [newest.name, MINILM]


def test_without_a_run_there_is_the_demo():
    assert settle("finetune").triplets == [DEMO_TRIPLETS]
    found = settle("evaluate")
    assert (found.model, found.baseline) == (MINILM, WORDLLAMA)
    assert settle("evaluate", baseline="org/mine").baseline == "org/mine"


@pytest.mark.parametrize(
    ("verb", "given"),
    [("finetune", {"triplets": ["latest", "mine.csv"]}), ("evaluate", {"model": ["latest", MINILM]}), ("report", {})],
)
def test_where_latest_is_one_of_several_it_must_be_there(verb, given):
    with pytest.raises(MissingError, match=r"no run of|No finished evaluate run"):
        settle(verb, **given)


def test_a_report_of_several_may_name_the_latest(make_run):
    newest = make_run("evaluate")
    assert settle("report", evaluation=["latest", "evaluate-1"]).evaluation == [newest.name, "evaluate-1"]
    assert settle("report").evaluation == newest.name


def test_which_run_it_is_is_said(make_run, capsys):
    run = make_run("convert", files=TABLE, headline="476 triplets")
    settled(check_params("finetune", {}), tell=True)
    settled(check_params("evaluate", {}), tell=True)
    settled(check_params("finetune", {"triplets": ["mine.csv"]}), tell=True)
    assert capsys.readouterr().err.splitlines() == [
        f"triplets: {run.name} (476 triplets)",
        f"model: {MINILM}, a demo: no run made one yet",
        f"baseline: {WORDLLAMA}, a demo: no run made one yet",
    ]
