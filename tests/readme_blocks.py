"""Runs every shell block of the first pages as a newcomer would type it, after quick start: `tests/readme_blocks.py`.

These are README.md and docs/quickstart.md; a block that stands on both is run once. The blocks run in an empty folder
next to a `my_folder` with CSV files of labelled texts, and `tickets.csv`. What needs a network or a key is replaced by
something as real and smaller; `INSTEAD` tells all of it, and a text that no page holds any longer is an error. Recipes
whose work the quick start has done are answered from its runs.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from gisttools.synthesis.llm.server import serve_local

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/quickstart.md")
RUN_BEFORE = ("make quickstart", "make test")  # what calls this script has just run them
INSTEAD = {
    # no network: the embedded LLM behind its own address; and it is small, so few rows
    "https://api.openai.com/v1": "{address}",
    "gpt-4o-mini": "{model}",
    "-p rows 500 -p attempts 3": "-p rows 2 -p attempts 2",
    "OPENAI_API_KEY=...": "OPENAI_API_KEY=not-needed",
}


def shell_blocks(page: str) -> list[str]:
    """Blocks without a language, in order."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [block for language, block in blocks if not language]


def substituted(block: str, **values: str) -> str:
    for text, other in INSTEAD.items():
        block = block.replace(text, other.format(**values))
    kept = [line for line in block.splitlines() if not line.startswith(RUN_BEFORE)]
    return "\n".join(kept)


def main() -> None:
    blocks = [block for page in PAGES for block in shell_blocks((ROOT / page).read_text(encoding="utf-8"))]
    gone = [text for text in (*INSTEAD, *RUN_BEFORE) if not any(text in block for block in blocks)]
    if gone:
        sys.exit(f"{' and '.join(PAGES)} no longer say {gone}: change tests/readme_blocks.py.")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch, serve_local() as server:
        for split in ("train", "test"):
            texts = pd.read_json(ROOT / "tests" / "assets" / "caretaker" / f"{split}.jsonl", lines=True)
            (Path(scratch) / "my_folder").mkdir(exist_ok=True)
            texts.to_csv(Path(scratch) / "my_folder" / f"{split}.csv", index=False)
        tickets = texts.rename(columns={"text": "ticket_text", "label": "category"})
        tickets.to_csv(Path(scratch) / "tickets.csv", index=False, sep=";")
        for block in dict.fromkeys(blocks):
            script = substituted(block, address=server.base_url, model=server.model)
            if not script.strip():
                continue
            print(f"\n$ {script}", flush=True)
            started = time.monotonic()
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=scratch,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                check=False,
            )
            print(f"({time.monotonic() - started:.0f} s)", flush=True)
            if done.returncode:
                sys.exit(f"This block of a first page ended with {done.returncode}.")


if __name__ == "__main__":
    main()
