"""Opens what makes guide vectors: a model here, an embeddings endpoint, or a file of vectors made elsewhere.

`GuideOptions` says which; `ShardedGuide` has a model's texts embedded by other processes, shard by shard.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sentence_transformers import SentenceTransformer

from gisttools.common import (
    DataError,
    MissingError,
    ModelError,
    ParameterError,
    first_line,
    quiet_libraries,
)
from gisttools.data import FILE_ENDINGS, LINE_ENDINGS, RowFile, is_lines, read_lines
from gisttools.models.loading import is_static, native_bfloat16, open_model, reading_sha, weights_sha
from gisttools.models.options import ENDPOINT, GuideOptions, Precision
from gisttools.models.prompts import Prompts, prompts_of, settle_prompts

ENDINGS = (".parquet", ".npy")
_BLOCK = 8192


class GivenVectors:
    """Vectors made elsewhere. Any length is fine, they are made unit vectors; a file that changed is another guide.

    Args:
        path: `x.parquet` with columns `text` and `vector` (lists of n numbers), or `x.npy` of shape (rows, n) with the
            texts next to it in `x.jsonl` (one JSON string or {"text": ...} a line), `x.txt` (one text a line), or
            another file of rows with a column text.

    Raises:
        MissingError: a file does not exist.
        DataError: it does not hold texts and vectors.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path
        self.prompts = Prompts()
        files = [path]
        if not path.is_file():
            raise MissingError(f"No file of vectors at {path}. Correct the guide's name.")
        if path.suffix == ".npy":
            endings = (".jsonl", ".txt", *LINE_ENDINGS, *FILE_ENDINGS)
            texts = next((file for ending in endings if (file := path.with_suffix(ending)).exists()), None)
            if texts is None:
                raise MissingError(f"{path} has no texts next to it. Write {path.stem}.jsonl or {path.stem}.txt.")
            files.append(texts)
            self.dimension = self._matrix_width()
        else:
            self.dimension = self._column_width()
        digest = hashlib.blake2b(digest_size=16)
        for file in files:
            with open(file, "rb") as content:
                digest.update(hashlib.file_digest(content, "blake2b").digest())
        self._texts, self.identity = files[-1], f"given|{digest.hexdigest()}"

    def with_prompt(self, prompt: str) -> GivenVectors:
        """Itself: its vectors were made already."""
        return self

    def items(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Blocks of texts and their vectors, float (n, dimension), as they stand in the file."""
        return self._matrix_items() if self._path.suffix == ".npy" else self._column_items()

    def missing(self, count: int, texts: Sequence[str]) -> DataError:
        """The error for `count` texts that the file does not hold; `texts` are the first of them."""
        shown = ", ".join(repr(t[:80]) for t in texts[:3])
        return DataError(
            f"{self._path} holds no vector for {count} text(s), such as {shown}. Add them to the file, or name a model "
            "as the guide. Texts must be equal to the letter."
        )

    def _matrix_width(self) -> int:
        try:
            matrix = np.load(self._path, mmap_mode="r")
        except (ValueError, OSError) as error:
            raise DataError(f"{self._path} cannot be read as a matrix: {error}. Write it with numpy.save.") from error
        if matrix.ndim != 2 or matrix.dtype.kind != "f" or not matrix.shape[1]:
            raise DataError(f"{self._path} holds {matrix.dtype} of shape {matrix.shape}, no floats (rows, n).")
        return matrix.shape[1]

    def _matrix_items(self) -> Iterator[tuple[list[str], np.ndarray]]:
        matrix = np.load(self._path, mmap_mode="r")
        texts = list(read_lines(self._texts)) if is_lines(self._texts) else self._texts_of_rows()
        if len(texts) != len(matrix):
            raise DataError(f"{self._path} has {len(matrix)} rows, {self._texts} {len(texts)} texts: not a pair.")
        for begin in range(0, len(texts), _BLOCK):
            yield texts[begin : begin + _BLOCK], np.asarray(matrix[begin : begin + _BLOCK])

    def _texts_of_rows(self) -> list[str]:
        with RowFile(self._texts, bare="text") as file:
            texts = [text for part in file.parts(["text"]) for text in part["text"]]
        wrong = next((row for row, text in enumerate(texts) if not isinstance(text, str)), None)
        if wrong is not None:
            raise DataError(
                f"{self._texts}, row {wrong} counted from 0: {texts[wrong]!r} is no text. Give each row one."
            )
        return texts

    def _column_width(self) -> int:
        try:
            file = pq.ParquetFile(self._path)
        except pa.ArrowInvalid as error:
            raise DataError(f"{self._path} cannot be read as Parquet: {error}.") from error
        schema = file.schema_arrow
        kinds = dict(zip(schema.names, schema.types, strict=True))
        text, vector = kinds.get("text"), kinds.get("vector")
        if not (text and (pa.types.is_string(text) or pa.types.is_large_string(text)) and _is_floats(vector)):
            told = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
            raise DataError(f"{self._path} has the columns {told}; needed are text: string and vector: list of floats.")
        for batch in file.iter_batches(1, columns=["vector"]):
            return len(batch["vector"][0].as_py() or [])
        raise DataError(f"{self._path} has no rows.")

    def _column_items(self) -> Iterator[tuple[list[str], np.ndarray]]:
        for batch in pq.ParquetFile(self._path).iter_batches(_BLOCK, columns=["text", "vector"]):
            vectors = batch["vector"].flatten()
            whole = not (batch["text"].null_count or batch["vector"].null_count or vectors.null_count)
            lengths = set(batch["vector"].value_lengths().to_pylist())
            if not whole or lengths != {self.dimension}:
                raise DataError(
                    f"{self._path}: texts and vectors must all be there, vectors of one length "
                    f"(seen: {', '.join(map(str, sorted(lengths, key=str)))} numbers, nulls: {not whole})."
                )
            yield batch["text"].to_pylist(), vectors.to_numpy(zero_copy_only=False).reshape(-1, self.dimension)


def _is_floats(kind: pa.DataType | None) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return kind is not None and any(is_(kind) for is_ in lists) and pa.types.is_floating(kind.value_type)


class Guide(Protocol):
    """What makes vectors of texts. `gisttools.models.VectorCache` keeps them."""

    name: str
    dimension: int | None  # None until the first answer of an endpoint
    portion: int  # texts that one call of `stream` should get

    @property
    def identity(self) -> str:
        """Everything that decides a vector; a guide of another identity never answers for this one."""

    prompts: Prompts  # what it puts before which texts; `stream` puts one of them before all

    def with_prompt(self, prompt: str) -> Guide:
        """The same model with another prompt before every text; "" for none."""

    def stream(self, texts: Sequence[str]) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """Parts of the work as they are done: numbers of texts, int (n,), and their vectors, float (n, dimension).
        Closing it ends what is under way."""


class ModelGuide:
    """A SentenceTransformer as the guide.

    Args:
        model: in evaluation it is not changed.
        prompt: text put before every text; None takes the one that the model has for texts that are alike, if any.
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
        self.name, self.prompts = name, prompts_of(model)
        self._static = is_static(model)
        if precision == "auto":
            precision = "bfloat16" if native_bfloat16(model) else "float32"
        self._precision = "float32" if self._static else precision
        self._reading = f"model|{weights_sha(model)}|{reading_sha(model)}"
        self._prompt = self.prompts.alike if prompt is None else prompt
        self.dimension = model.get_embedding_dimension()
        self.tokenizer, self.max_seq_length = model.tokenizer, model.max_seq_length
        self._models = [copy.deepcopy(model).to(device) for device in devices] or [model]
        slow = not self._static and self._models[0].device.type == "cpu"
        self.portion, self._batch = (512, 32) if slow else (4096 * len(self._models), 128)

    @property
    def prompt(self) -> str:
        """What stands before every text."""
        return self._prompt

    @property
    def identity(self) -> str:
        """Everything that decides a vector."""
        return f"{self._reading}|{self._prompt or None}|{self._precision}"

    def with_prompt(self, prompt: str) -> ModelGuide:
        """The same model with another prompt."""
        other = copy.copy(self)
        other._prompt = prompt
        return other

    def stream(self, texts: Sequence[str]) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """As `Guide.stream`, in one part; quickest with texts of like length.

        Raises:
            ModelError: the model fails.
        """
        # each takes every n-th text, so that all devices get texts of all lengths
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
            raise ModelError(
                f"Guide {self.name} fails in {self._precision} on {model.device}: {first_line(error)} "
                "Use precision='float32', or another guide."
            ) from error
        return vectors.float().cpu().numpy()


def open_guide(options: GuideOptions, *, device: str | None = None) -> Guide | GivenVectors:
    """Open what makes guide vectors.

    Args:
        options: see `GuideOptions`.
        device: of a model, as in torch; None takes the best present, and all of several CUDA devices.

    Raises:
        MissingError, ModelError: a model or file is not there, or cannot be opened.
        ParameterError: an option does not fit this kind of guide.
        DataError: the file holds no vectors.
    """
    name, said = options.name, (options.query_said, options.document_said)
    if options.revision and (name.startswith(ENDPOINT) or name.endswith(ENDINGS)):
        raise ParameterError(
            f"Guide {name!r} has no revision {options.revision!r}: that is for models of the hub. Drop it."
        )
    if name.startswith(ENDPOINT):
        from gisttools.models.endpoint import EndpointGuide  # openai takes a second, and few guides need it

        return EndpointGuide(options)
    if options.base_url:
        raise ParameterError(
            f"Guide {name!r} is asked at no base_url ({options.base_url}). Drop it or write {ENDPOINT}{name}."
        )
    path = Path(name).expanduser()
    if path.suffix in ENDINGS and not path.is_dir():
        told = next((text for text in said if text), None)
        if told:
            raise ParameterError(f"{name} holds vectors made already; the prompt {told!r} comes too late. Drop it.")
        return GivenVectors(path)
    model = open_model(name, options.revision, device=device, trust_remote_code=options.trust_remote_code)
    settle_prompts(model, *said)
    several = device is None and model.device.type == "cuda" and not is_static(model) and not _one_of_many()
    count = torch.cuda.device_count() if several else 1
    devices = [f"cuda:{i}" for i in range(count)] if count > 1 else []
    return ModelGuide(model, name, precision=options.precision, devices=devices)


def _one_of_many() -> bool:
    """Is this process one of several that train together? Then each device has a process of its own."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


SHARD = 512  # texts; a multiple of every batch, so that batches are those of a guide that embeds them all itself


class ShardedGuide:
    """Stands in for a guide in a `VectorCache`: the same vectors, made by calls that `submit` sends somewhere.

    Args:
        guide: says what decides a vector; it embeds nothing.
        submit: of a shard's texts and the prompt before them, a future of what `embed_shard` answers.
    """

    def __init__(
        self, guide: Guide, submit: Callable[[list[str], str | None], Future], prompt: str | None = None
    ) -> None:
        self.name, self.identity, self.dimension = guide.name, guide.identity, guide.dimension
        self.prompts, self._guide, self._prompt = guide.prompts, guide, prompt
        self.tokenizer = getattr(guide, "tokenizer", None)
        self.portion = 1 << 20  # a whole block at a time; it is cut here
        self._submit = submit

    def with_prompt(self, prompt: str) -> ShardedGuide:
        """The same with another prompt."""
        return ShardedGuide(self._guide.with_prompt(prompt), self._submit, prompt)

    def stream(self, texts: Sequence[str]) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """As `Guide.stream`, a part for each shard that is done.

        Raises:
            ModelError: a shard was embedded by another guide than the one asked for, or the model fails.
        """
        shards = {}
        for begin in range(0, len(texts), SHARD):
            numbers = np.arange(begin, min(begin + SHARD, len(texts)))
            shards[self._submit([texts[i] for i in numbers.tolist()], self._prompt)] = numbers
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


def embed_shard(
    guide: GuideOptions, texts: list[str], prompt: str | None = None, *, asked: str = ""
) -> tuple[str, np.ndarray]:
    """In any process: the identity of the guide there, and vectors, float32 (n, dimension). It stays open for more;
    `prompt`: before the texts; None for the guide's own; `asked`: by what; it is opened anew for something else."""
    quiet_libraries()
    use_told_threads()
    opened = _opened(guide.model_dump_json(), asked)
    opened = opened if prompt is None else opened.with_prompt(prompt)
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
def _opened(options: str, _asked: str) -> Guide:
    opened = open_guide(GuideOptions.model_validate_json(options))
    if isinstance(opened, GivenVectors):
        raise ParameterError(f"{opened.name} is a file of vectors, which embeds no texts. Name a model.")
    return opened
