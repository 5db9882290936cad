"""Writes a model smaller and faster, and measures what that costs: `export_model`.

Forms that are written (ONNX, int8 weights, fewer dimensions) and ways to keep vectors that are only measured (fewer
dimensions, int8, binary) stand in one table with the model itself: scores with paired intervals, likeness of vectors,
size, and texts a second on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import quantize_embeddings

from gisttools.common import (
    DataError,
    Options,
    ParameterError,
    cpu_name,
    digest,
    doing,
    is_number,
    problems,
    signed,
    write_whole,
)
from gisttools.data import all_texts_of, load_task
from gisttools.evaluation.comparison import Comparison, read_comparisons
from gisttools.evaluation.evaluating import BASE, Variant, evaluate
from gisttools.evaluation.kept_vectors import EmbedOnce, KeptVectors
from gisttools.evaluation.models import ScoredModel, scored
from gisttools.evaluation.options import EvaluateOptions
from gisttools.evaluation.scores import ScoreCache
from gisttools.evaluation.tasks import TaskSource
from gisttools.models import check_onnx, open_model, shortened, weights_of, write_onnx

Precision: TypeAlias = Literal["float32", "int8", "binary"]
ORIGINAL = "as it is"
TABLE = "export"  # .json and .md, in the folder
_TEXTS = 256  # whose vectors are compared, and which are embedded for the speed
_FEWEST = 2
_BATCH, _ROUNDS = 32, 5
_BITS = {"float32": 32, "int8": 8, "binary": 1}


class ExportOptions(Options):
    """What is written, and what else is measured."""

    about = "exporting"

    onnx: bool = Field(False, description="write ONNX, for onnxruntime, text-embeddings-inference and others")
    int8: bool = Field(False, description="write ONNX with weights of 8 bits: a quarter of the size")
    dimensions: int | None = Field(None, ge=1, description="write the model with so many dimensions, the first ones")
    measure: list[str] = Field(
        [], description="vectors to measure and not to write: 128 (dimensions), int8, binary, or both: 128,int8"
    )

    def conflicts(self) -> list[str]:
        """Nothing to do, and vectors that are none."""
        found = [f"measure has {told!r}: {trouble}" for told in self.measure if (trouble := _trouble(told))]
        if not (self.writes or self.measure):
            found.append("there is nothing to do: say onnx, int8, dimensions, or what to measure")
        return found

    @property
    def writes(self) -> bool:
        """Is a model written at all?"""
        return self.onnx or self.int8 or self.dimensions is not None

    @property
    def name(self) -> str:
        """Of what is written."""
        graph = "ONNX int8" if self.int8 else "ONNX" if self.onnx else ""
        short = f"{self.dimensions} dimensions" if self.dimensions else ""
        return ", ".join(part for part in (graph, short) if part)


def _trouble(told: str) -> str | None:
    parts = [part.strip() for part in told.split(",")]
    numbers = [part for part in parts if part.isdecimal() and int(part) > 0]
    words = [part for part in parts if part in get_args(Precision)[1:]]
    if len(numbers) + len(words) == len(parts) and len(numbers) <= 1 and len(words) <= 1:
        return None
    return "write a number of dimensions, int8, binary, or a number and one of these with a comma between"


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of a model, or a way to keep its vectors, as it was measured.

    Attributes:
        name: what it is.
        written: is it in the folder?
        dimensions, vector_bytes: of one vector.
        megabytes: of the weights, in millions of bytes.
        texts_per_s: embedded on this machine, the median of several rounds.
        cosine: of a text's vector with that of the model as it is, the mean over the sample.
        neighbours: share of the sample whose nearest other text is the same as by the model as it is.
    """

    name: str
    written: bool
    dimensions: int
    vector_bytes: int
    megabytes: float
    texts_per_s: float
    cosine: float
    neighbours: float


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written and measured.

    Attributes:
        folder: holds the model, where one is written, and the table, `export.json` and `export.md`.
        model: what it was made of.
        forms: the model as it is first.
        scores: one for each form, task and subset, compared with the model as it is.
        machine: on which it was measured: processor, threads, device, versions.
        texts: how many the sample has.
    """

    folder: Path
    model: str
    forms: tuple[Form, ...]
    scores: tuple[Comparison, ...]
    machine: Mapping[str, Any]
    texts: int

    def markdown(self) -> str:
        """Both tables, and under which circumstances."""
        lines = [
            f"# {self.model}: smaller and faster",
            "",
            "| form | dimensions | bytes a vector | weights, MB | texts a second | cosine | same nearest text |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(
                f"| {f.name}{' (in this folder)' if f.written else ''} | {f.dimensions} | {f.vector_bytes:,} | "
                f"{f.megabytes:.1f} | {f.texts_per_s:,.0f} | {f.cosine:.4f} | {100 * f.neighbours:.1f} % |"
                for f in self.forms
            ),
            "",
            f"Cosine and nearest text: {self.texts} texts, compared with the model as it is. Texts a second: the same, "
            f"{_BATCH} at a time, the median of {_ROUNDS} rounds in turn, on {self.machine['threads']} thread(s) of "
            f"{self.machine['processor']} ({self.machine['device']}). Vectors that are only kept smaller are embedded "
            "by the model as it is.",
        ]
        if self.scores:
            lines += [
                "",
                "| task | metric | form | score | before | difference in points (95 % interval) |",
                "| --- | --- | --- | --- | --- | --- |",
                *map(_score_line, self.scores),
            ]
        return "\n".join([*lines, ""])

    def facts(self) -> dict[str, Any]:
        """The table as JSON values."""
        return {
            "model": self.model,
            "forms": [vars(form) for form in self.forms],
            "scores": [{name: _plain(getattr(row, name)) for name in _TOLD} for row in self.scores],
            "texts": self.texts,
            "machine": dict(self.machine),
        }

    def save(self) -> None:
        """Write the table into the folder."""
        write_whole(self.folder / f"{TABLE}.json", json.dumps(self.facts(), indent=2, ensure_ascii=False) + "\n")
        write_whole(self.folder / f"{TABLE}.md", self.markdown())


_TOLD = ("variant", "task", "subset", "metric", "base", "tuned", "difference", "low", "high", "n_items", "method")


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not is_number(value) else value


def _score_line(row: Comparison) -> str:
    interval = f" ({signed(row.low)} to {signed(row.high)})" if row.has_interval else ""
    task = row.task if row.subset == "default" else f"{row.task}, {row.subset}"
    return (
        f"| {task} | {row.metric} | {row.variant} | {100 * row.tuned:.1f} | {100 * row.base:.1f} | "
        f"{signed(row.difference)}{interval} |"
    )


def export_model(
    model: SentenceTransformer | str,
    folder: Path | str,
    options: ExportOptions,
    *,
    sources: Sequence[TaskSource] = (),
    texts: Sequence[str] = (),
    cache: ScoreCache | None = None,
    seed: int = 0,
) -> Exported:
    """Write a smaller or faster form of a model, and measure it next to the model as it is.

    Args:
        model: opened, or what `gisttools.models.open_model` opens.
        folder: new; it is there whole or not at all, with the table, and the classifier of a model folder that has one,
            where the dimensions stay.
        options: what is written and measured.
        sources: tasks to score all forms on, from `task_sources`, with paired 95 % intervals.
        texts: whose vectors are compared, and which are embedded for the speed; test texts of the tasks if there are
            none. At most 256 are taken, evenly.
        cache: where scores and vectors are kept; the usual folder if None.
        seed: of the intervals that are drawn.

    Raises:
        ParameterError: the folder is there, dimensions are not fewer than the model's, or there are no texts.
        ModelError: the model has no ONNX form, or the graph that was written does not give its vectors.
        MissingError: a package or a model is not there.
        DataError: none of the tasks could be scored.
    """
    place = Path(folder).expanduser()
    if place.exists():
        raise ParameterError(f"{place} is there already. Name another folder, or remove it.")
    name = model if isinstance(model, str) else str(model.model_card_data.base_model or "model")
    graph = options.onnx or options.int8
    opened = open_model(model, device="cpu" if graph else None) if isinstance(model, str) else model
    roundings = _roundings(options, opened)
    if graph:
        check_onnx(opened)
    sources = [source for source in sources if not source.second_look]
    sample = _sample(texts or [text for source in sources for text in _texts_of(source)])
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as scratch:
        made = Path(scratch) / place.name
        made.mkdir()
        if options.writes:
            with doing(f"writing {options.name}"):
                _write(opened, name, made, options)
        found = _measured(opened, made, options, roundings, sample, sources, cache or ScoreCache(), seed)
        found = replace(found, model=name)
        found.save()
        made.rename(place)
    return replace(found, folder=place)


def _write(model: SentenceTransformer, name: str, folder: Path, options: ExportOptions) -> None:
    dimensions = options.dimensions or model.truncate_dim
    short = shortened(model, dimensions) if dimensions else model
    if options.onnx or options.int8:
        write_onnx(short, folder, int8=options.int8)
    else:
        short.save(str(folder), create_model_card=False)
    if not options.dimensions and Path(name).is_dir():  # a classifier reads vectors as long as those it was fitted on
        for file in Path(name).glob("classifier.*"):
            shutil.copy2(file, folder)


@dataclass(frozen=True, kw_only=True)
class _Rounding:
    """How vectors are kept: so many of their numbers, each in so many bits. `ranges`: the least and the largest value
    of each number over the sample, (2, dimensions), which 8 bits are laid over."""

    name: str
    dimensions: int
    precision: Precision
    ranges: NDArray[Any] | None = None

    def short(self, vectors: NDArray[Any]) -> NDArray[Any]:
        cut = vectors[..., : self.dimensions]
        return cut / np.maximum(np.linalg.norm(cut, axis=-1, keepdims=True), 1e-12)

    def __call__(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """As a store gives them back: (texts, dimensions) float32; of one bit a number −1 or 1."""
        cut = self.short(vectors)
        if self.precision == "binary":
            bits = np.unpackbits(quantize_embeddings(cut, "ubinary"), axis=-1, count=self.dimensions)
            return bits.astype(np.float32) * 2 - 1
        if self.precision == "int8" and self.ranges is not None:
            low, high = self.ranges
            steps = quantize_embeddings(cut, "uint8", ranges=self.ranges)
            return (low + (steps.astype(np.float32) + 0.5) * (high - low) / 255).astype(np.float32)
        return cut.astype(np.float32)

    def fitted(self, vectors: NDArray[Any]) -> _Rounding:
        if self.precision != "int8":
            return self
        cut = self.short(vectors)
        return replace(self, ranges=np.stack([cut.min(axis=0), cut.max(axis=0)]).astype(np.float32))


def _roundings(options: ExportOptions, model: SentenceTransformer) -> list[_Rounding]:
    wide, found, wrong = int(model.get_embedding_dimension()), [], []
    for told in options.measure:
        parts = [part.strip() for part in told.split(",")]
        dimensions = next((int(part) for part in parts if part.isdecimal()), wide)
        precision: Any = next((part for part in parts if not part.isdecimal()), "float32")
        if dimensions > wide or (dimensions == wide and precision == "float32"):
            wrong.append(f"measure has {told!r}, but the model has {wide} dimensions")
        name = f"{dimensions} dimensions" if dimensions != wide else ""
        name = ", ".join(part for part in (name, f"{precision} vectors" if precision != "float32" else "") if part)
        if name == options.name:
            name += ", measured"
        found.append(_Rounding(name=name, dimensions=dimensions, precision=precision))
    if options.dimensions is not None and options.dimensions >= wide:
        wrong.append(f"dimensions are {options.dimensions}, but the model has {wide}")
    if wrong:
        raise ParameterError(problems("exporting:", wrong, "Name fewer dimensions."))
    return list({rounding.name: rounding for rounding in found}.values())


def _texts_of(source: TaskSource) -> list[str]:
    task = source.make()
    with doing(f"loading {source.name}"):
        load_task(task)
    return all_texts_of(task)


def _sample(texts: Sequence[str]) -> list[str]:
    different = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(different) < _FEWEST:
        raise ParameterError(
            f"There are {len(different)} different texts to compare vectors of; give 2 or more, or tasks."
        )
    return different[:: -(-len(different) // _TEXTS)]


class _Rounded(SentenceTransformer):
    """A model whose vectors come back from a store that keeps them smaller; the model itself embeds a text once."""

    def __init__(self, base: ScoredModel, rounding: _Rounding, folder: Path) -> None:
        model: Any = base.transformer
        super().__init__(
            modules=list(model),
            device=model.device,
            prompts=model.prompts,
            default_prompt_name=model.default_prompt_name,
            similarity_fn_name=model.similarity_fn_name,
            truncate_dim=model.truncate_dim,
        )
        self.whole, self.rounding, self.kept = model, rounding, KeptVectors(folder, {"name": base.name})

    def encode(self, inputs: Any, *args: Any, **options: Any) -> Any:
        told = {**options, "convert_to_numpy": True, "convert_to_tensor": False}
        with EmbedOnce(self.whole, self.kept):
            vectors = self.rounding(self.whole.encode(inputs, *args, **told))
        return torch.from_numpy(vectors).to(self.device) if options.get("convert_to_tensor") else vectors

    def get_embedding_dimension(self) -> int:
        return self.rounding.dimensions


def _measured(
    model: SentenceTransformer,
    folder: Path,
    options: ExportOptions,
    roundings: Sequence[_Rounding],
    sample: list[str],
    sources: Sequence[TaskSource],
    cache: ScoreCache,
    seed: int,
) -> Exported:
    models = {ORIGINAL: model}
    if options.writes:
        models[options.name] = open_model(str(folder), device=str(model.device))
    with doing(f"embedding {len(sample)} texts, {_ROUNDS} times"):
        speeds = _speeds(models, sample)
    vectors = {name: np.asarray(m.encode(sample, show_progress_bar=False)) for name, m in models.items()}
    fitted = {rounding.name: rounding.fitted(vectors[ORIGINAL]) for rounding in roundings}
    vectors |= {name: rounding(vectors[ORIGINAL]) for name, rounding in fitted.items()}
    bits = dict.fromkeys(models, 32) | {name: _BITS[rounding.precision] for name, rounding in fitted.items()}
    size = {ORIGINAL: sum(p.numel() * p.element_size() for p in model.parameters()), options.name: weights_of(folder)}
    forms = tuple(
        Form(
            name=name,
            written=options.writes and name == options.name,
            dimensions=found.shape[1],
            vector_bytes=-(-found.shape[1] * bits[name] // 8),
            megabytes=size.get(name, size[ORIGINAL]) / 1e6,
            texts_per_s=speeds.get(name, speeds[ORIGINAL]),
            cosine=_cosine(vectors[ORIGINAL], found),
            neighbours=float(np.mean(_nearest(vectors[ORIGINAL]) == _nearest(found))),
        )
        for name, found in vectors.items()
    )
    scores = _scores(models, fitted, sources, cache, seed) if sources else ()
    return Exported(
        folder=folder, model="", forms=forms, scores=scores, machine=_machine(model, options), texts=len(sample)
    )


def _speeds(models: Mapping[str, SentenceTransformer], texts: list[str]) -> dict[str, float]:
    """Texts a second, by model: rounds in turn, so that what else the machine does meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.encode(texts[:_BATCH], batch_size=_BATCH, show_progress_bar=False)
    for _ in range(_ROUNDS):
        for name, model in models.items():
            started = time.perf_counter()
            model.encode(texts, batch_size=_BATCH, show_progress_bar=False)
            seconds[name].append(time.perf_counter() - started)
    return {name: len(texts) / statistics.median(found) for name, found in seconds.items()}


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _cosine(before: NDArray[Any], after: NDArray[Any]) -> float:
    """The mean cosine of a text's two vectors; of fewer dimensions the others count as 0."""
    return float(np.sum(_unit(before)[:, : after.shape[1]] * _unit(after), axis=1).mean())


