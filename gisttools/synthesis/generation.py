"""Makes triplets from a task description: thinks of ideas where needed, then plans, asks, judges and puts together in
rounds, until every group has its rows or nothing more may be asked.

The LLM of a labelled task writes one text a call, and triplets are put together from texts that passed the filters. A
round is judged before the next is planned: what is asked for depends on the answers alone, never on who answered first.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from datasets import Dataset

from gisttools.common import DataError, ParameterError, notice, plural, problems, tqdm
from gisttools.synthesis.filters import was_cleaned
from gisttools.synthesis.forecast import forecast_of
from gisttools.synthesis.judge import Candidate, Embed, Judge
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.options import Checks, Known, SynthesisOptions
from gisttools.synthesis.partners import LabelPartners, WrittenPartners, cost_of, is_live, table_of
from gisttools.synthesis.plan import (
    ATTRIBUTES,
    CallPlan,
    Ideas,
    Requests,
    check_prompt,
    check_start,
    needs_ideas,
    quotas_of,
    write_ideas,
)
from gisttools.synthesis.prompts import SUBJECT, Prompt, load_prompt
from gisttools.synthesis.quota import Estimate, Quotas, in_words
from gisttools.synthesis.round_trip import DocumentPartners
from gisttools.synthesis.second_looks import SecondLooks, confusion
from gisttools.synthesis.task import TEST, TRAIN, Task

# Why one text a call, and a rewritten one: of 42 answers of the embedded model (135 million parameters) to a request
# for anchor, positive and negative at once, 3 passed rough filters. Of 150 calls for one text, 55 passed the filters
# (27 lost their label) with the label's seeds as earlier turns, and 66 (13 lost it) by rewriting a seed.

Partners: TypeAlias = LabelPartners | WrittenPartners | DocumentPartners
OVER_BUDGET = "over-budget"
PROBE = 8  # calls of the first round, from which the whole is estimated
_BATCH = 16  # texts judged at a time: few enough for a live count, enough to embed them together
_REDRAWN = 0.5  # seconds
_PENDING = ("no-partner", "guide-order")  # rows that may still be completed by more texts
_SAMPLE = 500  # texts that diversity is measured on
_NAMED = 3  # groups named in a headline, and failures in a message
_WORDS = 300  # characters of a failure that are told

log = logging.getLogger(__name__)


class Guide(Protocol):
    """What judges texts: a name, and unit vectors (n, dim) of n texts. A `VectorCache` is one."""

    @property
    def guide_id(self) -> str:
        """Its name, for the table."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of the texts."""


def generate(
    task: Task,
    llm: LLM,
    guide: Guide,
    options: SynthesisOptions | None = None,
    *,
    checks: Checks | None = None,
    known: Known | None = None,
) -> SynthesisResult:
    """Make triplets for a task.

    Args:
        task: what to write, see `read_task`.
        llm: who writes it.
        guide: whose similarities judge what is written.
        options: how much is written, and by which prompts.
        checks, known: what rows must stand up to, and the texts they are held against.

    Returns:
        Tables with the columns of `triplets.COLUMNS`, and the summary: task, kind, prompt_id, llm_model, base_url,
        wanted, dry_run, rounds, stopped (quota, attempts, budget or dry run), failures (why calls failed), estimate,
        ideas (how many), diversity of written and real texts, calls (made now, ideas and blind looks included),
        cached_calls (rows that needed none), spent_usd (now, also on calls that may have to be paid without an answer),
        idea_cost_usd, seconds, and what `tally` counts. tokens_in, tokens_out and cost_usd are of all answers to rows,
        cached ones too.

    Raises:
        EndpointError: the endpoint cannot be used; see `LLM.stream`.
        ParameterError, MissingError, DataError: a value, a prompt or the cache is no good, or an answer is to be
            replayed that was not recorded.
    """
    options, checks, known = options or SynthesisOptions(), checks or Checks(), known or Known()
    with llm.for_job([task, options, checks, llm.options]):
        return _generate(task, llm, guide, options, checks, known)


