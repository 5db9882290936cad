"""Writes the heads of cards as the hub wants them, and checks here what the hub would refuse, without asking it.

A card is Markdown whose head is YAML between two lines of `---`. The checks are those that the hub documents for model
cards, data set cards and the settings of Spaces (huggingface.co/docs/hub: repositories-licenses, model-cards,
datasets-cards, spaces-config-reference).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from gisttools.common.errors import DataError, ParameterError, did_you_mean, first_line

HubKind = Literal["model", "dataset", "space"]
LICENCES = frozenset((
    "afl-3.0", "agpl-3.0", "apache-2.0", "apple-amlr", "apple-ascl", "artistic-2.0", "bigcode-openrail-m",
    "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear",
    "bsl-1.0", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "creativeml-openrail-m", "deepfloyd-if-license", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0",
    "eupl-1.1", "eupl-1.2", "fair-noncommercial-research-license", "gemma", "gfdl", "gpl", "gpl-2.0", "gpl-3.0",
    "grok2-community", "h-research", "intel-research", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "llama2",
    "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl",
    "odc-by", "ofl-1.1", "openmdw-1.0", "openmdw-1.1", "openrail", "openrail++", "osl-3.0", "other", "pddl",
    "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
))  # fmt: skip
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
          (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))  # fmt: skip
_LARGEST = "n>1B"
_TASKS = frozenset((
    "sentence-similarity", "feature-extraction", "text-classification", "text-ranking", "text-retrieval",
    "question-answering", "translation", "zero-shot-classification", "other",
))  # fmt: skip  # of the hub's tasks those that a card of ours may name
_SDKS = ("static", "gradio", "docker")
_LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")
_HEAD = re.compile(r"\s*---\r?\n(?P<yaml>.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


def licence_fields(told: str | None) -> dict[str, str]:
    """The fields that say a licence in a card; none where it is not told. What the hub has no id for is `other`, with
    its name.

    >>> licence_fields("Apache-2.0"), licence_fields("My own terms")
    ({'license': 'apache-2.0'}, {'license': 'other', 'license_name': 'my-own-terms'})
    """
    if not told or not told.strip():
        return {}
    known = told.strip().lower()
    if known in LICENCES:
        return {"license": known}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.+-]+", "-", known).strip("-") or "not-named"}


def known_licence(told: str) -> str:
    """A licence's id on the hub.

    Raises:
        ParameterError: the hub has none of that name.
    """
    if told.strip().lower() in LICENCES:
        return told.strip().lower()
    raise ParameterError(
        f"The hub knows no licence {told!r}.{did_you_mean(told.lower(), LICENCES)} Say one of its ids, such as "
        "apache-2.0, mit or cc-by-4.0; other, where it has none."
    )


def card_languages(told: Iterable[str | None]) -> list[str]:
    """Languages as mteb writes them (eng-Latn), as a card has them, each once, sorted.

    >>> card_languages(["eng-Latn", "deu-Latn + eng-Latn", "gsw-Latn", "en", None])
    ['de', 'en', 'gsw']
    """
    from babel.core import get_global

    short = get_global("language_aliases")
    words = {word for text in told if text for word in re.findall(r"\b[a-z]{2,3}(?=-[A-Z][a-z]{3}\b|[\s+,]|$)", text)}
    return sorted({str(short.get(word, word)) for word in words})


def size_category(rows: int) -> str:
    """The hub's word for a data set of so many rows.

    >>> size_category(999), size_category(1000), size_category(2_000_000_000)
    ('n<1K', '1K<n<10K', 'n>1B')
    """
    return next((word for most, word in _SIZES if rows < most), _LARGEST)


def split_card(card: str) -> tuple[dict[str, Any], str]:
    """Head and text of a card; an empty head where there is none that can be read."""
    found = _HEAD.match(card)
    try:
        return card_head(card), card[found.end() :] if found else card
    except DataError:
        return {}, card


def whole_card(head: Mapping[str, Any], text: str) -> str:
    """A card of a head, whose empty fields are left out, and a text."""
    from huggingface_hub.utils import yaml_dump

    told = {name: value for name, value in head.items() if value is not None}
    return f"---\n{yaml_dump(told, sort_keys=False)}---\n{text.strip()}\n"


def card_head(card: str) -> dict[str, Any]:
    """The head of a card.

    Raises:
        DataError: there is none, or it is no YAML mapping.
    """
    import yaml

    found = _HEAD.match(card)
    if found is None:
        raise DataError("there is no head: YAML between two lines of ---, at the very beginning")
    try:
        head = yaml.safe_load(found["yaml"])
    except yaml.YAMLError as error:
        raise DataError(f"the head is no YAML: {first_line(error)}") from None
    if not isinstance(head, dict):
        raise DataError(f"the head is a {type(head).__name__}, must be names with values")
    return head


def card_problems(card: str, kind: HubKind) -> list[str]:
    """What the hub would refuse, or not understand, in a card; empty where nothing is wrong."""
    try:
        head = card_head(card)
    except DataError as error:
        return [str(error)]
    checks: list[Callable[[Mapping[str, Any]], Iterator[str]]] = [_licence, _languages, _names, _words]
    checks += {"model": [_model_index], "dataset": [_data_set], "space": [_space]}[kind]
    return [problem for check in checks for problem in check(head)]


def _licence(head: Mapping[str, Any]) -> Iterator[str]:
    for told in _listed(head.get("license")):
        if told not in LICENCES:
            yield f"license is {told!r}, which is no id of the hub.{did_you_mean(str(told), LICENCES)}"
        elif told == "other" and not head.get("license_name"):
            yield "license is 'other', and license_name does not say which"


def _languages(head: Mapping[str, Any]) -> Iterator[str]:
    for told in _listed(head.get("language")):
        if not isinstance(told, str) or not _LANGUAGE.fullmatch(told):  # an unquoted `no` is false in YAML 1.1
            yield f"language holds {told!r}, must be codes of ISO 639 of two or three letters, such as en"


def _names(head: Mapping[str, Any]) -> Iterator[str]:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    for field in ("base_model", "datasets"):
        for told in _listed(head.get(field)):
            try:
                validate_repo_id(told)
            except HFValidationError:
                yield f"{field} holds {told!r}, which is no name on the hub"


def _words(head: Mapping[str, Any]) -> Iterator[str]:
    for field in ("library_name", "pipeline_tag", "license_name", "pretty_name", "title"):
        if field in head and not isinstance(head[field], str):
            yield f"{field} is {head[field]!r}, must be a text"
    if "pipeline_tag" in head and head["pipeline_tag"] not in _TASKS:
        yield f"pipeline_tag is {head['pipeline_tag']!r}, must be one of {', '.join(sorted(_TASKS))}"
    tags = head.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        yield f"tags is {tags!r}, must be a list of texts"


def _model_index(head: Mapping[str, Any]) -> Iterator[str]:
    index = head.get("model-index")
    if index is None:
        return
    from huggingface_hub.repocard_data import model_index_to_eval_results

    try:
        name, results = model_index_to_eval_results(index)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        yield f"model-index cannot be read: {type(error).__name__} {error}"
        return
    if not isinstance(name, str) or not name:
        yield f"model-index has the name {name!r}, must be a text"
    for number, one in enumerate(results):
        words = (one.task_type, one.dataset_type, one.dataset_name, one.metric_type)
        if not all(isinstance(word, str) and word for word in words):
            yield f"model-index: result {number} lacks the type of its task or metric, or type or name of its data set"
        value = one.metric_value
        if isinstance(value, bool) or not isinstance(value, int | float | str) or value != value:
            yield f"model-index: result {number} has the value {value!r}, must be a number"


def _data_set(head: Mapping[str, Any]) -> Iterator[str]:
    sizes = {word for _, word in _SIZES} | {_LARGEST}
    for field, known in (("size_categories", sizes), ("task_categories", _TASKS)):
        for told in _listed(head.get(field)):
            if told not in known:
                yield f"{field} holds {told!r}, must be of {', '.join(sorted(known))}"
    configs = head.get("configs")
    if configs is not None and not (isinstance(configs, list) and all(map(_is_config, configs))):
        yield f"configs is {configs!r}, must be a list of config_name with data_files"


def _is_config(told: object) -> bool:
    return isinstance(told, dict) and isinstance(told.get("config_name"), str) and bool(told.get("data_files"))


def _space(head: Mapping[str, Any]) -> Iterator[str]:
    if head.get("sdk") not in _SDKS:
        yield f"sdk is {head.get('sdk')!r}, must be one of {', '.join(_SDKS)}"
    for field in ("colorFrom", "colorTo"):
        if field in head and head[field] not in _COLOURS:
            yield f"{field} is {head[field]!r}, must be one of {', '.join(_COLOURS)}"
    if len(str(head.get("short_description", ""))) > 60:
        yield "short_description has more than 60 characters"


def _listed(value: object) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
