"""What a result does not show, in plain sentences computed from the data."""

from __future__ import annotations

import pandas as pd

from gisttools.common import count, is_number, is_true, p_value, plain, signed, unit
from gisttools.report.data import ReportData
from gisttools.report.words import judged, main_rows, n_seeds, records, task_name

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
