"""Data sets by hub name: what a name means, and reading one over HTTP from a server that answers as the hub does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from helpers import ROOT
from helpers.server import Server

from gisttools.data.hub import HubSet, is_hub_name, parse_hub_name

COMMIT = "238a0499b6e6b690cc64ea56fde8461daa8341bb"
LABELLED = '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
SETS = {  # None: listed, but its download fails
    "org/faq": {"train.jsonl": "".join(json.dumps({"query": f"a{i}", "pos": f"p{i}"}) + "\n" for i in range(3000))},
    "org/labelled": {"train.jsonl": LABELLED},
    "org/broken": {"train-0.jsonl": '{"query": "a", "pos": "p"}\n' * 2000, "train-1.jsonl": None},
}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("org/name", {}),
        (f"avsolatorio/medi-data-mteb_avs_triplets@{COMMIT}", {"revision": COMMIT}),
        ("org/na.me_1#triplet-all@v1.0:dev", {"config": "triplet-all", "revision": "v1.0", "split": "dev"}),
        ("org/name@refs/convert/parquet", {"revision": "refs/convert/parquet"}),
        ("org/name#en:test", {"config": "en", "split": "test"}),
    ],
)
def test_the_parts_of_a_hub_name(name, parts):
    path = name.split("#")[0].split("@")[0].split(":")[0]
    assert parse_hub_name(name) == HubSet(path=path, **parts)
    assert is_hub_name(name)


@pytest.mark.parametrize("name", ["name", "a/b/c", "/a/b", "./a", "~/a", "a/b@", "a/b:", "a/b c", "a/b@x#y", ""])
def test_what_is_no_hub_name(name):
    assert parse_hub_name(name) is None
    assert not is_hub_name(name)


def test_what_is_here_or_ends_like_a_file_is_no_hub_name(tmp_path, monkeypatch):
    (tmp_path / "data" / "faq").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name("data/faq")
    assert not is_hub_name("data/faq.jsonl")
    assert is_hub_name("data/faw")


class Hub(Server):
    """As much of the hub as streaming asks for; `main` is at `COMMIT`."""

    def respond(self, call):
        found = re.match(r"/(?:api/)?datasets/(org/\w+)(?:/(revision|tree|resolve)/([^/?]+))?(?:/([^?]+))?", call.path)
        files = SETS.get(found[1]) if found else None
        if files is None:
            return missing("RepoNotFound")
        if found[3] not in (None, "main", COMMIT):
            return missing("RevisionNotFound")
        if found[2] == "tree":
            sizes = {name: len(text or "x" * 99) for name, text in files.items()}
            return there(call, [{"type": "file", "path": n, "size": s, "oid": "0"} for n, s in sizes.items()])
        if found[2] != "resolve":
            siblings = [{"rfilename": name} for name in files]
            return there(call, {"id": found[1], "sha": COMMIT, "tags": [], "siblings": siblings})
        text = files.get(found[4])
        return missing("EntryNotFound") if text is None else there(call, text.encode(), etag='"x"')


def missing(what: str):
    return 404, {"X-Error-Code": what, "X-Repo-Commit": COMMIT}, b""


def there(call, content, **headers: str):
    """All of the content, or the bytes of it that are asked for."""
    body, headers["X-Repo-Commit"] = content if isinstance(content, bytes) else json.dumps(content).encode(), COMMIT
    span = re.match(r"bytes=(\d+)-(\d+)", call.headers.get("Range") or "")
    if not span:
        return 200, headers, body
    first, last = int(span[1]), int(span[2])
    return 206, {**headers, "Content-Range": f"bytes {first}-{last}/{len(body)}"}, body[first : last + 1]


SCRIPT = """
import json, logging, sys
from pathlib import Path
from gisttools.data.labelled import read_labelled
from gisttools.data.sources import kind_of
from gisttools.data.triplet_sets import read_hub_triplets
logging.basicConfig(level=logging.WARNING, format="%(name)s %(message)s")
for name in sys.argv[2:]:
    try:
        if name.startswith("org/labelled"):
            read = read_labelled(name)
            print(json.dumps([read.texts, read.labels, read.revision, kind_of(name)]), flush=True)
            continue
        table = read_hub_triplets(name, folder=Path(sys.argv[1]))
        said = [len(table), table[-1]["anchor"], table[-1]["source_revision"], table[-1]["task_name"]]
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps(said), flush=True)
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A function that reads sets in a process of its own (where the hub is, is read at import): what came out of
    each, the warnings, and the paths that the hub was asked for."""
    folder = tmp_path_factory.mktemp("hub")
    with Hub() as server:
        environment = {
            **os.environ, "HF_ENDPOINT": server.url.removesuffix("/v1"), "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip

        def run(*names: str) -> tuple[list, str, list[str]]:
            server.calls.clear()
            line = [sys.executable, "-c", SCRIPT, str(folder / "cache"), *names]
            done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
            told = [json.loads(said) for said in done.stdout.splitlines()]
            return told, done.stderr, [call.path for call in server.calls]

        yield run


@pytest.mark.slow
def test_a_set_is_streamed_from_the_hub_once_and_a_loose_name_is_read_at_its_commit_with_a_warning(read):
    pinned = f"org/faq@{COMMIT}"
    (loose, again), warnings, asked = read("org/faq", pinned)
    assert loose == again == [3000, "a2999", COMMIT, "org/faq"]
    assert f"org/faq names no commit and may change under you. Pin it: {pinned}" in warnings
    assert f"{pinned} names no commit" not in warnings
    downloads = [path for path in asked if path.endswith("/train.jsonl")]
    assert downloads
    assert all(f"/resolve/{COMMIT}/" in path for path in downloads)
    (third,), _, asked = read(pinned)
    assert third == loose
    assert not [path for path in asked if "org/faq" in path], "a pinned set in the cache needs no network"


def test_what_the_hub_does_not_have_is_missing_by_its_name(read):
    names = ["org/none", f"org/none@{COMMIT}", "org/faq@old", f"org/faq@{'d' * 40}", "org/faq:dev", "org/faq#german"]
    said, _, _ = read(*names)
    assert all(text.startswith("MissingError: ") for text in said)
    assert all(re.split("[@#:]", name)[0] in text for name, text in zip(names, said, strict=True))
    assert "Available splits: ['train']" in said[4]
    assert "'german' not found" in said[5]


@pytest.mark.slow
def test_labelled_texts_of_the_hub_are_read_at_their_commit_and_what_is_missing_is_told(read):
    good = f"org/labelled@{COMMIT}"
    (first, *bad), _, _ = read(good, f"org/labelled@{'d' * 40}", f"{good}:dev", f"org/labelled#german@{COMMIT}")
    assert first == [["a", "b"], ["x", "y"], COMMIT, "labelled"]
    assert all(said.startswith("MissingError: Data set org/labelled") for said in bad)
    assert "d" * 40 in bad[0]
    assert "train" in bad[1]
    assert "german" in bad[2]


@pytest.mark.slow
def test_a_stream_that_breaks_off_is_told_and_leaves_nothing_to_mistake_for_the_set(read):
    name = f"org/broken@{COMMIT}"
    said, _, _ = read(name, name)
    assert [str(text).split(":")[1] for text in said] == [" org/broken broke off after 2000 rows"] * 2
    assert all(re.match(r"MissingError: .*Check the network, then retry\.$", text) for text in said)
