"""The page of the API in a real browser: styled under its policy, whole on narrow screens, nothing for axe to find."""

from pathlib import Path

import pytest
from tests.browsing import Watched, chromium, needs_chromium, url_of
from tests.serving import serving

AXE = Path(__file__).parent.parent / "js" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = needs_chromium


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_the_page_is_well_in_a_browser(width: int, scheme: str) -> None:
    with serving() as site, chromium() as browser:
        url = url_of(site.engine, "/docs")
        page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
        watched = Watched(page, url.removesuffix("/docs"))
        page.goto(f"{url}#get_lookup_query")
        assert watched.errors == watched.elsewhere == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.styleSheets.length") == 1
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement !== document.body")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (npm ci in js/)")
def test_axe_finds_nothing_on_the_page() -> None:
    with serving() as site, chromium() as browser:
        page = browser.new_context(bypass_csp=True).new_page()
        page.goto(url_of(site.engine, "/docs"))
        page.evaluate("document.querySelectorAll('article').forEach((one, n) => n % 10 && one.remove())")  # all alike
        page.evaluate(AXE.read_text())
        assert page.evaluate("axe.run().then(found => found.violations.map(one => one.id))") == []
        page.evaluate("document.querySelector('h3').style.color = '#eee'")
        assert page.evaluate("axe.run().then(found => found.violations.map(one => one.id))") == ["color-contrast"]
