"""Writes a comparison of many variants: a page that needs no network, CSV, Markdown, and text for a terminal.

The figures show each variant against the baseline, and what each parameter does.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from gisttools.common import (
    NOT_RUN,
    dollars,
    duration,
    is_number,
    model_name,
    plural,
    score,
    shortened,
    signed,
    value_name,
)
from gisttools.evaluation import (
    LEAST_SEEDS,
    NO_VERDICT,
    Effect,
    Grid,
    Interval,
    Leaderboard,
    Ranked,
)
from gisttools.report.drawing import (
    FAINT,
    GAP,
    LOOKS,
    MUTED,
    WIDTH,
    Drawing,
    clean,
    not_empty,
    or_nothing,
    to_svg,
    write,
)
from gisttools.report.latex import escape as latex
from gisttools.report.page import as_json, as_markdown, environment, script, style, write_files

_MOST_ROWS = 40
_ROW, _HEAD_ROOM, _FOOT, _VALUES = 35, 24, 38, 46  # points; _VALUES: room for the numbers to the right
_WIDE = WIDTH - 2 - _VALUES
_NAME = 62  # characters of a name that fit


class _Line(NamedTuple):
    name: str
    difference: float
    low: float
    high: float
    verdict: str
    group: str = ""


@or_nothing
def variants_forest(board: Leaderboard) -> Drawing:
    """Each variant's difference to the baseline with its interval, the best first."""
    shown = [r for r in board.ranked if is_number(r.difference)][:_MOST_ROWS]
    not_empty(shown, "no variant was scored")
    lines = [_Line(f"{r.rank}  {r.recipe}", r.difference, r.low, r.high, r.verdict) for r in shown]
    left = f", the first {len(shown)} of {len(board.ranked)}" if len(board.ranked) > _MOST_ROWS else ""
    return _forest(lines, f"Variants against the baseline{left}", "points")


@or_nothing
def effects_forest(board: Leaderboard) -> Drawing:
    """The effect of each parameter's values over its first, with intervals, parameter by parameter."""
    known = [e for e in board.effects if e.interval and is_number(e.interval.difference)]
    lines = [_line_of(effect, effect.interval) for effect in known if effect.interval]
    lines = not_empty(lines, "no variants differ in one parameter alone")[:_MOST_ROWS]
    return _forest(lines, "Effects of parameters", "points")


def _line_of(effect: Effect, over: Interval) -> _Line:
    group = f"{effect.parameter}, over {value_name(effect.against)}{_with(effect)}"
    return _Line(value_name(effect.value), over.difference, over.low, over.high, effect.verdict, group)


def _with(effect: Effect) -> str:
    """What changed along with the parameter."""
    return f" (with {', '.join(effect.along)})" if effect.along else ""


def _forest(lines: Sequence[_Line], title: str, unit: str) -> Drawing:
    table = pd.DataFrame(lines)
    groups = [name for name in dict.fromkeys(table["group"]) if name]
    tall = _ROW * len(table) + _HEAD_ROOM * len(groups)
    alt = "; ".join(
        f"{r.group + ': ' if r.group else ''}{r.name}: {signed(r.difference)} ({signed(r.low)} to {signed(r.high)})"
        for r in table.head(20).itertuples()
    )
    figure = Drawing(tall + _FOOT + 6, title, alt)
    axes = figure.panel(2, _FOOT, _WIDE, tall + 4)
    ends = 100 * table[["difference", "low", "high"]].to_numpy(float)
    low, high = min(np.nanmin(ends), 0.0), max(np.nanmax(ends), 0.0)
    pad = max(0.06 * (high - low), 0.2)
    left, right = low - pad, high + pad
    point = (right - left) / _WIDE
    axes.set(xlim=(left, right), ylim=(tall + 4, 0), yticks=[])
    edge = 16 * point  # a tick closer than its label is wide would be cut off
    ticks = [t for t in MaxNLocator(nbins=6).tick_values(left, right) if left + edge <= t <= right - edge]
    axes.set_xticks(ticks)
    for tick in ticks:
        axes.axvline(tick, color=FAINT, linewidth=0.6, zorder=0)
    y, before = 0.0, ""
    for r in table.itertuples():
        if r.group != before:
            write(
                axes, (left, y + 13), shortened(clean(r.group), _NAME), size=9, color=MUTED, weight="bold", backed=True
            )
            y, before = y + _HEAD_ROOM, r.group
        line, marker, fill = LOOKS.get(r.verdict, LOOKS["not shown"])
        write(axes, (left, y + 8), shortened(clean(r.name), _NAME), size=9.5, backed=True)
        write(
            axes,
            (right + (_VALUES - 3) * point, y + 22),
            signed(r.difference),
            weight="bold",
            color=line,
            align=("right", "center"),
        )
        axes.plot([0, 0], [y + 15, y + 29], color=MUTED, linewidth=0.9, zorder=1)
        if np.isfinite(r.low):
            axes.plot([100 * r.low, 100 * r.high], [y + 22] * 2, color=line, linewidth=2, solid_capstyle="round")
        axes.plot(100 * r.difference, y + 22, marker, ms=6.5, color=line, mfc=fill, mew=1.6)
        y += _ROW
    axes.set_xlim(left, right)
    axes.set_xlabel(f"{unit}{GAP}● helped{GAP}○ not shown{GAP}◆ hurt", fontsize=9, color=MUTED, labelpad=5)
    return figure


