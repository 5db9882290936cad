"""Gives a notebook its run: `run = start("convert", globals())` ... `run.finish(summary, headline)`.

What the parameters name is opened by methods of the run, each kind of run its own: `run.guide()`, `run.tables()`.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from gisttools.common import (
    SUMMARY,
    GistError,
    ParameterError,
    digest,
    is_number,
    notice,
    quiet_libraries,
    read_run,
    results_folder,
)
from gisttools.workflow.folders import as_run
from gisttools.workflow.forks import parent_gone
from gisttools.workflow.manifest import (
    LOCK,
    PROFILE,
    artefact_texts,
    key_variables,
    scrub_files,
    write_manifest,
)
from gisttools.workflow.params import (
    VERBS,
    CompareParams,
    ConvertParams,
    CostToGainParams,
    EvaluateParams,
    FinetuneParams,
    Params,
    ReadParams,
    ReportParams,
    SynthesizeParams,
    check_params,
)
from gisttools.workflow.permission import Sent, may_send
from gisttools.workflow.places import RERANKER, load_env_files, resolve
from gisttools.workflow.publishing import with_fetched
from gisttools.workflow.run_log import log_to, warnings_in
from gisttools.workflow.spec import evaluations_of, parents_of, settled, spec_hash
from gisttools.workflow.tuning import best_told, with_best

if TYPE_CHECKING:  # what a notebook does not ask for is not loaded
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    from gisttools.data import ReadChunks, ReadOptions, Tiers
    from gisttools.evaluation import Candidates, Contender, EvaluateOptions, TaskSource
    from gisttools.mining import MiningOptions
    from gisttools.models import VectorCache
    from gisttools.synthesis import LLM, Checks, Known, SynthesisOptions, SynthesisResult, Task, WrittenTexts
    from gisttools.training import DevelopmentScore, GISTLoss, Retention
    from gisttools.workflow.evaluations import Pages
    from gisttools.workflow.inputs import Entries

RUN_FOLDER = "GISTTOOLS_RUN_FOLDER"  # the runner tells the kernel where this execution writes,
SPEC_HASH = "GISTTOOLS_SPEC_HASH"  # and what it is an execution of,
SENT = "GISTTOOLS_SENT"  # and which texts may leave this machine, as JSON
_SHOWN = 400  # characters of a text in a table
_KERNEL_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A notebook execution under way. Make it with `start`, end it with `finish`."""

    verb: str
    params: Params
    folder: Path
    spec: str
    started: datetime
    parents: list[str]
    lock: FileLock | None = None  # says that the run is under way, until the process ends
    sent: Sequence[Sent] = ()  # what leaves this machine, once it may
    clock: float = field(default_factory=time.monotonic)

    def path(self, name: str) -> Path:
        """Where an artefact of this run goes."""
        return self.folder / name

    @property
    def key_variables(self) -> list[str]:
        """Environment variables that hold keys though they are not named like it."""
        return key_variables(self.params.model_dump())

    @property
    def checkpoints(self) -> Path:
        """Where a training of this spec keeps its checkpoints, to go on from if it is stopped."""
        return results_folder() / ".checkpoints" / f"{self.verb}-{self.spec[:16]}"

    def finish(self, summary: Mapping[str, Any], headline: str, *, missing: str = "") -> None:
        """Write `summary.json` and, last, the manifest.

        Args:
            summary: the numbers of this run, JSON values.
            headline: one line that says what came out, shown by `gisttools runs`.
            missing: what is still lacking and what to do about it, where the same work asked for again would go on.

        Raises:
            GistError: the process that started this run is gone, so that it may be under way elsewhere again.
        """
        _refuse_orphan()
        summary = {**summary, "seconds": round(time.monotonic() - self.clock, 1)}
        (self.folder / SUMMARY).write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
        scrub_files(artefact_texts(self.folder), self.key_variables)  # before checksums are taken
        told = self.record("ok", headline, missing=missing, resolved=_resolved(self.params, summary))
        write_manifest(self.folder, told)
        line = f"{self.folder.name}: {headline}"
        if self.lock is None:
            log.info(line)
        else:  # by hand nobody else says it
            notice(f"{line}\nIts folder: {self.folder}")
        self.release()
        if missing:
            log.warning("%s is not finished: %s", self.folder.name, missing)

    def release(self) -> None:
        """Say that the run has ended."""
        if self.lock is not None:
            self.lock.release()
            (self.folder / LOCK).unlink(missing_ok=True)

    def record(
        self,
        status: str,
        headline: str = "",
        error: Mapping[str, Any] | None = None,
        resolved: Mapping[str, Any] | None = None,
        missing: str = "",
    ) -> dict[str, Any]:
        """What the manifest says of this run, but for what can be read off the machine and the folder.

        `resolved`: parameters that were left to the step, as it chose them; `missing`: what is lacking yet.
        """
        parameters = self.params.model_dump()
        return {
            "verb": self.verb,
            "status": status,
            "headline": headline,
            "profile": os.environ.get(PROFILE) or _profile_of(self.parents),
            "missing": missing,
            "started": self.started.isoformat(timespec="milliseconds"),
            "seconds": round(time.monotonic() - self.clock, 1),
            "parameters": parameters,
            "changed": list(self.params.changed()),
            "resolved": dict(resolved or {}),
            "warnings": warnings_in(self.folder / "log.txt"),
            "spec_hash": self.spec,
            "seeds": {k: v for k, v in parameters.items() if k.endswith("seed")},
            "parents": self.parents,
            "error": error,
        }


