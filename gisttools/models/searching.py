"""Finds the texts that answer a question: the nearest ones by a model's vectors, query against documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gisttools.common import ParameterError
from gisttools.models.vectors import VectorCache


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A text that was found.

    Attributes:
        place: its number among those searched, from 0.
        text: itself.
        score: cosine with the question, between -1 and 1.
    """

    place: int
    text: str
    score: float


def search(model: VectorCache | str, texts: Sequence[str], question: str, *, top: int = 5) -> list[Hit]:
    """The texts nearest to a question, the best first; of equal texts the first alone.

    Texts are embedded once, ever (`VectorCache`), with the model's prompt for documents, the question with that for
    queries.

    Args:
        model: a folder, a name of the hub, `embedded:...`, or a cache of its vectors.
        texts: (n,), all that is searched.
        question: what is asked for.
        top: how many, at most.

    Raises:
        ParameterError: the question is empty, or `top` is less than 1.
        MissingError, ModelError, EndpointError: as `VectorCache`.
    """
    if not question.strip():
        raise ParameterError("The question is empty. Say what you are looking for.")
    if top < 1:
        raise ParameterError(f"top is {top}; give 1 or more.")
    different = list(dict.fromkeys(text for text in texts if text.strip()))
    if not different:
        return []
    cache = VectorCache(model) if isinstance(model, str) else model
    documents = cache.with_prompt(cache.prompts.document)
    asked = cache.with_prompt(cache.prompts.query).embed([question])[0]
    scores = documents.embed(different) @ asked
    best = np.argsort(-scores, kind="stable")[:top]
    places = {text: place for place, text in reversed(list(enumerate(texts)))}
    return [Hit(place=places[different[i]], text=different[i], score=float(scores[i])) for i in best]
