"""Builds the documentation site into `site/`: `make site`, or `python docs/build.py [--no-execute]`.

Its pages are `docs/*.md` as they stand. Beside them come a few of other folders (`BESIDE`), notebooks, executed here,
and what is made of the code: the help of every command, and the rooms' public names with their docstrings. All of it is
put together in `.site/`, where links between files become links between pages; Zensical then builds strictly, so that a
link or an anchor that leads nowhere ends the build. `zensical.toml` holds the order of the pages.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STAGED = ROOT / ".site"
BESIDE = {
    "prompts/README.md": "prompts.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/README.md": "examples/runs.md",
    "notebooks/recipes/gistembed_paper.md": "gistembed_paper.md",
    "CONTRIBUTING.md": "contributing.md",
    "AGENTS.md": "working_on_it.md",
    "CHANGELOG.md": "changelog.md",
}
NOTEBOOKS = {
    "notebooks/0_how_gist_works.ipynb": "how_gist_works.md",
    "notebooks/2_convert.ipynb": "convert.md",
}
COMMANDS, API = "command_line.md", "api.md"  # made of the code
ROOMS = ("data", "mining", "models", "training", "synthesis", "evaluation", "report", "workflow", "common")
UNSEARCHED = (
    "changelog.md",
    "rooms.md",
)  # and API pages: they name everything, and would stand before what explains it
_UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
_LINK = re.compile(r"\]\(([^)#:\s]+\.(?:md|ipynb))(#[^)\s]*)?\)")
_CELLS = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_MATHS = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)
_PLAIN = "Not executed: this site was built with `--no-execute`."


def sources() -> dict[str, str]:
    """Path in the repository of every page that is written by hand -> path of the page."""
    return {f"docs/{p.name}": p.name for p in sorted((ROOT / "docs").glob("*.md"))} | BESIDE | NOTEBOOKS


def pages() -> list[str]:
    """Paths of all pages, those included that are made of the code."""
    return [*sources().values(), COMMANDS, API, *(f"api/{room}.md" for room in ROOMS)]


def relinked(text: str, source: str, page: str) -> str:
    """A file's text with links to other files of the repository made links to their pages, and `\\|`, which
    GitHub wants in a table's code, made the bar that it stands for.

    Raises:
        ValueError: a link leads to a file that is no page.
    """
    known = sources()

    def to_page(match: re.Match[str]) -> str:
        target = os.path.normpath(PurePosixPath(source).parent / match[1]).replace(os.sep, "/")
        if target not in known:
            raise ValueError(f"{source} links to {match[1]}, which is no page; add it to BESIDE in docs/build.py.")
        return f"]({os.path.relpath(known[target], PurePosixPath(page).parent)}{match[2] or ''})".replace(os.sep, "/")

    text = _CELLS.sub(lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), text)
    return _LINK.sub(to_page, text)


def with_mathml(text: str) -> str:
    """Formulas in the browser's own language, so that no page needs a script or a network for them."""
    from latex2mathml.converter import convert

    def formula(match: re.Match[str]) -> str:
        # a span, or Markdown would make a paragraph of a formula that begins a line
        return convert(match[1], display="block") if match[1] else f"<span>{convert(match[2])}</span>"

    return _MATHS.sub(formula, text)


def executed(path: Path) -> Any:
    """A notebook with its outputs; what its run leaves goes into a folder that is deleted."""
    import papermill

    with tempfile.TemporaryDirectory(prefix="gisttools-site-") as scratch:
        os.environ["GISTTOOLS_RESULTS"] = scratch
        return papermill.execute_notebook(path, Path(scratch) / "out.ipynb", cwd=str(ROOT), progress_bar=False)


