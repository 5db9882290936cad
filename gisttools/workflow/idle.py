"""Finds parameters that would do nothing next to the others, so that they are refused and not passed over.

What depends on the data or the task is asked where these are read: `gisttools.mining.convert`, `finetune`,
`gisttools.synthesis.generate`, `gisttools.data.triplet_tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_VECTORS = (".parquet", ".npy")
_NO_MODELS = ("bm25", "random")


_FILES = (
    "text_column",
    "label_column",
    "test_share",
    "dev_share",
    "encoding",
    "drop_empty",
    "drop_unlabelled",
    "relabel",
)


_LLM = (
    "llm_base_url", "llm_model", "llm_key_variable", "llm_mode", "llm_transport", "llm_endpoints", "llm_leave_out",
    "llm_context", "llm_timeout", "temperature", "max_tokens", "concurrency", "budget_usd", "budget_tokens",
    "price_in", "price_out", "price_cached", "requests_per_minute", "tokens_per_minute", "prompts",
    "llm_reasoning_effort",
)  # fmt: skip


class Rule(NamedTuple):
    """`names` do something only where `works` holds of the parameters; `needs` says what that is."""

    names: tuple[str, ...]
    works: Callable[[Any], bool]
    needs: str


def _may_be_of_hub(name: str | None) -> bool:
    """Whether a revision may mean something; of embedded models and folders it is refused once they are opened."""
    return bool(name) and not _is_endpoint(name) and not _is_vectors(name) and name not in _NO_MODELS


def _is_vectors(name: str | None) -> bool:
    return str(name).endswith(_VECTORS)


def _is_endpoint(name: str | None) -> bool:
    return str(name).startswith("endpoint:")


def _pinned(name: str) -> bool:
    return "@" in name and name.count("/") == 1


def _models(p: Any) -> list[str]:
    return [p.model] if isinstance(p.model, str) else list(p.model)


def _asks_endpoint(p: Any) -> bool:
    return any(_is_endpoint(n) or n == "guide" for n in [*_models(p), *p.references, p.baseline or ""])


_GUIDE = (
    Rule(("guide_dtype",), lambda p: p.guide is not None, "a guide"),
    Rule(
        ("guide_prompt", "guide_query_prompt", "guide_document_prompt"),
        lambda p: p.guide is not None and not _is_vectors(p.guide),
        "a guide that embeds texts",
    ),
    Rule(("guide_revision",), lambda p: _may_be_of_hub(p.guide), "a guide of the hub"),
    Rule(
        ("guide_base_url", "guide_key_variable"),
        lambda p: _is_endpoint(p.guide),
        "a guide behind an endpoint (endpoint:MODEL)",
    ),
)


def _is_embedded(p: Any) -> bool:
    return p.llm_base_url == "embedded" and not p.llm_endpoints


RULES: dict[str, tuple[Rule, ...]] = {
    "synthesize": (
        *_GUIDE,
        Rule(("decisions", "test_rows", "per_chunk"), lambda p: p.documents is not None, "documents"),
        Rule(("domain", "language"), lambda p: p.documents is not None or bool(p.texts), "documents, or texts"),
        Rule(
            ("domain", "language"),
            lambda p: p.described is None,
            "documents alone, or texts alone: a task description tells both itself",
        ),
        Rule(("texts_columns",), lambda p: bool(p.texts), "texts"),
        Rule(("rows",), lambda p: p.rows is not None or bool(p.texts), "texts: without them rows is a number"),
        Rule(
            ("rows",),
            lambda p: p.rows is None or not p.texts,
            "an LLM that writes: of texts all are read, and 3_finetune takes fewer (limit)",
        ),
        Rule(
            ("attempts", "prompt", "dry_run"),
            lambda p: not p.texts,
            "an LLM that writes, and texts are told, which are read",
        ),
        Rule(_LLM, lambda p: p.asks, "an LLM that is asked: of texts only blind and least_score ask one"),
        Rule(
            tuple(name for name in _FILES if name != "encoding"),
            lambda p: bool(p.eval_files or p.labelled_files),
            "files (eval_files, labelled_files)",
        ),
        Rule(
            ("encoding",),
            lambda p: bool(p.eval_files or p.labelled_files or p.texts),
            "files (eval_files, labelled_files, texts)",
        ),
        Rule(("llm_context",), _is_embedded, "the embedded server (llm_base_url: embedded)"),
        Rule(
            (
                "llm_key_variable",
                "price_in",
                "price_out",
                "price_cached",
                "llm_reasoning_effort",
                "requests_per_minute",
                "tokens_per_minute",
            ),
            lambda p: not _is_embedded(p),
            "an endpoint (llm_base_url, llm_endpoints); the embedded server is free, and nobody limits it",
        ),
        Rule(("llm_model",), lambda p: not p.llm_endpoints, "one endpoint: each of llm_endpoints names its own"),
    ),
    "convert": (
        *_GUIDE,
        Rule(("margin",), lambda p: p.strategy == "hard", "strategy 'hard'"),
        Rule(("topk",), lambda p: p.positives == "softmax", "positives 'softmax'"),
        Rule(
            ("temperature",),
            lambda p: p.positives == "softmax" or (p.strategy == "gistembed" and p.negatives_from == "softmax"),
            "positives or negatives_from 'softmax'",
        ),
        Rule(
            ("least",),
            lambda p: p.strategy == "gistembed" and p.negatives_from == "least_similar",
            "negatives_from 'least_similar'",
        ),
    ),
    "finetune": (
        *_GUIDE,
        Rule(
            ("margin",),
            lambda p: p.guide is not None,
            "a guide: without one nothing has a similarity to keep away from",
        ),
        Rule(
            ("margin_strategy",), lambda p: p.guide is not None and p.margin != 0, "a guide, and a margin other than 0"
        ),
        Rule(("guide_masks",), lambda p: p.guide is not None, "a guide"),
        Rule(
            ("positive_temperature",),
            lambda p: p.guide is not None and p.same_label in (None, "positive"),
            "a guide, and same_label 'positive'",
        ),
        Rule(
            ("distill",),
            lambda p: p.guide is not None and p.train_on != "labelled" and p.same_label != "positive",
            "a guide, and triplets: of labelled texts the labels say what is alike",
        ),
        Rule(("distill_temperature",), lambda p: p.distill > 0, "a guide that teaches (distill)"),
        Rule(
            ("same_label",),
            lambda p: p.train_on != "labelled" or p.same_label in (None, "positive"),
            "train_on 'triplets': labelled texts of a label are each other's positives",
        ),
        Rule(("texts_per_class",), lambda p: p.train_on != "triplets", "train_on 'labelled'"),
        Rule(("meet",), lambda p: p.train_on != "triplets" and p.guide is not None, "train_on 'labelled', and a guide"),
        Rule(
            ("contrast_anchors", "contrast_positives"),
            lambda p: p.train_on != "labelled",
            "triplets: labelled texts are neither anchors nor positives",
        ),
        Rule(("reranker_steps", "reranker_revision"), lambda p: p.reranker is not None, "a reranker"),
        Rule(("retain_weight", "retain_a_step"), lambda p: p.retain != [], "general texts (retain)"),
        Rule(_FILES, lambda p: bool(p.dev), "development data (dev), which is read so"),
        Rule(("dev_every", "dev_subsets", "patience"), lambda p: bool(p.dev), "development data (dev)"),
        Rule(("keep_start",), lambda p: p.keep_start != "auto" or bool(p.dev), "development data (dev) to choose by"),
        Rule(("limit_seed",), lambda p: p.limit is not None, "a limit"),
        Rule(
            ("group_by",),
            lambda p: p.mix != "proportional" or p.batches == "one_set",
            "sets to matter: mix 'round_robin' or 'weights', or batches 'one_set'",
        ),
    ),
    "evaluate": (
        Rule(
            ("model_revision",),
            lambda p: len(_models(p)) > 1 or (_may_be_of_hub(_models(p)[0]) and not _pinned(_models(p)[0])),
            "a model of the hub without a revision in its name",
        ),
        Rule(
            ("baseline_revision",),
            lambda p: p.baseline is not None and _may_be_of_hub(p.baseline) and not _pinned(p.baseline),
            "a baseline of the hub without a revision in its name",
        ),
        Rule(("base_url", "key_variable"), _asks_endpoint, "a model behind an endpoint (endpoint:MODEL), or the guide"),
        Rule(
            ("query_prompt", "document_prompt"),
            lambda p: not all(n in _NO_MODELS for n in [*_models(p), p.baseline]),
            "a model that embeds texts",
        ),
        Rule(_FILES, lambda p: bool(p.files), "files of your own (files)"),
        Rule(("subsets",), lambda p: bool(p.tasks or p.guards), "mteb tasks (tasks, guards)"),
        Rule(("allowed_loss",), lambda p: p.guards != [], "guards"),
        Rule(("reranker_revision",), lambda p: p.reranker is not None, "a reranker"),
        Rule(("reranker", "rerank_depth"), lambda p: p.candidates, "candidates (candidates: true)"),
        Rule(("cross_entropy",), lambda p: p.candidates, "candidates, among which it would stand (candidates: true)"),
    ),
    "report": (
        Rule(
            ("latex",),
            lambda p: isinstance(p.evaluation, str) or len(p.evaluation) == 1,
            "a single evaluation; of several leaderboard.csv holds the numbers",
        ),
    ),
}


def idle_names(verb: str, params: Any) -> set[str]:
    """The parameters that were changed and do nothing. Arguments as of `idle`."""
    defaults = params.defaults()
    changed = {name for name, value in defaults.items() if getattr(params, name) != value}
    rules = (rule for rule in RULES.get(verb, ()) if not rule.works(params))
    return {name for rule in rules for name in rule.names if name in changed}


def idle_needs(verb: str, name: str) -> list[str]:
    """What a parameter needs to do anything."""
    return [rule.needs for rule in RULES.get(verb, ()) if name in rule.names]


def idle(verb: str, params: Any) -> Iterator[str]:
    """A line for each parameter that was changed and does nothing.

    Args:
        verb: whose notebook.
        params: its parameters.
    """
    changed = params.changed()
    for rule in RULES.get(verb, ()):
        told = [name for name in rule.names if name in changed]
        if told and not rule.works(params):
            values = " and ".join(f"{name} is {changed[name]!r}" for name in told)
            yield f"{values}, which needs {rule.needs}"
