"""A real browser for tests: Debian's chromium, driven by playwright, with nothing it does not need."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from hms_ops import Engine

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or ""
# Without these it looks up its maker's hosts at each start, which a closed network refuses many times over.
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (apt-get install chromium)")


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """A browser until the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


def url_of(engine: Engine, path: str = "/") -> str:
    assert engine.http_address is not None
    host, port = engine.http_address
    return f"http://{host}:{port}{path}"


class Watched:
    """What a page said that it should not have: errors of scripts, console errors, requests to elsewhere."""

    def __init__(self, page: Any, origin: str) -> None:
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((origin, "data:", "blob:")) else self.elsewhere.append(asked.url)
            ),
        )
