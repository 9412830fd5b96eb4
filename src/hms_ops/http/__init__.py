"""The engine over HTTP: `server.py` is the way in, and the only module here that the engine imports.

  socket ─► connection (bounds) ─► guard (who may ask) ─► routes ─► lookup · alerts · ingest · metrics · page ─► engine

Only this package imports starlette and uvicorn. docs/http.md says what each path takes and answers. Not here: the
dashboard, the live stream, acknowledgements and silences, TLS.
"""
