"""Makes task descriptions to start from, one of each kind: what a person fills in is empty, and refused until then."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gisttools.synthesis import DIFFICULTIES, LENGTHS, PERSONAS, REGISTERS


@dataclass(frozen=True, kw_only=True)
class _Form:
    """`what`: what a row is. `description`, `domain`: examples. `completes`: the phrase that the domain ends.
    `body`: what the task starts from. `phrases`: the lists that its prompts use."""

    what: str
    description: str
    domain: str
    completes: str
    body: str
    phrases: tuple[str, ...] = ("personas", "registers", "lengths", "difficulties")


_HEAD = """\
# A task description: what an LLM is to write, so that a model can be trained on it. This is for
# {what}
#
# Fill in every value that is empty. Then ask for a few rows, and hear what all of them would cost:
#
#     gisttools run synthesize -p task {file} -p dry_run true
#
# Whatever is still empty, or wrong, is listed before anything is paid for. Put texts in quotes: YAML reads a bare  no
# as false, and a colon or # as its own. Other kinds, and more of the keys: docs/synthesis.md, prompts/README.md.

name: {name}
kind: {kind}

# One sentence: what the texts are, and when two of them belong together.
# For example: "{description}"
description:

# Where the texts come from, in a few words; completes "{completes} ...".
# For example: "{domain}"
domain:

language: eng-Latn  # ISO 639-3 code and script, such as deu-Latn or jpn-Jpan

"""


_TAIL = """
# In which ways the texts should differ: each gets one phrase of every list, in equal shares. Take away the # and write
# your own; these are the defaults.
{lists}
# Regular expressions that no good text matches (case does not matter), such as words that only the other side of a
# conversation would use.
# forbidden: ['\\byour order\\b']
"""


_DEFAULTS = {"personas": PERSONAS, "registers": REGISTERS, "lengths": LENGTHS, "difficulties": DIFFICULTIES}


_SAYS = {
    "personas": "who writes",
    "registers": "in which tone",
    "lengths": "how long",
    "difficulties": "how plainly it shows",
}


_LABELS = """\
# One entry for each {label}, two at least; rename them.
#   about       one line on what belongs to it, as a sentence
#   confusable  {label}s it is easily taken for: negatives come from them, and the harder they are, the more a model
#               learns. Left out: from any {label}
#   seeds       a few real {texts}, for the LLM to {use}, from training data, never from test data. Left out: the
#               line alone says what to write
labels:
  first_{label}:
    about:
    confusable: [second_{label}]
    seeds:
      -
      -
  second_{label}:
    about:
    confusable: [first_{label}]
    seeds:
      -
      -
"""


_TOPICS = """\
# One line for each topic, as a sentence; rename them. The LLM first thinks of {ideas} on each topic, and then writes
# a row for each. It takes an LLM of some billion parameters.
topics:
  first_topic:
  second_topic:
"""


_SENTENCES = """\
# Whole sentences that state facts, twenty or more: a list, or the name of a file next to this one (.txt: one a line;
# .jsonl, .csv, .parquet: a column text). From training data, never from test data.
texts:
  -
  -

# In place of texts, topics let the LLM think of the sentences (of these two keep one):
# topics:
#   opening_hours: "When it is open, and when it is not."
"""


_FORMS = {
    "classification": _Form(
        what="texts that carry one label each.",
        description="Questions of people with house plants, sorted by what is wrong.",
        domain="a forum on house plants",
        completes="a message to",
        body=_LABELS.format(label="label", texts="texts", use="rewrite"),
    ),
    "clustering": _Form(
        what="short documents of themes; the themes are its labels.",
        description="Posts of railway travellers, sorted by what they are about.",
        domain="posts in a forum of railway travellers",
        completes="documents are",
        body=_LABELS.format(label="theme", texts="documents", use="learn their style from"),
    ),
    "retrieval": _Form(
        what="queries, and passages that answer them.",
        description="Questions of staff, answered by the handbook of a chain of bakeries.",
        domain="the staff handbook of a chain of bakeries",
        completes="a passage from",
        body="""\
# The passages that are searched: a list, or the name of a file next to this one (.txt: one a line; .jsonl, .csv,
# .parquet: a column text, passage or document). For each the LLM writes a query that it answers. Hundreds are better
# than ten: negatives are mined among them.
passages:
  -
  -

# Without documents, start from what people look for, or from topics (of these three keep one):
# search_terms: ["mould in the bathroom", "reading the gas meter"]
# topics:
#   keeping_food: "How long food keeps, where it is stored, and how to tell that it has gone off."

# Of passages, the LLM can also write the negatives: harder ones, and more tokens.
# negatives: written
""",
    ),
    "reranking": _Form(
        what="queries, each with passages that answer it well, a little, or not at all.",
        description="Questions to a public library and passages of its help pages, by how well they answer.",
        domain="the help pages of a public library",
        completes="passages come from",
        body=_TOPICS.format(ideas="questions")
        + """
# In place of topics, what people look for (of these two keep one):
# search_terms: ["renewing a card", "late fees"]
""",
    ),
    "sts": _Form(
        what="sentences, each with one of the same meaning and one in which a single fact differs.",
        description="Sentences of a newsletter; two are alike if they state the same facts.",
        domain="the newsletter of an allotment garden society",
        completes="a sentence from",
        body=_SENTENCES,
        phrases=("registers", "difficulties"),
    ),
    "bitext": _Form(
        what="sentences with their translations, and with translations in which a single fact differs.",
        description="Notices of an indoor swimming pool in English, and their German translations.",
        domain="the notice board of an indoor swimming pool",
        completes="a sentence from",
        body="target_language: deu-Latn  # of the translations\n\n"
        + _SENTENCES
        + "\n# The guide must know both languages; else set guide_order to false.\n",
        phrases=("registers", "difficulties"),
    ),
}


def task_form(kind: str, name: str, file: str) -> str:
    """The text of a task description of a kind (one of `gisttools.synthesis.KINDS`), to be written to `file`."""
    form = _FORMS[kind]
    lists = "".join(f"#\n# {_SAYS[key]}:\n# {key}: [{_quoted(_DEFAULTS[key])}]\n" for key in form.phrases)
    told = {"what": form.what, "description": form.description, "domain": form.domain, "completes": form.completes}
    return (
        _HEAD.format(**told, kind=kind, name=json.dumps(name, ensure_ascii=False), file=file)
        + form.body
        + _TAIL.format(lists=lists)
    )


def _quoted(phrases: tuple[str, ...]) -> str:
    return ", ".join(f'"{phrase}"' for phrase in phrases)
