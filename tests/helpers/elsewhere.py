"""What docs/install.md says to run before a notebook on Colab and Kaggle."""

from __future__ import annotations

import re

from helpers import ROOT


def first_cell() -> str:
    """The cell's lines."""
    told = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    return re.search(r"## Colab and Kaggle\n.*?```\n(.*?)\n```", told, re.DOTALL)[1]
