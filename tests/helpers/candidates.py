"""Candidates as an evaluation finds them, for the tests of the report."""

from __future__ import annotations

from gisttools.evaluation.advice import Candidate, advise
from gisttools.evaluation.candidate_scores import Candidates, CandidateScore, TargetAdvice
from gisttools.evaluation.intervals import student_interval


def row(name, kind, score, speed, **more):
    """A candidate on the task `support`."""
    told = {"task": "support", "name": name, "kind": kind, "what": f"what {name} is", "score": score, "macro_f1": score}
    told |= {"n_train": 476, "n_test": 280, "n_classes": 14, "megabytes": 33.0, "texts_per_s": speed, "dollars": 0.0}
    return CandidateScore(**(told | more))


def found(*rows, smoke=False, error=0.01):
    """These candidates with the advice on them; all differences have one standard error."""
    members = [Candidate(name=r.name, kind=r.kind, score=r.score, texts_per_s=r.texts_per_s) for r in rows]

    def gap(one, other):
        return student_interval(one.score - other.score, error**2, 500, n_items=280, n_draws=1, method="case")

    advice = advise(members, gap, smoke=smoke)
    best = max(rows, key=lambda r: r.score)
    rows = [r if r is not best else CandidateScore(**{**vars(r), "best": True}) for r in rows]
    targets = (TargetAdvice(task="support", subset="default", metric="accuracy", advice=advice),)
    return Candidates(rows=tuple(rows), targets=targets, smoke=smoke)
