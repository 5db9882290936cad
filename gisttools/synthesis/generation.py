"""From a task description to triplets: think of ideas where need be, then plan, ask, filter and put together in rounds,
until every group has its rows or nothing more may be asked.

The LLM of a labelled task writes one text a call, and triplets are put together from texts that passed the filters.
"""

# Why one text a call, and a rewritten one: of 42 answers of the embedded model (135 million parameters) to a request
# for anchor, positive and negative at once, 3 passed rough filters. Of 150 calls for one text, 55 passed the filters
# (27 lost their label) with the label's seeds as earlier turns, and 66 (13 lost it) by rewriting a seed.

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gisttools.common import ParameterError, problems, tqdm
from gisttools.synthesis.blind import ask_blind
from gisttools.synthesis.checks import Checks, Known
from gisttools.synthesis.ideas import Ideas, needs_ideas, write_ideas
from gisttools.synthesis.judge import Candidate, Embed, Judge
from gisttools.synthesis.llm import LLM
from gisttools.synthesis.outcome import Outcome, in_words, outcome_of
from gisttools.synthesis.partners import LabelPartners, WrittenPartners
from gisttools.synthesis.plan import Plan, Requests, check_prompt, check_start, quotas
from gisttools.synthesis.prompts import Prompt, load_prompt
from gisttools.synthesis.quota import PROBE, Quotas
from gisttools.synthesis.task import Task

__all__ = ["Outcome", "generate"]
_BATCH = 16  # texts judged at a time: few enough for a live count, enough to embed them together
_REDRAWN = 0.5  # seconds
_PENDING = ("no-partner", "guide-order")  # what more texts may mend

log = logging.getLogger(__name__)


def generate(
    task: Task,
    llm: LLM,
    *,
    rows: int,
    seed: int,
    embed: Embed,
    guide_id: str,
    attempts: float = 4.0,
    prompt: str | Path | None = None,
    prompts: str | Path | None = None,
    checks: Checks | None = None,
    known: Known | None = None,
    dry_run: bool = False,
) -> Outcome:
    """Make triplets for a task.

    Args:
        task: what to write, see `read_task`.
        llm: who writes it.
        rows: accepted rows wanted, shared out equally between the task's groups (labels, topics, search terms).
        seed: seed of the plan and of the choice of positives and negatives.
        embed: guide; n texts to vectors (n, dim) of unit length.
        guide_id: name of the guide, for the table.
        attempts: calls for each wanted row, at most.
        prompt: name or path of a prompt file; the kind's own where None.
        prompts: a folder of the user's, where prompts are looked for first.
        checks, known: what rows must stand up to, and the texts they are held against.
        dry_run: ask for the first few rows only, and say what all would take.

    Returns:
        Tables with the columns of `triplets.COLUMNS`, and the summary: task, kind, prompt_id, llm_model, base_url,
        wanted, dry_run, rounds, stopped (quota, attempts, budget or dry run), estimate, ideas (how many), diversity of
        written and real texts, calls (made now, ideas and blind looks included), cached_calls (rows that needed none),
        spent_usd (now, also on calls that may have to be paid without an answer), idea_cost_usd, seconds, and what
        `tally` counts. tokens_in, tokens_out and cost_usd are of all answers to rows, cached ones too.

    Raises:
        EndpointError: the endpoint cannot be used; see `LLM.stream`.
        ParameterError, MissingError, DataError: a value, a prompt or the cache is no good, or an answer is to be
            replayed that was not recorded.
    """
    start, spent_before = time.monotonic(), llm.spent.usd
    checks, known = checks or Checks(), known or Known()
    _check(task, checks, attempts)
    template = load_prompt(prompt or task.prompt, prompts)
    check_prompt(template)
    check_start(template, task)
    if dry_run:  # a batch takes hours
        llm = replace(llm, transport="live")
    wanted = quotas(task, rows, seed)
    judge = Judge(task, template, embed, checks, known)
    ideas = Ideas(by_group={}, replies=[], calls=0)
    if needs_ideas(task, template):
        ideas = write_ideas(task, llm, wanted, seed, prompts, groups=PROBE if dry_run else None)
    synthesis = _Synthesis(
        task=task,
        llm=llm,
        prompt=template,
        folder=prompts,
        checks=checks,
        judge=judge,
        partners=_partners(task, template, judge, checks, seed),
        plan=Plan(task, rows, seed, ideas.by_group),
        requests=Requests(task, template),
        counts=Quotas(wanted, attempts, hasty=llm.transport == "batch"),
        ideas=ideas,
    )
    estimate = synthesis.run(rows, dry_run)
    return outcome_of(
        task,
        template,
        synthesis.candidates,
        wanted=wanted,
        ideas=ideas,
        embed=embed,
        known=known,
        guide_id=guide_id,
        facts={
            "llm_model": llm.model,
            "base_url": llm.url,
            "priced": llm.price is not None,
            "dry_run": dry_run,
            "rounds": synthesis.rounds,
            "estimate": estimate,
            "spent_usd": llm.spent.usd - spent_before if llm.price else None,
            "seconds": round(time.monotonic() - start, 2),
        },
    )


