"""Says what is wrong with the parameters of a step before anything slow starts: files, folders, models that are not
there, columns that a file does not have. It loads no library that takes a second, and looks at no more than a file's
beginning.

What only a network, a model or a whole file can tell is left to the step itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gisttools.common import GistError, MissingError, did_you_mean, first_line, problems
from gisttools.data import FILE_ENDINGS, column_names, file_kind, is_lines
from gisttools.workflow.folders import RUN_ID, as_run
from gisttools.workflow.params import Params
from gisttools.workflow.places import resolve

_MODELS = ("student", "guide", "model", "baseline", "references")
_FOLDERS = ("files", "eval_files", "labelled_files")
_TABLES = ("sources", "triplets", "avoid", "retain")
_SCHEMES = ("embedded:", "endpoint:", "mteb:", "published:")
_WORDS = ("guide", "bm25", "random", "latest")  # references and runs that are no path


def check_early(verb: str, params: Params) -> None:
    """Refuse parameters that name what is not there.

    Raises:
        MissingError: all that is wrong, at once.
    """
    found = list(early_problems(params.model_dump()))
    if found:
        where = f"Paths are seen from {Path.cwd()}, then from the project."
        raise MissingError(problems(f"{verb}: {len(found)} problem(s)", found, where))


def early_problems(told: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong, a line each. `$name`, which stands for the run of a step, is passed over."""
    for name, value in told.items():
        for one in _texts(value):
            if name in _MODELS:
                yield from _model(name, one)
            elif name in _FOLDERS:
                yield from _folder(name, one)
            elif name in _TABLES:
                yield from _table(name, one)
    yield from _columns(told)


def _texts(value: object) -> list[str]:
    """Names that stand for something here: no step of a recipe, no address, no run, which others look after."""
    values = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str) and v]
    return [v for v in values if not v.startswith("$") and "://" not in v and not RUN_ID.fullmatch(Path(v).name)]


def _model(name: str, value: str) -> Iterator[str]:
    if value.startswith(_SCHEMES) or value in _WORDS or as_run(value) is not None or resolve(value).exists():
        return
    if _is_path(value) or "/" not in value:
        yield f"{name}: there is no model folder {value}.{_near(value)} A model of the hub is named org/name."


def _folder(name: str, value: str) -> Iterator[str]:
    path = resolve(value)
    path = path if path.exists() else resolve(value.rpartition("#")[0] or value)
    if not path.exists():
        yield f"{name}: there is no folder {value}.{_near(value)}"
    elif path.is_dir() and not any(file_kind(p.name) for p in path.rglob("*") if p.is_file()):
        yield f"{name}: {value} holds no file of the kinds {', '.join(FILE_ENDINGS)}."


def _table(name: str, value: str) -> Iterator[str]:
    if as_run(value) is not None or resolve(value).exists():
        return
    file = value.rpartition(":")[0] if name == "retain" else value  # a column may stand behind
    if file and resolve(file).exists():
        return
    if _is_path(file or value):
        yield f"{name}: there is no file or folder {value}.{_near(value)}"
    elif "/" not in value and (name != "sources" or (value == value.lower() and "_" not in value)):
        yield f"{name}: {value} is no file, folder or run here.{_near(value)} A set of the hub is named org/name."


def _columns(told: Mapping[str, Any]) -> Iterator[str]:
    """Columns that a file of labelled texts was said to have, and does not."""
    wanted = {name: told[name] for name in ("text_column", "label_column") if told.get(name)}
    for source in _texts(told.get("sources")):
        path = resolve(source)
        if not path.is_file() or not file_kind(path.name):
            continue
        try:
            columns = [str(c) for c in column_names(path, told.get("encoding"))]
        except GistError as error:
            yield f"sources: {first_line(error)}"
            continue
        for name, column in wanted.items():
            if column not in columns:
                yield (
                    f"{name}: {source} has no column {column!r}.{did_you_mean(column, columns)} Columns found: "
                    f"{', '.join(columns)}. Which one is the {name.removesuffix('_column')}?"
                )


def _is_path(value: str) -> bool:
    """Whether a name can only be that of a file or folder here: hub names have one slash, and no ending of data."""
    name = value.split("#")[0].split("@")[0]
    shaped = name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    return bool(file_kind(name)) or is_lines(name) or shaped or ("/" in name and resolve(name.split("/")[0]).is_dir())


def _near(value: str) -> str:
    """Names beside it that are alike."""
    path = Path(value).expanduser()
    return did_you_mean(path.name, _names(resolve(path.parent)))


def _names(folder: Path) -> Iterable[str]:
    try:
        return [p.name for p in folder.iterdir()]
    except OSError:
        return []
