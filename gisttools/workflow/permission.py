"""Asks before a user's texts leave this machine: which of them a run's endpoints would get, and whether they may.

Texts leave towards the LLM of `1_synthesize`, and towards guides and models behind endpoints: `endpoint:MODEL`, and
those of mteb's registry that their makers serve. A person at a terminal is asked before anything is sent, and a yes
is kept in the cache folder, for these texts and this host. Where nobody can be asked, the parameter `send_texts` says
yes, or the run is refused. Of mteb's tasks, which are public, nobody is asked, nor of descriptions written for the LLM.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from gisttools.common import GistError, ParameterError, cache_folder, digest, hosts_elsewhere, problems
from gisttools.models import guide_hosts
from gisttools.workflow.documents import task_of, tests_of, written_of
from gisttools.workflow.folders import as_run, open_run, paths, told_parameters
from gisttools.workflow.inputs import GUIDE, eval_sets_of, known_of, reading_of, rows_of
from gisttools.workflow.params import (
    ConvertParams,
    EvaluateParams,
    FinetuneParams,
    Params,
    SynthesizeParams,
    check_params,
)
from gisttools.workflow.spec import settled
from gisttools.workflow.tuning import with_best

if TYPE_CHECKING:
    from gisttools.data import Leaving

Ask = Callable[[str], bool]
Sent = tuple[tuple[str, ...], str]  # hosts, and the words on what goes there

_ASK: ContextVar[Ask | None] = ContextVar("ask", default=None)
_KEY = 16  # bytes
_TO_COME = "$"  # what begins a name that stands for a run that is not there yet
_FIX = (
    "Nothing was sent. If they may leave this machine, say so: -p send_texts true, which holds for all steps of a "
    "recipe; in a notebook send_texts = True. An endpoint on this machine (127.0.0.1, localhost) needs no permission."
)


@contextmanager
def asking(ask: Ask | None) -> Iterator[None]:
    """Inside, this is asked whether texts may leave: it is given a question and answers yes or no. None: nobody is
    there."""
    token = _ASK.set(ask)
    try:
        yield
    finally:
        _ASK.reset(token)


def leaving(params: Params) -> list[Leaving]:
    """Which texts a step would send to other machines: a `gisttools.data.Leaving` for each kind of endpoint it asks.
    Of names that stand for runs still to come ($step) nothing is known.

    Raises:
        GistError: what the step itself would raise of its files.
    """
    from gisttools.data import Leaving

    found = [Leaving.of(hosts, texts(), note) for hosts, texts, note in _ways(params) if hosts]
    return [one for one in found if one.texts]


def may_send(params: Params) -> list[Sent]:
    """What a step sends to other machines, in words, once it may.

    Raises:
        ParameterError: it may not, or nobody can be asked.
        GistError: as `leaving`.
    """
    return allow(leaving(params), allowed=bool(getattr(params, "send_texts", False)))


def sends_anywhere(params: Params) -> bool:
    """Whether a step asks an endpoint that is not on this machine, as far as that is known. Reads no texts."""
    return any(hosts for hosts, _, _ in _ways(params))


def leaving_yet(params: Params) -> list[Leaving]:
    """As `leaving`, of a step before which others may have to run: where texts cannot be read yet, none."""
    try:
        return leaving(params)
    except GistError:
        return []


def with_permission(verb: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a step that is to be done elsewhere, where nobody can be asked, with the permission that was
    given here. Raises as `may_send`."""
    sent = may_send(settled(check_params(verb, with_best(verb, dict(parameters)))))
    return {**parameters, "send_texts": True} if sent else dict(parameters)


def allow(parts: Sequence[Leaving], *, allowed: bool = False) -> list[Sent]:
    """See to it that texts may leave: they were allowed before, or somebody says so now. Raises ParameterError where
    they may not."""
    whole = _by_hosts(parts)
    kept = _Allowed(cache_folder() / "allowed")
    new = [] if allowed else [one for one in whole if kept.lacks(one)]
    if new:
        ask = _ASK.get()
        if ask is None:
            told = [one.words("would go") for one in new]
            raise ParameterError(problems("Texts would leave this machine, and nobody can be asked here:", told, _FIX))
        if not ask("\n".join(one.words("would go") for one in new) + "\nMay they be sent?"):
            raise ParameterError(f"You said no: nothing was sent to {' and '.join(one.where for one in new)}.")
        for one in new:
            kept.add(one)
    return [(one.hosts, one.words()) for one in whole]


def _by_hosts(parts: Sequence[Leaving]) -> list[Leaving]:
    """One for each host or hosts, with all texts that go there."""
    found: dict[tuple[str, ...], Leaving] = {}
    for part in parts:
        before = found.get(part.hosts)
        both = part if before is None else replace(part, texts=tuple(dict.fromkeys([*before.texts, *part.texts])))
        found[part.hosts] = both
    return list(found.values())


