"""`gisttools publish`: copy a finished run to where others can read it."""

from __future__ import annotations

import os

import click

from gisttools.commands.complete import complete_run
from gisttools.common import ParameterError


@click.command(short_help="Copy a finished run to a URL.")
@click.argument("run", shell_complete=complete_run)
@click.argument("url", required=False)
def publish(run: str, url: str | None) -> None:
    """Publish RUN, and the runs that it came from, to URL: s3://bucket/folder, gs://..., file:///...

    Without URL to $GISTTOOLS_PUBLISH_TO. What is there already is not written again.
    """
    from gisttools.workflow import PUBLISH_TO, find_runs, load_env_files, publish

    load_env_files()
    url = url or os.environ.get(PUBLISH_TO)
    if not url:
        raise ParameterError(f"Say where to: gisttools publish {run} s3://bucket/folder, or set {PUBLISH_TO}.")
    (folder,) = find_runs([run])
    written = publish(folder, url)
    for name in written:
        click.echo(f"published {url.rstrip('/')}/{name}")
    if not written:
        click.echo(f"{folder.name} is already there.")
