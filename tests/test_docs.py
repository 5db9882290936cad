"""What README and docs tell people to type exists; their links lead somewhere; the reference is up to date."""

import importlib.util
import posixpath
import re
import shlex
import tomllib

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


def anchors(page):
    """What a page's headings are called in a link."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@each_page
def test_links_between_pages_lead_to_files_and_headings(page):
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text("utf-8"))
    assert [link for link, _ in links if not (page.parent / link).exists()] == []
    named = [(link, anchor) for link, anchor in links if anchor]
    assert [
        (link, anchor) for link, anchor in named if anchor not in anchors(page.parent / link if link else page)
    ] == []


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_docs", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(entry):
    """The pages of an entry of the site's order, as they come."""
    for below in entry.values() if isinstance(entry, dict) else entry:
        yield from [below] if isinstance(below, str) else listed(below)


def test_the_site_lists_every_page_once(build):
    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    assert sorted(listed(nav)) == sorted(build.pages())


def test_the_site_has_a_page_for_every_room_that_has_public_names(build):
    rooms = {p.parent.name for p in (ROOT / "gisttools").glob("*/__init__.pyi") if p.read_text("utf-8").strip()}
    assert set(build.ROOMS) == rooms - {"cli"}
    assert "read_triplets" in build.public("data")["triplets"]


def test_links_of_the_site_lead_to_its_pages(build):
    for source, page in build.sources().items():
        if source.endswith(".md"):
            links = re.findall(r"\]\(([^)#:]+\.md)", build.relinked((ROOT / source).read_text("utf-8"), source, page))
            led = [posixpath.normpath(posixpath.join(posixpath.dirname(page), link)) for link in links]
            assert [link for link in led if link not in build.pages()] == [], source
    with pytest.raises(ValueError, match="is no page"):
        build.relinked("[licence](../LICENSE.md)", "docs/data.md", "data.md")


def test_the_reference_is_what_the_code_says():
    written = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert written == reference(), "python -m gisttools.workflow.reference writes it anew"


def test_the_tree_is_what_the_docstrings_say():
    written = (ROOT / "docs" / "rooms.md").read_text("utf-8")
    assert written == rooms(), "python -m gisttools.workflow.reference writes it anew"


def test_every_column_of_the_triplet_table_is_told():
    assert list(TRIPLET_COLUMNS) == COLUMNS.names
