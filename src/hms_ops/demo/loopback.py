"""A JSON service on a free port of loopback: one path, POST only, one function that answers.

The stand-ins of the gateway and of the action service are made of it. Answers 404 for another path, 405 for another
method, 411 and 413 for a body without or beyond its length, 400 for a body that is no JSON object or that the function
refuses with ValueError. A connection that says nothing is dropped after QUIET_SECONDS.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

BODY_BYTES_MAX: Final = 65_536
QUIET_SECONDS: Final = 5.0

Document = dict[str, Any]
Answer = Callable[[Document], Document]


@contextmanager
def serving(name: str, path: str, answer: Answer) -> Iterator[str]:
    """Serve `answer` at `path`; yields the service's base URL. `answer` is called from the server's threads."""
    server = Server(("127.0.0.1", 0), handler_of(path, answer))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name=f"demo-{name}", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        """Bind, but never ask for the host's name as http.server does: without a name server that takes seconds."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left in the middle is its own affair."""


def handler_of(path: str, answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = QUIET_SECONDS

        def do_POST(self) -> None:
            status, document = self.respond()
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_error(405, "POST only")

        def respond(self) -> tuple[int, Document]:
            if self.path != path:
                return 404, {"error": f"no such path; POST {path}"}
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal():
                return 411, {"error": "Content-Length is missing"}
            if int(length) > BODY_BYTES_MAX:
                return 413, {"error": f"more than {BODY_BYTES_MAX} bytes"}
            try:
                return 200, answer(object_of(self.rfile.read(int(length))))
            except ValueError as error:
                return 400, {"error": str(error)}

        def log_message(self, format: str, *args: Any) -> None:
            """Silent: the demo's screen tells what arrived."""

    return Handler


def object_of(body: bytes) -> Document:
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, found {type(document).__name__}")
    return document