def _generate(
    task: Task, llm: LLM, guide: Guide, options: SynthesisOptions, checks: Checks, known: Known
) -> SynthesisResult:
    start, spent_before = time.monotonic(), llm.spent.usd
    _check(task, checks)
    template = load_prompt(options.prompt or task.prompt, options.prompts)
    check_prompt(template)
    check_start(template, task)
    if options.dry_run:
        llm = llm.live()
    reading = getattr(guide, "reading", None)  # before anything is asked for
    read = reading(task.seeds or list(task.groups.values()), warn=True) if reading else None
    wanted = quotas_of(task, options)
    forecast = forecast_of(task, template, wanted, options, llm.options, checks=checks, alone=llm.is_embedded)
    notice(forecast.in_words())
    ideas = Ideas(by_group={}, replies=[], calls=0)
    if needs_ideas(task, template):
        groups = PROBE if options.dry_run else None
        ideas = write_ideas(task, llm, wanted, options.seed, options.prompts, groups=groups)
    judge = Judge(task, template, guide.embed, checks, known, getattr(guide, "reads", None))
    partners = _partners(task, template, judge, checks, options.seed, guide)
    synthesis = _Rounds(
        llm=llm,
        judge=judge,
        looks=SecondLooks(task, llm, checks, partners, options.prompts),
        partners=partners,
        plan=CallPlan(task, wanted, options.seed, ideas.by_group),
        requests=Requests(task, template),
        counts=Quotas(wanted, options.attempts, hasty=llm.options.transport == "batch"),
        ideas=ideas,
    )
    estimate = synthesis.run(sum(wanted.values()), options.dry_run)
    candidates, priced = synthesis.candidates, llm.options.price is not None
    good, bad = ([c for c in candidates if (c.reason is None) == ok] for ok in (True, False))
    counts = tally(candidates, wanted, template.variables, priced)
    summary = {
        "task": task.name,
        "kind": task.kind,
        "prompt_id": template.prompt_id,
        "wanted": sum(wanted.values()),
        "llm_model": llm.options.models,
        "base_url": llm.options.url,
        "dry_run": options.dry_run,
        "guide_reading": read.facts if read else None,
        "rounds": synthesis.rounds,
        "forecast": forecast.facts(),
        "estimate": estimate,
        "spent_usd": llm.spent.usd - spent_before if priced else None,
        "seconds": round(time.monotonic() - start, 2),
        **counts,
        "stopped": _stopped(counts, options.dry_run),
        "failures": _failures(candidates),
        "diversity": _diversities(template, good, known, guide.embed),
        **_calls_made(candidates, ideas, priced),
    }
    if not counts["short"] or not counts["reasons"].keys() & {OVER_BUDGET, "call-failed"}:
        llm.forget_spent()
    accepted, rejected = (table_of(task, template, guide.guide_id, part) for part in (good, bad))
    return SynthesisResult(accepted=accepted, rejected=rejected, summary=summary)


def _calls_made(candidates: Sequence[Candidate], ideas: Ideas, priced: bool) -> dict[str, Any]:
    """How many calls it took, blind looks and ideas included, and what the ideas cost."""
    replies = [r for c in candidates for r in (c.reply, *c.looks)] + ideas.replies
    return {
        "ideas": sum(map(len, ideas.by_group.values())),
        "idea_cost_usd": sum(r.cost_usd or 0.0 for r in ideas.replies) if priced else None,
        "calls": sum(r.calls for r in replies),
        "cached_calls": sum(c.reply.cached for c in candidates),
    }


