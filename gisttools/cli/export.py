"""`gisttools export`: writes a model smaller and faster, and says what that costs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from gisttools.cli.answers import Answer
from gisttools.cli.complete import Remembering, complete_run
from gisttools.cli.use import text_rows
from gisttools.common import model_name, quiet_libraries


@click.command(cls=Remembering, short_help="Write a model smaller and faster, and measure what that costs.")
@click.argument("model", shell_complete=complete_run)
@click.option("--onnx", is_flag=True, help="As ONNX: for onnxruntime, text-embeddings-inference and others.")
@click.option("--int8", is_flag=True, help="As ONNX with weights of 8 bits: a quarter of the size.")
@click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="With vectors of N dimensions.")
@click.option(
    "--measure", multiple=True, metavar="VECTORS",
    help="Measure, and do not write: 128 (dimensions), int8, binary, or 128,int8. May be repeated.",
)  # fmt: skip
@click.option("--files", multiple=True, metavar="PATH", help="Your test texts, as in an evaluation. May be repeated.")
@click.option("--tasks", multiple=True, metavar="TASK", help="mteb tasks to score it on. May be repeated.")
@click.option("--texts", metavar="FILE", help="Texts whose vectors are compared; else those of files and tasks.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="A new folder; else one here, named after the model.",
)  # fmt: skip
def export(
    model: str,
    files: tuple[str, ...],
    tasks: tuple[str, ...],
    texts: str | None,
    out: Path | None,
    **told: Any,
) -> Answer:
    """Write MODEL (a run, latest, a folder, embedded:... or a name of the hub) into a folder, smaller or faster, with a
    table of what it costs: scores, size, texts a second. Without --files, --tasks and --texts vectors are compared on
    general English sentences.

    \b
    gisttools export latest --int8 --files my_tests
    gisttools export latest --dimensions 128 --measure 64 --measure int8 --measure binary --files my_tests"""
    from gisttools.evaluation import ExportOptions, export_model, task_sources
    from gisttools.training import general_texts
    from gisttools.workflow import model_named

    options = ExportOptions(**{**told, "measure": list(told["measure"])})
    quiet_libraries()
    name = model_named(model)
    sources = task_sources(list(tasks), list(files)) if tasks or files else []
    said: list[str] = []
    if texts:
        rows, column = text_rows(texts, None)
        said = [str(row[column]) for row in rows]
    elif not sources:
        said = general_texts()
    place = out or Path(f"{_as_file(model_name(name))}-{_as_file(options.name) or 'measured'}")
    found = export_model(name, place, options, sources=sources, texts=said)
    return Answer(data={"folder": found.folder, **found.facts()}, lines=[found.markdown(), str(found.folder)])


def _as_file(name: str) -> str:
    """A name as a folder's."""
    return re.sub(r"[^\w.]+", "-", name.removeprefix("embedded:").lower()).strip("-")
