"""Knows which prompt stands before which text: before queries, before documents, before texts that are alike.

Models name their prompts as they like (`query`, `passage`, `search_document`, `Classification`, ...), and what reads
them knows few of these names. `encode_document` of sentence-transformers no longer finds the `passage` of an E5 model,
for an empty `document` stands before it; mteb asks for `query`, `document` and names of tasks alone. So the prompts of
a model are read here, once, and written back under names that both know: what trains a model, guides, scores it or
uses it later embeds alike.

A prompt is the user's, else the task's (of a model that has prompts by task), else the model's, else none.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset

from gisttools.data import blocks

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)
QUERY, DOCUMENT, ALIKE_TEXTS = "query", "document", "symmetric"
# names in use, in the form of `_plain`; the first that says something counts
_QUERY = ("query", "queries", "question", "questions", "searchquery", "s2pquery", "websearchquery", "retrievalquery")
_DOCUMENT = (
    "document", "documents", "doc", "docs", "passage", "passages", "corpus", "searchdocument", "searchpassage",
    "searchdoc", "s2pdocument", "s2ppassage", "retrievaldocument", "retrievalpassage", "retrievaldoc", "answer",
    "context",
)  # fmt: skip
_ALIKE = ("symmetric", "s2s", "s2squery", "textmatching")
_NAMES = frozenset((*_QUERY, *_DOCUMENT, *_ALIKE))
_SEARCHES = ("Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking")
_TYPES = (
    *_SEARCHES, "Classification", "MultilabelClassification", "Clustering", "PairClassification", "STS",
    "BitextMining", "Summarization",
)  # fmt: skip
_TYPE_OF = {name.lower(): name for name in _TYPES}


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The prompts of a model; "" is none.

    Attributes:
        query, document: of a search.
        alike: of texts that are compared with their like, such as labelled ones.
        tasks: by mteb's names: a task or a type of task, alone or with `-query` or `-document` behind.
    """

    query: str = ""
    document: str = ""
    alike: str = ""
    tasks: Mapping[str, str] = field(default_factory=dict)

    def of(self, task: str | None, kind: str | None, *, searches: bool) -> tuple[str, str]:
        """What stands before anchors, and before positives and negatives.

        Args:
            task, kind: mteb's name of the task and of its type, where they are known. A task counts before its type, as
                in mteb.
            searches: are these queries and documents?
        """
        if not searches:
            found = self._by_task(task, kind, None)
            both = self.alike if found is None else found
            return both, both
        kind = kind if _plain(kind or "") in _TYPE_OF else "Retrieval"
        query, document = (self._by_task(task, kind, side) for side in (QUERY, DOCUMENT))
        return self.query if query is None else query, self.document if document is None else document

    def with_user(self, query: str | None, document: str | None) -> Prompts:
        """The same with what a user says, which counts before all; None says nothing. One of queries stands before
        texts that are alike as well."""
        found, tasks = self, dict(self.tasks)
        if query is not None:
            kept = {name: text for name, text in tasks.items() if _side(name) == DOCUMENT}
            moved = {f"{name}-{DOCUMENT}": text for name, text in tasks.items() if _side(name) is None}
            tasks = {**moved, **kept}
            found = Prompts(query=query, document=found.document, alike=query)
        if document is not None:
            tasks = {name: text for name, text in tasks.items() if _side(name) != DOCUMENT}
            tasks |= {f"{name}-{DOCUMENT}": document for name in list(tasks) if _side(name) is None}
            found = Prompts(query=found.query, document=document, alike=found.alike)
        return Prompts(query=found.query, document=found.document, alike=found.alike, tasks=tasks)

    def by_name(self, name: str) -> str:
        """That of a name in use for one side, such as `passage`."""
        plain = _plain(name)
        return self.query if plain in _QUERY else self.document if plain in _DOCUMENT else self.alike

    def told(self) -> dict[str, str]:
        """Those that say something, by name."""
        named = {QUERY: self.query, DOCUMENT: self.document, ALIKE_TEXTS: self.alike, **self.tasks}
        return {name: text for name, text in named.items() if text}

    def _by_task(self, task: str | None, kind: str | None, side: str | None) -> str | None:
        for name in (task, _TYPE_OF.get(_plain(kind or ""), kind)):
            for key in [f"{name}-{side}", str(name)] if side else [str(name)]:
                if key in self.tasks:
                    return self.tasks[key]
        return None


