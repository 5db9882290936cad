"""What does not go together among the steps of a recipe is said before its first one."""

from __future__ import annotations

import pytest

from gisttools.common.errors import ParameterError
from gisttools.workflow.params import check_params
from gisttools.workflow.schedule import checked_recipe
from gisttools.workflow.together import step_problems

LLM = {"llm_base_url": "http://127.0.0.1:9/v1", "llm_model": "x"}
ASK = {"documents": "$read", "rows": 6, **LLM}
OTHER = "embedded:all-MiniLM-L6-v2"


def problems_of(**steps) -> list[str]:
    """By verb; of several of one verb the name begins with it."""
    return step_problems({name: check_params(name.split("_")[0], given) for name, given in steps.items()})


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            {"read": {"test_share": None}, "synthesize": ASK | {"test_rows": 5}},
            ["synthesize: test_rows is 5, but the documents are read with test_share null"],
        ),
        (
            {"read": {"test_share": None}, "synthesize": ASK, "evaluate": {"files": ["$synthesize"]}},
            ["synthesize: evaluate has $synthesize among its files, but the documents are read with test_share null"],
        ),
        (
            {"evaluate": {"files": ["jan/tickets.csv", "feb/tickets.csv"], "test_share": 0.2}},
            ["evaluate: files jan/tickets.csv and feb/tickets.csv would give tasks of one name, tickets"],
        ),
        (
            {
                "convert": {"sources": ["t.csv"], "test_share": 0.2},
                "evaluate": {"files": ["t.csv"], "test_share": 0.5},
            },
            ["evaluate: test_share is 0.5, and 0.2 in convert: texts of t.csv that are scored here would be trained"],
        ),
        (
            {"finetune": {"guide": None}, "evaluate": {"model": "$finetune", "references": ["guide"]}},
            ["evaluate: references has 'guide', but the models are trained without one"],
        ),
        (
            {"finetune_1": {}, "finetune_2": {"student": OTHER}, "evaluate": {"model": ["$finetune_1", "$finetune_2"]}},
            ["evaluate: baseline is null, but the students differ"],
        ),
        (
            {"finetune_1": {}, "finetune_2": {"student": OTHER, "soup": ["$finetune_1"]}},
            [f"finetune_2: soup averages trainings of embedded:wordllama-256, and student is {OTHER}"],
        ),
        (
            {"evaluate": {"files": [], "guards": []}},
            ["evaluate: files, tasks and guards are empty, so there is nothing to score"],
        ),
    ],
)
def test_what_does_not_go_together_is_said(steps, said):
    found = problems_of(**steps)
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


@pytest.mark.parametrize(
    "steps",
    [
        {"read": {}, "synthesize": ASK | {"test_rows": 5}, "evaluate": {"files": ["$synthesize"]}},
        {"evaluate": {"files": ["jan/tickets.csv", "feb/calls.csv", "jan/tickets.csv#clustering"], "test_share": 0.2}},
        {"convert": {"sources": ["t.csv"], "test_share": 0.2}, "evaluate": {"files": ["t.csv"], "test_share": 0.2}},
        {"finetune": {"guide": None}, "evaluate": {"model": ["$finetune", "org/m"], "references": ["guide"]}},
        {"finetune_1": {}, "finetune_2": {"student": OTHER}, "evaluate": {"model": ["$finetune_2"]}},
        {"finetune_1": {}, "finetune_2": {"seed": 2, "soup": ["$finetune_1"]}},
        {"evaluate": {"files": []}},
    ],
)
def test_what_goes_together_is_let_through(steps):
    assert problems_of(**steps) == []


def test_a_recipe_is_refused_before_its_first_step(results, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nsteps:\n"
        "  - {name: finetune, verb: finetune, parameters: {guide: null}}\n"
        "  - {name: evaluate, verb: evaluate, parameters: {model: $finetune, references: [guide]}}\n"
    )
    with pytest.raises(ParameterError, match="references has 'guide'"):
        checked_recipe(tmp_path / "mine.yaml")
    assert not list(results.glob("*-*"))
