"""A stand-in for the Hugging Face hub on loopback: the routes that a push takes, and ways to misbehave on them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from helpers.server import RESET, Answer, Call, Server

TOKEN = "hf_" + "x1" * 18
COMMIT = "c0ffee" * 6 + "abcd"


@dataclass
class Repository:
    """A repository: whether it is private, the `type` and Space's SDK that it was made with, and its commits."""

    private: bool = True
    kind: str = "model"
    sdk: str | None = None
    commits: list[dict[str, bytes]] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        return {name: content for commit in self.commits for name, content in commit.items()}


class Hub(Server):
    """The hub.

    Attributes:
        repositories: by kind and name, as `dataset me/mine`.
        wrong: route (whoami, info, create, validate, preupload, commit) -> a status, or RESET. A commit that is reset
            was cut off before anything came of it.
        checked: the cards that were asked about.
    """

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.wrong: dict[str, int | str] = {}
        self.checked: list[dict] = []

    @property
    def address(self) -> str:
        return self.url.removesuffix("/v1")

    @property
    def asked(self) -> list[str]:
        """The routes that were asked for, in order."""
        return [route for call in self.calls for route, *_ in [self._route(call)]]

    def respond(self, call: Call) -> Answer | str:
        route, kind, name = self._route(call)
        wrong = self.wrong.get(route)
        if wrong == RESET:
            return RESET
        if wrong is not None:
            return wrong, {}, {"error": f"the hub says {wrong}", "errors": [{"message": f"the hub says {wrong}"}]}
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {}, {"error": "Invalid credentials"}
        with self.changed:
            return getattr(self, f"_{route}")(call, kind, name)

    def _route(self, call: Call) -> tuple[str, str, str]:
        match call.method, call.path.strip("/").split("/"):
            case "GET", ["api", "whoami-v2"]:
                return "whoami", "", ""
            case "POST", ["api", "repos", "create"]:
                return "create", "", ""
            case "POST", ["api", "validate-yaml"]:
                return "validate", "", ""
            case "GET", ["api", ("models" | "datasets" | "spaces") as kinds, owner, name]:
                return "info", kinds[:-1], f"{owner}/{name}"
            case "POST", ["api", kinds, owner, name, ("preupload" | "commit") as route, "main"]:
                return route, kinds[:-1], f"{owner}/{name}"
        return "unknown", "", ""

    def _unknown(self, call: Call, *_: str) -> Answer:
        return 404, {}, {"error": f"no {call.name} here"}

    def _whoami(self, *_: object) -> Answer:
        return 200, {}, {"type": "user", "name": "me", "auth": {"accessToken": {"role": "write"}}}

    def _info(self, _: Call, kind: str, name: str) -> Answer:
        found = self.repositories.get(f"{kind} {name}")
        if found is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
        return 200, {}, {"id": name, "private": found.private, "sha": COMMIT, "siblings": [], "tags": []}

    def _create(self, call: Call, *_: str) -> Answer:
        told = call.body
        kind, name = told.get("type", "model"), f"{told['organization']}/{told['name']}"
        if f"{kind} {name}" in self.repositories:
            return 409, {}, {"error": "You already created this repo"}
        made = Repository(private=told.get("visibility") == "private", kind=kind, sdk=told.get("sdk"))
        self.repositories[f"{kind} {name}"] = made
        return 200, {}, {"url": f"{self.address}/{name}", "name": name}

    def _validate(self, call: Call, *_: str) -> Answer:
        self.checked.append(call.body)
        return 200, {}, {"errors": [], "warnings": []}

    def _preupload(self, call: Call, *_: str) -> Answer:
        files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in call.body["files"]]
        return 200, {}, {"files": files}

    def _commit(self, call: Call, kind: str, name: str) -> Answer:
        lines = [json.loads(line) for line in call.content.splitlines()]
        added = [line["value"] for line in lines if line["key"] == "file"]
        self.repositories[f"{kind} {name}"].commits.append(
            {file["path"]: base64.b64decode(file["content"]) for file in added}
        )
        return 200, {}, {"commitUrl": f"{self.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}


@contextmanager
def hub_here(patch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the client of this process takes for the hub, with a token that it knows."""
    with Hub() as hub:
        patch.setenv("HF_ENDPOINT", hub.address)
        patch.setenv("HF_TOKEN", TOKEN)
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # read when the client is loaded
        yield hub
