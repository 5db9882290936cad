"""Says what a report says first: its verdict in one word and one sentence, what that leaves open, and what to do next.

The next step is a pure rule from the verdict and the rows it stands on to one word and one sentence (`next_action`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gisttools.common import count, is_number, is_true, model_name, plural, score, signed, unit
from gisttools.evaluation import (
    POINT,
    Average,
    Comparison,
    Verdict,
    Word as VerdictWord,
    average,
    failed_targets,
    headline as headline_of,
    shown_word,
    targets_and_guards,
    verdict_words,
)
from gisttools.models import ALIKE, EMBEDDED
from gisttools.report.candidates import advice, few_shot
from gisttools.report.data import ReportData

Word = Literal["Use", "Collect", "Change the data", "Train again", "Stop", "Evaluate again"]
_ROSE = 1.05  # times its start that a loss must end at, to be taken for more than noise
MOST_TIMES = 10  # a test set that would have to grow more than that is not worth collecting
_NAMED = 2


@dataclass(frozen=True, kw_only=True)
class Action:
    """What to do, in a word or a few, and why."""

    word: Word
    head: str
    why: str


def next_action(
    word: str,
    rows: Sequence[Comparison],
    *,
    leaked: bool | None,
    spoilt: str = "",
    advice: Mapping[str, Any] | None = None,
) -> Action:
    """The next step after a verdict.

    1. Test texts in the training data: change the data, for no score counts.
    2. HELPED: follow the advice over all candidates, or have one. Guards that are not shown to be safe are named.
       Otherwise, where the training spoilt the student: train again at a lower rate, for no data would help.
    3. Something was hurt, a target or a guard: change the data.
    4. Nothing was hurt, but not every target was helped. Where every such target rules out a gain of a point: stop.
       Where more items would show a point and they can be collected (at most ten times as many as now): collect them.
       Where no target has an interval: evaluate again. Otherwise: change the data.

    Args:
        word: of `gisttools.evaluation.overall_verdict`.
        rows: one a task; where none is a target, all count as targets.
        leaked: whether test texts stand in the training table; None if that is not known.
        spoilt: why the training counts as spoilt, in a sentence; empty where it does not.
        advice: which candidate to use, as the evaluation's summary has it; None or empty where that was not measured.
    """
    targets, guards = targets_and_guards(rows)
    if leaked:
        return Action(
            word="Change the data",
            head="Take the test texts out of the training data and train again",
            why="The tuned model has seen them, so its score says nothing about new texts.",
        )
    if word == "HELPED":
        return _follow(guards, advice or {})
    if spoilt:
        head = "Lower the learning rate and train again"
        return Action(word="Train again", head=head, why=f"{spoilt} Other data would not help; keep the base model.")
    if hurt := [row for row in targets if row.verdict == "hurt"]:
        why = f"{_names(hurt)} got worse. The texts that broke, below, show where; keep the base model until then."
        return Action(word="Change the data", head="Change the training data and train again", why=why)
    if lost := _lost(guards):
        why = (
            f"{_names(lost)} lost more than is allowed. General texts in training (the parameter retain) hold a model"
            " near where it started."
        )
        return Action(word="Change the data", head="Add general texts to the training", why=why)
    return _open([row for row in targets if row.verdict != "helped"])


def _follow(guards: Sequence[Comparison], advice: Mapping[str, Any]) -> Action:
    """What to do where training helped: that alone does not make the tuned model the one to use."""
    changed = _gained(guards)
    if not advice.get("line"):
        why = f"{changed} Whether it is the model to use was not measured: other candidates may be better, or faster."
        return Action(word="Evaluate again", head="Evaluate again with candidates", why=why)
    target = advice.get("overall") or advice["targets"][0]
    if target["word"] == "choose":
        why = f"{changed} More test texts would tell the two apart; until then the faster one costs less."
        return Action(word="Collect", head=f"Choose between {target['best']} and {target['other']}", why=why)
    return Action(
        word="Use", head=str(target["head"]), why=f"{changed} Which model to use is decided over all candidates."
    )


def _gained(guards: Sequence[Comparison]) -> str:
    unclear = [row for row in guards if row.non_inferior is False]
    if unclear:
        first = unclear[0]
        span = f"{signed(first.low)} to {signed(first.high)}"
        return (
            f"Training helped every target, but look at {_names(unclear)}: a loss beyond what is allowed is not ruled"
            f" out there ({span})."
        )
    if guards:
        return "Training helped every target, and no guard lost more than is allowed."
    return "Training helped every target. No guard was evaluated, so what it cost elsewhere is not known."


def _open(targets: Sequence[Comparison]) -> Action:
    """Nothing was hurt; these targets were not shown to be helped."""
    known = [row for row in targets if row.has_interval]
    if not known:
        why = "The tasks have no interval, so nothing can be said of them. Choose a task that has one."
        return Action(word="Evaluate again", head="Evaluate on a task that can be judged", why=why)
    if all(row.high < POINT for row in known):
        why = f"On {_names(known)} a gain of one point is ruled out, so the base model is about as good."
        return Action(word="Stop", head="Stop here, and keep the base model", why=why)
    lacking = [(n, row) for row in known if row.high >= POINT and (n := _lacks(row))]
    if lacking:
        more, worst = max(lacking, key=lambda pair: pair[0])
        item = unit(worst.task_type)
        why = (
            f"{task_name(worst)} has {plural(worst.n_items, item)}. With {count(worst.items_for_one_point)}, one point"
            " would be detected four times in five."
        )
        return Action(word="Collect", head=f"Collect {plural(more, f'more {item}')}", why=why)
    why = (
        f"No gain is shown on {_names(known)}, and more test items alone would hardly show one. Other training texts,"
        " or more of them, may bring a larger gain."
    )
    return Action(word="Change the data", head="Change the training data and train again", why=why)


def _lacks(row: Comparison) -> int:
    """How many more items would show one point; 0 where that is not known, or too many to collect."""
    if row.n_items is None or not is_number(row.items_for_one_point):
        return 0
    needed = int(row.items_for_one_point)
    return needed - row.n_items if row.n_items < needed <= MOST_TIMES * row.n_items else 0


def _lost(guards: Sequence[Comparison]) -> list[Comparison]:
    """Guards that lost more than they may."""
    return [row for row in guards if row.verdict == "hurt" and not row.non_inferior]


def _names(rows: Sequence[Comparison]) -> str:
    names = [task_name(row) for row in rows[:_NAMED]]
    more = len(rows) - len(names)
    return " and ".join(names) if not more else f"{', '.join(names)} and {more} more"


SHOWN = 3  # targets on the first screen


def main_rows(data: ReportData) -> list[Comparison]:
    """The comparison rows of each task's main metric; all rows of a task whose scores do not say which is main."""
    main: dict[str, set[str]] = {}
    for task, metric, is_main in zip(*(data.scores[c] for c in ("task", "metric", "is_main")), strict=True):
        if is_true(is_main):
            main.setdefault(task, set()).add(metric)
    return [row for row in data.comparison if row.metric in main.get(row.task, {row.metric})]


