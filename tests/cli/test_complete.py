"""What Tab offers, in the shells' own protocol and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from gisttools.cli.main import main
from gisttools.workflow.session import new_folder

SCRIPT = Path(sys.executable).with_name("gisttools")


def offered(*words: str) -> list[str]:
    """What is offered for the last word."""
    complete = ShellComplete(main, {}, "gisttools", "_GISTTOOLS_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ru"], ["run", "runs"]),
        (["run", "fin"], ["finetune"]),
        (["run", "gui"], ["guided_vs_unguided"]),
        (["run", "co"], ["convert", "cost_to_gain", "compare", "cost_to_gain"]),
        (["runs", "ev"], ["evaluate"]),
        (["parameters", "rep"], ["report"]),
        (["run", "cost_to_gain.yaml", "--profile", "s"], ["smoke"]),
        (["run", "finetune", "-p", "learning"], ["learning_rate"]),
        (["run", "3_finetune", "--parameter", "learning"], ["learning_rate"]),
        (["run", "notebooks/3_finetune.ipynb", "-p", "learning"], ["learning_rate"]),
        (["run", "finetune", "-p", "epochs", "3", "-p", "learning"], ["learning_rate"]),
        (["run", "-p", "learning"], ["learning_rate"]),
        (["run", "quickstart", "-p", "finetune.learning"], ["finetune.learning_rate"]),
        (["run", "quickstart", "-p", "learning"], []),
        (["run", "finetune", "-p", "mask_same_label", ""], ["true", "false"]),
        (["run", "convert", "-p", "strategy", "h"], ["hard"]),
        (["run", "quickstart", "-p", "convert.strategy", ""], ["gistembed", "hard"]),
        (["runs", "convert", "-p", "strat"], ["strategy"]),
        (["runs", "--status", "un"], ["unfinished"]),
        (["clean", "--only", ""], ["unfinished", "failed", "superseded"]),
        (["new", "task", "x", "--kind", "re"], ["retrieval", "reranking"]),
    ],
)
def test_words_are_offered_where_they_belong(words, expected):
    assert offered(*words) == expected


@pytest.fixture
def ids(results):
    """Three runs: a name is enough, whatever became of it."""
    for verb, day in (("convert", 1), ("finetune", 3), ("convert", 2)):
        (results / f"{verb}-2026010{day}T000000Z-00000000").mkdir()
    return [f"{verb}-2026010{day}T000000Z-00000000" for verb, day in (("finetune", 3), ("convert", 2), ("convert", 1))]


@pytest.mark.parametrize("verb", ["show", "clean", "verify", "compare"])
def test_runs_are_offered_newest_first(ids, results, verb):
    (results / "convert-mine").mkdir()
    assert offered(verb, "") == ["latest", *ids]
    assert offered(verb, ids[0], "conv") == (ids[1:] if verb != "show" else [])


@pytest.mark.parametrize(
    "words", [["show", ""], ["run", "broken.yaml", "--profile", ""], ["run", "broken.yaml", "-p", ""]]
)
def test_what_cannot_be_read_offers_nothing_and_says_nothing(tmp_path, monkeypatch, capfd, words):
    (tmp_path / "broken.yaml").write_text("steps: [")
    (tmp_path / "gisttools.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GISTTOOLS_RESULTS", str(tmp_path / "nowhere"))
    assert offered(*words) in ([], ["latest"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'gisttools'; from gisttools.cli.main import main; main()"],
        env=os.environ | {"_GISTTOOLS_COMPLETE": f"{shell}_source"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"_GISTTOOLS_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.skipif(not shutil.which("bash") or not SCRIPT.exists(), reason="needs bash and the installed command")
def test_a_real_bash_completes(results):
    folder = new_folder("convert", "f" * 64)
    script = f"""
        PATH={SCRIPT.parent}:$PATH
        eval "$(_GISTTOOLS_COMPLETE=bash_source gisttools)"
        COMP_WORDS=(gisttools show conv) COMP_CWORD=2
        _gisttools_completion gisttools; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (folder.name, "")
