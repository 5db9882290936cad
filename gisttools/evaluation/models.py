"""Opens what can be scored, and knows what decides its vectors.

A name stands for a model: what `gisttools.models.open_model` opens, `mteb:NAME` or `mteb:NAME@revision` (a model of
mteb's registry with its own prompts), `endpoint:MODEL` (an embeddings endpoint), `bm25` (a search by words) or `random`
(vectors that know nothing).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    notice,
)
from gisttools.evaluation.kept_vectors import MANY, EmbedOnce, Forward, KeptVectors, embedding
from gisttools.models import (
    EMBEDDED,
    ENDPOINT,
    open_model,
    probe,
    reading_sha,
    revision_of,
    settle_prompts,
    trusted,
    weights_sha,
)

if TYPE_CHECKING:
    from gisttools.models import EndpointGuide

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
        if len(texts) >= MANY:
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


def provider_of(name: str) -> str | None:
    """Who serves a model of mteb's registry (`mteb:NAME`) that is not open, so that texts are sent to them; None of one
    that runs here, and of one that is not known."""
    from mteb.models.model_implementations import MODEL_REGISTRY

    plain = name.removeprefix(REGISTRY).partition("@")[0]
    about = MODEL_REGISTRY.get(plain)
    return f"the provider of {plain}" if about is not None and about.open_weights is False else None


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
