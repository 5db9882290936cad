"""What `1_synthesize` hands on, from its parameters: what rows must stand up to, and what they are held against."""

from __future__ import annotations

from pathlib import Path

from gisttools.data import eval_sets, read_labelled, read_triplets, table_texts, write_triplets
from gisttools.synthesis import Checks, Known, Outcome, check_prompt, check_start, load_prompt, read_task
from gisttools.workflow.origins import paths
from gisttools.workflow.params import SynthesizeParams
from gisttools.workflow.places import resolve
from gisttools.workflow.runs import inputs
from gisttools.workflow.session import Run


def checks_of(params: SynthesizeParams) -> Checks:
    """What a text or row must stand up to."""
    return Checks(
        label_by=params.label_by,
        blind=params.blind,
        guide_order=params.guide_order,
        top_k=params.top_k,
        skip_nearest=params.skip_nearest,
        near_eval=params.near,
    )


def known_of(params: SynthesizeParams) -> Known:
    """The test texts, the texts of earlier runs, and the labelled texts that are told.

    Raises:
        MissingError, DataError: a file, task or run is missing or cannot be read.
    """
    sets = eval_sets(params.eval_tasks, paths(params.eval_files))
    avoid = inputs(params.avoid, "triplets.parquet")
    labelled = [read_labelled(resolve(folder)) for folder in params.labelled_files]
    return Known(
        eval_texts=[text for texts in sets.values() for text in texts],
        written=table_texts(read_triplets(*avoid)) if avoid else [],
        labelled=[pair for texts in labelled for pair in zip(texts.texts, texts.labels, strict=True)],
    )


def check_inputs(params: SynthesizeParams) -> None:
    """What can be said of task and prompt before any work.

    Raises:
        MissingError, DataError: the task description or the prompt is missing, or wrong; all problems of one at once.
    """
    task = read_task(resolve(params.task))
    prompt = load_prompt(prompt_of(params) or task.prompt, folder_of(params))
    check_prompt(prompt)
    check_start(prompt, task)


def folder_of(params: SynthesizeParams) -> Path | None:
    """The user's folder of prompts."""
    return resolve(params.prompts) if params.prompts else None


def prompt_of(params: SynthesizeParams) -> str | Path | None:
    """The prompt that is told: a path, or a name as it is."""
    named = params.prompt is not None and not params.prompt.endswith((".yaml", ".yml"))
    return params.prompt if params.prompt is None or named else resolve(params.prompt)


def save(outcome: Outcome, run: Run) -> None:
    """Write both tables, and a page to look through them, into the run's folder."""
    from gisttools.report import write_browser

    write_triplets(outcome.accepted, run.folder)
    write_triplets(outcome.rejected, run.path("rejected.parquet"))
    write_browser(outcome.accepted, outcome.rejected, run.folder, title=outcome.summary["task"])