_HEAD = (
    f"{'score':>10}{'sd':>6}{'seeds':>7}   {'over the baseline':<24}{'to the best':<24}{'minutes':>8}{'dollars':>10}"
)


def leaderboard_text(board: Leaderboard, *, width: int = 100) -> str:
    """The findings, the variants and the effects of parameters; numbers are points out of 100, with 95 % intervals."""
    counts = f"{plural(len(board.ranked), 'variant')}, {plural(board.runs, 'run')}"
    lines = [f"{board.task}, {board.metric}: {counts}; baseline {board.baseline} {score(board.base)}", ""]
    lines += [f"SMOKE RUN: {_SMOKE}", ""] if board.smoke else []
    lines += [*board.sentences(), "", _HEAD]
    for row in board.ranked:
        lines += [f"{row.rank:>3} {row.recipe}: {row.word}", _numbers(row)]
    if board.grid:
        lines += ["", *_grid_text(board.grid)]
    if board.effects:
        lines += ["", "Effects of parameters, paired over the others (interactions are not modelled)"]
        for e in board.effects:
            lines.append(f"    {e.parameter}: {value_name(e.against)} → {value_name(e.value)}{_with(e)}")
            over = f"{plural(e.settings, 'setting')}, {plural(e.seeds, 'seed')}" if e.settings else ""
            said = _interval(e.interval.difference, e.interval.low, e.interval.high) if e.interval else "not separable"
            paid = f", {_price(e)} a point" if e.price else ""
            lines.append(f"        {said:<24}{e.verdict:<15}{over}{paid}".rstrip())
    return "\n".join(part for line in lines for part in _fold(line, width))


_SMOKE = "trainings were cut short to see whether all of it works. Its numbers mean nothing."


def _grid_text(grid: Grid) -> list[str]:
    """Scores by the values of two parameters."""
    heads = [value_name(value) for value in grid.columns.values]
    names = [value_name(value) for value in grid.rows.values]
    left, wide = max(map(len, [*names, grid.rows.name])), max(7, *(len(shortened(h, 20)) + 2 for h in heads))
    lines = [f"Scores by {grid.rows.name} (down) and {grid.columns.name} (across)"]
    lines.append(f"    {'':<{left}}" + "".join(f"{shortened(h, 20):>{wide}}" for h in heads))
    for name, scores in zip(names, grid.scores, strict=True):
        cells = (f"{score(s) if is_number(s) else '–':>{wide}}" for s in scores)
        lines.append(f"    {name:<{left}}" + "".join(cells))
    return lines


def _heat(grid: Grid) -> dict[str, Any]:
    """The same for the page: each cell with how warm it is, from 0 for the lowest score to 1 for the highest."""
    known = [s for row in grid.scores for s in row if is_number(s)]
    low, span = min(known), (max(known) - min(known)) or 1.0
    rows = [
        (value_name(value), [(score(s), f"{(s - low) / span:.3f}") if is_number(s) else ("–", "0") for s in scores])
        for value, scores in zip(grid.rows.values, grid.scores, strict=True)
    ]
    heads = [value_name(value) for value in grid.columns.values]
    return {"down": grid.rows.name, "across": grid.columns.name, "heads": heads, "rows": rows}


