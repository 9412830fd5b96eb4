"""The SDK that services carry: emit metrics to an engine over the network, set alerts, ask questions.

    from hms_ops.client import ops
    ops.metric("finance.api_ms", 240.0, tags={"agency": "irs"})

A sample's way: `emit.Client` makes it a line (`wire`), the line waits in a bounded buffer (`buffer`), a daemon thread
(`flusher`) packs lines into datagrams and sends them (`transport`). `timed` measures, `api` speaks HTTP.

Emitting never blocks, never raises and is safe across fork; what is turned away is counted, see `Client.counters()`.
Standard library only, and nothing of the engine: a service that imports this loads no numpy.
Guide: docs/client.md.
"""

from hms_ops.client.api import RequestError, Unreachable
from hms_ops.client.emit import Client

__all__ = ["Client", "RequestError", "Unreachable", "ops"]

ops = Client()
"""The default client: HMS_OPS_URL and HMS_OPS_HTTP say where to, read when it is first used."""
