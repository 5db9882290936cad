"""Tasks by name, benchmark and condition, and the guard of an evaluation that names none."""

from __future__ import annotations

import pytest

from gisttools.common.errors import MissingError, ParameterError
from gisttools.evaluation.published import _table
from gisttools.evaluation.tasks import default_guards, select_tasks, task_sources


@pytest.fixture(scope="module")
def v1():
    return select_tasks(["MTEB(eng, v1)"])


def test_the_papers_benchmark_has_its_56_tasks(v1):
    names = {selected.group or selected.name for selected in v1}
    assert len(names) == 56
    assert names == set(_table()["task"])


def test_a_task_made_of_others_is_scored_by_its_parts(v1):
    parts = [s for s in v1 if s.group == "CQADupstackRetrieval"]
    assert len(parts) == 12
    assert [s.name for s in select_tasks(["CQADupstackRetrieval"])] == [s.name for s in parts]


def test_a_benchmark_has_its_own_splits_and_subsets(v1):
    made = {s.name: s.make() for s in v1 if s.name in ("MSMARCO", "STS22", "AmazonReviewsClassification")}
    assert made["MSMARCO"].eval_splits == ["dev"]
    assert made["STS22"].hf_subsets == ["en"]
    assert made["AmazonReviewsClassification"].eval_splits == ["test"]


def test_conditions_all_hold():
    german = select_tasks(["type:STS language:deu"])
    assert {"GermanSTSBenchmark", "STS17"} <= {s.name for s in german}
    for selected in german:
        task = selected.make()
        assert task.metadata.type == "STS"
        assert all(
            any(c.startswith("deu") for c in task.metadata.hf_subsets_to_langscripts[s]) for s in task.hf_subsets
        )


def test_a_task_of_two_selections_counts_once_and_what_is_named_wins():
    names = [s.name for s in select_tasks(["type:Summarization language:eng", "MTEB(eng, v2)", "STSBenchmark"])]
    assert len(names) == len(set(names))
    told = {s.name for s in select_tasks(["MTEB(eng, v2)", "STSBenchmark"]) if s.told}
    assert told == {"STSBenchmark"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("type:STSS", r"there is no type 'STSS'\. Did you mean 'STS'\?"),
        ("type:STS lang:deu", r"'lang:deu' is no condition; write type:STS or language:deu"),
        ("language:xyzw", r"cannot be looked up: .*xyzw"),
    ],
)
def test_a_wrong_condition_is_told(name, message):
    with pytest.raises(ParameterError, match=message):
        select_tasks([name])


def test_an_unknown_benchmark_has_a_suggestion():
    with pytest.raises(MissingError, match=r"no benchmark 'MTEB\(eng, v3\)'\. Did you mean 'MTEB\(eng, v[12]\)'"):
        select_tasks(["MTEB(eng, v3)"])


def test_conditions_that_fit_nothing_are_told():
    with pytest.raises(MissingError, match="mteb has no task for 'type:Summarization language:deu'"):
        select_tasks(["type:Summarization language:deu"])


def test_a_guard_that_is_a_target_is_the_targets():
    sources = task_sources(["STSBenchmark"], guards=["type:STS language:eng"])
    assert [s.is_target for s in sources if s.name == "STSBenchmark"] == [True]
    assert sum(not s.is_target for s in sources) > 5


def test_out_of_reach_there_is_no_guard_and_a_note():
    guards, note = default_guards()
    assert guards == []
    assert note.startswith("STSBenchmark, the usual guard, is out of reach here: what")  # no words of the network's
    assert default_guards(["STSBenchmark"])[1] == "STSBenchmark is a target, so no guard was run."
