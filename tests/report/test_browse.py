"""The page of triplets: what it shows and counts, that texts stay texts, and that its script does what it should."""

import json
import re
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest
from datasets import Dataset
from helpers.browser import in_browser, needs_chromium
from helpers.html_page import Page, seen

from gisttools.common.errors import DataError, ParameterError
from gisttools.common.wording import dollars
from gisttools.data.triplets import make_triplets
from gisttools.report import browse
from gisttools.report.browse import REASONS, render_browser, sample, visible, write_browser

EVIL = "</script><script>document.title='gone'</script><!-- \"quotes\" & 'ticks' 🙂 שלום \u202e <b>bold</b> \u2028 end"
CONTROLS = "nul \x00 bell \x07 escape \x1b delete \x7f next \x85"
LONG = "Lorem ipsum, the parcel is late. " * 3031  # 100,023 characters


def row(i, label="refund_status", **values):
    texts = {"anchor": f"Anchor {i}", "positive": f"Positive {i}", "negatives": [f"Negative {i}"]}
    labels = {"anchor_label": label, "positive_label": label, "negative_labels": ["order_status"]}
    return texts | labels | {"source": "llm"} | values


def rejected_row(i, reason, **values):
    return row(i, status="rejected", reject_reason=reason, **values)


def tables():
    """110 accepted rows of two labels, some of them hostile, and 6 rejected ones."""
    accepted = [row(i, ("refund_status", "Überweisung")[i % 2], guide_ap=0.8, guide_an=[i / 110]) for i in range(104)]
    accepted += [
        row(104, EVIL, positive=EVIL, negatives=[EVIL, CONTROLS]),
        row(105, negatives=[LONG, "a\nb\n" * 200], language="deu-Latn", task_type="Classification", live=False),
        row(106, anchor="x" * 400, positive="مرحبا، أين طلبي؟ " * 40, negatives=[]),
        row(107, tokens_in=812, tokens_out=34, cost_usd=0.00031, live=True, guide_ap=0.31, guide_an=[0.82]),
        row(108, anchor="İstanbul'a KARGO", positive="Äpfel und\u0308ber"),
        row(109, negatives=[f"Negative of many {k}" for k in range(30)]),
    ]
    rejected = [rejected_row(i, "near-duplicate") for i in range(4)]
    rejected += [rejected_row(4, "off-topic"), rejected_row(5, EVIL)]
    return make_triplets(accepted), make_triplets(rejected)


@pytest.fixture(scope="module")
def page():
    return render_browser(*tables(), title=f"A run {EVIL}")


def data_of(page):
    return json.loads(next(code for code in Page(page).scripts if code.startswith("{")))["rows"]


# --- content -------------------------------------------------------------------------------------------------------


def test_every_row_is_in_the_page_with_its_texts_and_label(page):
    rows = data_of(page)
    assert len(rows) == 116
    assert [t["role"] for t in rows[3]["texts"]] == ["Anchor", "Positive", "Negative"]
    assert [t["head"] for t in rows[3]["texts"]] == ["Anchor 3", "Positive 3", "Negative 3"]
    assert rows[3]["label"] == "Überweisung"
    assert rows[3]["texts"][2]["label"] == "order_status"


def test_the_first_rows_can_be_read_without_scripts(page):
    text = seen(page)
    assert "Anchor 0" in text
    assert "Anchor 49" in text
    assert "Anchor 50" not in text
    assert "Search, filters and further pages need scripts" in text
    assert "The first 50 of 116 rows are shown" in text


def test_the_head_counts_accepted_and_rejected_by_reason(page):
    text = seen(page)
    assert "Accepted 110 Rejected 6 5.2 % of 116 rows Labels 3" in text
    assert "nearly repeats another text 4" in text
    assert "far from its label 1" in text


def test_a_row_says_what_is_known_about_it(page):
    rows = data_of(page)
    known = rows[107]
    assert known["facts"]["tokens"] == "812 in, 34 out"
    assert known["facts"]["cost"] == "$0.00031"
    assert known["facts"]["usable negative"] == "yes"
    assert [t.get("cosine") for t in known["texts"]] == [None, 0.31, 0.82]
    assert known["texts"][2]["note"] == "nearer than the positive"
    assert rows[105]["facts"]["language"] == "deu-Latn"
    assert "masks all" in rows[105]["facts"]["usable negative"]


def test_what_all_rows_share_is_said_once(page):
    assert "The same in all rows source : llm" in seen(page).replace("source llm", "source : llm")
    assert not any("source" in r.get("facts", {}) for r in data_of(page))


