"""A guide whose texts are embedded elsewhere, shard by shard; who asks is the only one that writes vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from gisttools.common import ModelError, quiet_libraries
from gisttools.guides import Guide, open_guide

SHARD = 512  # texts; a multiple of every batch, so that batches are those of a guide that embeds them all itself


@dataclass(frozen=True, kw_only=True)
class GuideName:
    """What a guide is opened by in another process; see `gisttools.guides.open_guide`. `asked`: by what; it is opened
    anew for something else."""

    name: str
    revision: str | None = None
    prompt: str | None = None
    asked: str = ""


class ShardedGuide:
    """Stands in for a guide in a `VectorCache`: the same vectors, made by calls that `submit` sends somewhere.

    Args:
        guide: says what decides a vector; it embeds nothing.
        submit: of a shard's texts, a future of what `embed_shard` answers.
    """

    def __init__(self, guide: Guide, submit: Callable[[list[str]], Future]) -> None:
        self.name, self.identity, self.dimension = guide.name, guide.identity, guide.dimension
        self.portion = 1 << 20  # a whole block at a time; it is cut here
        self._submit = submit

    def stream(self, texts: Sequence[str]) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """As `Guide.stream`, a part for each shard that is done.

        Raises:
            ModelError: a shard was embedded by another guide than the one asked for, or the model fails.
        """
        shards = {}
        for begin in range(0, len(texts), SHARD):
            numbers = np.arange(begin, min(begin + SHARD, len(texts)))
            shards[self._submit([texts[i] for i in numbers.tolist()])] = numbers
        try:
            for done in as_completed(shards):
                identity, vectors = done.result()
                if identity != self.identity:
                    raise ModelError(
                        f"Guide {self.name} is not the same here and on a worker: its weights or its precision differ "
                        "(bfloat16 where the hardware multiplies it, else float32). Start from a machine "
                        "like the workers."
                    )
                yield shards[done], vectors
        finally:
            for future in shards:
                future.cancel()


def embed_shard(guide: GuideName, texts: list[str]) -> tuple[str, np.ndarray]:
    """In any process: the identity of the guide there, and vectors, float32 (n, dimension). It stays open for more."""
    quiet_libraries()
    use_told_threads()
    opened = _opened(guide)
    vectors = np.empty((len(texts), opened.dimension or 0), dtype=np.float32)
    for numbers, part in opened.stream(texts):
        vectors[numbers] = part
    return opened.identity, vectors


def use_told_threads() -> None:
    """As many threads as `OMP_NUM_THREADS` says now: torch may have been loaded before it was set."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        torch.set_num_threads(int(told))


@lru_cache(maxsize=1)
def _opened(guide: GuideName) -> Guide:
    return open_guide(guide.name, guide.revision, prompt=guide.prompt)