@dataclass(kw_only=True)
class _Synthesis:
    """The rounds of one synthesis, and the candidates so far."""

    task: Task
    llm: LLM
    prompt: Prompt
    folder: str | Path | None
    checks: Checks
    judge: Judge
    partners: LabelPartners | WrittenPartners
    plan: Plan
    requests: Requests
    counts: Quotas
    ideas: Ideas
    candidates: list[Candidate] = field(default_factory=list)
    rounds: int = 0
    shown: float = 0.0  # when the line of progress was last drawn

    def run(self, rows: int, dry_run: bool) -> dict | None:
        """All rounds; what the first one says of the whole."""
        estimate = None
        probe = PROBE if self.llm.transport == "live" else None
        with tqdm(total=rows, desc="synthesize", unit="row") as bar:
            while batch := self.counts.next_round(None if self.candidates else probe):
                began = time.monotonic()
                new = self._round(batch, bar)
                if estimate is None:
                    estimate = self._estimate(new, time.monotonic() - began)
                    self._tell(estimate, rows)
                if dry_run or any(c.reason == "over-budget" for c in new):
                    break
        return estimate

    def _round(self, batch: Mapping[str, int], bar: tqdm) -> list[Candidate]:
        new = self._ask(batch, bar)
        if self.checks.blind:
            ask_blind(self.task, self.llm, [c for c in new if c.reason is None], self.folder)
        passed = [c for c in new if c.reason is None]
        pending = [c for c in self.candidates if c.reason in _PENDING]
        self.partners.complete(passed, [*pending, *passed])
        for c in (*pending, *new):
            if c.reason not in _PENDING:
                c.vectors = {}  # whoever needs them later has them in a pool
        self.candidates += new
        self.counts.count(self.candidates)
        self.rounds += 1
        bar.n = sum(self.counts.accepted.values())
        return new

    def _ask(self, batch: Mapping[str, int], bar: tqdm) -> list[Candidate]:
        """All candidates of a round, judged in the order of the plan: the outcome must not depend on who answers
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
                bar.n += sum(c.reason is None for c in waiting)
                done, waiting = done + len(waiting), []
            self._show(bar, len(self.candidates) + len(arrived))
        return [arrived[i] for i in range(len(items))]

    def _show(self, bar: tqdm, asked: int) -> None:
        if time.monotonic() - self.shown < _REDRAWN:  # tqdm's own pace counts rows, and rows come late
            return
        self.shown = time.monotonic()
        spent, speed = self.llm.spent, asked / max(1e-3, time.time() - bar.start_t)
        money = f"${spent.usd:.4f}" if self.llm.price else "cost unknown"
        bar.set_postfix_str(f"{asked} asked, {speed:.1f} calls/s, {spent.tokens:,} tokens, {money}")

    def _estimate(self, first: Sequence[Candidate], seconds: float) -> dict:
        """What all rows take by the first of them, and the ideas before."""
        llm, ideas = self.llm, self.ideas
        found = self.counts.estimate(first, seconds, llm.concurrency, llm.price is not None)
        if ideas.calls:
            share = ideas.calls / len(ideas.replies)
            found["calls"] += ideas.calls
            found["tokens"] += round(share * sum(r.tokens_in + r.tokens_out for r in ideas.replies))
            if llm.price is not None:
                found["cost_usd"] += share * sum(r.cost_usd for r in ideas.replies)
        return found

    def _tell(self, estimate: dict, rows: int) -> None:
        log.info("%d rows would take %s", rows, in_words(estimate))
        llm, spent = self.llm, self.llm.spent
        left = {"tokens": (llm.budget_tokens, spent.tokens), "cost_usd": (llm.budget_usd, spent.usd)}
        for what, (budget, so_far) in left.items():
            if budget is not None and estimate[what] > budget - so_far:
                log.warning("the budget will end before all rows are there: %s of %s", estimate[what], budget)


def _partners(task: Task, prompt: Prompt, judge: Judge, checks: Checks, seed: int) -> LabelPartners | WrittenPartners:
    if prompt.row.positive is None:
        return LabelPartners(task, judge, checks, seed)
    return WrittenPartners(task, checks, judge.given(task.passages))


def _check(task: Task, checks: Checks, attempts: float) -> None:
    found = []
    if attempts < 1:
        found.append(f"attempts is {attempts}, must be at least 1: calls for each wanted row")
    if checks.blind and not task.labels:
        found.append(f"blind is for tasks with labels; {task.name} has none")
    if found:
        raise ParameterError(problems(f"Synthesis: {len(found)} problem(s)", found))
