"""Imported rules as a rule file of ours, in YAML: each rule after a comment that says how well it was taken over.

    # HighErrorRate (web.rules.yaml:12): approximate
    #   rate(errors_total[5m]): Prometheus extrapolates …
    - alert: HighErrorRate
      if: …

What cannot be said stands as a comment with its expression, so that nobody loses sight of it.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import yaml

from hms_ops.prometheus.rulesfile import Imported
from hms_ops.prometheus.vector import GRADES

HEADER: Final = "# Made by hms-ops-engine rules import."
YAML_COLUMNS: Final = 110


def rule_file(made: Iterable[Imported]) -> str:
    """The text of a rule file with all that could be imported."""
    everything = list(made)
    lines = [HEADER, f"# {summary(everything)}", "rules:" if any(one.rule for one in everything) else "rules: []"]
    for one in everything:
        lines += ["", *rule_lines(one)]
    return "\n".join([*lines, ""])


def summary(made: Iterable[Imported]) -> str:
    """How many rules there are of each grade."""
    alerts = Counter(one.grade for one in made if one.origin.alert)
    text = ", ".join(f"{alerts[grade]} {grade}" for grade in GRADES)
    return f"{alerts.total()} alerts: {text}"


def rule_lines(one: Imported) -> list[str]:
    origin = one.origin
    what = "recorded, " if origin.record else ""
    grade = "read by its expression" if one.inlined else one.grade
    lines = [comment(f"{one.name} ({origin.source}): {what}{grade}")]
    lines += [comment(f"  {reason}") for reason in (*(note.text for note in one.notes), *one.text_notes)]
    if one.keys is None:
        return [*lines, *([] if one.inlined else [comment(f"  expr: {origin.expr}")])]
    text = yaml.safe_dump([dict(one.keys)], sort_keys=False, allow_unicode=True, width=YAML_COLUMNS)
    return [*lines, *(f"  {line}" if line else "" for line in text.rstrip("\n").split("\n"))]


def comment(text: str) -> str:
    return "  # " + " ".join(text.split()) if not text.startswith("  ") else "  #   " + " ".join(text.split())