def test_rejected_rows_say_why_in_words():
    table = make_triplets([rejected_row(i, reason) for i, reason in enumerate([*REASONS, "wrong_language"])])
    rows = data_of(render_browser(table, None, title="t"))  # the status alone says so, too
    assert [r["reason"] for r in rows] == [*REASONS.values(), "wrong language"]


def test_rows_of_the_rejected_table_are_rejected_whatever_they_say():
    text = seen(render_browser(make_triplets([row(0)]), make_triplets([row(1)]), title="t"))
    assert "Accepted 1 Rejected 1" in text
    assert "no reason given" in text


def test_many_negatives_are_counted_not_all_shown(page):
    many = data_of(page)[109]
    assert len(many["texts"]) == 12
    assert many["facts"]["not shown"] == "20 more negatives"


def test_later_columns_are_shown_and_missing_ones_are_not_missed():
    rows = [
        {"anchor": "only", "topic": "tea", "negatives": ["no"], "negative_sources": ["mined"], "extra": 1},
        {"anchor": None, "topic": None, "negatives": None, "negative_sources": None, "extra": 2},
    ]
    rows[0]["attributes"], rows[1]["attributes"] = {"register": "formal", "length": "short"}, None
    first, second = data_of(render_browser(Dataset.from_list(rows), None, title="t"))
    assert first["label"] == "tea"
    assert first["texts"][1]["note"] == "mined"
    assert first["facts"] == {"register": "formal", "length": "short"}
    assert second["texts"] == [{"role": "Anchor"}]


def test_attributes_of_few_values_can_be_filtered_by():
    rows = [
        row(i) | {"attributes": json.dumps({"register": "formal" if i % 3 else "chatty", "n": i})} for i in range(90)
    ]
    text = seen(render_browser(Dataset.from_list(rows), None, title="t"))
    assert "Register all chatty (30) formal (60)" in re.sub(" +", " ", text.replace("all", " all ").replace(")", ") "))
    assert " N all" not in text


def test_attributes_may_be_json_text_or_any_text():
    rows = [row(0) | {"attributes": '{"register": "formal"}'}, row(1) | {"attributes": "brief"}]
    first, second = data_of(render_browser(Dataset.from_list(rows), None, title="t"))
    assert first["facts"]["register"] == "formal"
    assert second["facts"]["attributes"] == "brief"


def test_no_rows_at_all_is_said():
    assert "There are no rows." in seen(render_browser(make_triplets([]), None, title="t"))


def test_what_cannot_be_browsed_is_refused():
    other = Dataset.from_dict({"text": ["a"]})
    with pytest.raises(DataError, match="accepted table has no column 'anchor'") as caught:
        render_browser(other, other, title="t")
    assert "rejected table" in str(caught.value)
    with pytest.raises(ParameterError, match="most is 0"):
        render_browser(make_triplets([row(0)]), None, title="t", most=0)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0, "$0.00"), (12.345, "$12.35"), (1234, "$1,234.00"), (0.017, "$0.017"), (0.000031, "$0.000031"),
     (1e-9, "under $0.000001")],
)  # fmt: skip
def test_small_prices_can_be_read(value, wanted):
    assert dollars(value) == wanted


# --- hostile texts -------------------------------------------------------------------------------------------------


def test_hostile_texts_stay_texts(page):
    read = Page(page)
    assert [tag for tag, _ in read.elements].count("script") == 2
    assert [tag for tag, _ in read.elements].count("b") == 0
    assert data_of(page)[104]["texts"][1]["head"] == EVIL
    with_it_first = render_browser(tables()[0].select([104]), None, title="t")
    assert EVIL in Page(with_it_first).text


def test_what_has_no_shape_is_made_visible():
    assert visible("a\x00b\x1bc\x7fd\x85e\ud800f\r\ng\th") == "a␀b␛c␡d\ufffde\ufffdf\ng\th"


def test_lone_surrogates_in_a_file_do_not_stop_the_page():
    texts = pa.array([b"half \xed\xa0\x80 pair", b"whole"], pa.binary())
    strings = pa.Array.from_buffers(pa.string(), 2, texts.buffers())
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), strings)
    table = Dataset(pa.table({"anchor": strings, "negatives": lists}))
    rows = data_of(render_browser(table, None, title="\ud800"))
    assert re.fullmatch("half \ufffd+ pair", rows[0]["texts"][0]["head"])
    assert re.fullmatch("half \ufffd+ pair", rows[0]["texts"][1]["head"])


