"""Hashes everything that decides what comes out of a run, its spec, so that the same work is not done twice.

Which runs the parameters name is found first: "latest" and an empty list stand for those that there are now.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from gisttools.common import (
    MANIFEST,
    PACKAGE,
    SUMMARY,
    MissingError,
    YamlProblem,
    notice,
    prompts_folder,
    read_run,
    read_yaml,
    results_folder,
    sha256,
)
from gisttools.workflow.folders import RUN_ID, as_run, finished_runs, latest, open_run, run_folder, told_parameters
from gisttools.workflow.params import (
    DEMO_TRIPLETS,
    LATEST,
    MINILM,
    PERMISSIONS,
    WORDLLAMA,
    CompareParams,
    EvaluateParams,
    FinetuneParams,
    Params,
    ReportParams,
)
from gisttools.workflow.places import notebook_of, resolve

P = TypeVar("P", bound=Params)
_LARGE = 1 << 26  # bytes, of a file whose checksum is kept while the process lives


def spec_hash(verb: str, params: Params) -> str:
    """Hash of all that decides what comes out of a run: parameters but for permissions, the content of the runs and
    files they name, the notebook's code, the package's code and the prompts."""
    digest = hashlib.sha256(f"{verb}\n".encode())
    for name, value in sorted(named(params).items()):
        if name in PERMISSIONS:
            continue
        parts = [_content_of(v) for v in (value if isinstance(value, list) else [value])]
        digest.update(json.dumps([name, parts], ensure_ascii=False).encode())
    code = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.j2"), *prompts_folder().rglob("*.yaml")]
    for path in sorted(code):
        digest.update(path.read_bytes())
    for cell in _code_cells(notebook_of(verb)):
        digest.update(cell.encode())
    return digest.hexdigest()


def _texts_in(path: Path) -> list[str]:
    try:
        content = read_yaml(path)
    except YamlProblem:
        return []  # whoever reads it says what is wrong
    return [v for v in content.values() if isinstance(v, str)] if isinstance(content, dict) else []


def _code_cells(path: Path) -> list[str]:
    if not path.exists():
        raise MissingError(f"There is no notebook {path}. Run from a checkout of gisttools.")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [c for c in cells if c["cell_type"] == "code" and "parameters" not in c["metadata"].get("tags", [])]
    return ["".join(c["source"]) for c in code]


def _content_of(value: object) -> object:
    """What a parameter stands for: a run's artefacts, a file's content, or the value itself."""
    if not isinstance(value, str) or not value:
        return value
    folder = as_run(value)
    if folder is not None:
        # what the run made, not when: the same work done again is the same input (a summary holds times)
        made = read_run(folder).artefacts
        return {name: sha for name, sha in made.items() if name != SUMMARY}
    path, (folder_name, mark, _) = resolve(value), value.rpartition("#")
    if mark and not path.exists() and resolve(folder_name).exists():  # a folder or file with a kind behind
        return [value, _content_of(folder_name)]
    if path.is_file():
        return [value, *map(sha256, _files_of(path))]
    return [value, _folder_content(path)] if path.is_dir() else value


def _files_of(path: Path) -> list[Path]:
    """A file and those that are read with it: texts that a task description names, the texts of an array of vectors."""
    if path.suffix in (".yaml", ".yml"):
        named_files = [path.parent / text for text in _texts_in(path)]
        return [path, *(f for f in named_files if os.path.isfile(f))]  # os.path: a text too long for a name is no error
    return sorted({path, *path.parent.glob(f"{path.stem}.*")}) if path.suffix == ".npy" else [path]


def _folder_content(folder: Path) -> list[tuple[str, str]]:
    """Checksum of each file below; a model's pooling lies deeper."""
    return [(p.relative_to(folder).as_posix(), _sha_of(p)) for p in sorted(folder.rglob("*")) if p.is_file()]


def _sha_of(path: Path) -> str:
    """Of a file's content; weights as well, for a model trained again into its folder has as many bytes as before."""
    about = path.stat()
    return sha256(path) if about.st_size < _LARGE else _sha_of_large(path, about.st_size, about.st_mtime_ns)


@lru_cache
def _sha_of_large(path: Path, size: int, changed: int) -> str:
    """Read once by a process, for the steps of a recipe name the same model."""
    return sha256(path)


def parents_of(params: Params) -> list[str]:
    """Ids of the runs that the parameters name.

    Raises:
        MissingError: a run is not there, or is unfinished.
        DataError: a run failed.
    """
    values = [v for value in named(params).values() for v in (value if isinstance(value, list) else [value])]
    found = {}
    for value in values:
        if isinstance(value, str) and value:
            folder = run_folder(value) if RUN_ID.fullmatch(Path(value).name) else as_run(value)
            if folder is not None:
                found[open_run(folder).id] = folder
    return list(found)


