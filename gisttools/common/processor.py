"""Tells what a machine's processor is called, for what was measured on it."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_name() -> str:
    """Its name; where a system does not tell it, its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
