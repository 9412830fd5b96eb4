"""The harnesses crash.py and flips.py, briefly: they pass, and find what is planted. `make faults` is the long run."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def harness(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, for it forks."""
    words = [sys.executable, str(TESTS / name), *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.slow
def test_no_commit_is_lost_torn_or_doubled_by_a_few_kills_and_planted_faults_are_found() -> None:
    done = harness("crash.py", "--kills", "8", "--seconds", "12", "--plant")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": found") == 4
    assert "none lost, torn or doubled" in done.stdout


@pytest.mark.slow
def test_a_few_hundred_flipped_bits_are_noticed_or_harmless() -> None:
    done = harness("flips.py", "--flips", "300")
    assert done.returncode == 0, done.stdout + done.stderr


def test_flipped_bits_are_found_when_nobody_counts_them() -> None:
    done = harness("flips.py", "--flips", "60", "--seed", "1", "--plant")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the planted fault was found" in done.stdout
