"""`gisttools parameters`: what a notebook can be told."""

from __future__ import annotations

import json

import click

from gisttools.commands.complete import complete_verb, known_verb


@click.command(short_help="Show what a notebook can be told.")
@click.argument("verb", callback=known_verb, shell_complete=complete_verb)
def parameters(verb: str) -> None:
    """Show all parameters of VERB's notebook with their defaults."""
    from gisttools.workflow import VERBS

    fields = VERBS[verb].model_fields
    shown = {name: json.dumps(field.get_default(call_default_factory=True)) for name, field in fields.items()}
    width, value_width = max(map(len, shown)), min(40, max(map(len, shown.values())))
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {value:<{value_width}}  {fields[name].description or ''}".rstrip())
