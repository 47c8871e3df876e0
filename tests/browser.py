"""A page opened in headless Chromium without a network, and what it then has in it."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=10000",
    "--window-size=1000,2000",
]

LISTEN = """<script>
window.problems = [];
addEventListener("error", (e) => problems.push(String(e.message)));
addEventListener("unhandledrejection", (e) => problems.push(String(e.reason)));
addEventListener("securitypolicyviolation", (e) => problems.push("blocked " + e.blockedURI));
for (const level of ["warn", "error"]) {
  console[level] = (...words) => problems.push(words.join(" "));
}
</script>"""

PROBE = """<script>
async function pointAt(mark) {
  const box = mark.getBoundingClientRect();
  const where = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true };
  for (const kind of ["pointerover", "pointermove", "mouseover", "mousemove"]) {
    mark.dispatchEvent(new MouseEvent(kind, where));
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  return document.getElementById("vg-tooltip-element")?.textContent ?? "";
}
addEventListener("load", () => setTimeout(async () => {
  const marks = (chart) => chart.querySelectorAll("svg .role-mark :is(path, line)").length;
  const charts = [...document.querySelectorAll(".chart")];
  const fetched = performance.getEntriesByType("resource").map((e) => e.name);
  const loaded = (image) => image.complete && image.naturalWidth > 0;
  const seen = {
    problems,
    hacked: window.hacked ?? null,
    charts: Object.fromEntries(charts.map((chart) => [chart.id, marks(chart)])),
    images: document.images.length,
    broken: [...document.images].filter((image) => !loaded(image)).length,
    loads: fetched.filter((name) => !/^(data|blob):/.test(name)),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
  seen.asked = await (async () => { ASKED })();
  document.documentElement.dataset.seen = JSON.stringify(seen);
}, 2000));
</script>"""


@dataclass(frozen=True)
class Seen:
    """The contents of a page after its scripts ran."""

    problems: list[str]
    """Errors, warnings and blocked loads."""
    hacked: Any
    """`window.hacked`, which hostile data tries to set."""
    charts: dict[str, int]
    """Marks in each place for a chart."""
    images: int
    broken: int
    loads: list[str]
    """Addresses other than data: and blob: that were fetched."""
    overflow: int
    """Pixels by which the page is wider than its window."""
    asked: Any
    """The value that the test's own script returned."""


def open_page(page: bytes, directory: Path, ask: str = "return null;") -> Seen:
    """Open a page; `ask` is the body of an async function that runs once all is drawn.

    It may call `pointAt(mark)`, which returns the text of the tooltip.
    """
    assert CHROMIUM is not None
    text = page.decode().replace("<head>", "<head>" + LISTEN, 1)
    head, _, tail = text.rpartition("</body>")
    file = directory / "page.html"
    file.write_text(head + PROBE.replace("ASKED", ask) + "</body>" + tail)
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={directory / 'profile'}",
        "--dump-dom",
        file.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, timeout=180, check=True)
    reader = _Root()
    reader.feed(done.stdout.decode()[:200_000_000])
    assert reader.seen is not None, "the page's scripts did not finish"
    return Seen(**json.loads(reader.seen))


class _Root(HTMLParser):
    seen: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "html" and self.seen is None:
            self.seen = dict(attrs).get("data-seen")
