"""Programs of the engine that run in processes of their own, because what they import is not the engine's.

`by_apprise` sends through apprise, `by_mcp` calls a tool of an MCP server. `alert/receivers/child.py` starts each as
`python -m hms_ops.children.NAME`; the engine never imports them: its memory, its threads and its import time stay free
of both libraries, and a send that hangs is a process that can be killed. `serving` is what they share, of the standard
library only.

Protocol, over a socket that is the child's standard input: one line of JSON each way, one request at a time.

    → {"seconds": 10.0, …}                          what to send, and how long that may take
    ← {"outcome": "delivered" | "retry" | "dead", "detail": "…", "after_seconds": 3.0 | null}
    ← {"bye": true}                                 instead: nothing came for long, and this request was not read

A child ends by itself when the engine hangs up, when the engine is gone, and when nothing came for IDLE_SECONDS_MAX.
"""
