"""Encoders that mteb can evaluate and that are no SentenceTransformer: an embeddings endpoint, and random vectors."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from gisttools.kept_vectors import KeptVectors

if TYPE_CHECKING:
    from gisttools.models import EndpointGuide

_RANDOM_DIMENSION = 256


@dataclass
class Meter:
    """`asked`: texts that mteb asked for; `embedded`: those that the model ran on, in `seconds`."""

    asked: int = 0
    embedded: int = 0
    seconds: float = 0.0


class EndpointEncoder(AbsEncoder):
    """An embeddings endpoint. What it answered is kept, for it was paid for."""

    def __init__(self, guide: EndpointGuide) -> None:
        self.guide, self.mteb_model_meta = guide, _meta(guide.name, guide.url)
        self._kept: KeptVectors | None = None
        self._meter = Meter()

    @contextmanager
    def keeping(self, kept: KeptVectors, meter: Meter) -> Iterator[None]:
        """Inside, vectors are kept there and counted."""
        self._kept, self._meter = kept, meter
        try:
            yield
        finally:
            self._kept, self._meter = None, Meter()

    def encode(self, inputs: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, prompt_type=None, **_: Any):
        """Vectors of all texts, float32 (n, dimension). Raises as `EndpointGuide.stream`."""
        texts = texts_in(inputs)
        self._meter.asked += len(texts)
        if self._kept is None:
            return self._ask(texts)
        return self._kept.vectors(texts, "", self._ask)[0]

    def _ask(self, texts: list[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, self.guide.dimension or 0), dtype=np.float32)
        started, vectors = time.monotonic(), None
        for numbers, part in self.guide.stream(texts):
            vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32) if vectors is None else vectors
            vectors[numbers] = part
        self._meter.seconds += time.monotonic() - started
        self._meter.embedded += len(texts)
        return vectors


class RandomEncoder(AbsEncoder):
    """Normal vectors drawn by text and seed: equal texts are equal, and nothing else is known."""

    def __init__(self, seed: int = 0, dimension: int = _RANDOM_DIMENSION) -> None:
        self.seed, self.dimension = seed, dimension
        self.mteb_model_meta = _meta("gisttools/random", f"seed {seed}")

    def encode(self, inputs: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, prompt_type=None, **_: Any):
        """Vectors of all texts, float32 (n, dimension)."""
        vectors = [self._vector(text) for text in texts_in(inputs)]
        return np.stack(vectors) if vectors else np.zeros((0, self.dimension), dtype=np.float32)

    def _vector(self, text: str) -> np.ndarray:
        digest = hashlib.blake2b(f"{self.seed}|{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "big")).standard_normal(self.dimension, dtype=np.float32)


def texts_in(inputs: Any) -> list[str]:
    """The texts of mteb's data loader, in order."""
    return [text for batch in inputs for text in batch["text"]]


@contextmanager
def metered(encoder: Any, meter: Meter) -> Iterator[None]:
    """Inside, texts and seconds of `encoder.encode` are counted; what only searches is left as it is."""
    if not hasattr(encoder, "encode"):
        yield
        return
    encode = encoder.encode

    def counted(inputs: Any, **options: Any) -> Any:
        started = time.monotonic()
        answer = encode(inputs, **options)
        meter.seconds += time.monotonic() - started
        meter.asked += len(inputs.dataset)
        meter.embedded += len(inputs.dataset)
        return answer

    encoder.encode = counted
    try:
        yield
    finally:
        del encoder.encode


def _meta(name: str, revision: str) -> ModelMeta:
    told = {"name": name, "revision": revision, "similarity_fn_name": ScoringFunction.COSINE, "modalities": ["text"]}
    return ModelMeta.create_empty(overwrites=told)
