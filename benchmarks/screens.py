"""The dashboard in a real browser: how soon it is there, how fresh its charts are, what 5,000 metrics cost it.

Debian's chromium, headless, drawing in software on the cores that the engine has too. Times are the page's own where it
has them (performance.now, paint entries), this machine's clock otherwise; a sample's way ends when the number on the
chart has changed. Sizes are of what is installed, gzip -9.
"""

import gzip
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.browsing import CHROMIUM, chromium

import hms_ops
from benchmarks.figure import Figure, Pace
from hms_ops.bench import BenchError

BUILT: Final = Path(hms_ops.__file__).parent / "http" / "dashboard"
JS: Final = Path(__file__).parent.parent / "js"
SAMPLES: Final = 40
METRICS: Final = 5_000
GROUPS: Final = 50
WAIT_MS: Final = 60_000
SCROLL_SECONDS: Final = 4.0
PACKAGES: Final = (
    ("@hms-ops/client for Node", "client/dist/node.js", 5.0),
    ("@hms-ops/client for browsers", "client/dist/browser.js", 5.0),
    ("@hms-ops/react", "react/dist/index.js", 12.0),
)
# A line, which takes two seconds with samples; of one alone there is a dot.
DRAWN: Final = """() => [...document.querySelectorAll('svg.spark path')]
  .some((line) => (line.getAttribute('d') || '').includes('L'))"""
SCROLL: Final = """async (seconds) => {
  const frames = [];
  const end = performance.now() + seconds * 1000;
  let last = performance.now();
  await new Promise((done) => {
    const step = (now) => {
      frames.push(now - last);
      last = now;
      window.scrollBy(0, 60);
      if (now < end) requestAnimationFrame(step); else done();
    };
    requestAnimationFrame(step);
  });
  return frames.slice(1);
}"""


def measure(pace: Pace) -> list[Figure]:
    if not CHROMIUM:
        raise BenchError("chromium is not installed: apt-get install chromium")
    with chromium() as browser:
        return [
            *measure_demo(browser, pace.part(5, 1)),
            *measure_freshness(browser, pace.part(SAMPLES, 5)),
            *measure_many(browser, pace.part(3, 1)),
            *measure_sizes(),
        ]


