"""Opens what can be scored, knows what decides its vectors, and embeds each text once.

A name stands for a model: what `gisttools.models.open_model` opens, `mteb:NAME` or `mteb:NAME@revision` (a model of
mteb's registry with its own prompts), `endpoint:MODEL` (an embeddings endpoint), `bm25` (a search by words) or `random`
(vectors that know nothing).

One text is embedded once by a model, whatever tasks ask for it: vectors are kept on disk as the model gave them. mteb's
own `CachedEmbeddingWrapper` keeps one file for each task, so that tasks share nothing, and `VectorCache` keeps unit
vectors, which lose their lengths. Here a vector comes back to the last bit, read from a memory map.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import mteb
import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from sentence_transformers import SentenceTransformer

from gisttools.common import (
    GistError,
    MissingError,
    ModelError,
    ParameterError,
    did_you_mean,
    digest,
    duration,
    notice,
    tqdm,
)
from gisttools.models import (
    EMBEDDED,
    ENDPOINT,
    VectorFolder,
    open_model,
    probe,
    reading_sha,
    revision_of,
    settle_prompts,
    text_keys,
    trusted,
    weights_sha,
)

if TYPE_CHECKING:
    from gisttools.models import EndpointGuide

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


_MANY = 5000  # texts, before whose embedding it is said how long it will take
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
        if not isinstance(inputs, list) or len(inputs) < _MANY:
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


_RANDOM_DIMENSION = 256


def _ignore(_: int) -> None:
    pass


Inputs: TypeAlias = Iterable[Mapping[str, list[str]]]  # of mteb: batches of columns, one of them `text`


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
        self._meter, self._of = Meter(), ""
        self._forward: Forward = _ignore

    @contextmanager
    def keeping(
        self, kept: KeptVectors, meter: Meter, *, of: str = "", forward: Forward = lambda _: None
    ) -> Iterator[None]:
        """Inside, vectors are kept there and counted; `of` and `forward` as of `EmbedOnce`."""
        self._kept, self._meter, self._of, self._forward = kept, meter, of, forward
        try:
            yield
        finally:
            self._kept, self._meter, self._of, self._forward = None, Meter(), "", _ignore

    def encode(
        self,
        inputs: Inputs,
        *,
        task_metadata: object,
        hf_split: str,
        hf_subset: str,
        prompt_type: object = None,
        **_: object,
    ) -> np.ndarray:
        """Vectors of all texts, float32 (n, dimension). Raises as `EndpointGuide.stream`."""
        texts = texts_in(inputs)
        guide = self.guide.with_prompt(self._prompt(prompt_type))
        self._meter.asked += len(texts)
        if self._kept is None:
            return self._ask(guide, texts)
        reading = "" if guide.prompt == self.guide.prompt else repr(guide.prompt)
        return self._kept.vectors(texts, reading, partial(self._ask, guide))[0]

    def _prompt(self, prompt_type: object) -> str:
        side = str(getattr(prompt_type, "value", prompt_type))
        return {"query": self.guide.prompts.query, "document": self.guide.prompts.document}.get(side, self.guide.prompt)

    def _ask(self, guide: EndpointGuide, texts: list[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, self.guide.dimension or 0), dtype=np.float32)
        started, vectors = time.monotonic(), np.zeros((0, 0), dtype=np.float32)
        if len(texts) >= _MANY:
            notice(f"embedding {len(texts):,} texts{f' of {self._of}' if self._of else ''} at {self.guide.url}")
        with embedding(len(texts), self._of, self._forward) as step:
            for numbers, part in guide.stream(texts):
                if not len(vectors):
                    vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32)
                vectors[numbers] = part
                step(len(part))
        self._meter.seconds += time.monotonic() - started
        self._meter.embedded += len(texts)
        return vectors


class RandomEncoder(AbsEncoder):
    """Normal vectors drawn by text and seed: equal texts are equal, and nothing else is known."""

    def __init__(self, seed: int = 0, dimension: int = _RANDOM_DIMENSION) -> None:
        self.seed, self.dimension = seed, dimension
        self.mteb_model_meta = _meta("gisttools/random", f"seed {seed}")

    def encode(
        self,
        inputs: Inputs,
        *,
        task_metadata: object,
        hf_split: str,
        hf_subset: str,
        prompt_type: object = None,
        **_: object,
    ) -> np.ndarray:
        """Vectors of all texts, float32 (n, dimension)."""
        vectors = [self._vector(text) for text in texts_in(inputs)]
        return np.stack(vectors) if vectors else np.zeros((0, self.dimension), dtype=np.float32)

    def _vector(self, text: str) -> np.ndarray:
        seed = int(digest(f"{self.seed}|{text}"), 16)
        return np.random.default_rng(seed).standard_normal(self.dimension, dtype=np.float32)


def texts_in(inputs: Inputs) -> list[str]:
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


REGISTRY = "mteb:"
BM25, RANDOM = "bm25", "random"
INSTALL_BM25 = "pip install bm25s PyStemmer"


@dataclass(frozen=True, kw_only=True)
class ScoredModel:
    """A model that mteb can evaluate.

    Attributes:
        name: what it is called.
        kind: model, registry, endpoint, bm25 or random.
        encoder: what `mteb.evaluate` is given.
        identity: everything that decides its vectors; scores of another identity are never taken for its own.
        revision: what pins it, for people.
        dimension: of its vectors; None where that is not known before it is asked, or it has none.
        prompts: texts that it puts before its inputs, by kind of input.
        training_sets: names of mteb tasks that it was trained on, as mteb knows; None where it does not.
    """

    name: str
    kind: str
    encoder: Any
    identity: str
    revision: str
    dimension: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    training_sets: frozenset[str] | None = None
    transformer: SentenceTransformer | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """16 hex digits of the identity."""
        return digest(self.identity)

    @property
    def searches_only(self) -> bool:
        """Does it rank documents without making vectors? Then only retrieval and reranking can be scored."""
        return not hasattr(self.encoder, "encode")

    @property
    def megabytes(self) -> float | None:
        """Of its weights, in millions of bytes; None where they are not here."""
        if self.transformer is None:
            return None
        return sum(p.numel() * p.element_size() for p in self.transformer.parameters()) / 1e6

    @contextmanager
    def counting(self, folder: Path, *, of: str = "", forward: Forward = lambda _: None) -> Iterator[Meter]:
        """Inside, texts and seconds are counted, and one text is embedded once: vectors are kept in `folder`.

        Args:
            folder: of this model's vectors.
            of: what the texts are of, for the progress.
            forward: told how many texts were embedded since it was last told.
        """
        meter = Meter()
        about = {"name": self.name, "revision": self.revision, "identity": self.identity}
        if self.transformer is not None:
            with EmbedOnce(self.transformer, KeptVectors(folder, about), of=of, forward=forward) as counted:
                try:
                    yield meter
                finally:
                    meter.asked, meter.embedded, meter.seconds = counted.asked, counted.embedded, counted.seconds
        elif isinstance(self.encoder, EndpointEncoder):
            with self.encoder.keeping(KeptVectors(folder, about), meter, of=of, forward=forward):
                yield meter
        else:
            with metered(self.encoder, meter):
                yield meter


def scored(model: SentenceTransformer | ScoredModel, name: str = "") -> ScoredModel:
    """An opened model as one that is scored; what is one already stays as it is. Its prompts are written under names
    that mteb knows (`gisttools.models.settle_prompts`)."""
    if isinstance(model, ScoredModel):
        return model
    similarity = str(getattr(model, "similarity_fn_name", None))
    prompts = settle_prompts(model, name=name)
    named = {"query": prompts.query, "document": prompts.document, **prompts.tasks}
    reading = [
        sorted(named.items()), prompts.alike or None, similarity, model.truncate_dim,
        str(getattr(model, "dtype", None)),
    ]  # fmt: skip
    return ScoredModel(
        name=name,
        kind="model",
        encoder=model,
        identity=f"model|{weights_sha(model)}|{reading_sha(model)}|{reading!r}",
        revision=revision_of(model, name),
        dimension=model.get_embedding_dimension(),
        prompts=prompts.told(),
        training_sets=training_sets(name),
        transformer=model,
    )


def open_scored(
    name: str,
    revision: str | None = None,
    *,
    trust_remote_code: bool | Sequence[str] = False,
    base_url: str | None = None,
    key_variable: str = "OPENAI_API_KEY",
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    seed: int = 0,
) -> ScoredModel:
    """Open what a name stands for.

    Args:
        name: see the module's docstring.
        revision: of a hub or registry model.
        trust_remote_code: let code run that comes with a model, as in `gisttools.models.open_model`.
        base_url, key_variable: of an endpoint, as in `gisttools.models.EndpointGuide`.
        query_prompt, document_prompt: before queries (and texts that are alike) and documents of a search, in place of
            the model's own; "" for none.
        seed: of random vectors.

    Raises:
        MissingError: a folder, a package or a registered model is not there.
        ModelError: a model cannot be opened.
        ParameterError: an endpoint's address is none, or prompts are told of what has none, or makes its own.
    """
    said = query_prompt, document_prompt
    if name.startswith(REGISTRY):
        return _registered(name, revision, trust_remote_code, *said)
    if name.startswith(ENDPOINT):
        from gisttools.models import EndpointGuide, GuideOptions

        told = GuideOptions(
            name=name, base_url=base_url, key_variable=key_variable, query_prompt=said[0], document_prompt=said[1]
        )
        guide = EndpointGuide(told)
        encoder = EndpointEncoder(guide)
        sides = "" if guide.prompts.document == guide.prompts.alike else f"|{guide.prompts.document}"
        return ScoredModel(
            name=name, kind="endpoint", encoder=encoder, identity=f"{guide.identity}{sides}", revision=guide.url,
            prompts=guide.prompts.told(),
        )  # fmt: skip
    if name in (BM25, RANDOM) and any(text is not None for text in said):
        raise ParameterError(f"{name} reads no prompts. Leave query_prompt and document_prompt out.")
    if name == BM25:
        return _bm25()
    if name == RANDOM:
        encoder = RandomEncoder(seed)
        return ScoredModel(
            name=name, kind=RANDOM, encoder=encoder, identity=f"{RANDOM}|{encoder.dimension}|{seed}",
            revision=f"seed {seed}", dimension=encoder.dimension, training_sets=frozenset(),
        )  # fmt: skip
    model = open_model(name, revision, trust_remote_code=trust_remote_code)
    settle_prompts(model, *said)
    return scored(model, name)


def training_sets(name: str) -> frozenset[str] | None:
    """The mteb tasks that a registered model was trained on, with those made from the same data; None if not known."""
    from mteb.models.model_implementations import MODEL_REGISTRY

    if name.startswith(EMBEDDED):
        name = f"sentence-transformers/{name.removeprefix(EMBEDDED)}"
    about = MODEL_REGISTRY.get(name.removeprefix(REGISTRY).partition("@")[0])
    known = about.get_training_datasets() if about else None
    return None if known is None else frozenset(known)


def _registered(
    name: str,
    revision: str | None,
    trust: bool | Sequence[str] = False,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> ScoredModel:
    from mteb.models.model_implementations import MODEL_REGISTRY

    model_name, _, told = name.removeprefix(REGISTRY).partition("@")
    if model_name not in MODEL_REGISTRY:
        raise MissingError(
            f"mteb's registry has no model {model_name!r}.{did_you_mean(model_name, MODEL_REGISTRY)} A model that is "
            "not in it is named without 'mteb:' (org/name)."
        )
    try:
        about = mteb.get_model_meta(model_name, told or revision)
        _check_code(name, about, trust)
        encoder = about.load_model()
    except GistError:
        raise
    except Exception as error:  # each model has a loader of its own
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"Model {name} of mteb's registry cannot be opened: {why}. Install what it needs, check the network, or "
            "name another revision."
        ) from error
    inner = getattr(encoder, "model", None)
    transformer = inner if isinstance(inner, SentenceTransformer) else None
    if transformer is not None:
        probe(transformer, name)
    if query_prompt is not None or document_prompt is not None:
        _say_prompts(name, encoder, transformer, query_prompt, document_prompt)
    prompts = json.dumps(getattr(encoder, "model_prompts", None), sort_keys=True)
    parts = ["registry", model_name, str(about.revision), prompts]
    if transformer is not None:
        parts += [weights_sha(transformer), reading_sha(transformer), str(transformer.truncate_dim)]
    known = about.get_training_datasets()
    return ScoredModel(
        name=name,
        kind="registry",
        encoder=encoder,
        identity="|".join(parts),
        revision=str(about.revision),
        dimension=transformer.get_embedding_dimension() if transformer is not None else about.embed_dim,
        prompts=_told(getattr(encoder, "model_prompts", None)),
        training_sets=None if known is None else frozenset(known),
        transformer=transformer,
    )


def _say_prompts(
    name: str, encoder: Any, transformer: SentenceTransformer | None, query: str | None, document: str | None
) -> None:
    """Put a user's prompts into a registered model that has prompts by name."""
    if transformer is None or not isinstance(encoder, SentenceTransformerEncoderWrapper):
        raise ParameterError(f"{name} makes its prompts in code of mteb's. Leave query_prompt and document_prompt out.")
    transformer.prompts = dict(encoder.model_prompts or {})
    settle_prompts(transformer, query, document)
    encoder.model_prompts = dict(transformer.prompts)


