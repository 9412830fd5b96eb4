"""Compiles every kernel, or loads it from the cache: `python -m hms_ops.kernels.warm`, which `make` calls.

Explicit signatures compile at import, so importing is all there is to do.
"""

import importlib
import sys
import time
from pathlib import Path


def warm() -> list[str]:
    """Import all kernel modules; returns their names."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if path.stem != "warm")
    for name in names:
        importlib.import_module(f"hms_ops.kernels.{name}")
    return names


if __name__ == "__main__":
    begun = time.perf_counter()
    modules = warm()
    print(f"{len(modules)} kernel modules are warm after {time.perf_counter() - begun:.1f} s", file=sys.stderr)
