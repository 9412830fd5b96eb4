"""Carries out one run of an action: asks the action service, runs the command, or does nothing in a dry run.

The intent is recorded already. What comes of it is a `Done`; nothing is raised, and nothing is tried twice. A request
that was sent and not answered is a failure whose outcome says unknown: it may have run.
"""

import logging
import os
from typing import Any, Final, NamedTuple

from hms_ops.alert.actions.command import Commands
from hms_ops.alert.actions.run import Run, State, environment_of, input_of, request_of
from hms_ops.alert.receivers.post import Answer, Post

LOGGER: Final = logging.getLogger("hms_ops.alert")

RUN_PATH: Final = "/v1/run"
SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Done(NamedTuple):
    """What came of a run; facts go into its records."""

    state: State
    outcome: str
    facts: dict[str, Any]


class Carrier:
    """How runs are carried out. post: asks the service; commands: runs programs."""

    def __init__(self, base_url: str, post: Post) -> None:
        self.commands = Commands()
        self._base_url = base_url
        self._post = post

    def carry_out(self, run: Run) -> Done:
        if run.rule.dry_run:
            return Done("dry", "dry run: nothing was sent", {})
        if run.rule.command:
            return self._run_command(run)
        base_url = run.rule.url or self._base_url
        if not base_url:
            return Done("failed", "not run: no action service is configured (actions.url)", {})
        answer = self._ask(base_url, run)
        return Done("succeeded" if answer.is_success else "failed", word_of(answer), {})

    def _ask(self, base_url: str, run: Run) -> Answer:
        try:
            return self._post(base_url.rstrip("/") + RUN_PATH, request_of(run), {"Idempotency-Key": run.key})
        except Exception as error:
            LOGGER.exception("asking the service of action %s raised", run.rule.name)
            return Answer(error=f"{type(error).__name__}: {error}")

    def _run_command(self, run: Run) -> Done:
        environment = environment_of(run, os.environ.get("PATH") or SEARCH_PATH)
        ended = self.commands.run(run.rule.command, input_of(run), environment, run.rule.timeout_seconds)
        return Done("succeeded" if ended.is_success else "failed", str(ended), {"output": ended.shown})


def word_of(answer: Answer) -> str:
    """The outcome in words; without an answer it is not known whether the run happened."""
    if answer.status:
        return str(answer)
    return f"unknown: {answer}" if answer.sent else f"not run: {answer}"