def test_long_texts_are_folded_and_very_long_ones_cut_with_a_note(page):
    cut, lines = data_of(page)[105]["texts"][2:]
    assert cut["head"] + cut["rest"] == LONG[:20_000]
    assert cut["more"] == f"the first 20,000 of {len(LONG):,} characters; the rest is cut from this page"
    assert lines["head"] + lines["rest"] == "a\nb\n" * 200
    assert lines["more"] == "all 800 characters"
    assert "Texts are cut after 20,000 characters (1 text)" in seen(page)


def test_texts_are_cut_shorter_where_they_would_not_find_room(monkeypatch):
    monkeypatch.setattr(browse, "_ROOM", 30_000)
    table = make_triplets([row(i, anchor=f"{i} {LONG}") for i in range(10)])
    page = render_browser(table, None, title="t")
    assert "Texts are cut after 2,500 characters (10 texts)" in seen(page)


def test_the_page_names_no_address_that_a_browser_would_load(page):
    for tag, attributes in Page(page).elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_headings_are_in_order_and_controls_are_labelled(page):
    elements = Page(page).elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    tags = Counter(tag for tag, _ in elements)
    assert tags["label"] == tags["input"] + tags["select"] == 8
    form = re.sub(r"<option.*?</option>", "", page, flags=re.DOTALL)
    assert "Search Status Reason Label Task type Language Usable negative Order" in seen(form)


def test_ids_are_unique_and_named_ones_exist(page):
    attributes = [a for _, a in Page(page).elements]
    ids = [a["id"] for a in attributes if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for a in attributes if "aria-labelledby" in a} <= set(ids)


# --- size, sample, file --------------------------------------------------------------------------------------------


def test_a_sample_is_even_and_the_same_each_time():
    groups = ["large"] * 900 + ["small"] * 5 + ["middle"] * 95
    chosen = sample(groups, 100)
    assert Counter(groups[i] for i in chosen) == {"small": 5, "middle": 47, "large": 48}
    assert chosen == sample(groups, 100) == sorted(set(chosen))
    assert len(sample(list(range(1000)), 10)) == 10
    assert sample(groups, 1000) == list(range(1000))


def test_of_too_many_rows_a_sample_is_shown_and_said_to_be_one():
    accepted = make_triplets([row(i, f"label {i % 3}") for i in range(300)])
    rejected = make_triplets([rejected_row(i, "length" if i else "schema") for i in range(40)])
    page = render_browser(accepted, rejected, title="t", most=50)
    rows = data_of(page)
    reasons = Counter(r.get("reason", "") for r in rows)
    assert len(rows) == 50
    assert reasons[REASONS["schema"]] == 1
    assert Counter(r["label"] for r in rows if "reason" not in r) == {"label 0": 12, "label 1": 12, "label 2": 13}
    assert "This page shows 50 of 340 rows" in seen(page)
    assert "Accepted 300 Rejected 40" in seen(page)
    assert all(t["head"] == f"Anchor {r['number'] - 1}" for r in rows for t in r["texts"][:1])


def test_five_thousand_short_rows_stay_under_five_megabytes():
    text = "Hello, I bought a kettle two days ago and would like to know where my parcel is now, please. "
    rows = [row(i, f"label {i % 77}", anchor=f"{i} {text}", positive=text, negatives=[text]) for i in range(5000)]
    assert len(render_browser(make_triplets(rows), None, title="t").encode()) < 5_000_000


