"""`gisttools clean`: remove runs that nobody needs, after asking."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gisttools.commands import wording
from gisttools.commands.complete import complete_run
from gisttools.common import GistError, ParameterError

if TYPE_CHECKING:
    from gisttools.workflow import Kind, Removal

_KINDS = ("unfinished", "failed", "superseded")


@click.command(short_help="Remove runs that nobody needs, after asking.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option("--only", "kinds", type=click.Choice(_KINDS), multiple=True, help="Only these; may be repeated.")
@click.option("--checkpoints", is_flag=True, help="Also checkpoints of trainings that were stopped.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clean(runs: tuple[str, ...], kinds: tuple[Kind, ...], checkpoints: bool, yes: bool) -> None:
    """Remove runs that were stopped, failed, or ran again later with the same spec; or the RUNs that are named.

    Shows what would go and how large it is, and asks. What other finished runs depend on stays, and so does a run under
    way.
    """
    from gisttools.workflow import find_runs, removable, removable_by_name, stale_checkpoints

    if runs and (kinds or checkpoints):
        raise ParameterError("Name runs, or say which kinds: both at once is not clear.")

    def candidates() -> list[Removal]:
        if runs:
            return removable_by_name(find_runs(runs))
        return (removable(kinds) if kinds else removable()) + (stale_checkpoints() if checkpoints else [])

    found = candidates()
    if not found:
        click.echo("There is nothing to remove.")
    else:
        for line in wording.columns([(r.folder.name, wording.size(r.bytes), r.why) for r in found]):
            click.echo(line)
        total = f"{len(found)} folder{'s' if len(found) > 1 else ''}, {wording.size(sum(r.bytes for r in found))}"
        if not yes and not click.confirm(f"Remove {total}?"):
            click.echo("Nothing was removed.")
            return
        still = {r.folder for r in candidates()}  # while the question stood, another run may have begun to need one
        _remove([r for r in found if r.folder in still])
    if not runs and not checkpoints and (left := stale_checkpoints()):
        click.echo(
            f"Kept: checkpoints of stopped trainings ({wording.size(sum(r.bytes for r in left))}), which go on from "
            "them when run again. --checkpoints removes them."
        )


def _remove(removals: list) -> None:
    from gisttools.workflow import remove

    freed, failed = 0, 0
    for removal in removals:
        try:
            remove(removal)
            freed += removal.bytes
        except GistError as error:
            failed += 1
            click.echo(str(error), err=True)
    click.echo(f"Removed {len(removals) - failed}, {wording.size(freed)}.")
    if failed:
        sys.exit(1)
