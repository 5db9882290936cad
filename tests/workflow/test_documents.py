"""From a folder of documents to a search model in one recipe; what its steps refuse, and what stands for a run."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner
from helpers import ROOT
from helpers.scripted_author import asker
from helpers.server import Server

from gisttools.cli.main import main
from gisttools.common.errors import MissingError, ParameterError
from gisttools.data.triplets import read_triplets
from gisttools.workflow.documents import tests_of as scored_of
from gisttools.workflow.early import early_problems
from gisttools.workflow.params import check_params
from gisttools.workflow.reference import TABLES
from gisttools.workflow.schedule import checked_recipe, run_recipe

RECIPE = ROOT / "notebooks" / "recipes" / "documents.yaml"
WITHOUT = ROOT / "notebooks" / "recipes" / "documents_without_llm.yaml"


def told(params: dict, verb: str = "synthesize") -> list[str]:
    return list(early_problems(check_params(verb, params).model_dump()))


def test_what_is_not_there_is_said_before_anything_starts(tmp_path):
    assert "data: there is no file or folder" in told({"data": str(tmp_path / "none")}, "read")[0]
    (tmp_path / "docs").mkdir()
    asked = {"documents": str(tmp_path / "docs"), "eval_files": [], "labelled_files": []}
    assert "is no run of 8_read. Read the documents first" in told(asked)[0]
    assert "decisions: there is no file" in told({"documents": "$read", "decisions": "none.csv", "eval_files": []})[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"domain": "a house"}, "domain is 'a house', which needs documents"),
        ({"test_rows": 3}, "test_rows is 3, which needs documents"),
        ({"documents": "r", "task": "t.yaml", "language": "deu-Latn"}, "which needs documents alone"),
    ],
)
def test_what_would_do_nothing_is_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        check_params("synthesize", given)


def test_the_recipe_takes_what_people_have(tmp_path):
    (tmp_path / "mine").mkdir()
    given = {"data": str(tmp_path / "mine"), "llm": "http://127.0.0.1:1/v1", "llm_model": "m", "questions": 5,
             "student": "embedded:all-MiniLM-L6-v2"}  # fmt: skip
    steps = {step.name: step.parameters for step in checked_recipe(RECIPE, overrides=given).steps}
    assert list(steps) == ["read", "ask", "convert", "finetune", "evaluate", "report"]
    assert steps["ask"]["llm_base_url"] == "http://127.0.0.1:1/v1"
    read, *_ = checked_recipe(RECIPE, overrides=given | {"data": [given["data"]]}).steps  # as --data gives it
    assert read.parameters["data"] == given["data"]
    assert len(checked_recipe(RECIPE, overrides=given, profile="estimate").steps) == 2
    assert steps["read"]["student"] == steps["finetune"]["student"]
    with pytest.raises(MissingError, match="data: there is no file or folder"):
        checked_recipe(RECIPE, overrides={"data": str(tmp_path / "none")})


@pytest.mark.slow
def test_a_folder_becomes_a_search_model_and_a_report(tmp_path, results, monkeypatch):
    """Also: nothing is asked twice; a question thrown out leaves the test; the search answers."""
    shutil.copytree(ROOT / "data" / "handbook", tmp_path / "help pages")
    (tmp_path / "help pages" / "broken.pdf").write_bytes(b"%PDF")
    with Server(lambda *call: asker(*call)) as server:
        given = {
            "data": str(tmp_path / "help pages"), "llm": server.url, "llm_model": "scripted", "questions": 80,
            "test_questions": 20, "domain": "help pages of a garden company", "ask.price_in": 1.0, "ask.price_out": 1.0,
            "finetune.max_steps": 8, "evaluate.guards": [],
        }  # fmt: skip
        read, ask, convert, _finetune, evaluate, report = run_recipe(RECIPE, overrides=given)
        calls = len(server.calls)
        assert "broken.pdf" in read.summary["left_out"]
        assert ask.summary["by_label"]["test"]["accepted"] == 20
        assert ask.headline.endswith(", 20 of them to test with")
        assert f"100 questions on {read.summary['chunks']} chunks: about" in (ask.folder / "log.txt").read_text()
        questions = pd.read_csv(ask.folder / "questions.csv")
        assert set(questions.columns) == set(TABLES["synthesize: questions.csv"])
        test = pd.read_json(ask.folder / "help-pages-synthetic-test" / "queries.jsonl", lines=True)
        assert set(test["text"]) == set(questions[questions["part"] == "test"]["question"])

        rows = read_triplets(convert.folder / "triplets.parquet")
        chunks = pd.read_parquet(read.folder / "chunks.parquet")
        held_back = chunks[chunks["part"] == "test"]["text"].tolist()
        mined = [text for negatives in rows["negatives"][:] for text in negatives]
        assert 1.5 * len(rows) < len(mined) <= 2 * len(rows)
        assert not any(text.endswith(back) for text in [*mined, *rows["positive"][:]] for back in held_back)

        found = pd.read_parquet(evaluate.folder / "candidates.parquet")
        assert set(found["kind"]) == {"tuned", "base", "guide", "classic"}
        assert set(found["task"]) == {"help-pages-synthetic-test"}
        assert set(found["n_test"]) == {20}
        compared = pd.read_parquet(evaluate.folder / "comparison.parquet").iloc[0]
        assert compared["low"] <= compared["difference"] <= compared["high"]
        note = (
            "help-pages-synthetic-test is a synthetic test: 20 questions on 3 documents that were held back, written by"
        )
        assert any(told.startswith(note) for told in evaluate.summary["notes"])
        page = (report.folder / "report.html").read_text(encoding="utf-8")
        for words in ("help-pages-synthetic-test", "is a synthetic test", "20 questions"):
            assert words in page

        gone = questions[questions["part"] == "test"]["question"].iloc[0]
        questions.loc[questions["question"] == gone, "keep"] = "no"
        questions.to_csv(tmp_path / "edited.csv", index=False)
        monkeypatch.chdir(tmp_path)
        again = run_recipe(RECIPE, overrides=given | {"decisions": "edited.csv", "evaluate.candidates": False})
        assert len(server.calls) == calls
        assert again[0].id == read.id
        assert again[1].summary["by_label"]["test"]["accepted"] == 19
        assert pd.read_parquet(again[4].folder / "comparison.parquet").iloc[0]["n_test"] == 19
    asked = "how much snow may lie on the lid?"
    done = CliRunner().invoke(main, ["search", evaluate.id, str(tmp_path / "help pages"), asked, "--json"])
    assert done.exit_code == 0, done.output
    hits = json.loads(done.output[done.output.index("[") :])
    assert len(hits) == 5
    assert scored_of([ask.id]) == [str(ask.folder / "help-pages-synthetic-test")]
    with pytest.raises(MissingError, match="left no test"):
        scored_of([read.id])


@pytest.mark.slow
def test_without_an_llm_sentences_stand_in_for_questions_and_people_s_are_the_test(results):
    given = {"sentences": 60, "finetune.max_steps": 8, "evaluate.guards": []}
    read, convert, finetune, evaluate, report = run_recipe(WITHOUT, overrides=given)
    chunks = pd.read_parquet(read.folder / "chunks.parquet")
    assert (read.summary["sentences"], set(chunks["part"])) == (60, {"train"})
    rows = read_triplets(convert.folder / "triplets.parquet")
    assert set(rows["source"][:]) == {"sentence"}
    assert all(row["anchor"] in " ".join(row["positive"].split()) for row in rows)
    assert max(map(len, rows["negatives"][:])) == 2
    asked = pd.read_json(ROOT / "data" / "handbook_questions" / "queries.jsonl", lines=True)["text"]
    assert not set(asked) & set(rows["anchor"][:])
    found = pd.read_parquet(evaluate.folder / "candidates.parquet")
    assert set(found["kind"]) == {"tuned", "base", "guide", "classic"}
    assert set(found["n_test"]) == {len(asked)} == {50}
    queries = pd.read_parquet(evaluate.folder / "queries.parquet")
    compared = pd.read_parquet(evaluate.folder / "comparison.parquet").iloc[0]
    assert set(queries["text"]) == set(asked)
    means = (compared["base"], compared["tuned"])  # which mteb rounds to five places
    assert (queries["base"].mean(), queries["tuned"].mean()) == pytest.approx(means, abs=1e-5)
    changed = queries[queries["base"] != queries["tuned"]]
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    assert f"Of 50 queries, <b>{(changed['tuned'] > changed['base']).sum()}</b> score more than before" in page
    assert changed["answer"].notna().all()
    assert finetune.parameters["distill"] == 0.5


def test_the_questions_on_the_handbook_are_answered_by_chunks_as_they_are_cut_now():
    from gisttools import open_model
    from gisttools.data import read_chunks
    from gisttools.models import token_counter

    chunks = read_chunks(ROOT / "data" / "handbook", None, token_counter(open_model("embedded:wordllama-256")))
    folder = ROOT / "data" / "handbook_questions"
    corpus = pd.read_json(folder / "corpus.jsonl", lines=True).set_index("_id")
    judged = pd.read_csv(folder / "qrels" / "test.tsv", sep="\t")
    assert corpus["text"].to_dict() == {chunk.id: chunk.text for chunk in chunks.chunks}
    assert set(judged["corpus-id"]) == set(corpus.index)
