"""Cards: what the hub would refuse is said here, before anything is sent."""

from __future__ import annotations

import pytest
import yaml

from gisttools.common import ParameterError, card_head, card_languages, card_problems, known_licence

RESULT = {
    "task": {"type": "Classification"},
    "dataset": {"type": "mine", "name": "mine"},
    "metrics": [{"type": "accuracy", "value": 78.9}],
}


def card(**head) -> str:
    return f"---\n{yaml.safe_dump(head)}---\n# Title\n"


def index(**changes) -> list[dict]:
    return [{"name": "m", "results": [{**RESULT, **changes}]}]


GOOD = {
    "model": {
        "license": "mit", "language": ["en", "no", "gsw"], "base_model": "org/small", "datasets": ["org/set"],
        "tags": ["a"], "library_name": "sentence-transformers", "pipeline_tag": "sentence-similarity",
        "model-index": index(),
    },
    "dataset": {
        "size_categories": ["1K<n<10K"], "task_categories": ["sentence-similarity"],
        "configs": [{"config_name": "default", "data_files": "triplets.parquet"}],
    },
    "space": {"sdk": "static", "title": "A report", "colorFrom": "blue", "colorTo": "gray"},
}  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_card_has_no_problem(kind):
    assert card_problems(card(**GOOD[kind]), kind) == []


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("model", {"license": "MIT License"}, "license is 'MIT License'"),
        ("model", {"license": "other"}, "license_name does not say"),
        ("model", {"language": [False]}, "language holds False"),  # `no` without quotes
        ("model", {"language": "english"}, "language holds 'english'"),
        ("model", {"base_model": "results/finetune-1/model"}, "base_model holds"),
        ("model", {"datasets": ["org/set#en"]}, "datasets holds"),
        ("model", {"tags": "a"}, "tags is 'a'"),
        ("model", {"pipeline_tag": "embedding"}, "pipeline_tag is 'embedding'"),
        ("model", {"library_name": 1}, "library_name is 1"),
        ("model", {"model-index": [{"name": "m"}]}, "model-index cannot be read"),
        ("model", {"model-index": index(metrics=[{"type": "accuracy", "value": float("nan")}])}, "has the value nan"),
        ("model", {"model-index": index(dataset={"type": "mine", "name": ""})}, "lacks the type"),
        ("dataset", {"size_categories": ["1000"]}, "size_categories holds '1000'"),
        ("dataset", {"task_categories": ["STS"]}, "task_categories holds 'STS'"),
        ("dataset", {"configs": [{"data_files": "a"}]}, "configs is"),
        ("space", {"sdk": "html"}, "sdk is 'html'"),
        ("space", {"short_description": "x" * 61}, "more than 60"),
    ],
)
def test_each_thing_that_the_hub_refuses_is_said(kind, change, said):
    (problem,) = card_problems(card(**GOOD[kind] | change), kind)
    assert said in problem


def test_all_problems_are_said_at_once():
    assert len(card_problems(card(license="x", language="y!", tags=1), "model")) == 3


@pytest.mark.parametrize(
    "text", ["# Title\n", "\n# a\n---\nlicense: mit\n---\n", "---\n- a\n---\n", "---\na: [\n---\n"]
)
def test_a_card_without_a_head_is_refused(text):
    assert len(card_problems(text, "model")) == 1


def test_the_head_is_read_whatever_ends_its_lines():
    assert card_head("---\r\nlicense: mit\r\n---\r\n# a\r\n") == {"license": "mit"}


def test_a_licence_that_the_hub_does_not_know_is_refused_with_the_nearest():
    assert known_licence("Apache-2.0") == "apache-2.0"
    with pytest.raises(ParameterError, match=r"apache2.*'apache-2\.0'"):
        known_licence("apache2")


def test_a_language_without_a_short_code_keeps_its_long_one():
    assert card_languages(["gsw-Latn", "nob-Latn", "deu"]) == ["de", "gsw", "nb"]
