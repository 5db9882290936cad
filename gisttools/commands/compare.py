"""`gisttools compare`: which of several evaluated recipes is best."""

from __future__ import annotations

import json

import click

from gisttools.commands.complete import complete_run


@click.command(short_help="Show which evaluated recipe is best.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option("--task", metavar="NAME", help="Score this task; else the mean of the targets.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def compare(runs: tuple[str, ...], task: str | None, as_json: bool) -> None:
    """Show which of several evaluated recipes is best, and what each parameter does.

    RUNs are evaluate runs, by id or folder; without any, the newest and all that can stand beside it: same baseline,
    same tasks. Runs that differ only in seeds are one recipe. The notebook 7_compare makes a page of the same.
    """
    from gisttools.evaluation import leaderboard
    from gisttools.report import leaderboard_text
    from gisttools.workflow import contenders_to_compare, find_runs, results_folder

    names = [f.name if f.parent == results_folder() else str(f) for f in find_runs(runs)]
    board = leaderboard(contenders_to_compare(names), task=task)
    click.echo(json.dumps(board.summary(), indent=1, ensure_ascii=False) if as_json else leaderboard_text(board))
