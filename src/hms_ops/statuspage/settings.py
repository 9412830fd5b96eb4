"""What the public status page shows: the setting `status` of engine.yaml.

    status:
      title: Tax services
      services:
        - {name: refunds, label: Refund payments, outage: [db.write_slow], degraded: [finance.latency_high]}

A service is out while a rule of `outage` fires, and degraded while one of `degraded` does. Nothing else of a rule is
ever shown: no expression, no value, no tag.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hms_ops.errors import ConfigError
from hms_ops.setting import Kind, plain, read_section, setting, show_section
from hms_ops.yamlfile import Node

SERVICES_MAX: Final = 100
RULES_MAX: Final = 20
LABEL_CHARS_MAX: Final = 100
PROSE_CHARS_MAX: Final = 1_000
SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,49}\Z")
ALL: Final = "all"  # the badge of the whole page


def convert_slug(value: Any) -> str:
    if not isinstance(value, str) or SLUG.match(value) is None or value == ALL:
        raise ValueError
    return value


def convert_rules(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > RULES_MAX:
        raise ValueError
    if not all(isinstance(name, str) and name for name in value):
        raise ValueError
    return tuple(value)


def line_of_text(chars_max: int) -> Kind[str]:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or len(value) > chars_max:
            raise ValueError
        return value.strip()

    return plain(f"text of at most {chars_max:,} characters", convert)


NAME: Final = plain(f"a short name of a-z, 0-9 and '-', other than '{ALL}', as in refunds", convert_slug)
RULES: Final = plain(f"a list of at most {RULES_MAX} names of rules", convert_rules, list)


@dataclass(frozen=True)
class Service:
    """One line of the page. outage, degraded: names of rules."""

    name: str = setting("", NAME)
    label: str = setting("", line_of_text(LABEL_CHARS_MAX))
    outage: tuple[str, ...] = setting((), RULES)
    degraded: tuple[str, ...] = setting((), RULES)

    @property
    def rules(self) -> tuple[str, ...]:
        return (*self.outage, *self.degraded)


def read_services(node: Node, path: str, base: Path) -> tuple[Service, ...]:
    """All services; ConfigError gathers the problems of all."""
    problems: list[str] = []
    found: dict[str, Service] = {}
    for number, element in enumerate(node.elements()):
        try:
            service: Service = read_section(element, Service, f"{path}[{number}].", base)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        if problem := problem_of(service, found):
            problems.append(element.problem(f"{path}[{number}] {problem}"))
        found[service.name] = service
    if len(found) > SERVICES_MAX:
        problems.append(node.problem(f"{path} has {len(found)} services; {SERVICES_MAX} are allowed"))
    if problems:
        raise ConfigError(*problems)
    return tuple(found.values())


def problem_of(service: Service, others: dict[str, Service]) -> str:
    if not service.name:
        return "has no name; give one, as in name: refunds"
    if service.name in others:
        return f"has the name {service.name!r} of another service"
    return "" if service.rules else "is watched by no rule; name some under outage or degraded"


SERVICES: Final = Kind(read_services, lambda services: [show_section(service) for service in services])


@dataclass(frozen=True)
class StatusPage:
    """title, message: what the public reads above the services; the message is for what no rule can say."""

    title: str = setting("Service status", line_of_text(LABEL_CHARS_MAX))
    message: str = setting("", line_of_text(PROSE_CHARS_MAX))
    services: tuple[Service, ...] = setting((), SERVICES)
