"""A leaderboard as plain text for a terminal, no line longer than a width."""

from __future__ import annotations

import textwrap

from gisttools.common import is_number, plural, score, signed
from gisttools.evaluation import Leaderboard, dollars, effect_table

_HEAD = (
    f"{'score':>10}{'sd':>6}{'seeds':>7}   {'over the baseline':<24}{'to the best':<24}{'minutes':>8}{'dollars':>10}"
)


def leaderboard_text(board: Leaderboard, *, width: int = 100) -> str:
    """The findings, the recipes and the effects of parameters; numbers are points out of 100, with 95 % intervals."""
    runs = sum(map(len, board.table["runs"]))
    counts = f"{plural(len(board.table), 'recipe')}, {plural(runs, 'run')}"
    lines = [f"{board.task}, {board.metric}: {counts}; baseline {board.baseline} {score(board.base)}", ""]
    lines += [*board.sentences(), "", _HEAD]
    for row in board.table.itertuples():
        lines += [f"{row.rank:>3} {row.recipe}", _numbers(row)]
    if board.effects:
        lines += ["", "Effects of parameters, paired over the others (interactions are not modelled)"]
        for e in effect_table(board.effects).itertuples():
            lines.append(f"    {e.parameter}: {e.against} → {e.value}" + (f" (with {e.along})" if e.along else ""))
            over = f"{plural(e.settings, 'setting')}, {plural(e.seeds, 'seed')}" if e.settings else ""
            lines.append(f"        {_interval(e.difference, e.low, e.high):<24}{e.verdict:<15}{over}".rstrip())
    return "\n".join(part for line in lines for part in _fold(line, width))


def _numbers(row) -> str:
    sd = f"{100 * row.seed_sd:.1f}" if is_number(row.seed_sd) else "–"
    gain = _interval(row.difference, row.low, row.high)
    behind = _interval(row.behind, row.behind_low, row.behind_high) if is_number(row.behind) else "best"
    minutes = f"{row.seconds / 60:.1f}" if is_number(row.seconds) else "–"
    cost = f"${dollars(row.cost_usd)}" if is_number(row.cost_usd) else "–"
    mark = " =" if row.with_best and is_number(row.behind) else ""
    start = f"{'':4}{score(row.score):>6}{sd:>6}{row.seeds:>7}   {gain:<24}"
    return f"{start}{behind + mark:<24}{minutes:>8}{cost:>10}"


def _interval(difference: float, low: float, high: float) -> str:
    if not is_number(difference):
        return "not separable"
    return f"{signed(difference)} ({signed(low)} to {signed(high)})" if is_number(low) else signed(difference)


def _fold(line: str, width: int) -> list[str]:
    """The line without what could move a terminal's cursor, in parts of at most `width` characters."""
    line = "".join(c if c.isprintable() else " " for c in line)
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, width, subsequent_indent=indent, drop_whitespace=True) or [line[:width]]
