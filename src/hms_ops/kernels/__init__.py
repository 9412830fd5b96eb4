"""Numba kernels over the store's columns; see each module. Importing this package imports no kernel.

Compiled kernels are cached on disk. Numba fails where its cache cannot be written, so the directory is chosen here,
before numba is imported: beside the sources where that can be written, else in the user's cache, else in a new
temporary directory, which means compiling at each start. NUMBA_CACHE_DIR wins over all of it.
"""

import os
import sys
import tempfile
from pathlib import Path


def _is_writable(directory: Path) -> bool:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _cache_directory() -> str:
    """The first of the candidates that takes a file."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    candidates = (Path(__file__).parent / "__pycache__", Path(home) / "hms-ops" / "numba")
    return str(next(filter(_is_writable, candidates), None) or tempfile.mkdtemp(prefix="hms-ops-numba-"))


if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = _cache_directory()
    if "numba" in sys.modules:
        # The host process has imported it already; numba has read its environment then.
        sys.modules["numba"].config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]