@dataclass(frozen=True, kw_only=True)
class SynthesisResult:
    """Two triplet tables and the figures of the synthesis. A rejected row may lack positive and negatives."""

    accepted: Dataset
    rejected: Dataset
    summary: dict

    def headline(self) -> str:
        """One line: how many rows were accepted, and what stopped most of the others."""
        s = self.summary
        if s["dry_run"]:
            took = f"dry run, {s['accepted']} of {s['asked']} rows accepted"
            return f"{took}; {s['wanted']} would take {in_words(s['estimate'])}"
        line = f"{s['accepted']} rows of {s['asked']} asked for ({s['accepted'] / s['asked']:.0%})"
        if test := s["by_label"].get(TEST) if TRAIN in s["by_label"] else None:
            line += f", {test['accepted']} of them to test with"
        line += f", {s['wanted']} wanted; short of {_named(s['short'])}" if s["short"] else ""
        reasons = [f"{reason} {n}" for reason, n in list(s["reasons"].items())[:3]]
        return f"{line}; most rejects: {', '.join(reasons)}" if reasons else line

    def missing(self) -> str:
        """What is lacking and how to get it; empty where nothing is, or where no more could be had."""
        s = self.summary
        failed, over = (s["reasons"].get(name, 0) for name in ("call-failed", OVER_BUDGET))
        if s["dry_run"] or not s["short"] or not (failed or over):
            return ""
        lacking = f"{plural(sum(s['short'].values()), 'row')} of {s['wanted']:,} are missing"
        if over:
            return (
                f"{lacking}, for the budget is used up. Set a larger one: -p budget_usd or budget_tokens (in a recipe"
                " STEP.budget_usd). What was answered costs nothing again."
            )
        return (
            f"{lacking}; {plural(failed, 'call')} failed. Run the same command again: what was answered is kept, and"
            " only the failed calls are made anew."
        )

    def refuse_nothing(self) -> None:
        """Raise a `DataError` where not one row was accepted."""
        s = self.summary
        if s["accepted"] or s["dry_run"]:
            return
        reasons = ", ".join(f"{reason} {n}" for reason, n in s["reasons"].items())
        said = "".join(f" Of the calls that failed, {n}: {words}." for words, n in s["failures"].items())
        raise DataError(
            f"None of {s['asked']:,} texts that were asked for was accepted ({reasons}).{said} browse.html shows what"
            " came and why it was not taken."
        )

    def bill(self) -> pd.Series:
        """What it took, as people read it: calls, tokens, US dollars where the price is known, and what the first few
        calls had promised."""
        s = self.summary
        counts = ("asked", "accepted", "live_negatives", "replaced_negatives", "calls", "tokens_in", "tokens_out")
        told = {name.replace("_", " "): f"{s[name]:,}" for name in counts}
        for name in ("cost_usd", "cost_per_accepted", "cost_per_live"):
            known = "price not known" if s["cost_usd"] is None else "-"
            told[name.removesuffix("_usd").replace("_", " ")] = known if s[name] is None else f"${s[name]:.4f}"
        return pd.Series({"stopped by": s["stopped"], **told, "first calls promised": in_words(s["estimate"])})

    def diversity(self) -> pd.DataFrame:
        """How different the written texts are, compared with equally many real ones: see the function `diversity`."""
        return pd.DataFrame.from_dict(self.summary["diversity"], orient="index")

    def rejects(self, each: int = 2) -> pd.DataFrame:
        """A few rejected rows of each reason, the most frequent first."""
        columns = ["reject_reason", "anchor_label", "anchor", "positive"]
        table = self.rejected.to_pandas()[columns]
        found = table.groupby("reject_reason").head(each)
        counts = table["reject_reason"].value_counts()
        order = (-found["reject_reason"].map(counts).astype(int)).argsort(kind="stable")
        return found.iloc[order].reset_index(drop=True)


@dataclass(kw_only=True)
class _Rounds:
    """The rounds of one synthesis, and the candidates so far."""

    llm: LLM
    judge: Judge
    looks: SecondLooks
    partners: Partners
    plan: CallPlan
    requests: Requests
    counts: Quotas
    ideas: Ideas
    candidates: list[Candidate] = field(default_factory=list)
    rounds: int = 0
    shown: float = 0.0  # when the line of progress was last drawn

    def run(self, rows: int, dry_run: bool) -> Estimate | None:
        """All rounds; what the first one says of the whole."""
        estimate = None
        probe = PROBE if self.llm.options.transport == "live" else None
        with tqdm(total=rows, desc="synthesize", unit="call") as bar:
            while batch := self.counts.next_round(None if self.candidates else probe):
                began = time.monotonic()
                bar.total = len(self.candidates) + max(sum(batch.values()), self.counts.calls_left())
                new = self._round(batch, bar)
                if estimate is None:
                    estimate = self._estimate(new, time.monotonic() - began)
                    self._tell(estimate, rows)
                if dry_run or any(c.reason == OVER_BUDGET for c in new) or self.llm.gave_up:
                    break
        return estimate

    def _round(self, batch: Mapping[str, int], bar: tqdm) -> list[Candidate]:
        new = self._ask(batch, bar)
        self.looks.at_texts([c for c in new if c.reason is None])
        passed = [c for c in new if c.reason is None]
        pending = [c for c in self.candidates if c.reason in _PENDING]
        self.partners.complete(passed, [*pending, *passed])
        self.looks.at_rows([c for c in passed if c.reason is None])
        for c in (*pending, *new):
            if c.reason not in _PENDING:
                c.vectors = {}  # whoever needs them later has them in a pool
        self.candidates += new
        self.counts.count(self.candidates)
        self.rounds += 1
        return new

    def _ask(self, batch: Mapping[str, int], bar: tqdm) -> list[Candidate]:
        """All candidates of a round, judged in the order of the plan: what passes must not depend on who answers
        first."""
        items = self.plan.take(batch)
        arrived: dict[int, Candidate] = {}
        waiting: list[Candidate] = []
        done = 0
        for number, reply in self.llm.stream(self.requests.of(items)):
            arrived[number] = Candidate(item=items[number], reply=reply)
            while done + len(waiting) in arrived:
                waiting.append(arrived[done + len(waiting)])
            if len(waiting) >= _BATCH or done + len(waiting) == len(items):
                self.judge.judge(waiting)
                done, waiting = done + len(waiting), []
            self._show(bar, len(self.candidates) + len(arrived))
        return [arrived[i] for i in range(len(items))]

    def _show(self, bar: tqdm, asked: int) -> None:
        if time.monotonic() - self.shown < _REDRAWN:  # tqdm's own pace counts rows, and rows come late
            return
        self.shown = time.monotonic()
        spent, rows = self.llm.spent, sum(self.counts.accepted.values())
        money = f"${spent.usd:.4f}" if self.llm.options.price else "cost unknown"
        bar.n = asked
        bar.set_postfix_str(f"{rows} rows so far, {spent.tokens:,} tokens, {money}")

    def _estimate(self, first: Sequence[Candidate], seconds: float) -> Estimate:
        """What all rows take by the first of them, and the ideas before."""
        options, ideas = self.llm.options, self.ideas
        found = self.counts.estimate(first, seconds, options.at_once, options.price is not None)
        if ideas.calls:
            share = ideas.calls / len(ideas.replies)
            found["calls"] += ideas.calls
            found["tokens"] += round(share * sum(r.tokens_in + r.tokens_out for r in ideas.replies))
            if found["cost_usd"] is not None:
                found["cost_usd"] += share * sum(r.cost_usd or 0.0 for r in ideas.replies)
        return found

    def _tell(self, estimate: Estimate, rows: int) -> None:
        log.info("%d rows would take %s", rows, in_words(estimate))
        options, spent = self.llm.options, self.llm.spent
        left = (
            (estimate["tokens"], options.budget_tokens, spent.tokens),
            (estimate["cost_usd"], options.budget_usd, spent.usd),
        )
        for needed, budget, so_far in left:
            if budget is not None and needed is not None and needed > budget - so_far:
                log.warning("the budget will end before all rows are there: %s of %s", needed, budget)


