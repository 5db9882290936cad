"""What each part brought: never claimed by one training, always with the command that measures it."""

from __future__ import annotations

import shlex

from helpers.html_page import seen
from helpers.report_runs import comparison_row, convert, evaluate, finetune, synthesize, write_run

from gisttools.report.data import collect
from gisttools.report.parts import parts
from gisttools.report.render import render_html, render_markdown


def data_of(folder, parents=("finetune-1",), **options):
    return collect(evaluate(folder, [comparison_row()], list(parents), **options), folder)


def test_a_single_training_tells_none_apart_and_names_the_commands(tmp_path):
    synthesize(tmp_path)
    convert(tmp_path)
    finetune(tmp_path)
    data = data_of(tmp_path, parameters={"files": ["my folder"], "tasks": []})
    told = {part.name: part for part in parts(data)}
    written = told["The rows that an LLM wrote"]
    assert "not evaluated" in written.told
    words = shlex.split(written.command)
    assert words[:3] == ["gisttools", "run", "llm_rows"]
    assert words[-3:] == ["-p", "evaluate.files", '["my folder"]']
    page, text = seen(render_html(data)), render_markdown(data)
    assert "What each part brought" in page
    assert "This measures it: gisttools run llm_rows" in page
    assert "What each part brought" in text


def test_what_was_not_there_needs_no_command(tmp_path):
    write_run(tmp_path, "finetune-1", "finetune", {"student": "s", "labels_masked": False}, parameters={"guide": None})
    assert [(part.told, part.command) for part in parts(data_of(tmp_path))] == [
        ("There were none.", ""), ("There was none.", ""), ("They masked nothing.", ""),
    ]  # fmt: skip


def test_rows_of_an_llm_alone_leave_nothing_without_them(tmp_path):
    synthesize(tmp_path)
    finetune(tmp_path, parents=("synthesize-1",))
    assert "nothing is left without them" in parts(data_of(tmp_path))[0].told


def test_a_model_of_unknown_training_has_no_parts(tmp_path):
    assert parts(data_of(tmp_path, parents=())) == []


def test_where_labels_were_positives_no_mask_is_spoken_of(tmp_path):
    settings = {"train_on": "labelled", "same_label": "positive", "guide_masks": "unlabelled"}
    finetune(tmp_path, settings=settings, positives={"positives": 3.62, "without_positives": 0.0})
    data = data_of(tmp_path)
    told = {part.name: part.told for part in parts(data)}
    assert "on triplets" in told["Labels, as positives"]
    page, text = seen(render_html(data)), render_markdown(data)
    assert "A text met 3.6 of its label in its batch" in page
    assert "Candidates that were masked" not in page
    assert "- labels as positives: a text met 3.6 of its label in its batch, on average.\n" in text
    assert "- masked" not in text