def prompts_of(model: SentenceTransformer) -> Prompts:
    """What a model's own prompts mean.

    A model whose prompts name no side has its default before all texts. One with prompts for both sides and nothing for
    other texts never saw a bare one: its query's stands before texts that are alike (as E5's authors ask).
    """
    named = {name: text or "" for name, text in (getattr(model, "prompts", None) or {}).items()}
    query, document = _first(named, _QUERY), _first(named, _DOCUMENT)
    default = named.get(model.default_prompt_name) if model.default_prompt_name is not None else None
    if default and not query and not document:
        query = document = default
    alike = _first(named, _ALIKE) or (query if document else "")
    tasks = {_task_key(name): text for name, text in named.items() if _is_task_key(name) or _plain(name) not in _NAMES}
    if default is not None and not _is_task_key(str(model.default_prompt_name)):
        tasks.pop(str(model.default_prompt_name), None)
    return Prompts(query=query, document=document, alike=alike if default is None else default, tasks=tasks)


def settle_prompts(
    model: SentenceTransformer, query: str | None = None, document: str | None = None, *, name: str = ""
) -> Prompts:
    """Write what a model's prompts mean, and what a user says of them, into the model, so that `encode`,
    `encode_query`, `encode_document` and mteb take them, and a saved model keeps them.

    Args:
        model: is changed: its prompts and the name of its default.
        query, document: the user's; "" for none, None to leave them to the model.
        name: the model's, for a warning where its prompts are not understood.
    """
    own = prompts_of(model)
    found = own.with_user(query, document)
    if name and query is None and document is None:
        _tell_unknown(own, name)
    aliases = {
        key: found.by_name(key) for key in model.prompts or {} if _plain(key) in _NAMES and not _is_task_key(key)
    }
    prompts = {**aliases, QUERY: found.query, DOCUMENT: found.document, **found.tasks}
    default = None
    if found.alike:
        kept = [model.default_prompt_name, QUERY, DOCUMENT]
        default = next((k for k in kept if k is not None and prompts.get(k) == found.alike), ALIKE_TEXTS)
        prompts[default] = found.alike
    elif found.query and found.document:  # or the query's would stand before texts that are alike
        prompts[ALIKE_TEXTS], default = "", ALIKE_TEXTS
    model.prompts, model.default_prompt_name = prompts, default
    return found


def _tell_unknown(own: Prompts, name: str) -> None:
    """Warn of a model all of whose prompts stand under names that nobody knows."""
    unknown = [key for key, text in own.tasks.items() if text and not _is_task_key(key)]
    if unknown and not (own.query or own.document or own.alike):
        log.warning(
            "%s has prompts under names that say neither query nor document (%s): they are used for a task of that "
            "name only. Set query_prompt and document_prompt.", name, ", ".join(unknown),
        )  # fmt: skip


def registered_prompts(name: str) -> dict[str, str]:
    """The prompts that mteb's registry gives a hub model of this name; none where it has none, or is not there."""
    from mteb.models.model_implementations import MODEL_REGISTRY

    about = MODEL_REGISTRY.get(name)
    told = about.loader_kwargs.get("model_prompts") if about is not None and about.loader_kwargs else None
    return {str(getattr(key, "value", key)): text for key, text in (told or {}).items() if isinstance(text, str)}


