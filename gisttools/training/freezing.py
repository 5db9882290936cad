"""Leaves the first layers of a transformer as they are: the last ones learn a task in fewer seconds.

What the first layers know, of words and their neighbours, serves any task; the last ones make of it what tells texts
apart (Lee and others, arXiv 1911.03090). No gradient is computed for what stays as it is.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from sentence_transformers import SentenceTransformer
from torch import nn

log = logging.getLogger(__name__)


def layers_of(student: SentenceTransformer) -> list[nn.Module]:
    """The layers of its transformer, first to last; none, where it has no transformer, or one of another build."""
    transformer = student.transformers_model
    lists = [] if transformer is None else [m for m in transformer.modules() if isinstance(m, nn.ModuleList)]
    return max((list(m) for m in lists if len({type(layer) for layer in m}) == 1), key=len, default=[])


@contextlib.contextmanager
def frozen_layers(student: SentenceTransformer, count: int) -> Iterator[None]:
    """Inside, the embeddings and so many of the first layers need no gradient, so that an optimiser leaves them out.

    Args:
        count: of `layers_of`; 0 leaves all as it is, the embeddings too.
    """
    frozen = _first(student, count) if count else []
    try:
        for weight in frozen:
            weight.requires_grad_(False)
        if frozen:
            log.info("the embeddings and the first %d of %d layers stay as they are", count, len(layers_of(student)))
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(True)


def _first(student: SentenceTransformer, count: int) -> list[nn.Parameter]:
    """What needs a gradient up to the last frozen layer, and all embeddings: those of positions may come later."""
    transformer, layers = student.transformers_model, layers_of(student)
    trained = {id(weight) for layer in layers[count:] for weight in layer.parameters()}
    embedded = {id(weight) for m in transformer.modules() if isinstance(m, nn.Embedding) for weight in m.parameters()}
    found, before = [], True
    for weight in transformer.parameters():
        learns = id(weight) in trained
        before = before and not learns
        if weight.requires_grad and not learns and (before or id(weight) in embedded):
            found.append(weight)
    return found
