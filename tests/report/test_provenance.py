"""What a report says of synthesised rows: what was wanted, what fell short, what a row cost."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from gisttools.common import anonymous
from gisttools.report.data import ReportData
from gisttools.report.provenance import left_out, mask_quality, synthetic


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


def test_texts_written_elsewhere_are_told_by_their_files():
    found = facts(texts={"a.jsonl": {"rows": 3}, "b.csv": {"rows": 2}})
    assert found["written elsewhere, in"] == "a.jsonl, b.csv"


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


def told_of(*places):
    table = pd.DataFrame({"place": places, "row": [f"r{p}" for p in places], "tier": "near", "score": 0.9, "text": "t"})
    table = table.assign(eval_text="e")
    (found,) = left_out(SimpleNamespace(left_out={"convert-1": table.rename(columns={"eval_text": "other"})}))
    return found["told"]


def test_rows_that_were_left_out_are_told_from_the_pairs_that_they_were_found_in():
    said = told_of(1, 1, 2)
    assert said.startswith("2 rows were left out for overlapping a test set, found in 3 pairs of a training text")
    assert told_of(1).startswith("1 row was left out for overlapping a test set (1 near).")


def test_how_right_the_mask_is_is_said_where_it_was_measured():
    def run(**told):
        return SimpleNamespace(summary={"mask_quality": told} if told else {})

    assert mask_quality(None) == mask_quality(run()) == ""
    said = mask_quality(run(masked=200, same_label=50, precision=0.2, recall=0.16))
    assert all(part in said for part in ("200 candidates", "20.0 %", "precision", "of 50", "16.0 %", "recall"))
    assert "nan" not in mask_quality(run(masked=0, same_label=50, precision=None, recall=0.0)).lower()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/home/me/data/mine.csv is gone", "…/mine.csv is gone"),
        ("at ~/work/x/y.txt, and 'C:\\Users\\me\\mine.csv'", "at …/y.txt, and '…/mine.csv'"),
        ("OSError: [Errno 28] No space left", "OSError: No space left"),
        ("https://host.org/a/b and data/support_intents and/or 1/2", None),
        ("org/name@0123, s3://bucket/folder/x, …/already/short", None),
    ],
)
def test_what_only_one_machine_understands_is_left_out_and_all_else_stays(text, said):
    assert anonymous(text) == (said or text)
