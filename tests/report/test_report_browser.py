"""The report in a real browser, at a desk's width and a phone's: quiet, self-contained, never too wide, sortable."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from helpers.browser import PALE, in_browser, needs_chromium
from helpers.candidates import found as candidates, row
from helpers.report_runs import EVIL, LABELS, comparison_row, convert, evaluate, finetune, item_rows, synthesize

from gisttools.evaluation.maps import embedding_map
from gisttools.report.data import collect
from gisttools.report.render import render_html

LONG = "مرحبا، أين طلبي؟ 🙂 " + "unbroken" * 12_500  # 100 kB without a space
_DRIVE = (
    PALE
    + """
addEventListener("load", async () => {
  const fits = () => document.documentElement.scrollWidth <= innerWidth;
  const seen = { width: innerWidth, dark: matchMedia("(prefers-color-scheme: dark)").matches, fits: [fits()], errors };
  const table = document.querySelector("#tasks table[data-sortable]");
  const column = (n) => [...table.tBodies[0].rows].filter((r) => !r.hasAttribute("data-fixed"))
    .map((r) => r.cells[n].firstChild.textContent.trim());  // without the interval below
  const click = (n) => table.tHead.rows[0].cells[n].querySelector("button").click();
  click(3); seen.down = column(3); seen.sort = table.tHead.rows[0].cells[3].getAttribute("aria-sort");
  click(3); seen.up = column(3);
  click(0); seen.names = column(0).map((text) => text.slice(0, 4));
  seen.head = table.tBodies[0].rows[0].textContent.trim();
  document.querySelectorAll("details").forEach((d) => { d.open = true; });
  seen.fits.push(fits());
  seen.order = [".advice", ".candidates", ".word", ".target", ".plot svg", "#h-trust", "#h-cost", "#h-next", "nav"]
    .map((s) => document.querySelector(s).getBoundingClientRect().top + scrollY);
  seen.loaded = performance.getEntriesByType("resource").map((e) => e.name);
  seen.alive = [...document.querySelectorAll("body script")].length;
  seen.figures = [...document.querySelectorAll("figure svg")].every((s) => s.getBoundingClientRect().height > 20);
  seen.text = document.body.innerText.includes("<\\/script><script>alert(1)<\\/script>");
  seen.verdict = JSON.parse(document.getElementById("numbers").textContent).verdict;
  seen.pale = pale();
  const shown = (e) => e.offsetParent !== null;
  const targets = [...document.querySelectorAll("nav a, .to-texts, summary, button, input, select")].filter(shown);
  seen.targets = targets.length;
  seen.small = targets.filter((e) => Math.min(e.offsetHeight, e.offsetWidth) < 44).map((e) => e.outerHTML);
  seen.regions = [...document.querySelectorAll("section, nav, form, [role=region]")].filter(shown).map((e) =>
    e.ariaLabel ?? document.getElementById(e.getAttribute("aria-labelledby")).textContent);
  seen.nameless = [...document.querySelectorAll("th")].filter((h) => h.textContent.trim() === "").length;
  scrollTo(0, document.documentElement.scrollHeight / 2);
  seen.contents = [scrollY > 1000, document.querySelector("nav.contents").getBoundingClientRect().top];
  parent.postMessage(JSON.stringify(seen), "*");
});
"""
)


class _Model:
    def __init__(self, scale):
        self.scale = scale

    def encode(self, texts):
        rng = np.random.default_rng(0)
        return np.eye(4)[[len(t) % 3 for t in texts]] + self.scale * rng.normal(size=(len(texts), 4))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of all there can be in one, with hostile and very long texts wherever texts come from data."""
    results = tmp_path_factory.mktemp("results")
    synthesize(results, task=LONG, reasons={LONG: 3, EVIL: 1})
    convert(results)
    masked = [
        {"anchor": LONG, "candidate": EVIL, "positive": "p", "block": "ap", "guide_score": 0.9, "threshold": 0.5,
         "masked_by": "guide", "label": EVIL}
    ]  # fmt: skip
    finetune(results, tables={"masked_examples.parquet": masked}, best_step=20)
    items = item_rows()
    items[0] |= {"text": LONG, "base_correct": 0.0, "tuned_correct": 1.0, "gold": LONG}
    rows = [
        comparison_row("alpha", difference=0.02, mde=0.01),
        comparison_row("beta", difference=0.10, trained_on=True),
        comparison_row("gamma", difference=-0.03, verdict="hurt"),
        comparison_row(EVIL, is_target=False, allowed_loss=0.005, non_inferior=False, verdict="not shown"),
        comparison_row("no" * 120, is_target=False, allowed_loss=0.005, non_inferior=True, verdict="not shown"),
    ]
    texts = ["x" * i for i in range(30)]
    embedding = embedding_map(_Model(2.0), _Model(0.2), texts, [LABELS[len(t) % 3] for t in texts], 0)
    reference = {
        "name": EVIL,
        "kind": "guide",
        "task": "alpha",
        "subset": "default",
        "metric": "accuracy",
        "score": 0.5,
    }
    more = {
        "embedding.parquet": embedding,
        "references.parquet": [reference],
        "failed.parquet": [{"task": "lost", "model": "tuned", "error": LONG, "is_target": True}],
    }
    found = candidates(
        row("most frequent class", "floor", 0.07, None),
        row(EVIL, "tuned", 0.44, 5000.0, few_shot=0.387, samples_per_label=8, encoder_labels=476),
        row("guide" * 30, "guide", 0.64, 300.0, few_shot=0.5, samples_per_label=8, what=LONG[:4000]),
    )
    more |= {f"{name}.parquet": table for name, table in found.tables().items()}
    more["a_name_of_a_file_that_is_longer_than_half_a_phone_is_wide.parquet"] = [{"a": 1}]
    more["classes.parquet"] = [
        {"task": "support", "subset": "default", "candidate": name, "seed": 0, "label": LONG, "precision": 0.5,
         "recall": 0.5, "f1": 0.5, "support": 3} for name in (EVIL, "guide" * 30)
    ]  # fmt: skip
    told = {"advice": found.summary(), "trained": True}
    parameters = {"model": LONG, EVIL: EVIL}
    folder = evaluate(results, rows, ["finetune-1"], items, more=more, summary=told, parameters=parameters)
    return render_html(collect(folder, results))