def _numbers(row: Ranked) -> str:
    sd = f"{100 * row.seed_sd:.1f}" if is_number(row.seed_sd) else "–"
    gain = _interval(row.difference, row.low, row.high)
    behind = _interval(row.behind, row.behind_low, row.behind_high) if is_number(row.behind) else "best"
    minutes = f"{row.seconds / 60:.1f}" if is_number(row.seconds) else "–"
    cost = dollars(row.cost_usd) if is_number(row.cost_usd) else "–"
    mark = " =" if row.with_best and is_number(row.behind) else ""
    start = f"{'':4}{score(row.score):>6}{sd:>6}{row.seeds:>7}   {gain:<24}"
    return f"{start}{behind + mark:<24}{minutes:>8}{cost:>10}"


def _interval(difference: float, low: float, high: float) -> str:
    return f"{signed(difference)} ({signed(low)} to {signed(high)})" if is_number(low) else signed(difference)


def _fold(line: str, width: int) -> list[str]:
    """The line without what could move a terminal's cursor, in parts of at most `width` characters."""
    line = "".join(c if c.isprintable() else " " for c in line)
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, width, subsequent_indent=indent, drop_whitespace=True) or [line[:width]]


PAGE, TABLE, TEXT, LATEX = "leaderboard.html", "leaderboard.csv", "leaderboard.md", "leaderboard.tex"


def write_sweep(board: Leaderboard, folder: str | Path) -> Path:
    """Write `leaderboard.html`, `.csv`, `.md` and `.tex` into a folder, all of them or none.

    Returns:
        The path of the page. The same leaderboard gives the same bytes on the same day.
    """
    lists = {name: board.table[name].map("; ".join) for name in ("runs", "alike")}
    table = board.table.drop(columns="settings").assign(**lists)
    made = {PAGE: render_sweep(board), TABLE: table.to_csv(index=False), TEXT: sweep_markdown(board)}
    made[LATEX] = sweep_latex(board)
    write_files(Path(folder), made)
    return Path(folder) / PAGE


def render_sweep(board: Leaderboard) -> str:
    """The page as text."""
    code, digest = script("sort.js.j2")
    numbers = as_json(_rounded(board.summary()))
    page = environment(autoescape=True).get_template("sweep.html.j2")
    return page.render(
        **sweep_view(board),
        date=date.today().isoformat(),
        forest=Markup(to_svg(variants_forest(board))),
        effects_figure=Markup(to_svg(effects_forest(board))) if board.separable else "",
        numbers=numbers,
        style=style("style.css.j2", "sweep.css.j2"),
        script=code,
        script_hash=digest,
    )


def sweep_latex(board: Leaderboard) -> str:
    """A `table` environment with the variants: score and its standard deviation over seeds, difference to the baseline
    with its interval, seeds."""
    rows = [
        ("baseline", score(board.base), "", "", ""),
        *(
            (
                row.recipe,
                score(row.score) + (f" ± {100 * row.seed_sd:.1f}" if is_number(row.seed_sd) else ""),
                signed(row.difference),
                _to(row.low, row.high),
                str(row.seeds),
            )
            for row in board.ranked
        ),
    ]
    few = f" Below {LEAST_SEEDS} seeds there is no verdict on a way to train." if board.few else ""
    smoke = f" Smoke run: {_SMOKE}" if board.smoke else ""
    caption = (
        f"{board.task}, {board.metric} times 100, against {_baseline(board)}; mean ± standard deviation over seeds."
    )
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{lrrlr}",
            r"\hline",
            r"Variant & Score & Difference & 95\,\% interval & Seeds \\",
            r"\hline",
            *(" & ".join(map(latex, row)) + r" \\" for row in rows),
            r"\hline",
            r"\end{tabular}",
            rf"\caption{{{latex(caption + few + smoke)}}}",
            r"\end{table}",
            "",
        ]
    )


