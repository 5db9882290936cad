"""What a synthesis gives: two tables of triplets, its figures, and what people are told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from datasets import Dataset

from gisttools.common import DataError, plural
from gisttools.synthesis.quota import in_words
from gisttools.synthesis.task import TEST, TRAIN

OVER_BUDGET = "over-budget"
_NAMED = 3  # groups named in a headline


@dataclass(frozen=True, kw_only=True)
class SynthesisResult:
    """Two triplet tables and the figures of the synthesis. A rejected row may lack positive and negatives."""

    accepted: Dataset
    rejected: Dataset
    summary: dict

    def headline(self) -> str:
        """One line: how many rows were accepted, and what stopped most of the others."""
        s = self.summary
        if s["dry_run"]:
            took = f"dry run, {s['accepted']} of {s['asked']} rows accepted"
            return f"{took}; {s['wanted']} would take {in_words(s['estimate'])}"
        what = (
            f"{s['asked']} asked for" if s.get("texts") is None else f"{plural(s['asked'], 'text')} written elsewhere"
        )
        line = f"{s['accepted']} rows of {what} ({s['accepted'] / s['asked']:.0%})"
        if test := s["by_label"].get(TEST) if TRAIN in s["by_label"] else None:
            line += f", {test['accepted']} of them to test with"
        line += f", {s['wanted']} wanted; short of {_named(s['short'])}" if s["short"] else ""
        if given_up := s.get("given_up"):
            line += f"; no more asked for {_first(list(given_up))}, which this writer hardly ever writes"
        reasons = [f"{reason} {n}" for reason, n in list(s["reasons"].items())[:3]]
        return f"{line}; most rejects: {', '.join(reasons)}" if reasons else line

    def missing(self) -> str:
        """What is lacking and how to get it; empty where nothing is, or where no more could be had."""
        s = self.summary
        failed, over = (s["reasons"].get(name, 0) for name in ("call-failed", OVER_BUDGET))
        if s["dry_run"] or not s["short"] or not (failed or over):
            return ""
        lacking = f"{plural(sum(s['short'].values()), 'row')} of {s['wanted']:,} are missing"
        if over:
            return (
                f"{lacking}, for the budget is used up. Set a larger one: -p budget_usd or budget_tokens (in a recipe"
                " STEP.budget_usd). What was answered costs nothing again."
            )
        return (
            f"{lacking}; {plural(failed, 'call')} failed. Run the same command again: what was answered is kept, and"
            " only the failed calls are made anew."
        )

    def refuse_nothing(self) -> None:
        """Raise a `DataError` where not one row was accepted."""
        s = self.summary
        if s["accepted"] or s["dry_run"]:
            return
        reasons = ", ".join(f"{reason} {n}" for reason, n in s["reasons"].items())
        said = "".join(f" Of the calls that failed, {n}: {words}." for words, n in s["failures"].items())
        came = "asked for" if s.get("texts") is None else "written elsewhere"
        raise DataError(
            f"None of {s['asked']:,} texts that were {came} was accepted ({reasons}).{said} browse.html shows what"
            " came and why it was not taken."
        )

    def bill(self) -> pd.Series:
        """What it took, as people read it: calls, tokens, US dollars where the price is known, and what the first few
        calls had promised."""
        s = self.summary
        counts = ("asked", "accepted", "live_negatives", "replaced_negatives", "calls", "tokens_in", "tokens_out")
        told = {name.replace("_", " "): f"{s[name]:,}" for name in counts}
        if cached := s.get("tokens_cached"):
            told["tokens in"] += f", {cached:,} of them from the endpoint's cache"
        for name in ("cost_usd", "cost_per_accepted", "cost_per_live"):
            known = "price not known" if s["cost_usd"] is None else "-"
            told[name.removesuffix("_usd").replace("_", " ")] = known if s[name] is None else f"${s[name]:.4f}"
        if s.get("texts") is not None:
            return pd.Series({"texts written elsewhere": told.pop("asked"), **told})
        return pd.Series({"stopped by": s["stopped"], **told, "first calls promised": in_words(s["estimate"])})

    def diversity(self) -> pd.DataFrame:
        """How different the written texts are, compared with equally many real ones: see the function `diversity`."""
        return pd.DataFrame.from_dict(self.summary["diversity"], orient="index")

    def coverage(self) -> pd.DataFrame:
        """Which kinds of each label's real texts were reached: see the function `coverage`. Empty where no real texts
        of these labels are known."""
        columns = ["label", "real", "written", "clusters", "covered", "missed"]
        return pd.DataFrame(self.summary.get("coverage") or [], columns=columns)

    def rejects(self, each: int = 2) -> pd.DataFrame:
        """A few rejected rows of each reason, the most frequent first."""
        columns = ["reject_reason", "anchor_label", "anchor", "positive"]
        table = self.rejected.to_pandas()[columns]
        found = table.groupby("reject_reason").head(each)
        counts = table["reject_reason"].value_counts()
        order = (-found["reject_reason"].map(counts).astype(int)).argsort(kind="stable")
        return found.iloc[order].reset_index(drop=True)


def _first(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _named(short: Mapping[str, int]) -> str:
    """The groups that fall short, the worst first."""
    worst = sorted(short.items(), key=lambda pair: -pair[1])
    return _first([f"{name} {n}" for name, n in worst])
