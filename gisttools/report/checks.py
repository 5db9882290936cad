"""Checks what makes a result believable, adds up what it cost, and says in plain sentences what it does not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gisttools.common import (
    NOT_RUN,
    FinishedRun,
    anonymous,
    count,
    dollars,
    duration,
    is_number,
    p_value,
    plain,
    score,
    signed,
    unit,
)
from gisttools.evaluation import Comparison
from gisttools.report.data import ReportData
from gisttools.report.verdict import judged, main_rows, n_seeds, spoilt, task_name

_UNKNOWN = 0.05  # share of tokens that a model does not know, from which on it is told
Status = Literal["pass", "fail", "not run"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that must be so for the verdict to be believed, and whether it is."""

    name: str
    status: Status
    detail: str


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of the cost strip."""

    name: str
    value: str
    detail: str = ""


def trust(data: ReportData) -> list[Check]:
    """What makes the verdict believable, or not."""
    rows = judged(data)
    return [_leakage(rows), _same_draws(data, rows), _prompts(data), _revisions(data, rows), _enough(rows)]


def _leakage(rows: Sequence[Comparison]) -> Check:
    name, known = "No leakage", [row.overlap for row in rows if row.overlap is not None]
    if len(known) < len(rows):
        return Check(name=name, status=NOT_RUN, detail="the training texts are not known here")
    shared, tests = sum(known), sum(row.n_test or 0 for row in rows)
    of = f" of {count(tests)}" if tests else ""
    detail = f"{count(shared)}{of} test texts in the training data, exact or near"
    return Check(name=name, status="fail" if shared else "pass", detail=detail)


def _same_draws(data: ReportData, rows: Sequence[Comparison]) -> Check:
    wanted = {(row.task, row.metric) for row in rows}
    seen: dict[str, set[tuple[object, ...]]] = {}
    for r in data.scores.to_dict("records"):
        if (r["task"], r["metric"]) in wanted:
            size = tuple(int(r[k]) if is_number(r[k]) else None for k in ("n_items", "n_draws"))
            seen.setdefault(r["role"], set()).add((r["task"], r["metric"], r["subset"], r["split"], *size))
    if not {"base", "tuned"} <= set(seen):
        return Check(name="Same draws", status=NOT_RUN, detail="one of the models has no scores here")
    if any(of != seen["base"] for of in seen.values()):
        return Check(name="Same draws", status="fail", detail="the score rows of the two models differ")
    return Check(name="Same draws", status="pass", detail="both models scored on the same items and draws")


def _prompts(data: ReportData) -> Check:
    told = data.evaluate.summary.get("prompts")
    if not isinstance(told, Mapping) or not {"base", "tuned"} <= set(told):
        return Check(name="Same prompts", status=NOT_RUN, detail="this evaluation recorded no prompts")
    same = told["base"] == told["tuned"]
    detail = "the models were given different prompts"
    if same:
        detail = "both models were given the same" if told["base"] else "neither model was given one"
    return Check(name="Same prompts", status="pass" if same else "fail", detail=detail)


def _revisions(data: ReportData, rows: Sequence[Comparison]) -> Check:
    name, models = "Revisions pinned", data.evaluate.summary.get("revisions") or {}
    part = data.scores[data.scores["task"].isin({row.task for row in rows})]
    if not models or not part["revision"].notna().any():
        return Check(name=name, status=NOT_RUN, detail="revisions were not recorded")
    several = [task for task, of in part.groupby("task")["revision"] if of.nunique(dropna=False) > 1]
    if several:
        return Check(name=name, status="fail", detail=f"the data of {several[0]} differ between the two models")
    loose = [role for role in ("base", "tuned") if not models.get(role)]
    loose += ["data"] if part["revision"].isna().any() else []
    if loose:
        return Check(name=name, status="fail", detail=f"not pinned: {', '.join(loose)}")
    return Check(name=name, status="pass", detail="both models and the data")


def _enough(rows: Sequence[Comparison]) -> Check:
    name, known = "Enough items", [row for row in rows if is_number(row.mde) and row.scored]
    if len(known) < len(rows) or not known:
        return Check(name=name, status=NOT_RUN, detail="the smallest detectable difference is not known")
    worst = max(known, key=lambda row: row.mde - abs(row.difference))
    enough = worst.mde <= abs(worst.difference)
    which = "" if len(rows) == 1 else f"on {task_name(worst)} "
    told = f"{score(worst.mde)} points can be detected, {signed(worst.difference)} were measured"
    detail = f"between the model and the baseline {which}{told}"
    return Check(name=name, status="pass" if enough else "fail", detail=detail)


def cost(data: ReportData) -> list[Fact]:
    """What the result took: time, calls and money, and both by what was gained."""
    whole = _sum(run.manifest.get("seconds") for run in data.runs)
    spent = _sum(_training_seconds(run) for run in data.finetunes)
    verbs = dict.fromkeys(run.verb for run in data.runs)
    each = " · ".join(_of_verb(verb, [run for run in data.runs if run.verb == verb]) for verb in verbs)
    money = _money(data)
    return [
        Fact(name="Training", value=duration(spent), detail=_of_training(data)),
        Fact(name="Everything", value=duration(whole), detail=each),
        _llm(data, money),
        _by_point(data, whole, money),
    ]


def _of_verb(verb: str, runs: Sequence[FinishedRun]) -> str:
    times = f" ({len(runs)} runs)" if len(runs) > 1 else ""
    return f"{verb} {duration(_sum(run.manifest.get('seconds') for run in runs))}{times}"


def _sum(values: Iterable[object]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if is_number(value)]
    return sum(known) if known else None


def _of_training(data: ReportData) -> str:
    summary = data.finetune.summary if data.finetune else {}
    if not is_number(summary.get("steps")):
        return ""
    each = f"{count(summary['steps'])} steps on {count(summary.get('triplets'))} triplets"
    return f"{len(data.finetunes)} trainings, the first of {each}" if len(data.finetunes) > 1 else each


def _training_seconds(run: FinishedRun) -> object:
    known = run.summary.get("training_seconds")
    return known if is_number(known) else run.manifest.get("seconds")


def _money(data: ReportData) -> float | None:
    prices = [run.summary.get("cost_usd") for run in data.syntheses]
    known = [price for price in prices if is_number(price)]
    return float(sum(known)) if prices and len(known) == len(prices) else None


def _llm(data: ReportData, money: float | None) -> Fact:
    if not data.syntheses:
        return Fact(name="LLM", value="none", detail="no text was written by a language model")
    summaries = [run.summary for run in data.syntheses]
    total = {k: sum(s.get(k) or 0 for s in summaries) for k in ("calls", "cached_calls", "tokens_in", "tokens_out")}
    tokens = total["tokens_in"] + total["tokens_out"]
    price = dollars(money) if money is not None else "price not known"
    cached = f", {count(total['cached_calls'])} of them cached" if total["cached_calls"] else ""
    detail = f"{price} · {count(total['calls'])} calls{cached}"
    return Fact(name="LLM tokens", value=count(tokens), detail=detail)


def _by_point(data: ReportData, seconds: float | None, money: float | None) -> Fact:
    """Cost per point gained on the targets; only where a gain is shown on each of them."""
    name, rows = "Cost per point", judged(data)
    if not rows or any(row.verdict != "helped" for row in rows):
        return Fact(name=name, value="no gain shown", detail="so there is nothing to divide by")
    points = 100 * sum(row.difference for row in rows) / len(rows)
    detail = f"all of the time above, for {signed(points / 100)} points" + (" on average" if len(rows) > 1 else "")
    if data.syntheses:
        detail = f"{dollars(money / points) if money is not None else 'dollars not known'} · {detail}"
    return Fact(name=name, value=duration(seconds / points) if is_number(seconds) else NOT_RUN, detail=detail)


def trained_on(rows: Sequence[Comparison]) -> list[str]:
    """Tasks whose own train split was trained on."""
    return [task_name(row) for row in rows if row.trained_on]


SMALL = 300  # test texts below which an interval is several points wide
_NAMED = 3  # tasks named one by one
_ALPHA = 0.05
_SAID = {  # by how the method's name begins
    "two-way variance over draws and items": "counts two sources of chance, test texts and few-shot draws, so it covers"
    " other test texts and other draws",
    "paired t over items": "takes the differences item by item, so it covers other test items of the same kind; items"
    " of one source count as one cluster",
    "paired t over draws that resample documents": "covers other draws of other documents of the same kind",
    "paired bootstrap over draws and items": "resamples test texts and few-shot draws together, so it covers other"
    " test texts and other draws; it errs on the wide side",
    "paired bootstrap over items": "resamples test items, so it covers other test items of the same kind",
    "paired t over draws, documents not resampled": "covers other draws of the same documents, not other documents",
}


def limits(data: ReportData) -> list[str]:
    """What this result does not show."""
    rows, every = judged(data), main_rows(data)
    warnings = (data.finetune.summary.get("warnings") if data.finetune else None) or []
    return [
        *filter(None, [spoilt(data)]),
        *(str(warning) for warning in warnings[:_NAMED]),
        *(_not_shown(row) for row in [row for row in rows if row.verdict == "not shown"][:_NAMED]),
        *_of_seeds(data, rows),
        *(_small(row) for row in rows if _is_small(row)),
        *_of_the_data(rows),
        *_of_the_training(data, rows),
        *_of_guards(every),
        *_of_many(every),
        *(_of_method(method) for method in sorted({row.method for row in every if row.method})),
        *_of_the_runs(data),
    ]


def _not_shown(row: Comparison) -> str:
    if row.has_interval:
        return (
            f"The interval for {task_name(row)} covers zero ({signed(row.low)} to {signed(row.high)}): this run"
            " shows neither a gain nor a loss there."
        )
    if row.scored:
        return f"{task_name(row)} has no interval, so its difference is not judged."
    return f"{task_name(row)} has no score of both models, so it counts as not shown."


def _of_seeds(data: ReportData, rows: Sequence[Comparison]) -> list[str]:
    if {n_seeds(data, row) for row in rows} == {1}:
        return ["One training run with one seed. Another seed would move the score; the interval does not cover it."]
    return []


def _is_small(row: Comparison) -> bool:
    return row.has_interval and row.n_items is not None and row.n_items < SMALL and unit(row.task_type) != "draw"


def _small(row: Comparison) -> str:
    least = row.mde if is_number(row.mde) else (row.high - row.low) / 2
    return (
        f"{task_name(row)} has only {count(row.n_items)} test items: a difference below about"
        f" {100 * least:.1f} points would often go undetected."
    )


def _of_the_data(rows: Sequence[Comparison]) -> list[str]:
    """Test texts that the models may have seen."""
    found = []
    for row in rows:
        if row.overlap:
            of = "" if row.n_test is None else f" of {count(row.n_test)}"
            found.append(
                f"{count(row.overlap)}{of} test texts of {task_name(row)} also stand in the training table, or nearly"
                " so: the tuned model has seen them, and its score there may flatter it."
            )
    if all(row.overlap is None for row in rows):
        found.append("Whether test texts also stand in the training data was not checked.")
    for row in rows:
        if row.cleaned_task:
            counted = f" counts {count(row.in_train)} of its test texts in its own train split and"
            known = counted if row.in_train else ""
            found.append(f"mteb{known} offers {row.cleaned_task}, cleaned of empty, repeated and leaked texts.")
    return found


def _of_the_training(data: ReportData, rows: Sequence[Comparison]) -> list[str]:
    """What the model was trained on."""
    found = []
    if trained := [row.task for row in rows if row.trained_on]:
        found.append(
            f"The model was trained on the train split of {', '.join(trained)}: a gain there is a gain on data of the"
            " same kind, and says little about other data."
        )
    if data.finetune is None:
        found.append("The tuned model was not trained by a run found here: nothing is known about its training data.")
    elif set(data.finetune.summary.get("by_source") or {}) == {"llm"}:
        found.append("All training texts were written by a language model; real texts may be messier than these.")
    return [*found, *(line for run in data.finetunes[:1] for line in _unread(run))]


def _unread(run: FinishedRun) -> Iterator[str]:
    """Models that hardly read the training texts, by a tokenizer that does not know them."""
    for who in ("guide", "student"):
        told = run.summary.get(f"{who}_reading") or {}
        if is_number(told.get("unknown_share")) and told["unknown_share"] >= _UNKNOWN:
            yield (
                f"The {who} does not know {100 * told['unknown_share']:.0f} % of the tokens of the training texts, and "
                "cannot tell apart what differs in these words: take a model that knows their language."
            )


def _of_guards(every: Sequence[Comparison]) -> list[str]:
    if all(row.is_target or row.second_look for row in every):
        return ["Only target tasks were evaluated: whether the model lost something elsewhere is not known."]
    return []


def _of_many(every: Sequence[Comparison]) -> list[str]:
    """What there being several comparisons means for each."""
    found = []
    if len(every) >= 5:
        found.append(
            f"{len(every)} tasks are compared. With 95 % intervals, about {_ALPHA * len(every):.1f} of them would look"
            " changed by chance alone; the corrected p in the table counts that in."
        )
    found += [
        f"Once p is corrected for {len(every)} comparisons (Holm), the change on {task_name(row)} is no longer"
        f" shown (p = {p_value(row.p_holm)})."
        for row in every
        if row.verdict != "not shown" and row.p_holm >= _ALPHA
    ]
    return found[: 1 + _NAMED]


def _of_method(method: str) -> str:
    said = next((text for name, text in _SAID.items() if method.startswith(name)), None)
    return f"Method “{method}”: {said}." if said else f"Method: {method}."


def _code_pins(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Models and repositories whose code could run, with their commits."""
    trust = parameters["trust_remote_code"]
    yield from trust if isinstance(trust, list) else ()
    for role in ("student", "guide", "model", "baseline"):
        if parameters.get(f"{role}_revision"):
            yield f"{parameters[role]}@{parameters[f'{role}_revision']}"


def _of_the_runs(data: ReportData) -> list[str]:
    """What is missing, what failed, and what else the runs noted."""
    found = [f"A step could not be read: {anonymous(m)}." for m in data.missing]
    found += [anonymous(plain(note)) for note in data.evaluate.summary.get("notes") or []]
    if data.others:
        found.append("This page is about the first of several variants; the others stand in one table and scores.csv.")
    if data.failed is not None:
        found.append(f"{len(data.failed)} task run(s) failed and are missing from every number here.")
    if any((run.manifest.get("git") or {}).get("dirty") for run in data.runs):
        found.append("The code had changes that were not committed when these runs were made.")
    if trusting := [run for run in data.runs if run.parameters.get("trust_remote_code")]:
        pins = sorted({pin for run in trusting for pin in _code_pins(run.parameters)})
        pinned = f"; pinned: {plain(', '.join(pins))}" if pins else ""
        where = ", ".join(run.id for run in trusting)
        found.append(f"Code that comes with a model was allowed to run (trust_remote_code) in {where}{pinned}.")
    return found