@pytest.fixture(scope="module", params=[(1280, False), (390, True)], ids=["desk", "phone in the dark"])
def used(request, page, tmp_path_factory):
    """The page used by a script, at the width of a desk in the light, and of a phone in the dark."""
    needs_chromium()
    width, dark = request.param
    found, logged = in_browser(page, tmp_path_factory.mktemp("browser"), width, _DRIVE, dark=dark)
    assert (found["width"], found["dark"]) == (width, dark)
    return found | {"logged": logged}


@pytest.mark.slow
def test_the_browser_has_nothing_to_complain_about_and_loads_nothing(used):
    assert used["errors"] == []
    assert used["logged"] == []
    assert used["loaded"] == []


@pytest.mark.slow
def test_hostile_texts_are_read_and_never_run(used):
    assert used["text"]
    assert used["alive"] == 3
    assert used["verdict"] == "MIXED"


@pytest.mark.slow
def test_the_page_never_scrolls_sideways(used):
    assert used["fits"] == [True, True]


@pytest.mark.slow
def test_a_click_sorts_numbers_down_then_up_and_names_by_alphabet(used):
    assert used["down"] == ["+10.0", "+2.0", "−3.0"]
    assert used["sort"] == "descending"
    assert used["up"] == ["−3.0", "+2.0", "+10.0"]
    assert used["names"] == ["alph", "beta", "gamm"]
    assert used["head"] == "Target tasks"


@pytest.mark.slow
def test_the_first_screen_reads_in_its_order_on_a_phone(used):
    if used["width"] == 390:
        assert used["order"] == sorted(used["order"])


@pytest.mark.slow
def test_figures_have_a_size_and_no_text_is_pale(used):
    assert used["figures"]
    assert used["pale"] == []


@pytest.mark.slow
def test_a_finger_hits_every_button_and_link_of_the_contents(used):
    assert used["targets"] > 30
    assert used["small"] == []


@pytest.mark.slow
def test_the_contents_stay_and_every_region_and_column_has_a_name_of_its_own(used):
    assert used["contents"] == [True, 0]
    assert [name for name, n in Counter(used["regions"]).items() if n > 1 or not name.strip()] == []
    assert used["nameless"] == 0


def test_the_page_is_small(page):
    assert len(page.encode()) < 3_000_000
