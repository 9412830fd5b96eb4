"""Names, tags, rules, annotations and texts of strangers in a real browser: none of them is ever run.

250 payloads are made of what markup, attributes, URLs, styles, templates and directions of text can be abused for, each
with a mark that tells which one got through. They stand wherever a stranger can put one, all pages are opened, and
neither a script may run nor the policy have had to stop one. A last test plants one to see that it would be noticed.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
import pytest
from tests.answering import answering, status
from tests.browsing import Watched, chromium, needs_chromium
from tests.busy import Busy, busy
from tests.test_screens import PAGES, WAIT_MS, shown

pytestmark = [needs_chromium, pytest.mark.slow]

PAYLOADS_WANTED: Final = 250
CALLS: Final = ("pwned({n})", "parent.pwned({n})", "window['pwned']({n})", "top.pwned`{n}`", "eval('pwned({n})')")
SHAPES: Final = (
    "<script>{call}</script>",
    "<ScRiPt>{call}</sCrIpT>",
    "</script><script>{call}</script>",
    "<img src=x onerror={call}>",
    '<img src=x onerror="{call}">',
    '"><img src=x onerror={call}>',
    "'><img src=x onerror={call}>",
    "<svg onload={call}>",
    "<svg><script>{call}</script></svg>",
    "<svg><animate onbegin={call} attributeName=x dur=1s>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror={call}>",
    "<body onload={call}>",
    "<iframe srcdoc='<script>{call}</script>'>",
    "<iframe src=javascript:{call}>",
    "<object data=javascript:{call}>",
    "<embed src=javascript:{call}>",
    "<a href=javascript:{call}>x</a>",
    "javascript:{call}",
    "JaVaScRiPt:{call}",
    "java\\tscript:{call}",
    "data:text/html,<script>{call}</script>",
    "vbscript:{call}",
    "<details open ontoggle={call}>",
    "<input autofocus onfocus={call}>",
    "<select autofocus onfocus={call}>",
    "<video><source onerror={call}></video>",
    "<audio src=x onerror={call}>",
    "<marquee onstart={call}>",
    "<template><script>{call}</script></template>",
    "<link rel=stylesheet href=javascript:{call}>",
    "<style>@import 'javascript:{call}';</style>",
    "<base href=javascript:{call}//>",
    "<meta http-equiv=refresh content='0;url=javascript:{call}'>",
    "<form action=javascript:{call}><button>x</button></form>",
    "<button formaction=javascript:{call}>x</button>",
    '" onmouseover={call} x="',
    "' onfocus={call} autofocus x='",
    "` onmouseover={call} x=`",
    "style=background:url(javascript:{call})",
    "{{constructor.constructor('{call}')()}}",
    "${{{call}}}",
    "<%= {call} %>",
    "#{{{call}}}",
    "\\u003cscript\\u003e{call}\\u003c/script\\u003e",
    "&lt;script&gt;{call}&lt;/script&gt;",
    "%3Cscript%3E{call}%3C/script%3E",
    "<!--><script>{call}</script>-->",
    "]]><script>{call}</script>",
    "\u202e<script>{call}</script>",
    '{{"__proto__":{{"pwned":{n}}}}}',
)


def payloads() -> list[str]:
    made = [shape.format(call=call.format(n=n), n=n) for n, (shape, call) in enumerate(pairs())]
    return list(dict.fromkeys(made))


def pairs() -> Iterator[tuple[str, str]]:
    for call in CALLS:
        for shape in SHAPES:
            yield shape, call


PAYLOADS: Final = payloads()


def test_there_are_as_many_as_are_said() -> None:
    assert len(PAYLOADS) == PAYLOADS_WANTED
    assert all("pwned" in payload for payload in PAYLOADS)


def packed(text: str, bytes_max: int = 200) -> str:
    """As a name may be: short, and without what names cannot have."""
    return text.replace("\u202e", "").encode()[:bytes_max].decode("utf-8", "ignore")


def plant(site: Busy) -> None:
    """Every payload as a metric's name, as a tag's value, and as an event's text; some as everything else there is."""
    engine = site.engine
    for n, payload in enumerate(PAYLOADS):
        engine.metric(packed(payload), float(n), kind="gauge")
        engine.metric("hostile.tagged", float(n), kind="timer", tags={"v": packed(payload), f"k{n % 20}": "1"})
    reported = [{"event": f"e{n}", "text": payload, "tags": {"t": payload[:190]}} for n, payload in enumerate(PAYLOADS)]
    post(site, "/v1/events", reported)
    for n, payload in enumerate(PAYLOADS[::10]):
        name = packed(payload).replace(" ", "/")  # which separates attributes as well
        engine.alert_now(name, value=float(n), tags={"p": payload[:190]}, reason=payload)
        post(site, f"/v1/alerts/{quote(name, safe='')}/silence", {"for": "1h", "comment": payload, "by": payload[:90]})
    for n, payload in enumerate(PAYLOADS[5::10]):
        rule = {
            "alert": f"r{n}",
            "if": "last(portal.queue) > 0",
            "annotations": {"runbook": payload, "summary": payload},
        }
        post(site, "/v1/alerts", rule)
        engine.describe(packed(payload), unit=payload[:20], help=payload)
    for payload in PAYLOADS:
        engine.ingest(payload.encode())  # what cannot be read is quoted among the rejects
    board = msgspec.yaml.encode({"title": PAYLOADS[3], "panels": [{"text": payload} for payload in PAYLOADS[:50]]})
    (site.engine.config.dashboards[0] / "hostile.yaml").write_bytes(board)


