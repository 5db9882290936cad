"""Opens data sets on the hub by name, `org/name#config@revision:split`: the parts of a name, its commit, its rows.

All but `org/name` may be left out. Pin the revision: a set that changes upstream changes every number.
A folder or a file of rows is opened in the same way.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gisttools.common import MissingError, first_line, sha256
from gisttools.data.files import Part, RowFile, file_kind, read_rows
from gisttools.data.saved import is_saved, saved_split, saved_splits

log = logging.getLogger(__name__)
_NAME = re.compile(
    r"(?P<repository>[\w.-]+/[\w.-]+)(?:#(?P<config>[^#@:\s]+))?(?:@(?P<revision>[^#@:\s]+))?(?::(?P<split>[\w.-]+))?"
)


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """A set of rows: `path` is the repository on the hub, or a folder or file here."""

    path: str
    config: str | None = None
    revision: str | None = None
    split: str = "train"
    is_local: bool = False

    @property
    def title(self) -> str:
        """What to call the set: the repository and its configuration, or the file's name."""
        name = Path(self.path).stem if self.is_local else self.path
        return f"{name}#{self.config}" if self.config else name


def parse_hub_name(name: str) -> HubSet | None:
    """The parts of a hub set's name; None if it is not written like one."""
    found = _NAME.fullmatch(name)
    if not found or name.startswith((".", "/", "~")):
        return None
    return HubSet(
        path=found["repository"], config=found["config"], revision=found["revision"], split=found["split"] or "train"
    )


def is_hub_name(name: str | Path) -> bool:
    """Whether this names a hub set: written like one, no ending of a file, and nothing of that name is here."""
    path = Path(name).expanduser()
    return bool(parse_hub_name(str(name))) and file_kind(path) is None and not path.exists()


def find_set(name: str | Path) -> HubSet:
    """The set that a name stands for; its `revision` is the commit, or the hash of a local set's content.

    Raises:
        MissingError: there is neither a file or folder nor a hub set of this name and revision.
    """
    path = Path(name).expanduser()
    if path.exists():
        return HubSet(path=str(path.resolve()), revision=_content_hash(path), is_local=True)
    named = parse_hub_name(str(name))
    if named is None:
        raise MissingError(f"There is no file or folder {name}. Name one, or a hub set: org/name@revision.")
    return HubSet(path=named.path, config=named.config, revision=_commit(str(name), named), split=named.split)


@dataclass(frozen=True)
class RowStream:
    """The rows of a set, to be read once: `batches` of (column -> values), and how many `rows` there are, if known."""

    batches: Iterator[Part]
    rows: int | None = None


def open_stream(source: HubSet, *, most: int | None = None, size: int = 1000) -> RowStream:
    """The rows of a set, streamed; where the hub is switched off (HF_HUB_OFFLINE), from the library's own cache.

    Files here are read as everywhere (`gisttools.data.files`); those of the hub as the library reads them.

    Args:
        source: as `find_set` gives it.
        most: rows read in all; every one if None.
        size: rows of a batch.

    Raises:
        MissingError: the set, configuration, revision or split does not exist, or the network failed.
        DataError: a file here is broken, or of another kind than its ending says.
    """
    files = _files_of(source) if source.is_local else []
    if files:
        return RowStream(_batches(files, most, size), most)
    from huggingface_hub.constants import HF_HUB_OFFLINE

    revision = None if source.is_local else source.revision
    with _reading(source):
        from datasets import load_dataset

        streaming = source.is_local or not HF_HUB_OFFLINE
        rows = load_dataset(source.path, source.config, split=source.split, revision=revision, streaming=streaming)
        stream = rows if streaming else rows.to_iterable_dataset()
    split = (stream.info.splits or {}).get(source.split)
    batches = (stream.take(most) if most else stream).iter(batch_size=size)
    return RowStream(batches, most or (split.num_examples if split else None))


def _files_of(source: HubSet) -> list[Path]:
    """The files of rows of a set here; none where the library has to read them (images, archives, nested JSON)."""
    path = Path(source.path)
    if path.is_file() or is_saved(path):
        return [path]
    if saved := saved_split(path, source.split):
        return [saved]
    if splits := saved_splits(path):
        raise MissingError(f"{path} has no split {source.split!r}, but {', '.join(splits)}. Name the folder of one.")
    with _reading(source):
        from datasets import load_dataset_builder

        config = load_dataset_builder(source.path, source.config).config
        found = (config.data_files or {}).get(source.split, [])
    is_plain = getattr(config, "field", None) is None and getattr(config, "sep", ",") in (",", "\t")
    return [Path(file) for file in found] if is_plain and all(map(file_kind, found)) else []


def _batches(files: Sequence[Path], most: int | None, size: int) -> Iterator[Part]:
    """Rows of files one after the other, with the columns of the first one."""
    with RowFile(files[0]) as first:
        later = (row for file in files[1:] for row in read_rows(file))
        rows = itertools.islice(itertools.chain(first.rows(), later), most)
        while batch := list(itertools.islice(rows, size)):
            yield {name: [row.get(name) for row in batch] for name in first.columns}


@contextmanager
def _reading(source: HubSet) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise MissingError(
            f"Data set {source.path} (config {source.config}, split {source.split}, revision {source.revision}) cannot "
            f"be read: {first_line(error)} Check the name, the revision and the network."
        ) from error


def _commit(name: str, named: HubSet) -> str:
    """The commit that a revision stands for; a full commit stands for itself and needs no network."""
    if named.revision and re.fullmatch(r"[0-9a-f]{40}", named.revision):
        return named.revision
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(named.path, revision=named.revision).sha
    except Exception as error:
        raise MissingError(
            f"There is no file or folder {name}, and it is not found on the hub: {first_line(error)} Check the name, "
            "the revision and the network."
        ) from error
    log.warning("%s names no commit and may change under you. Pin it: %s@%s", name, named.title, commit)
    return commit


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        digest.update(f"{file.relative_to(path)}\n{sha256(file)}\n".encode())
    return f"sha256:{digest.hexdigest()[:12]}"