class SynthesizeRun(Run):
    """A run of `1_synthesize`."""

    params: SynthesizeParams

    def written(self) -> WrittenTexts | None:
        """The texts that were written elsewhere; None where none are told. Raises as `written_of`."""
        return self._written

    @cached_property
    def _written(self) -> WrittenTexts | None:
        from gisttools.workflow.documents import written_of

        return written_of(self.params)

    def task(self) -> Task:
        """The task description, with the chunks of documents or the seeds of texts where these are told. Raises as
        `task_of`."""
        from gisttools.workflow.documents import task_of

        return task_of(self.params, self.written())

    @property
    def prompts(self) -> Path | None:
        """The user's folder of prompts."""
        from gisttools.workflow.documents import prompts_of

        return prompts_of(self.params)

    @contextmanager
    def llm(self) -> Iterator[LLM | None]:
        """The LLM that writes, or is asked again about texts; None where nothing is asked of one. Raises as
        `open_llm`."""
        from gisttools.synthesis import open_llm

        if not self.params.asks:
            yield None
            return
        with open_llm(self.params.llm_options(), log=self.path("llm-server.log"), job=self.spec) as llm:
            yield llm

    def guide(self) -> VectorCache:
        """The guide that checks labels and similarities."""
        from gisttools.workflow.inputs import open_guide

        return open_guide(self.params.guide, self.params)

    def options(self) -> SynthesisOptions:
        """How much is written, and by which prompts; their paths are seen from where the run was started."""
        from gisttools.synthesis import SynthesisOptions
        from gisttools.workflow.documents import prompt_of

        return self.params.part(SynthesisOptions, prompt=prompt_of(self.params), prompts=self.prompts)

    def checks(self) -> Checks:
        """What a text or row must stand up to."""
        from gisttools.synthesis import Checks

        return self.params.part(Checks)

    def known(self) -> Known:
        """Test texts, texts of earlier runs, and labelled texts. Raises MissingError, DataError."""
        from gisttools.workflow.inputs import known_of

        return known_of(self.params)

    def looked_through(self, outcome: SynthesisResult) -> SynthesisResult:
        """Without the questions on documents that `decisions` throws out. Raises as `read_thrown_out`."""
        from gisttools.synthesis import read_thrown_out, without

        file = self.params.decisions
        return outcome if file is None else without(outcome, read_thrown_out(resolve(file)))

    def save(self, outcome: SynthesisResult) -> None:
        """Write both tables, and a page to look through them, into the run's folder; of documents also the test."""
        from gisttools.data import write_triplets
        from gisttools.mining import data_card
        from gisttools.report import write_browser
        from gisttools.synthesis import save_documents, training_pairs
        from gisttools.workflow.documents import chunks_of

        read = chunks_of(self.params)
        if read is not None:
            save_documents(outcome, read, self.folder)
        write_triplets(outcome.accepted if read is None else training_pairs(outcome.accepted, read), self.folder)
        write_triplets(outcome.rejected, self.path("rejected.parquet"))
        written = self.written()
        sources = [] if written is None else written.sources(self.task())
        card = data_card(outcome.accepted, sources, dropped=outcome.summary["reasons"])
        card = card.with_cleaned(outcome.summary["cleaned"])
        card.save(self.folder)
        write_browser(outcome.accepted, outcome.rejected, self.folder, title=outcome.summary["task"])