def _nearest(vectors: NDArray[Any]) -> NDArray[Any]:
    """Which other text is nearest to each, int (texts,)."""
    likeness = _unit(vectors) @ _unit(vectors).T
    np.fill_diagonal(likeness, -np.inf)
    return likeness.argmax(axis=1)


def _scores(
    models: Mapping[str, SentenceTransformer],
    roundings: Mapping[str, _Rounding],
    sources: Sequence[TaskSource],
    cache: ScoreCache,
    seed: int,
) -> tuple[Comparison, ...]:
    whole = {BASE if name == ORIGINAL else name: scored(model, name) for name, model in models.items()}
    base = whole[BASE]
    for name, rounding in roundings.items():
        smaller = scored(_Rounded(base, rounding, cache.vectors(base)), name)
        ranges = "" if rounding.ranges is None else digest(rounding.ranges.tobytes())
        identity = f"{base.identity}|{rounding.dimensions}|{rounding.precision}|{ranges}"
        whole[name] = replace(smaller, identity=identity, dimension=rounding.dimensions)
    variants = [Variant(name=name, roles=(name,)) for name in whole if name != BASE]
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch:
        found = evaluate(
            whole, sources, Path(scratch), variants=variants, options=EvaluateOptions(seed=seed), cache=cache
        )
    if len(found.failed):
        told = [f"{row.task}, {row.model}: {row.error}" for row in found.failed.itertuples()]
        raise DataError(problems("Not all forms could be scored:", told, "Leave these tasks out, or repair them."))
    return tuple(read_comparisons(found.comparison))


def _machine(model: SentenceTransformer, options: ExportOptions) -> dict[str, Any]:
    packages = ["torch", "sentence-transformers", *(["onnxruntime"] if options.onnx or options.int8 else [])]
    return {
        "processor": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(model.device),
        "versions": {name: metadata.version(name) for name in packages},
    }
