"""What a rule means: its clauses in plain words with their defaults, and the parts it is made of, each a query.

    ALERT slow WHEN avg(api_ms) > 200 FOR 3m      fires when the average of api_ms over 1m is more than 200
                                                  FOR 3m   after it was true for 3m on end
                                                  parts    avg(api_ms) > 200 · avg(api_ms)

Read by `rules explain`, which asks a running engine for the parts' numbers and PromQL's table for their lowering.
Data: a `Part.query` is a text of the language that value() and /v1/query take; it has the rule's WHERE and GROUP BY, so
its numbers are those the rule is judged by. Pure. Not here: words of nodes (phrases.py), PromQL (remote/).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.language.desugar import with_windows
from hms_ops.alert.language.phrases import condition_phrase, groups_phrase, tags_phrase
from hms_ops.alert.language.tokens import duration_text
from hms_ops.alert.language.tree import (
    Aggregate,
    Arith,
    Condition,
    Query,
    Selector,
    Statement,
    Tags,
    selectors,
    valued,
)
from hms_ops.alert.language.wording import format, format_tags
from hms_ops.alert.plan import DEFAULT_WINDOW_SECONDS
from hms_ops.alert.rule import DEFAULT_SEVERITY, Rule

_NODATA: Final = {
    "keep": "without data everything stays as it is, and the clocks stand still",
    "ok": "without data it ends as if it were calm",
    "alert": "without data it counts as true",
}


class Clause(NamedTuple):
    """One clause. written: as the language has it, "" for none; meaning: in words; is_default: as if not written."""

    word: str
    written: str
    meaning: str
    is_default: bool


class Part(NamedTuple):
    """A part of a rule or query that has a value of its own. depth: how many parts it stands in. role: condition,
    recover or query. query: the text to ask for its value."""

    node: Condition | Arith
    text: str
    depth: int
    role: str
    query: str


def sentence_of(rule: Rule) -> str:
    """The rule as one sentence, with what it was given in keys."""
    return format(
        Statement(
            rule.condition,
            rule.name or None,
            rule.where,
            rule.group_by,
            rule.recover,
            rule.for_seconds or None,
            rule.keep_seconds or None,
            rule.every_seconds if rule.every_seconds != 1 else None,
            rule.nodata if rule.nodata != "keep" else None,
            rule.severity if rule.severity != DEFAULT_SEVERITY else None,
            rule.policy or None,
            rule.notify,
        )
    )


def words_of(rule: Rule) -> list[str]:
    """The rule in sentences: when it fires, when it ends, whom it tells."""
    return [
        f"Fires when {condition_phrase(rule.condition)}{_held(rule.for_seconds)}.",
        f"Ends when {_ending(rule)}{_held(rule.keep_seconds)}.",
        f"{_told(rule)}.",
    ]


def _held(seconds: float) -> str:
    return f", for {duration_text(seconds)} on end" if seconds else ""


def _ending(rule: Rule) -> str:
    return "that is false" + (f" and {condition_phrase(rule.recover)}" if rule.recover is not None else "")


def _told(rule: Rule) -> str:
    whom = ", ".join(map(shown_receiver, rule.notify)) or "whoever the routes name, the log without one"
    return f"There is {groups_phrase(rule.group_by)}, of severity {rule.severity}, told to {whom}"


def clauses_of(rule: Rule) -> list[Clause]:
    """Every clause a sentence can have, those not written with what they default to."""
    return [
        _where(rule.where),
        Clause("GROUP BY", ", ".join(rule.group_by), groups_phrase(rule.group_by), not rule.group_by),
        _recover(rule.recover),
        _duration("FOR", rule.for_seconds, "fires as soon as it is true", "fires when it was true for {} on end"),
        _duration("KEEP", rule.keep_seconds, "ends as soon as it is calm", "ends when it was calm for {} on end"),
        _duration("EVERY", rule.every_seconds, "", "is judged every {}", default=1.0),
        Clause("NODATA", rule.nodata, _NODATA[rule.nodata], rule.nodata == "keep"),
        Clause("SEVERITY", rule.severity, _severity(rule.severity), rule.severity == DEFAULT_SEVERITY),
        Clause("POLICY", rule.policy, _policy(rule.policy), not rule.policy),
        Clause("NOTIFY", ", ".join(rule.notify), _notify(rule.notify), not rule.notify),
    ]


def _where(where: Tags | None) -> Clause:
    if where is None:
        return Clause("WHERE", "", "looks at every series of its metrics", True)
    return Clause("WHERE", format_tags(where), f"looks at series {tags_phrase(where)}", False)


def _recover(recover: Condition | None) -> Clause:
    if recover is None:
        return Clause("RECOVER", "", "is calm when the condition is false", True)
    meaning = f"is calm when the condition is false and {condition_phrase(recover)}"
    return Clause("RECOVER", format(recover), meaning, False)


def _duration(word: str, seconds: float, none: str, some: str, default: float = 0.0) -> Clause:
    shown = duration_text(seconds)
    return Clause(word, shown, some.format(shown) if seconds else none, seconds == default)


def _severity(severity: str) -> str:
    return "is told at once" if severity == DEFAULT_SEVERITY else "waits for others of its group before it is told"


def _policy(policy: str) -> str:
    return f"escalates by the policy {policy}" if policy else "escalates by the first policy that matches, if any does"


def _notify(notify: tuple[str, ...]) -> str:
    return "besides those the routes name" if notify else "the routes name its receivers; without one, the log"


# ---- parts


def parts_of(rule: Rule) -> list[Part]:
    """The condition, what it is made of, and the same of RECOVER; each part once."""
    found = [*_parts(rule.condition, "condition", rule.where, rule.group_by)]
    if rule.recover is not None:
        found += _parts(rule.recover, "recover", rule.where, rule.group_by)
    once: dict[str, Part] = {}
    for part in found:
        once.setdefault(part.query, part)
    return list(once.values())


def seen_query(rule: Rule, node: Arith) -> str:
    """The text to ask for a part over a range, every point as the rule saw it then: with the windows it means."""
    return _query_text(with_windows(node, DEFAULT_WINDOW_SECONDS), rule.where, rule.group_by, "condition")


def parts_of_query(query: Query) -> list[Part]:
    return list(_parts(query.expression, "query", query.where, query.group_by))


def _parts(
    node: Condition | Arith, role: str, where: Tags | None, group_by: tuple[str, ...], depth: int = 0
) -> Iterator[Part]:
    """A node that reads something, then its parts; a selector that only chooses series has no value of its own."""
    if next(selectors(node), None) is None:
        return
    yield Part(node, format(node), depth, role, _query_text(node, where, group_by, role))
    for child in valued(node):
        yield from _parts(child, role, where, group_by, depth + 1)


def _query_text(node: Condition | Arith, where: Tags | None, group_by: tuple[str, ...], role: str) -> str:
    """A bare metric in a rule is the last value of all its series; in a query it would be one value for each."""
    if isinstance(node, Selector) and not group_by and role != "query":
        node = Aggregate("last", node)
    return format(Query(node, where, group_by))
