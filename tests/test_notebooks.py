"""The notebooks: their form, and that all of them run in order with their defaults and leave what is promised."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import papermill
import pyarrow.parquet as pq
import pytest
from helpers import ROOT, files_under
from helpers.elsewhere import first_cell
from nbclient import NotebookClient

from gisttools.common.files import sha256
from gisttools.data.triplets import COLUMNS
from gisttools.workflow import warm
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.folders import finished_runs
from gisttools.workflow.params import VERBS, check_params
from gisttools.workflow.places import notebook_of
from gisttools.workflow.reference import TABLES

ALL = sorted((ROOT / "notebooks").glob("*.ipynb"))
FILES = {  # what each run leaves, besides manifest, notebook and summary
    "synthesize": {"triplets.parquet", "rejected.parquet", "browse.html"},
    "convert": {"triplets.parquet"},
    "finetune": {"history.parquet", "masked_examples.parquet", "model/model.safetensors", "model/modules.json"},
    "evaluate": {
        f"{n}.parquet" for n in ("scores", "comparison", "items", "references", "averages", "failed", "embedding")
    },
    "report": {"report.html", "report.md", "scores.csv", "model_card.md"},
    "cost_to_gain": {"curve.parquet", "curve.svg"},
    "compare": {"leaderboard.html", "leaderboard.csv", "leaderboard.md"},
    "read": {"chunks.parquet"},
}
SUMMARIES = {
    "synthesize": "task kind prompt_id llm_model base_url asked accepted rejected reasons by_label calls cached_calls "
    "tokens_in tokens_out cost_usd seconds",
    "convert": "sources guide_id strategy triplets seconds live_share",
    "finetune": "student guide_id triplets by_source steps seconds parameters_trained dimension settings final_loss "
    "first_loss masked labels_masked model_mb rows rows_cost_usd rows_priced",
    "evaluate": "base tuned tasks seconds speed dimension verdict verdicts variants averages failed notes",
    "report": "evaluation seconds",
    "cost_to_gain": "task metric base enough verdict caveat sizes seconds",
    "compare": "task metric baseline base word sentences findings recipes effects tasks seconds",
    "read": "name documents test_documents chunks test_chunks tokens longest left_out dropped languages sentences "
    "seconds",
}
QUESTIONS = "synthesize: questions.csv"  # of documents alone: tests/workflow/test_documents.py
MANIFEST = (
    "run_id verb status started seconds parameters changed spec_hash git versions hardware seeds artefacts parents "
    "error headline missing resolved warnings profile"
)
COMPARISON = (
    "task task_type subset metric base tuned difference low high n_items n_draws method verdict trained_on is_target "
    "overlap n_test"
)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def each_notebook(function):
    return pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)(function)


def test_there_is_one_notebook_for_each_verb_in_order():
    assert [notebook_of(verb).exists() for verb in VERBS] == [True] * len(VERBS)
    assert [p.stem.split("_", 1)[1] for p in ALL if p.stem[0] != "0"] == list(VERBS)


@each_notebook
def test_a_notebook_is_valid_and_holds_no_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert [
        c.id for c in notebook.cells if c.cell_type == "code" and (c.outputs or c.execution_count is not None)
    ] == []


@each_notebook
def test_cell_ids_are_slugs_and_unique(path):
    ids = [cell.id for cell in read(path).cells]
    assert [i for i in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", i)] == []
    assert len(set(ids)) == len(ids)


@each_notebook
def test_a_notebook_is_short(path):
    cells = [c for c in code_cells(path) if c.source and "parameters" not in c.metadata.get("tags", [])]
    assert len(cells) <= 12
    assert [c.id for c in cells if c.source.count("\n") >= 10] == []


@each_notebook
def test_a_notebook_holds_no_logic(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.Lambda)
    found = [(c.id, type(n).__name__) for c in code_cells(path) for n in ast.walk(ast.parse(c.source))]
    assert [f for f in found if f[1] in {k.__name__ for k in kinds}] == []


@each_notebook
def test_a_notebook_imports_from_rooms_alone_in_at_most_six_lines(path):
    nodes = [n for c in code_cells(path) for n in ast.walk(ast.parse(c.source))]
    assert len([n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]) <= 6
    own = [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module.split(".")[0] == "gisttools"]
    assert [module for module in own if module.count(".") > 1] == []


@each_notebook
def test_a_notebook_begins_with_its_title_and_question(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \d · .+\n\n\*\*Question\.\*\* .+\?", first.source)


@each_notebook
def test_a_notebook_says_what_comes_first_on_colab_and_kaggle_and_runs_nothing_of_it(path):
    (cell,) = [cell for cell in read(path).cells if cell.id == "elsewhere"]
    assert cell.cell_type == "markdown"
    assert re.search(r"<pre>(.*)</pre>", cell.source, re.DOTALL)[1] == first_cell()


@each_notebook
def test_a_notebook_ends_with_what_to_look_at_and_what_to_do_next(path):
    told = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert [part for part in ("**What to look at.**", "**Next:**") if not any(part in text for text in told)] == []
    assert read(path).cells[-1].id == "next"


@each_notebook
def test_a_notebook_stands_beside_it_as_python_for_reviews(path):
    notebook = read(path)
    notebook.metadata["jupytext"] = {"notebook_metadata_filter": "-all"}
    there = (ROOT / "notebooks_py" / f"{path.stem}.py").read_text(encoding="utf-8")
    assert there == jupytext.writes(notebook, "py:percent"), "run `make pairs`"


def test_nothing_else_is_there_as_python():
    assert sorted(p.stem for p in (ROOT / "notebooks_py").iterdir()) == [p.stem for p in ALL]


@pytest.mark.parametrize("verb", VERBS)
def test_every_parameter_is_explained(verb):
    assert [name for name, field in VERBS[verb].model_fields.items() if not field.description] == []


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_in_the_notebook_equal_those_that_are_checked(verb):
    """The cell holds what people change most; whatever it holds stands first and in order in the parameter model."""
    (cell,) = [c for c in code_cells(notebook_of(verb)) if "parameters" in c.metadata.get("tags", [])]
    defaults: dict = {}
    exec(cell.source, {}, defaults)
    known = list(check_params(verb, {}).model_dump().items())
    assert list(defaults.items()) == known[: len(defaults)]
    assert len(defaults) == len(known) or f"gisttools parameters {verb}" in cell.source
    assert json.loads(json.dumps(defaults)) == defaults


@pytest.mark.slow
def test_the_lesson_runs_by_itself_and_what_it_says_is_so(results, tmp_path):
    lesson = papermill.execute_notebook(
        ROOT / "notebooks" / "0_how_gist_works.ipynb", tmp_path / "out.ipynb", {"steps": 10}, progress_bar=False,
        cwd=str(ROOT),
    )  # fmt: skip
    cells = {c.id: c.outputs for c in lesson.cells if c.cell_type == "code"}
    said = {name: "".join(o.text for o in outputs if o.output_type == "stream") for name, outputs in cells.items()}
    by_hand, by_gisttools, masked = re.fullmatch(
        r"by hand (.+), gist_loss (.+), (\d+) candidates masked\n", said["compare"]
    ).groups()
    assert (by_hand, int(masked) > 0) == (by_gisttools, True)
    without, with_ids = re.fullmatch(r"without text_ids (.+), with them (.+)\n", said["solution"]).groups()
    assert float(with_ids) < float(without)
    drawn = ("matrix", "blocks", "temperature", "margin", "gain")
    assert [name for name in drawn if not any("image/png" in o.get("data", {}) for o in cells[name])] == []
    assert files_under(results) == []


@pytest.mark.slow
def test_an_unknown_parameter_stops_a_notebook_under_plain_papermill(results, tmp_path):
    notebook, given = notebook_of("report"), {"evalution": "latest"}
    with pytest.raises(papermill.PapermillExecutionError, match=r"unknown parameter 'evalution'.*mean 'evaluation'\?"):
        papermill.execute_notebook(notebook, tmp_path / "out.ipynb", given, progress_bar=False, cwd=str(ROOT))
    assert files_under(results) == []


def by_command(*command: str | Path) -> None:
    program = Path(sys.executable).with_name(str(command[0]))
    subprocess.run([program, *command[1:]], check=True, capture_output=True, cwd=ROOT / "notebooks")


def by_jupyter(notebook: str, _output: Path) -> None:
    by_command("jupyter-execute", notebook)


def by_papermill(notebook: str, output: Path) -> None:
    by_command("papermill", "--no-progress-bar", notebook, output, "-p", "seed", "0")


def by_nbclient(notebook: str, _output: Path) -> None:
    folder = ROOT / "notebooks"
    NotebookClient(read(folder / notebook), resources={"metadata": {"path": folder}}).execute()


@pytest.mark.slow
@pytest.mark.parametrize("way", [by_jupyter, by_papermill, by_nbclient])
def test_other_runners_leave_a_finished_run_too_and_the_notebook_as_it_was(way, results, tmp_path):
    before = {path: path.read_bytes() for path in (ROOT / "notebooks").iterdir() if path.is_file()}
    way("2_convert.ipynb", tmp_path / "out.ipynb")
    (run,) = finished_runs()
    assert (run.verb, run.status, run.manifest["error"]) == ("convert", "ok", None)
    assert "476 texts" in run.headline
    assert set(run.artefacts) >= FILES["convert"] | {"summary.json"}
    assert all(sha256(results / run.id / name) == sha for name, sha in run.artefacts.items())
    assert {path: path.read_bytes() for path in (ROOT / "notebooks").iterdir() if path.is_file()} == before
    same = {"seed": run.parameters["seed"]}  # papermill was told another
    assert run_notebook("convert", same, rerun="only-cache").id == run.id  # it answers for the same work


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """All notebooks with their defaults, in the order of their use: {verb: run}, results folder. For the curve two
    trainings of other sizes are evaluated as well, without kernels."""
    folder = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch, warm.kept():
        patch.setenv("GISTTOOLS_RESULTS", str(folder))
        done = {"synthesize": run_notebook("synthesize", {"rows": 4, "attempts": 1.5})}
        done["convert"] = run_notebook("convert", {})
        done["finetune"] = run_notebook("finetune", {})
        done["evaluate"] = run_notebook("evaluate", {})
        done["report"] = run_notebook("report", {})
        sizes = [("finetune", {"limit": n, "max_steps": 20}) for n in (60, 240)]
        steps = [step for size in sizes for step in (size, ("evaluate", {"model": "$"}))]
        script = ROOT / "tests" / "helpers" / "notebook_cells.py"
        subprocess.run([sys.executable, script, json.dumps(steps)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        done["cost_to_gain"] = run_notebook("cost_to_gain", {})
        done["compare"] = run_notebook("compare", {})
        done["read"] = run_notebook("read", {})
    return done, folder


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_notebook_runs_with_its_defaults_and_leaves_what_is_promised(chain, verb):
    done, results = chain
    run, folder = done[verb], results / done[verb].id
    assert (run.verb, run.status, run.manifest["error"]) == (verb, "ok", None)
    assert set(run.manifest) == set(MANIFEST.split())
    assert run.headline
    assert "\n" not in run.headline
    assert set(run.artefacts) >= FILES[verb] | {"summary.json"}
    assert all(sha256(folder / name) == sha for name, sha in run.artefacts.items())
    summary = json.loads((folder / "summary.json").read_text())
    assert set(SUMMARIES[verb].split()) - set(summary) == set()
    assert not [name for name in files_under(folder) if name.endswith((".partial", "status.txt", ".lock"))]


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_an_executed_notebook_is_quiet_and_its_page_loads_nothing(chain, verb):
    done, results = chain
    folder = results / done[verb].id
    executed = read(folder / "notebook.ipynb")
    said = [o.text for c in executed.cells if c.cell_type == "code" for o in c.outputs if o.get("name") == "stderr"]
    assert said == []
    page = (folder / "notebook.html").read_text()
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(https?:[^"]+)"', page) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TABLES.keys() - {QUESTIONS}))
def test_the_reference_tells_every_column_of_a_table_that_a_run_leaves(chain, name):
    done, results = chain
    verb, file = name.split(": ")
    path = results / done[verb].id / file
    columns = pd.read_csv(path, nrows=0).columns if path.suffix == ".csv" else pq.read_schema(path).names
    assert set(columns) == set(TABLES[name])


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_an_executed_notebook_shows_a_table_and_a_picture(chain, verb):
    done, results = chain
    executed = read(results / done[verb].id / "notebook.ipynb")
    shown = [o.data for c in executed.cells if c.cell_type == "code" for o in c.outputs if "data" in o]
    assert any("<table" in d.get("text/html", "") or "| ---" in d.get("text/markdown", "") for d in shown)
    assert any({"image/png", "image/svg+xml"} & set(d) or "<svg" in d.get("text/html", "") for d in shown)


@pytest.mark.slow
def test_one_to_five_speak_of_the_same_model(chain):
    done, _ = chain
    assert done["finetune"].parents == [done["convert"].id]
    assert done["evaluate"].parents == [done["finetune"].id]
    assert done["report"].parents == [done["evaluate"].id]


@pytest.mark.slow
def test_synthesized_triplets_add_up_to_what_was_asked(chain):
    done, results = chain
    folder = results / done["synthesize"].id
    summary = json.loads((folder / "summary.json").read_text())
    accepted, rejected = (pq.read_table(folder / f"{name}.parquet") for name in ("triplets", "rejected"))
    assert accepted.schema.equals(COLUMNS, check_metadata=False)
    assert rejected.schema.equals(COLUMNS, check_metadata=False)
    assert (len(accepted), len(rejected)) == (summary["accepted"], summary["rejected"])
    assert 4 <= summary["asked"] == len(accepted) + len(rejected) <= 8
    assert sum(summary["reasons"].values()) == len(rejected)
    assert set(rejected["status"].to_pylist()) <= {"rejected"}
    assert None not in rejected["reject_reason"].to_pylist()


@pytest.mark.slow
def test_converted_triplets_are_the_support_messages(chain):
    done, results = chain
    table = pq.read_table(results / done["convert"].id / "triplets.parquet")
    assert table.schema.equals(COLUMNS, check_metadata=False)
    assert len(table) == 476
    assert len(set(table["anchor_label"].to_pylist())) == 14


@pytest.mark.slow
def test_training_lowers_the_loss(chain):
    done, results = chain
    history = pq.read_table(results / done["finetune"].id / "history.parquet").to_pandas()
    assert list(history.columns[:4]) == ["step", "epoch", "loss", "learning_rate"]
    assert history["loss"].iloc[-3:].mean() < 0.8 * history["loss"].iloc[:3].mean()
    shares = history.filter(like="masked_")
    assert list(shares.columns) == ["masked_ap", "masked_aa", "masked_pp", "masked_an"]
    assert shares["masked_aa"].between(0, 1).all()  # labelled texts, which are of one column
    assert shares.drop(columns="masked_aa").isna().all(axis=None)
    assert (history["positives"] > 1).all()


@pytest.mark.slow
def test_the_better_model_is_found_better_with_an_interval(chain):
    done, results = chain
    comparison = pq.read_table(results / done["evaluate"].id / "comparison.parquet").to_pandas()
    assert set(COMPARISON.split()) - set(comparison.columns) == set()
    row = comparison.set_index("task").loc["support_intents"]
    assert row["verdict"] == "helped"
    assert row["low"] > 0
    assert (row["n_items"], row["n_test"]) == (280, 280)


@pytest.mark.slow
def test_the_report_is_one_page_on_the_latest_evaluation(chain):
    done, results = chain
    folder = results / done["report"].id
    assert done["report"].parents == [done["evaluate"].id]
    assert done["report"].headline == done["evaluate"].headline
    page = (folder / "report.html").read_text()
    assert re.findall(r'(?:src|href)="(https?:[^"]+)"', page) == []
    assert "support_intents" in page


@pytest.mark.slow
def test_the_curve_is_of_the_runs_with_a_limit_and_of_no_other(chain):
    done, results = chain
    folder = results / done["cost_to_gain"].id
    curve = pq.read_table(folder / "curve.parquet").to_pandas()
    assert curve["rows"].tolist() == [60, 240]
    assert len(done["cost_to_gain"].parents) == 2
    assert done["evaluate"].id not in done["cost_to_gain"].parents
    assert (curve["low"] < curve["gain"]).all()
    assert (curve["gain"] < curve["high"]).all()
    assert not (folder / "dollars.svg").exists()  # labelled texts have no price


@pytest.mark.slow
def test_the_leaderboard_is_of_all_evaluations_that_can_stand_side_by_side(chain):
    done, results = chain
    summary = json.loads((results / done["compare"].id / "summary.json").read_text())
    recipes = {r["recipe"] for r in summary["recipes"]}
    assert recipes == {"max_steps=20, limit=60", "max_steps=20, limit=240", "max_steps=none, limit=none"}
    assert [(e["against"], e["value"]) for e in summary["effects"]] == [
        ("none", "20"), ("none", "60"), ("none", "240"),
    ]  # fmt: skip
    assert len(done["compare"].parents) == 3
