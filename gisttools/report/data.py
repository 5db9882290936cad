"""Reads what a report is made of: an evaluate run and the runs it descends from, each file against its checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gisttools.common import DataError, MissingError, problems, sha256
from gisttools.evaluation import Average, Comparison, read_comparisons, read_rows


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run: its folder, its manifest and its summary."""

    folder: Path
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.manifest["run_id"]

    @property
    def verb(self) -> str:
        return self.manifest["verb"]

    def table(self, name: str) -> pd.DataFrame | None:
        """The Parquet artefact `name`, or None where the run has none.

        Raises:
            DataError: the file is not the one the manifest was written for, or is no Parquet.
        """
        path = self._checked(name)
        if path is None:
            return None
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors derive from these
            raise DataError(f"{path} cannot be read as Parquet: {error}. Run the step again.") from error

    def head(self, name: str, rows: int) -> pd.DataFrame | None:
        """The first rows of the Parquet artefact `name`, however long it is; raises as `table` does."""
        path = self._checked(name)
        if path is None:
            return None
        try:
            with pq.ParquetFile(path) as file:
                first = next(file.iter_batches(batch_size=rows), None)
                return None if first is None else pa.Table.from_batches([first]).to_pandas()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as Parquet: {error}. Run the step again.") from error

    def text(self, name: str) -> str | None:
        """The text artefact `name`, or None where the run has none."""
        path = self._checked(name)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")

    def _checked(self, name: str) -> Path | None:
        path = self.folder / name
        if not path.exists():
            return None
        _check_sum(path, name, self.manifest.get("artefacts") or {})
        return path


