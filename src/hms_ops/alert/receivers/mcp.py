"""`mcp:repair#heal`: a call of the tool `heal` of the MCP server `repair`, such as an AI repair agent.

    receivers:
      repair: {mcp: {command: [repair-agent, --stdio], env: {TOKEN: "${env:REPAIR_TOKEN}"}, timeout: 2m}}
      remote: {url: "https://agent/mcp", headers: {Authorization: "${file:token}"}, mcp: {argument: incident}}

The tool gets one argument, `alert` unless the profile names another: the document of our webhooks (all alerts of the
notification, with labels and annotations) with `summary`, `why` and `idempotency_key` added. Called by the official SDK
in a process of its own (`child.py`, `hms_ops/children/by_mcp.py`). A call may take as long as `timeout` says, at most
TIMEOUT_SECONDS_MAX; one that ran out comes again with the same key. A tool that says it failed is not called again.
"""

from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.notification import Dead, Notification, Outcome, Profile, summary
from hms_ops.alert.receivers.child import MCP
from hms_ops.alert.receivers.section import HIDDEN_MAP, LINE, WORDS
from hms_ops.alert.receivers.webhook import payload
from hms_ops.secret import Secret
from hms_ops.setting import duration, setting

TIMEOUT_SECONDS_MAX: Final = 300.0


@dataclass(frozen=True)
class McpServer:
    """The section `mcp` of a profile: a command, or with the profile's `url` a server elsewhere."""

    command: tuple[Secret, ...] = setting((), WORDS)
    env: tuple[tuple[str, Secret], ...] = setting((), HIDDEN_MAP)
    argument: str = setting("alert", LINE)
    timeout_seconds: float = setting(30.0, duration("1s", f"{TIMEOUT_SECONDS_MAX:g}s"), key="timeout")

    def problem(self, url: str) -> str:
        if bool(self.command) == bool(url):
            return "has both a command and a url; give one" if url else "has neither a command nor a url; give one"
        return "has an env without a command" if self.env and url else ""


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """Call the tool behind the `#` of the address."""
    server = profile.options.get("mcp", McpServer()) if profile else None
    if profile is None or not isinstance(server, McpServer):
        return Dead("no MCP server is configured; set receivers.NAME.mcp")
    request = {
        **place_of(server, profile),
        "tool": address.partition("#")[2],
        "arguments": {server.argument: document_of(notification)},
    }
    return MCP.ask(request, server.timeout_seconds)


def place_of(server: McpServer, profile: Profile) -> dict[str, Any]:
    """Where the server is, as the child wants it."""
    if profile.url:
        return {"url": profile.url, "headers": dict(profile.headers)}
    return {
        "command": [word.value for word in server.command],
        "env": {name: secret.value for name, secret in server.env},
    }


def document_of(notification: Notification) -> dict[str, Any]:
    return {
        **payload(notification),
        "summary": summary(notification),
        "why": notification.why,
        "idempotency_key": notification.idempotency_key,
    }
