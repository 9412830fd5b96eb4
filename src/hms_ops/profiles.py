"""The `receivers:` of a configuration: named profiles, with the credentials and settings that receivers need.

    receivers:
      ops: {url: "https://pager/hook", headers: {Authorization: "Bearer ${env:PAGER_TOKEN}"}}
      email: {email: {host: smtp.agency.gov, from: ops@agency.gov}, template: {title: "{state}: {name}"}}

A profile has a `url` with `headers`, or one section of `SECTIONS` that says which receiver it is for, or both;
`template` words what people get (alert/template.py). The section's class stands with its receiver. Read when the file
is: everything wrong is a problem `file:line: …`, all of a file at once. Nothing secret is ever shown: headers, tokens,
passwords and the addresses of chat services are `***` (secret.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from hms_ops.alert.notification import Profile
from hms_ops.alert.receivers import is_http
from hms_ops.alert.receivers.alertmanager import AlertmanagerPeer
from hms_ops.alert.receivers.apprise import AppriseService
from hms_ops.alert.receivers.mail import MailServer
from hms_ops.alert.receivers.mcp import McpServer
from hms_ops.alert.receivers.message import Template, template_of
from hms_ops.alert.receivers.pagerduty import PagerdutyService
from hms_ops.alert.receivers.slack import SlackAccount
from hms_ops.alert.template import FACTS, MESSAGE_FACTS, TAG, names_in
from hms_ops.errors import ConfigError
from hms_ops.secret import PLAIN_HEADERS, Secret, read_secret
from hms_ops.setting import Kind, quoted, read_section, show_section
from hms_ops.yamlfile import Node, unknown_keys

SECTIONS: Final[dict[str, type[Any]]] = {
    "email": MailServer,
    "slack": SlackAccount,
    "mcp": McpServer,
    "apprise": AppriseService,
    "alertmanager": AlertmanagerPeer,
    "pagerduty": PagerdutyService,
}
KEYS: Final = ("url", "headers", "template", *SECTIONS)
TEMPLATE_KEYS: Final = ("title", "text")
NEAR: Final = 0.75  # of difflib: `sate` is near `state`, `agency` near nothing
# Their URLs are credentials: who knows one may write there.
SECRET_URLS: Final = ("slack",)


@dataclass(frozen=True)
class Receiver:
    """A named receiver's profile, references replaced; `shown` is the same for people."""

    name: str
    profile: Profile
    shown: Mapping[str, Any]
    source: str = field(default="", compare=False)


def read_receivers(node: Node, path: str, base: Path) -> tuple[Receiver, ...]:
    problems: list[str] = []
    receivers = []
    for name, child in node.items():
        try:
            receivers.append(read_receiver(name, child, f"{path}.{name}", base))
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return tuple(receivers)


def read_receiver(name: str, node: Node, path: str, base: Path) -> Receiver:
    if problems := unknown_keys(node, KEYS):
        raise ConfigError(*problems)
    url, headers = read_url(name, node, path, base), read_headers(node, path, base)
    sections = {key: child for key, child in node.items() if key in SECTIONS}
    options = {key: read_options(child, key, f"{path}.{key}", url, base) for key, child in sections.items()}
    if len(sections) > 1:
        raise ConfigError(node.problem(f"{path} has {' and '.join(sections)}; a profile is for one, split it"))
    if url is None and not sections:
        raise ConfigError(node.problem(f"{path} has no url; give the address to post to"))
    template = read_template(node.get("template"), f"{path}.template")
    shown = {key: show_section(value) for key, value in options.items()} | shown_template(template)
    shown |= ({"url": url.shown} if url else {}) | ({"headers": shown_headers(headers)} if headers else {})
    profile = Profile(
        url.value if url else "",
        {key: secret.value for key, secret in headers.items()},
        {**options, "template": template} if template else options,
    )
    return Receiver(name, profile, shown, node.where)


def read_url(name: str, node: Node, path: str, base: Path) -> Secret | None:
    address = node.get("url")
    if address is None:
        return None
    is_secret = name in SECRET_URLS or any(node.get(key) is not None for key in SECRET_URLS)
    url = read_secret(address, f"{path}.url", base, is_secret=is_secret)
    if not is_http(url.value):
        raise ConfigError(address.problem(f"{path}.url is {quoted(url.shown)}; give http://HOST/… or https://HOST/…"))
    return url


def read_headers(node: Node, path: str, base: Path) -> dict[str, Secret]:
    """Any header may carry a credential, so none is shown unless it is a plain name of a type."""
    headers = node.get("headers")
    return {
        key: read_secret(child, f"{path}.headers.{key}", base, is_secret=key.lower() not in PLAIN_HEADERS)
        for key, child in (headers.items() if headers else ())
    }


def shown_headers(headers: Mapping[str, Secret]) -> dict[str, str]:
    return {key: str(secret) for key, secret in headers.items()}


def read_options(node: Node, key: str, path: str, url: Secret | None, base: Path) -> Any:
    """A section as its class, and right as a whole."""
    values = read_section(node, SECTIONS[key], f"{path}.", base)
    if problem := values.problem(url.value if url else ""):
        raise ConfigError(node.problem(f"{path} {problem}"))
    return values


def read_template(node: Node | None, path: str) -> Template | None:
    """The wording of a receiver; see `template_warnings` for its names."""
    if node is None:
        return None
    if problems := unknown_keys(node, TEMPLATE_KEYS):
        raise ConfigError(*problems)
    for key, child in node.items():
        if not isinstance(child.value, str):
            raise ConfigError(child.problem(f"{path}.{key} is {quoted(child.value)}; give text"))
    return Template(**{key: child.value for key, child in node.items()})


def shown_template(template: Template | None) -> dict[str, Any]:
    given = {key: text for key in TEMPLATE_KEYS if template and (text := getattr(template, key))}
    return {"template": given} if given else {}


def template_warnings(receivers: Iterable[Receiver]) -> list[str]:
    """`file:line: …` for each name in a template that is no fact and nearly one; any other may be a tag's."""
    facts = (*FACTS, *MESSAGE_FACTS)
    warnings = []
    for receiver in receivers:
        template = template_of(receiver.profile)
        for name in dict.fromkeys((*names_in(template.title), *names_in(template.text))):
            near = [] if name in facts or name.startswith(TAG) else get_close_matches(name, facts, 1, NEAR)
            if near:
                told = f"the template of receivers.{receiver.name} takes {{{name}}} for a tag"
                warnings.append(f"{receiver.source}: {told}; did you mean {{{near[0]}}}?")
    return warnings


RECEIVERS: Final = Kind(
    read_receivers, lambda receivers: {receiver.name: dict(receiver.shown) for receiver in receivers}
)
