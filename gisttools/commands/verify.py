"""`gisttools verify`: are the files of finished runs still those that the runs wrote?"""

from __future__ import annotations

import sys

import click

from gisttools.commands import wording
from gisttools.commands.complete import complete_run


@click.command(short_help="Check runs against their checksums.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
def verify(runs: tuple[str, ...]) -> None:
    """Check the artefacts of finished runs against their checksums; all runs, where no RUN is named.

    The exit status is 1 if anything changed or is missing.
    """
    from gisttools.workflow import all_runs, find_runs, verify_run

    folders = find_runs(runs) or [run.folder for run in all_runs() if run.finished or run.status == "damaged"]
    bad = files = read = 0
    for folder in folders:
        found = verify_run(folder)
        files, read, bad = files + found.files, read + found.bytes, bad + (not found.ok)
        mark = click.style("ok", fg="green") if found.ok else click.style("no", fg="red")
        click.echo(f"{mark}  {found.run_id}  {found.files} files, {wording.size(found.bytes)}")
        for what, names in (("changed", found.changed), ("missing", found.missing)):
            for name in names:
                click.echo(f"      {what}: {name}")
        if found.damaged:
            click.echo("      changed: manifest.json cannot be read")
    told = f"{bad} not as written" if bad else "all as written"
    click.echo(f"{len(folders)} run{'' if len(folders) == 1 else 's'}, {files} files, {wording.size(read)}: {told}")
    if bad:
        click.echo("Run what changed again; `gisttools clean RUN` removes it.", err=True)
        sys.exit(1)