def test_the_file_is_whole_and_the_same_each_time(page, tmp_path):
    path = write_browser(*tables(), tmp_path / "run", title=f"A run {EVIL}")
    assert path == tmp_path / "run" / "browse.html"
    assert path.read_bytes() == page.encode()
    assert [p.name for p in path.parent.iterdir()] == ["browse.html"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_browser(*tables(), path, title="t")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert path.read_text() == "old"


# --- in a browser --------------------------------------------------------------------------------------------------

_DRIVE = """
addEventListener("load", async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const $ = (id) => document.getElementById(id);
  const state = () => ({
    found: $("found").textContent, rows: list.children.length, first: list.querySelector("dd")?.textContent,
    marks: list.querySelectorAll("mark").length, place: $("place").textContent, pager: !$("pager").hidden,
    open: list.querySelectorAll("details[open]").length,
  });
  const type = async (text) => {
    $("query").value = text; $("query").dispatchEvent(new Event("input", { bubbles: true })); await wait(200);
    return state();
  };
  const choose = async (select, text) => {
    select.value = [...select.options].find((o) => o.textContent.startsWith(text)).value;
    select.dispatchEvent(new Event("change", { bubbles: true })); await wait(20);
    return state();
  };
  const html = () => list.innerHTML.replace(/>\\s+</g, "><").trim();
  const list = $("list"), seen = {}, selects = [...document.querySelectorAll("select")];
  const named = (name) => selects.find((s) => s.parentElement.textContent.startsWith(name));
  const fits = () => document.documentElement.scrollWidth <= innerWidth;
  seen.width = innerWidth; seen.start = state(); seen.form = !$("controls").hidden; seen.fits = [fits()];
  const before = html();
  await type(" "); seen.same = html() === before;
  seen.typed = await type("ANCHOR 7"); seen.nothing = await type("no such text");
  seen.evil = await type("<\\/SCRIPT>"); seen.fits.push(fits());
  seen.evilTags = list.querySelectorAll("script, b").length;
  seen.turkish = await type("kargo"); seen.composed = await type("ÄPFEL UND\\u0308BER");
  seen.folded = await type("the parcel is late");
  document.querySelectorAll("details").forEach((d) => { d.open = true; }); seen.fits.push(fits());
  await type("");
  seen.reason = await choose(named("Reason"), "nearly"); seen.labels = named("Label").textContent;
  $("controls").querySelector("[type=reset]").click(); await wait(50); seen.cleared = state();
  seen.label = await choose(named("Label"), "Über"); seen.statuses = named("Status").textContent;
  await choose(named("Label"), "all"); seen.order = await choose(named("Order"), "smallest");
  await choose(named("Order"), "as in");
  $("next").click(); seen.second = state(); $("next").click(); seen.third = state(); seen.last = $("next").disabled;
  seen.fits.push(fits()); seen.focus = document.activeElement.id; $("back").click(); seen.back = state();
  const targets = [...document.querySelectorAll("button, input, select, summary")].filter((e) => e.offsetParent);
  seen.targets = targets.length; seen.small = targets.filter((e) => e.offsetHeight < 44).map((e) => e.outerHTML);
  seen.title = document.title; seen.errors = errors;
  parent.postMessage(JSON.stringify(seen), "*");
});
"""


@pytest.fixture(scope="module", params=[1280, 390])
def used(request, page, tmp_path_factory):
    """The page used by a script, at the width of a desk and of a phone."""
    needs_chromium()
    found, logged = in_browser(page, tmp_path_factory.mktemp("browser"), request.param, _DRIVE)
    assert found["width"] == request.param
    return found | {"logged": logged}


@pytest.mark.slow
def test_no_error_and_no_text_came_alive(used):
    assert used["errors"] == []
    assert used["logged"] == []
    assert used["evilTags"] == 0
    assert used["title"].startswith("A run")


@pytest.mark.slow
def test_the_page_never_scrolls_sideways(used):
    assert used["fits"] == [True] * 4


@pytest.mark.slow
def test_a_finger_hits_every_control(used):
    assert used["targets"] > 10
    assert used["small"] == []


@pytest.mark.slow
def test_the_script_draws_rows_as_the_page_came(used):
    assert used["form"]
    assert used["same"]


@pytest.mark.slow
def test_searching_finds_any_case_marks_it_and_unfolds(used):
    assert used["typed"]["found"] == "11 of 116 rows"  # 7, 70 to 79
    assert used["typed"]["first"] == "Anchor 7"
    assert used["typed"]["marks"] == 11
    assert used["nothing"] | {"first": None} == {
        "found": "No row is like that", "rows": 0, "first": None, "marks": 0, "place": "", "pager": False, "open": 0,
    }  # fmt: skip
    assert used["evil"]["rows"] == 2
    assert used["turkish"]["first"].startswith("İstanbul")
    assert used["composed"]["rows"] == 1
    assert used["folded"]["rows"] == 1


@pytest.mark.slow
def test_filters_narrow_and_count_what_they_would_show(used):
    assert used["reason"]["found"] == "4 of 116 rows"
    assert "refund_status (4)" in used["labels"]
    assert "Überweisung (0)" in used["labels"]
    assert used["cleared"]["found"] == "116 rows"
    assert used["label"]["found"] == "52 of 116 rows"
    assert "accepted (52)rejected (0)" in used["statuses"]
    assert used["order"]["first"] == "Anchor 107"


@pytest.mark.slow
def test_pages_turn(used):
    assert used["start"]["place"] == "1–50 of 116"
    assert used["start"]["pager"]
    assert (used["second"]["place"], used["second"]["first"]) == ("51–100 of 116", "Anchor 50")
    assert (used["third"]["place"], used["third"]["rows"], used["last"]) == ("101–116 of 116", 16, True)
    assert used["back"]["place"] == "51–100 of 116"
    assert used["focus"] == "h-rows"