class ConvertRun(Run):
    """A run of `2_convert`."""

    params: ConvertParams

    def sources(self) -> list[str]:
        """The sources of labelled texts and triplets; paths are seen from where the run was started, runs are their
        folders."""
        from gisttools.workflow.folders import paths

        return paths(self.params.sources)

    def guide(self) -> VectorCache:
        """The guide that picks positives and negatives."""
        from gisttools.workflow.inputs import open_guide

        return open_guide(self.params.guide, self.params)

    def reading(self) -> ReadOptions:
        """How to read labelled texts."""
        from gisttools.data import FileOptions, ReadOptions, expand_sources, is_task
        from gisttools.workflow.folders import paths
        from gisttools.workflow.inputs import reading_of

        reading = reading_of(self.params, ReadOptions)
        if all(
            map(is_task, expand_sources(paths(self.params.sources)))
        ):  # what is said of files is meant for eval_files
            return reading.model_copy(update=FileOptions.defaults()) if self.params.eval_files else reading
        return reading

    def mining(self) -> MiningOptions:
        """How to mine them."""
        from gisttools.mining import MiningOptions

        return self.params.part(MiningOptions)

    def tiers(self, guide: VectorCache) -> Tiers:
        """How alike two texts must be to overlap."""
        from gisttools.workflow.inputs import tiers_of

        return tiers_of(self.params, guide)

    def eval_sets(self) -> dict[str, list[str]]:
        """The test texts that must not stand in the table, by evaluation set. Raises MissingError."""
        from gisttools.workflow.inputs import eval_sets_of

        return eval_sets_of(self.params)


class FinetuneRun(Run):
    """A run of `3_finetune`."""

    params: FinetuneParams

    def tables(self) -> dict[str, Dataset]:
        """The rows to train on, by what `triplets` names. Raises MissingError, DataError."""
        from gisttools.workflow.inputs import training_tables

        return training_tables(self.params)

    def guide(self) -> VectorCache | None:
        """The guide; None for the unguided baseline."""
        from gisttools.workflow.inputs import guide_of

        return guide_of(self.params)

    def student(self, table: Dataset | None = None) -> SentenceTransformer:
        """The model to train, opened; of the texts of `table` it is told if it hardly reads them. Raises ModelError,
        MissingError, ParameterError."""
        from gisttools.models import open_model
        from gisttools.training import check_fit, warn_unread
        from gisttools.workflow.inputs import model_path

        p = self.params
        student = open_model(model_path(p.student), p.student_revision, trust_remote_code=p.trust_remote_code)
        check_fit(student, p)
        if table is not None:
            warn_unread(student, table, p.student)
        return student

    def development(self) -> DevelopmentScore | None:
        """The development data, if any are told."""
        from gisttools.workflow.inputs import development_of

        return development_of(self.params)

    def retention(self, loss: GISTLoss) -> Retention | None:
        """What holds the student of this loss near its start: texts that are told, or the package's own where a
        training of this kind forgets without them."""
        from gisttools.workflow.inputs import retention_of

        return retention_of(self.params, loss)

    def soup(self) -> list[SentenceTransformer]:
        """The models that are averaged with this one. Raises ParameterError, MissingError, DataError."""
        from gisttools.workflow.inputs import soup_of

        return soup_of(self.params)

    def reranker(self, table: Dataset) -> dict[str, Any] | None:
        """Train the cross-encoder that was asked for on these rows, into `reranker/`; what became of it, for the
        summary. None where none was asked for. Raises as `open_cross_encoder` and `train_reranker`."""
        from gisttools.models import open_cross_encoder
        from gisttools.training import RerankerOptions, train_reranker
        from gisttools.workflow.inputs import model_path

        p = self.params
        if p.reranker is None:
            return None
        name, trust = model_path(p.reranker), p.trust_remote_code
        model = open_cross_encoder(name, p.reranker_revision, fresh=True, seed=p.seed, trust_remote_code=trust)
        told = train_reranker(model, table, self.path(RERANKER), RerankerOptions(steps=p.reranker_steps, seed=p.seed))
        return {"started_from": p.reranker, **told}

    def rows_cost(self, tables: Mapping[str, Dataset]) -> dict[str, Any]:
        """What the rows trained on cost, for the summary; see `gisttools.workflow.inputs.rows_cost`."""
        from gisttools.workflow.inputs import rows_cost

        return rows_cost(self.params.triplets, tables)


