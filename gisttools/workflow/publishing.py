"""Copies finished runs to an fsspec URL (s3://, gs://, file://), the manifest last, and fetches them again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from gisttools.common import (
    MANIFEST,
    DataError,
    EndpointError,
    FinishedRun,
    GistError,
    MissingError,
    ParameterError,
    ancestors,
    read_run,
    results_folder,
    secret_in,
    write_whole,
)
from gisttools.workflow.cleaning import verify_run
from gisttools.workflow.folders import RUN_ID, run_folder
from gisttools.workflow.manifest import LOCK

PUBLISH_TO = "GISTTOOLS_PUBLISH_TO"
_EXTRA = {"s3": '"gisttools[remote]"', "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


class Place:
    """A folder of runs at a URL.

    Raises:
        ParameterError: it is no URL, or holds a password.
        MissingError: the package that opens such addresses is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        protocol = url.partition("://")[0] if "://" in url else ""
        if not protocol:
            raise ParameterError(f"{url!r} is no URL to publish to. Say s3://bucket/folder, gs://... or file:///...")
        if kind := secret_in(url):
            raise ParameterError(f"The URL to publish to looks like {kind}. Keys belong into the environment.")
        try:
            self._files, root = fsspec.core.url_to_fs(url, skip_instance_cache=True)
        except ImportError as error:
            package = _EXTRA.get(protocol, "the package for it")
            raise MissingError(f"{protocol}:// needs a package: pip install {package}. ({error})") from error
        except ValueError as error:
            raise ParameterError(f"{url!r} cannot be published to: {error}.") from error
        self.url, self._root, self._local = url.rstrip("/"), root.rstrip("/"), protocol in ("file", "local")
        self._folders = protocol not in _EXTRA  # in object stores this would make a bucket of a mistyped name

    def has(self, run_id: str) -> bool:
        """Whether the run is there, whole."""
        with _told(self.url):
            self._files.invalidate_cache()
            return self._files.exists(f"{self._root}/{run_id}/{MANIFEST}")

    def put(self, folder: Path) -> None:
        """Write a run's files there, the manifest last and whole."""
        there = f"{self._root}/{folder.name}"
        with _told(self.url):
            for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (MANIFEST, LOCK)):
                name = f"{there}/{path.relative_to(folder).as_posix()}"
                if self._folders:
                    self._files.makedirs(name.rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(path), name)
            content = (folder / MANIFEST).read_bytes()
            if self._local:
                write_whole(Path(there) / MANIFEST, content)
            else:  # object stores show an object when it is whole
                self._files.pipe_file(f"{there}/{MANIFEST}", content)

    def manifest(self, run_id: str) -> dict[str, Any]:
        """The manifest of a run that is there."""
        with _told(self.url):
            return json.loads(self._files.cat_file(f"{self._root}/{run_id}/{MANIFEST}"))

    def get(self, run_id: str, folder: Path) -> None:
        """Copy all files but the manifest into a folder."""
        there = f"{self._root}/{run_id}"
        with _told(self.url):
            self._files.invalidate_cache()
            for name in self._files.find(there):
                inside = PurePosixPath(name).relative_to(PurePosixPath(there))
                if inside.name != MANIFEST and ".." not in inside.parts:
                    (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                    self._files.get_file(name, str(folder / inside))


def publish(name: str | Path, url: str) -> list[str]:
    """Publish a run, and before it the runs that it came from, as far as they are not there yet.

    Returns:
        Ids of the runs that were written, in order.

    Raises:
        ParameterError, MissingError: no such URL, or no such finished run.
        DataError: a run failed, or its files are not as it wrote them.
        EndpointError: the place refuses; no manifest of an incomplete run is there, and a second try completes it.
    """
    place = Place(url)
    folder = run_folder(name)
    run = read_run(folder)
    if not run.ok:
        raise DataError(f"Run {run.id} failed; only runs that ended well are published. Run it again.")
    came_from, _ = ancestors(run, results_folder())
    before = [r.folder for r in sorted(came_from, key=lambda r: r.started)]  # a run is older than its children
    written = []
    for one in [*before, folder]:
        if place.has(one.name):
            continue
        found = verify_run(one)
        if not found.ok:
            names = ", ".join([*found.changed, *found.missing]) or MANIFEST
            raise DataError(f"Run {one.name} is not as it was written ({names}) and is not published. Run it again.")
        place.put(one)
        written.append(one.name)
    return written


def with_fetched(parameters: Mapping[str, object]) -> dict[str, object]:
    """`parameters` with runs at URLs (`s3://bucket/runs/RUN_ID`) named by id. They are fetched into the results folder
    if they are not there, and so are runs named by id that `GISTTOOLS_PUBLISH_TO` has and this machine has not.

    Raises:
        MissingError: there is no such run at the URL.
        DataError: what came is not what the run wrote.
        EndpointError: the place refuses.
    """

    def one(value: object) -> object:
        if isinstance(value, list):
            return [one(v) for v in value]
        if not isinstance(value, str) or not RUN_ID.fullmatch(value.rstrip("/").rpartition("/")[2]):
            return value
        url, _, run_id = value.rstrip("/").rpartition("/")
        if "://" in url:
            _fetch(Place(url), run_id)
            return run_id
        told = os.environ.get(PUBLISH_TO)
        if told and not url and not (results_folder() / run_id / MANIFEST).exists():
            place = Place(told)
            if place.has(run_id):  # else the error is that of any run that is not here
                _fetch(place, run_id)
        return value

    return {name: one(value) for name, value in parameters.items()}


def _fetch(place: Place, run_id: str) -> None:
    folder = results_folder() / run_id
    if (folder / MANIFEST).exists():
        return
    if not place.has(run_id):
        raise MissingError(f"There is no finished run {run_id} at {place.url}.")
    manifest = place.manifest(run_id)
    for parent in manifest.get("parents") or ():
        if place.has(parent):  # one that was removed before the run was published is not needed to read it
            _fetch(place, parent)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        if not (folder / MANIFEST).exists():
            try:
                place.get(run_id, folder)
                _check(manifest, folder, place)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            write_whole(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
    (folder / LOCK).unlink(missing_ok=True)


def _check(manifest: Mapping[str, Any], folder: Path, place: Place) -> None:
    if changed := FinishedRun(folder=folder, manifest=manifest).changed():
        raise DataError(
            f"Run {folder.name} at {place.url} is not as it was written: {', '.join(changed)}. Remove it there, and "
            "publish it again."
        )


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Turns what file systems raise, of whatever library, into one message."""
    try:
        yield
    except GistError:
        raise
    except Exception as error:  # file systems of many libraries, each with errors of its own
        raise EndpointError(
            f"{url} refuses: {type(error).__name__}: {error}. See whether it is there and your keys fit, and try "
            "again; what is missing will be completed."
        ) from error
