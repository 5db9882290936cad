"""Finished runs: files are held against their checksums, and old manifests, which tell less, are read all the same."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gisttools.common.errors import DataError, MissingError
from gisttools.common.files import sha256
from gisttools.common.runs import FinishedRun, read_run

LEAST = {"verb": "finetune", "status": "ok", "started": "2026-01-01T00:00:00+00:00"}  # what every version wrote


@pytest.fixture
def write(tmp_path):
    """A function that writes a run folder: what its manifest says, and its files with their checksums."""

    def make(files: dict[str, bytes], **told: object):
        folder = tmp_path / "finetune-20260101T000000Z-00000000"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        sums = {name: sha256(folder / name) for name in files}
        manifest = LEAST | ({"artefacts": sums} if sums else {}) | told
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


def test_what_an_old_manifest_does_not_tell_is_empty(write):
    folder = write({})
    run = read_run(folder)
    assert (run.id, run.verb, run.ok, run.headline, run.seconds) == (folder.name, "finetune", True, "", None)
    assert (run.parameters, run.parents, run.artefacts, run.summary, run.spec_hash) == ({}, [], {}, {}, "")
    assert run.error == ""


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"verb": None}, "verb is missing"),
        ({"status": "done"}, "status is 'done', must be 'ok' or 'failed'"),
        ({"started": "2026-01-01T00:00:00"}, "must be a time with its zone"),
        ({"parents": "convert-1"}, "parents is a str, must be a list"),
        ({"artefacts": ["a"]}, "artefacts is a list, must be a dict"),
    ],
)
def test_what_no_version_wrote_is_refused_by_name(write, told, said):
    with pytest.raises(DataError, match=f"is no manifest:\n.*{said}.*\nRun the step again"):
        read_run(write({}, **told))


def test_a_folder_without_manifest_is_unfinished_and_none_is_missing(tmp_path):
    with pytest.raises(MissingError, match="is unfinished"):
        read_run(tmp_path)
    with pytest.raises(MissingError, match="no run folder"):
        read_run(tmp_path / "gone")


def test_a_file_that_changed_is_never_read(write, tmp_path):
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "t.parquet")
    table = (tmp_path / "t.parquet").read_bytes()
    folder = write({"t.parquet": table, "summary.json": b"{}", "card.md": b"card"})
    run = read_run(folder)
    assert run.changed() == []
    for name, content in (("t.parquet", table[::-1]), ("summary.json", b"[]"), ("card.md", b"Card")):
        (folder / name).write_bytes(content)
    assert run.changed() == ["t.parquet", "summary.json", "card.md"]
    reads = (lambda: run.table("t.parquet"), lambda: run.head("t.parquet", 1), lambda: run.text("card.md"))
    for read in (*reads, lambda: run.summary, lambda: run.artefact("card.md")):
        with pytest.raises(DataError, match="changed since the run"):
            read()


def test_a_checksum_may_name_its_kind_as_early_manifests_did(write):
    folder = write({"summary.json": b'{"n": 1}'})
    run = read_run(folder)
    named = {name: f"sha256:{checksum}" for name, checksum in run.artefacts.items()}
    assert FinishedRun(folder=folder, manifest={**run.manifest, "artefacts": named}).summary == {"n": 1}


def test_half_a_surrogate_pair_becomes_a_question_mark(write):
    assert read_run(write({"summary.json": b'{"text": "a\\ud800"}'})).summary == {"text": "a?"}
