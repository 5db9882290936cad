"""Writes `docs/reference.md` and `docs/rooms.md` from the code: `python -m gisttools.workflow.reference`.

The reference tells the parameters of every notebook and what the columns of the tables mean that runs leave behind; a
test holds it against the code and against the tables of real runs. Scores and differences lie between 0 and 1: a point
is 0.01.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from gisttools.common import PACKAGE
from gisttools.data import COLUMNS
from gisttools.workflow.params import VERBS
from gisttools.workflow.places import resolve

_INTERVAL = {"low": "lower end of the 95 % interval of the difference", "high": "upper end"}

TABLES: dict[str, dict[str, str]] = {
    "read: chunks.parquet": {
        "id": "document, place in it and a hash of the content: `guide/keys.md#3-1f2e3d4c`",
        "document": "path below the folder; of a table also the row",
        "title": "the document's",
        "headings": "those above the chunk, the outermost first",
        "text": "as it is written",
        "tokens": "of title, headings and text, as the student counts them",
        "file": "where it stands",
        "line": "where it begins: a line, of tables a row, of PDF a page",
        "part": "`train`, or `test`: held back",
    },
    "synthesize: questions.csv": {
        "keep": '"yes"; write "no" to throw a question out, and name the file as `decisions`',
        "part": "`train` or `test`",
        "form": "a question, keywords, a claim, a title, a message",
        "question": "what the LLM wrote",
        "heading": "title and headings of the chunk",
        "text": "of the chunk, which answers it",
        "chunk": "its id",
        "also": "ids of other chunks that answer it, one a line, where `also_answers` asked for them",
    },
    "convert: overlap.parquet": {
        "place": "number of the row that was left out, from 0",
        "row": "its id",
        "column": "`anchor`, `positive` or `negatives`",
        "text": "the text in it",
        "eval_set": "the evaluation set",
        "eval_text": "the text there that it overlaps",
        "tier": "`exact`, `near` or `semantic`",
        "score": "how alike: Jaccard similarity of trigrams, or the guide's cosine",
        "source": "the source that the row came from",
    },
    "finetune: history.parquet": {
        "step": "optimiser steps done",
        "epoch": "passes over the rows",
        "loss": "mean since the line before",
        "learning_rate": "at that step",
        "temperature": "of the loss",
        "retention": "the term that holds the student near its start; empty without `retain`",
        "masked_ap": "share of other positives that was masked, 0 to 1",
        "masked_aa": "of other anchors",
        "masked_pp": "of other positives, against the own positive",
        "masked_an": "of negatives",
        "positives": "mean effective number of positives a row; empty unless `same_label` is positive",
        "without_positives": "share of rows without one, which do not count",
        "without_negatives": "share of rows that met no negative, which teach nothing",
    },
    "finetune: masked_examples.parquet": {
        "anchor": "of the row",
        "candidate": "the text that was masked",
        "positive": "of the row",
        "block": "`ap`, `aa`, `pp` or `an`",
        "guide_score": "the guide's cosine of anchor and candidate; of two positives in `pp`",
        "threshold": "above which it masks",
        "masked_by": "`guide`, `label`, or both",
        "label": "the anchor's",
    },
    "evaluate: scores.parquet": {
        "role": "`base`, `tuned`, or the role of a seed or variant",
        "task": "its name",
        "task_type": "as mteb names it",
        "split": "the split that was scored",
        "subset": "language or configuration",
        "n_items": "test texts, pairs or queries",
        "n_draws": "few-shot draws or other repeats",
        "revision": "of the data",
        "mteb": "its version",
        "metric": "name of the metric",
        "is_main": "is it the task's main score?",
        "score": "0 to 1",
    },
    "evaluate: comparison.parquet": {
        "task": "its name",
        "task_type": "as mteb names it",
        "subset": "language or configuration",
        "metric": "the main score",
        "base": "score of the baseline",
        "tuned": "score of the tuned model, over several seeds the mean",
        "difference": "tuned − base",
        **_INTERVAL,
        "p": "two-sided, of no difference",
        "mde": "the smallest true difference that would be detected four times in five",
        "items_for_one_point": "test items needed to detect 1 point four times in five",
        "standard_error": "of the difference",
        "freedom": "degrees of freedom; empty for a resampled interval",
        "n_draws": "few-shot draws or other repeats",
        "method": "how the interval was made",
        "verdict": "`helped`, `hurt` or `not shown`",
        "n_items": "test items",
        "n_seeds": "seeds of the training",
        "seed_error": "standard error that other seeds bring; empty of one seed",
        "item_error": "standard error that other items and draws bring",
        "speaks_of": "`this checkpoint` of one seed, `the recipe` of several",
        "is_target": "is it a target, or a guard or second look?",
        "overlap": "test texts that the training table holds, or nearly; empty where that is not known",
        "n_test": "test texts",
        "in_train": "test texts in the task's own train split, as mteb counts them",
        "cleaned_task": "mteb's cleaned version of the task",
        "trained_on": "was the task's train split trained on?",
        "variant": "name of the recipe",
        "group": "the task of which mteb makes this one a part",
        "base_zero_shot": "is the baseline known not to have been trained on the task?",
        "zero_shot": "are both?",
        "p_holm": "p corrected for there being several tests",
        "allowed_loss": "of guards: what they may lose",
        "non_inferior": "of guards: does the whole interval lie above that loss?",
        "second_look": "is it another metric on the test texts of a target?",
    },
    "evaluate: items.parquet": {
        "task": "its name",
        "item": "number of the test text, from 0",
        "text": "the test text",
        "gold": "its label",
        "base_correct": "share of draws that the baseline got right",
        "tuned_correct": "the same of the tuned model",
        "base_answer": "what most draws answered",
        "tuned_answer": "the same of the tuned model",
        "subset": "language or configuration",
        "base_draws": "right or wrong, draw by draw",
        "tuned_draws": "the same of the tuned model, of several seeds one after the other",
        "variant": "name of the recipe",
    },
    "evaluate: queries.parquet": {
        "task": "its name",
        "subset": "language or configuration",
        "query": "id of the query",
        "text": "the query",
        "base": "its score with the baseline, by the task's main metric",
        "tuned": "the same with the tuned model; of several seeds the mean",
        "base_rank": "place of the first right document, from 1; null: not found",
        "tuned_rank": "the same with the tuned model, of several seeds the first",
        "answer": "the right document; of the 200 queries that changed most, null elsewhere",
        "base_found": "the document that came first with the baseline, of the same queries",
        "tuned_found": "the same with the tuned model",
        "variant": "name of the recipe",
    },
    "evaluate: averages.parquet": {
        "variant": "name of the recipe",
        "tasks": "over which: `all`, `targets`, `not trained on`, `zero-shot`",
        "name": "kind of task, or the mean of all",
        "n_tasks": "how many",
        "base": "mean score of the baseline",
        "tuned": "mean score of the tuned model",
        "difference": "tuned − base",
        **_INTERVAL,
        "p": "two-sided, of no difference",
        "verdict": "`helped`, `hurt` or `not shown`",
    },
    "evaluate: references.parquet": {
        "name": "of the model shown for comparison",
        "kind": "what it is",
        "task": "its name",
        "subset": "language or configuration",
        "metric": "the main score",
        "score": "0 to 1",
    },
    "evaluate: overlap.parquet": {
        "task": "whose test text it is",
        "text": "the test text",
        "training_text": "the text of the training table that it overlaps",
        "tier": "`exact` or `near`",
        "score": "how alike",
        "variant": "name of the recipe",
    },
    "evaluate: candidates.parquet": {
        "task": "its name",
        "subset": "language or configuration",
        "metric": "accuracy of labelled texts, of a search its main score",
        "name": "what the candidate is called",
        "kind": "`floor`, `classic`, `head`, `base`, `tuned`, `guide` or `reference`",
        "what": "what it is, in a few words",
        "score": "of labelled texts with a classifier fitted on all train labels; over several seeds the mean",
        "difference": "to the best candidate, negative where it is less; empty of the best",
        "low": "lower end of its 95 % interval; those of one task hold together (Holm)",
        "high": "upper end",
        "best": "is it the one of the highest score?",
        "few_shot": "mteb's accuracy, of a classifier fitted on a few texts a class",
        "samples_per_label": "how many texts a class these are",
        "macro_f1": "with the classifier fitted on all train labels",
        "n_train": "train texts that the classifier was fitted on",
        "encoder_labels": "labelled texts that the encoder was trained on; empty where that is not known",
        "n_test": "test texts or queries",
        "n_classes": "classes of train and test texts",
        "megabytes": "what has to be kept to use it: weights, classifier, words; of BM25 empty",
        "texts_per_s": "texts (of a search queries) a second on the machine of the evaluation, 32 at a time",
        "dollars": "US dollars spent on LLM answers for its training rows; empty where not known",
        "seeds": "trainings behind it",
    },
    "evaluate: classes.parquet": {
        "task": "its name",
        "subset": "language or configuration",
        "candidate": "its name",
        "seed": "number of the training, from 0",
        "label": "the class",
        "precision": "share of the texts that were given this class which are of it",
        "recall": "share of the texts of this class which were given it",
        "f1": "harmonic mean of both",
        "support": "test texts of the class",
    },
    "evaluate: answers.parquet": {
        "task": "its name",
        "subset": "language or configuration",
        "item": "number of the test text, from 0",
        "text": "the test text",
        "gold": "its label",
        "candidate": "its name",
        "seed": "number of the training, from 0",
        "answer": "the most probable label, with the classifier fitted on all train labels",
        "probability": "of that label, as the classifier says it; not calibrated",
    },
    "evaluate: failed.parquet": {
        "task": "its name",
        "model": "role of the model, or name of the reference",
        "error": "in one line",
        "is_target": "is it a target?",
    },
    "evaluate: embedding.parquet": {
        "role": "`base` or `tuned`",
        "kind": "`point`; `same` and `different`, shares of pairs; `explained`, `separation`, `neighbours`, one number",
        "text": "of a point",
        "label": "of a point",
        "x": "of a point: first principal component",
        "y": "of a point: second principal component",
        "neighbour": "of a point: label of the nearest other text",
        "low": "of a share of pairs: cosines from",
        "high": "to",
        "value": "the share or number",
    },
    "cost_to_gain: curve.parquet": {
        "rows": "size of the training table",
        "cost_usd": "US dollars of these rows; empty where not known",
        "priced_rows": "rows whose price is known",
        "seeds": "trainings of this size",
        "score": "mean over seeds",
        "seed_sd": "standard deviation over seeds",
        "seed_scores": "each of them",
        "gain": "over the baseline",
        "low": "lower end of its 95 % interval",
        "high": "upper end",
        "step": "over the size before",
        "step_low": "lower end of its 95 % interval",
        "step_high": "upper end",
    },
    "compare: leaderboard.csv": {
        "rank": "1 is the best",
        "recipe": "the parameters that set it apart",
        "seeds": "trainings of the recipe",
        "score": "mean over seeds",
        "seed_sd": "standard deviation over seeds",
        "difference": "over the baseline",
        **_INTERVAL,
        "verdict": "`helped`, `hurt`, `not shown`, or `too few seeds`",
        "word": "of targets and guards: `HELPED`, `HURT`, `MIXED` or `NOT SHOWN`; `NO VERDICT` below three seeds",
        "behind": "difference to the best; empty of the best itself",
        "behind_low": "lower end of its 95 % interval",
        "behind_high": "upper end",
        "with_best": "is it not distinguishable from the best?",
        "seconds": "of one training",
        "cost_usd": "US dollars of its rows",
        "runs": "evaluate runs",
        "alike": "variants of the very same models, which this row stands for",
    },
}


# one line for each column of the triplet table
TRIPLET_COLUMNS = {
    "id": "16 hex digits, a hash of the texts",
    "anchor": "the text that is asked about",
    "positive": "a text that belongs to it",
    "negatives": "texts that do not; may be empty",
    "anchor_label": "the anchor's label, where it has one",
    "positive_label": "the positive's label; of reranking its grade",
    "negative_labels": "a label of each negative; of reranking their grades",
    "task_name": "the task that the row is of",
    "task_type": "its type, as mteb names it",
    "language": "ISO 639-3 and script, as `eng-Latn`; of translations both",
    "source": "`llm`, `labelled` or `hub`",
    "source_revision": "commit or hash of that source",
    "seed_ids": "ids of the texts that the LLM was shown",
    "prompt_id": "name and version of the prompt",
    "prompt_sha": "hash of the prompt",
    "attributes": "JSON: in which way the LLM was to write",
    "negative_sources": "of each negative: `written`, `replaced`, `mined` or `label`",
    "llm_model": "name of the LLM",
    "call_key": "key of the call in the LLM's cache",
    "tokens_in": "tokens of the prompt",
    "tokens_out": "tokens of the answer",
    "cost_usd": "US dollars; empty where no price is known",
    "guide_id": "what identifies the guide",
    "guide_ap": "the guide's cosine of anchor and positive",
    "guide_an": "its cosine of the anchor and each negative",
    "live": "does at least one negative survive the guide's mask?",
    "status": "`accepted` or `rejected`",
    "reject_reason": "why it was rejected",
}


def reference() -> str:
    """The page, as Markdown."""
    parts = [
        "# Reference",
        "Written by `python -m gisttools.workflow.reference`; change the code, not this page.",
        "## Parameters",
        "Set one with `gisttools run VERB -p NAME VALUE`, in a recipe with `-p STEP.NAME VALUE`.",
    ]
    for verb, model in VERBS.items():
        rows = [_parameter(name, field) for name, field in model.model_fields.items()]
        parts += [f"### {verb}", _table(("parameter", "type", "default", "what it is"), rows)]
    parts += ["## The triplet table", "`triplets.parquet` and `rejected.parquet` have exactly these columns."]
    columns = [(f"`{column.name}`", f"`{column.type}`", TRIPLET_COLUMNS[column.name]) for column in COLUMNS]
    parts.append(_table(("column", "type", "what it is"), columns))
    parts += [
        "## Other tables",
        "Scores and differences lie between 0 and 1: a point is 0.01. A cell is empty where a thing is not known.",
    ]
    for name, told in TABLES.items():
        rows = [(f"`{column}`", what) for column, what in told.items()]
        verb, _, file = name.partition(": ")
        parts += [f"### {file} of {verb}", _table(("column", "what it is"), rows)]
    return "\n\n".join(parts) + "\n"


def rooms() -> str:
    """`docs/rooms.md`: the package's tree, with the first sentence of every module's docstring."""
    parts = [
        "# The rooms",
        "Written by `python -m gisttools.workflow.reference`, from the docstrings. Which room may import which: "
        "[design.md](design.md#the-rooms).",
    ]
    for room in sorted(p.parent for p in PACKAGE.glob("*/__init__.py")):
        files = [p for p in sorted(room.rglob("*.py")) if p != room / "__init__.py"]
        rows = [(f"`{p.relative_to(room).with_suffix('').as_posix()}`", _sentence(p)) for p in files]
        rows = [(name.replace("/__init__", "/"), told) for name, told in rows]
        parts += [f"## {room.name}", _sentence(room / "__init__.py"), _table(("module", "what it does"), rows)]
    return "\n\n".join(parts) + "\n"


def _sentence(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    told = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", told)[0]


def _parameter(name: str, field: FieldInfo) -> tuple[str, ...]:
    plain = field.annotation if isinstance(field.annotation, type) and not get_args(field.annotation) else None
    told = plain.__name__ if plain else re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(field.annotation))
    told = re.sub(r"Annotated\[([\w\[\]]+), FieldInfo\(.*?\]\)\]", r"\1", told)  # the bounds are in the text
    default = json.dumps(field.get_default(call_default_factory=True), ensure_ascii=False)
    return f"`{name}`", f"`{told}`", f"`{default}`", field.description or ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    Path(resolve("docs"), "reference.md").write_text(reference(), encoding="utf-8")
    Path(resolve("docs"), "rooms.md").write_text(rooms(), encoding="utf-8")
