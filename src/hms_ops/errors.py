"""Errors a user of HMS-OPS can meet. Bad data is never one of them: it is counted, see `Engine.ledger()`."""


class HmsOpsError(Exception):
    """The base of all errors below; its text says what, why and what to do."""


class ConfigError(HmsOpsError):
    """A configuration or rule file, or a setting, is invalid. `problems`: a `file:line: what, why, what to do` each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StartError(HmsOpsError):
    """The engine cannot start: a port or a data directory is in use or not ours."""


class ForkedError(HmsOpsError):
    """A forked child asked its parent's engine something; there it is only a client."""


class StorageError(HmsOpsError):
    """History on disk cannot be opened, read or written."""


class RemoteError(HmsOpsError):
    """The server that history is sent to did not answer a query."""


class ExpressionError(HmsOpsError):
    """An expression of the alert language is wrong; the text shows the line with a caret under `column` (from 1)."""

    def __init__(self, message: str, text: str, line: int, column: int) -> None:
        lines = text.splitlines() or [""]
        start = max(0, column - 80)  # a long line is shown from here, so that the caret stays in sight
        shown = "".join(c if c.isprintable() else " " for c in lines[line - 1][start : start + 120])
        super().__init__(f"line {line}, column {column}: {message}\n  {shown}\n  {' ' * (column - 1 - start)}^")
        self.message = message
        self.line = line
        self.column = column


class UnknownMetricError(HmsOpsError):
    """A query names a metric nobody has sent; `nearest` are the closest names there are."""

    def __init__(self, name: str, nearest: list[str]) -> None:
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
        super().__init__(f"no metric {name!r} has been seen{hint}")
        self.name = name
        self.nearest = nearest


class Busy(HmsOpsError):
    """A command was not carried out in time; whether it will be is not known."""


class Unreachable(HmsOpsError):
    """No engine answers at the address."""
