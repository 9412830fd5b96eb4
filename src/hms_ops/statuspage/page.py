"""/status as a citizen reads it: one HTML page, whole without its script, which follows the states in place.

Each state has a colour, a shape and its words; below each row of days stands a sentence that says the same, and a table
behind a disclosure. A changed state is read out once: the sentence at the top is a status message. Everything that
comes from settings is escaped, control characters and marks of direction first. The style is a file beside, so that the
policy needs no exception.
"""

import html
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from hms_ops.escape import printable
from hms_ops.statuspage.standing import DEGRADED, OUT, UNKNOWN, WORDS, WORKING, Standing, Status
from hms_ops.statuspage.uptime import DAYS, Day, Incident, words_of_day, words_of_span, words_of_time

INCIDENTS_SHOWN: Final = 20
GOOD_SHARE: Final = 0.9995  # below, a day's bar is marked
BAD_SHARE: Final = 0.98
BAR_WIDTH: Final = 8
BAR_HEIGHT: Final = 34

# One shape a state, for who does not see the colours: a tick, a bar, a cross, a question mark's dot.
SHAPES: Final = {
    WORKING: "M7 12.5l3.2 3.2L17 9",
    DEGRADED: "M7 12h10",
    OUT: "M8 8l8 8M16 8l-8 8",
    UNKNOWN: "M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M12 16.6v.1",
}

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}: {words}</title>
<link rel="stylesheet" href="/status.css">
<script type="module" src="/status.js"></script>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="banner {state}" role="status">{icon}<strong>{sentence}</strong></p>
<p class="message" id="changed" hidden>This has changed since the page was loaded.
<a href="/status">Load it again</a> for the days and what happened.</p>
{message}
<h2>Services</h2>
<ul class="services">
{services}
</ul>
<h2>What happened</h2>
{incidents}
</main>
<footer>
<p>As of <time id="updated" datetime="{updated_iso}">{updated}</time>. Days are UTC. <a href="/status">Look again</a>,
or read <a href="/status.json">the same as data</a>.</p>
</footer>
</body>
</html>
"""


def escaped(text: str) -> str:
    return html.escape(printable(text))


def page_text(status: Status) -> str:
    return PAGE.format(
        title=escaped(status.page.title),
        words=WORDS[status.state],
        state=status.state,
        icon=icon(status.state),
        sentence=escaped(status.sentence()),
        message=f'<p class="message">{escaped(status.page.message)}</p>' if status.page.message else "",
        services="\n".join(map(service_item, status.standings)),
        incidents=incident_list(status),
        updated=words_of_time(status.updated),
        updated_iso=iso_of(status.updated),
    )


def iso_of(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def icon(state: str) -> str:
    """The state's shape; its words always stand beside it."""
    return (
        f'<svg class="icon {state}" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false">'
        f'<circle cx="12" cy="12" r="10"/><path d="{SHAPES[state]}"/></svg>'
    )


def service_item(standing: Standing) -> str:
    label = escaped(standing.label)
    return (
        f'<li><div class="line"><h3>{label}</h3>'
        f'<p class="state {standing.state}">{icon(standing.state)}{WORDS[standing.state]}</p></div>'
        f"{bars(standing)}{day_table(standing, label)}</li>"
    )


def percent(share: float | None) -> str:
    """Never rounded up to 100."""
    if share is None:
        return "not known"
    return "100 %" if share == 1 else f"{min(share * 100, 99.99):.2f} %"


def days_sentence(standing: Standing) -> str:
    known = [day for day in standing.days if day.share is not None]
    if not known:
        return "Nobody has watched this service yet."
    worst = min(known, key=lambda day: day.share or 0.0)
    told = f"It worked {percent(standing.uptime)} of the time in the last {DAYS} days"
    told += f" (of which {len(known)} watched)" if len(known) < DAYS else ""
    return told + (f"; worst on {words_of_day(worst.date)}: {percent(worst.share)}." if worst.share != 1 else ".")


def bars(standing: Standing) -> str:
    """A bar a day: a full one worked, a lower one did not, a dot was not watched. The sentence says it in words."""
    drawn = "".join(bar(number, day) for number, day in enumerate(standing.days))
    return (
        f'<svg class="days" viewBox="0 0 {BAR_WIDTH * len(standing.days)} {BAR_HEIGHT}" preserveAspectRatio="none" '
        f'aria-hidden="true" focusable="false">{drawn}</svg><p class="uptime">{escaped(days_sentence(standing))}</p>'
    )


def bar(number: int, day: Day) -> str:
    kind, height = bar_of(day.share)
    return (
        f'<rect class="{kind}" x="{number * BAR_WIDTH + 1}" y="{BAR_HEIGHT - height}" width="{BAR_WIDTH - 2}" '
        f'height="{height}"><title>{words_of_day(day.date)}: {percent(day.share)}</title></rect>'
    )


def bar_of(share: float | None) -> tuple[str, int]:
    if share is None:
        return UNKNOWN, 6
    if share >= GOOD_SHARE:
        return WORKING, BAR_HEIGHT
    return (DEGRADED, BAR_HEIGHT * 2 // 3) if share >= BAD_SHARE else (OUT, BAR_HEIGHT // 3)


def day_table(standing: Standing, label: str) -> str:
    """The days that were not whole, as text."""
    marked = [day for day in standing.days if day.share is not None and day.share < 1]
    if not marked:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{words_of_day(day.date)}</th><td>{percent(day.share)}</td>'
        f"<td>{words_of_span(day.out)}</td></tr>"
        for day in reversed(marked)
    )
    return (
        f'<details><summary>Days on which {label} did not always work</summary><table><caption class="out-of-sight">'
        f'{label}, day by day</caption><thead><tr><th scope="col">Day</th><th scope="col">Worked</th>'
        f'<th scope="col">Did not work for</th></tr></thead><tbody>{rows}</tbody></table></details>'
    )


def incident_list(status: Status) -> str:
    if not status.incidents:
        return "<p>Nothing that these services noticed.</p>"
    labels = {standing.service.name: standing.label for standing in status.standings}
    return f'<ol class="incidents">{"".join(incident_items(status.incidents, labels))}</ol>'


def incident_items(incidents: Iterable[Incident], labels: dict[str, str]) -> Iterable[str]:
    for incident in list(incidents)[:INCIDENTS_SHOWN]:
        label = escaped(labels.get(incident.service, incident.service))
        span = "it still lasts" if incident.end is None else f"for {words_of_span(incident.end - incident.start)}"
        yield (
            f"<li>{icon(incident.state)}<span><strong>{label}</strong>: {WORDS[incident.state].lower()}, "
            f'from <time datetime="{iso_of(incident.start)}">{words_of_time(incident.start)}</time>, {span}</span></li>'
        )
