"""Calls one tool of an MCP server through the official SDK, in a process of its own.

    → {"command": ["agent", "--stdio"], "env": {"TOKEN": "…"}, "tool": "heal", "arguments": {…}, "seconds": 30.0}
    → {"url": "https://agent/mcp", "headers": {"Authorization": "…"}, "tool": …, "arguments": …, "seconds": …}

A server of a command is started for the call and ended after it; one at a URL is spoken to by streamable HTTP. A tool
that answers that it failed has had the alert: dead, since nobody knows what a second call would do. So is what the
server refuses as wrong (PERMANENT_CODES, or HTTP 4xx as its last answer). Everything else, a time that ran out
included, comes again.
"""

from typing import Any, Final

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, CallToolResult, Implementation, TextContent

import hms_ops
from hms_ops.children.serving import outcome, serve

# Not INVALID_REQUEST: the SDK says so too of an answer that is no MCP's, as a proxy gives that has lost its server.
PERMANENT_CODES: Final = (INVALID_PARAMS, METHOD_NOT_FOUND)
PASSING_STATUS: Final = (408, 425, 429)


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Call it; see the module for what is asked and answered."""
    call = Call(request)
    try:
        anyio.run(call.run)
    except BaseException as error:
        # What goes wrong in taking leave of a server that has answered must not make it be called again.
        if call.result is None:
            return failed(leaf(error), call.status)
    assert call.result is not None
    told = text_of(call.result)
    is_error = call.result.is_error
    return outcome("dead", f"the tool failed: {told}") if is_error else outcome("delivered", told or "called")


class Call:
    """One call: its result as soon as it is there, and the status of the last answer over HTTP, 0 for none."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.result: CallToolResult | None = None
        self.status = 0

    async def run(self) -> None:
        with anyio.fail_after(self.request["seconds"]):
            if "url" not in self.request:
                await self.call_at(started_by(self.request))
                return
            async with create_mcp_http_client(headers=self.request["headers"]) as http_client:
                http_client.event_hooks = {"response": [self.note_status]}
                await self.call_at(streamable_http_client(self.request["url"], http_client=http_client))

    async def call_at(self, server: Any) -> None:
        told = Implementation(name="hms-ops", version=hms_ops.__version__)
        async with Client(server, client_info=told, read_timeout_seconds=self.request["seconds"]) as client:
            self.result = await client.call_tool(self.request["tool"], self.request["arguments"])

    async def note_status(self, response: httpx2.Response) -> None:
        """The SDK tells an error of HTTP as one of its own, without the status."""
        self.status = response.status_code


def started_by(request: dict[str, Any]) -> StdioServerParameters:
    program, *arguments = request["command"]
    return StdioServerParameters(command=program, args=arguments, env=request["env"])


def leaf(error: BaseException) -> BaseException:
    """What is to blame in a group of errors, of which the SDK makes one for each task of its own."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, Exception):
        raise error
    return error


def failed(error: BaseException, status: int) -> dict[str, Any]:
    if status >= 400:
        is_permanent = status < 500 and status not in PASSING_STATUS
        return outcome("dead" if is_permanent else "retry", f"HTTP {status}: {error}")
    if isinstance(error, MCPError):
        became = "dead" if error.code in PERMANENT_CODES else "retry"
        return outcome(became, f"MCP error {error.code}: {error.message}")
    if isinstance(error, TimeoutError):
        return outcome("retry", "timed out")
    return outcome("retry", f"{type(error).__name__}: {error}")


def text_of(result: CallToolResult) -> str:
    return " ".join(part.text for part in result.content if isinstance(part, TextContent))


if __name__ == "__main__":
    serve(handle)
