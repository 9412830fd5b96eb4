"""The daemon's log lines: one line each, nothing forged in them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from hms_ops.logs import configure


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """The package's logger as it was."""
    logger = logging.getLogger("hms_ops")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def logged(log_format: str, in_journal: bool = False) -> str:
    stream = io.StringIO()
    configure(log_format, "info", stream, in_journal)
    log = logging.getLogger("hms_ops.test")
    log.debug("not shown")
    log.warning("datagram from %s", "a\nb\x1b[2J", extra={"fields": {"port": 8125, "name": "x\ny"}})
    return stream.getvalue()


def test_a_text_line_stays_one_line_whatever_strangers_put_in_it() -> None:
    line = logged("text")
    assert line.count("\n") == 1
    assert line.endswith(" warning hms_ops.test  datagram from a\\x0ab\\x1b[2J port=8125 name='x\\ny'\n")


def test_a_json_line_has_its_fields_beside_the_message() -> None:
    entry = json.loads(logged("json"))
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "warning",
        "logger": "hms_ops.test",
        "message": "datagram from a\\x0ab\\x1b[2J",
        "port": 8125,
        "name": "x\ny",
    }


def test_the_journal_gets_its_level_in_front_and_no_time() -> None:
    assert logged("text", in_journal=True).startswith("<4>warning hms_ops.test  datagram")


def test_an_exception_is_told_in_both_formats() -> None:
    for log_format in ("text", "json"):
        stream = io.StringIO()
        configure(log_format, "info", stream)
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("hms_ops.test").exception("what")
        assert "ValueError: why" in stream.getvalue()


def test_configuring_twice_logs_once() -> None:
    configure("text", "info", io.StringIO())
    assert logged("text").count("\n") == 1
