"""`GET /`: one honest page in place of the dashboard, which comes with a later version.

No script, no request to anywhere; the style stands in the page and the policy names it by its hash. Everything that
comes from outside is escaped: control characters and marks of direction first, then HTML.
"""

import html
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import hms_ops
from hms_ops.alert.notification import Alert
from hms_ops.escape import printable
from hms_ops.http.site import site_of

if TYPE_CHECKING:
    from hms_ops.engine import Engine

ALERTS_SHOWN: Final = 100

STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid;overflow-wrap:anywhere}"
    "td.number{text-align:right;font-variant-numeric:tabular-nums}"
)
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LINKS: Final = ("/v1/alerts", "/v1/ledger", "/v1/rejects", "/v1/series", "/metrics", "/healthz", "/readyz")
PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HMS-OPS: {state}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>HMS-OPS {version}</h1>
<p>The engine is <strong>{state}</strong>. The dashboard comes with a later version; this page is as it was when it was
loaded, and the <code>hms-ops-engine</code> command shows the rest.</p>
{problems}
<h2>Alerts</h2>
{alerts}
<h2>Ledger</h2>
{ledger}
<h2>More</h2>
<ul>
{links}
</ul>
</main>
</body>
</html>
"""


async def page(request: Request) -> Response:
    site = site_of(request)
    text = await site.reads.run(lambda: page_text(site.engine))
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})


def page_text(engine: "Engine") -> str:
    problems = engine.health()
    return PAGE.format(
        state=state_text(engine.is_ready, problems),
        style=STYLE,
        version=safe(hms_ops.__version__),
        problems=list_of(problems),
        alerts=alerts_table(engine.alerts()),
        ledger=ledger_table(engine.ledger()),
        links="\n".join(f'<li><a href="{path}">{path}</a></li>' for path in LINKS),
    )


def state_text(is_ready: bool, problems: list[str]) -> str:
    if not is_ready:
        return "starting"
    return "unhealthy" if problems else "healthy"


def safe(text: str) -> str:
    return html.escape(printable(text))


def list_of(texts: list[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{safe(text)}</li>" for text in texts) + "\n</ul>" if texts else ""


def alerts_table(alerts: list[Alert]) -> str:
    if not alerts:
        return "<p>No alert is pending or firing.</p>"
    shown = sorted(alerts, key=lambda alert: (alert.state != "firing", alert.name))[:ALERTS_SHOWN]
    rows = "\n".join(map(alert_row, shown))
    more = f"<p>{len(alerts) - len(shown):,} more are at /v1/alerts.</p>" if len(alerts) > len(shown) else ""
    head = '<tr><th scope="col">State</th><th scope="col">Alert</th><th scope="col">Value</th></tr>'
    return f"<table>\n{head}\n{rows}\n</table>\n{more}"


def alert_row(alert: Alert) -> str:
    tags = ", ".join(f"{tag}={value}" for tag, value in alert.group)
    name = f"{alert.name} ({tags})" if tags else alert.name
    return f'<tr><td>{safe(alert.state)}</td><td>{safe(name)}</td><td class="number">{alert.value:.6g}</td></tr>'


def ledger_table(ledger: dict[str, object]) -> str:
    """The sums; reasons as `reason: count`, only where there are any."""
    rows = "\n".join(ledger_row(name, count) for name, count in ledger.items() if name != "inputs")
    return f"<table>\n{rows}\n</table>"


def ledger_row(name: str, count: object) -> str:
    if isinstance(count, dict):
        shown = ", ".join(f"{reason}: {times:,}" for reason, times in count.items() if times) or "none"
    else:
        shown = f"{count:,}"
    return f'<tr><th scope="row">{safe(name.replace("_", " "))}</th><td class="number">{safe(shown)}</td></tr>'
