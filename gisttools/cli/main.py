"""Puts the command `gisttools` together: notebooks and recipes, their runs, and what this machine has."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from typing import NoReturn

import click

from gisttools.cli.answers import FAILED, HELP, STOPPED, USAGE, Answer, document, kind, tell, to_stderr, with_option
from gisttools.cli.doctor import doctor
from gisttools.cli.export import export
from gisttools.cli.init import init
from gisttools.cli.new import new, parameters
from gisttools.cli.run import run
from gisttools.cli.runs import clean, compare, publish, runs, show, verify
from gisttools.cli.share import share
from gisttools.cli.use import check, predict, search
from gisttools.common import GistError

_ANYWHERE = ("--debug", "--json")  # as people add them: at the end of the line that failed


class _Group(click.Group):
    """Prints what a command answers. Whatever goes wrong is one readable message, not a traceback, unless --debug is
    given; with --json it is a document, as the answer is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        flags = [flag for flag in _ANYWHERE if flag in args]
        try:
            return super().parse_args(ctx, [*flags, *(a for a in args if a not in flags)])
        except click.UsageError as error:
            _refuse(error, as_json="--json" in flags)

    def invoke(self, ctx: click.Context) -> None:
        debug, as_json = ctx.params.get("debug", False), ctx.params.get("as_json", False)
        answer: object = None
        try:
            with to_stderr() if as_json else contextlib.nullcontext():
                answer = super().invoke(ctx)
                text = document(answer.data) if as_json and isinstance(answer, Answer) else None
            if text is not None:
                click.echo(text)
            elif isinstance(answer, Answer):
                tell(answer)
        except (KeyboardInterrupt, click.Abort) as error:
            if isinstance(error, click.Abort) and not isinstance(error.__context__, KeyboardInterrupt):
                raise  # a question that nobody is there to answer
            _echo_error(error, "\nStopped.", "Stopped.", as_json=as_json)
            sys.exit(STOPPED)
        except (click.exceptions.Exit, BrokenPipeError):
            raise
        except click.ClickException as error:
            _refuse(error, as_json=as_json)
        except Exception as error:  # noqa: BLE001  # whatever it is, people get a message and not a traceback
            _say(error, debug=debug, as_json=as_json)
            sys.exit(FAILED)
        if isinstance(answer, Answer) and answer.status:
            sys.exit(answer.status)


def _refuse(error: click.ClickException, *, as_json: bool) -> NoReturn:
    """A line that cannot be read: click's own words, or a document."""
    if not as_json:
        raise error
    _echo_error(error, "", error.format_message(), as_json=True)
    sys.exit(USAGE)


def _say(error: Exception, *, debug: bool, as_json: bool) -> None:
    """Secrets are redacted in all that is said of an error."""
    from gisttools.workflow import scrub

    told = scrub(f"{type(error).__name__}: {error}")
    trace = scrub("".join(traceback.format_exception(error)))
    if debug:
        click.echo(trace, err=True)
    if isinstance(error, GistError):
        more = ""
    elif isinstance(error, OSError):  # a full disk, a file that may not be read: no bug
        more = "\nThe system refused this. With --debug you see where."
    else:
        more = _bug(trace, keep=not debug)
    message = scrub(str(error)) if isinstance(error, GistError) else told + more
    _echo_error(error, "" if debug else f"\n{told}{more}", message, as_json=as_json)


def _bug(trace: str, *, keep: bool) -> str:
    """What is said of a bug; its traceback is kept in a file where it is not shown."""
    where = "above"
    if keep:
        with tempfile.NamedTemporaryFile(
            "w", prefix="gisttools-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(trace)
        where = f"in {file.name}"
    return (
        "\nThis is a bug in gisttools, not your mistake. Please report it with the traceback, which is "
        f"{where}; --debug shows it here."
    )


def _echo_error(error: BaseException, text: str, message: str, *, as_json: bool) -> None:
    """On stderr in words, or on stdout as a document."""
    if as_json:
        cause = getattr(error, "cause", None)  # of a notebook that failed
        told = {"error": kind(error), **({"cause": cause} if cause else {}), "message": message}
        click.echo(document(told))
    elif text:
        click.echo(text, err=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of what goes wrong.")
@click.option("--json", "as_json", is_flag=True, help=HELP)
@click.version_option(package_name="gisttools")
@click.pass_context
def main(context: click.Context, debug: bool, as_json: bool) -> None:
    """Synthetic data, GIST fine-tuning and honest evaluation for text embeddings."""
    if os.environ.get("NO_COLOR"):  # no-color.org
        context.color = False


for _command in (
    init,
    run,
    runs,
    show,
    clean,
    verify,
    publish,
    share,
    compare,
    predict,
    search,
    check,
    export,
    parameters,
    new,
    doctor,
):
    main.add_command(with_option(_command))


if __name__ == "__main__":
    main()
