"""Sends a parcel to the hub by the hub's own client: the repository, and all files in one commit.

The token is that of the environment or of `hf auth login`, the address that of `HF_ENDPOINT`; neither is a parameter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gisttools.common import EndpointError, HubKind, ParameterError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_FOLDERS = {"model": "", "dataset": "datasets/", "space": "spaces/"}


def address(repo: str, kind: HubKind) -> str:
    """Where a repository is, or would be."""
    return f"{_endpoint()}/{_FOLDERS[kind]}{repo}"


def cannot_send() -> list[str]:
    """What the machine lacks to send anything; told without asking the hub."""
    from huggingface_hub import constants, get_token

    found = []
    if constants.is_offline_mode():
        found.append("HF_HUB_OFFLINE switches the hub off: unset it")
    if not get_token():
        found.append("there is no token: run `hf auth login`, or set HF_TOKEN to one that may write")
    return found


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What is there now: the address of the repository, and the commit."""

    url: str
    commit: str


def send(repo: str, kind: HubKind, files: Mapping[str, Path | bytes], *, private: bool, message: str) -> Sent:
    """Make the repository if it is not there, and commit all files at once.

    Args:
        repo: owner/name.
        kind: of the repository.
        files: path there -> file here, or content.
        private: whether a new repository is; one that is there must be so already.
        message: of the commit.

    Raises:
        ParameterError: the repository is there and is not as private as was asked for; nothing is sent.
        EndpointError: the hub refuses, or is out of reach; no file is there then.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=_endpoint())
    made = False
    try:
        api.whoami()  # a token that the hub does not know reads like a repository that is not there
        is_private = _is_private(api, repo, kind)
        if is_private is None:
            sdk = "static" if kind == "space" else None
            api.create_repo(repo, repo_type=kind, private=private, space_sdk=sdk, exist_ok=True)
            made = True
        elif is_private != private:
            raise ParameterError(_not_so(repo, kind, private=private))
        added = [
            CommitOperationAdd(path, str(file) if isinstance(file, Path) else file) for path, file in files.items()
        ]
        commit = api.create_commit(repo, added, commit_message=message, repo_type=kind)
    except ParameterError:
        raise
    except Exception as error:  # the hub's errors, those of its transport, and of the checks before
        raise EndpointError(_refused(error, repo, kind, made=made)) from error
    return Sent(url=address(repo, kind), commit=commit.oid)


def _endpoint() -> str:
    """From the environment as it is now: the client reads it when it is loaded, before a file `.env` is."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _is_private(api: HfApi, repo: str, kind: HubKind) -> bool | None:
    """Whether the repository is private; None where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return bool(api.repo_info(repo, repo_type=kind).private)
    except RepositoryNotFoundError:
        return None


def _not_so(repo: str, kind: HubKind, *, private: bool) -> str:
    if private:
        return (
            f"{address(repo, kind)} is public, and nothing was sent. Say --public to send it there all the same, or "
            "name another repository."
        )
    return f"{address(repo, kind)} is private, and nothing was sent. Leave out --public, or change that on its page."


_WHY = {
    400: "it does not take the files",
    401: "it does not know the token. Run `hf auth login`, or set HF_TOKEN to one that may write",
    402: "it asks for payment",
    403: "the token may not write there. Make one with the right to write, or name a repository of your own",
    404: "it does not find the owner or the repository. Check the name",
    409: "somebody changed the repository at the same time. Try again",
    413: "the files are too large",
    429: "it was asked too often. Wait some minutes",
}


def _refused(error: Exception, repo: str, kind: HubKind, *, made: bool) -> str:
    """One message: what went wrong, what is there now, what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _WHY:
        why = f"{_WHY[status]} ({first_line(error).rstrip('.')})"
    elif status is not None:
        why = f"it has a fault of its own, status {status} ({first_line(error).rstrip('.')})"
    else:
        why = f"{type(error).__name__}: {first_line(error).rstrip('.')}"
    there = f"The repository {repo} was made and is empty" if made else "Nothing there was changed"
    lost = "" if status is not None else "; unless the answer alone was lost: then all files are there"
    return f"{address(repo, kind)} was not written: {why}. {there}{lost}. The same command again goes on from there."
