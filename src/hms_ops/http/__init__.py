"""The engine over HTTP: `server.py` is the way in, and the only module here that the engine imports.

  socket ─► connection (bounds) ─► guard (who may ask) ─► delivery (ETag, gzip) ─► routes ─► engine
                                                                              └─► stream ◄── hms-stream, a thread

Only this package imports starlette and uvicorn. Each module has its `ROUTES` and, beside them, `DOCS`, of which
/openapi.json and /docs are made. docs/http.md says what each path takes and answers. `dashboard/` is built (make ui).
"""
