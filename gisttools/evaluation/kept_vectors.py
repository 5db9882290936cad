"""Keeps vectors as models gave them, so that one text is embedded once, whatever tasks ask for it.

mteb's own `CachedEmbeddingWrapper` keeps one file for each task, so that tasks share nothing, and `VectorCache` keeps
unit vectors, which lose their lengths. Here a vector comes back to the last bit, read from a memory map.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sentence_transformers import SentenceTransformer

from gisttools.common import duration, notice, tqdm
from gisttools.models import VectorFolder, text_keys

_PORTION = 50_000  # texts embedded before their vectors are kept; as many as mteb takes of a corpus at a time
_MOST_BYTES = 4 << 30  # of one model's vectors on disk; further ones are embedded and not kept
# options of `SentenceTransformer.encode` that change no vector
_NO_MATTER = {"batch_size", "show_progress_bar", "convert_to_numpy", "convert_to_tensor", "prompt", "prompt_name"}
_PLAIN = {"output_value": "sentence_embedding", "precision": "float32", "normalize_embeddings": False}


class KeptVectors:
    """Vectors of texts by one model, in a folder that any number of processes may use at once.

    Args:
        folder: of this model alone; made if it does not exist.
        about: what `meta.json` tells a human.
        most_bytes: how much is kept.
    """

    def __init__(self, folder: Path, about: dict[str, Any], *, most_bytes: int = _MOST_BYTES) -> None:
        self._files, self._most_bytes = VectorFolder(folder, "float32", about), most_bytes

    def vectors(
        self, texts: Sequence[str], reading: str, embed: Callable[[list[str]], np.ndarray], *, copies: bool = False
    ) -> tuple[np.ndarray, int]:
        """Vectors, (n, dimension), and how many texts `embed` was asked for.

        Args:
            texts: in any order, some of them equal.
            reading: what decides a vector next to text and model, such as the prompt.
            embed: texts, none twice, to vectors (n, dimension). Only float32 is kept.
            copies: where no text is known yet, give all to `embed` as they are, copies too. The last bits of a vector
                depend on its batch, and they decide how copies of one document are ranked: so scores are mteb's own.
        """
        keys = text_keys(f"{reading}\x1f{text}" for text in texts)
        rows = self._files.find(keys)
        known = rows >= 0
        if copies and not known.any():
            return self._embed(list(texts), keys, embed), len(texts)
        if known.all() and len(texts):
            return self._files.read(rows), 0
        unknown = np.flatnonzero(~known)
        different, first, which = np.unique(keys[unknown], return_index=True, return_inverse=True)
        order = np.argsort(first)
        places = np.empty(len(order), dtype=int)
        places[order] = np.arange(len(order))
        fresh = self._embed([texts[i] for i in unknown[first[order]]], different[order], embed)
        answer = np.empty((len(texts), fresh.shape[1]), dtype=fresh.dtype)
        if known.any():
            answer[known] = self._files.read(rows[known])
        answer[unknown] = fresh[places[which]]
        return answer, len(order)

    def _embed(self, texts: list[str], keys: np.ndarray, embed: Callable[[list[str]], np.ndarray]) -> np.ndarray:
        parts = []
        for begin in range(0, max(len(texts), 1), _PORTION):
            part = slice(begin, begin + _PORTION)
            parts.append(np.asarray(embed(texts[part])))
            different, first = np.unique(keys[part], return_index=True)
            self._keep(different, parts[-1][first])
        return np.concatenate(parts)

    def _keep(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        if vectors.dtype != np.float32 or vectors.ndim != 2:
            return
        if (len(self._files) + len(vectors)) * vectors.shape[1] * 4 > self._most_bytes:
            return
        with self._files.writing():  # another process may have added some
            new = np.flatnonzero((self._files.find(keys) < 0) & np.isfinite(vectors).all(axis=1))
            if len(new):
                self._files.append(keys[new], vectors[new])


MANY = 5000  # texts, before whose embedding it is said how long it will take
_PROBE = 64  # of them, embedded to know
_SECONDS_WITHOUT_BAR = 3.0
Forward: TypeAlias = Callable[[int], object]  # told how many texts were embedded since


@contextmanager
def embedding(total: int, of: str, forward: Forward = lambda _: None) -> Iterator[Forward]:
    """A bar of texts that are embedded; what is yielded takes how many more are done, and tells `forward` as well."""
    with tqdm(total=total, desc="embedding", unit="text", of=of, mininterval=1, delay=_SECONDS_WITHOUT_BAR) as bar:

        def step(n: int) -> None:
            bar.update(min(n, total - bar.n))  # a text may be embedded twice: the first pays for what is set up once
            forward(n)

        yield step


class EmbedOnce:
    """While it is entered, `model.encode` answers for texts seen before from what is kept, and counts.

    `of` says what the texts are of, for the progress; `forward` is told how many were embedded since.

    `asked`: texts that were asked for; `embedded`: those that the model ran on, in `seconds`. A call that asks for more
    than plain vectors of plain texts goes to the model as it is.
    """

    def __init__(
        self, model: SentenceTransformer, kept: KeptVectors, *, of: str = "", forward: Forward = lambda _: None
    ) -> None:
        self.model, self.kept, self.of, self.forward = model, kept, of, forward
        self.asked, self.embedded, self.seconds = 0, 0, 0.0
        self._routed = any(type(module).__name__ == "Router" for module in model)
        self._warm = False

    def __enter__(self) -> EmbedOnce:
        plain_encode = self.model.encode

        def timed(inputs: Any, *args: Any, **options: Any) -> Any:
            if not self._warm:
                plain_encode(["A first text pays for what is set up once."], show_progress_bar=False)
                self._warm = True
            self._announce(plain_encode, inputs)
            started = time.monotonic()
            with embedding(len(inputs), self.of, self.forward) as step:
                hook = self.model.register_forward_hook(lambda *told: step(_rows(told[-1])))
                try:
                    answer = plain_encode(inputs, *args, **options)
                finally:
                    hook.remove()
            self.seconds += time.monotonic() - started
            self.embedded += len(inputs)
            return answer

        def encode(inputs: Any, *args: Any, **options: Any) -> Any:
            self.asked += len(inputs)
            reading = None if args else self._reading(inputs, options)
            if reading is None:
                return timed(inputs, *args, **options)
            told = {**options, "convert_to_numpy": True, "convert_to_tensor": False}
            answer, _ = self.kept.vectors(inputs, reading, lambda texts: timed(texts, **told), copies=True)
            return _as_asked(answer, options, self.model)

        self.model.encode = encode
        return self

    def __exit__(self, *_: object) -> None:
        del self.model.encode

    def _announce(self, encode: Callable[..., Any], inputs: Any) -> None:
        """Of many texts say how many they are and about how long they take, before they are begun."""
        if not isinstance(inputs, list) or len(inputs) < MANY:
            return
        probe, started = inputs[:: max(len(inputs) // _PROBE, 1)][:_PROBE], time.monotonic()
        encode(probe, show_progress_bar=False)
        seconds = (time.monotonic() - started) * len(inputs) / len(probe)
        notice(f"embedding {len(inputs):,} texts{f' of {self.of}' if self.of else ''}: about {duration(seconds)}")

    def _reading(self, inputs: Any, options: dict[str, Any]) -> str | None:
        """What decides a vector next to the text; None where the call cannot be answered from plain vectors."""
        if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
            return None
        if any(options.get(name, plain) != plain for name, plain in _PLAIN.items() if name != "normalize_embeddings"):
            return None
        others = {k: v for k, v in options.items() if k not in _NO_MATTER and v is not None and _PLAIN.get(k) != v}
        if not self._routed:
            others.pop("task", None)
        if set(others) - {"task", "normalize_embeddings", "device"}:
            return None
        prompt = options.get("prompt")
        if prompt is None:
            prompt = self.model.prompts.get(options.get("prompt_name") or self.model.default_prompt_name)
        return repr((prompt or "", others.get("task"), bool(others.get("normalize_embeddings"))))


def _rows(output: Any) -> int:
    """How many texts a forward pass was of."""
    vectors = output.get("sentence_embedding") if isinstance(output, dict) else None
    return 0 if vectors is None else len(vectors)


def _as_asked(vectors: np.ndarray, options: dict[str, Any], model: SentenceTransformer) -> Any:
    if options.get("convert_to_tensor"):
        import torch

        return torch.from_numpy(np.ascontiguousarray(vectors)).to(model.device)
    if options.get("convert_to_numpy") is False:
        import torch

        return list(torch.from_numpy(np.ascontiguousarray(vectors)))
    return vectors
