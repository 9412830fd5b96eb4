"""A repair agent as an MCP server, by the official SDK: `python agent.py stdio`, or `python agent.py http` which prints
its port. What its tools were called with goes to the file AGENT_LOG, a line each. With AGENT_TOKEN it wants that."""

import json
import os
import socket
import sys
import time
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer

server = MCPServer("agent")


def note(tool: str, alert: dict[str, Any]) -> None:
    with open(os.environ["AGENT_LOG"], "a") as log:
        log.write(json.dumps({"tool": tool, "pid": os.getpid(), "alert": alert}) + "\n")


@server.tool()
def heal(alert: dict[str, Any]) -> str:
    note("heal", alert)
    print("a tool that prints")
    return f"healed {alert['alerts'][0]['labels']['alertname']}"


@server.tool()
def refuse(alert: dict[str, Any]) -> str:
    note("refuse", alert)
    raise RuntimeError("I would rather not")


@server.tool()
def ponder(alert: dict[str, Any]) -> str:
    note("ponder", alert)
    time.sleep(60)
    return "done"


def guarded(app: Any, token: str) -> Any:
    async def checked(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and headers.get(b"authorization") != f"Bearer {token}".encode():
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"who are you?"})
            return
        await app(scope, receive, send)

    return checked


def serve_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        app = guarded(server.streamable_http_app(), os.environ["AGENT_TOKEN"])
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    serve_http() if sys.argv[1] == "http" else server.run("stdio")
