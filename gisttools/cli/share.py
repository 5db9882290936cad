"""`gisttools share`: sends a model, data, a report or scores to the hub; without `--yes` it shows what would go."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gisttools.cli.answers import NO, Answer
from gisttools.cli.complete import complete_run
from gisttools.cli.runs import aligned, byte_size
from gisttools.common import quiet_libraries

if TYPE_CHECKING:
    from gisttools.workflow import Parcel, Sent, What

_WHATS = ("model", "data", "report", "scores")
_ONE_BY_ONE = 30  # files
_LONGEST = 200  # characters of a field of the card


@click.command(short_help="Send a model, data, a report or scores to the hub; first shows what would go.")
@click.argument("run", shell_complete=complete_run)
@click.argument("repo")
@click.option("--what", type=click.Choice(_WHATS), help="What of the run; else what it is made for.")
@click.option("--private/--public", default=True, show_default=True, help="Who may see it.")
@click.option("--licence", "--license", "licence", metavar="ID", help="Of the hub, such as apache-2.0; else the run's.")
@click.option("--as", "model", metavar="NAME@COMMIT", help="Of scores: the model's name on the hub, and its commit.")
@click.option("-y", "--yes", is_flag=True, help="Send it; else nothing is sent.")
def share(
    run: str, repo: str, what: What | None, private: bool, licence: str | None, model: str | None, yes: bool
) -> Answer:
    """Send to REPO (owner/name on the Hugging Face hub) what RUN left: the model of a finetune or evaluate run, the
    data set of a convert or synthesize run, the page of a report run, or the scores of an evaluate run.

    Without --yes nothing is sent: it shows the files, the card and what is missing. The token is that of HF_TOKEN or of
    `hf auth login`; HF_ENDPOINT names another hub.

    \b
    gisttools share finetune-2026 me/my-model
    gisttools share finetune-2026 me/my-model --licence apache-2.0 --yes
    gisttools share convert-2026 me/my-data --public --yes"""
    from gisttools.workflow import load_env_files, packed, send

    load_env_files()
    quiet_libraries()
    with packed(run, repo, what=what, licence=licence, model=model) as parcel:
        if not yes:
            facts = _facts(parcel, private, None)
            options = {"--what": what, "--licence": licence, "--as": model}
            words = [*(word for name, value in options.items() if value for word in (name, value))]
            told = shlex.join(["gisttools", "share", run, repo, *words, *([] if private else ["--public"]), "--yes"])
            return Answer(data=facts, lines=[*_told(parcel, private), *_end(parcel, told)], status=_status(parcel))
        parcel.refuse()
        message = f"{parcel.what} of {parcel.run}"
        sent = send(repo, parcel.kind, parcel.files, private=private, message=message)
        lines = [*_told(parcel, private), f"\n{click.style('Sent', fg='green')}: {sent.url}", f"commit {sent.commit}"]
        return Answer(data=_facts(parcel, private, sent), lines=lines)


def _status(parcel: Parcel) -> int:
    return NO if parcel.problems else 0


def _facts(parcel: Parcel, private: bool, sent: Sent | None) -> dict[str, Any]:
    sizes = parcel.sizes
    return {
        "run": parcel.run,
        "what": parcel.what,
        "repo": parcel.repo,
        "kind": parcel.kind,
        "url": parcel.url,
        "private": private,
        "licence": parcel.licence,
        "texts": parcel.texts,
        "files": [{"file": name, "bytes": count} for name, count in sizes.items()],
        "card": json.loads(json.dumps(parcel.card, default=str)),
        "notes": list(parcel.notes),
        "problems": list(parcel.problems),
        "sent": sent is not None,
        "commit": sent.commit if sent else None,
    }


def _told(parcel: Parcel, private: bool) -> list[str]:
    sizes = parcel.sizes
    shown = dict(sorted(sizes.items(), key=lambda pair: -pair[1])[:_ONE_BY_ONE])
    rows = [(name, byte_size(count)) for name, count in sorted(shown.items())]
    if len(sizes) > len(shown):
        left = {name: count for name, count in sizes.items() if name not in shown}
        rows.append((f"{len(left)} smaller files", byte_size(sum(left.values()))))
    kind = {"model": "a model", "dataset": "a data set", "space": "a static Space"}[parcel.kind]
    facts = [
        ("to", f"{parcel.url} ({kind}, {'private' if private else 'PUBLIC'})"),
        ("licence", parcel.licence or "not told"),
    ]
    return [
        click.style(f"{parcel.what} of {parcel.run}", bold=True),
        *aligned(facts),
        f"\nfiles ({len(sizes)}, {byte_size(sum(sizes.values()))})",
        *aligned(rows),
        "\ncard",
        *aligned(_fields(parcel.card)),
        *(["\nto know", *(f"  {note}" for note in parcel.notes)] if parcel.notes else []),
    ]


def _fields(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The head of the card, a line each; of the scores only how many there are."""
    for name, value in card.items():
        if name == "model-index":
            results = [f"{r['dataset']['name']} {r['metrics'][0]['value']}" for m in value for r in m["results"]]
            yield "scores", _cut(", ".join(results))
        else:
            yield name, _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _end(parcel: Parcel, command: str) -> list[str]:
    if parcel.problems:
        return ["\nmissing", *(f"  {p}" for p in parcel.problems), "\nNothing was sent, and --yes would be refused."]
    return [f"\nNothing was sent. This sends it: {command}"]
