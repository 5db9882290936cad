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
# pale(): texts, also those in figures, that stand out less than 4.5 to 1 from what is behind them (WCAG 2.2, 1.4.3)
PALE = """
const pale = () => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(", 0)")) return c; } return "rgb(255, 255, 255)"; };
  return [...document.querySelectorAll("body *")].filter((e) => !e.closest("script, style, title, desc")
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => {
      const { color, fill } = getComputedStyle(e);
      const [a, b] = [light(e.closest("svg") ? fill : color), light(ground(e))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), e.textContent.slice(0, 40)]; }).filter(([ratio]) => ratio < 4.5);
};
"""
_FRAME = """<!doctype html><meta charset="utf-8"><iframe src="page.html"
style="width:{width}px;height:800px;border:0"></iframe>
<pre id="findings"></pre><script>addEventListener("message", (e) => {{ findings.textContent = e.data; }});</script>"""


def in_browser(page, folder, width, drive, *, dark=False):
    """What a script that uses the page finds in it, in a window of this width, for a reader who likes it light or dark;
    and what the browser logged.

    `drive` listens for `load` and ends in `parent.postMessage(JSON.stringify(...), "*")`; `errors` holds what went
    wrong. It must not hold the end of a script element, not even in a string.
    """
    hashes = [b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in (_OBSERVE, drive)]
    page = page.replace("script-src ", "script-src " + " ".join(f"'sha256-{h}'" for h in hashes) + " ", 1)
    page = page.replace("<style>", f"<script>{_OBSERVE}</script><script>{drive}</script><style>", 1)
    (folder / "page.html").write_text(page, encoding="utf-8")
    (folder / "frame.html").write_text(_FRAME.format(width=width), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    frame = (folder / "frame.html").as_uri()
    done = _chromium(folder, scheme, "--virtual-time-budget=20000", "--window-size=1400,1000", "--dump-dom", frame)
    found = re.search('<pre id="findings">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    assert found[1], done.stderr[-2000:]
    return json.loads(unescape(found[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def on_paper(page, folder):
    """How many sheets a page takes, printed."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    done = _chromium(folder, f"--print-to-pdf={folder / 'page.pdf'}", (folder / "page.html").as_uri())
    assert (folder / "page.pdf").exists(), done.stderr[-2000:]
    return len(re.findall(rb"/Type\s*/Page\b", (folder / "page.pdf").read_bytes()))


def _chromium(folder, *arguments):
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", *arguments,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def needs_chromium():
    """Skip the test, with a message, where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium found: install the package chromium to try the page in a browser")