def sweep_markdown(board: Leaderboard) -> str:
    """The same in Markdown: what is said, the variants, the effects."""
    view = sweep_view(board)
    lines = [f"# {as_markdown(view['title'])}", ""]
    lines += [f"**Smoke run**: {view['smoke']}", ""] if view["smoke"] else []
    lines += [*(as_markdown(s) + "\n" for s in view["sentences"])]
    head = ["", "variant", "score", "sd", "over the baseline", "verdict", "to the best", "seeds", "minutes", "dollars"]
    rows = [
        [r["rank"], r["variant"], r["score"], r["sd"], f"{r['difference']} ({r['interval']})", r["word"],
         f"{r['behind']} ({r['behind_interval']})" if r["behind_interval"] else r["behind"],
         r["seeds"], r["minutes"], r["cost"]]
        for r in view["variants"]
    ]  # fmt: skip
    lines += ["## Leaderboard", "", *_table(head, rows), ""]
    if view["effects"]:
        head = ["parameter", "value", "over", "difference", "verdict", "settings", "seeds"]
        head += ["dollars a point"] if view["paid"] else []
        rows = [[e["shown"] if k == "difference" else e[k] for k in head] for e in view["effects"]]
        lines += ["## Effects of parameters", "", *_table(head, rows), ""]
    lines += ["## How to read it", "", *(f"- {as_markdown(text)}" for text in view["limits"]), ""]
    return "\n".join([*lines, "## How to reproduce it", "", "```", *view["commands"], "```", ""])


def sweep_view(board: Leaderboard) -> dict[str, Any]:
    """What page and Markdown show, as texts."""
    return {
        "title": f"{board.task}, {board.metric}",
        "baseline": _baseline(board),
        "guided": bool(board.findings),
        "smoke": _SMOKE if board.smoke else "",
        "grid": _heat(board.grid) if board.grid else None,
        "question": board.question(),
        "word": board.word(),
        "sentences": board.sentences(),
        "strip": _strip(board),
        "variants": [_variant(row) for row in board.ranked],
        "priced": any(is_number(row.cost_usd) for row in board.ranked),
        "effects": [_effect(effect) for effect in board.effects],
        "paid": any(effect.price for effect in board.effects),
        "tasks": _tasks(board),
        "limits": limits(board),
        "shared": [(name, value_name(value)) for name, value in board.shared.items()],
        "commands": [f"gisttools compare {shlex.join(board.evaluations)}", _run_command(board.evaluations)],
    }


def limits(board: Leaderboard) -> list[str]:
    """What the numbers do not say."""
    found = [
        "Points are hundredths of the score. An interval holds the true difference 95 times in 100, over other test "
        "texts and draws of the same kind and, where there are several seeds, other trainings. Each interval stands "
        "for itself: of many variants, tasks and parameters a few look distinguishable by chance.",
        "Variants are compared seed by seed, draw by draw and text by text, where the evaluations kept their answers.",
    ]
    if len(board.ranked) > 1:
        found.append(
            "The best variant was picked by the very scores it is compared by, so its lead flatters it. Choose on "
            "development data, and let test texts have the last word."
        )
    if board.few:
        found.append(
            f"Below {LEAST_SEEDS} seeds there is no verdict: the next training of the same could say otherwise, "
            "however narrow the interval over test texts is."
        )
    if any(row.seeds < 2 for row in board.ranked):
        found.append("A variant of one seed is one model: its interval says nothing of another training of the same.")
    elif any(row.seeds < 5 for row in board.ranked):
        found.append("Of few seeds little is known of how much trainings differ; intervals are wide to allow for it.")
    if board.effects:
        found.append(
            "The effect of a parameter is the mean over pairs of variants that are the same in all else. Interactions "
            "are not modelled: where a parameter helps with one value of another and hurts with the next, its "
            "effect is the mean of both."
        )
    if any(effect.price for effect in board.effects):
        found.append(
            "A point's price is what the rows cost more, divided by the difference that is shown; rows without a price "
            "of their own, such as your labelled texts, count as nothing."
        )
    return found


