"""Filters of generated texts. Each says in one short word why a text is not kept, or None where it may stay.

They run from cheap to dear, and the first that objects names the reason:

    call-failed, over-budget, refused, truncated, schema, length, not-text, prompt-leak, assistant-voice,
    forbidden-pattern,
    in-evaluation-set, duplicate, near-duplicate, label-mismatch, off-topic, no-partner, guide-order
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from gisttools.hygiene import normalise
from gisttools.synthesis.asking import REFUSED
from gisttools.synthesis.forms import extract_json
from gisttools.synthesis.llm import Reply
from gisttools.synthesis.task import Task

MIN_CHARACTERS = 8
NEAR_DUPLICATE = 0.7  # Jaccard similarity of character trigrams
_MIN_LETTERS = 0.7  # share of letters and spaces
_PERMUTATIONS = 64
_FARTHEST_SEEDS = 0.1  # share of the seeds that may be farther from their label than a text must be

_NOT_TEXT = re.compile(r"https?://|www\.|</?\w+>|(.)\1{5,}|\b(\S+)(\W+\2\b){3,}", re.IGNORECASE)
_LEAK = re.compile(
    r"\bjson\b|\bas an? (ai|assistant|language model|chatbot)\b|\[[^\]]*\]|[{}]|\bcustomer support (assistant|agent)\b"
    r"|\b(here is|here's|this is) (a|an|the|your|my)( \w+)? (message|example|response)\b|\bthe (customer|user)('s)?\b"
    r"|\bin other words\b|\bsay (it|this|that) (differently|in)\b|\b(rewrite|rephrase|paraphrase)\b",
    re.IGNORECASE,
)
_ASSISTANT = re.compile(
    r"\b(i|we)( sincerely| do)? apologi[sz]e\b|^(i am|i'm)( really| so| very)? sorry\b|^sorry\b"
    r"|\bfor (any|the) (inconvenience|confusion|misunderstanding)\b"
    r"|\bthank you for (contacting|reaching|understanding|your (message|patience|understanding))\b"
    r"|\b(unable|not able|happy|glad|here) to (help|assist)\b|\b(help|assist) you\b|\b(can't|cannot) (help|assist)\b"
    r"|\bfeel free to\b|\bdo not hesitate\b|\bdon't hesitate\b",
    re.IGNORECASE,
)


def read_text(reply: Reply, schema: dict) -> tuple[str | None, str | None]:
    """(text, None) of a reply, or (None, reason): call-failed, over-budget, refused, truncated, schema.

    `schema` describes an object with one text field.
    """
    if reply.finish_reason == "error":
        return None, "call-failed"
    if reply.finish_reason == "budget":
        return None, "over-budget"
    if reply.finish_reason in REFUSED:
        return None, "refused"
    if reply.finish_reason == "length":
        return None, "truncated"
    (name, limits), answer = next(iter(schema["properties"].items())), extract_json(reply.content)
    if answer is None or set(answer) != {name} or not isinstance(answer[name], str):
        return None, "schema"
    text = " ".join(answer[name].split())
    # A server that enforces maxLength cuts the text there, in the middle of a word.
    if len(answer[name]) >= limits.get("maxLength", float("inf")):
        return None, "truncated"
    return text, None


def bad_form(text: str, task: Task) -> str | None:
    """length, not-text, prompt-leak, assistant-voice or forbidden-pattern, where the text alone shows it."""
    if len(text) < MIN_CHARACTERS:
        return "length"
    letters = sum(c.isalpha() or c.isspace() or unicodedata.category(c).startswith("M") for c in text)
    if letters < _MIN_LETTERS * len(text) or _NOT_TEXT.search(text):
        return "not-text"
    plain = text.replace("’", "'")
    if _LEAK.search(plain) or any("_" in name and name.casefold() in plain.casefold() for name in task.labels):
        return "prompt-leak"
    if _ASSISTANT.search(plain):
        return "assistant-voice"
    if any(re.search(pattern, plain, re.IGNORECASE) for pattern in task.forbidden):
        return "forbidden-pattern"
    return None


class Seen:
    """Texts that a new one must not repeat: exactly, or nearly (MinHash LSH finds candidates, Jaccard decides)."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        from datasketch import MinHashLSH

        # A low threshold finds nearly all candidates; the exact similarity then decides.
        self._index = MinHashLSH(threshold=NEAR_DUPLICATE - 0.25, num_perm=_PERMUTATIONS)
        self._shingles: dict[str, set[str]] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Remember a text."""
        text = normalise(text)
        if text not in self._shingles:
            self._shingles[text] = _shingles(text)
            self._index.insert(text, _minhash(self._shingles[text]))

    def repeats(self, text: str) -> str | None:
        """duplicate, near-duplicate or None."""
        text = normalise(text)
        if text in self._shingles:
            return "duplicate"
        own = _shingles(text)
        for other in self._index.query(_minhash(own)):
            shared = len(own & self._shingles[other])
            if shared / (len(own) + len(self._shingles[other]) - shared) >= NEAR_DUPLICATE:
                return "near-duplicate"
        return None


class LabelCentroids:
    """Mean guide vector of each label: does a text belong to it?

    Args:
        vectors: (n, dim), of seeds and labels' lines.
        label_of: (n) names of their labels.
        is_seed: (n) True for seeds. They also set how near to its label a text must be: no farther than all but the
            farthest tenth of the seeds, each measured without itself.
    """

    def __init__(self, vectors: np.ndarray, label_of: Sequence[str], is_seed: Sequence[bool]) -> None:
        self.names = list(dict.fromkeys(label_of))
        owner = np.array([self.names.index(name) for name in label_of])
        sums = np.stack([vectors[owner == i].sum(axis=0) for i in range(len(self.names))])
        self._centroids = _unit(sums)
        seeds = np.flatnonzero(is_seed)
        others = _unit(sums[owner[seeds]] - vectors[seeds])
        own = np.einsum("nd,nd->n", others, vectors[seeds])
        self.floor = float(np.quantile(own, _FARTHEST_SEEDS)) if len(seeds) else -1.0

    def judge(self, vector: np.ndarray, label: str) -> str | None:
        """label-mismatch or off-topic, where a unit vector (dim) does not belong to the label; else None."""
        cosines = self._centroids @ vector
        nearest = int(np.argmax(cosines))
        if self.names[nearest] != label:
            return "label-mismatch"
        return "off-topic" if cosines[nearest] < self.floor else None


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _shingles(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


def _minhash(shingles: set[str]) -> object:
    from datasketch import MinHash

    digest = MinHash(num_perm=_PERMUTATIONS)
    digest.update_batch([s.encode("utf-8", "surrogatepass") for s in shingles])
    return digest