class EvaluateRun(Run):
    """A run of `4_evaluate`."""

    params: EvaluateParams

    def tasks(self) -> tuple[list[TaskSource], list[str]]:
        """The tasks, and notes, such as why no guard was run. Raises as `task_sources`."""
        from gisttools.workflow.inputs import tasks_of

        return tasks_of(self.params)

    def entries(self) -> Entries:
        """The baseline, the tuned models and the references, opened. Raises as `open_entries`."""
        from gisttools.workflow.inputs import open_entries

        return open_entries(self.params)

    def candidates(self, entries: Entries, sources: Sequence[TaskSource]) -> Candidates | None:
        """Every way to do the targets, scored, and the advice; None where the parameters leave them out."""
        from gisttools.workflow.candidates import candidates_of

        return candidates_of(self.params, entries, sources)

    def options(self) -> EvaluateOptions:
        """How models are scored and compared."""
        from gisttools.evaluation import EvaluateOptions

        return self.params.part(EvaluateOptions)


class ReportRun(Run):
    """A run of `5_report`."""

    params: ReportParams

    def write_pages(self) -> Pages:
        """Write the pages into the run's folder. Raises as `gisttools.workflow.evaluations.write_pages`."""
        from gisttools.workflow.evaluations import write_pages

        return write_pages(self.params.evaluation, self.folder, latex=self.params.latex)


class CostToGainRun(Run):
    """A run of `6_cost_to_gain`."""

    params: CostToGainParams

    def trainings(self) -> list[Contender]:
        """The evaluated trainings of several sizes. Raises as `read_trainings`."""
        from gisttools.workflow.evaluations import read_trainings

        return read_trainings(evaluations_of(self.params.evaluations))


class CompareRun(Run):
    """A run of `7_compare`."""

    params: CompareParams

    def contenders(self) -> list[Contender]:
        """The models that are compared. Raises as `contenders_to_compare`."""
        from gisttools.workflow.evaluations import contenders_to_compare

        return contenders_to_compare(self.params.evaluations)


class ReadRun(Run):
    """A run of `8_read`."""

    params: ReadParams

    def chunks(self) -> ReadChunks:
        """The documents, read, cut and split. Raises as `read_chunks` and `open_model`."""
        from gisttools.models import open_model
        from gisttools.workflow.documents import read_documents_of
        from gisttools.workflow.inputs import model_path

        p = self.params
        student = open_model(model_path(p.student), p.student_revision, trust_remote_code=p.trust_remote_code)
        return read_documents_of(p, student)


_KINDS: dict[str, type[Run]] = {
    "synthesize": SynthesizeRun,
    "convert": ConvertRun,
    "finetune": FinetuneRun,
    "evaluate": EvaluateRun,
    "report": ReportRun,
    "cost_to_gain": CostToGainRun,
    "compare": CompareRun,
    "read": ReadRun,
}


def start(verb: str, notebook: Mapping[str, object]) -> Run:
    """Begin a run inside a notebook: `run = start("convert", globals())`.

    Takes the parameters from the notebook's variables, so that it works alike under `gisttools run`, under plain
    papermill and by hand; a stray variable is refused like an unknown parameter.

    Raises:
        ParameterError: unknown parameters, wrong types or values; all at once. Also, texts would leave this machine,
            and `send_texts` does not say that they may.
        MissingError, DataError: a run that they name is not there, unfinished or failed.
    """
    quiet_libraries()
    _show_whole_texts()
    atexit.register(gc.freeze)  # or a process that holds torch is taken apart object by object: two seconds
    given = {
        k: v for k, v in notebook.items() if not k.startswith("_") and k not in _KERNEL_NAMES and _could_be_parameter(v)
    }
    load_env_files()
    told, given = os.environ.get(RUN_FOLDER), with_fetched(given)
    if not told:  # the runner has seen to it
        given |= with_best(verb, {k: v for k, v in given.items() if v != VERBS[verb].defaults().get(k, ...)})
    asked = check_params(verb, given)
    params = settled(asked)
    parents = parents_of(params)
    spec = os.environ[SPEC_HASH] if told else spec_hash(verb, params)
    sent = json.loads(os.environ.get(SENT, "[]")) if told else may_send(params)
    folder = Path(told) if told else new_folder(verb, spec)
    lock = None if told else hold(folder)
    log_to(folder / "log.txt", key_variables(params.model_dump()), under_runner=bool(told))
    settled(asked, tell=True)  # in the log of this run
    if sent:
        from gisttools.data import tell_for_run

        for hosts, words in sent:
            tell_for_run(hosts, words)
    log.info("%s starts, parameters %s", folder.name, params.model_dump_json())
    if isinstance(params, FinetuneParams) and params.best_of:
        notice(best_told(params.best_of))
    return _KINDS[verb](verb, params, folder, spec, datetime.now(UTC), parents, lock)


