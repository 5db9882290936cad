"""Makes triplets from a task description: thinks of ideas where needed, then plans, asks, judges and puts together in
rounds, until every group has its rows or nothing more may be asked.

The LLM of a labelled task writes one text a call, or a few that differ (the prompt `classification_several`); triplets
are put together from texts that passed the filters. A round is judged before the next is planned: what is asked for
depends on the answers alone, never on who answered first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gisttools.common import notice, tqdm
from gisttools.data import Leaving
from gisttools.synthesis.coverage import coverage
from gisttools.synthesis.forecast import forecast_of
from gisttools.synthesis.judge import Candidate, Judge, candidates_of
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.options import Checks, Known, SynthesisOptions
from gisttools.synthesis.partners import table_of
from gisttools.synthesis.plan import (
    CallPlan,
    Ideas,
    Requests,
    check_prompt,
    check_start,
    needs_ideas,
    quotas_of,
    unasked,
    write_ideas,
)
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.quota import Estimate, Quotas, in_words
from gisttools.synthesis.result import OVER_BUDGET, SynthesisResult
from gisttools.synthesis.second_looks import SecondLooks
from gisttools.synthesis.sieve import Guide, Sieve, check_checks, partners_of
from gisttools.synthesis.tallies import diversities, failures, live_pace, tally, written_by_group
from gisttools.synthesis.task import Task

# Why one text a call, and a rewritten one: of 42 answers of the embedded model (135 million parameters) to a request
# for anchor, positive and negative at once, 3 passed rough filters. Of 150 calls for one text, 55 passed the filters
# (27 lost their label) with the label's seeds as earlier turns, and 66 (13 lost it) by rewriting a seed.

PROBE = 8  # calls of the first round, from which the whole is estimated
_BATCH = 16  # texts judged at a time: few enough for a live count, enough to embed them together
_REDRAWN = 0.5  # seconds

log = logging.getLogger(__name__)


def generate(
    task: Task,
    llm: LLM,
    guide: Guide,
    options: SynthesisOptions | None = None,
    *,
    checks: Checks | None = None,
    known: Known | None = None,
) -> SynthesisResult:
    """Make triplets for a task. Where texts of the user's go to an endpoint that is not on this machine, that is told
    before the first call; to allow it is a run's business (`send_texts`), or whoever calls this.

    Args:
        task: what to write, see `read_task`.
        llm: who writes it.
        guide: whose similarities judge what is written.
        options: how much is written, and by which prompts.
        checks, known: what rows must stand up to, and the texts they are held against.

    Returns:
        Tables with the columns of `triplets.COLUMNS`, and the summary: task, kind, prompt_id, llm_model, base_url,
        wanted, dry_run, rounds, stopped (quota, attempts, budget or dry run), given_up (labels that the writer hardly
        ever writes, and why), failures (why calls failed), estimate,
        ideas (how many), diversity of written and real texts, `coverage`, calls (made now, ideas and blind looks too),
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
    check_checks(task, checks)
    template = load_prompt(options.prompt or task.prompt_for(small=llm.options.small), options.prompts)
    check_prompt(template)
    check_start(template, task)
    if lists := unasked(template, task):
        told = " and ".join(lists)
        notice(f"The prompt {template.name} does not use the {told} of {task.name}: name another where they matter.")
    if options.dry_run:
        llm = llm.live()
    reading = getattr(guide, "reading", None)  # before anything is asked for
    read = reading(task.seeds or list(task.groups.values()), warn=True) if reading else None
    wanted = quotas_of(task, options)
    forecast = forecast_of(task, template, wanted, options, llm.options, checks=checks, alone=llm.is_embedded)
    notice(forecast.in_words())
    Leaving.of(llm.options.elsewhere, task.given).tell()
    # before ideas are paid for: it refuses what it cannot judge by
    judge = Judge(task, template, guide.embed, checks, known, getattr(guide, "reads", None))
    ideas = Ideas(by_group={}, replies=[], calls=0)
    if needs_ideas(task, template):
        groups = PROBE if options.dry_run else None
        ideas = write_ideas(task, llm, wanted, options.seed, options.prompts, groups=groups)
    partners = partners_of(task, template, judge, checks, options.seed, guide)
    synthesis = _Rounds(
        llm=llm,
        sieve=Sieve(judge=judge, looks=SecondLooks(task, llm, checks, partners, options.prompts), partners=partners),
        plan=CallPlan(task, wanted, options.seed, ideas.by_group),
        requests=Requests(task, template),
        counts=Quotas(
            wanted,
            options.attempts,
            texts=template.texts,
            hasty=llm.options.transport == "batch",
            patient=not task.labels,
        ),
        ideas=ideas,
        anchor=template.layout.anchor,
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
        "given_up": synthesis.counts.given_up(),
        "stopped": _stopped(counts, options.dry_run),
        "failures": failures(candidates),
        "diversity": diversities(template, good, known, guide.embed),
        "coverage": coverage(written_by_group(template, good), known.labelled, guide.embed),
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
        "cached_calls": sum(c.reply.cached for c in candidates if c.first),
    }