def _check_code(name: str, about: ModelMeta, trust: bool | Sequence[str]) -> None:
    """Refuse a registered model that mteb would run code of, where that was not asked for: mteb asks nobody."""
    if not about.loader_kwargs.get("trust_remote_code"):
        return
    if not trust:
        raise ModelError(
            f"Model {name} brings code of its own, which mteb would run. Look at it ({about.name} on the hub), and if "
            "you trust it, set trust_remote_code = true."
        )
    if "model_kwargs" in trusted(str(about.name), about.revision, trust):
        raise ModelError(
            f"Model {name} brings code that lies in another repository, whose newest commit mteb would run. Name it "
            f"{about.name}@{about.revision}, without {REGISTRY!r}: then the commit that you pinned is run."
        )


def _told(prompts: Mapping[str, str | None] | None) -> dict[str, str]:
    """Prompts that say something."""
    return {kind: text for kind, text in (prompts or {}).items() if text}


def _bm25() -> ScoredModel:
    try:
        version = "+".join(f"{package}=={metadata.version(package)}" for package in ("bm25s", "PyStemmer"))
    except metadata.PackageNotFoundError as error:
        raise MissingError(
            f"The reference {BM25!r} needs the package {error.name}. Install it: {INSTALL_BM25}"
        ) from None
    about = mteb.get_model_meta("mteb/baseline-bm25s")
    return ScoredModel(
        name=BM25,
        kind=BM25,
        encoder=about.load_model(),
        identity=f"{BM25}|{about.revision}|{version}",
        revision=version,
        training_sets=frozenset(),
    )
