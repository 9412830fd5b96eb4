"""Annotations of Prometheus, which are Go templates, as the fixed `{name}` templates of this engine.

    {{ $labels.instance }} is at {{ $value | humanize }}   ──►   {instance} is at {value}

A field becomes its name; what formats one is dropped and noted; loops, conditions and queries are left out and noted,
as `alert/template.py` evaluates nothing. Braces of the text are doubled, as that asks.
"""

import re
from typing import Final, NamedTuple

from hms_ops.alert.template import FACTS, TAG

ACTION: Final = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
FIELD: Final = re.compile(r"(?:\$labels|\.Labels|\$\.Labels)\.([A-Za-z_]\w*)|(\$value|\.Value|\$\.Value)(?!\w)")
INDEXED: Final = re.compile(r"index\s+(?:\$labels|\.Labels)\s+\"([^\"]+)\"")
BLOCKS: Final = re.compile(
    r"\s*(?:range|if|else|end|with|define|template|block|query|\$\w+\s*:?=)\b|.*\bquery\b", re.DOTALL
)
LEFT_OUT: Final = "…"
SHARED: Final = {"severity": "severity", "alertname": "name"}  # facts that are labels as well


class Text(NamedTuple):
    """An annotation here, and what was lost of it; notes is empty when it says the same."""

    text: str
    notes: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        return not self.notes


def annotation(template: str) -> Text:
    """A Go template as one of this engine's."""
    notes: dict[str, None] = {}
    parts: list[str] = []
    end = 0
    for found in ACTION.finditer(template):
        parts.append(escaped(template[end : found.start()]))
        parts.append(field_of(found[1].strip(), notes))
        end = found.end()
    parts.append(escaped(template[end:]))
    return Text("".join(parts), tuple(notes))


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def field_of(action: str, notes: dict[str, None]) -> str:
    """`{name}` of the one field that an action shows."""
    if action.startswith("/*"):
        return ""
    if BLOCKS.match(action):
        notes[f"{{{{ {action} }}}} is not evaluated here"] = None
        return LEFT_OUT
    names = {named(one[1]) for one in FIELD.finditer(action)} | {named(one[1]) for one in INDEXED.finditer(action)}
    if len(names) != 1:
        notes[f"{{{{ {action} }}}} is no field of an alert"] = None
        return LEFT_OUT
    name = names.pop()
    if name == "value" or not FIELD.fullmatch(action):
        notes[f"{{{{ {action} }}}} is shown with the six digits of a value, or as it is"] = None
    return f"{{{name}}}"


def named(label: str | None) -> str:
    """The name here of a label, or of the value; a label that a fact of the alert hides is asked for as a tag."""
    if label is None:
        return "value"
    if label in SHARED:
        return SHARED[label]
    return f"{TAG}{label}" if label in FACTS else label