def _strip(board: Leaderboard) -> list[tuple[str, str, str]]:
    seeds_each = [row.seeds for row in board.ranked] or [0]
    low, high = min(seeds_each), max(seeds_each)
    seeds = plural(low, "seed") + " each" if low == high else f"{low} to {high} seeds each"
    parts = board.tasks.drop_duplicates(["task", "subset"])
    n_tasks, n_targets = len(parts), int(parts["is_target"].sum())
    seconds, costs = ((board.table[c] * board.table["seeds"]).sum(min_count=1) for c in ("seconds", "cost_usd"))
    strip = [
        ("Variants", str(len(board.ranked)), f"{plural(board.runs, 'run')}, {seeds}"),
        ("Baseline", score(board.base), _baseline(board)),
        *(("Best", score(best.score), f"{signed(best.difference)} points") for best in board.ranked[:1]),
        ("Tasks", str(n_tasks), f"{plural(n_targets, 'target')}" if n_targets else "none named as target"),
        ("Training, all runs", duration(seconds), ""),
    ]
    return [*strip, ("Paid for rows", dollars(costs), "")] if is_number(costs) else strip


def _variant(row: Ranked) -> dict[str, Any]:
    best = not is_number(row.behind)
    return {
        "rank": row.rank,
        "variant": row.recipe,
        "settings": row.settings,
        "score": score(row.score),
        "sd": f"{100 * row.seed_sd:.1f}" if is_number(row.seed_sd) else "",
        "difference": signed(row.difference),
        "interval": _to(row.low, row.high),
        "verdict": row.verdict,
        "word": row.word if row.word != NO_VERDICT else f"no verdict, {plural(row.seeds, 'seed')}",
        "alike": row.alike,
        "behind": "best" if best else signed(row.behind),
        "behind_interval": "" if best else _to(row.behind_low, row.behind_high),
        "with_best": row.with_best and not best,
        "seeds": row.seeds,
        "minutes": f"{row.seconds / 60:.1f}" if is_number(row.seconds) else "not known",
        "cost": dollars(row.cost_usd) if is_number(row.cost_usd) else "not known",
        "runs": row.runs,
    }


def _effect(effect: Effect) -> dict[str, object]:
    over = effect.interval
    difference, interval = (signed(over.difference), _to(over.low, over.high)) if over else ("", "")
    return {
        "parameter": effect.parameter + _with(effect),
        "value": value_name(effect.value),
        "over": value_name(effect.against),
        "difference": difference,
        "interval": interval,
        "shown": f"{difference} ({interval})" if over else "",
        "verdict": effect.verdict,
        "settings": effect.settings or "",
        "seeds": effect.seeds or "",
        "dollars a point": _price(effect),
    }


def _price(effect: Effect) -> str:
    """`$0.12 ($0.08 to $0.31)`; empty where none can be told."""
    return "{} ({} to {})".format(*map(dollars, effect.price)) if effect.price else ""


def _tasks(board: Leaderboard) -> list[dict[str, Any]]:
    """One row a task and subset, targets first, with a cell for each variant in the order of the leaderboard."""
    found = []
    for (task, subset), part in board.tasks.groupby(["task", "subset"], sort=False):
        first = part.iloc[0]
        cells = [(score(r.score), signed(r.difference), r.verdict) for r in part.itertuples()]
        name = task if subset == "default" else f"{task} ({subset})"
        found.append({"name": name, "metric": first.metric, "target": bool(first.is_target),
                      "base": score(first.base), "cells": cells})  # fmt: skip
    return sorted(found, key=lambda row: not row["target"])


def _baseline(board: Leaderboard) -> str:
    """Its name without the revision behind it."""
    return model_name(board.baseline.partition(" (")[0])


def _to(low: object, high: object) -> str:
    return f"{signed(low)} to {signed(high)}" if is_number(low) and is_number(high) else NOT_RUN


def _run_command(runs: Sequence[str]) -> str:
    return f"gisttools run compare -p evaluations {shlex.quote('[' + ', '.join(runs) + ']')}"


def _rounded(value: Any) -> Any:
    """The same with six digits behind the point, and nothing that JSON does not know."""
    if isinstance(value, dict):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    if isinstance(value, float):
        return round(value, 6) if is_number(value) else None
    return value


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(as_markdown(cell) for cell in line)} |" for line in lines]
