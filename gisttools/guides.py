"""What makes guide vectors: a model here, an embeddings endpoint, or a file of vectors made elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from gisttools.common import ModelError, ParameterError
from gisttools.given_vectors import ENDINGS, GivenVectors
from gisttools.models import ENDPOINT, is_static, native_bfloat16, open_model, reading_sha, weights_sha

Precision = Literal["auto", "float32", "bfloat16"]


class Guide(Protocol):
    """What makes vectors of texts. `gisttools.vectors.VectorCache` keeps them."""

    name: str
    identity: str  # everything that decides a vector; a guide of another identity never answers for this one
    dimension: int | None  # None until the first answer of an endpoint
    portion: int  # texts that one call of `stream` should get

    def stream(self, texts: Sequence[str]) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """Parts of the work as they are done: numbers of texts, int (n,), and their vectors, float (n, dimension).
        Closing it ends what is under way."""


class ModelGuide:
    """A SentenceTransformer as the guide.

    Args:
        model: in evaluation it is not changed.
        prompt: text put before every text; None takes the model's default prompt, if it has one.
        precision: of the matrix products. "auto": bfloat16 where the hardware multiplies it natively, else float32;
            cosines differ by about 0.0005 between the two. Static models always use float32.
        devices: where copies of the model run at the same time; the model's own device if empty.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        name: str,
        *,
        prompt: str | None = None,
        precision: Precision = "auto",
        devices: Sequence[str] = (),
    ) -> None:
        self.name, self._prompt = name, prompt
        self._static = is_static(model)
        if precision == "auto":
            precision = "bfloat16" if native_bfloat16(model) else "float32"
        self._precision = "float32" if self._static else precision
        self.identity = f"model|{weights_sha(model)}|{reading_sha(model)}|{prompt}|{self._precision}"
        self.dimension = model.get_embedding_dimension()
        self._models = [copy.deepcopy(model).to(device) for device in devices] or [model]
        slow = not self._static and self._models[0].device.type == "cpu"
        self.portion, self._batch = (512, 32) if slow else (4096 * len(self._models), 128)

    def stream(self, texts: Sequence[str]) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """As `Guide.stream`, in one part; quickest with texts of like length.

        Raises:
            ModelError: the model fails.
        """
        # every so-manieth text, so that all devices get texts of all lengths
        shares = [np.arange(len(texts))[i :: len(self._models)] for i in range(len(self._models))]
        parts = [[texts[n] for n in share] for share in shares]
        with ThreadPoolExecutor(len(self._models)) as pool:
            vectors = list(pool.map(self._encode, self._models, parts))
        yield np.concatenate(shares), np.concatenate(vectors)

    def _encode(self, model: SentenceTransformer, texts: list[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        half = self._precision == "bfloat16"
        try:
            with torch.autocast(model.device.type, dtype=torch.bfloat16) if half else nullcontext():
                vectors = model.encode(
                    texts, prompt=self._prompt, batch_size=self._batch, show_progress_bar=False, convert_to_tensor=True
                )
        except (RuntimeError, ValueError, IndexError) as error:  # memory, a kernel that is missing, a bad tokenizer
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"Guide {self.name} fails in {self._precision} on {model.device}: {first}. Use precision='float32', "
                "or another guide."
            ) from error
        return vectors.float().cpu().numpy()


def open_guide(
    name: str,
    revision: str | None = None,
    *,
    prompt: str | None = None,
    base_url: str | None = None,
    key_variable: str = "OPENAI_API_KEY",
    precision: Precision = "auto",
    device: str | None = None,
) -> Guide:
    """Open what makes guide vectors.

    Args:
        name: a model as in `gisttools.models.open_model`; `endpoint:MODEL`, a model behind an OpenAI-compatible
            `/embeddings` endpoint; or a file of vectors, `x.parquet` or `x.npy`, as in `GivenVectors`.
        revision: of a hub model. Pin a commit.
        prompt: text put before every text.
        base_url, key_variable: of an endpoint, as in `EndpointGuide`.
        precision: of a model, as in `ModelGuide`.
        device: of a model, as in torch; None takes the best present, and all of several CUDA devices.

    Raises:
        MissingError, ModelError: a model or file is not there, or cannot be opened.
        ParameterError: an option does not fit this kind of guide.
        DataError: the file holds no vectors.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ParameterError(f"precision is {precision!r}, must be 'auto', 'float32' or 'bfloat16'.")
    if name.startswith(ENDPOINT):
        from gisttools.endpoint_guide import EndpointGuide  # openai takes a second to load

        return EndpointGuide(name.removeprefix(ENDPOINT), base_url=base_url, key_variable=key_variable, prompt=prompt)
    if base_url:
        raise ParameterError(f"Guide {name!r} is asked at no base_url ({base_url}). Drop it or write {ENDPOINT}{name}.")
    path = Path(name).expanduser()
    if path.suffix in ENDINGS and not path.is_dir():
        if prompt:
            raise ParameterError(f"{name} holds vectors made already; the prompt {prompt!r} comes too late. Drop it.")
        return GivenVectors(path)  # type: ignore[return-value]  # streams nothing: `VectorCache` takes in all it holds
    model = open_model(name, revision, device=device)
    several = device is None and model.device.type == "cuda" and not is_static(model) and not _one_of_many()
    count = torch.cuda.device_count() if several else 1
    devices = [f"cuda:{i}" for i in range(count)] if count > 1 else []
    return ModelGuide(model, name, prompt=prompt, precision=precision, devices=devices)


def _one_of_many() -> bool:
    """Is this process one of several that train together? Then each device has a process of its own."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