def notebook_page(source: str, page: str, execute: bool) -> None:
    """A notebook as Markdown next to its pictures."""
    import nbformat
    from nbconvert import MarkdownExporter

    notebook = executed(ROOT / source) if execute else nbformat.read(ROOT / source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_mathml(cell.source.replace("<details>", '<details markdown="1">'))
        else:
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    folder = Path(page).stem + "_files"
    text, resources = MarkdownExporter().from_notebook_node(
        notebook, {"output_files_dir": folder, "unique_key": Path(page).stem}
    )
    for name, content in resources["outputs"].items():
        (STAGED / name).parent.mkdir(exist_ok=True)
        (STAGED / name).write_bytes(content)
    text = re.sub(r"<style scoped>.*?</style>", "", text, flags=re.DOTALL)
    text = text.replace("<th></th>", "<td></td>")  # the corner of a table is no heading
    text = re.sub(r"[^\s\"'<>]*gisttools-site-\w+", "results", text).replace(f"{ROOT}{os.sep}", "")  # nobody's folders
    how = f"Executed by the build of this page. Open it with `make lab`: `{source}`." if execute else _PLAIN
    title, _, rest = text.lstrip().partition("\n")
    (STAGED / page).write_text(f"{title}\n\n*{how}*\n{rest}", encoding="utf-8")


def commands_page() -> str:
    """The help of the command and of all its subcommands, as they print it."""
    import click

    from gisttools.cli.main import main

    def helps(command: click.Command, name: str, parent: click.Context | None) -> list[str]:
        context = click.Context(command, info_name=name, parent=parent, max_content_width=100)
        found = [f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"]
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                found += helps(command.commands[each], each, context)
        return found

    head = "# All commands\n\nWhat `gisttools COMMAND --help` prints. How they are used: [the command](commands.md).\n"
    return "\n".join([head, *helps(main, "gisttools", None)])


def public(room: str) -> dict[str, dict[str, str]]:
    """Module -> name -> first line of its docstring: functions and classes that a room's `__init__.pyi` lists."""
    found: dict[str, dict[str, str]] = {}
    folder = ROOT / "gisttools" / room
    for node in ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            path = folder.joinpath(*node.module.split("."))
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            body = ast.parse(file.read_text(encoding="utf-8")).body
            defined = {n.name: n for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
            docs = {a.name: ast.get_docstring(defined[a.name]) or "" for a in node.names if a.name in defined}
            found[node.module] = {name: doc.partition("\n\n")[0].replace("\n", " ") for name, doc in docs.items()}
    return {module: names for module, names in found.items() if names}


def api_index() -> str:
    """All public names on one page, which is what a search finds of them."""
    text = [
        "# Python API\n\nEvery public name, by room: `from gisttools.ROOM import NAME`. "
        "[In Python](python.md) shows them at work.\n"
    ]
    for room in ROOMS:
        text.append(f"## {room}\n\n| name | what it is |\n| --- | --- |")
        for module, names in public(room).items():
            for name, doc in names.items():
                cell = doc.replace("|", "\\|")
                text.append(f"| [`{name}`](api/{room}.md#gisttools.{room}.{module}.{name}) | {cell} |")
        text.append("")
    return "\n".join(text)


def api_page(room: str) -> str:
    """A room's public names with their docstrings, module by module."""
    about = "    options:\n      members: false\n      show_root_heading: false\n"
    text = [f"{_UNSEARCHED}# gisttools.{room}\n\n::: gisttools.{room}\n{about}"]
    for module, names in public(room).items():
        text += [f"## {module}\n", *(f"::: gisttools.{room}.{module}.{name}\n" for name in names)]
    return "\n".join(text)


def stage(execute: bool) -> None:
    """Everything that Zensical reads, in `.site/`."""
    shutil.rmtree(STAGED, ignore_errors=True)
    (STAGED / "api").mkdir(parents=True)
    for file in (ROOT / "docs").iterdir():
        if file.suffix in (".png", ".css", ".js"):
            shutil.copy(file, STAGED)
    for file in sorted((ROOT / "examples").glob("*/report.html")):
        (STAGED / "examples" / file.parent.name).mkdir(parents=True)
        shutil.copy(file, STAGED / "examples" / file.parent.name)
    for source, page in sources().items():
        if source in NOTEBOOKS:
            notebook_page(source, page, execute)
            continue
        text = relinked((ROOT / source).read_text(encoding="utf-8"), source, page)
        (STAGED / page).write_text(_UNSEARCHED * (page in UNSEARCHED) + text, encoding="utf-8")
    (STAGED / COMMANDS).write_text(commands_page(), encoding="utf-8")
    (STAGED / API).write_text(api_index(), encoding="utf-8")
    for room in ROOMS:
        (STAGED / "api" / f"{room}.md").write_text(api_page(room), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the documentation site into site/.")
    parser.add_argument("--no-execute", action="store_true", help="show notebooks without outputs; takes seconds")
    execute = not parser.parse_args().no_execute
    stage(execute)
    done = subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    print(f"{ROOT / 'site' / 'index.html'}; with its search: python -m http.server --directory site")


if __name__ == "__main__":
    main()
