"""`export_model` and `gisttools export`: what is written gives the vectors it says, and the table is of these."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import ROOT, WORDLLAMA
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import quantize_embeddings

from gisttools.cli.main import main
from gisttools.common import MissingError, ModelError, ParameterError
from gisttools.evaluation.exporting import ExportOptions, _Rounding, export_model
from gisttools.evaluation.scores import ScoreCache
from gisttools.evaluation.tasks import task_sources
from gisttools.models import exporting, onnx_encoder
from gisttools.models.exporting import check_onnx, shortened
from gisttools.models.loading import open_model

TEXTS = ["the lift is stuck", "my radiator is cold", "a second key, please", "Wann kommt der Aufzug?", "the lift"]
needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))), reason='needs pip install "gisttools[onnx]"'
)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_shortened_static_model_has_a_smaller_table_and_gives_the_first_numbers(wordllama, tmp_path):
    found = export_model(wordllama, tmp_path / "small", ExportOptions(dimensions=64), texts=TEXTS)
    loaded = SentenceTransformer(str(found.folder), device="cpu")  # as anybody opens it
    wanted = unit(wordllama.encode(TEXTS)[:, :64])
    assert loaded.encode(TEXTS) == pytest.approx(wanted, abs=1e-6)
    assert loaded.get_embedding_dimension() == 64
    whole, small = found.forms
    assert (whole.dimensions, small.dimensions, small.vector_bytes) == (256, 64, 256)
    assert small.megabytes == pytest.approx(whole.megabytes / 4, rel=0.01)
    vectors = unit(wordllama.encode(TEXTS))
    assert small.cosine == pytest.approx(np.mean(np.sum(vectors[:, :64] * wanted, axis=1)), abs=1e-5)
    assert whole.cosine == pytest.approx(1, abs=1e-6)
    assert whole.neighbours == 1
    assert json.loads((found.folder / "export.json").read_text())["forms"][1]["dimensions"] == 64


def test_a_shortened_transformer_gives_the_first_numbers_at_length_one(minilm, tmp_path):
    short = shortened(minilm, 100)
    short.save(str(tmp_path / "short"), create_model_card=False)
    loaded = open_model(str(tmp_path / "short"), device="cpu")
    assert loaded.encode(TEXTS) == pytest.approx(unit(minilm.encode(TEXTS)[:, :100]), abs=1e-5)


def test_rounded_vectors_are_those_of_sentence_transformers():
    vectors = unit(np.random.default_rng(0).standard_normal((50, 32)).astype(np.float32))
    int8 = _Rounding(name="", dimensions=32, precision="int8").fitted(vectors)
    steps = quantize_embeddings(int8.short(vectors), "uint8", ranges=int8.ranges)
    width = (int8.ranges[1] - int8.ranges[0]) / 255
    assert np.floor((int8(vectors) - int8.ranges[0]) / width) == pytest.approx(steps)
    assert np.abs(int8(vectors) - vectors).max() <= width.max() * 0.51
    binary = _Rounding(name="", dimensions=20, precision="binary")(vectors)
    assert (binary > 0).tolist() == (vectors[:, :20] > 0).tolist()
    assert set(np.unique(binary)) == {-1, 1}


def test_scores_stand_beside_those_of_the_model_with_paired_intervals(wordllama, caretaker, tmp_path):
    found = export_model(
        wordllama,
        tmp_path / "small",
        ExportOptions(dimensions=128, measure=["32", "binary"]),
        sources=task_sources([], [str(caretaker)]),
        cache=ScoreCache(tmp_path / "scores"),
    )
    assert [form.name for form in found.forms] == ["as it is", "128 dimensions", "32 dimensions", "binary vectors"]
    assert [form.vector_bytes for form in found.forms] == [1024, 512, 128, 32]
    assert [(row.variant, row.task_type) for row in found.scores] == [
        (form.name, "Classification") for form in found.forms[1:]
    ]
    assert len({row.base for row in found.scores}) == 1
    assert all(row.low <= row.difference <= row.high for row in found.scores)
    assert f"| {100 * found.scores[1].tuned:.1f} |" in (found.folder / "export.md").read_text()
    # measuring leaves no mark on the model, and no model where none is written
    only = export_model(wordllama, tmp_path / "table", ExportOptions(measure=["32"]), texts=TEXTS)
    assert sorted(file.name for file in only.folder.iterdir()) == ["export.json", "export.md"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "there is nothing to do"),
        ({"measure": ["int4", "0"]}, "'int4'.*'0'"),
        ({"measure": ["int8,binary"]}, "a number and one of these"),
    ],
)
def test_options_that_mean_nothing_are_named(options, problem):
    with pytest.raises(ParameterError, match=f"(?s){problem}"):
        ExportOptions(**options)


def test_what_cannot_be_is_refused_before_anything_is_written(wordllama, tmp_path):
    with pytest.raises(ParameterError, match=r"(?s)'300'.*dimensions are 256, but the model has 256"):
        export_model(wordllama, tmp_path / "a", ExportOptions(dimensions=256, measure=["300"]), texts=TEXTS)
    with pytest.raises(ModelError, match="A static model has no ONNX form"):
        export_model(wordllama, tmp_path / "a", ExportOptions(onnx=True), texts=TEXTS)
    with pytest.raises(ParameterError, match="1 different texts"):
        export_model(wordllama, tmp_path / "a", ExportOptions(dimensions=64), texts=["a", "a"])
    with pytest.raises(ParameterError, match="is there already"):
        export_model(wordllama, tmp_path, ExportOptions(dimensions=64), texts=TEXTS)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_command_that_installs_it_is_told(minilm, monkeypatch):
    monkeypatch.setattr(onnx_encoder, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r'onnx, onnxscript, onnxruntime.*pip install "gisttools\[onnx\]"'):
        check_onnx(minilm)


def test_the_command_names_its_folder_and_prints_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    done = CliRunner().invoke(main, ["export", WORDLLAMA, "--dimensions", "32", "--texts", "texts.txt"])
    assert done.exit_code == 0, done.output
    assert "| 32 dimensions (in this folder) | 32 | 128 |" in done.output
    assert done.output.splitlines()[-1] == "wordllama-256-32-dimensions"
    assert open_model(str(tmp_path / "wordllama-256-32-dimensions")).get_embedding_dimension() == 32


@pytest.fixture(scope="module")
def graph(minilm, tmp_path_factory):
    """The embedded transformer as ONNX with weights of 8 bits."""
    place = tmp_path_factory.mktemp("export") / "graph"
    return export_model(minilm, place, ExportOptions(int8=True, dimensions=128), texts=TEXTS)


@needs_onnx
@pytest.mark.slow
def test_a_graph_gives_nearly_the_vectors_of_the_model(graph, minilm):
    """That the graph in float32 gives them is checked while it is written."""
    opened = open_model(str(graph.folder))
    wanted = unit(minilm.encode(TEXTS)[:, :128])
    made = opened.encode(TEXTS)
    assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.sum(made * wanted, axis=1).min() > 0.9
    whole, small = graph.forms
    assert small.megabytes < whole.megabytes / 3
    assert not list(graph.folder.glob("*.safetensors"))
    again = open_model(str(graph.folder))
    assert again.encode([TEXTS[0]], prompt="query: ") != pytest.approx(made[:1], abs=1e-3)


@needs_onnx
@pytest.mark.slow
def test_the_server_of_the_docs_gives_the_vectors(graph, tmp_path, monkeypatch):
    """All of its lines but what FastAPI itself does."""
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "FastAPI" in b]
    monkeypatch.setitem(
        sys.modules, "fastapi", SimpleNamespace(FastAPI=lambda: SimpleNamespace(post=lambda _: lambda f: f))
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").symlink_to(graph.folder)
    names: dict = {}
    exec(block, names)
    texts = [*TEXTS, "word " * 900]
    wanted = open_model(str(graph.folder)).encode(texts)
    assert np.array(names["embed"](texts)) == pytest.approx(wanted, abs=0.02)  # scales of int8 follow the batch


@needs_onnx
@pytest.mark.slow
def test_a_graph_is_neither_exported_nor_trained_again(graph, tmp_path):
    from gisttools.training.checks import check_fit
    from gisttools.training.options import TrainSettings

    opened = open_model(str(graph.folder))
    with pytest.raises(ModelError, match="holds ONNX already"):
        export_model(opened, tmp_path / "again", ExportOptions(dimensions=32), texts=TEXTS)
    with pytest.raises(ModelError, match="no weights that could be trained"):
        check_fit(opened, TrainSettings())
    opened.save(str(tmp_path / "copy"))
    assert open_model(str(tmp_path / "copy")).encode(TEXTS) == pytest.approx(opened.encode(TEXTS), abs=1e-6)


@needs_onnx
@pytest.mark.slow
def test_a_graph_that_computes_something_else_is_refused(minilm, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_write_graph", lambda model, path, large: path.write_bytes(b""))
    monkeypatch.setattr(exporting, "open_onnx", lambda folder: shortened(open_model(WORDLLAMA), 255))
    with pytest.raises(ModelError, match="their cosine falls to"):
        exporting.write_onnx(minilm, tmp_path / "graph")
