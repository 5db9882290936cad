"""What a result does not show, in plain sentences computed from the data.

The two strips under the verdict: what makes it believable or not, and what it cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from gisttools.common import (
    NOT_RUN,
    FinishedRun,
    count,
    dollars,
    duration,
    is_number,
    is_true,
    p_value,
    plain,
    score,
    signed,
    unit,
)
from gisttools.report.data import ReportData
from gisttools.report.verdict import judged, main_rows, n_seeds, records, task_name

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


def _leakage(rows: pd.DataFrame) -> Check:
    name = "No leakage"
    known = rows[rows["overlap"].map(is_number)]
    if len(known) < len(rows):
        return Check(name=name, status=NOT_RUN, detail="the training texts are not known here")
    shared, tests = int(known["overlap"].sum()), known["n_test"].map(lambda n: n if is_number(n) else 0).sum()
    of = f" of {count(tests)}" if tests else ""
    detail = f"{count(shared)}{of} test texts in the training data, exact or near"
    return Check(name=name, status="fail" if shared else "pass", detail=detail)


def _same_draws(data: ReportData, rows: pd.DataFrame) -> Check:
    wanted = set(zip(rows["task"], rows["metric"], strict=True))
    seen: dict[str, set] = {}
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


def _revisions(data: ReportData, rows: pd.DataFrame) -> Check:
    name, models = "Revisions pinned", data.evaluate.summary.get("revisions") or {}
    part = data.scores[data.scores["task"].isin(rows["task"])]
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


def _enough(rows: pd.DataFrame) -> Check:
    name, known = "Enough items", [r for r in records(rows) if is_number(r["mde"]) and is_number(r["difference"])]
    if len(known) < len(rows) or not known:
        return Check(name=name, status=NOT_RUN, detail="the smallest difference seen is not known")
    worst = max(known, key=lambda r: r["mde"] - abs(r["difference"]))
    enough = worst["mde"] <= abs(worst["difference"])
    which = "" if len(rows) == 1 else f"on {task_name(worst)} "
    detail = f"{which}{score(worst['mde'])} points can be seen, {signed(worst['difference'])} were measured"
    return Check(name=name, status="pass" if enough else "fail", detail=detail)


def cost(data: ReportData) -> list[Fact]:
    """What the result took: time, calls and money, and both by what was gained."""
    seconds = [run.manifest.get("seconds") for run in data.runs if is_number(run.manifest.get("seconds"))]
    training = [_training_seconds(run.summary, run.manifest) for run in data.finetunes]
    whole = sum(seconds) if seconds else None
    steps = [
        _of_verb(verb, [r for r in data.runs if r.verb == verb]) for verb in dict.fromkeys(r.verb for r in data.runs)
    ]
    spent = sum(t for t in training if is_number(t)) if any(map(is_number, training)) else None
    money = _money(data)
    return [
        Fact(name="Training", value=duration(spent), detail=_steps(data)),
        Fact(name="Everything", value=duration(whole), detail=" · ".join(steps)),
        _llm(data, money),
        _by_point(data, whole, money),
    ]


def _of_verb(verb: str, runs: Sequence[FinishedRun]) -> str:
    known = [s for run in runs if is_number(s := run.manifest.get("seconds"))]
    times = f" ({len(runs)} runs)" if len(runs) > 1 else ""
    return f"{verb} {duration(sum(known) if known else None)}{times}"


def _steps(data: ReportData) -> str:
    summary = data.finetune.summary if data.finetune else {}
    if not is_number(summary.get("steps")):
        return ""
    each = f"{count(summary['steps'])} steps on {count(summary.get('triplets'))} triplets"
    return f"{len(data.finetunes)} trainings, the first of {each}" if len(data.finetunes) > 1 else each


def _training_seconds(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> Any:
    known = summary.get("training_seconds")
    return known if is_number(known) else manifest.get("seconds")


def _money(data: ReportData) -> float | None:
    prices = [run.summary.get("cost_usd") for run in data.syntheses]
    return float(sum(prices)) if prices and all(is_number(p) for p in prices) else None


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
    """Cost by point gained on the targets; only where a gain is shown on each of them."""
    name, rows = "A point gained cost", records(judged(data))
    if not rows or any(r["verdict"] != "helped" for r in rows):
        return Fact(name=name, value="no gain shown", detail="so there is nothing to divide by")
    points = 100 * sum(r["difference"] for r in rows) / len(rows)
    detail = f"all of the time above, for {signed(points / 100)} points" + (" on average" if len(rows) > 1 else "")
    if data.syntheses:
        detail = f"{dollars(money / points) if money is not None else 'dollars not known'} · {detail}"
    return Fact(name=name, value=duration(seconds / points) if is_number(seconds) else NOT_RUN, detail=detail)


def trained_on(rows: pd.DataFrame) -> list[str]:
    """Tasks whose own train split was trained on."""
    return [task_name(r) for r in records(rows) if is_true(r["trained_on"])]


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
    found = []
    for r in [r for r in records(rows) if r["verdict"] == "not shown"][:_NAMED]:
        if is_number(r["low"]) and is_number(r["high"]):
            found.append(
                f"The interval for {task_name(r)} covers zero ({signed(r['low'])} to {signed(r['high'])}): this run"
                " shows neither a gain nor a loss there."
            )
        elif is_number(r["difference"]):
            found.append(f"{task_name(r)} has no interval, so its difference is not judged.")
        else:
            found.append(f"{task_name(r)} has no score of both models, so it counts as not shown.")
    found += _of_seeds(data, rows)
    for r in rows.to_dict("records"):
        half = (r["high"] - r["low"]) / 2
        if is_number(r["n_items"]) and r["n_items"] < SMALL and is_number(half) and unit(r["task_type"]) != "draw":
            least = r["mde"] if is_number(r["mde"]) else half
            found.append(
                f"{task_name(r)} has only {count(r['n_items'])} test items: a difference below about"
                f" {100 * least:.1f} points would often go unseen."
            )
    found += _of_the_data(data, rows)
    if every["is_target"].map(is_true).all():
        found.append("Only target tasks were evaluated: whether the model lost something elsewhere is not known.")
    found += _of_many(every)
    for method in sorted({str(m) for m in every["method"] if m}):
        said = next((text for name, text in _SAID.items() if method.startswith(name)), None)
        found.append(f"Method “{method}”: {said}." if said else f"Method: {method}.")
    found += [f"A step could not be read: {m}." for m in data.missing]
    found += [plain(note) for note in data.evaluate.summary.get("notes") or []]
    if data.others is not None:
        found.append("This page is about the first of several variants; the others stand in one table and scores.csv.")
    if data.failed is not None:
        found.append(f"{len(data.failed)} task run(s) failed and are missing from every number here.")
    if any((run.manifest.get("git") or {}).get("dirty") for run in data.runs):
        found.append("The code had changes that were not committed when these runs were made.")
    return found


def _of_seeds(data: ReportData, rows: pd.DataFrame) -> list[str]:
    seeds = {n_seeds(data, r) for r in rows.to_dict("records")}
    if seeds == {1}:
        return ["One training run with one seed. Another seed would move the score; the interval does not cover it."]
    return []


def _of_many(every: pd.DataFrame) -> list[str]:
    """What there being several comparisons means for each."""
    found = []
    if len(every) >= 5:
        found.append(
            f"{len(every)} tasks are compared. With 95 % intervals, about {_ALPHA * len(every):.1f} of them would look"
            " changed by chance alone; the corrected p in the table counts that in."
        )
    for r in records(every):
        if r["verdict"] != "not shown" and is_number(r["p_holm"]) and r["p_holm"] >= _ALPHA:
            found.append(
                f"Once p is corrected for {len(every)} comparisons (Holm), the change on {task_name(r)} is no longer"
                f" shown (p = {p_value(r['p_holm'])})."
            )
    return found[: 1 + _NAMED]


def _of_the_data(data: ReportData, rows: pd.DataFrame) -> list[str]:
    found = []
    for r in rows.to_dict("records"):
        if is_number(r["overlap"]) and r["overlap"] > 0:
            of = f" of {count(r['n_test'])}" if is_number(r["n_test"]) else ""
            found.append(
                f"{count(r['overlap'])}{of} test texts of {task_name(r)} also stand in the training table, or nearly"
                " so: the tuned model has seen them, and its score there may flatter it."
            )
    if not rows["overlap"].map(is_number).any():
        found.append("Whether test texts also stand in the training data was not checked.")
    for r in rows.to_dict("records"):
        if isinstance(r["cleaned_task"], str) and r["cleaned_task"]:
            known = is_number(r["in_train"]) and r["in_train"] > 0
            counted = f" counts {count(r['in_train'])} of its test texts in its own train split and" if known else ""
            found.append(f"mteb{counted} offers {r['cleaned_task']}, cleaned of empty, repeated and leaked texts.")
    trained = [r["task"] for r in rows.to_dict("records") if is_true(r["trained_on"])]
    if trained:
        names = ", ".join(map(str, trained))
        found.append(f"The model was trained on the train split of {names}: a gain there is a gain on data of the"
                     " same kind, and says little about other data.")  # fmt: skip
    if data.finetune is None:
        found.append("The tuned model was not trained by a run found here: nothing is known about its training data.")
    elif set(data.finetune.summary.get("by_source") or {}) == {"llm"}:
        found.append("All training texts were written by a language model; real texts may be messier than these.")
    return found
