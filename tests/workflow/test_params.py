"""Parameters: whatever is wrong with them comes in one message, before anything runs."""

from __future__ import annotations

import pytest
from helpers import files_under
from pydantic import ValidationError

from gisttools.common.errors import ParameterError
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.params import VERBS, check_params


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_are_valid_and_none_is_left_out(verb):
    params = check_params(verb, {})
    assert check_params(verb, params.model_dump()) == params


@pytest.mark.parametrize("verb", VERBS)
def test_parameters_cannot_be_changed_afterwards(verb):
    params = check_params(verb, {})
    name = next(iter(type(params).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(params, name, getattr(params, name))


def test_an_unknown_name_has_a_suggestion_and_the_command_that_lists_all():
    with pytest.raises(ParameterError) as caught:
        check_params("finetune", {"epocs": 3})
    assert "unknown parameter 'epocs' = 3. Did you mean 'epochs'?" in str(caught.value)
    assert str(caught.value).endswith("gisttools parameters finetune lists all.")


@pytest.mark.parametrize(
    ("verb", "name", "value"),
    [
        ("finetune", "batch_size", "64"),
        ("finetune", "batch_size", 64.5),
        ("finetune", "batch_size", 1),
        ("finetune", "learning_rate", 0.0),
        ("finetune", "learning_rate", "fast"),
        ("finetune", "learning_rate", float("inf")),
        ("finetune", "keep_start", 1.0),
        ("finetune", "margin", float("nan")),
        ("finetune", "mask_same_label", "maybe"),
        ("finetune", "mask_same_label", 1),
        ("finetune", "triplets", "one.jsonl"),
        ("finetune", "triplets", []),
        ("finetune", "student", None),
        ("finetune", "margin_strategy", "abs"),
        ("convert", "strategy", "soft"),
        ("convert", "sources", [1]),
        ("synthesize", "temperature", 3.0),
        ("evaluate", "subsets", "en"),
        ("report", "evaluation", 7),
        ("evaluate", "model", []),
        ("evaluate", "model", [1, "a"]),
    ],
)
def test_a_wrong_type_or_value_is_named_with_the_value_seen(verb, name, value):
    with pytest.raises(ParameterError) as caught:
        check_params(verb, {name: value})
    assert f"{verb}: 1 parameter problem(s)" in str(caught.value)
    assert f"- {name}" in str(caught.value)
    assert repr(value if not isinstance(value, list) or not value else value[0]) in str(caught.value)


def test_a_number_or_a_word_is_explained_as_both():
    with pytest.raises(
        ParameterError, match=r"learning_rate = 0\.0: input should be greater than 0, or 'low' or 'high'"
    ):
        check_params("finetune", {"learning_rate": 0.0})
    assert check_params("finetune", {"keep_start": "2e-1"}).keep_start == 0.2


def test_all_problems_come_in_one_message():
    with pytest.raises(ParameterError) as caught:
        check_params("convert", {"seeed": 1, "negatives": 0, "topk": "x", "drop_singletons": "maybe"})
    for part in ("4 parameter problem(s)", "'seeed'", "negatives = 0", "topk = 'x'", "drop_singletons = 'maybe'"):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "+1e-5", "1.e-5", "10e-6"])
def test_numbers_that_yaml_reads_as_text_are_numbers(text):
    assert check_params("finetune", {"learning_rate": text}).learning_rate == pytest.approx(1e-5)
    assert check_params("finetune", {"keep_start": text}).keep_start == pytest.approx(1e-5)


@pytest.mark.parametrize("word", ["None", "none", "null", "~"])
def test_the_word_none_is_nothing_where_nothing_is_allowed(word):
    assert check_params("finetune", {"guide": word}).guide is None
    assert check_params("convert", {"guide": "nonesuch"}).guide == "nonesuch"


@pytest.mark.parametrize(("word", "value"), [("no", False), ("Yes", True), ("off", False), ("true", True)])
def test_words_are_truth_values_where_these_are_wanted(word, value):
    assert check_params("finetune", {"mask_same_label": word}).mask_same_label is value


def test_a_language_that_is_called_no_is_a_text():
    assert check_params("convert", {"subset": "no"}).subset == "no"
    assert check_params("evaluate", {"subsets": ["no", "on"], "tasks": ["MassiveIntentClassification"]}).subsets == [
        "no",
        "on",
    ]


def test_whole_numbers_do_for_floats():
    assert check_params("finetune", {"epochs": 3}).epochs == 3.0


def test_text_that_looks_like_a_number_stays_text_where_text_is_wanted():
    assert check_params("convert", {"revision": "1e5"}).revision == "1e5"


def test_wrong_parameters_leave_no_run(results):
    with pytest.raises(ParameterError):
        run_notebook("finetune", {"epocs": 3})
    assert files_under(results) == []


DEMO = ["data/support_intents"]
MINE = ["mine"]


@pytest.mark.parametrize(
    ("verb", "told", "files"),
    [
        ("evaluate", {}, {"files": DEMO}),
        ("evaluate", {"tasks": []}, {"files": DEMO}),
        ("evaluate", {"tasks": ["STS17"]}, {"files": []}),
        ("evaluate", {"tasks": ["STS17"], "files": DEMO}, {"files": DEMO}),
        ("evaluate", {"tasks": ["STS17"], "files": MINE}, {"files": MINE}),
        ("evaluate", {"files": MINE}, {"files": MINE}),
        ("synthesize", {}, {"eval_files": DEMO, "labelled_files": DEMO}),
        ("synthesize", {"documents": "None"}, {"eval_files": DEMO, "labelled_files": DEMO}),
        ("synthesize", {"task": "mine.yaml"}, {"eval_files": [], "labelled_files": []}),
        ("synthesize", {"task": "mine.yaml", "eval_files": DEMO}, {"eval_files": DEMO, "labelled_files": []}),
        ("synthesize", {"documents": "read-1"}, {"eval_files": [], "labelled_files": []}),
        ("synthesize", {"texts": MINE, "labelled_files": MINE}, {"eval_files": [], "labelled_files": MINE}),
    ],
)
def test_the_demo_s_files_are_not_read_next_to_something_of_one_s_own_unless_they_are_named(verb, told, files):
    params = check_params(verb, told)
    assert {name: getattr(params, name) for name in files} == files
    in_the_notebook = check_params(verb, {**check_params(verb, {}).model_dump(), **params.changed()})
    assert check_params(verb, params.changed()) == in_the_notebook == params