def _partners(task: Task, prompt: Prompt, judge: Judge, checks: Checks, seed: int, guide: Guide) -> Partners:
    if task.documents:
        return DocumentPartners(task, checks, *_sides(guide, task))
    if prompt.layout.positive is None:
        return LabelPartners(task, judge, checks, seed)
    return WrittenPartners(task, checks, judge.given(task.passages))


def _sides(guide: Any, task: Task) -> tuple[Embed, Embed]:
    """How the guide embeds questions, and chunks: behind its prompts for either, where it has some."""
    if not hasattr(guide, "with_prompt"):
        return guide.embed, guide.embed
    asked, answers = guide.prompts.of(task.name, task.spec.task_type, searches=True)
    return guide.with_prompt(asked).embed, guide.with_prompt(answers).embed


def _check(task: Task, checks: Checks) -> None:
    found = []  # what is switched off where there is none of it does no harm
    told = {name: value for name, value in checks.changed().items() if value not in (None, "none", False, 0)}
    if not task.labels:
        labels = [name for name in ("blind", "label_by") if name in told]
        found += [f"{name} is for tasks with labels, and {task.name} has none" for name in labels]
    elif "skip_nearest" in told:
        found.append(f"skip_nearest is for mined negatives; those of {task.name} are texts of other labels")
    if not task.documents:
        named = [name for name in ("found_by", "also_answers") if name in told]
        found += [f"{name} is for questions on documents, and {task.name} starts from {task.start}" for name in named]
    if task.documents and "skip_nearest" in told:
        found.append("skip_nearest is for mined negatives; those of questions on documents are mined by 2_convert")
    if not task.spec.round_trip and "top_k" in told:
        found.append(f"top_k is for retrieval and reranking, and {task.name} is of kind {task.kind}")
    if found:
        raise ParameterError(problems("checks that would do nothing:", found, "Leave them out."))