def _show_whole_texts() -> None:
    """Tables show texts, broken into lines, and not their first fifty characters."""
    import pandas as pd

    pd.set_option("display.max_colwidth", _SHOWN)


def new_run(verb: str, parameters: Mapping[str, Any]) -> Run:
    """A run in a new folder among the results; write into `run.folder`, then call `run.finish(summary, headline)`.

        run = new_run("finetune", {"triplets": ["triplets.parquet"], "student": "embedded:wordllama-256"})
        trained = finetune(loss, run.path("model"))
        run.finish(trained.summary(made_from), headline=trained.headline())

    Args:
        verb: what was done, by the name of its notebook: `finetune`, `evaluate`, ...
        parameters: those of that notebook that say what is done; others have their defaults. Runs are named by folder.

    Raises:
        ParameterError: unknown names, wrong types, values out of range.
        MissingError, DataError: a run that is named is not there, or failed.
    """
    params, started = settled(check_params(verb, parameters)), datetime.now(UTC)
    spec = digest(json.dumps([verb, params.model_dump(), started.isoformat()]), 32)
    folder = results_folder() / f"{verb}-{started:%Y%m%dT%H%M%SZ}-{spec[:8]}"
    folder.mkdir(parents=True)
    return Run(verb=verb, params=params, folder=folder, spec=spec, started=started, parents=parents_of(params))


def start_lesson() -> Path:
    """Begin a notebook that keeps no run: libraries are quiet, and the folder it may write to goes when it ends."""
    quiet_libraries()
    _show_whole_texts()
    folder = tempfile.mkdtemp(prefix="gisttools-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _profile_of(parents: Sequence[str]) -> str:
    """The profile that a run was changed by which this one stands on."""
    for name in parents:
        folder = as_run(name)
        if folder is not None and (told := read_run(folder).manifest.get("profile")):
            return str(told)
    return ""


def _resolved(params: Params, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that were null, or a word in place of a number, and that the step chose, as its summary tells them
    among its settings."""
    settings = summary.get("settings") or {}
    given = params.model_dump()
    left = [name for name, value in given.items() if value is None and settings.get(name) is not None]
    words = [name for name, value in given.items() if isinstance(value, str) and is_number(settings.get(name))]
    return {name: settings[name] for name in [*left, *words]}


def _refuse_orphan() -> None:
    # a kernel sees only once a second whether its parent still lives, and then ends
    if os.environ.get(RUN_FOLDER) and parent_gone():
        raise GistError("The process that started this run is gone; the run does not count. Run it again.")


def _could_be_parameter(value: object) -> bool:
    """Whether a variable could be a parameter: a JSON scalar, or a list of them or of mappings to them."""
    if isinstance(value, list):
        return all(_could_be_parameter(inner) for one in value for inner in _values(one))
    return value is None or isinstance(value, str | int | float | bool)


def _values(one: object) -> list[object]:
    if isinstance(one, dict):
        return [*one.values()] if all(isinstance(key, str) for key in one) else [one]
    return [one]


def hold(folder: Path) -> FileLock:
    """A lock on a new run's folder; the operating system gives it back however the process ends."""
    lock = FileLock(folder / LOCK)
    lock.acquire()
    return lock


def new_folder(verb: str, spec: str) -> Path:
    """Make the folder of a new run: `<verb>-<UTC time>-<8 hex of the spec>`.

    Raises:
        ParameterError: the results folder cannot be written to.
    """
    now, later = datetime.now(UTC), 0
    while True:  # the name of a second run in one second is the next second's
        stamp = (now + timedelta(seconds=later)).strftime("%Y%m%dT%H%M%SZ")
        folder = results_folder() / f"{verb}-{stamp}-{spec[:8]}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            later += 1
        except OSError as error:
            raise ParameterError(
                f"Results cannot be written to {results_folder()}: {error}. Set GISTTOOLS_RESULTS."
            ) from error
