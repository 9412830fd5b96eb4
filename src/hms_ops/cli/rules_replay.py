"""`rules replay`: what rules would have paged in the past, with how often and how long."""

import math
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hms_ops.cli.options import DURATION, Damage, data_dir_option, json_option, show_json, show_table, url_option
from hms_ops.cli.rules_export import read_all
from hms_ops.csvtext import utc_text
from hms_ops.escape import printable

if TYPE_CHECKING:
    from hms_ops.alert.language.desugar import Objectives
    from hms_ops.alert.rule import Rule
    from hms_ops.cli.pasts import Known
    from hms_ops.replaying import Episode, Replayed, Summary

SINCE_SECONDS: Final = 30 * 86_400.0
STEP_SECONDS: Final = 10.0
DAY_SECONDS: Final = 86_400
EPISODES_SHOWN: Final = 20  # of each rule; --json has all that are kept


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--alert", "names", multiple=True, metavar="NAME", help="Only this rule; may be given several times.")
@click.option("--since", type=DURATION, default=SINCE_SECONDS, metavar="DURATION", help="From so long ago.  [30d]")
@click.option("--until", type=DURATION, default=0.0, metavar="DURATION", help="Up to so long ago.  [now]")
@click.option("--step", type=DURATION, default=STEP_SECONDS, metavar="DURATION", help="Between judgements.  [10s]")
@url_option
@data_dir_option
@json_option
def replay(
    files: tuple[Path, ...],
    names: tuple[str, ...],
    since: float,
    until: float,
    step: float,
    url: str,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Run the rules of FILE over stored history, and tell what they would have paged.

    Windows, states and NULL are the engine's own. Rules are judged each 10 s where history has such rows (two days by
    default), then by the minute, then by the hour. Percentiles need --data-dir; anomalies are not replayed. Exits 1
    when a rule could not be evaluated, or there is no history.

    \b
    Examples:
      hms-ops-engine rules replay config/rules/refund-rush.yaml --since 7d
      hms-ops-engine rules replay new.yaml --alert db.slow --data-dir /var/lib/hms-ops --since 30d --step 1m
      hms-ops-engine rules replay new.yaml --url 127.0.0.1:8126 --since 1d --json
    """
    read = read_all(files)
    rules = chosen_of(read.rules, names)
    if step < STEP_SECONDS or step % STEP_SECONDS:
        raise click.UsageError("--step is a multiple of 10s")
    now = time.time()
    start, end = int(now - since), int(now - until)
    damage = Damage()
    with past_for(rules, read.objective, data_dir, url, start, end, damage) as known:
        found = replayed(rules, known, read.objective, start, end, int(step))
    if data_dir is not None:
        damage.warn(data_dir)
    if not found.last:
        click.echo("there is no history of that time", err=True)
        return 1
    if as_json:
        show_json(document_of(rules, found))
    else:
        show(rules, found)
    return int(bool(found.problems) or damage.parts > 0)


def chosen_of(rules: "list[Rule]", names: tuple[str, ...]) -> "list[Rule]":
    missing = sorted(set(names) - {rule.name for rule in rules})
    if missing:
        raise click.UsageError(f"there is no rule {missing[0]!r} in these files")
    found = [rule for rule in rules if not names or rule.name in names]
    if not found:
        raise click.UsageError("there are no rules in these files")
    return found


def past_for(
    rules: "list[Rule]",
    objective: "Objectives",
    data_dir: Path | None,
    url: str,
    start: int,
    end: int,
    damage: Damage,
) -> "AbstractContextManager[Known]":
    from hms_ops.cli.pasts import past_of_directory, past_of_engine
    from hms_ops.replaying import metrics_of, plans_of, reach_seconds

    if data_dir is not None:
        return past_of_directory(data_dir, damage)
    plans = plans_of(rules, objective=objective)
    metrics = metrics_of(plans) | plans.keys()  # a rule's gauge tells when the engine ran
    return past_of_engine(url, sorted(metrics), start - reach_seconds(plans), end)


def replayed(
    rules: "list[Rule]", known: "Known", objective: "Objectives", start: int, end: int, step: int
) -> "Replayed":
    from hms_ops.replaying import judged
    from hms_ops.replaying import replay as over

    try:
        return over(rules, judged(rules, known.past, start, end, step, unit=known.unit, objective=objective))
    except ValueError as error:
        raise click.ClickException(str(error)) from None


# ---- what came of it


def document_of(rules: "list[Rule]", found: "Replayed") -> dict[str, Any]:
    from hms_ops.replaying import summaries

    return {
        "since": found.first,
        "until": found.last,
        "judged_each": {str(seconds): count for seconds, count in sorted(found.steps.items())},
        "down_seconds": found.down_seconds,
        "left_out": found.left_out,
        "rules": [rule_document(summary, found) for summary in summaries(rules, found)],
    }


def rule_document(summary: "Summary", found: "Replayed") -> dict[str, Any]:
    kept = summary._asdict()
    name = kept.pop("name")
    return {
        "alert": name,
        **kept,
        "episodes": [episode_document(one) for one in found.episodes if one.name == name],
    }


def episode_document(one: "Episode") -> dict[str, Any]:
    return {
        "tags": dict(one.tags),
        "severity": one.severity,
        "pending": one.began,
        "firing": one.fired,
        "resolved": one.ended or None,
        "peak": None if math.isnan(one.peak) else one.peak,
        "reason": one.reason,
    }


def show(rules: "list[Rule]", found: "Replayed") -> None:
    from hms_ops.replaying import summaries

    steps = ", ".join(f"{count:,} times each {seconds} s" for seconds, count in sorted(found.steps.items()))
    down = f"; down for {duration_words(found.down_seconds)}" if found.down_seconds else ""
    click.echo(f"{utc_text(found.first)} to {utc_text(found.last)}, judged {steps}{down}")
    watched = found.last - found.first - found.down_seconds
    for summary in summaries(rules, found):
        click.echo()
        for line in summary_lines(summary, watched):
            click.echo(printable(line))
        show_episodes([one for one in found.episodes if one.name == summary.name])
    if found.left_out:
        click.echo(f"\n{found.left_out:,} more episodes were counted, not kept")


def summary_lines(summary: "Summary", watched_seconds: int) -> list[str]:
    """watched_seconds: how long it was looked at; out of less than a day no rate a day is made."""
    if summary.problem:
        return [f"{summary.name}: not evaluated: {summary.problem}"]
    pending = f"; {summary.pending_only:,} times pending only" if summary.pending_only else ""
    if not summary.fired:
        return [f"{summary.name}: never fired{pending}"]
    span = duration_words(watched_seconds)
    often = f", {summary.per_day:.3g} a day" if watched_seconds >= DAY_SECONDS else f" in {span}"
    return [
        f"{summary.name}: fired {times(summary.fired)}{often}{pending}",
        f"  {duration_words(summary.firing_seconds)} in all, {100 * summary.share:.3g} % of the time, "
        f"the longest {duration_words(summary.longest_seconds)}",
    ]


def show_episodes(episodes: "list[Episode]") -> None:
    rows: list[tuple[str, ...]] = [
        (
            f"  {utc_text(one.fired)}",
            duration_words(one.ended - one.fired) if one.ended else "fires still",
            "" if math.isnan(one.peak) else f"peak {one.peak:.6g}",
            ",".join(f"{tag}={value}" for tag, value in one.tags),
        )
        for one in episodes[:EPISODES_SHOWN]
    ]
    if rows:
        show_table(rows)
    if len(episodes) > EPISODES_SHOWN:
        click.echo(f"  and {len(episodes) - EPISODES_SHOWN:,} more; --json has all")


def times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def duration_words(seconds: int) -> str:
    """`1d 3h`, `3m 20s`: the two largest units."""
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
