"""What a report says of synthesised rows: what was wanted, what fell short, what a row cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gisttools.report.data import ReportData
from gisttools.report.provenance import synthetic


def facts(**summary) -> dict[str, str]:
    run = SimpleNamespace(id="synthesize-1", summary={"task": "t", "asked": 9, "accepted": 5, **summary})
    (found,) = synthetic(SimpleNamespace(syntheses=[run], accepted={}, rejected={}))
    return dict(found["facts"])


def test_groups_that_fell_short_are_named_the_worst_first():
    found = facts(wanted=12, short={"dog": 1, "<cat>": 6})
    assert (found["rows wanted"], found["short of"]) == ("12", "<cat> 6, dog 1")


@pytest.mark.parametrize(("cost", "said"), [(0.01234, "$0.0123"), (None, None)])
def test_what_a_row_cost_is_told_where_it_is_known(cost, said):
    found = facts(wanted=5, short={}, cost_per_accepted=cost)
    assert found["short of"] == "nothing"
    assert found.get("an accepted row cost") == said


def test_a_run_of_before_there_were_quotas_says_nothing_of_them():
    assert set(facts()) == {"task", "kind", "model", "prompt"}


def test_only_trainings_that_the_student_went_through_are_earlier_ones():
    told = {
        "final": "results/second",
        "trial": "org/start",
        "second": "first",
        "first": "org/start",
        "seed": "org/start",
    }
    runs = tuple(SimpleNamespace(id=name, parameters={"student": student}) for name, student in told.items())
    data = SimpleNamespace(finetunes=runs, finetune=runs[0])
    assert [run.id for run in ReportData.tuned_before.fget(data)] == ["second", "first"]