def read_run(folder: str | Path) -> Run:
    """Read a run's manifest and summary.

    Raises:
        MissingError: there is no such folder, or it holds no manifest: the run is unfinished.
        DataError: manifest or summary is not JSON, or lacks what it must have.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingError(f"No run folder at {folder}. Name the folder of a finished run, results/RUN_ID.")
    if not (folder / "manifest.json").exists():
        raise MissingError(f"{folder} holds no manifest.json: the run is unfinished or was stopped. Run it again.")
    manifest = _read_json(folder / "manifest.json")
    needed = ("run_id", "verb", "status")
    lacking = [f"{k} is missing or no text" for k in needed if not isinstance(manifest.get(k), str)]
    if lacking:
        raise DataError(problems(f"{folder / 'manifest.json'}:", lacking, "Run the step again."))
    summary = folder / "summary.json"
    if summary.exists():
        _check_sum(summary, summary.name, manifest.get("artefacts") or {})
    return Run(folder=folder, manifest=manifest, summary=_read_json(summary) if summary.exists() else {})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}. Was it edited by hand? Run the step again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__} instead of an object. Run the step again.")
    return _whole_text(content)


def _whole_text(value: Any) -> Any:
    """JSON can name half a surrogate pair, which no file can hold as UTF-8; such a half becomes a question mark."""
    if isinstance(value, dict):
        return {_whole_text(k): _whole_text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_whole_text(v) for v in value]
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _check_sum(path: Path, name: str, expected: Mapping[str, str]) -> None:
    wanted = expected.get(name)
    if wanted is None:
        return
    seen = sha256(path)
    if seen != wanted.removeprefix("sha256:"):
        raise DataError(
            f"{path} is not the file its manifest was written for (sha256 {seen[:12]}…, manifest {wanted[:12]}…)."
            " It was changed after the run: run the step again, or bring the file back."
        )


_COMPARISON = ("task", "metric", "base", "tuned", "difference", "low", "high", "verdict")
_SCORES = ("role", "task", "metric", "score")
_FIRST = 2000  # rows read of a mined table, to show a few
_OPTIONAL = {  # columns of scores that a writer may leave out, and what their absence means
    "task_type": "",
    "split": "",
    "subset": "default",
    "is_main": True,
    "n_items": None,
    "n_draws": None,
    "revision": None,
    "model": "",
}


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report says. `None` and empty tuples stand for steps that were not run here.

    Where several variants were evaluated, `comparison`, `items` and `averages` are those of the first, and `others`
    holds the comparison rows of the rest.
    """

    evaluate: Run
    scores: pd.DataFrame
    comparison: tuple[Comparison, ...]
    others: tuple[Comparison, ...] = ()
    items: pd.DataFrame | None = None
    overlap: pd.DataFrame | None = None  # test texts that the training table holds
    references: pd.DataFrame | None = None  # scores of other models on the same tasks
    averages: tuple[Average, ...] = ()  # mean differences by category
    failed: pd.DataFrame | None = None  # tasks that could not be scored
    embedding: pd.DataFrame | None = None  # as `gisttools.evaluation.maps` tells
    finetunes: tuple[Run, ...] = ()  # the nearest one first
    history: pd.DataFrame | None = None  # of the nearest one
    masked: pd.DataFrame | None = None  # candidates that it masked, as `gisttools.training.masked` tells
    converts: tuple[Run, ...] = ()
    syntheses: tuple[Run, ...] = ()
    accepted: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # synthesize run id -> rows
    rejected: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    mined: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # convert run id -> the first rows
    left_out: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # convert run id -> overlap with test texts
    missing: tuple[str, ...] = ()  # ancestors that cannot be read, each with its reason

    @property
    def finetune(self) -> Run | None:
        return self.finetunes[0] if self.finetunes else None

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, the oldest step first."""
        return (*self.syntheses, *self.converts, *reversed(self.finetunes), self.evaluate)


def collect(evaluate_run: str | Path, results: str | Path) -> ReportData:
    """Read an evaluate run and walk up its parents.

    Args:
        evaluate_run: the folder of a finished evaluate run.
        results: the folder that holds the run folders, where parents are looked up by id.

    Raises:
        MissingError: `evaluate_run` is no folder, has no manifest (unfinished), or lacks a table it must have.
        DataError: it is no evaluate run, it failed, a table lacks columns, or a file differs from its manifest.
    """
    run = _evaluation(evaluate_run)
    scores = _scores(run)
    first, others = _split(read_comparisons(_needed(run, "comparison.parquet", _COMPARISON)))
    variant = first[0].variant
    ancestors, missing = _ancestors(run, Path(results))
    by_verb = {v: tuple(r for r in ancestors if r.verb == v) for v in ("finetune", "convert", "synthesize")}
    nearest = by_verb["finetune"][0] if by_verb["finetune"] else None
    items = _optional(run, "items.parquet", ("task", "text", "gold"))
    averages = _optional(run, "averages.parquet", ("name", "base", "tuned", "difference"))
    return ReportData(
        evaluate=run,
        scores=scores,
        comparison=first,
        others=others,
        items=_of(items, variant),
        overlap=run.table("overlap.parquet"),
        references=_optional(run, "references.parquet", ("name", "task", "metric", "score")),
        averages=() if averages is None else tuple(read_rows(Average, _of(averages, variant))),
        failed=_optional(run, "failed.parquet", ("task", "error")),
        embedding=_optional(run, "embedding.parquet", ("role", "kind", "value")),
        finetunes=by_verb["finetune"],
        history=nearest.table("history.parquet") if nearest else None,
        masked=_optional(nearest, "masked_examples.parquet", ("anchor", "candidate", "masked_by")) if nearest else None,
        converts=by_verb["convert"],
        syntheses=by_verb["synthesize"],
        accepted=_filled({r.id: r.table("triplets.parquet") for r in by_verb["synthesize"]}),
        rejected=_filled({r.id: r.table("rejected.parquet") for r in by_verb["synthesize"]}),
        mined=_filled({r.id: r.head("triplets.parquet", _FIRST) for r in by_verb["convert"]}),
        left_out=_filled({r.id: r.table("overlap.parquet") for r in by_verb["convert"]}),
        missing=missing,
    )


def _evaluation(folder: str | Path) -> Run:
    """An evaluate run that ended well."""
    run = read_run(folder)
    if run.verb != "evaluate":
        raise DataError(f"{run.folder} is a run of {run.verb!r}, not 'evaluate'. A report starts from an evaluate run.")
    if run.manifest["status"] != "ok":
        error = _error_text(run.manifest.get("error"))
        raise DataError(f"{run.folder} has status {run.manifest['status']!r}{error}. Evaluate again, then report.")
    return run


def _split(rows: Sequence[Comparison]) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
    """The rows of the first variant, and those of the others; a single one needs no name."""
    if len({row.variant for row in rows} - {None}) < 2:
        return tuple(replace(row, variant=None) for row in rows), ()
    first = rows[0].variant
    return tuple(row for row in rows if row.variant == first), tuple(row for row in rows if row.variant != first)


def _ancestors(run: Run, results: Path) -> tuple[list[Run], tuple[str, ...]]:
    """Parents, their parents and so on, nearest first; what cannot be read is named instead."""
    found: list[Run] = []
    missing: list[str] = []
    queue, seen = _parents(run), {run.id}
    while queue:
        run_id = queue.pop(0)
        if run_id in seen:
            continue
        seen.add(run_id)
        if Path(run_id).name != run_id:  # never leave the results folder
            missing.append(f"{run_id}: not the name of a run")
            continue
        try:
            parent = read_run(results / run_id)
        except MissingError:
            missing.append(f"{run_id}: no finished run of this name in {results.name}/")
            continue
        if parent.manifest["status"] != "ok":
            missing.append(f"{run_id}: its status is {parent.manifest['status']}")
            continue
        found.append(parent)
        queue += _parents(parent)
    return found, tuple(missing)


def _parents(run: Run) -> list[str]:
    return [str(p) for p in run.manifest.get("parents") or []]


def _needed(run: Run, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    table = run.table(name)
    if table is None:
        raise MissingError(f"{run.folder} holds no {name}. Run the evaluation again; a report cannot do without it.")
    lacking = [f"column {c!r} is missing" for c in columns if c not in table]
    if lacking:
        raise DataError(problems(f"{run.folder / name}: {len(lacking)} problem(s)", lacking, "Evaluate again."))
    if table.empty:
        raise DataError(f"{run.folder / name} has no rows. Evaluate at least one task with both models.")
    return table


def _scores(run: Run) -> pd.DataFrame:
    table = _needed(run, "scores.parquet", _SCORES)
    table = table.assign(**{column: value for column, value in _OPTIONAL.items() if column not in table})
    # a column of nothing but nulls comes back as objects
    return table.assign(**{c: pd.to_numeric(table[c], errors="coerce") for c in ("score", "n_items", "n_draws")})


def _of(table: pd.DataFrame | None, variant: str | None) -> pd.DataFrame | None:
    """The variant's rows; all where there is only one."""
    if table is None or variant is None or "variant" not in table:
        return table
    return table[table["variant"] == variant].reset_index(drop=True)


def _optional(run: Run, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """A table that a run may have; None where it has none, or no rows, or lacks what is read of it."""
    table = run.table(name)
    return None if table is None or table.empty or set(columns) - set(table) else table


def _filled(tables: Mapping[str, pd.DataFrame | None]) -> dict[str, pd.DataFrame]:
    """Those that are there and have rows."""
    return {run_id: table for run_id, table in tables.items() if table is not None and not table.empty}


def _error_text(error: object) -> str:
    if not error:
        return ""
    text = error.get("message") or error if isinstance(error, Mapping) else error
    return f" ({str(text)[:300]})"
