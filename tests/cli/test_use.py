"""`predict`, `search` and `check`: what they print is what Python gives, and what is wrong is named."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import WORDLLAMA
from helpers.evaluation_folders import TOPICS

from gisttools import Classifier, VectorCache
from gisttools.cli.main import main
from gisttools.common.errors import DataError
from gisttools.models.loading import open_model
from gisttools.models.searching import search
from gisttools.workflow.using import judged

TEXTS = [text for texts in TOPICS.values() for text in texts]
LABELS = [label for label, texts in TOPICS.items() for _ in texts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with a classifier."""
    place = tmp_path_factory.mktemp("model")
    model = open_model(WORDLLAMA, device="cpu")
    model.save(str(place))
    Classifier.fit(model, TEXTS, LABELS).save(place)
    return str(place)


@pytest.fixture
def command():
    def run(*arguments: object, given: str | None = None) -> tuple[int, str]:
        done = CliRunner().invoke(main, list(map(str, arguments)), input=given)
        assert done.exception is None or isinstance(done.exception, SystemExit), "a traceback reached the user"
        return done.exit_code, done.output

    return run


def rows_of(said: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(said)))


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".txt", "-"])
def test_each_text_gets_its_label_and_keeps_its_other_columns(command, folder, tmp_path, ending):
    texts = ["radiator is cold", "the elevator is stuck; again"]
    file, given = tmp_path / f"texts{ending}", None
    if ending == ".csv":
        file.write_text("id;message\n" + "".join(f'{i};"{t}"\n' for i, t in enumerate(texts)))
    elif ending == ".jsonl":
        file.write_text("".join(json.dumps({"id": i, "message": t}) + "\n" for i, t in enumerate(texts)))
    else:
        file, given = ("-", "\n".join(texts)) if ending == "-" else (file, None)
        if ending == ".txt":
            file.write_text("\n".join(texts))
    status, said = command("predict", folder, file, given=given)
    classifier = Classifier.load(folder)
    assert status == 0
    told = rows_of(said)
    assert [row["predicted"] for row in told] == classifier.predict(texts)
    assert [float(row["probability"]) for row in told] == pytest.approx(
        classifier.predict_proba(texts).max(axis=1), abs=1e-4
    )
    if ending in (".csv", ".jsonl"):
        assert [(row["id"], row["message"]) for row in told] == [("0", texts[0]), ("1", texts[1])]


def test_below_the_threshold_nothing_is_said(command, folder, tmp_path):
    (tmp_path / "a.txt").write_text("radiator is cold\n")
    assert rows_of(command("predict", folder, tmp_path / "a.txt", "--threshold", 1)[1])[0]["predicted"] == ""


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_file_is_written_whole_in_its_form(command, folder, tmp_path, ending):
    (tmp_path / "a.txt").write_text("radiator is cold\nkey\n")
    out = tmp_path / f"out{ending}"
    status, said = command("predict", folder, tmp_path / "a.txt", "--out", out)
    assert (status, said) == (0, f"{out}: 2 texts, labelled by {folder}\n")
    lines = out.read_text().splitlines()
    told = [json.loads(line) for line in lines] if ending == ".jsonl" else rows_of(out.read_text())
    assert [row["text"] for row in told] == ["radiator is cold", "key"]


