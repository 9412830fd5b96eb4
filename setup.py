"""Builds the native core: every `src/hms_ops/**/*.pyx` becomes the extension of the same dotted name.

All Cython directives and compiler flags live here, once; a directive in a `.pyx` would silently win over them. The
environment variable HMS_OPS_BUILD chooses the build:

    release    (default) no bounds checks, -O3 for any x86-64
    debug      bounds checks, asserts, -O1 -g
    sanitize   debug with the address and undefined-behaviour sanitizers
    annotate   release, and an HTML page per module that shows where Python is still called (build/annotate/)

Each build keeps its generated C and objects under `build/<name>/`, so that they never mix. An extension is rebuilt only
when its `.pyx`, a `.pxd`, a header or this file is newer.
"""

import os
import platform
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

BUILDS = ("release", "debug", "sanitize", "annotate")
ROOT = Path(__file__).parent
PACKAGE = Path("src/hms_ops")

BUILD = os.environ.get("HMS_OPS_BUILD") or "release"
if BUILD not in BUILDS:
    sys.exit(f"setup.py: HMS_OPS_BUILD={BUILD!r} is none of {', '.join(BUILDS)}")
CHECKED = BUILD in ("debug", "sanitize")

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "cdivision": not CHECKED,
    "initializedcheck": CHECKED,
    "embedsignature": True,
}

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
# Baseline on purpose: measured within a tenth of -march=native, and one wheel serves every x86-64 machine.
PORTABLE = ["-march=x86-64", "-mtune=generic"] if platform.machine() == "x86_64" else []
COMPILE = {
    "release": ["-O3", "-g0", *PORTABLE],
    "annotate": ["-O3", *PORTABLE],
    "debug": ["-O1", "-g", "-UNDEBUG", *PORTABLE],
    "sanitize": ["-O1", "-g", "-UNDEBUG", *PORTABLE, *SANITIZERS],
}
LINK = SANITIZERS[:1] if BUILD == "sanitize" else []


def depends() -> list[str]:
    """What every extension is rebuilt for: headers, shared declarations and this file."""
    return ["setup.py", *sorted(str(path) for pattern in ("*.h", "*.pxd") for path in PACKAGE.rglob(pattern))]


def extension(source: Path) -> Extension:
    """The extension of one `.pyx`, named by its path below `src/`."""
    return Extension(
        ".".join(source.with_suffix("").parts[1:]),
        [str(source)],
        include_dirs=[str(ROOT.resolve() / PACKAGE)],
        depends=depends(),
        extra_compile_args=COMPILE[BUILD],
        extra_link_args=LINK,
        libraries=["m"],
        language="c",
    )


def generated_is_older_than_setup(source: Path) -> bool:
    """Cython looks at `.pyx` and `.pxd` only: a changed directive here must regenerate the C too."""
    generated = Path("build", BUILD, "cython", source).with_suffix(".c")
    return generated.exists() and generated.stat().st_mtime < (ROOT / "setup.py").stat().st_mtime


if __name__ == "__main__":  # cythonize starts processes, which import this file again
    os.chdir(ROOT)
    sources = sorted(PACKAGE.rglob("*.pyx"))
    extensions = cythonize(
        [extension(source) for source in sources],
        compiler_directives=DIRECTIVES,
        build_dir=f"build/{BUILD}/cython",
        include_path=["src"],
        annotate=BUILD == "annotate",
        force=any(map(generated_is_older_than_setup, sources)),
        nthreads=2 if len(sources) > 1 else 0,
        quiet=True,
    )
    setup(
        ext_modules=extensions,
        options={"build": {"build_base": f"build/{BUILD}"}, "build_ext": {"parallel": 2}},
    )