@dataclass(kw_only=True)
class _Rounds:
    """The rounds of one synthesis, and the candidates so far."""

    llm: LLM
    sieve: Sieve
    plan: CallPlan
    requests: Requests
    counts: Quotas
    ideas: Ideas
    anchor: str  # the field of an answer that is a row's text, or a list of them
    rounds: int = 0
    began: float = field(default_factory=time.monotonic)
    shown: float = 0.0  # when the line of progress was last drawn

    @property
    def candidates(self) -> list[Candidate]:
        """All so far."""
        return self.sieve.candidates

    @property
    def asked(self) -> int:
        """Calls so far."""
        return sum(c.first for c in self.candidates)

    def run(self, rows: int, dry_run: bool) -> Estimate | None:
        """All rounds; what the first one says of the whole."""
        estimate = None
        probe = PROBE if self.llm.options.transport == "live" else None
        with tqdm(total=rows, desc="synthesize", unit="call") as bar:
            while batch := self.counts.next_round(None if self.candidates else probe):
                began = time.monotonic()
                bar.total = self.asked + max(sum(batch.values()), self.counts.calls_left())
                new = self._round(batch, bar)
                if estimate is None:
                    estimate = self._estimate(new, time.monotonic() - began)
                    self._tell(estimate, rows)
                if dry_run or any(c.reason == OVER_BUDGET for c in new) or self.llm.gave_up:
                    break
        return estimate

    def _round(self, batch: Mapping[str, int], bar: tqdm) -> list[Candidate]:
        new = self._ask(batch, bar)
        self.sieve.add(new)
        self.counts.count(self.candidates)
        self.rounds += 1
        return new

    def _ask(self, batch: Mapping[str, int], bar: tqdm) -> list[Candidate]:
        """All candidates of a round, judged in the order of the plan: what passes must not depend on who answers
        first."""
        items = self.plan.take(batch)
        arrived: dict[int, list[Candidate]] = {}
        judged: list[Candidate] = []
        waiting: list[Candidate] = []
        taken = 0
        for number, reply in self.llm.stream(self.requests.of(items)):
            arrived[number] = candidates_of(items[number], reply, self.anchor)
            while taken in arrived:
                waiting += arrived[taken]
                taken += 1
            if len(waiting) >= _BATCH or taken == len(items):
                self.sieve.judge.judge(waiting)
                judged += waiting
                waiting = []
            if time.monotonic() - self.shown >= _REDRAWN:  # tqdm's own pace counts rows, and rows come late
                self._show(bar, self.asked + len(arrived), judged)
        return judged

    def _show(self, bar: tqdm, asked: int, judged: Sequence[Candidate]) -> None:
        self.shown = time.monotonic()
        bar.n = asked
        seconds, priced = self.shown - self.began, self.llm.options.price is not None
        bar.set_postfix_str(live_pace([*self.candidates, *judged], seconds, self.llm.spent, priced))

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


def _stopped(counts: Mapping[str, Any], dry_run: bool) -> str:
    """Why no more was asked for."""
    if dry_run:
        return "dry run"
    if not counts["short"]:
        return "quota"
    return "budget" if OVER_BUDGET in counts["reasons"] else "attempts"
