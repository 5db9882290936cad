"""Makes triplets of texts that an LLM wrote elsewhere: the same filters, checks and partners as of those of `generate`,
and no LLM where no second look is asked for."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gisttools.common import DataError, ParameterError, did_you_mean, notice, tqdm
from gisttools.data import Leaving
from gisttools.synthesis.coverage import coverage
from gisttools.synthesis.judge import Candidate, Judge
from gisttools.synthesis.llm.asking import Reply
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.options import Checks, Known
from gisttools.synthesis.partners import table_of
from gisttools.synthesis.plan import PlannedCall
from gisttools.synthesis.prompts import SUBJECT, Row
from gisttools.synthesis.result import SynthesisResult
from gisttools.synthesis.second_looks import SecondLooks
from gisttools.synthesis.sieve import Guide, Sieve, check_checks, partners_of
from gisttools.synthesis.tallies import diversities, failures, tally, written_by_group
from gisttools.synthesis.task import WHOLE, Task
from gisttools.synthesis.written import WrittenText, WrittenTexts, in_plain_words

UNKNOWN = "unknown-label"
_BATCH = 1024  # texts judged at a time
_SHOWN = 5
_TEXT, _POSITIVE, _NEGATIVE = "text", "positive", "negative"

log = logging.getLogger(__name__)


def sift(
    written: WrittenTexts,
    guide: Guide,
    task: Task | None = None,
    *,
    llm: LLM | None = None,
    checks: Checks | None = None,
    known: Known | None = None,
    seed: int = 0,
    prompts: str | Path | None = None,
) -> SynthesisResult:
    """Make triplets of texts that were written elsewhere.

    Args:
        written: the texts, see `read_written`.
        guide: whose similarities judge them.
        task: what they were written for; one made of the texts themselves if None (`WrittenTexts.task`).
        llm: asked by the checks `blind` and `least_score` alone.
        checks, known: what rows must stand up to, and the texts they are held against.
        seed: of the partners that are drawn.
        prompts: a folder of the user's, where the prompts of second looks are looked for first.

    Returns:
        As `generate`. The summary has `texts` (file -> rows, revision, columns); what is of calls and quotas is None or
        empty, and tokens are those that batches tell.

    Raises:
        DataError: the task has labels and the texts have none, or only such as the task does not know; or the other
            way round.
        ParameterError: a check would do nothing, or asks an LLM that is not there.
        EndpointError: as `LLM.ask`.
    """
    checks, known = checks or Checks(), known or Known()
    task = written.task() if task is None else written.with_seeds(task)
    check_written(written, task)
    check_checks(task, checks)
    job = [task, checks, sorted(str(facts["revision"]) for facts in written.files.values())]
    with nullcontext() if llm is None else llm.for_job([*job, llm.options]):
        return _sift(written, guide, task, llm, _label_check(task, checks, known), known, seed, prompts)


def _sift(
    written: WrittenTexts,
    guide: Guide,
    task: Task,
    llm: LLM | None,
    checks: Checks,
    known: Known,
    seed: int,
    prompts: str | Path | None,
) -> SynthesisResult:
    start = time.monotonic()
    if llm is not None:
        Leaving.of(llm.options.elsewhere, [*task.given, *written.every_text]).tell()
    form = _form_of(written)
    reading = getattr(guide, "reading", None)
    read = reading([t.text for t in written.texts if t.reason is None], warn=True) if reading else None
    judge = Judge(task, form, guide.embed, checks, known, getattr(guide, "reads", None))
    partners = partners_of(task, form, judge, checks, seed, guide)
    sieve = Sieve(judge=judge, looks=SecondLooks(task, llm, checks, partners, prompts), partners=partners)
    candidates = _candidates(written, task, seed)
    with tqdm(total=len(candidates), desc="sift", unit="text") as bar:
        for begin in range(0, len(candidates), _BATCH):
            part = candidates[begin : begin + _BATCH]
            judge.judge([c for c in part if c.reason is None])
            bar.update(len(part))
    sieve.add(candidates)
    good, bad = ([c for c in candidates if (c.reason is None) == ok] for ok in (True, False))
    summary = {
        **_summary(written, task, llm, candidates),
        "guide_reading": read.facts if read else None,
        "seconds": round(time.monotonic() - start, 2),
        "diversity": diversities(form, good, known, guide.embed),
        "coverage": coverage(written_by_group(form, good), known.labelled, guide.embed),
    }
    accepted, rejected = (table_of(task, form, guide.guide_id, part) for part in (good, bad))
    return SynthesisResult(accepted=accepted, rejected=rejected, summary=summary)


def _summary(written: WrittenTexts, task: Task, llm: LLM | None, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """As that of `generate`, where nobody was asked."""
    priced = llm is not None and llm.options.price is not None
    counts = tally(candidates, dict.fromkeys(task.groups, 0), {}, priced)
    models = Counter(t.model for t in written.texts if t.model)
    return {
        "task": task.name,
        "kind": task.kind,
        "prompt_id": None,
        "wanted": None,
        "llm_model": ", ".join(name for name, _ in models.most_common()) or None,
        "base_url": None,
        "dry_run": False,
        "texts": {name: dict(facts) for name, facts in written.files.items()},
        "spent_usd": llm.spent.usd if llm is not None and priced else None,
        **counts,
        "by_label": {name: {k: n for k, n in of.items() if k != "wanted"} for name, of in counts["by_label"].items()},
        "stopped": "texts",
        "failures": failures(candidates),
        "calls": sum(r.calls for c in candidates for r in c.looks),
        "cached_calls": 0,
    }


@dataclass(frozen=True, kw_only=True)
class _ElsewhereForm:
    """How texts were written is not known; only which of them is which."""

    layout: Row
    output: dict[str, Any]
    variables: dict[str, str]
    prompt_id: None = None
    prompt_sha: None = None

    def own_texts(self) -> list[str]:
        """None that are known."""
        return []


def _form_of(written: WrittenTexts) -> _ElsewhereForm:
    several = range(1, 1 + max((len(t.negatives) for t in written.texts), default=0))
    negatives = tuple(f"{_NEGATIVE}_{i}" for i in several)
    anchor, positive = {
        "labels": (_TEXT, None),
        "passages": (_TEXT, SUBJECT),
        "seeds": (SUBJECT, _TEXT),
        "pairs": (_TEXT, _POSITIVE),
    }[written.shape]
    needed = [name for name in (anchor, positive) if name not in (None, SUBJECT)]
    texts: dict[str, dict] = {name: {"type": "string"} for name in (*needed, *negatives)}
    output = {"type": "object", "properties": texts, "required": needed}
    return _ElsewhereForm(
        layout=Row(anchor=anchor, positive=positive, negatives=negatives), output=output, variables={}
    )


def _candidates(written: WrittenTexts, task: Task, seed: int) -> list[Candidate]:
    """The texts, those that cannot be used with their reason."""
    subjects: dict[str, str] = {}  # of each seed or passage an id
    contrasts = random.Random(f"{seed}/contrasts")
    found = []
    for t in written.texts:
        label = task.labels.get(t.label or "")
        others = (label.confusable or [name for name in task.labels if name != t.label]) if label else ()
        item = PlannedCall(
            group=(t.label or "") if task.labels else WHOLE,
            contrast=contrasts.choice(others) if others else None,
            subject=t.given,
            subject_id=subjects.setdefault(t.given, f"seed:{len(subjects)}") if t.given else None,
            register="", persona="", length="", difficulty="",
        )  # fmt: skip
        unknown = task.labels and label is None and t.label is not None and t.reason is None
        reason = t.reason or (UNKNOWN if unknown else None)
        found.append(Candidate(item=item, reply=_reply(t), revision=t.revision, reason=reason))
    return found


def _reply(t: WrittenText) -> Reply:
    answer = {_TEXT: t.text} | ({_POSITIVE: t.positive} if t.positive else {})
    answer |= {f"{_NEGATIVE}_{i}": text for i, text in enumerate(t.negatives, 1)}
    return Reply(
        key=t.place, content=t.text, finish_reason=t.finish, model=t.model, tokens_in=t.tokens[0],
        tokens_out=t.tokens[1], answer=answer,
    )  # fmt: skip


def check_written(written: WrittenTexts, task: Task) -> None:
    """Tell of labels that a task does not know. Raises DataError where the texts do not suit it."""
    if task.documents:
        raise DataError(
            f"{task.name} starts from documents; of these questions are asked of an LLM, and none are read."
        )
    if (written.shape == "labels") != bool(task.labels):
        has = "labels" if task.labels else "no labels"
        raise DataError(
            f"{written.name} holds {written.shape}, and the task {task.name} has {has}. Name another task, or say which"
            " column is what (label=COLUMN)."
        )
    counts = Counter(t.label for t in written.texts if t.reason is None and t.label is not None)
    unknown = {name: n for name, n in counts.most_common() if name not in task.labels}
    if not task.labels or not unknown:
        return
    told = ", ".join(f"{name!r} ({n:,}){did_you_mean(name, task.labels)}" for name, n in [*unknown.items()][:_SHOWN])
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    line = f"{written.name}: {sum(unknown.values()):,} of {sum(counts.values()):,} texts have labels that the task"
    if len(unknown) == len(counts):
        raise DataError(
            f"{line} {task.name} does not have: {told}{more}. Its labels: {', '.join(task.labels)}. Rename them in one"
            " of the two, or name no task."
        )
    log.warning("%s %s does not have, and are left out: %s%s", line, task.name, told, more)


def _label_check(task: Task, checks: Checks, known: Known) -> Checks:
    """The checks, where nobody says what labels mean: a name alone is no centre, but labelled texts will do."""
    told = any(label.seeds or label.about != in_plain_words(name) for name, label in task.labels.items())
    if not task.labels or told or checks.label_by not in ("classifier", "centroids"):
        return checks
    of = {name for _, name in known.labelled}
    if set(task.labels) <= of and checks.label_by == "classifier":
        return checks
    by = "nearest" if set(task.labels) <= of else "none"
    how = "by the nearest labelled texts" if by == "nearest" else "by nothing: there are labelled texts of some at most"
    if by == "none" and checks.correct_labels:
        raise ParameterError(
            f"correct_labels is set, but {task.name} has neither seeds nor lines of its labels, and labelled texts of "
            "some at most: nothing says which label is right. Add some, or leave it out."
        )
    notice(f"{task.name}: labels have neither seeds nor lines, so that they are judged {how} (label_by {by})")
    return checks.model_copy(update={"label_by": by})
