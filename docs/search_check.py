"""Asks the built site's search what people ask, in a browser: `python docs/search_check.py`, after `make site`.

Prints each query with the page that answers it and the place of the first result on that page. The exit status is 1
where such a page is not among the first three results. Wants Chromium, and nothing from the network.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

SITE = Path(__file__).resolve().parents[1] / "site"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WANTED = {
    "ablation": "ablation", "grid": "ablation", "seed": "ablation", "classifier": "tutorial_csv",
    "predict": "tutorial_csv", "cost": "tutorial_llm", "inference": "serving", "onnx": "serving", "Windows": "install",
    "out of memory": "faq", "imbalanced": "faq", "chinese": "languages", "resume": "runs", "ollama": "endpoints",
    "api key": "endpoints", "leakage": "concepts", "pdf": "documents", "GPU": "gpu", "python": "api",
    "glossary": "glossary",
}  # fmt: skip
FIRST = 3  # results that people look at
# opens the search of a fresh page, types, and waits until the results stay as they are
_PAGE = """<!doctype html><meta charset="utf-8"><iframe id="frame" style="width:1280px;height:800px"></iframe><script>
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const until = async (look) => { for (let i = 0; i < 100 && !look(); i++) await pause(100); };
const inside = (what) => [...frame.contentDocument.querySelectorAll("*")].filter((e) => e.shadowRoot)
  .flatMap((e) => [...e.shadowRoot.querySelectorAll(what)]);
const results = () => inside("[role=option]").map((e) => new URL(e.href).pathname.slice(1));
const ask = async (query) => {
  await new Promise((done) => { frame.onload = done; frame.src = "/index.html?" + encodeURIComponent(query); });
  frame.contentDocument.querySelector(".md-search__button").click();
  await until(() => inside("input").length);
  const [input] = inside("input");
  input.value = query;
  input.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
  await until(() => results().length);
  for (let before = ""; before !== String(results()); await pause(400)) before = String(results());
  return results();
};
(async () => {
  const found = {};
  for (const query of QUERIES) found[query] = await ask(query);
  await fetch("/found", { method: "POST", body: JSON.stringify(found) });
})();
</script>"""


class _Handler(SimpleHTTPRequestHandler):
    """The site, the page that asks its search, and an ear for what it found."""

    found: SimpleQueue[dict[str, list[str]]] = SimpleQueue()

    def do_GET(self) -> None:
        if self.path != "/asking.html":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(_PAGE.replace("QUERIES", json.dumps(list(WANTED))).encode())
        return None

    def do_POST(self) -> None:
        self.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def found_in_browser() -> dict[str, list[str]]:
    """Query -> pages of its results, as they come; one page several times where several of its sections are found."""
    if CHROMIUM is None or not SITE.is_dir():
        sys.exit("This wants Chromium, and the site: make site")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(SITE)))
    Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--window-size=1400,1000", "--remote-debugging-port=0", f"--user-data-dir={profile}",
                f"http://127.0.0.1:{server.server_port}/asking.html",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return _Handler.found.get(timeout=300)
        except Empty:
            sys.exit("The browser did not answer in five minutes.")
        finally:
            browser.terminate()
            browser.wait()


def main() -> None:
    late = 0
    for query, found in found_in_browser().items():
        page = f"{WANTED[query]}.html"
        place = found.index(page) + 1 if page in found else None
        late += place is None or place > FIRST
        print(f"{query:14} {page:18} {place or 'not found, but ' + str(found[:FIRST])}")
    sys.exit(bool(late))


if __name__ == "__main__":
    main()
