"""HMS-OPS: metrics in, windows, alerts and history out.

The names below load on first use, so that `import hms_ops` costs nothing and loads neither numpy nor numba: the command
line and the client SDK (`hms_ops.client`) live in the same package and need neither.
"""

TYPE_CHECKING = False  # typing's own would cost 10 ms, and type checkers know this one by its name
if TYPE_CHECKING:
    from hms_ops.alert.notification import Alert
    from hms_ops.engine import Engine, Series
    from hms_ops.errors import (
        ConfigError,
        ExpressionError,
        HmsOpsError,
        StartError,
        StorageError,
        UnknownMetricError,
        Unreachable,
    )

__version__ = "0.1.0"

__all__ = [
    "Alert",
    "ConfigError",
    "Engine",
    "ExpressionError",
    "HmsOpsError",
    "Series",
    "StartError",
    "StorageError",
    "UnknownMetricError",
    "Unreachable",
]

_HOMES = {"Engine": "hms_ops.engine", "Series": "hms_ops.engine", "Alert": "hms_ops.alert.notification"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'hms_ops' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES.get(name, "hms_ops.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
