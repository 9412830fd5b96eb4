"""The dashboard as people use it, in a real browser: what moves, what a reader of the screen hears, what keys do."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browsing import Watched, chromium, needs_chromium
from tests.busy import Busy, busy

pytestmark = [needs_chromium, pytest.mark.slow]

AXE = Path(__file__).parent.parent / "js" / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
PAGES = (
    "",
    "?view=rows",
    "alerts",
    "alerts?tab=rules",
    "alerts?tab=silences",
    "alerts?open=db.slow",
    "dashboards",
    "dashboard?name=rush",
    "slos",
    "anomalies",
    "healing",
    "deliveries",
    "audit",
    "ledger",
    "cardinality",
    "about",
    "metric?name=db.write_ms",
    "metric?name=finance.api_ms&range=1m",
    "nowhere",
)
PUBLIC = ("/status", "/docs")
WAIT_MS = 20_000
CALM_SAMPLES = 50  # ten a second, for the anomaly's mean and the charts


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    """Shared by the tests that change nothing: an alert fires, one is pending, an anomaly has run its action."""
    with busy(tmp_path_factory.mktemp("busy")) as site:
        wait_for_story(site)
        yield site


def wait_for_story(site: Busy) -> None:
    end = time.monotonic() + 90
    while not site.engine.value("count(db.write_ms, 1m)") >= CALM_SAMPLES and time.monotonic() < end:
        time.sleep(0.1)
    site.levels["db.write_ms"] = 480.0
    while time.monotonic() < end:
        states = {(alert.name, alert.state) for alert in site.engine.alerts()}
        wanted = {("db.slow", "firing"), ("queue.long", "pending"), ("db.anomaly", "firing")}
        if wanted <= states and site.engine.action_runs(1) and site.engine.dead_letters():
            return
        time.sleep(0.1)
    raise AssertionError(f"the story was not told: {states}, {site.engine.action_runs(1)}")


@pytest.fixture
def page(browser: Any, site: Busy) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    watched = Watched(page, site.url)
    yield page
    context.close()
    assert watched.errors == []
    assert watched.elsewhere == []


def shown(page: Any, site: Busy, hash_: str) -> None:
    """The page of that address, with its data."""
    page.goto(f"{site.url}/#/{hash_}")
    page.wait_for_selector("main h1", timeout=WAIT_MS)
    page.wait_for_function("() => !document.querySelector('main [aria-busy=true]')", timeout=WAIT_MS)


@pytest.mark.skipif(not AXE.exists(), reason="js/node_modules is not installed (make .make/js)")
@pytest.mark.parametrize("theme", ["light", "dark", "contrast"])
@pytest.mark.timeout(300)
def test_axe_finds_no_violation_on_any_page(browser: Any, site: Busy, theme: str) -> None:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        color_scheme="dark" if theme == "dark" else "light",
        contrast="more" if theme == "contrast" else "no-preference",
        bypass_csp=True,  # for axe itself, which is put into the page
        reduced_motion="reduce",
    )
    page = context.new_page()
    found: dict[str, list[str]] = {}
    for path in PAGES:
        shown(page, site, path)
        if violations := violations_of(page):
            found[path] = violations
    for path in PUBLIC:
        page.goto(site.url + path)
        if violations := violations_of(page):
            found[path] = violations
    context.close()
    told = "\n".join(f"{path}: {line}" for path, lines in found.items() for line in lines)
    assert not found, told


def violations_of(page: Any) -> list[str]:
    """axe's, a line each with the first element."""
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(path=str(AXE))
    told = page.evaluate("(tags) => axe.run(document, { runOnly: tags, resultTypes: ['violations'] })", WCAG)
    return [
        f"{one['id']}: {one['help']}; {len(one['nodes'])} ×, as {one['nodes'][0]['html'][:200]} "
        f"{one['nodes'][0].get('failureSummary', '')[:300]}"
        for one in told["violations"]
    ]


@pytest.mark.skipif(not AXE.exists(), reason="js/node_modules is not installed (make .make/js)")
def test_axe_finds_what_is_planted(browser: Any, site: Busy) -> None:
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    shown(page, site, "about")
    page.evaluate("() => document.querySelector('main').append(document.createElement('img'))")
    assert any(violation.startswith("image-alt") for violation in violations_of(page))
    context.close()