class _Allowed:
    """The texts that may go to a host: a file for each host, of 16 bytes a text."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lacks(self, one: Leaving) -> bool:
        """Whether one of the texts may not go to one of the hosts yet."""
        return any(not _keys(one.texts) <= self._of(host) for host in one.hosts)

    def add(self, one: Leaving) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for host in one.hosts:
            path = self._file(host)
            with FileLock(f"{path}.lock"):
                new = _keys(one.texts) - self._of(host)
                path.write_bytes(b"".join(sorted(self._of(host) | new)))

    def _file(self, host: str) -> Path:
        return self._folder / f"{digest(host)}.texts"

    def _of(self, host: str) -> set[bytes]:
        path = self._file(host)
        raw = path.read_bytes() if path.is_file() else b""
        return {raw[i : i + _KEY] for i in range(0, len(raw), _KEY)}


def _keys(texts: Iterable[str]) -> set[bytes]:
    from gisttools.data import normalise

    return {hashlib.blake2b(normalise(t).encode("utf-8", "surrogatepass"), digest_size=_KEY).digest() for t in texts}


Way = tuple[tuple[str, ...], Callable[[], Iterable[str]], str]  # hosts, the texts that go there, a note


def _ways(params: Params) -> Iterator[Way]:
    """Where a step sends texts, and which; the texts are read only where there is a host."""
    if isinstance(params, SynthesizeParams):
        yield _llm_hosts(params), lambda: _shown(params), "A dry run sends a few of them." if params.dry_run else ""
        yield _guide_hosts(params.model_dump()), lambda: [*_shown(params), *_known(params)], ""
    elif isinstance(params, ConvertParams):
        yield _guide_hosts(params.model_dump()), lambda: _sources(params), ""
    elif isinstance(params, FinetuneParams):
        yield _guide_hosts(params.model_dump()), lambda: _rows(params), ""
    elif isinstance(params, EvaluateParams):
        yield _scored_hosts(params), lambda: _tests(params), ""


def _llm_hosts(params: SynthesizeParams) -> tuple[str, ...]:
    if not params.asks or params.llm_mode == "replay":
        return ()
    return hosts_elsewhere([e.base_url for e in params.llm_endpoints] or [params.llm_base_url])


def _guide_hosts(told: Mapping[str, Any]) -> tuple[str, ...]:
    """That of the guide, by the parameters of a notebook."""
    return guide_hosts(told.get("guide"), told.get("guide_base_url"))


def _scored_hosts(params: EvaluateParams) -> tuple[str, ...]:
    """Those of models, baseline and references, and of the guides of the trainings that are scored beside."""
    models = [params.model] if isinstance(params.model, str) else params.model
    names = [name for name in (*models, params.baseline, *params.references) if name]
    found = [host for name in names for host in guide_hosts(name, params.base_url)]
    found += [host for name in names if name.startswith("mteb:") and (host := _provider(name))]
    if params.candidates or GUIDE in params.references:
        runs = [open_run(folder) for name in models if (folder := as_run(name)) is not None]
        found += [host for run in runs if run.verb == "finetune" for host in _guide_hosts(told_parameters(run))]
    return tuple(dict.fromkeys(found))


def _provider(name: str) -> str | None:
    from gisttools.evaluation import provider_of

    return provider_of(name)


def _shown(params: SynthesizeParams) -> list[str]:
    """The texts that prompts may show the LLM, and those that it is asked again about."""
    if params.documents is not None and params.documents.startswith(_TO_COME):
        return []
    written = written_of(params)
    task = task_of(params, written)
    return [*task.given, *(written.every_text if written is not None else ())]


def _known(params: SynthesizeParams) -> list[str]:
    """The texts that what is written is held against."""
    here = params.model_copy(update={name: _here(getattr(params, name)) for name in ("avoid", "eval_files")})
    known = known_of(here.model_copy(update={"eval_tasks": []}))
    return [*known.eval_texts, *known.written, *(text for text, _ in known.labelled)]


def _sources(params: ConvertParams) -> list[str]:
    from gisttools.data import (
        ReadOptions,
        expand_sources,
        is_task,
        kind_of,
        read_search,
        read_sources,
        table_texts,
        triplet_tables,
    )

    reading = reading_of(params, ReadOptions)
    names = [name for name in expand_sources(paths(_here(params.sources))) if not is_task(name)]
    kinds = {name: kind_of(name, reading) for name in names}
    labelled = read_sources([n for n in names if kinds[n] == "labelled"], reading)
    foreign = triplet_tables([n for n in names if kinds[n] == "triplets"], threshold=params.threshold)
    searches = [read_search(n, reading.split, reading.encoding) for n in names if kinds[n] == "search"]
    files = None if params.eval_files is None else _here(params.eval_files)
    local = params.model_copy(update={"sources": names, "eval_files": files, "eval_tasks": []})
    return [
        *(text for texts in labelled for text in texts.texts),
        *(text for table in foreign.values() for text in table_texts(table)),
        *(text for found in searches for text in _searched(found)),
        *(text for texts in eval_sets_of(local).values() for text in texts),
    ]


def _searched(found: Any) -> list[str]:
    from gisttools.data import passage_of

    return [*found.queries.values(), *(passage_of(title, text) for title, text in found.corpus.values())]


def _rows(params: FinetuneParams) -> list[str]:
    from gisttools.data import concatenate, table_texts

    names = _here(params.triplets)
    tables = rows_of(params.model_dump() | {"triplets": names}, refuse_idle=False) if names else {}
    return table_texts(concatenate(tables)) if tables else []


def _tests(params: EvaluateParams) -> list[str]:
    """All texts of the files that are scored, of all splits."""
    from gisttools.data import FileOptions, local_tasks

    reading = reading_of(params, FileOptions)
    tasks = [task for name in tests_of(_here(params.files)) for task in local_tasks(name, reading=reading)]
    return [text for task in tasks for text in _texts_in(task.dataset)]


def _texts_in(data: Any) -> Iterator[str]:
    """The texts in the tables of a task's data, however deep they lie."""
    from gisttools.data import passage_of

    if isinstance(data, Mapping):
        for part in data.values():
            yield from _texts_in(part)
    elif hasattr(data, "column_names"):
        if {"title", "text"} <= set(data.column_names):
            yield from map(passage_of, data["title"], data["text"])
            return
        for name in data.column_names:
            yield from (value for value in data[name] if isinstance(value, str) and name != "id")


def _here(names: Sequence[str]) -> list[str]:
    """Those that do not stand for a run to come."""
    return [name for name in names if not name.startswith(_TO_COME)]
