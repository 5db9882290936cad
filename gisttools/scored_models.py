"""What can be scored: a model here or on the hub, one of mteb's registry, an endpoint; and what its vectors hang on.

A name stands for one of them: what `gisttools.models.open_model` opens, `mteb:NAME` or `mteb:NAME@revision` (a model of
mteb's registry with its own prompts), `endpoint:MODEL` (an embeddings endpoint), `bm25` (a search by words) or `random`
(vectors that know nothing).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import mteb
from sentence_transformers import SentenceTransformer

from gisttools.common import MissingError, ModelError, did_you_mean
from gisttools.encoders import EndpointEncoder, Meter, RandomEncoder, metered
from gisttools.kept_vectors import EmbedOnce, KeptVectors
from gisttools.models import EMBEDDED, ENDPOINT, open_model, reading_sha, revision_of, weights_sha

REGISTRY = "mteb:"
BM25, RANDOM = "bm25", "random"
INSTALL_BM25 = 'pip install "gisttools[bm25]"'


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
        return hashlib.blake2b(self.identity.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

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
    def counting(self, folder: Path) -> Iterator[Meter]:
        """Inside, texts and seconds are counted, and one text is embedded once: vectors are kept in `folder`."""
        meter = Meter()
        about = {"name": self.name, "revision": self.revision, "identity": self.identity}
        if self.transformer is not None:
            with EmbedOnce(self.transformer, KeptVectors(folder, about)) as counted:
                try:
                    yield meter
                finally:
                    meter.asked, meter.embedded, meter.seconds = counted.asked, counted.embedded, counted.seconds
        elif isinstance(self.encoder, EndpointEncoder):
            with self.encoder.keeping(KeptVectors(folder, about), meter):
                yield meter
        else:
            with metered(self.encoder, meter):
                yield meter


def scored(model: SentenceTransformer | ScoredModel, name: str = "") -> ScoredModel:
    """An opened model as one that is scored; what is one already stays as it is."""
    if isinstance(model, ScoredModel):
        return model
    similarity = str(getattr(model, "similarity_fn_name", None))
    reading = [
        sorted((model.prompts or {}).items()), model.default_prompt_name, similarity, model.truncate_dim,
        str(getattr(model, "dtype", None)),
    ]  # fmt: skip
    return ScoredModel(
        name=name,
        kind="model",
        encoder=model,
        identity=f"model|{weights_sha(model)}|{reading_sha(model)}|{reading!r}",
        revision=revision_of(model, name),
        dimension=model.get_embedding_dimension(),
        prompts=_told(model.prompts),
        training_sets=training_sets(name),
        transformer=model,
    )


def open_scored(
    name: str,
    revision: str | None = None,
    *,
    base_url: str | None = None,
    key_variable: str = "OPENAI_API_KEY",
    prompt: str | None = None,
    seed: int = 0,
) -> ScoredModel:
    """Open what a name stands for.

    Args:
        name: see the module's docstring.
        revision: of a hub or registry model.
        base_url, key_variable, prompt: of an endpoint, as in `gisttools.models.EndpointGuide`.
        seed: of random vectors.

    Raises:
        MissingError: a folder, a package or a registered model is not there.
        ModelError: a model cannot be opened.
        ParameterError: an endpoint's address is none.
    """
    if name.startswith(REGISTRY):
        return _registered(name, revision)
    if name.startswith(ENDPOINT):
        from gisttools.models import EndpointGuide

        guide = EndpointGuide(name.removeprefix(ENDPOINT), base_url=base_url, key_variable=key_variable, prompt=prompt)
        encoder = EndpointEncoder(guide)
        return ScoredModel(
            name=name, kind="endpoint", encoder=encoder, identity=guide.identity, revision=guide.url,
            prompts=_told({"all": prompt}),
        )  # fmt: skip
    if name == BM25:
        return _bm25()
    if name == RANDOM:
        encoder = RandomEncoder(seed)
        return ScoredModel(
            name=name, kind=RANDOM, encoder=encoder, identity=f"{RANDOM}|{encoder.dimension}|{seed}",
            revision=f"seed {seed}", dimension=encoder.dimension, training_sets=frozenset(),
        )  # fmt: skip
    return scored(open_model(name, revision), name)


def training_sets(name: str) -> frozenset[str] | None:
    """The mteb tasks that a registered model was trained on, with those made from the same data; None if not known."""
    from mteb.models.model_implementations import MODEL_REGISTRY

    if name.startswith(EMBEDDED):
        name = f"sentence-transformers/{name.removeprefix(EMBEDDED)}"
    about = MODEL_REGISTRY.get(name.removeprefix(REGISTRY).partition("@")[0])
    known = about.get_training_datasets() if about else None
    return None if known is None else frozenset(known)


def _registered(name: str, revision: str | None) -> ScoredModel:
    from mteb.models.model_implementations import MODEL_REGISTRY

    model_name, _, told = name.removeprefix(REGISTRY).partition("@")
    if model_name not in MODEL_REGISTRY:
        raise MissingError(
            f"mteb's registry has no model {model_name!r}.{did_you_mean(model_name, MODEL_REGISTRY)} A model that is "
            "not in it is named without 'mteb:' (org/name)."
        )
    try:
        about = mteb.get_model_meta(model_name, told or revision)
        encoder = about.load_model()
    except Exception as error:  # each model has a loader of its own
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"Model {name} of mteb's registry cannot be opened: {why}. Install what it needs, check the network, or "
            "name another revision."
        ) from error
    inner = getattr(encoder, "model", None)
    transformer = inner if isinstance(inner, SentenceTransformer) else None
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
