"""Puts the command `gisttools` together: notebooks and recipes, their runs, and what this machine has."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback

import click

from gisttools.cli.doctor import doctor
from gisttools.cli.export import export
from gisttools.cli.new import new, parameters
from gisttools.cli.run import run
from gisttools.cli.runs import clean, compare, publish, runs, show, verify
from gisttools.cli.use import check, predict, search
from gisttools.common import GistError

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class _Group(click.Group):
    """Whatever goes wrong is one readable message, not a traceback, unless --debug is given, in any place."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--debug" in args:  # as people add it: at the end of the line that failed
            args = ["--debug", *(a for a in args if a != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as error:
            if isinstance(error, click.Abort) and not isinstance(error.__context__, KeyboardInterrupt):
                raise  # a question that nobody is there to answer
            click.echo("\nStopped.", err=True)
            sys.exit(_INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, people get a message and not a traceback
            _say(error, ctx.params.get("debug", False))
            sys.exit(1)


def _say(error: Exception, debug: bool) -> None:
    """Secrets are redacted in all that is said of an error."""
    from gisttools.workflow import scrub

    told = scrub(f"{type(error).__name__}: {error}")
    trace = scrub("".join(traceback.format_exception(error)))
    if debug:
        click.echo(trace, err=True)
    elif isinstance(error, GistError):
        click.echo(f"\n{told}", err=True)
    elif isinstance(error, OSError):  # a full disk, a file that may not be read: no bug
        click.echo(f"\n{told}\nThe system refused this. With --debug you see where.", err=True)
    else:
        with tempfile.NamedTemporaryFile(
            "w", prefix="gisttools-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(trace)
        click.echo(
            f"\n{told}\nThis is a bug in gisttools, not your mistake. Please report it with the traceback, which is in "
            f"{file.name}; --debug shows it here.",
            err=True,
        )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of what goes wrong.")
@click.version_option(package_name="gisttools")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Synthetic data, GIST fine-tuning and honest evaluation for text embeddings."""
    if os.environ.get("NO_COLOR"):  # no-color.org
        context.color = False


for _command in (
    run,
    runs,
    show,
    clean,
    verify,
    publish,
    compare,
    predict,
    search,
    check,
    export,
    parameters,
    new,
    doctor,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
