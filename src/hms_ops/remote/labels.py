"""How a series is called outside: a metric and its tags as Prometheus' labels, and back.

    api.ms{agency:irs, us-state:ny}, field sum  ──►  api_ms_sum{agency="irs", engine="host1", us_state="ny"}

A name outside has letters, digits, `_` and (metrics only) `:`; every other character becomes `_`, a digit in front gets
one before it. With `keeps_dots` a metric keeps its name: VictoriaMetrics takes that, Prometheus does not. A tag whose
name comes out like one before it, or like a name of ours (`__name__`, `le`), gets `_` behind; empty values are no
labels outside and are left out. `fixed` labels tell one engine's series from another's; a tag of that name wins.

Labels travel sorted by the bytes of their names, as remote write 1.0 asks, encoded once for a series: see `Labelled`.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from hms_ops.remote.protobuf import label

FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_:]")
FOREIGN_TAG: Final = re.compile(r"[^a-zA-Z0-9_]")
NAME: Final = "__name__"
LE: Final = "le"
OURS: Final = (NAME, LE)


class Labelled(NamedTuple):
    """A series' labels but the metric's name and `le`, encoded, cut where those two go: before, between, behind."""

    before: bytes
    between: bytes
    behind: bytes


def outer_metric(metric: str, keeps_dots: bool) -> str:
    """The metric's name outside."""
    if keeps_dots:
        return metric
    name = FOREIGN.sub("_", metric)
    return f"_{name}" if name[:1].isdigit() else name


def outer_tag(tag: str) -> str:
    """The tag's name outside, if no other tag of its series comes out the same."""
    name = FOREIGN_TAG.sub("_", tag)
    name = f"_{name}" if not name or name[0].isdigit() else name
    return f"{name}_" if name in OURS else name


def outer_labels(tags: Mapping[str, str], fixed: Mapping[str, str]) -> dict[str, str]:
    """All labels of a series but its name, sorted by the bytes of their names."""
    labels: dict[str, str] = {}
    for tag in sorted(tags):
        if tags[tag]:
            name = outer_tag(tag)
            while name in labels:
                name += "_"
            labels[name] = tags[tag]
    merged = {**{name: value for name, value in fixed.items() if value}, **labels}
    return {name: merged[name] for name in sorted(merged)}  # ASCII: as its bytes


def labelled(labels: Mapping[str, str]) -> Labelled:
    """The encoded form of `outer_labels`."""
    parts: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
    for name, value in labels.items():
        parts[(name > NAME) + (name > LE)].append(label(name, value))
    return Labelled(*map(b"".join, parts))
