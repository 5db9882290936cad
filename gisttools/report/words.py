"""What a report says in words: its verdict and its limits, in sentences computed from the data."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from gisttools.report.data import ReportData
from gisttools.report.formats import count, is_number, is_true, plural, score, signed, unit

_NAMED = 3  # tasks named one by one
SMALL = 300  # test texts below which an interval is several points wide
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


def main_rows(data: ReportData) -> pd.DataFrame:
    """The comparison rows of each task's main metric; all rows of a task whose scores do not say which is main."""
    main: dict[str, set[str]] = {}
    for task, metric, is_main in zip(*(data.scores[c] for c in ("task", "metric", "is_main")), strict=True):
        if is_true(is_main):
            main.setdefault(task, set()).add(metric)
    pairs = zip(data.comparison["task"], data.comparison["metric"], strict=True)
    return data.comparison[[metric in main.get(task, {metric}) for task, metric in pairs]]


def judged(data: ReportData) -> pd.DataFrame:
    """The rows the verdict stands on: the target tasks, or all tasks where none is named a target."""
    rows = main_rows(data)
    targets = rows[rows["is_target"].map(is_true)]
    return targets if len(targets) else rows


def verdict_word(verdicts: Iterable[str]) -> str:
    """HELPED where every task was helped, HURT where some were hurt and none helped, MIXED where only some were helped.

    NOT SHOWN where no task was helped or hurt.
    """
    seen = set(verdicts)
    if seen == {"helped"}:
        return "HELPED"
    if "helped" in seen:
        return "MIXED"
    return "HURT" if "hurt" in seen else "NOT SHOWN"


def verdict_sentences(data: ReportData) -> list[str]:
    """One sentence with the numbers of the task judged, or a count and a sentence for each of the first few."""
    rows = judged(data)
    whole = rows[rows["difference"].map(is_number)]
    if len(whole) == 0:
        return ["No task has a score of both models."]
    if len(rows) == 1:
        return [_task_sentence(rows.iloc[0])]
    target = "target task" if rows["is_target"].map(is_true).any() else "task"
    told = whole["verdict"].value_counts()
    counts = ", ".join(f"{word} on {told[word]}" for word in ("helped", "hurt", "not shown") if word in told)
    mean = f"mean {score(whole['base'].mean())} → {score(whole['tuned'].mean())} ({signed(whole['difference'].mean())})"
    lines = [f"Of {len(whole)} {target}s: {counts}; {mean}."]
    return lines + [_task_sentence(row) for _, row in whole.head(_NAMED).iterrows()]


def _task_sentence(row: pd.Series) -> str:
    metric = str(row["metric"]).replace("_", " ")
    items = plural(row["n_items"], unit(row["task_type"]))
    draws = f" × {plural(row['n_draws'], 'draw')}" if is_number(row["n_draws"]) and row["n_draws"] > 1 else ""
    sample = "" if not is_number(row["n_items"]) else f", {items}{'' if items.endswith(('draw', 'draws')) else draws}"
    known = is_number(row["low"]) and is_number(row["high"])
    interval = f"95 % interval {signed(row['low'])} to {signed(row['high'])}" if known else "no interval"
    return (
        f"{metric[:1].upper()}{metric[1:]} on {row['task']} {score(row['base'])} → {score(row['tuned'])}, "
        f"{signed(row['difference'])} points, {interval}{sample}."
    )


def limits(data: ReportData) -> list[str]:
    """What this result does not show, in plain sentences computed from the data."""
    rows, every = judged(data), main_rows(data)
    found = []
    for r in rows[rows["verdict"] == "not shown"].to_dict("records")[:_NAMED]:
        if is_number(r["low"]) and is_number(r["high"]):
            found.append(
                f"The interval for {r['task']} covers zero ({signed(r['low'])} to {signed(r['high'])}): this run shows"
                " neither a gain nor a loss there."
            )
        elif is_number(r["difference"]):
            found.append(f"{r['task']} has no interval, so its difference is not judged.")
    if len(data.finetunes) == 1:
        found.append(
            "One training run with one seed. Another seed would move the score; the interval does not cover it."
        )
    for r in rows.to_dict("records"):
        half = (r["high"] - r["low"]) / 2
        if is_number(r["n_items"]) and r["n_items"] < SMALL and is_number(half) and unit(r["task_type"]) != "draw":
            found.append(
                f"{r['task']} has only {count(r['n_items'])} test items: differences below about"
                f" {100 * half:.1f} points cannot be seen with it."
            )
    found += _data_limits(data, rows)
    if every["is_target"].map(is_true).all():
        found.append("Only target tasks were evaluated: whether the model lost something elsewhere is not known.")
    if len(every) >= 5:
        found.append(
            f"{len(every)} tasks are compared. With 95 % intervals, about {0.05 * len(every):.1f} of them would look"
            " changed by chance alone."
        )
    for method in sorted({str(m) for m in every["method"] if m}):
        said = next((text for name, text in _SAID.items() if method.startswith(name)), None)
        found.append(f"Method “{method}”: {said}." if said else f"Method: {method}.")
    found += [f"A step could not be read: {m}." for m in data.missing]
    if any((run.manifest.get("git") or {}).get("dirty") for run in data.runs):
        found.append("The code had changes that were not committed when these runs were made.")
    return found


def _data_limits(data: ReportData, rows: pd.DataFrame) -> list[str]:
    found = []
    for r in rows.to_dict("records"):
        if is_number(r["overlap"]) and r["overlap"] > 0:
            of = f" of {count(r['n_test'])}" if is_number(r["n_test"]) else ""
            found.append(
                f"{count(r['overlap'])}{of} test texts of {r['task']} also stand in the training table, or nearly so:"
                " the tuned model has seen them, and its score there may flatter it."
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