@contextmanager
def program(*arguments: str) -> Iterator[Iterator[str]]:
    """`hms-ops-engine …`: the lines it prints, until the block ends."""
    command = [sys.executable, "-m", "hms_ops", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        yield iter(process.stdout.readline, "")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def measure_demo(browser: Any, rounds: int) -> list[Figure]:
    """From the command to a line of samples on the first page, the browser being open already."""
    seconds = []
    for _ in range(rounds):
        begun = time.monotonic()
        with program("demo", "--seconds", "120") as lines:
            url = next(found[0] for line in lines if (found := re.search(r"http://[0-9.:]+/", line)))
            page = browser.new_page()
            page.goto(url)
            page.wait_for_function(DRAWN, timeout=WAIT_MS, polling=50)
            seconds.append(time.monotonic() - begun)
            page.close()
    return [Figure("screens.demo", "the demo's command to the first live chart drawn", "s", seconds, at_most=5.0)]


@contextmanager
def daemon() -> Iterator[dict[str, Any]]:
    """An engine of its own with nothing in it; what it says when it is ready."""
    with TemporaryDirectory(prefix="hms-ops-screens-") as place:
        settings = Path(place) / "engine.yaml"
        settings.write_text("{data_dir: null, host_metrics: false, self_metrics: false, limits: {series: 20000}}\n")
        with program("run", "-c", str(settings), "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json") as lines:
            yield next(json.loads(line) for line in lines if line.startswith("{"))


def sender_to(udp: str) -> socket.socket:
    host, _, port = udp.rpartition(":")
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((host, int(port)))
    return sender


def measure_freshness(browser: Any, samples: int) -> list[Figure]:
    """A gauge is sent at any time of a second; its value stands as text on its chart, drawn in the same frame."""
    lags = []
    with daemon() as ready, sender_to(ready["udp"]) as sender:
        sender.send(b"fresh.gauge:1|g")
        page = browser.new_page()
        page.goto(f"http://{ready['http']}/#/metric?name=fresh.gauge&range=1m")
        figure = page.locator("figure").first
        figure.wait_for(timeout=WAIT_MS)
        for number in range(samples):
            value = 1_000 + number * 7
            shown = f"{value:,}"
            time.sleep(0.1 + 0.9 * ((number * 0.618) % 1))
            sent = time.time()
            sender.send(f"fresh.gauge:{value}|g".encode())
            page.wait_for_function(
                "(text) => document.querySelector('figure')?.textContent.includes(text)",
                arg=shown,
                timeout=WAIT_MS,
                polling="raf",
            )
            lags.append(time.time() - sent)
        page.close()
    lags.sort()
    p95 = lags[min(len(lags) - 1, int(0.95 * len(lags)))]
    note = f"median {statistics.median(lags):.2f} s, longest {lags[-1]:.2f} s of {len(lags)}"
    return [Figure("screens.fresh", f"a sample sent to its point on the chart, p95; {note}", "s", [p95], at_most=1.5)]


@contextmanager
def feeding(udp: str) -> Iterator[None]:
    """METRICS metrics, each with a sample a second."""
    end = threading.Event()

    def feed() -> None:
        with sender_to(udp) as sender:
            tick = 0
            while not end.wait(0.1):
                part = range(tick % 10, METRICS, 10)
                lines = [f"group{n % GROUPS:02}.metric_{n:04}:{(tick * 7 + n) % 100}|g" for n in part]
                for first in range(0, len(lines), 40):
                    sender.send("\n".join(lines[first : first + 40]).encode())
                tick += 1

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def measure_many(browser: Any, rounds: int) -> list[Figure]:
    """The first page with METRICS metrics that all move."""
    paints, filters, rates = [], [], []
    with daemon() as ready, feeding(ready["udp"]):
        time.sleep(4)
        for _ in range(rounds):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            begun = time.monotonic()
            page.goto(f"http://{ready['http']}/#/")
            page.wait_for_selector(".tile", timeout=WAIT_MS)
            paints.append(time.monotonic() - begun)
            page.wait_for_function(DRAWN, timeout=WAIT_MS)
            time.sleep(1)
            filters.append(filter_ms(page))
            time.sleep(1)
            frames = page.evaluate(SCROLL, SCROLL_SECONDS)
            rates.append(len(frames) / (sum(frames) / 1e3))
            page.close()
    many = f"a page of {METRICS:,} live metrics"
    slowness = [1 / rate for rate in rates]
    return [
        Figure("screens.many-paint", f"{many}: asked for to its tiles drawn", "s", paints, at_most=1.5),
        Figure("screens.many-filter", f"{many}: a letter in the filter to the frame that shows it", "ms", filters, 100),
        Figure(
            "screens.many-scroll",
            f"{many}: a frame while it scrolls; {statistics.median(rates):.0f} frames/s",
            "ms",
            [1e3 * one for one in slowness],
            at_most=20.0,
        ),
    ]


def filter_ms(page: Any) -> float:
    """From the key's event to the second frame after it, when the list has been drawn."""
    page.locator("input[type=search], input[placeholder*='part of a name']").first.focus()
    page.evaluate(
        """() => {
          const field = document.activeElement;
          window.measured = new Promise((done) => {
            field.addEventListener('input', () => {
              const begun = performance.now();
              const told = () => done(performance.now() - begun);
              requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(told)));
            }, { once: true, capture: true });
          });
        }"""
    )
    page.keyboard.type("7")
    taken: float = page.evaluate("() => window.measured")
    page.keyboard.press("Backspace")
    return taken


def measure_sizes() -> list[Figure]:
    """What a browser loads, all of it, and what the packages weigh in a bundle."""
    assets = [path for path in BUILT.rglob("*") if path.is_file() and path.suffix != ".map"]
    total = sum(len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in assets) / 1e3
    figures = [Figure("screens.assets", "the dashboard's files, gzipped", "KB", [total], at_most=120.0)]
    done = subprocess.run(
        ["node", "scripts/packages.mjs"], cwd=JS, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise BenchError(f"the packages could not be built: {(done.stdout + done.stderr)[-500:]}")
    sizes = {name: int(size) / 1e3 for name, size in re.findall(r"(\S+): (\d+) bytes gzipped", done.stdout)}
    return figures + [
        Figure(f"screens.{name}", f"{name} in a bundle, gzipped, without what it depends on", "KB", [sizes[path]], most)
        for name, path, most in PACKAGES
    ]
