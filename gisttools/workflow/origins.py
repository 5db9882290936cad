"""Where a model comes from: the student it started as, and the texts and sources it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gisttools.common import ParameterError
from gisttools.data import (
    concatenate,
    expand_sources,
    is_task,
    nested_subset,
    parse_task_name,
    table_texts,
    triplet_tables,
)
from gisttools.models import VectorCache
from gisttools.workflow.finetune_params import FinetuneParams
from gisttools.workflow.manifest import read_manifest
from gisttools.workflow.params import ConvertParams, SynthesizeParams
from gisttools.workflow.places import resolve
from gisttools.workflow.runs import artefact, as_run, inputs, lineage


@dataclass(frozen=True)
class Origin:
    """`path`: what to open. Of a model that no run here made, `student` is None and `trained_on` unknown (None).
    `parameters`: those of the finetune run."""

    path: str
    student: str | None = None
    student_revision: str | None = None
    trained_on: list[str] | None = None
    training_texts: tuple[str, ...] = ()
    parameters: Mapping[str, Any] | None = None


def origin_of(model: str) -> Origin:
    """What is known of a model named by a finetune run, a folder, or a hub or embedded name.

    Raises:
        ParameterError: the run is of another kind.
        DataError: the run failed, or its files changed since.
    """
    folder = as_run(model)
    if folder is None:
        return Origin(str(resolve(model)) if resolve(model).exists() else model)
    manifest = read_manifest(folder)
    if manifest["verb"] != "finetune":
        raise ParameterError(
            f"model = {model!r} is a run of {manifest['verb']}; name a finetune run, a folder or a model."
        )
    path = artefact(model, "model")
    parameters, ancestors = manifest["parameters"], lineage(manifest["parents"])
    trainings = [manifest, *(m for m in ancestors if m["verb"] == "finetune")]  # the student may have been tuned before
    texts = [text for training in trainings for text in _texts_of(training["parameters"])]
    tables = list(dict.fromkeys(t for m in trainings for t in m["parameters"]["triplets"]))
    sources = [t for t in tables if as_run(t) is None]
    converted = [s for m in ancestors if m["verb"] == "convert" for s in m["parameters"]["sources"]]
    sources += [parse_task_name(s)[0] if is_task(s) else s for s in expand_sources(paths(converted))]
    student = parameters["student"]
    known = as_run(student)
    return Origin(
        str(path),
        str(known / "model") if known else student,
        parameters["student_revision"],
        [str(resolve(s)) if resolve(s).exists() else s for s in sources],
        tuple(dict.fromkeys(texts)),
        parameters,
    )


def _texts_of(parameters: Mapping[str, Any]) -> list[str]:
    """The texts that a finetune run trained on."""
    names = inputs(parameters["triplets"], "triplets.parquet")
    tables = triplet_tables(names, rows=parameters["rows"], instructions=parameters["instructions"])
    limit, seed = parameters.get("limit"), parameters.get("limit_seed", 0)  # older runs have none
    return table_texts(concatenate(nested_subset(tables, limit, seed=seed)))


def model_path(name: str) -> str:
    """What `open_model` should open for a name: the model folder of a run, a path, or the name itself."""
    return origin_of(name).path


def guide_of(params: SynthesizeParams | ConvertParams | FinetuneParams) -> VectorCache | None:
    """The guide that a notebook's parameters name; None for the unguided baseline."""
    if params.guide is None:
        return None
    return VectorCache(
        model_path(params.guide),
        params.guide_revision,
        prompt=params.guide_prompt,
        base_url=params.guide_base_url,
        key_variable=params.guide_key_variable,
        dtype=params.guide_dtype,
    )


def paths(names: list[str]) -> list[str]:
    """Names that are paths, relative to the project where need be; other names as they are. A kind may stand behind
    (`folder#kind`)."""
    found = []
    for name in names:
        path, mark, kind = name.partition("#")
        found.append(f"{resolve(path)}{mark}{kind}" if Path(path).suffix or resolve(path).exists() else name)
    return found
