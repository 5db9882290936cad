"""Knows which models bring code of their own, and lets it run only where that was asked for and is pinned.

A model folder or a hub repository may name classes that no library has: in `auto_map` of `config.json` and
`tokenizer_config.json`, or as a module in `modules.json`. The code lies next to it, or in another repository. Opening
such a model runs that code, so its user must say so, and say which commit: a branch may hold other code tomorrow.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gisttools.common import ModelError, ParameterError, problems

log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OPTION = "trust_remote_code"
Trust = bool | Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Code:
    """Code that a model brings: `classes` by name, and the repositories they lie in, "" for the model's own. `needed`:
    no library has classes that would do in their place."""

    classes: tuple[str, ...]
    needed: bool
    homes: frozenset[str]
    commit: str | None = None  # at which the model was looked at, if it is one of the hub


def code_of(name: str, revision: str | None = None) -> Code | None:
    """What code a model folder or hub model brings; None where there is none.

    Raises:
        ModelError: the hub cannot be reached, and has left nothing of the model in its cache.
    """
    from transformers import CONFIG_MAPPING

    files = _Files(name, revision)
    found: list[str] = []
    needed = False
    modules = files.json("modules.json")
    for module in modules if isinstance(modules, list) else ():
        kind = str(module.get("type", ""))
        if not kind.startswith("sentence_transformers."):
            found, needed = [*found, kind], True
    folders = [""] if not isinstance(modules, list) else ["", *(str(m.get("path", "")) for m in modules)]
    for folder in dict.fromkeys(folders):
        for file in ("config.json", "tokenizer_config.json"):
            settings = files.json(f"{folder}/{file}".lstrip("/"))
            own = list(_classes(settings.get("auto_map"))) if isinstance(settings, dict) else []
            found += own
            needed |= bool(own) and file == "config.json" and settings.get("model_type") not in CONFIG_MAPPING
    if files.unknown:
        at = f" at revision {revision}" if revision else ""
        raise ModelError(
            f"Model {name}{at} cannot be loaded: the hub cannot be reached, and nothing of it is in its cache. Check "
            "the spelling and the network, download it first, or use an embedded model or a folder."
        )
    if not found:
        return None
    homes = frozenset(c.partition("--")[0] if "--" in c else "" for c in found)
    return Code(classes=tuple(dict.fromkeys(found)), needed=needed, homes=homes, commit=files.commit)


class _Files:
    """Files of a model folder or hub model. The hub is given up after one failed try: each waits half a minute."""

    def __init__(self, name: str, revision: str | None) -> None:
        self.name, self.revision = name, revision
        self.commit: str | None = None  # that the files are of
        self._here = Path(name).expanduser()
        self._cached_only = False

    @property
    def unknown(self) -> bool:
        """Is nothing known of the model, for the hub is out of reach?"""
        return self._cached_only and self.commit is None

    def json(self, file: str) -> Any:
        """The content of a file; None where there is none or it is no JSON, which whoever opens the model meets again
        and says."""
        path = self._here / file if self._here.is_dir() else self._of_hub(file)
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else None
        except (OSError, ValueError):
            return None

    def _of_hub(self, file: str) -> Path | None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            path = Path(hf_hub_download(self.name, file, revision=self.revision, local_files_only=self._cached_only))
        except LocalEntryNotFoundError:  # out of reach
            self._cached_only = True
            return None
        except (
            EntryNotFoundError,
            OSError,
            ValueError,
        ):  # not in the repository, gated, no such revision, no name of the hub
            return None
        self.commit = self.commit or _commit_in(path)
        return path


def _commit_in(path: Path) -> str | None:
    """The commit of a file in the hub's cache, whose folder is named by it."""
    return next((part for part in path.parts if _COMMIT.fullmatch(part)), None)


def _classes(auto_map: Any) -> Iterator[str]:
    for value in auto_map.values() if isinstance(auto_map, dict) else ():
        yield from (v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str))


class _Pinned(dict):
    """Options of a model with the commit of its code. `SentenceTransformer` takes that commit out of them before it
    reads the first module, and the transformer, which needs it, would run the newest code instead."""

    def pop(self, key: Any, *default: Any) -> Any:
        return self[key] if key == "code_revision" else super().pop(key, *default)


