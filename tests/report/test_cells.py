"""Tables in a notebook's cells: nothing empty, no NaN."""

from __future__ import annotations

import pandas as pd
import pytest

from gisttools.report import shown

GAPS = pd.DataFrame(
    {"text": ["a", "b"], "score": [0.123456, float("nan")], "note": [None, None], "blank": ["", ""], "whole": [1, 2]}
)


def test_columns_of_nothing_go_and_a_gap_is_a_dash():
    table = shown(GAPS, "nothing")
    assert list(table.columns) == ["text", "score", "whole"]
    assert table["score"].tolist() == [0.1235, "–"]
    assert "NaN" not in table.to_html()
    assert GAPS["score"].isna().any()  # what was given is as it was


@pytest.mark.parametrize(("given", "said"), [(GAPS.head(0), "Nothing is left."), ("No candidates.", "No candidates.")])
def test_without_rows_there_is_a_sentence(given, said):
    assert shown(given, "Nothing is left.").data == said
