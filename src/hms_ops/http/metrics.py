"""`GET /metrics`: the engine's ledger and counters as OpenMetrics text 1.0.

Counters of the ledger carry the input as a label, so a sum over it is the ledger's own number. Every reason there is
stands there from the start, at 0, since a rate cannot see a counter that appears with its first increment. The
engine's other numbers are of type `unknown`: it knows what they count, not whether they may fall.
Source: OpenMetrics 1.0, sections "Text format" and "Counter".
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response

import hms_ops
from hms_ops._ring import BAD, REJECTED
from hms_ops.http.endpoint import Docs, Endpoint, Media
from hms_ops.http.site import Site, site_of

if TYPE_CHECKING:
    from hms_ops.engine import Engine

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_]+")

Labels = Mapping[str, str]
Samples = list[tuple[Labels, float]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its samples. `name` is without the `_total` that a counter's samples get."""

    name: str
    type: str
    help: str
    samples: Samples


async def metrics(request: Request) -> Response:
    site = site_of(request)
    text = await site.reads.run(lambda: openmetrics(families(site)))
    return Response(text, media_type=CONTENT_TYPE)


def families(site: Site) -> list[Family]:
    engine = site.engine
    return [
        Family("hms_ops_build", "info", "The engine's version.", [({"version": hms_ops.__version__}, 1)]),
        Family("hms_ops_ready", "gauge", "1 while receiving with warm kernels.", [({}, int(engine.is_ready))]),
        Family("hms_ops_alerts", "gauge", "Alerts by state.", alert_samples(engine)),
        *ledger_families(engine.ledger()["inputs"]),
        Family("hms_ops_http_refused", "counter", "Requests turned away.", by_label("reason", dict(site.tally))),
        *stream_families(site.streams.counters()),
        *counter_families({name: one for name, one in engine.counters().items() if name != "streams"}),
    ]


def alert_samples(engine: "Engine") -> Samples:
    states = Counter(alert.state for alert in engine.alerts())
    return [({"state": state}, states[state]) for state in ("pending", "firing")]


def by_label(label: str, counts: Mapping[str, float]) -> Samples:
    return [({label: name}, count) for name, count in counts.items()]


# Key of the ledger, name, help.
LEDGER_COUNTERS: Final = (
    ("arrived", "hms_ops_datagrams_arrived", "Datagrams that reached the host: received and dropped."),
    ("received", "hms_ops_datagrams_received", "Datagrams read."),
    ("kernel_drops", "hms_ops_datagrams_kernel_dropped", "DATA LOSS: datagrams the kernel dropped, the buffer full."),
    ("accepted", "hms_ops_datagrams_accepted", "Datagrams that could be read."),
    ("values", "hms_ops_values", "Values in accepted datagrams."),
    ("samples", "hms_ops_samples", "Values stored."),
)
# Key of the ledger, all reasons there are, name, help.
LEDGER_REASONS: Final = (
    ("rejected", REJECTED, "hms_ops_datagrams_rejected", "DATA LOSS: datagrams rejected whole."),
    ("bad", BAD[1:], "hms_ops_values_bad", "DATA LOSS: values that were invalid."),
)


# Key of the streams' counters, type, name, help.
STREAM_COUNTERS: Final = (
    ("open", "gauge", "hms_ops_streams_open", "Live streams that are open."),
    ("different", "gauge", "hms_ops_streams_different", "Different sets of metrics among the open streams."),
    ("refused", "counter", "hms_ops_streams_refused", "Streams turned away: as many were open as there may be."),
    ("frames_sent", "counter", "hms_ops_streams_frames_sent", "Frames handed to clients' connections."),
    ("frames_dropped", "counter", "hms_ops_streams_frames_dropped", "DATA LOSS: frames dropped for slow clients."),
    ("gaps", "counter", "hms_ops_streams_gaps", "Gaps that clients were told of."),
    ("cells_encoded", "counter", "hms_ops_streams_cells_encoded", "Cells gathered and encoded, once for all clients."),
    ("cells_left_out", "counter", "hms_ops_streams_cells_left_out", "Cells beyond the bounds of a second."),
    ("events", "counter", "hms_ops_streams_events", "Alert, anomaly and action events numbered for streams."),
    ("errors", "counter", "hms_ops_streams_errors", "Parts of a turn that failed; the log says why."),
    ("lag_ms", "gauge", "hms_ops_streams_lag_ms", "From the end of the last second to its cells in clients' queues."),
)


def stream_families(counters: Mapping[str, float]) -> list[Family]:
    return [Family(name, kind, text, [({}, counters[key])]) for key, kind, name, text in STREAM_COUNTERS]


def ledger_families(inputs: Mapping[str, Mapping[str, Any]]) -> list[Family]:
    """inputs: the ledger's part of that name, one set of books for each input."""
    counters = [
        Family(name, "counter", text, [({"input": source}, books.get(key, 0)) for source, books in inputs.items()])
        for key, name, text in LEDGER_COUNTERS
    ]
    reasons = [
        Family(name, "counter", text, reason_samples(inputs, key, known)) for key, known, name, text in LEDGER_REASONS
    ]
    return counters + reasons


def reason_samples(inputs: Mapping[str, Mapping[str, Any]], key: str, known: Iterable[str]) -> Samples:
    zeros = dict.fromkeys(known, 0)
    return [
        ({"input": source, "reason": reason}, count)
        for source, books in inputs.items()
        for reason, count in {**zeros, **books[key]}.items()
    ]


def counter_families(sections: Mapping[str, Mapping[str, float]]) -> list[Family]:
    """`counters()` of the engine: section → counter → number. A section named by an address is a listener's."""
    found: dict[str, Family] = {}
    for section, counters in sections.items():
        group, labels = (section, {}) if section.isidentifier() else ("listener", {"input": section})
        if section.startswith("remote "):
            group, labels = "remote", {"remote": section.removeprefix("remote ")}
        for name, value in counters.items():
            metric = FOREIGN.sub("_", f"hms_ops_{group}_{name}")
            text = f"{group}: {name}".replace("_", " ")
            found.setdefault(metric, Family(metric, "unknown", f"{text}.", [])).samples.append((labels, value))
    return list(found.values())


def openmetrics(metric_families: Iterable[Family]) -> str:
    """The exposition: families in order, `# EOF` last."""
    lines: list[str] = []
    for family in metric_families:
        lines += [f"# TYPE {family.name} {family.type}", f"# HELP {family.name} {escaped(family.help)}"]
        sample_name = family.name + SUFFIXES.get(family.type, "")
        lines += [f"{sample_name}{label_text(labels)} {number_text(value)}" for labels, value in family.samples]
    return "\n".join([*lines, "# EOF", ""])


SUFFIXES: Final = {"counter": "_total", "info": "_info"}


def escaped(text: str) -> str:
    return text.translate(ESCAPES)


def label_text(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def number_text(value: float) -> str:
    """Integers whole; infinities and NaN as OpenMetrics spells them."""
    text = repr(int(value) if isinstance(value, int) else float(value))
    return SPELLINGS.get(text, text)


SPELLINGS: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


DOCS: Final[Docs] = {
    metrics: Endpoint("Engine", "The engine's own counters", Media(CONTENT_TYPE, "OpenMetrics text 1.0"))
}
