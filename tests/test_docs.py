"""What README and docs tell people to type exists; their links lead somewhere; the reference is up to date."""

import re
import shlex

import click
import pytest
import yaml
from helpers import ROOT

from gisttools.cli.main import main
from gisttools.data.triplets import COLUMNS
from gisttools.workflow.params import VERBS
from gisttools.workflow.reference import TRIPLET_COLUMNS, reference, rooms

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [
    ROOT / "prompts" / "README.md",
    ROOT / "benchmarks" / "README.md",
    *(ROOT / "notebooks" / "recipes").glob("*.md"),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


def commands(page):
    for block in re.findall(r"```(?:\w*)\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("gisttools "):
                yield shlex.split(line, comments=True)[1:]


def steps_of(what):
    verb = re.sub(r"^\d_", "", what)
    if verb in VERBS:
        return verb, None
    file = ROOT / "notebooks" / "recipes" / f"{what}.yaml"
    if not file.exists():
        return None, None
    return None, {step["name"]: step["verb"] for step in yaml.safe_load(file.read_text("utf-8"))["steps"]}


def inputs_of(recipe):
    return yaml.safe_load((ROOT / "notebooks" / "recipes" / f"{recipe}.yaml").read_text("utf-8")).get("inputs", {})


def wrong_with(words):
    group = command = main
    while isinstance(command, click.Group) and words:
        name, *words = words
        group, command = command, command.get_command(click.Context(command), name)
        if command is None:
            return f"no command {name!r} in {group.name}"
    if not isinstance(command, click.Group):
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"-h", "--help"}
        unknown = [w for w in words if re.match(r"--?[a-z]", w) and w.partition("=")[0] not in known]
        if unknown:
            return f"no option {unknown}"
    if command.name == "run" and re.fullmatch(r"\w+", words[0]):
        verb, steps = steps_of(words[0])
        names = [words[i + 1] for i, word in enumerate(words) if word in ("-p", "--parameter")]
        if verb is None and steps is None:
            return f"no notebook or recipe {words[0]!r}"
        for name in names:
            if "." not in name and steps is not None and name in inputs_of(words[0]):
                continue
            step, _, parameter = name.rpartition(".")
            step_verb = verb or steps.get(step)
            if step_verb is None or parameter not in VERBS[step_verb].model_fields:
                return f"no parameter {name!r}"
    return None


@each_page
def test_every_command_on_a_page_exists_with_its_options_and_parameters(page):
    assert [(words, wrong) for words in commands(page) if (wrong := wrong_with(words))] == []


def test_a_wrong_command_would_be_seen():
    for words in ("rn quickstart", "run quickstrt", "run finetune -p epoch 3", "run quickstart -p finetun.epochs 3",
                  "run quickstart --fast"):  # fmt: skip
        assert wrong_with(words.split()), words


@each_page
def test_links_between_pages_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_reference_is_what_the_code_says():
    written = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert written == reference(), "python -m gisttools.workflow.reference writes it anew"


def test_the_tree_is_what_the_docstrings_say():
    written = (ROOT / "docs" / "rooms.md").read_text("utf-8")
    assert written == rooms(), "python -m gisttools.workflow.reference writes it anew"


def test_every_column_of_the_triplet_table_is_told():
    assert list(TRIPLET_COLUMNS) == COLUMNS.names
