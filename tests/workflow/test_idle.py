"""Parameters that would do nothing are refused before anything starts, all at once, with what they need."""

from __future__ import annotations

import pytest

from gisttools.common.errors import ParameterError
from gisttools.workflow.idle import RULES
from gisttools.workflow.params import VERBS, check_params

ENDPOINTS = [{"base_url": "http://127.0.0.1:1/v1", "model": "m"}]
IDLE = [
    ("finetune", {"patience": 3}, "patience"),
    ("finetune", {"train_on": "labelled", "same_label": "mask"}, "same_label"),
    ("finetune", {"guide": None, "margin": 0.1}, "margin"),
    ("finetune", {"guide": None, "margin": 0.1, "margin_strategy": "relative"}, "margin_strategy"),
    ("finetune", {"margin_strategy": "relative"}, "margin_strategy"),
    ("finetune", {"guide": None, "guide_prompt": "query: "}, "guide_prompt"),
    ("finetune", {"guide": None, "guide_dtype": "float16"}, "guide_dtype"),
    ("finetune", {"guide": "endpoint:m", "guide_revision": "abc"}, "guide_revision"),
    ("finetune", {"guide_key_variable": "MY_KEY"}, "guide_key_variable"),
    ("finetune", {"guide_base_url": "http://127.0.0.1:1/v1"}, "guide_base_url"),
    ("finetune", {"guide": "vectors.npy", "guide_prompt": "query: "}, "guide_prompt"),
    ("finetune", {"guide": None, "distill": 0.5}, "distill"),
    ("finetune", {"train_on": "labelled", "distill": 0.5}, "distill"),
    ("finetune", {"distill_temperature": 0.1}, "distill_temperature"),
    ("finetune", {"retain": [], "retain_weight": 2.0}, "retain_weight"),
    ("finetune", {"retain": [], "retain_a_step": 2}, "retain_a_step"),
    ("finetune", {"dev_every": 3}, "dev_every"),
    ("finetune", {"dev_subsets": ["en"]}, "dev_subsets"),
    ("finetune", {"limit_seed": 3}, "limit_seed"),
    ("finetune", {"group_by": "task_name"}, "group_by"),
    ("convert", {"margin": 0.5}, "margin"),
    ("convert", {"topk": 5, "positives": "nearest"}, "topk"),
    ("convert", {"temperature": 0.5, "positives": "random"}, "temperature"),
    ("convert", {"temperature": 0.5, "positives": "nearest", "strategy": "hard"}, "temperature"),
    ("convert", {"least": 5}, "least"),
    ("synthesize", {"llm_context": 4096, "llm_base_url": "http://127.0.0.1:1/v1", "llm_model": "m"}, "llm_context"),
    ("synthesize", {"llm_key_variable": "MY_KEY"}, "llm_key_variable"),
    ("synthesize", {"price_in": 1.0, "price_out": 1.0}, "price_in"),
    ("synthesize", {"llm_endpoints": ENDPOINTS, "llm_context": 4096}, "llm_context"),
    ("synthesize", {"llm_endpoints": ENDPOINTS, "llm_model": "m"}, "llm_model"),
    ("finetune", {"reranker_steps": 5}, "reranker_steps"),
    ("evaluate", {"reranker_revision": "abc"}, "reranker_revision"),
    ("evaluate", {"reranker": "org/m", "candidates": False}, "reranker"),
    ("synthesize", {"requests_per_minute": 5.0}, "requests_per_minute"),
    ("evaluate", {"model": "endpoint:m", "model_revision": "abc"}, "model_revision"),
    ("evaluate", {"model": "org/m@abc", "model_revision": "abd"}, "model_revision"),
    ("evaluate", {"baseline": None, "baseline_revision": "abc"}, "baseline_revision"),
    ("evaluate", {"baseline": "bm25", "baseline_revision": "abc"}, "baseline_revision"),
    ("evaluate", {"base_url": "http://127.0.0.1:1/v1"}, "base_url"),
    ("evaluate", {"key_variable": "MY_KEY"}, "key_variable"),
    ("evaluate", {"subsets": ["en"]}, "subsets"),
    ("evaluate", {"allowed_loss": 2.0, "guards": []}, "allowed_loss"),
    ("evaluate", {"cross_entropy": True, "candidates": False}, "cross_entropy"),
    ("report", {"latex": True, "evaluation": ["a", "b"]}, "latex"),
]
AT_WORK = [
    ("finetune", {"same_label": "mask", "train_on": "triplets"}),
    ("finetune", {"distill": 0.5, "distill_temperature": 0.1}),
    ("finetune", {"margin": 0.1, "margin_strategy": "relative"}),
    ("finetune", {"guide": "endpoint:m", "guide_base_url": "http://127.0.0.1:1/v1", "guide_key_variable": "MY_KEY"}),
    ("finetune", {"guide": "org/m", "guide_revision": "abc", "guide_prompt": "query: "}),
    ("finetune", {"retain": ["x.txt"], "retain_weight": 2.0, "dev": ["x"], "patience": 3}),
    ("finetune", {"limit": 10, "limit_seed": 3, "group_by": "task_name", "batches": "one_set"}),
    ("convert", {"strategy": "hard", "margin": 0.5, "topk": 5, "temperature": 0.1}),
    ("convert", {"negatives_from": "softmax", "positives": "nearest", "temperature": 0.1}),
    ("convert", {"negatives_from": "least_similar", "least": 5}),
    ("synthesize", {"llm_context": 4096}),
    ("synthesize", {"llm_endpoints": ENDPOINTS, "llm_key_variable": "MY_KEY", "requests_per_minute": 5.0}),
    ("evaluate", {"reranker": "org/m", "rerank_depth": 20}),
    ("synthesize", {"llm_base_url": "http://127.0.0.1:1/v1", "llm_model": "m", "price_in": 1.0, "price_out": 1.0}),
    ("evaluate", {"model": "org/m", "model_revision": "abc", "baseline": "org/b", "baseline_revision": "abc"}),
    ("evaluate", {"references": ["endpoint:m"], "base_url": "http://127.0.0.1:1/v1", "key_variable": "MY_KEY"}),
    ("evaluate", {"tasks": ["X"], "subsets": ["en"], "allowed_loss": 2.0}),
    ("evaluate", {"cross_entropy": True}),
    ("report", {"latex": True, "evaluation": ["a"]}),
]


@pytest.mark.parametrize(("verb", "given", "name"), IDLE, ids=lambda x: x if isinstance(x, str) else "")
def test_what_would_do_nothing_is_refused_with_its_value_and_what_it_needs(verb, given, name):
    with pytest.raises(ParameterError, match=rf"{name} is .*, which needs \w"):
        check_params(verb, given)


@pytest.mark.parametrize(("verb", "given"), AT_WORK)
def test_what_works_is_let_through(verb, given):
    assert check_params(verb, given)


def test_all_come_in_one_message():
    with pytest.raises(ParameterError) as caught:
        check_params("finetune", {"guide": None, "margin": 0.1, "dev_every": 3, "retain": [], "retain_weight": 2.0})
    assert all(
        name in str(caught.value) for name in ("3 parameter problem(s)", "margin is", "dev_every is", "retain_w")
    )


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_all_work_and_rules_name_parameters(verb):
    assert check_params(verb, {})
    names = [name for rule in RULES.get(verb, ()) for name in rule.names]
    assert set(names) <= set(VERBS[verb].model_fields)
    assert {name for v, _, name in IDLE if v == verb} <= set(names)