def settled(params: P, *, tell: bool = False) -> P:
    """The parameters with each "latest" replaced by the run that it stands for now; where nothing but "latest" is said
    and there is no such run, by the demo.

    Args:
        params: of any verb.
        tell: say which run it is.

    Raises:
        MissingError: there is no such run.
    """
    found: dict[str, Any] = {}
    if isinstance(params, FinetuneParams) and LATEST in params.triplets:
        newest = _newest_table()
        if newest is None and params.triplets != [LATEST]:
            raise MissingError(f"triplets name {LATEST!r}, and no run of 1_synthesize or 2_convert is finished.")
        found["triplets"] = [(newest or DEMO_TRIPLETS) if name == LATEST else name for name in params.triplets]
    elif isinstance(params, EvaluateParams) and LATEST in names_in(params.model):
        found |= _settled_models(params)
    elif isinstance(params, ReportParams) and LATEST in names_in(params.evaluation):
        evaluation = latest("evaluate")
        names = [evaluation if name == LATEST else name for name in names_in(params.evaluation)]
        found["evaluation"] = evaluation if isinstance(params.evaluation, str) else names
    if not found:
        return params
    if tell:
        for name, value in found.items():
            notice(f"{name}: {_told(value)}")
    return type(params)(**(params.changed() | found))


def _settled_models(params: EvaluateParams) -> dict[str, Any]:
    runs = [run for run in finished_runs("finetune") if run.ok]
    if runs:
        names = [runs[-1].id if name == LATEST else name for name in names_in(params.model)]
        return {"model": names[0] if isinstance(params.model, str) else names}
    if params.model != LATEST:
        raise MissingError(f"model names {LATEST!r}, and no run of 3_finetune is finished.")
    return {"model": MINILM} | ({"baseline": WORDLLAMA} if params.baseline is None else {})


def _newest_table() -> str | None:
    """Id of the newest run that left triplets."""
    runs = [run for verb in ("read", "synthesize", "convert") for run in finished_runs(verb)]
    left = [run for run in runs if run.ok and "triplets.parquet" in run.artefacts and not run.parameters.get("dry_run")]
    return max(left, key=lambda run: run.started).id if left else None


def names_in(value: str | list[str]) -> list[str]:
    """One name, or several."""
    return [value] if isinstance(value, str) else list(value)


def _told(value: str | list[str]) -> str:
    """Names, each run with what came out of it."""
    names = names_in(value)
    runs = {name: read_run(folder).headline for name in names if (folder := as_run(name)) is not None}
    demo = "" if runs else ", a demo: no run made one yet"
    return ", ".join(f"{name} ({runs[name]})" if name in runs else name for name in names) + demo


def named(params: Params) -> dict[str, Any]:
    """The parameters as a dict; "latest" and `evaluations = []` name the runs they stand for now."""
    values = settled(params).model_dump()
    if values.get("evaluations") == []:
        values["evaluations"] = _to_compare() if isinstance(params, CompareParams) else evaluations_by_size()
    return values


def _to_compare() -> list[str]:
    from gisttools.workflow.evaluations import contenders_to_compare

    return list(dict.fromkeys(contender.evaluation for contender in contenders_to_compare()))


def evaluations_by_size() -> list[str]:
    """Ids of the newest evaluate run of a finetune run with a limit, and of all that differ from it in limit and seeds
    alone, oldest first; of one limit and seeds the newest.

    Raises:
        MissingError: there is none.
    """
    own = ("limit", "limit_seed", "seed")
    found: dict[str, dict[tuple, str]] = {}
    for run in finished_runs("evaluate"):
        told = told_parameters(run)
        model = as_run(told.pop("model"))
        if not run.ok or model is None or not (model / MANIFEST).exists():
            continue
        training = read_run(model)
        given = told_parameters(training)
        if training.verb == "finetune" and given["limit"] is not None:
            size = tuple(given.pop(name) for name in own)
            alike = json.dumps([told, given], sort_keys=True)
            found[alike] = found.pop(alike, {}) | {size: run.id}  # the newest kind last
    if not found:
        raise MissingError(
            f"No finished evaluate run in {results_folder()} is of a finetune run with a limit. First run the recipe "
            "that makes them: gisttools run cost_to_gain.yaml."
        )
    return list(found[next(reversed(found))].values())


def evaluations_of(names: list[str]) -> list[str]:
    """The evaluate runs that a notebook's `evaluations` name."""
    return names or evaluations_by_size()