def judged(data: ReportData) -> list[Comparison]:
    """The rows the verdict stands on: the target tasks, or all tasks where none is named a target."""
    return targets_and_guards(main_rows(data))[0]


def guards(data: ReportData) -> list[Comparison]:
    """The rows of the tasks that must not lose; none where no task is named a target."""
    return targets_and_guards(main_rows(data))[1]


def verdict_word(data: ReportData) -> VerdictWord:
    """HELPED, HURT, MIXED or NOT SHOWN, targets and guards together, as `gisttools.evaluation.verdict_words` says."""
    return next(iter(verdict_words(main_rows(data), failed_targets(data.failed)).values()), "NOT SHOWN")


def words(data: ReportData) -> dict[str, str]:
    """The word of each other variant."""
    return dict(verdict_words(data.others, failed_targets(data.failed)))


def headline(data: ReportData) -> str:
    """One line with the word or words of this page, as the evaluation's own headline says them."""
    failures = 0 if data.failed is None else len(data.failed)
    rows = [*main_rows(data), *data.others]
    return headline_of(rows, failed_targets(data.failed), failures, advice=advice(data), trained=trained(data))


def trained(data: ReportData) -> bool:
    """Is the training of what was evaluated known? Where it is not, nothing helped: one model is held against another.
    Earlier versions do not say."""
    return data.evaluate.summary.get("trained") is not False