def post(site: Busy, path: str, document: Any) -> None:
    import httpx

    answer = httpx.post(site.url + path, json=document)
    assert answer.status_code < 500, answer.text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    with busy(tmp_path_factory.mktemp("hostile"), limits={"series": 5_000}) as site:
        plant(site)
        end = time.monotonic() + 60
        while "r0" not in {alert.name for alert in site.engine.alerts()} and time.monotonic() < end:
            time.sleep(0.1)  # until what was planted has been looked at
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def opened(browser: Any) -> Any:
    context = browser.new_context(viewport={"width": 1280, "height": 2_000})
    context.add_init_script("window.ran = []; window.pwned = (n) => window.ran.push(String(n));")
    page = context.new_page()
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    return page


def reports_of(site: Busy) -> int:
    assert site.engine.account.server is not None
    return site.engine.account.server.tally["csp-report"]


@pytest.mark.timeout(300)
def test_nothing_of_strangers_is_run_on_any_page(browser: Any, site: Busy) -> None:
    page = opened(browser)
    watched = Watched(page, site.url)
    chosen = [packed(payload) for payload in PAYLOADS[:50]]
    own = [f"metric?name={quote(name, safe='')}" for name in chosen[::5]] + ["metric?name=hostile.tagged"]
    for path in (*PAGES, *own, "dashboard?name=hostile", f"?filter={quote(PAYLOADS[3], safe='')}", "alerts?open=r0"):
        shown(page, site, path)
        assert page.evaluate("() => window.ran") == [], path
    for path in ("/docs", "/status"):
        page.goto(site.url + path)
        assert page.evaluate("() => window.ran") == [], path
    page.context.close()
    assert reports_of(site) == 0
    assert watched.elsewhere == []
    assert [error for error in watched.errors if "404" not in error] == []


def test_names_stand_as_they_are(browser: Any, site: Busy) -> None:
    page = opened(browser)
    name = packed(PAYLOADS[3])
    shown(page, site, f"metric?name={quote(name, safe='')}")
    page.get_by_text(name).first.wait_for(timeout=WAIT_MS)
    page.context.close()


def test_a_planted_script_is_held_back_and_reported(browser: Any, site: Busy, wait_until: Any) -> None:
    page = opened(browser)
    shown(page, site, "about")
    before = reports_of(site)
    page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.append('window.pwned("planted")');
          document.head.append(script);
        }"""
    )
    wait_until(lambda: reports_of(site) > before)
    assert page.evaluate("() => window.ran") == []
    page.context.close()


def test_the_widget_runs_nothing_either(browser: Any, tmp_path: Path) -> None:
    label = packed(PAYLOADS[3])[:90]
    service = {"name": "one", "label": label, "outage": ["db.slow"]}
    with ExitStack() as stack:
        site = stack.enter_context(busy(tmp_path, status={"title": label, "services": [service]}))
        body = f"<script type=module src={site.url}/hms-status.js></script><hms-status service=one></hms-status>"
        page = opened(browser)
        page.goto(stack.enter_context(answering(status(200, body, Content_Type="text/html"))).url)  # another origin
        page.get_by_text(label).first.wait_for(timeout=WAIT_MS)
        page.get_by_text("Working", exact=True).wait_for(timeout=WAIT_MS)
        assert page.evaluate("() => window.ran") == []
        page.context.close()
