"""What changed item by item, and where the noise comes from, against plain counting."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.html_page import seen
from helpers.report_runs import EVIL, comparison_row, evaluate, item_rows

from gisttools.evaluation.intervals import crossed_interval
from gisttools.report.data import collect
from gisttools.report.render import render_html
from gisttools.report.tables import changed, confusions, crossed_shares, noise, slices


def items(n=60, draws=5, seed=0, labels=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    ease = rng.random(n)
    base, tuned = (rng.random((n, draws)) < np.clip(ease + lift, 0, 1)[:, None] for lift in (0.0, 0.2))
    return [
        {
            "task": "support", "item": i, "text": "x" * (i + 1), "gold": labels[i % len(labels)], "subset": "default",
            "base_correct": base[i].mean(), "tuned_correct": tuned[i].mean(), "base_draws": base[i].tolist(),
            "tuned_draws": tuned[i].tolist(), "base_answer": labels[i % 2 % len(labels)],
            "tuned_answer": labels[(i // 2) % len(labels)],
        }
        for i in range(n)
    ]  # fmt: skip


def data_of(tmp_path, rows, **values):
    return collect(evaluate(tmp_path, [comparison_row(**values)], items=rows), tmp_path)


def test_fixed_broken_and_unchanged_add_up(tmp_path):
    rows = items()
    found = changed(data_of(tmp_path, rows))
    gains = np.asarray([r["tuned_correct"] - r["base_correct"] for r in rows])
    assert (found["fixed"], found["broken"], found["same"]) == (
        (gains > 0).sum(),
        (gains < 0).sum(),
        (gains == 0).sum(),
    )
    assert sum(share for *_, share in found["parts"]) == pytest.approx(1)


def test_the_largest_changes_come_first(tmp_path):
    rows = items()
    by_text = {r["text"]: r["tuned_correct"] - r["base_correct"] for r in rows}
    fixed, broken = (texts for *_, texts in changed(data_of(tmp_path, rows))["kinds"])
    assert by_text[fixed[0]["text"]] == max(by_text.values())
    assert by_text[broken[0]["text"]] == min(by_text.values())


def test_each_slice_has_the_scores_of_its_items_and_the_interval_of_the_method(tmp_path):
    rows = items()
    groups = {g["name"]: g["rows"] for g in slices(data_of(tmp_path, rows))}
    assert list(groups) == ["Class", "Text length"]
    part = [r for r in rows if r["gold"] == "b"]
    (found,) = [r for r in groups["Class"] if r["name"] == "b"]
    wanted = crossed_interval(*(np.asarray([r[f"{k}_draws"] for r in part], dtype=float).T for k in ("base", "tuned")))
    assert found["n"] == 20
    assert found["difference"] == pytest.approx(wanted.difference)
    assert (found["low"], found["high"]) == pytest.approx((wanted.low, wanted.high))


def test_thirds_by_length_hold_every_text_once_short_ones_first(tmp_path):
    rows = {g["name"]: g["rows"] for g in slices(data_of(tmp_path, items()))}["Text length"]
    assert [r["n"] for r in rows] == [20, 20, 20]
    assert [r["name"] for r in rows] == ["up to 20 characters", "21 to 40 characters", "more than 40 characters"]


def test_sources_and_subsets_are_slices_where_there_are_several(tmp_path):
    rows = [r | {"source": "mail" if i % 2 else "chat"} for i, r in enumerate(items())]
    names = [g["name"] for g in slices(data_of(tmp_path, rows))]
    assert names == ["Class", "Text length", "Source"]


def test_a_slice_of_one_text_or_of_no_change_has_no_interval(tmp_path):
    rows = [*items(labels=("a",)), items(labels=("lone",))[3]]
    groups = {g["name"]: g["rows"] for g in slices(data_of(tmp_path, rows))}
    (lone,) = [r for r in groups["Class"] if r["name"] == "lone"]
    assert (lone["low"], lone["verdict"]) == (None, "not shown")
    still = [r | {"tuned_correct": r["base_correct"], "tuned_draws": r["base_draws"]} for r in items()]
    groups = slices(data_of(tmp_path / "still", still))
    assert {r["verdict"] for g in groups for r in g["rows"]} == {"not shown"}


def test_confusions_are_counted_before_and_after(tmp_path):
    rows = items()
    wanted = {}
    for side in ("base", "tuned"):
        for r in rows:
            if r[f"{side}_answer"] != r["gold"]:
                wanted.setdefault((r["gold"], r[f"{side}_answer"]), {"base": 0, "tuned": 0})[side] += 1
    found = [r for g in confusions(data_of(tmp_path, rows)) for r in g["rows"]]
    for r in found:
        assert wanted[r["gold"], r["answer"]] == {"base": r["base"], "tuned": r["tuned"]}
    assert len(found) == sum(w["base"] != w["tuned"] for w in wanted.values())
    less, more = (g["rows"] for g in confusions(data_of(tmp_path / "again", rows)))
    assert all(r["change"] < 0 for r in less)
    assert all(r["change"] > 0 for r in more)


def test_only_the_first_variant_is_told_item_by_item(tmp_path):
    rows = [comparison_row(variant="one"), comparison_row(variant="two", verdict="hurt")]
    every = [r | {"variant": v} for v in ("one", "two") for r in items(10)]
    data = collect(evaluate(tmp_path, rows, items=every), tmp_path)
    assert len(data.items) == 10
    text = seen(render_html(data))
    assert "Other variants in this evaluation" in text
    assert "two HURT" in text


# --- noise ---------------------------------------------------------------------------------------------------------


def test_shares_are_those_of_the_parts_that_made_the_matrix():
    rng = np.random.default_rng(0)
    draws, items_ = 400, 400
    gain = rng.normal(size=(draws, 1)) * 2 + rng.normal(size=(1, items_)) * 1
    shares = crossed_shares(gain + rng.normal(size=(draws, items_)) * 3)
    cells = 9 / (draws * items_)
    whole = 4 / draws + 1 / items_ + cells
    assert shares == pytest.approx(
        {"draws": 4 / draws / whole, "items": 1 / items_ / whole, "both": cells / whole}, rel=0.2
    )


def test_shares_agree_with_the_interval(tmp_path):
    rows = items(200, draws=8)
    gain = np.asarray([np.asarray(r["tuned_draws"], float) - np.asarray(r["base_draws"], float) for r in rows]).T
    interval = crossed_interval(np.zeros_like(gain), gain)
    shares = crossed_shares(gain)
    assert sum(shares.values()) == pytest.approx(1)
    assert 1 - shares["draws"] == pytest.approx(interval.item_share)
    (found,) = noise(data_of(tmp_path, rows, standard_error=interval.standard_error))
    assert found.shares == pytest.approx(shares)
    assert found.error == pytest.approx(interval.standard_error)


def test_seeds_take_their_share_of_the_whole(tmp_path):
    row = {"n_seeds": 3, "seed_error": 0.03, "item_error": 0.04, "standard_error": 0.05}
    (found,) = noise(data_of(tmp_path, None, **row))
    assert found.shares == pytest.approx({"seeds": 9 / 25, "items": 16 / 25})
    text = seen(render_html(data_of(tmp_path / "page", None, **row)))
    assert "Training seeds" in text
    assert "36 %" in text


@pytest.mark.parametrize("gain", [np.zeros((4, 5)), np.ones((1, 9)), np.ones((9, 1))])
def test_where_nothing_varies_or_nothing_is_crossed_there_are_no_shares(gain):
    assert crossed_shares(gain) is None


def test_items_without_draws_are_no_noise_to_take_apart(tmp_path):
    assert noise(data_of(tmp_path, item_rows())) == []
    ragged = items(4)
    ragged[0]["base_draws"] = [True]
    assert noise(data_of(tmp_path / "ragged", ragged, standard_error=0.1)) == []


def test_hostile_classes_stay_text(tmp_path):
    rows = pd.DataFrame(items(labels=(EVIL, "b", "c"))).to_dict("records")
    page = render_html(data_of(tmp_path, rows))
    assert "<script>alert" not in page
    assert page.count("<script") == 3