def tally(
    candidates: Sequence[Candidate], quotas: Mapping[str, int], variables: Mapping[str, str], priced: bool
) -> dict[str, Any]:
    """The counts of a summary: asked, accepted, rejected, reasons, by_label (by group: wanted, asked, accepted),
    cleaned (accepted rows that invisible characters were taken out of), short (groups below their quota), by_attribute,
    live_negatives, replaced_negatives, tokens, cost, cost_per_accepted, cost_per_live (US dollars, None where the price
    is not known), confusion of the blind look."""
    good = [c for c in candidates if c.reason is None]
    asked, accepted = (Counter(c.item.group for c in part) for part in (candidates, good))
    seen = confusion(candidates)
    return {
        "asked": len(candidates),
        "accepted": len(good),
        "rejected": len(candidates) - len(good),
        "reasons": dict(Counter(c.reason for c in candidates if c.reason).most_common()),
        "cleaned": sum(was_cleaned(c.reply) for c in good),
        "by_label": {g: {"wanted": n, "asked": asked[g], "accepted": accepted[g]} for g, n in quotas.items()},
        "short": {g: n - accepted[g] for g, n in quotas.items() if accepted[g] < n},
        "by_attribute": {a: _by(candidates, a) for a in ATTRIBUTES if a in variables},
        "replaced_negatives": sum("replaced" in c.negative_sources for c in good),
        **_bill(candidates, good, priced),
        "confusion": seen.to_dict("index") if len(seen) else None,
    }


def _bill(candidates: Sequence[Candidate], good: Sequence[Candidate], priced: bool) -> dict[str, Any]:
    """Tokens and dollars of all candidates; dollars for each accepted row, and for each with a usable negative."""
    tokens_in, tokens_out, cost = (sum(column) for column in zip((0, 0, 0.0), *map(cost_of, candidates), strict=True))
    live = sum(bool(is_live(c)) for c in good)
    return {
        "live_negatives": live,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "cost_usd": cost if priced else None,
        "cost_per_accepted": cost / len(good) if priced and good else None,
        "cost_per_live": cost / live if priced and live else None,
    }


def diversity(texts: Sequence[str], embed: Embed, like: int | None = None, seed: int = 0) -> dict[str, Any] | None:
    """How different texts are, on at most `like` (500) of them, drawn by seed: shares that depend on their number can
    only be compared between equally many texts.

    Returns:
        texts (how many), words (a text, mean), distinct_1 and distinct_2 (different words and pairs of words among all;
        Li et al., A diversity-promoting objective function, 2016), similarity (mean guide cosine of two different
        texts); None of fewer than two texts.
    """
    texts = list(dict.fromkeys(texts))
    count = min(len(texts), _SAMPLE, like or _SAMPLE)
    if count < 2:
        return None
    drawn = random.Random(seed).sample(texts, count)
    words = [text.casefold().split() for text in drawn]
    pairs = [pair for line in words for pair in pairwise(line)]
    singles = [word for line in words for word in line]
    total = np.asarray(embed(drawn)).sum(axis=0)
    return {
        "texts": count,
        "words": round(len(singles) / count, 1),
        "distinct_1": round(len(set(singles)) / max(1, len(singles)), 3),
        "distinct_2": round(len(set(pairs)) / max(1, len(pairs)), 3),
        "similarity": round(float((total @ total - count) / (count * (count - 1))), 3),
    }


def _by(candidates: Sequence[Candidate], attribute: str) -> dict[str, dict[str, int]]:
    asked = Counter(getattr(c.item, attribute) for c in candidates)
    accepted = Counter(getattr(c.item, attribute) for c in candidates if c.reason is None)
    return {value: {"asked": n, "accepted": accepted[value]} for value, n in sorted(asked.items())}


def _named(short: Mapping[str, int]) -> str:
    """The groups that fall short, the worst first."""
    worst = sorted(short.items(), key=lambda pair: -pair[1])
    names = [f"{name} {n}" for name, n in worst[:_NAMED]]
    return ", ".join(names) + (f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else "")


def _failures(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Why calls failed, in the endpoint's words, the most frequent first, and how often."""
    replies = (reply for c in candidates if c.reason == "call-failed" for reply in (c.reply, *c.looks))
    words = Counter(reply.content[:_WORDS] for reply in replies if reply.finish_reason == "error")
    return dict(words.most_common(_NAMED))


def _stopped(counts: Mapping[str, Any], dry_run: bool) -> str:
    """Why no more was asked for."""
    if dry_run:
        return "dry run"
    if not counts["short"]:
        return "quota"
    return "budget" if OVER_BUDGET in counts["reasons"] else "attempts"


def _diversities(prompt: Prompt, good: Sequence[Candidate], known: Known, embed: Embed) -> dict[str, Any]:
    """Of the texts that the LLM wrote, and of real ones, equally many of each where there are any."""
    real = [text for text, _ in known.labelled]
    written = [c.positive_text if prompt.layout.anchor == SUBJECT else c.anchor_text for c in good]
    fewest = min(len(set(written)), len(set(real))) if real else None
    found = {"written": diversity(written, embed, fewest), "real": diversity(real, embed, fewest)}
    return {name: value for name, value in found.items() if value is not None}