def is_search(kind: str | None, label: object) -> bool:
    """Are a row's anchor and positive a query and a document? By its type of task, else by whether it has a label."""
    known = _TYPE_OF.get(_plain(kind or ""))
    return known in _SEARCHES if known else label is None


@dataclass(frozen=True, kw_only=True)
class RowPrompts:
    """The prompts of the rows of a triplet table.

    Attributes:
        pairs: the different ones: before anchors, and before positives and negatives.
        which: the pair of each row, int (N,).
        searches: of each pair, whether its first row is a search.
    """

    pairs: list[tuple[str, str]]
    which: np.ndarray
    searches: list[bool]

    @classmethod
    def of(cls, table: Dataset, prompts: Prompts) -> RowPrompts:
        """Those that a model of these prompts puts before the texts of a table."""
        found: dict[tuple[str, str], int] = {}
        searches: list[bool] = []
        known: dict[tuple[Any, Any, bool], int] = {}
        which = np.zeros(len(table), dtype=np.int64)
        begin = 0
        for block in blocks(table, ["task_name", "task_type", "anchor_label"]):
            tasks, kinds = block["task_name"].to_pylist(), block["task_type"].to_pylist()
            bare = block["anchor_label"].is_null().to_pylist()
            for i, row in enumerate(zip(tasks, kinds, bare, strict=True), begin):
                number = known.get(row)
                if number is None:
                    task, kind, no_label = row
                    search = is_search(kind, None if no_label else "")
                    number = found.setdefault(prompts.of(task, kind, searches=search), len(found))
                    searches += [search] if number == len(searches) else []
                    known[row] = number
                which[i] = number
            begin += len(block)
        return cls(pairs=list(found), which=which, searches=searches)

    def of_places(self, rows: np.ndarray, columns: np.ndarray) -> list[str]:
        """What stands before single texts, by their rows and columns (0 is the anchor)."""
        return [
            self.pairs[pair][0 if column == 0 else 1]
            for pair, column in zip(self.which[rows].tolist(), columns.tolist(), strict=True)
        ]

    def told(self) -> list[dict[str, Any]]:
        """As JSON values: rows, and the prompts of anchors and of positives and negatives."""
        counts = np.bincount(self.which, minlength=len(self.pairs))
        return [
            {"rows": int(count), "query": query, "document": document}
            for (query, document), count in zip(self.pairs, counts, strict=True)
        ]


def prompts_in_words(told: Sequence[Mapping[str, Any]]) -> str:
    """What `RowPrompts.told` says, for people."""
    parts = []
    for part in told:
        query, document = part["query"], part["document"]
        if query == document:
            words = f"{query!r} before every text" if query else "none"
        else:
            words = f"{query!r} before anchors, {document!r} before positives and negatives"
        parts.append(words if len(told) == 1 else f"{words} ({part['rows']} rows)")
    return "; ".join(parts) or "none"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _first(named: Mapping[str, str], names: Sequence[str]) -> str:
    """The first of these names that says something, whatever is written in capitals or between its words."""
    by_plain: dict[str, str] = {}
    for name, text in named.items():
        if text and not _is_task_key(name):
            by_plain.setdefault(_plain(name), text)
    return next((by_plain[name] for name in names if name in by_plain), "")


def _side(key: str) -> str | None:
    """The side that a task's prompt is of; None for both."""
    return next((side for side in (QUERY, DOCUMENT) if key.endswith(f"-{side}")), None)


def _is_task_key(name: str) -> bool:
    """Is that a prompt by task, in mteb's words: `STS`, `Retrieval-query`, `ArguAna-query`?"""
    task = name.removesuffix(f"-{QUERY}").removesuffix(f"-{DOCUMENT}")
    return task in _TYPES or (task != name and _plain(name) not in _NAMES)


def _task_key(name: str) -> str:
    """mteb's name of a type of task, however it is written (`classification`); another name as it is."""
    return _TYPE_OF.get(_plain(name), name)
