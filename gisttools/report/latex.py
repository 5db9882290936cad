"""The comparison as a LaTeX table that needs no package."""

from __future__ import annotations

import re

from gisttools.common import is_true, model_name, score, signed
from gisttools.report.data import ReportData
from gisttools.report.tables import means
from gisttools.report.words import interval, judged, main_rows, metric_name, records, task_name

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "→": r"$\to$", "†": r"$\dagger$",
}  # fmt: skip


def latex_table(data: ReportData) -> str:
    """A `table` environment: task, metric, base, tuned, difference with its interval; targets first, averages last."""
    targets = {(r["task"], r["subset"], r["metric"]) for r in records(judged(data))}
    rows = records(main_rows(data))
    rows.sort(key=lambda r: (r["task"], r["subset"], r["metric"]) not in targets)
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{llrrrl}",
        r"\hline",
        r"Task & Metric & Base & Tuned & Difference & 95\,\% interval \\",
        r"\hline",
    ]
    for r in rows:
        mark = "†" if is_true(r["trained_on"]) else ""
        lines.append(_line(
            task_name(r) + mark, metric_name(r["metric"]), score(r["base"]), score(r["tuned"]), signed(r["difference"]),
            interval(r),
        ))  # fmt: skip
    averages = means(data)
    if averages:
        lines.append(r"\hline")
    lines += [_line(m["name"], "", m["base"], m["tuned"], m["difference"], m["interval"]) for m in averages]
    base, tuned = (escape(model_name(data.evaluate.summary.get(role))) for role in ("base", "tuned"))
    dagger = r" $\dagger$: its train split was trained on." if any(is_true(r["trained_on"]) for r in rows) else ""
    return "\n".join(
        [
            *lines,
            r"\hline",
            r"\end{tabular}",
            rf"\caption{{{tuned} against {base}; scores times 100.{dagger}}}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: object) -> str:
    """Text that LaTeX reads as text, on one line."""
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda m: _SPECIAL[m[0]], " ".join(str(text).split()))


def _line(*cells: str) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
