"""Compiles every kernel, or loads it from the cache: `python -m hms_ops.kernels.warm`, which `make` calls.

Explicit signatures compile at import, so importing is all there is to do.
"""

import importlib
import pkgutil
import sys
import time

import hms_ops.kernels


def warm() -> list[str]:
    """Import all kernel modules; returns their names."""
    names = sorted(module.name for module in pkgutil.iter_modules(hms_ops.kernels.__path__) if module.name != "warm")
    for name in names:
        importlib.import_module(f"hms_ops.kernels.{name}")
    return names


if __name__ == "__main__":
    begun = time.perf_counter()
    modules = warm()
    print(f"{len(modules)} kernel modules are warm after {time.perf_counter() - begun:.1f} s", file=sys.stderr)
