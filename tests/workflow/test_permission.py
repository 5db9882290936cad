"""Texts that leave this machine: nothing arrives before somebody said yes, and every run asks that could send any.

The server is on this machine under a name (127.1) that is not known as such, as a private network's would not be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import papermill
import pytest
from click.testing import CliRunner
from helpers import ROOT
from helpers.server import Server, completion, embeddings
from helpers.small_project import make_project, make_recipe

from gisttools.cli import asking as terminal
from gisttools.cli.main import main
from gisttools.common import ParameterError, hosts_elsewhere, read_run
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.params import check_params
from gisttools.workflow.permission import asking, leaving, may_send
from gisttools.workflow.recipes import read_recipe
from gisttools.workflow.schedule import preview, run_recipe, sweep
from gisttools.workflow.single import run_single
from gisttools.workflow.spec import spec_hash

TEXTS = ["my parcel is late, write to me@here.example", "the parcel came", "it drips", "water everywhere"]
SENDS = "run.guide().embed(['my parcel is late, write to me@here.example'])"
REFUSED = r"4 different texts would go to 127\.1\. In them: 1 e-mail address .*\n.*send_texts true"


@pytest.fixture
def server(monkeypatch):
    """An endpoint that does embeddings, elsewhere as far as is known."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("OPENAI_API_KEY", "none-needed")
    with Server(lambda _, body: embeddings([[1.0, 2.0]] * len(body["input"]))) as server:
        server.url = server.url.replace("127.0.0.1", "127.1")
        yield server


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose notebook embeds a text by its guide."""
    monkeypatch.chdir(make_project(tmp_path, SENDS))
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path / "cache"))
    rows = [{"text": text, "label": "parcel" if i < 2 else "water"} for i, text in enumerate(TEXTS)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def with_guide(server, **more):
    return {"sources": ["mine.jsonl"], "eval_files": [], "guide": "endpoint:m", "guide_base_url": server.url} | more


def yes(questions: list[str]):
    return lambda question: questions.append(question) or True


def test_where_nobody_can_be_asked_a_run_is_refused_and_nothing_arrives(server, project, results):
    for start in (
        lambda: run_notebook("convert", with_guide(server)),
        lambda: run_single("convert", with_guide(server), workers=2),
        lambda: sweep([("convert", with_guide(server))], workers=1),
    ):
        with pytest.raises(ParameterError, match=REFUSED):
            start()
    assert server.calls == []
    assert not list(results.glob("convert-*"))


def test_a_no_sends_nothing_and_is_not_remembered(server, project):
    for _ in range(2):
        with asking(lambda _: False), pytest.raises(ParameterError, match=r"You said no: nothing was sent to 127\.1"):
            run_notebook("convert", with_guide(server))
    assert server.calls == []


@pytest.mark.slow
def test_a_yes_is_asked_for_once_and_the_run_says_what_leaves(server, project, capsys):
    questions: list[str] = []
    with asking(yes(questions)):
        run = run_notebook("convert", with_guide(server))
        may_send(check_params("convert", with_guide(server, seed=1)))  # another run, the same texts
    assert len(questions) == 1
    assert "4 different texts would go to 127.1. In them: 1 e-mail address" in questions[0]
    assert len(server.calls) == 1
    log = (run.folder / "log.txt").read_text()
    assert "4 different texts go to 127.1. In them: 1 e-mail address" in log
    assert log.count("go to 127.1") == 1, "and the guide does not say it again"
    assert "4 different texts go to 127.1" in capsys.readouterr().out
    may_send(check_params("convert", with_guide(server, seed=2)))  # and nobody need be there any more


def test_new_texts_are_asked_about_again(server, project):
    questions: list[str] = []
    with asking(yes(questions)):
        may_send(check_params("convert", with_guide(server)))
        with open("mine.jsonl", "a") as file:
            file.write(json.dumps({"text": "a new one", "label": "parcel"}) + "\n")
        may_send(check_params("convert", with_guide(server)))
        may_send(check_params("convert", with_guide(server, guide_base_url="http://another.example/v1")))
    assert len(questions) == 3


@pytest.mark.slow
def test_the_parameter_allows_it_and_changes_nothing_else(server, project):
    run = run_notebook("convert", with_guide(server, send_texts=True))
    assert len(server.calls) == 1
    assert read_run(run.folder).parameters["send_texts"] is True
    again = run_notebook("convert", with_guide(server))
    assert again.id == run.id, "the same work, which is done"
    told = [check_params("convert", with_guide(server, send_texts=said)) for said in (True, False)]
    assert len({spec_hash("convert", params) for params in told}) == 1


@pytest.mark.slow
def test_a_notebook_by_hand_is_refused_too(server, project):
    for said in (False, True):
        call = {"input_path": "notebooks/2_convert.ipynb", "output_path": None, "kernel_name": "python3"}
        given = with_guide(server) | ({"send_texts": True} if said else {})
        if said:
            papermill.execute_notebook(**call, parameters=given, progress_bar=False)
        else:
            with pytest.raises(papermill.PapermillExecutionError, match="send_texts = True"):
                papermill.execute_notebook(**call, parameters=given, progress_bar=False)
            assert server.calls == []
    assert len(server.calls) == 1


@pytest.mark.slow
def test_at_a_terminal_gisttools_run_asks_and_without_one_it_says_what_to_do(server, project, monkeypatch):
    line = ["run", "convert"]
    for name, value in with_guide(server).items():
        line += ["-p", name, json.dumps(value)]
    alone = CliRunner().invoke(main, line)
    assert alone.exit_code == 1
    assert "-p send_texts true" in alone.output
    monkeypatch.setattr(terminal, "_somebody_there", lambda: True)
    asked = CliRunner().invoke(main, line, input="n\n")
    assert "May they be sent? [y/N]" in asked.output
    assert asked.exit_code == 1
    assert server.calls == []
    asked = CliRunner().invoke(main, line, input="y\n")
    assert asked.exit_code == 0, asked.output
    assert len(server.calls) == 1


def test_with_json_nobody_is_asked(server, project, monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda _: True)
    line = ["run", "convert", "--json"]
    for name, value in with_guide(server).items():
        line += ["-p", name, json.dumps(value)]
    told = json.loads(CliRunner().invoke(main, line).stdout)
    assert told["error"] == "ParameterError"
    assert "send_texts" in told["message"]
    assert server.calls == []


@pytest.mark.slow
def test_a_recipe_is_asked_about_before_its_first_step_and_once(server, project):
    steps = {"first": (1, ["mine.jsonl"]), "second": (2, ["mine.jsonl"])}
    path = make_recipe(project, steps)
    told = {f"{s}.{n}": v for s in steps for n, v in with_guide(server).items()}
    with pytest.raises(ParameterError, match=REFUSED):
        run_recipe(path, overrides=told)
    assert server.calls == []
    questions: list[str] = []
    with asking(yes(questions)):
        assert len(run_recipe(path, overrides=told)) == 2
    assert len(questions) == 1


def test_a_recipes_parameter_holds_for_all_steps_that_are_not_skipped(project):
    path = make_recipe(project, {"first": (1, ["x"]), "second": (2, ["x"])})
    content = json.loads(path.read_text()) | {"profiles": {"short": {"skip": ["second"]}}}
    path.write_text(json.dumps(content))
    assert [s.parameters["send_texts"] for s in read_recipe(path, {"send_texts": True}).steps] == [True, True]
    assert [s.name for s in read_recipe(path, {"send_texts": True}, profile="short").steps] == ["first"]
    one = read_recipe(path, {"send_texts": True, "second.send_texts": False}).steps
    assert [s.parameters["send_texts"] for s in one] == [True, False]
    with pytest.raises(ParameterError, match="no input of that name"):
        read_recipe(path, {"send_text": True})


def test_a_preview_says_what_would_leave_and_asks_nobody(server, project):
    recipe = read_recipe(make_recipe(project, {"first": (1, ["mine.jsonl"])}), {
        f"first.{name}": value for name, value in with_guide(server).items()
    })  # fmt: skip
    (found,) = preview(recipe.steps)
    assert "4 different texts would go to 127.1. In them: 1 e-mail address" in found.note
    assert server.calls == []


SUPPORT, DATA = "prompts/tasks/support_intents.yaml", "data/support_intents"
SEVERAL = [{"base_url": f"http://{host}/v1", "model": "m"} for host in ("localhost", "b")]
SERVED = "openai/text-embedding-3-small"
REMOTE = {"llm_base_url": "https://api.openai.com/v1", "llm_model": "m"}


@pytest.mark.parametrize(
    ("verb", "given", "hosts"),
    [
        ("synthesize", {}, []),
        ("synthesize", REMOTE, ["api.openai.com"]),
        ("synthesize", REMOTE | {"llm_mode": "replay"}, []),
        ("synthesize", REMOTE | {"dry_run": True}, ["api.openai.com"]),
        ("synthesize", {"llm_base_url": "http://192.168.0.7:8000/v1"}, ["192.168.0.7"]),
        ("synthesize", {"llm_base_url": "http://localhost:8000/v1"}, []),
        ("synthesize", {"llm_base_url": "http://[::1]:8000/v1"}, []),
        ("synthesize", REMOTE | {"task": "prompts/tasks/retrieval_topics.yaml"}, []),  # nothing of anybody's
        ("synthesize", REMOTE | {"task": "prompts/tasks/retrieval_terms.yaml"}, ["api.openai.com"]),
        ("synthesize", {"llm_endpoints": SEVERAL}, ["b"]),
        ("synthesize", {"guide": "endpoint:m"}, ["api.openai.com"]),
        ("convert", {"guide": "endpoint:m", "guide_base_url": "http://127.0.0.1:1/v1"}, []),
        ("convert", {"guide": "endpoint:m"}, ["api.openai.com"]),
        ("convert", {"guide": "endpoint:m", "sources": ["Banking77Classification"], "eval_files": []}, []),  # public
        ("finetune", {"guide": "endpoint:m", "triplets": [f"{DATA}/triplets.jsonl"]}, ["api.openai.com"]),
        ("finetune", {"triplets": [f"{DATA}/triplets.jsonl"]}, []),
        ("finetune", {"guide": "endpoint:m", "triplets": ["$convert"]}, []),  # asked when it is there
        ("evaluate", {"model": "endpoint:m", "baseline": "bm25"}, ["api.openai.com"]),
        ("evaluate", {"model": "bm25", "baseline": "random", "references": ["endpoint:m"]}, ["api.openai.com"]),
        ("evaluate", {"model": f"mteb:{SERVED}", "baseline": "bm25"}, [f"the provider of {SERVED}"]),
        ("evaluate", {"model": "mteb:sentence-transformers/all-MiniLM-L6-v2", "baseline": "bm25"}, []),
        ("evaluate", {"model": "endpoint:m", "baseline": "bm25", "files": [], "tasks": ["STS17"]}, []),
        ("report", {}, []),
    ],
)  # fmt: skip
def test_what_would_leave_and_where_to(verb, given, hosts):
    assert [host for one in leaving(check_params(verb, given)) for host in one.hosts] == hosts


def test_the_guide_that_an_evaluation_scores_beside_a_training_counts(make_run):
    told = {"guide": "endpoint:m", "guide_base_url": "https://a.example/v1", "student": "embedded:wordllama-256"}
    run = make_run("finetune", files={"model/x": b"1"}, **told)
    given = {"model": run.name, "files": [DATA]}
    assert [one.hosts for one in leaving(check_params("evaluate", given))] == [("a.example",)]
    assert leaving(check_params("evaluate", given | {"candidates": False})) == []


def test_a_dry_run_says_that_it_sends_a_few():
    (one,) = leaving(check_params("synthesize", REMOTE | {"dry_run": True}))
    assert one.words().endswith("A dry run sends a few of them.")


def test_texts_written_elsewhere_leave_only_where_the_llm_looks_again(tmp_path):
    file = tmp_path / "written.jsonl"
    rows = [{"generation": f"text {i} of it", "label": "ab"[i % 2]} for i in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"texts": [str(file)], "rows": None, "eval_files": [], "labelled_files": []}
    assert leaving(check_params("synthesize", given)) == []
    (one,) = leaving(check_params("synthesize", given | REMOTE | {"blind": True}))
    assert set(one.texts) == {row["generation"] for row in rows}


def test_addresses_of_this_machine_and_of_others():
    here = ["http://127.0.0.1:1/v1", "http://LOCALHOST/v1", "http://[::1]/v1", "embedded"]
    assert hosts_elsewhere([*here, "https://user:word@a.example:8/v1", "https://A.example/v2"]) == ("a.example",)


def test_python_is_told_and_not_asked(server, tmp_path):
    """A script that calls the library is its own yes: it hears once what leaves."""
    script = (
        "from gisttools import VectorCache\nfrom gisttools.models import GuideOptions\nfrom pathlib import Path\n"
        f"c = VectorCache(GuideOptions(name='endpoint:m', base_url={server.url!r}), folder=Path({str(tmp_path)!r}))\n"
        "c.embed(['me@here.example']); c.with_prompt('p ').embed(['another'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    told = "1 text goes to 127.1. In them: 1 e-mail address (names are not looked for). More may follow."
    assert [line for line in done.stderr.splitlines() if "127.1" in line] == [told]


def test_generate_tells_before_the_first_call(server, monkeypatch):
    from gisttools.synthesis import LLM, LLMOptions, SynthesisOptions, generate, generation, read_task

    class Guide:
        guide_id, embed = "g", None

    order: list[str] = []
    monkeypatch.setattr("gisttools.data.leaving.notice", order.append)
    monkeypatch.setattr(generation, "Judge", lambda *_: order.append("asks") or 1 / 0)
    llm = LLM(LLMOptions(base_url=server.url, model="m"))
    with pytest.raises(ZeroDivisionError):
        generate(read_task(ROOT / SUPPORT), llm, Guide(), SynthesisOptions(rows=1))
    assert order[0].startswith("56 different texts go to 127.1.")
    assert order[1] == "asks"
    assert server.calls == []


def test_a_synthesis_asks_its_llm_nothing_before_yes(server, project):
    task = (ROOT / SUPPORT).read_text()
    (project / "mine.yaml").write_text(task)
    server._script = lambda *_: completion("{}")
    given = {"task": "mine.yaml", "llm_base_url": server.url, "llm_model": "m", "eval_files": [], "labelled_files": []}
    with pytest.raises(ParameterError, match=r"56 different texts would go to 127\.1"):
        may_send(check_params("synthesize", given))
    assert server.calls == []