@pytest.mark.parametrize("width", [320, 768, 2560])
def test_no_page_is_wider_than_the_screen(page: Any, site: Busy, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    wide: dict[str, int] = {}
    for path in PAGES:
        shown(page, site, path)
        if (found := page.evaluate("() => document.documentElement.scrollWidth")) > width:
            wide[path] = found
    assert wide == {}


def test_a_chart_moves_as_samples_come(page: Any, site: Busy) -> None:
    shown(page, site, "metric?name=portal.queue&range=1m")
    figure = page.locator("figure").first
    site.levels["portal.queue"] = 77.0
    figure.get_by_text("77", exact=False).first.wait_for(timeout=WAIT_MS)
    site.levels["portal.queue"] = 40.0
    page.wait_for_function("() => document.querySelector('figure').textContent.includes('40')", timeout=WAIT_MS)


def test_a_figure_is_read_by_keys_and_as_a_table(page: Any, site: Busy, wait_until: Callable[..., None]) -> None:
    shown(page, site, "metric?name=db.write_ms&range=1m")
    figure = page.locator("figure").first
    figure.locator("canvas").first.wait_for(timeout=WAIT_MS)
    assert figure.get_attribute("aria-labelledby") or figure.locator("figcaption").count()
    plot = page.locator("figure [tabindex='0'], figure[tabindex='0']").first
    plot.focus()
    spoken = figure.locator("[aria-live]").first

    def said_after(key: str) -> str:
        page.keyboard.press(key)
        page.wait_for_timeout(250)
        return spoken.text_content() or ""

    # The past comes a moment after the newest second: until there are ten samples to walk over.
    wait_until(lambda: (told := re.search(r"\d ms, (\d+) of", said_after("End"))) and int(told[1]) >= 10, 20)
    for _ in range(5):  # each says another sample, once the key rests
        before = spoken.text_content()
        page.keyboard.press("ArrowLeft")
        page.wait_for_function(
            "([live, before]) => live.textContent !== before && /\\d ms, \\d+ of/.test(live.textContent)",
            arg=[spoken.element_handle(), before],
            timeout=WAIT_MS,
        )
    for _ in range(2):  # the address has each zoom, and the next key goes on from there
        before = page.url
        page.keyboard.press("+")
        page.wait_for_function("was => location.href !== was", arg=before, timeout=WAIT_MS)
        assert page.evaluate("() => document.activeElement.getAttribute('role')") == "application"
    page.keyboard.press("0")
    page.wait_for_function("() => !location.hash.includes('from=')", timeout=WAIT_MS)
    figure.get_by_role("button", name=re.compile("table", re.I)).first.press("Enter")
    table = page.locator("figure table, main table").first
    table.wait_for(timeout=WAIT_MS)
    assert table.locator("caption").count() == 1
    assert table.locator("tbody tr").count() > 5


def test_everything_is_reached_by_keys(page: Any, site: Busy, wait_until: Callable[..., None]) -> None:
    shown(page, site, "")
    page.keyboard.press("Tab")
    assert "skip" in (page.evaluate("() => document.activeElement.textContent") or "").lower()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'main'", timeout=WAIT_MS)
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/#/alerts*")
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Page, metric, alert or dashboard")
    field.wait_for(timeout=WAIT_MS)
    page.keyboard.type("ledger")
    page.get_by_role("option", selected=True).get_by_text("Ledger", exact=True).wait_for(timeout=WAIT_MS)
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/ledger*")
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for(timeout=WAIT_MS)
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog[open]')")
    assert page.evaluate("() => document.activeElement !== null")


def test_focus_is_always_seen_and_never_trapped(page: Any, site: Busy) -> None:
    shown(page, site, "alerts")
    seen: list[str] = []
    for _ in range(80):
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => {
              const at = document.activeElement;
              if (!at || at === document.body) return null;
              const style = getComputedStyle(at);
              const box = at.getBoundingClientRect();
              const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
              const ring = outline || style.boxShadow !== 'none';
              return { at: at.outerHTML.slice(0, 120), ring, isThere: box.width > 0 && box.height > 0 };
            }"""
        )
        if told is None:
            break
        assert told["ring"], f"no focus is seen on {told['at']}"
        assert told["isThere"], told["at"]
        seen.append(told["at"])
    else:
        raise AssertionError("80 tabs did not leave the page")
    assert len(set(seen)) > 15


def test_motion_is_reduced_where_it_is_asked_for(browser: Any, site: Busy) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    shown(page, site, "")
    moving = page.evaluate(
        """() => [...document.querySelectorAll('*')].filter((one) => {
          const style = getComputedStyle(one);
          const longest = (text) => Math.max(...text.split(',').map(parseFloat));
          const isAnimated = style.animationName !== 'none' && longest(style.animationDuration) > 0.05;
          return isAnimated || longest(style.transitionDuration) > 0.05;
        }).map((one) => one.outerHTML.slice(0, 100))"""
    )
    context.close()
    assert moving == []


def test_an_alert_turns_red_is_taken_silenced_and_turns_green(
    browser: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with busy(tmp_path) as site:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        watched = Watched(page, site.url)
        shown(page, site, "")
        page.get_by_text("db.write_ms").first.wait_for(timeout=WAIT_MS)
        site.levels["db.write_ms"] = 300.0
        page.wait_for_function("() => /\\bfiring\\b/i.test(document.title)", timeout=WAIT_MS)
        shown(page, site, "alerts")
        row = page.locator("li, tr, article").filter(has=page.get_by_text("db.slow", exact=True)).first
        row.get_by_text("Firing").first.wait_for(timeout=WAIT_MS)
        row.get_by_role("button", name=re.compile("Take it|Acknowledge", re.I)).first.click()
        fill_dialog(page, "looking at it")
        wait_until(lambda: any(one["acknowledged"] for one in site.engine.alert_standings().values()), 20)
        row.get_by_role("button", name=re.compile("Silence", re.I)).first.click()
        fill_dialog(page, "planned work")
        wait_until(lambda: any(one["silenced_by"] for one in site.engine.alert_standings().values()), 20)
        site.levels["db.write_ms"] = 100.0
        wait_until(
            lambda: not any(alert.name == "db.slow" and alert.state == "firing" for alert in site.engine.alerts()), 20
        )
        page.wait_for_function(
            "() => !/db\\.slow[^]*Firing/.test(document.querySelector('main').textContent)", timeout=WAIT_MS
        )
        context.close()
        assert watched.errors == []


def fill_dialog(page: Any, comment: str) -> None:
    """Whatever the dialog asks for, a comment among it; then its main button."""
    dialog = page.locator("dialog[open]")
    dialog.wait_for(timeout=WAIT_MS)
    for field in dialog.locator("textarea, input[type=text], input:not([type])").all():
        if not field.input_value():
            field.fill(comment)
    dialog.locator(".button.primary, .button.danger").last.click()
    page.wait_for_function("() => !document.querySelector('dialog[open]')", timeout=WAIT_MS)


def test_a_lost_engine_is_said_and_a_returned_one_too(browser: Any, tmp_path: Path) -> None:
    from hms_ops import Engine

    first = Engine(udp=None, http="127.0.0.1:0", data_dir=None).start()
    assert first.http_address is not None
    port = first.http_address[1]
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/#/")
    live = "() => /\\bLive\\b/.test(document.querySelector('header')?.innerText ?? '')"
    page.wait_for_function(live, timeout=WAIT_MS)
    first.stop()
    page.wait_for_function(
        "() => /Not connected for/.test(document.querySelector('header').innerText)", timeout=WAIT_MS
    )
    with Engine(udp=None, http=f"127.0.0.1:{port}", data_dir=None):
        page.wait_for_function(live, timeout=40_000)
        context.close()


def test_a_token_signs_in_and_nothing_is_shown_before(browser: Any, tmp_path: Path) -> None:
    from hms_ops import Engine

    token = "3f9c51d0e7a84b6f9d2c1e0b7a6f5d4c3b2a1908f7e6d5c4b3a29180f7e6d5c4"
    config = {"http_tokens": [token]}
    with Engine(udp=None, http="127.0.0.1:0", data_dir=tmp_path / "data", config=config) as engine:
        assert engine.http_address is not None
        url = f"http://127.0.0.1:{engine.http_address[1]}"
        context = browser.new_context()
        page = context.new_page()
        engine.metric("private.metric", 3.0)
        page.goto(f"{url}/#/")
        field = page.get_by_role("textbox", name="Token")
        field.wait_for(timeout=WAIT_MS)
        assert "private.metric" not in page.content()
        second = context.new_page()
        second.goto(f"{url}/#/")
        second.get_by_role("textbox", name="Token").wait_for(timeout=WAIT_MS)
        field.fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("does not know this token").wait_for(timeout=WAIT_MS)
        field.fill(token)
        page.keyboard.press("Enter")
        page.get_by_text("private.metric").first.wait_for(timeout=WAIT_MS)
        second.evaluate("() => window.dispatchEvent(new Event('focus'))")  # headless tabs have no focus to lose
        second.get_by_text("private.metric").first.wait_for(timeout=WAIT_MS)
        second.close()
        assert token not in str(page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])"))
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert token not in cookie["value"]
        page.reload()
        page.get_by_text("private.metric").first.wait_for(timeout=WAIT_MS)
        context.clear_cookies()
        page.reload()
        page.get_by_role("textbox", name="Token").wait_for(timeout=WAIT_MS)
        context.close()
