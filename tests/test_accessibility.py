"""What axe cannot see, in a real browser: what is said how often, where the focus goes, large text, forced colours."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browsing import chromium, needs_chromium
from tests.busy import Busy, busy
from tests.serving import server_of

pytestmark = [needs_chromium, pytest.mark.slow]

AXE = Path(__file__).parent.parent / "js" / "node_modules" / "axe-core" / "axe.min.js"
WAIT_MS = 20_000
METRIC = "metric?name=db.write_ms&range=1m"
MAIN_PAGES = ("", "?density=rows", "alerts", "alerts?name=db.slow", "dashboard?name=rush", METRIC, "slos", "ledger")
# Rules of axe that test_screens.py does not ask for.
MORE_RULES = [
    "label-content-name-mismatch",
    "heading-order",
    "landmark-unique",
    "region",
    "page-has-heading-one",
    "target-size",
]
TWICE = "html { font-size: 200% !important }"
SPACED = "* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }"
CLIPPED = """() => [...document.querySelectorAll('main *, header *, nav *')].filter((one) => {
  if (one.closest('[aria-hidden=true], .unseen, .ops-hidden, select') || !one.textContent.trim()) return false;
  const style = getComputedStyle(one);
  if (style.clipPath !== 'none') return false; // for screen readers
  const isCut = (way) => ['hidden', 'clip'].includes(style[`overflow${way}`]);
  const isTooHigh = isCut('Y') && one.scrollHeight > one.clientHeight + 2;
  const isTooWide = isCut('X') && one.scrollWidth > one.clientWidth + 2;
  return one.getBoundingClientRect().width > 0 && (isTooHigh || isTooWide);
}).map((one) => `${one.className}: ${one.textContent.trim().slice(0, 60)}`)"""
LISTEN = """() => {
  window.said = [];
  const live = '[aria-live]:not([aria-live=off]), [role=status], [role=alert]';
  const hear = (one) => one && one.textContent.trim() && window.said.push(one.textContent.trim());
  new MutationObserver((changes) => {
    const heard = new Set();
    for (const { target, addedNodes } of changes) {
      const element = target.nodeType === 1 ? target : target.parentElement;
      heard.add(element && element.closest(live));
      for (const added of addedNodes) if (added.nodeType === 1 && added.matches('[role=alert]')) heard.add(added);
    }
    heard.forEach(hear);
  }).observe(document.documentElement, { subtree: true, childList: true, characterData: true });
}"""
# Contrast of two colours of the theme, whatever way they are written.
CONTRAST = """(pairs) => {
  const probe = document.body.appendChild(document.createElement('i'));
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const light = (name) => {
    probe.style.color = `var(--ops-${name})`;
    canvas.fillStyle = getComputedStyle(probe).color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((of) => of / 255)
      .map((of) => (of <= 0.04045 ? of / 12.92 : ((of + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const told = pairs.map(([ink, ground]) => {
    const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
    return [ink, ground, (high + 0.05) / (low + 0.05)];
  });
  probe.remove();
  return told;
}"""
INK = """() => {
  const canvas = document.querySelector('figure canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let drawn = 0;
  for (let at = 3; at < data.length; at += 4) drawn += data[at] > 200;
  return drawn / (data.length / 4);
}"""
SEEN = {
    "title": "Tax services",
    "message": "",
    "state": "working",
    "words": "Working",
    "sentence": "All services are working.",
    "updated": 1_764_000_000,
    "services": [{"name": "refunds", "label": "Refund payments", "state": "working", "words": "Working"}],
    "incidents": [],
}
LINES = [(f"line-{n}", "surface") for n in range(1, 9)]
SHAPES = [(state, "surface") for state in ("good", "bad", "warn", "waiting")]
EDGES = [
    ("line-strong", "surface"),
    ("focus", "surface"),
    ("focus", "page"),
    ("bad", "bad-surface"),
    ("anomaly", "surface"),
]
TEXTS = [
    ("text", "page"),
    ("text", "surface"),
    ("text-quiet", "page"),
    ("text-quiet", "surface"),
    ("text-quiet", "sunken"),
    ("accent", "surface"),
    ("accent-text", "accent"),
    ("good", "good-surface"),
    ("bad", "bad-surface"),
    ("warn", "warn-surface"),
    ("info", "info-surface"),
    ("bad-strong-text", "bad-strong"),
    ("bar-text", "bar"),
    ("bar-quiet", "bar"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    """The first test has db.slow fire and resolve; the others leave it firing."""
    with busy(tmp_path_factory.mktemp("busy")) as site:
        yield site


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    yield context.new_page()
    context.close()


def shown(page: Any, site: Busy, hash_: str) -> None:
    page.goto(f"{site.url}/#/{hash_}")
    page.wait_for_selector("main h1", timeout=WAIT_MS)
    page.wait_for_function("() => !document.querySelector('main [aria-busy=true]')", timeout=WAIT_MS)


def focused(page: Any) -> str:
    return str(page.evaluate("() => document.activeElement.textContent.trim() || document.activeElement.tagName"))


def fire(site: Busy, wait_until: Callable[..., None], state: str = "firing") -> None:
    site.levels["db.write_ms"] = 300.0 if state == "firing" else 100.0
    states = lambda: {(alert.name, alert.state) for alert in site.engine.alerts()}  # noqa: E731
    wait_until(lambda: (("db.slow", "firing") in states()) == (state == "firing"), 20)


def axe(page: Any, rules: list[str]) -> list[str]:
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(path=str(AXE))
    told = page.evaluate(
        "(rules) => axe.run(document, { runOnly: { type: 'rule', values: rules }, resultTypes: ['violations'] })", rules
    )
    return [f"{one['id']}: {node['html'][:200]}" for one in told["violations"] for node in one["nodes"]]


# ---- what is said


def test_each_change_is_said_once_and_values_never(page: Any, site: Busy, wait_until: Callable[..., None]) -> None:
    shown(page, site, METRIC)
    page.wait_for_function("() => document.querySelector('figure canvas')", timeout=WAIT_MS)
    page.evaluate(LISTEN)
    fire(site, wait_until)
    page.wait_for_function("() => said.some((one) => /db\\.slow.*firing/.test(one))", timeout=WAIT_MS)
    fire(site, wait_until, "resolved")
    page.wait_for_function("() => said.some((one) => /db\\.slow.*resolved/.test(one))", timeout=WAIT_MS)
    time.sleep(2)  # in which values go on
    said = page.evaluate("() => said")
    # What comes together is told in one sentence, or one after the other.
    for verb in ("(is|are) firing", "(has|have) resolved"):
        assert sum(bool(re.search(rf"db\.slow(, [\w.]+)* {verb}", one)) for one in said) == 1, said
    assert all("firing" in one or "resolved" in one for one in said), said


def test_a_chart_is_read_by_keys_from_where_tab_stops(page: Any, site: Busy) -> None:
    shown(page, site, METRIC)
    page.get_by_role("figure", name="db.write_ms", exact=True).first.wait_for(timeout=WAIT_MS)
    plot = page.get_by_role("application", name="db.write_ms", exact=True).first
    page.wait_for_function("() => document.querySelector('figure canvas')", timeout=WAIT_MS)
    assert plot.get_attribute("tabindex") == "0"
    assert plot.get_attribute("aria-roledescription") == "chart"
    plot.focus()
    described = """() => document.activeElement.getAttribute('aria-describedby').split(' ')
      .map((id) => document.getElementById(id).textContent)"""
    # The summary speaks of the samples that are shown, once they are.
    page.wait_for_function(f"() => ({described})()[0].includes('ms at')", timeout=WAIT_MS)
    assert "Arrow keys" in page.evaluate(described)[1]
    page.keyboard.press("End")
    page.wait_for_function(
        "() => /\\d ms, \\d+ of \\d+/.test(document.querySelector('figure [aria-live]').textContent)", timeout=WAIT_MS
    )
    page.keyboard.press("Shift+Tab")
    assert not page.evaluate("() => Boolean(document.activeElement.closest('figure'))"), "the chart is no trap"


def test_the_wall_has_all_headings_and_tells_each_tile_s_value(page: Any, site: Busy) -> None:
    page.set_viewport_size({"width": 1280, "height": 300})
    shown(page, site, "")
    page.get_by_role("link", name="db. write_ms").or_(page.get_by_role("link", name="db.write_ms")).first.wait_for()
    groups, found = page.evaluate(
        """() => [[...document.querySelectorAll('.group-head')].map((one) => one.textContent),
          document.querySelector('.found').innerText]"""
    )
    assert len(groups) == int(found.split(" in ")[1].split()[0]), groups
    told = """() => [...document.querySelectorAll('.tile-name')].map((one) =>
      one.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id).textContent).join(' '))"""
    page.wait_for_function(f"() => ({told})().some((one) => one.includes('ms'))", timeout=WAIT_MS)
    assert all(one.strip() for one in page.evaluate(told))


def test_the_status_page_says_a_change_and_is_not_loaded_again(page: Any, site: Busy) -> None:
    changed = {"yes": False}

    def answer(route: Any) -> None:
        status = json.loads(json.dumps(SEEN))
        if changed["yes"]:
            status |= {"state": "degraded", "words": "Slow", "sentence": "Slow: Refund payments."}
            status["services"][0] |= {"state": "degraded", "words": "Slow or partly working"}
        route.fulfill(status=200, content_type="application/json", body=json.dumps(status))

    page.route("**/status.json", answer)
    page.add_init_script("const every = setInterval; window.setInterval = (run) => every(run, 300);")
    with page.expect_response("**/status.json"):
        page.goto(f"{site.url}/status")
    page.evaluate(LISTEN)
    page.evaluate("() => { window.isSame = true; }")
    changed["yes"] = True
    page.get_by_role("status").get_by_text("Slow: Refund payments.").wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(1_000)  # more looks, which find nothing new
    assert page.evaluate("() => said").count("Slow: Refund payments.") == 1
    assert page.evaluate("() => window.isSame"), "the page under a reader stays"
    assert page.locator(".services .state").first.inner_text() == "Slow or partly working"
    assert page.locator("#changed").is_visible()


# ---- dialogs, errors, focus


@pytest.mark.parametrize("name", ["db.slow", "queue.long"])
def test_a_row_that_changes_its_place_keeps_the_focus_and_its_open_dialog(
    page: Any, site: Busy, wait_until: Callable[..., None], name: str
) -> None:
    """Either row may be the one that is moved in the document, which takes the focus off it in a browser."""
    wait_until(lambda: any(alert.name == "queue.long" for alert in site.engine.alerts()), 20)  # since an earlier second
    fire(site, wait_until)
    shown(page, site, "alerts?sort=-since")
    row = page.locator("li").filter(has=page.get_by_role("link", name=name, exact=True)).first
    row.get_by_role("button", name="Silence", exact=True).focus()
    turn(page, "since")
    assert focused(page) == "Silence"
    assert page.evaluate("() => document.activeElement.closest('li').querySelector('h2').innerText") == name
    page.keyboard.press("Enter")
    why = page.locator("dialog[open]").get_by_label("Why")
    why.fill("planned")
    turn(page, "-since")
    assert page.locator("dialog:modal").count() == 1
    assert why.input_value() == "planned"
    page.keyboard.press("Escape")
    page.wait_for_function(
        "(name) => document.activeElement.closest('li')?.querySelector('h2').innerText === name", arg=name
    )


def turn(page: Any, order: str) -> None:
    """The alerts in another order, as when one becomes more urgent, and nothing but that."""
    names = "() => [...document.querySelectorAll('.alert-row h2')].map((one) => one.innerText).join()"
    before = page.evaluate(names)
    page.evaluate("(order) => location.replace(`#/alerts?sort=${order}`)", order)
    page.wait_for_function(f"(before) => ({names})() !== before", arg=before, timeout=WAIT_MS)


def test_dialogs_submit_by_enter_say_errors_and_give_the_focus_back(
    page: Any, site: Busy, wait_until: Callable[..., None]
) -> None:
    fire(site, wait_until)
    shown(page, site, "alerts")
    row = page.locator("li").filter(has=page.get_by_role("link", name="db.slow", exact=True)).first
    button = row.get_by_role("button", name="Silence", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    dialog.wait_for(timeout=WAIT_MS)
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog[open]')")
    assert focused(page) == "Silence"
    page.keyboard.press("Enter")
    why = dialog.get_by_label("Why")
    why.focus()
    page.keyboard.press("Enter")  # nothing typed: refused, at the field
    dialog.get_by_role("alert").wait_for(timeout=WAIT_MS)
    assert why.get_attribute("aria-invalid") == "true"
    described = why.get_attribute("aria-describedby").split()
    assert any("Say why" in page.locator(f"[id='{one}']").inner_text() for one in described)
    page.evaluate(LISTEN)
    page.keyboard.type("planned work")
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('dialog[open]')", timeout=WAIT_MS)
    page.wait_for_function("() => said.some((one) => /Silence .* lasts/.test(one))", timeout=WAIT_MS)
    page.wait_for_function("() => document.activeElement.closest('.alert-actions')", timeout=WAIT_MS)


def test_a_refusal_of_the_engine_is_said_inside_the_dialog(
    page: Any, site: Busy, wait_until: Callable[..., None]
) -> None:
    fire(site, wait_until)
    page.route("**/v1/alerts/*/ack", lambda route: route.fulfill(status=503, body="{}"))
    shown(page, site, "alerts")
    page.get_by_role("button", name="Take it", exact=True).first.click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_role("button", name="I have it").click()
    dialog.get_by_role("status").get_by_text("The engine did not take it").wait_for(timeout=WAIT_MS)


def test_the_focus_stays_where_a_button_takes_itself_away(
    page: Any, site: Busy, wait_until: Callable[..., None]
) -> None:
    fire(site, wait_until)
    shown(page, site, "alerts?state=firing")
    page.get_by_role("button", name="Show all", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.closest('main')", timeout=WAIT_MS)


def test_another_page_is_named_where_the_focus_goes(page: Any, site: Busy) -> None:
    shown(page, site, "")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Ledger").press("Enter")
    page.get_by_role("main", name="Ledger").wait_for(timeout=WAIT_MS)
    page.wait_for_function("() => document.activeElement.id === 'main' && /Ledger/.test(document.title)")


def test_signing_in_names_its_error_at_the_field(page: Any, site: Busy) -> None:
    with server_of(site.engine, tokens=("a-secret-of-thirty-two-characters-1",)) as (_, url):
        page.goto(url)
        field = page.get_by_label("Token", exact=True)
        field.wait_for(timeout=WAIT_MS)
        assert field.get_attribute("autocomplete") == "current-password"
        page.wait_for_function("() => document.activeElement.type === 'password'", timeout=WAIT_MS)
        page.keyboard.press("Enter")
        page.get_by_role("alert").get_by_text("Enter your token.").wait_for(timeout=WAIT_MS)
        assert field.get_attribute("aria-invalid") == "true"
        assert axe(page, [*MORE_RULES, "color-contrast", "label"]) == []


# ---- names, headings, landmarks


@pytest.mark.skipif(not AXE.exists(), reason="js/node_modules is not installed (make .make/js)")
def test_names_hold_the_visible_words_and_headings_are_in_order(page: Any, site: Busy) -> None:
    found = {}
    for path in MAIN_PAGES:
        shown(page, site, path)
        if told := axe(page, MORE_RULES):
            found[path] = told
    for path in ("/status", "/docs"):
        page.goto(site.url + path)
        if told := axe(page, [rule for rule in MORE_RULES if rule != "landmark-unique"]):
            found[path] = told
    assert found == {}


@pytest.mark.skipif(not AXE.exists(), reason="js/node_modules is not installed (make .make/js)")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_old_data_is_as_legible_as_live_data(browser: Any, site: Busy, theme: str) -> None:
    context = browser.new_context(color_scheme=theme, bypass_csp=True, reduced_motion="reduce")
    page = context.new_page()
    for path in ("", METRIC):
        shown(page, site, path)
        page.evaluate("() => document.documentElement.toggleAttribute('data-stale', true)")
        assert axe(page, ["color-contrast"]) == []
    context.close()


# ---- large text, narrow screens, forced colours, contrast


def left_cut(page: Any) -> tuple[int, list[str]] | None:
    """The page's width and what of it is cut; None where all is whole. Charts take a moment to their new size."""
    end = time.monotonic() + 5
    while True:
        width, clipped = page.evaluate("() => document.documentElement.scrollWidth"), page.evaluate(CLIPPED)
        if width <= 1280 and not clipped:
            return None
        if time.monotonic() > end:
            return width, clipped
        page.wait_for_timeout(100)


@pytest.mark.parametrize("style", [TWICE, SPACED], ids=["twice-the-size", "wider-spacing"])
def test_large_and_spaced_text_is_whole(page: Any, site: Busy, style: str) -> None:
    cut: dict[str, Any] = {}
    # Compact rows shorten long names of metrics under wider spacing; docs/accessibility.md says so.
    for path in ("", "alerts", "dashboard?name=rush", METRIC, "slos", "ledger", "/status", "/docs"):
        page.goto(site.url + path) if path.startswith("/") else shown(page, site, path)
        page.add_style_tag(content=style)
        if found := left_cut(page):
            cut[path] = found
    assert cut == {}


def test_dialogs_and_public_pages_fit_a_narrow_screen(page: Any, site: Busy, wait_until: Callable[..., None]) -> None:
    fire(site, wait_until)
    page.set_viewport_size({"width": 320, "height": 600})
    page.goto(f"{site.url}/status")
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 320
    shown(page, site, "alerts")
    page.get_by_role("button", name="Silence", exact=True).first.click()
    page.locator("dialog[open]").wait_for(timeout=WAIT_MS)
    one = "document.querySelector('dialog[open]')"
    assert page.evaluate(f"() => {one}.scrollWidth <= {one}.clientWidth")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog[open]')")
    page.keyboard.press("Control+k")
    page.locator("dialog[open]").wait_for(timeout=WAIT_MS)
    assert page.evaluate("() => document.querySelector('dialog[open]').getBoundingClientRect().right <= 320")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forced_colours_keep_lines_shapes_and_what_is_chosen(browser: Any, site: Busy, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, forced_colors="active", color_scheme=scheme)
    page = context.new_page()
    with page.expect_response("**/v1/query*", timeout=WAIT_MS):  # the past, which brings the band
        shown(page, site, METRIC)
    page.wait_for_function("() => document.querySelector('figure canvas')", timeout=WAIT_MS)
    page.wait_for_function(f"() => ({INK})() > 0.001", timeout=WAIT_MS)
    page.wait_for_timeout(1_000)  # in which it is drawn
    assert page.evaluate(INK) < 0.3, "the band and the labels' rims once were one block of the colour of text"
    grounds = page.evaluate(
        """() => [...document.querySelectorAll('.choice label')].map((one) =>
          [one.classList.contains('is-chosen'), getComputedStyle(one).backgroundColor])"""
    )
    chosen = {colour for is_chosen, colour in grounds if is_chosen}
    assert chosen
    assert not chosen & {colour for is_chosen, colour in grounds if not is_chosen}
    here = page.locator(".navigation [aria-current=page]")
    assert page.evaluate("(one) => getComputedStyle(one).outlineStyle", here.element_handle()) == "solid"
    assert page.locator(".light-mark").first.inner_text() in "●▲◆○–"
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark", "contrast"])
def test_lines_shapes_and_text_stand_out_in_each_theme(page: Any, site: Busy, theme: str) -> None:
    shown(page, site, "about")
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    graphics = page.evaluate(CONTRAST, [*LINES, *SHAPES, *EDGES])
    assert [(ink, ground, round(times, 2)) for ink, ground, times in graphics if times < 3] == []
    texts = page.evaluate(CONTRAST, TEXTS)
    assert [(ink, ground, round(times, 2)) for ink, ground, times in texts if times < 4.5] == []


def test_contrast_is_measured(page: Any, site: Busy) -> None:
    shown(page, site, "about")
    page.evaluate("() => document.documentElement.style.setProperty('--ops-line-1', '#ddd')")
    [(_, _, times)] = page.evaluate(CONTRAST, [LINES[0]])
    assert times < 1.5
