"""Which machine it was: a figure without it says nothing."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path


def cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def machine() -> dict[str, str | int]:
    """CPU, cores we may use, kernel, Python, and the day, as text and numbers for JSON."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def text_of(about: dict[str, str | int]) -> str:
    """One line for people."""
    cores = f"{about['cores']} core{'s' if about['cores'] != 1 else ''}"
    return f"{about['cpu']}, {cores}, Linux {about['kernel']}, Python {about['python']}, {about['date']}"
