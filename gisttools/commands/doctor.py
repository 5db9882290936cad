"""`gisttools doctor`: what this machine has."""

from __future__ import annotations

import sys

import click


@click.command(short_help="Show what this machine has and what answers.")
@click.option("--llm", "base_url", metavar="URL", help="Also ask this OpenAI-compatible endpoint for its models.")
@click.option(
    "--key-variable", metavar="NAME", default="OPENAI_API_KEY", show_default=True,
    help="Environment variable that holds its key.",
)  # fmt: skip
def doctor(base_url: str | None, key_variable: str) -> None:
    """Show what is installed, which devices there are, and which embedded models and endpoints answer."""
    from gisttools.doctor import checks

    bad = 0
    for ok, name, detail in checks(base_url, key_variable):
        bad += ok is False
        mark = {True: click.style("ok", fg="green"), False: click.style("no", fg="red"), None: "--"}[ok]
        click.echo(f"{mark}  {name:<24} {detail}")
    sys.exit(1 if bad else 0)
