"""Partners: who becomes whose negative, by a guide that is laid out on paper."""

from __future__ import annotations

import numpy as np
import pytest

from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.llm.asking import Reply
from gisttools.synthesis.options import Checks
from gisttools.synthesis.partners import WrittenPartners
from gisttools.synthesis.plan import PlannedCall
from gisttools.synthesis.task import Task

TASK = Task(name="t", kind="retrieval", description="d", domain="d", language="eng-Latn", passages=("p",))
STS = Task(name="t", kind="sts", description="d", domain="d", language="eng-Latn", texts=("p",))


def at(angle: float) -> np.ndarray:
    """The unit vector at so many degrees: its cosine with that at 0 falls with the angle."""
    return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))], dtype=np.float32)


def row(positive: float, negatives: dict[str, float] | None = None) -> Candidate:
    """A query at 0 degrees, its positive at so many, and written negatives at theirs."""
    negatives = negatives or {}
    vectors = {"query": at(0), "own": at(positive), **{text: at(angle) for text, angle in negatives.items()}}
    item = PlannedCall(group="all", register="r", persona="p", length="l", difficulty="d")
    reply = Reply(key="k", content="", finish_reason="stop", model="m")
    return Candidate(item=item, reply=reply, anchor="query", positive="own", negatives=list(negatives),
                     negative_sources=["written"] * len(negatives), vectors=vectors)  # fmt: skip


def complete(c: Candidate, corpus: list[float], checks: Checks, task: Task = TASK) -> Candidate:
    """The row among passages at so many degrees, named by their angle."""
    WrittenPartners(task, checks, {f"{a:g}": at(a) for a in corpus}).complete([c], [c])
    return c


ANGLES = [5.0, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]


@pytest.mark.parametrize(("skip", "found"), [(0, "35"), (3, "35"), (100, "35")])
def test_a_mined_negative_is_the_nearest_text_below_the_positive(skip, found):
    c = complete(row(positive=32), ANGLES, Checks(skip_nearest=skip, top_k=None))
    assert (c.reason, c.negatives, c.negative_sources) == (None, [found], ["mined"])


@pytest.mark.parametrize(("skip", "found"), [(0, "5"), (2, "15"), (4, "25"), (100, "25")])
def test_the_nearest_few_are_skipped_a_third_of_the_pool_at_most(skip, found):
    c = complete(row(positive=1), ANGLES, Checks(skip_nearest=skip))
    assert c.negatives == [found]
    assert c.guide_an == pytest.approx([np.cos(np.radians(float(found)))])


def test_a_row_s_own_texts_are_never_its_negatives():
    c = complete(row(positive=1), [], Checks())
    assert (c.reason, c.negatives) == ("no-partner", [])


def test_the_round_trip_counts_texts_nearer_than_the_positive_and_only_where_one_searches():
    assert complete(row(positive=22), ANGLES, Checks(top_k=5)).reason is None  # four are nearer
    assert complete(row(positive=22), ANGLES, Checks(top_k=4)).reason == "round-trip"
    assert complete(row(positive=22), ANGLES, Checks(top_k=4), task=STS).reason is None


def test_a_written_negative_below_the_positive_stays_and_one_above_is_replaced():
    live = complete(row(10, {"said": 20}), ANGLES, Checks(top_k=None))
    dead = complete(row(20, {"said": 10}), ANGLES, Checks(top_k=None, skip_nearest=0))
    assert (live.negatives, live.negative_sources) == (["said"], ["written"])
    assert (dead.negatives, dead.negative_sources) == (["25"], ["replaced"])


def test_one_live_negative_of_several_keeps_them_all():
    c = complete(row(20, {"near": 10, "far": 40}), ANGLES, Checks(top_k=None))
    assert (c.negatives, c.negative_sources) == (["near", "far"], ["written", "written"])


def test_without_a_replacement_the_row_waits_with_its_own_negative():
    c = complete(row(20, {"said": 10}), [5.0], Checks(top_k=None))
    assert (c.reason, c.negatives, c.negative_sources) == ("guide-order", ["said"], ["written"])


def test_without_the_guide_s_order_every_written_negative_stays():
    c = complete(row(20, {"said": 10}), ANGLES, Checks(top_k=None, guide_order=False))
    assert (c.reason, c.negatives) == (None, ["said"])


def test_positives_of_rows_that_passed_are_others_negatives():
    partners = WrittenPartners(TASK, Checks(skip_nearest=0), {})
    first, second = row(10), row(5)
    second.positive, second.vectors = "other", {"query": at(0), "other": at(5)}
    partners.complete([first, second], [first, second])
    assert (first.reason, second.negatives) == ("no-partner", ["own"])
