"""What rows cost: rejected ones are paid for as well, and a price that is not known stays unknown."""

from __future__ import annotations

import json

import pytest

from gisttools.common.errors import DataError
from gisttools.data.triplet_sets import nested_subset, triplet_tables
from gisttools.data.triplets import write_triplets
from gisttools.workflow.folders import inputs
from gisttools.workflow.inputs import rows_cost


@pytest.fixture
def written(make_run, tmp_path):
    """A function that leaves a synthesize run of 10 accepted rows that cost 0.01 each, of 20 answers in all."""

    def write(cost_usd: float | None, own: float | None = 0.01, **summary: float) -> str:
        rows = [{"anchor": f"a{i}", "positive": "p", "cost_usd": own, "anchor_label": str(i % 2)} for i in range(10)]
        files = {
            "triplets.parquet": write_triplets(rows, tmp_path / "t.parquet").read_bytes(),
            "summary.json": json.dumps({"asked": 20, "accepted": 10, "cost_usd": cost_usd, **summary}).encode(),
        }
        return make_run("synthesize", files=files).name

    return write


def cost(names, limit=None) -> dict:
    return rows_cost(names, nested_subset(triplet_tables(inputs(names, "triplets.parquet")), limit))


def test_rows_of_a_synthesize_run_carry_what_its_rejected_rows_cost(written):
    run = written(0.25)
    assert cost([run]) == {"rows": 10, "rows_cost_usd": pytest.approx(0.25), "rows_priced": 10}
    assert cost([run], limit=4) == {"rows": 4, "rows_cost_usd": pytest.approx(0.1), "rows_priced": 4}


def test_ideas_are_paid_for_as_well(written):
    assert cost([written(0.25, idea_cost_usd=0.05)])["rows_cost_usd"] == pytest.approx(0.3)


def test_rows_of_a_file_cost_what_they_say(written, tmp_path):
    rows = [{"anchor": str(i), "positive": "p", "cost_usd": 0.5 if i < 3 else None} for i in range(8)]
    path = str(write_triplets(rows, tmp_path / "mine.parquet"))
    assert cost([path]) == {"rows": 8, "rows_cost_usd": 1.5, "rows_priced": 3}
    assert cost([path, written(0.25)]) == {"rows": 18, "rows_cost_usd": pytest.approx(1.75), "rows_priced": 13}


def test_where_no_row_has_a_price_the_cost_is_not_known(written):
    assert cost([written(None, own=None)]) == {"rows": 10, "rows_cost_usd": None, "rows_priced": 0}


def test_a_price_of_nothing_is_known(written):
    assert cost([written(0.0)]) == {"rows": 10, "rows_cost_usd": 0.0, "rows_priced": 10}


def test_a_changed_summary_is_refused(written, results):
    run = written(0.25)
    (results / run / "summary.json").write_text("{}")
    with pytest.raises(DataError, match=r"summary\.json changed since the run"):
        cost([run])
