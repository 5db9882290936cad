"""A page in a real, headless browser, for tests; Chromium where there is one."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from base64 import b64encode
from html import unescape

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OBSERVE = "const errors = []; addEventListener('error', (e) => errors.push(e.message));"
_FRAME = """<!doctype html><meta charset="utf-8"><iframe src="page.html"
style="width:{width}px;height:800px;border:0"></iframe>
<pre id="findings"></pre><script>addEventListener("message", (e) => {{ findings.textContent = e.data; }});</script>"""


def in_browser(page, folder, width, drive):
    """What a script that uses the page finds in it, in a window of this width; and what the browser logged.

    `drive` listens for `load` and ends in `parent.postMessage(JSON.stringify(...), "*")`; `errors` holds what went
    wrong. It must not hold the end of a script element, not even in a string.
    """
    hashes = [b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in (_OBSERVE, drive)]
    page = page.replace("script-src ", "script-src " + " ".join(f"'sha256-{h}'" for h in hashes) + " ", 1)
    page = page.replace("<style>", f"<script>{_OBSERVE}</script><script>{drive}</script><style>", 1)
    (folder / "page.html").write_text(page, encoding="utf-8")
    (folder / "frame.html").write_text(_FRAME.format(width=width), encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--window-size=1400,1000",
        "--dump-dom", (folder / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search('<pre id="findings">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    assert found[1], done.stderr[-2000:]
    return json.loads(unescape(found[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def needs_chromium():
    """Skip the test, with a message, where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium found: install the package chromium to try the page in a browser")
