"""Escapes text for LaTeX."""

from __future__ import annotations

import re

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "→": r"$\to$", "†": r"$\dagger$",
    "±": r"$\pm$", "…": r"\ldots{}", "–": "--",
}  # fmt: skip


def escape(text: object) -> str:
    """Text that LaTeX reads as text, on one line."""
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda m: _SPECIAL[m[0]], " ".join(str(text).split()))