def shown(data: ReportData) -> str:
    """The word of the verdict as the page says it; nothing of a smoke run."""
    return shown_word(
        verdict_word(data), trained=trained(data), smoke=data.evaluate.smoke or is_true(advice(data).get("smoke"))
    )


def not_compared(data: ReportData) -> list[str]:
    """Target tasks that could not be compared."""
    compared = {row.task for row in data.comparison}
    return [task for task in failed_targets(data.failed) if task not in compared]


def verdict_sentence(data: ReportData) -> str:
    """One sentence with the numbers of the target, or of all targets together; and of the guards that lost."""
    rows = judged(data)
    if not any(row.scored for row in rows):
        return "No task has a score of both models."
    text = _of_one(rows[0]) if len(rows) == 1 else _of_several(rows)
    failed = not_compared(data)
    text += f" {plural(len(failed), 'target')} could not be scored." if failed else ""
    lost = _lost(guards(data))
    told = [f"{task_name(r)} {signed(r.difference)} ({signed(r.low)} to {signed(r.high)})" for r in lost]
    if told:
        more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        text += f" But a guard lost more than allowed: {', '.join(told[:_NAMED])}{more}."
    return text


def guard_note(data: ReportData) -> str:
    """Which guards are not shown to be safe; empty where all are, or there is none."""
    unclear = [row for row in guards(data) if row.non_inferior is False and row.verdict != "hurt"]
    if not unclear:
        return ""
    names = ", ".join(task_name(row) for row in unclear[:_NAMED])
    more = f" and {len(unclear) - _NAMED} more" if len(unclear) > _NAMED else ""
    return f"Not shown to be safe: {names}{more}. A loss of more than {_allowed(unclear)} is not ruled out there."


def targets(data: ReportData) -> list[dict[str, str]]:
    """The first targets with their numbers, as the first screen shows them."""
    return [
        {
            "task": task_name(row),
            "metric": metric_name(row.metric),
            "base": score(row.base),
            "tuned": score(row.tuned),
            "difference": signed(row.difference),
            "interval": interval(row),
            "verdict": row.verdict,
            "sample": sample(data, row),
            "few": few_shot(data, row.task, row.subset),
        }
        for row in judged(data)[:SHOWN]
    ]


def sample(data: ReportData, row: Comparison) -> str:
    """How many items, draws and training seeds stand behind a row."""
    seeds = n_seeds(data, row)
    return ", ".join(filter(None, [size(row), plural(seeds, "training seed") if seeds else ""]))


def size(row: Comparison) -> str:
    """The items and draws a row stands on: `280 test texts × 10 draws`; of clustering `10 draws from 280 texts`."""
    kind, items, draws = unit(row.task_type), row.n_items, row.n_draws or 1
    if kind == "draw" and draws > 1:
        return plural(draws, "draw") + (f" from {plural(items, 'text')}" if items not in (None, draws) else "")
    told = "" if items is None else plural(items, kind)
    return f"{told} × {plural(draws, 'draw')}" if told and draws > 1 else told


def n_seeds(data: ReportData, row: Comparison) -> int:
    """Training seeds behind a row; 0 where that is not known."""
    return int(data.finetune is not None) if row.n_seeds is None else row.n_seeds


def action(data: ReportData) -> Action:
    """What to do next, by the rule of `next_action`."""
    if is_true(advice(data).get("smoke")):
        why = "This was a smoke run: it shows that everything works, not how good a model is."
        return Action(word="Evaluate again", head="Run it in full", why=why)
    rows = judged(data)
    known = [row.overlap for row in rows if row.overlap is not None]
    leaked = None if len(known) < len(rows) else sum(known) > 0
    failed = [Comparison(task=task, is_target=True) for task in not_compared(data)]
    return next_action(
        verdict_word(data), [*main_rows(data), *failed], leaked=leaked, spoilt=spoilt(data), advice=advice(data)
    )


def spoilt(data: ReportData) -> str:
    """Why the training counts as spoilt rather than its data as wrong, in a sentence; empty where it does not.

    The vectors of the tuned model have collapsed, or its loss ended above its start.
    """
    found = data.evaluate.summary.get("collapsed")
    why = (found.get("tuned") if isinstance(found, Mapping) else None) or _alike(data)
    if why:
        return f"The tuned model's vectors have collapsed: {why}."
    told = data.finetune.summary if data.finetune else {}
    first, last = told.get("first_loss"), told.get("final_loss")
    if is_number(first) and is_number(last) and last > _ROSE * abs(first):
        return f"The training's loss ended above its start: {first:.2f} to {last:.2f}."
    return ""


