"""The live stream: `GET /v1/stream` beside the ingest engine. A part of the HTTP edge; http/stream.py is its door.

    tick ──sealed second──► hub (thread hms-stream)
    engine.watch ─events──►   members → table → cells, encoded once   ring of events, encoded once
                                  └──────── frames ────────┘
                                               │ one call into the event loop
                                               ▼
                              outflow of each client (bounded) ──► its connection

`wanted` says what one stream asks for, `members` follows which series these metrics have, `table` pools and encodes the
cells of a second, `documents` and `ring` do the same for events, `frame` is the wire format, `outflow` one client's
queue, `feed` what each turn sends to whom, the past included, `hub` the thread that joins them.
"""
