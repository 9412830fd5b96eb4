"""`hms-ops-engine`, also `hms-ops`: finds the command and turns every error into one line and an exit code.

Exit codes: 0 fine; 1 the operation failed, found nothing, or the condition is true; 2 wrong usage; 3 the configuration
or the start is invalid; 4 the engine cannot be reached. With `--json` an error is also `{"error": …, "exit_code": …}`
on standard output.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from hms_ops.errors import ConfigError, ExpressionError, HmsOpsError, StartError, Unreachable
from hms_ops.escape import printable_lines

FAILED: Final = 1
WRONG_USAGE: Final = 2
INVALID: Final = 3
UNREACHABLE: Final = 4
# 128 + SIGINT, as shells have it.
INTERRUPTED: Final = 130

# Command → (module below hms_ops.cli, function in it, one line for the list).
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "run": ("run", "run", "Run the engine until SIGTERM."),
    "demo": ("demo", "demo", "The refund rush, told live in a minute."),
    "check-config": ("check_config", "check_config", "Check configuration and rule files."),
    "emit": ("emit", "emit", "Send one sample."),
    "query": ("query", "query", "Evaluate an expression, now or over a time."),
    "top": ("top", "top", "Every metric live, in the terminal."),
    "alerts": ("alerts", "alerts", "What fires; acknowledge, silence, explain it."),
    "rules": ("rules", "rules", "Rules: explain, test, replay, export, import."),
    "actions": ("actions", "actions", "Self-healing: what ran, and the stop switch."),
    "slo": ("slo", "slo", "Service level objectives: kept, left, imported."),
    "audit": ("audit", "audit", "Who did what: list, verify, export."),
    "token": ("token", "token", "Who may ask over HTTP: make, hash, list tokens."),
    "series": ("series", "series", "Which series there are; describe and delete them."),
    "export": ("export", "export", "Write stored history as CSV or OpenMetrics."),
    "import": ("import_", "import_", "Take in what export wrote."),
    "backup": ("backup", "backup", "Copy a data directory, of an engine that runs or not."),
    "restore": ("backup", "restore", "Make a data directory of a backup."),
    "verify": ("verify", "verify", "Read all of a data directory or a backup."),
    "bench": ("bench", "bench", "Measure this machine."),
    "capture": ("capture", "capture", "Record datagrams with their timing."),
    "replay": ("capture", "replay", "Send recorded datagrams again."),
    "doctor": ("doctor", "doctor", "What this machine lacks, and how to mend it."),
    "version": ("version", "version", "Versions of HMS-OPS and what it runs on."),
}


class Commands(click.Group):
    """The group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"hms_ops.cli.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            # Imported for a mistake only: difflib costs 10 ms.
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def commands() -> None:
    """Mission control for micro-services: datagrams in, windows and alerts out, history kept.

    \b
    Examples:
      hms-ops-engine run -c /etc/hms-ops/engine.yaml
      hms-ops-engine emit finance.api_ms 240 --tag agency:irs
      hms-ops-engine query 'avg(finance.api_ms, 5m)'
      hms-ops-engine demo
    """


def exit_code_of(error: Exception) -> int:
    if isinstance(error, ConfigError | StartError):
        return INVALID
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, ExpressionError):
        return WRONG_USAGE
    return error.exit_code if isinstance(error, click.ClickException) else FAILED


def report(error: Exception, as_json: bool) -> int:
    """Say what went wrong, on standard error and for machines; returns the exit code."""
    code = exit_code_of(error)
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    message = message.replace("\n\t", " ")  # click's list of an option's choices
    if as_json:
        click.echo(json.dumps({"error": message, "exit_code": code}))
    if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command; click before 8.2 has no such error
        click.echo(message, err=True)
        return code
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"{error.ctx.get_usage()}\n", err=True)
    click.echo(f"hms-ops-engine: {printable_lines(message)}", err=True)
    return code


def call(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    color = False if os.environ.get("NO_COLOR") else None
    try:
        result = commands.main(given, prog_name="hms-ops-engine", standalone_mode=False, color=color)
    except (HmsOpsError, click.ClickException) as error:
        return report(error, "--json" in given)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`… | head`): nothing is left to say, and Python's own flush at exit must not try.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    sys.exit(call())