def _alike(data: ReportData) -> str:
    """The same of evaluations of earlier versions, by how alike texts of different classes are on the map."""
    if data.embedding is None or not {"role", "kind", "low", "high", "value"} <= set(data.embedding):
        return ""
    table = data.embedding[data.embedding["kind"] == "different"]
    means = {}
    for role, part in table.groupby("role"):
        total = part["value"].sum()
        means[role] = float(((part["low"] + part["high"]) / 2 * part["value"]).sum() / total) if total else 0.0
    base, tuned = means.get("base", 1.0), means.get("tuned", 0.0)
    if tuned <= ALIKE or 1 - tuned > (1 - base) / 4:
        return ""
    return f"the mean cosine of texts of different classes is {tuned:.2f}, {base:.2f} of the baseline"


def task_name(row: Comparison) -> str:
    """A task with its subset, where it has one."""
    return row.task if row.subset in ("", "default") else f"{row.task} ({row.subset})"


def metric_name(metric: object) -> str:
    return str(metric).replace("_", " ")


def interval(row: Comparison | Average) -> str:
    known = is_number(row.low) and is_number(row.high)
    return f"{signed(row.low)} to {signed(row.high)}" if known else "no interval"


def _of_one(row: Comparison) -> str:
    metric, name = metric_name(row.metric), task_name(row)
    went = {"helped": "rose", "hurt": "fell"}.get(row.verdict, "went")
    span = interval(row)
    span = f"95 % interval {span}" if span != "no interval" else span
    text = (
        f"{metric[:1].upper()}{metric[1:]} on {name} {went} from {score(row.base)} to {score(row.tuned)}:"
        f" {signed(row.difference)} points ({span})"
    )
    return f"{text}." if went != "went" else f"{text}. Neither a gain nor a loss is shown."


def _of_several(rows: Sequence[Comparison]) -> str:
    kind = "target task" if any(row.is_target for row in rows) else "task"
    told = Counter(row.verdict for row in rows)
    if len(told) == 1:
        begin = f"All {plural(len(rows), kind)} {_TOLD[rows[0].verdict]}"
    else:
        counts = " and ".join(f"{told[word]} {text}" for word, text in _TOLD.items() if told[word])
        begin = f"Of {plural(len(rows), kind)} {counts}"
    mean = average("", [row for row in rows if row.scored])
    span = f" (95 % interval {interval(mean)})" if is_number(mean.low) else ""
    return (
        f"{begin}. Their mean went from {score(mean.base)} to {score(mean.tuned)}:"
        f" {signed(mean.difference)} points{span}."
    )


_TOLD: dict[Verdict, str] = {"helped": "improved", "hurt": "got worse", "not shown": "did not show a change"}


def _allowed(rows: Sequence[Comparison]) -> str:
    allowed = [row.allowed_loss for row in rows if is_number(row.allowed_loss)]
    return f"{100 * max(allowed):g} points" if allowed else "what is allowed"


def _without_run_id(data: ReportData, name: str) -> str:
    """A run's id says nothing to a reader: the model that it made is named after the one that it started from."""
    if data.finetune is None:
        return "tuned model" if name.startswith("finetune-") else name
    if name != data.finetune.id:
        return name
    return f"tuned {model_name(data.finetune.summary.get('student')).removeprefix(EMBEDDED)}"


def compared_name(data: ReportData, role: str) -> str:
    """What the baseline ("base") or the tuned model is called: of several variants the first, with how many seeds."""
    name = _without_run_id(data, model_name(data.evaluate.summary.get(role)).removeprefix(EMBEDDED))
    told = data.evaluate.summary.get("variants") or []
    if role == "base" or not told:
        return name
    seeds = told[0].get("n_seeds") or 1
    if data.others:
        return model_name(told[0].get("name")) + (f", {seeds} seeds" if seeds > 1 else "")
    return name + (f" and {plural(seeds - 1, 'more seed')}" if seeds > 1 else "")
