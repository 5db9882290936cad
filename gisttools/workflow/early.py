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
from gisttools.data import (
    DEV_SPLITS,
    FILE_ENDINGS,
    FileOptions,
    ReadOptions,
    column_names,
    eval_folder,
    file_kind,
    has_split,
    is_lines,
    is_triplet_shaped,
    labelled_columns,
    parse_eval_name,
    shares_of,
    split_file,
)
from gisttools.models import EMBEDDED, EMBEDDED_MODELS
from gisttools.training import missing_tracker
from gisttools.workflow.folders import RUN_ID, as_run
from gisttools.workflow.params import LATEST, Params
from gisttools.workflow.places import resolve

_MODELS = ("student", "guide", "model", "baseline", "references", "soup", "reranker")
_FOLDERS = ("files", "eval_files", "labelled_files")
_SCORED = ("files", "eval_files", "dev")
_READ = ("sources", "labelled_files")
_PLACES = ("data", "decisions", "texts")
_TABLES = ("sources", "triplets", "avoid", "retain", "relabel")
_SCHEMES = (EMBEDDED, "endpoint:", "mteb:", "published:")
_WORDS = ("guide", "bm25", "random", "latest")  # references and runs that are no path


def check_early(verb: str, params: Params) -> None:
    """Refuse parameters that name what is not there.

    Raises:
        MissingError: all that is wrong, at once.
    """
    if error := early_error({verb: params}):
        raise error


def early_error(steps: Mapping[str, Params]) -> MissingError | None:
    """What is wrong with the parameters of some steps, by name; what several have in common is said once."""
    found: dict[str, list[str]] = {}
    for step, params in steps.items():
        for line in early_problems(params.model_dump()):
            found.setdefault(line, []).append(step)
    names = ", ".join(dict.fromkeys(step for several in found.values() for step in several))
    where = f"Paths are seen from {Path.cwd()}, then from the project."
    return MissingError(problems(f"{names}: {len(found)} problem(s)", found, where)) if found else None


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
            elif name in _PLACES and not resolve(one).exists():
                yield f"{name}: there is no file or folder {one}.{_near(one)}"
            elif name == "documents" and as_run(one) is None and not resolve(one).is_file():
                yield f"{name}: {one} is no run of 8_read. Read the documents first: gisttools run read -p data {one}"
    yield from dict.fromkeys([*_labelled(told), *_idle_shares(told)])
    if missing := missing_tracker(told.get("tracking")):
        yield missing


def _texts(value: object) -> list[str]:
    """Names that stand for something here: no step of a recipe, no address, no run, which others look after."""
    values = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str) and v]
    values = [v for v in values if v != LATEST]
    return [v for v in values if not v.startswith("$") and "://" not in v and not RUN_ID.fullmatch(Path(v).name)]


def _model(name: str, value: str) -> Iterator[str]:
    if value.startswith(EMBEDDED) and value not in EMBEDDED_MODELS:
        yield f"{name}: no embedded model is called {value}.{did_you_mean(value, EMBEDDED_MODELS)} There is: " + (
            f"{', '.join(EMBEDDED_MODELS)}."
        )
    if value.startswith(_SCHEMES) or value in _WORDS or as_run(value) is not None or resolve(value).exists():
        return
    if _is_path(value) or "/" not in value:
        yield f"{name}: there is no model folder {value}.{_near(value)} A model of the hub is named org/name."


def _folder(name: str, value: str) -> Iterator[str]:
    path = resolve(value)
    path = path if path.exists() else resolve(value.rpartition("#")[0] or value)
    if not path.exists():
        what = "file" if file_kind(value) else "folder"
        yield f"{name}: there is no {what} {value}.{_near(value)}"
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


def _labelled(told: Mapping[str, Any]) -> Iterator[str]:
    """What the first rows say of files of labelled texts: columns that are not there, a test part that is missing."""
    reading = FileOptions(**{name: told[name] for name in FileOptions.model_fields if name in told})
    for name in _SCORED:
        for value in _existing(told.get(name)):
            try:
                path, _ = parse_eval_name(value)
                split = "test" if name != "dev" else next((s for s in DEV_SPLITS if has_split(path, s)), "dev")
                if path.is_file() or any(file_kind(p.name) for p in path.rglob("*")):
                    eval_folder(value, split, reading, tell=False)
            except GistError as error:
                said = str(error)
                yield from [said.replace("\n", "\n    ")] if "\n  - " in said else said.splitlines()
    split = told.get("split") or ReadOptions.defaults()["split"]
    for value in [value for name in _READ for value in _existing(told.get(name))]:
        try:
            yield from _columns(Path(value), split, reading)
        except GistError as error:
            yield first_line(error)


def _columns(path: Path, split: str, reading: FileOptions) -> Iterator[str]:
    if path.is_dir():
        file = split_file(path, "train" if split in shares_of(path, reading) else split)
    else:
        file = path if file_kind(path.name) else None
    if file is None or not file.is_file():
        return  # the step itself knows
    columns = column_names(file, reading.encoding)
    _, wrong = labelled_columns(file, columns, reading.text_column, reading.label_column)
    if wrong and (reading.text_column or reading.label_column or not is_triplet_shaped(columns)):
        yield from wrong


def _idle_shares(told: Mapping[str, Any]) -> Iterator[str]:
    """Shares of files that all have a file of their own for that split."""
    reading = FileOptions(**{f"{split}_share": told.get(f"{split}_share") for split in ("test", "dev")})
    values = [value for name in ("sources", *_SCORED, "labelled_files") for value in _existing(told.get(name))]
    paths = list(dict.fromkeys(parse_eval_name(value)[0] for value in values))
    for split, share in reading.shares.items():
        if paths and not any(split in shares_of(path, reading) for path in paths):
            yield f"{split}_share is {share}, but {', '.join(map(str, paths))} has a {split} file. Leave it out."


def _existing(value: object) -> list[str]:
    """The files and folders that there are, with a kind behind them if there is one."""
    found = []
    for one in _texts(value):
        folder, mark, kind = one.rpartition("#")
        if resolve(one).exists():
            found.append(str(resolve(one)))
        elif mark and resolve(folder).exists():
            found.append(f"{resolve(folder)}#{kind}")
    return found


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
