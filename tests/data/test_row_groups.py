"""Groups of rows are left out by what is known of them."""

from __future__ import annotations

import json

import pytest

from gisttools.common.errors import ParameterError
from gisttools.data.row_groups import without_groups
from gisttools.data.triplets import make_triplets


def row(text, **told):
    return {"anchor": text, "positive": f"{text} again", **told}


@pytest.fixture
def tables():
    return {
        "written": make_triplets([
            row("a", anchor_label="x", source="llm", guide_ap=0.9, attributes=json.dumps({"form": "a question"})),
            row("b", anchor_label="y", source="llm", guide_ap=0.4, attributes=json.dumps({"form": "keywords"})),
            row("c", anchor_label="z", source="llm", guide_ap=None),
        ]),
        "real": make_triplets([
            row("d", anchor_label="x", source="labelled"),
            row("e", anchor_label="y", source="labelled"),
        ]),
    }  # fmt: skip


@pytest.mark.parametrize("attributes", ["abc", "null", "[1]", '"form"'])
def test_attributes_that_are_no_object_tell_nothing(attributes):
    own = make_triplets([row("a", attributes=json.dumps({"form": "x"})), row("b", attributes=attributes)])
    assert without_groups({"own": own}, [{"attributes.form": "x"}])["own"]["anchor"][:] == ["b"]


@pytest.mark.parametrize(
    ("groups", "left"),
    [
        ([], "abcde"),
        ([{"source": "llm"}], "de"),
        ([{"source": "llm", "anchor_label": "x"}], "bcde"),  # all of it must hold
        ([{"source": "llm", "anchor_label": "x"}, {"source": "labelled", "anchor_label": "y"}], "bcd"),  # any of them
        ([{"anchor_label": ["x", "z"]}], "be"),
        ([{"guide_ap": "< 0.5"}], "acde"),  # what is not known is no number
        ([{"guide_ap": ">=0.4"}], "cde"),
        ([{"attributes.form": "keywords"}], "acde"),
    ],
)
def test_rows_of_any_group_are_left_out_in_their_order(groups, left, tables):
    found = without_groups(tables, groups)
    assert list(found) == ["written", "real"]
    assert "".join(text for part in found.values() for text in part["anchor"]) == left


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ([{"anchor_lable": "x"}], ["there is no column 'anchor_lable'", "anchor_label"]),
        ([{"guide_ap": "0.5"}, {}], ["guide_ap is a number, and '0.5' no comparison", "a group says nothing"]),
        ([{"source": "hub"}, {"anchor_label": "w"}], ['{"source": "hub"}', '{"anchor_label": "w"}']),
        ([{"source": ["llm", "labelled"]}], ["no row is left"]),
    ],
)
def test_groups_that_are_none_are_refused_all_at_once(groups, told, tables):
    with pytest.raises(ParameterError) as refused:
        without_groups(tables, groups)
    for words in told:
        assert words in str(refused.value)
