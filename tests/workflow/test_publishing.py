"""Published runs: whole, the manifest last, parents before children; fetched where they are missing."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from helpers import ROOT

from gisttools.cli.main import main
from gisttools.common.errors import DataError, EndpointError, MissingError, ParameterError
from gisttools.common.runs import read_run
from gisttools.workflow.folders import artefact, open_run
from gisttools.workflow.publishing import Place, publish, with_fetched


@pytest.fixture(scope="module")
def s3():
    """Address of a bucket at a server on this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        server.start()
        address = "http://{}:{}".format(*server.get_host_and_port())
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket/runs"
        server.stop()


@pytest.fixture
def two(make_run):
    """A run and its child."""
    parent = make_run("convert", files={"triplets.parquet": b"rows", "deep/er/file.txt": b"deep"})
    child = make_run("finetune", files={"model/weights": b"weights"}, parents=[parent.name], triplets=[parent.name])
    return parent, child


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path):
    return (tmp_path / "there").as_uri() if request.param == "file" else request.getfixturevalue("s3")


def test_a_published_run_is_read_elsewhere_by_id_with_those_it_came_from(two, url, results, monkeypatch):
    parent, child = two
    assert publish(child, url) == [parent.name, child.name]
    assert publish(child, url) == []
    before = read_run(child)
    for folder in two:
        shutil.rmtree(folder)
    with pytest.raises(MissingError):
        open_run(child.name)
    monkeypatch.setenv("GISTTOOLS_PUBLISH_TO", url)
    assert with_fetched({"model": child.name, "seed": 1}) == {"model": child.name, "seed": 1}
    assert open_run(child.name) == before
    assert artefact(child.name, "model").is_dir()
    assert artefact(parent.name, "deep/er/file.txt").read_bytes() == b"deep"
    assert sorted(results.iterdir()) == sorted(two)


def test_a_run_never_stands_there_before_one_that_it_came_from(make_run, tmp_path):
    names = []
    for second, verb in enumerate(("convert", "finetune", "evaluate")):  # each came from all before it
        started = f"2026-01-01T00:00:0{second}+00:00"
        names.append(make_run(verb, started=started, parents=names, files={"a.txt": b"a"}).name)
    assert publish(names[-1], (tmp_path / "there").as_uri()) == names


def test_a_run_is_named_by_its_url(two, tmp_path):
    parent, _ = two
    url = (tmp_path / "there").as_uri()
    publish(parent, url)
    shutil.rmtree(parent)
    assert with_fetched({"triplets": [f"{url}/{parent.name}"]}) == {"triplets": [parent.name]}
    assert artefact(parent.name, "triplets.parquet").read_bytes() == b"rows"
    with pytest.raises(MissingError, match="no finished run convert-20200101T000000Z-00000000"):
        with_fetched({"triplets": [f"{url}/convert-20200101T000000Z-00000000"]})


def test_a_changed_file_is_not_published_nor_fetched(two, tmp_path):
    parent, child = two
    there = tmp_path / "there"
    publish(parent, there.as_uri())
    (there / parent.name / "triplets.parquet").write_bytes(b"others")
    shutil.rmtree(parent)
    with pytest.raises(DataError, match=r"not as it was written: triplets\.parquet"):
        with_fetched({"triplets": f"{there.as_uri()}/{parent.name}"})
    assert not parent.exists()
    (child / "model" / "weights").write_bytes(b"changed")
    with pytest.raises(DataError, match="is not published"):
        publish(child, there.as_uri())
    assert not (there / child.name).exists()


def test_a_publication_that_is_killed_leaves_no_manifest_and_is_completed_by_the_next(make_run, tmp_path):
    run = make_run("convert", files={f"part/{i:04}.txt": b"x" for i in range(2000)})
    there = tmp_path / "there"
    script = f"from gisttools.workflow.publishing import publish; publish({run.name!r}, {there.as_uri()!r})"
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as process:
        while process.poll() is None and not (there / run.name / "part" / "0001.txt").exists():
            pass  # waits for a file, not for a time
        process.kill()
    assert (there / run.name / "part" / "0001.txt").exists()
    assert not (there / run.name / "manifest.json").exists()
    assert not Place(there.as_uri()).has(run.name)
    assert publish(run, there.as_uri()) == [run.name]
    assert len(list((there / run.name / "part").iterdir())) == 2000
    assert read_run(there / run.name).manifest == read_run(run).manifest


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("somewhere", ParameterError, "is no URL"),
        ("nothing://bucket", ParameterError, "cannot be published to"),
        ("s3://me:password@bucket/x", ParameterError, "looks like an address with a password"),
    ],
)
def test_a_url_that_will_not_do_is_refused(url, error, message):
    with pytest.raises(error, match=message):
        Place(url)


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    import fsspec  # noqa: F401

    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(MissingError, match=r'pip install "gisttools\[remote\]"'):
        Place("s3://bucket/x")


def test_a_place_that_refuses_is_one_message(two, s3):
    with pytest.raises(EndpointError, match=r"(?s)s3://no-such-bucket/x refuses.*try again"):
        publish(two[0], "s3://no-such-bucket/x")


def test_failed_runs_are_not_published(make_run, tmp_path):
    with pytest.raises(DataError, match="only runs that ended well"):
        publish(make_run("convert", status="failed"), (tmp_path / "there").as_uri())


def test_the_command_publishes_to_the_url_told_or_set(two, tmp_path, monkeypatch):
    parent, child = two
    first = CliRunner().invoke(main, ["publish", parent.name, (tmp_path / "one").as_uri()])
    assert first.exit_code == 0, first.output
    assert f"one/{parent.name}" in first.output
    monkeypatch.setenv("GISTTOOLS_PUBLISH_TO", (tmp_path / "two").as_uri())
    assert CliRunner().invoke(main, ["publish", child.name]).output.count("published") == 2
    assert "already there" in CliRunner().invoke(main, ["publish", child.name]).output