def test_what_to_label_next_is_what_python_says(command, folder, tmp_path):
    texts = ["radiator is cold", "the elevator is stuck", "hm", "it", "my key", "a lift and a key"]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    status, said = command("predict", folder, tmp_path / "a.txt", "--label-next", 3)
    assert status == 0
    assert [row["text"] for row in rows_of(said)] == [texts[i] for i in Classifier.load(folder).label_next(texts, 3)]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("a,b\n1,2\n", [], "Columns found: a, b. Which one is the text? Say --text NAME."),
        ("a,text\n1,2\n", ["--text", "c"], "has no column 'c'. Columns found: a, text."),
        ("a,text\n1,\n2,x\n", [], "1 rows have no text in 'text' (rows 1)"),
        ("text,predicted,probability\nx,a,1\n", [], "has a column predicted and a column probability already"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(command, folder, tmp_path, content, options, said):
    (tmp_path / "texts.csv").write_text(content)
    status, told = command("predict", folder, tmp_path / "texts.csv", *options)
    assert status == 1
    assert said in told


def test_cells_that_are_no_text_are_named(command, folder, tmp_path):
    rows = [{"text": "my key"}, {"text": ["a", "b"]}, {"text": "\ud800"}]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    status, told = command("predict", folder, tmp_path / "texts.jsonl")
    assert status == 1
    assert "1 rows hold no text but a list or an object in 'text' (rows 2)" in told
    assert "1 rows hold half a character in 'text' (rows 3)" in told


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_no_column_is_lost_that_later_rows_have(command, folder, tmp_path, ending):
    rows = [{"text": "my key"}, {"text": "the lift", "note": "keep \ud800 me"}]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / f"out{ending}"
    assert command("predict", folder, tmp_path / "texts.jsonl", "--out", out)[0] == 0
    text = out.read_text(encoding="utf-8")
    told = [json.loads(line) for line in text.splitlines()] if ending == ".jsonl" else rows_of(text)
    assert told[1]["note"] == ("keep \ud800 me" if ending == ".jsonl" else "keep \\ud800 me")
    assert told[0].get("note", "") == ""


def test_a_question_of_other_bytes_is_refused(command, documents):
    status, told = command("search", "embedded:wordllama-256", documents, "caf\udcff")
    assert (status, "Write it in UTF-8" in told) == (1, True)


def test_a_model_that_is_not_there_or_has_no_classifier_is_named(command, tmp_path, results):
    (tmp_path / "a.txt").write_text("key\n")
    assert "There is no model folder and no run 'nowhere'" in command("predict", "nowhere", tmp_path / "a.txt")[1]
    assert "left a model" in command("predict", "latest", tmp_path / "a.txt")[1]
    said = command("predict", tmp_path, tmp_path / "a.txt")[1]
    assert "holds no classifier" in said
    assert "evaluate run" in said


@pytest.fixture
def documents(tmp_path):
    place = tmp_path / "docs"
    (place / "deep").mkdir(parents=True)
    (place / "heat.md").write_text("# Heating\n\nThe radiator stays cold:\nopen the valve.\n\nCall the plumber.\n")
    (place / "deep" / "keys.csv").write_text("id,text\n1,A second key costs ten euros.\n2,The lock is oiled in May.\n")
    return place


def test_a_question_finds_the_passage_with_its_place(command, folder, documents):
    status, said = command("search", folder, documents, "my radiator is cold", "--top", 2)
    assert status == 0
    first = said.splitlines()[0]
    assert first.endswith(f"{documents}/heat.md:3  The radiator stays cold: open the valve. Call the plumber.")
    found = command("search", folder, documents, "what does a second key cost", "--json")[1]
    (best, *_) = json.loads(found)
    assert (best["text"], best["line"], best["file"]) == (
        "A second key costs ten euros.", 1, f"{documents}/deep/keys.csv"
    )  # fmt: skip


def test_search_is_the_cosine_of_query_and_documents(wordllama, tmp_path):
    texts = ["a key", "no warm water", "a key", "the lift is out of order"]
    hits = search(VectorCache(WORDLLAMA, folder=tmp_path), texts, "the lift", top=9)
    vectors = wordllama.encode([*texts, "the lift"], normalize_embeddings=True)
    wanted = vectors[:4] @ vectors[4]
    assert [hit.place for hit in hits] == [3, *sorted([0, 1], key=lambda i: -wanted[i])]
    assert [hit.score for hit in hits] == pytest.approx(np.sort(wanted[[0, 1, 3]])[::-1], abs=1e-5)


def test_a_folder_without_texts_and_an_empty_question_are_named(command, folder, tmp_path):
    (tmp_path / "picture.png").write_bytes(b"x")
    assert "holds no file of the kinds" in command("search", folder, tmp_path, "key")[1]
    (tmp_path / "a.txt").write_text("key")
    assert "The question is empty" in command("search", folder, tmp_path, " ")[1]


class Row:
    def __init__(self, difference: float, low: float, high: float) -> None:
        self.difference, self.low, self.high = difference / 100, low / 100, high / 100


@pytest.mark.parametrize(
    ("difference", "low", "high", "word"),
    [
        (-2, -3, -1, "worse"),
        (-0.4, -0.6, -0.2, "open"),  # shown, and less than allowed; more is not ruled out
        (-0.3, -0.4, -0.2, "held"),
        (-2, -5, 1, "open"),
        (1, -0.2, 2, "held"),
        (float("nan"), float("nan"), float("nan"), "open"),
    ],
)
def test_worse_is_what_is_shown_and_more_than_allowed(difference, low, high, word):
    assert judged(Row(difference, low, high), 0.5) == word


@pytest.mark.slow
def test_a_check_fails_where_a_model_got_worse(command, tmp_path, results):
    """Half of a model's vectors turned into noise: worse; the model itself: held."""
    import torch

    status, said = command(
        "run", "evaluate", "-p", "model", WORDLLAMA, "-p", "baseline", WORDLLAMA, "-p", "guards", "[]"
    )
    assert status == 0, said
    (run,) = [p.name for p in results.iterdir() if p.name.startswith("evaluate-")]
    broken = open_model(WORDLLAMA, device="cpu")
    with torch.no_grad():
        weight = broken[0].embedding.weight
        weight += 3 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    broken.save(str(tmp_path / "broken"))
    status, said = command("check", tmp_path / "broken", "--against", "latest")
    assert (status, "WORSE" in said) == (3, True), said
    status, said = command("check", WORDLLAMA, "--against", run[:-3])
    assert (status, "WORSE" in said) == (0, False), said


def test_a_check_reads_the_files_as_the_earlier_evaluation_did(monkeypatch, results):
    """The same share of a file, its columns and its prompts; other models, and no candidates."""
    from helpers.report_runs import comparison_row, evaluate

    from gisttools.workflow import using

    told = {
        "files": ["t.csv"],
        "text_column": "words",
        "test_share": 0.2,
        "query_prompt": "q: ",
        "references": ["bm25"],
    }
    before = evaluate(results, [comparison_row()], ["finetune-1"], parameters={"model": "old", **told})
    given = {}

    def run_notebook(verb, parameters):
        given.update(parameters)
        return using.open_run(before)

    monkeypatch.setattr(using, "run_notebook", run_notebook)
    found = using.check_against("new", str(before), 0.5)
    assert {name: given.get(name) for name in told} == told | {"references": None}
    assert (given["model"], given["baseline"], given["candidates"]) == ("new", "old", False)
    assert (found.before, found.against.id) == ("old", found.run.id)
    (note,) = found.notes  # what the new run calls the baseline's score is not what the old one's model had
    assert "so the texts, or what computes the scores, changed since" in note


def test_a_check_refuses_texts_that_the_earlier_model_was_trained_on(monkeypatch, results, make_run, tmp_path):
    from helpers.report_runs import comparison_row, evaluate

    from gisttools.data.triplets import make_triplets, write_triplets
    from gisttools.workflow import using

    texts = [{"text": f"a text {i}", "label": "ab"[i % 2]} for i in range(40)]
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in texts))
    rows = [{"anchor": texts[i]["text"], "positive": texts[i + 2]["text"]} for i in range(38)]
    table = write_triplets(make_triplets(rows), tmp_path / "t.parquet")
    tuned = make_run("finetune", triplets=[str(table)], student=WORDLLAMA, files=[("model/config.json", b"{}")])
    before = evaluate(
        results, [comparison_row()], [], parameters={"model": tuned.name, "files": [str(file)], "test_share": 0.2}
    )
    monkeypatch.setattr(using, "run_notebook", lambda *_: pytest.fail("it was scored all the same"))
    with pytest.raises(DataError, match="test text"):
        using.check_against(WORDLLAMA, str(before), 0.5)