def trusted(name: str, revision: str | None, trust: Trust) -> dict[str, Any]:
    """The arguments of `SentenceTransformer` that let a model's code run; none for a model that brings none.

    Args:
        name, revision: of the model.
        trust: False; True lets the code run that a model itself holds, of a hub model at its pinned commit; a list of
            `org/name@commit` lets code run that lies in these repositories as well.

    Raises:
        ModelError: the model cannot be looked at, or it brings code, and `trust` does not say that it may run, or
            not which commit of it.
    """
    code = code_of(name, revision)
    if code is None:
        return {}
    if not trust and not code.needed:
        classes = ", ".join(code.classes[:3])
        log.warning("%s brings code of its own (%s), which is not run: a library's takes its place.", name, classes)
        return {}
    local = Path(name).expanduser().is_dir()
    pins = pins_of(trust)
    what = f"Model {name} brings code of its own ({', '.join(code.classes[:3])})"
    elsewhere = sorted(code.homes - {"", name})
    fixes = []
    if not trust:
        fixes.append(f"set {_OPTION} = {_told(elsewhere)}")
    elif unpinned := [home for home in elsewhere if home not in pins]:
        what += f", which lies in {', '.join(unpinned)}"
        fixes.append(f"set {_OPTION} = {_told(elsewhere)}")
    if not local and not _COMMIT.fullmatch(revision or ""):
        pin = f"revision = {code.commit or 'COMMIT (40 hex digits)'}"
        fixes.append(f"pin its commit, {pin}: a branch or tag may hold other code tomorrow")
    if fixes:
        raise ModelError(
            f"{what}. It is not run before you allow it: look at it, and if you trust it, {' and '.join(fixes)}."
        )
    if len(elsewhere) > 1:
        raise ModelError(f"{what} from several repositories ({', '.join(elsewhere)}), which cannot be pinned.")
    told: dict[str, Any] = {_OPTION: True}
    if elsewhere:
        commit = pins[elsewhere[0]]
        told |= {f"{part}_kwargs": {"code_revision": commit} for part in ("config", "processor")}
        told["model_kwargs"] = _Pinned(code_revision=commit)
    return told


def pins_of(trust: Trust) -> dict[str, str]:
    """The commit of each repository that is told as `org/name@commit`.

    Raises:
        ParameterError: one is told otherwise.
    """
    told = [] if isinstance(trust, bool) else list(trust)
    wrong = [pin for pin in told if not re.fullmatch(r"[^/@\s]+/[^/@\s]+@[0-9a-f]{40}", pin)]
    if wrong:
        raise ParameterError(
            problems(f"{_OPTION}:", [f"{pin!r} is no org/name@commit (40 hex digits)" for pin in wrong])
        )
    return dict(pin.split("@") for pin in told)


def _told(elsewhere: Sequence[str]) -> str:
    """What to set the option to."""
    if not elsewhere:
        return "true"
    pins = [f"{home}@{newest(home) or '<commit of 40 hex digits>'}" for home in elsewhere]
    return f"[{', '.join(pins)}]"


def newest(repository: str) -> str | None:
    """The newest commit of a model repository; None where the hub cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi().model_info(repository, timeout=5).sha
    except (HfHubHTTPError, OSError):  # offline, gone or gated: what to pin is told in words
        return None


def sources_of(model: Any) -> list[str]:
    """The code of a model's own classes, file by file: with the weights it decides a vector."""
    return [file.read_text(encoding="utf-8") for file in _files_of(model)]


def keep_code(model: Any, folder: Path) -> None:
    """Put the code of a model's own classes into the folder that it was saved in, and have the folder name it there:
    then it opens without the repositories that it came from. Models without such code are left as they are."""
    for source in dict.fromkeys(file.parent for file in _files_of(model)):
        for file in source.glob("*.py"):
            if file.name != "__init__.py" and not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)
    here = {file.stem for file in folder.glob("*.py")}
    for path in [*folder.glob("*config.json"), *folder.glob("*/*config.json")] if here else ():
        told = path.read_text(encoding="utf-8")
        local = re.sub(
            r'"[^"/\s]+/[^"/\s]+--(\w+)(\.\w+)"', lambda m: f'"{m[1]}{m[2]}"' if m[1] in here else m[0], told
        )
        if local != told:
            path.write_text(local, encoding="utf-8")


def _files_of(model: Any) -> list[Path]:
    classes = {type(module) for module in model.modules()} | {type(getattr(model[0], "config", None))}
    names = sorted({c.__module__ for c in classes if c.__module__.startswith("transformers_modules.")})
    files = [Path(sys.modules[n].__file__ or "") for n in names if n in sys.modules]
    return [file for file in files if file.is_file()]
