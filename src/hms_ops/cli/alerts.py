"""`alerts`: what is pending and firing, and what people do about it: acknowledge, silence, ask why, send again.

Every command asks the engine over HTTP (http/paging.py). Exit codes: 1 where nothing was found or the receiver did not
take a test, for `list --firing` also when something fires.
"""

import getpass
import time
from typing import Any, Final
from urllib.parse import quote

import click

from hms_ops.alert.language.tokens import nearest
from hms_ops.cli.options import DURATION, TAG, json_option, series_text, show_json, show_table, url_option
from hms_ops.cli.reach import RequestRefused, get, post
from hms_ops.cli.reach import delete as delete_at
from hms_ops.quantity import duration_text

UNABLE_SHOWN: Final = 10  # rules that cannot fire
TEST_SECONDS: Final = 60.0  # a receiver may take as long as it may; see alert/receivers
NOT_FOUND: Final = 404

tag_option = click.option("--tag", "tags", type=TAG, multiple=True, help="Only of alerts with this tag; as key:value.")
comment_option = click.option("--comment", "-m", help="Why; kept in the audit log.")


def login() -> str:
    """Who types, for the audit log; the engine writes down the address as well."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no user of this number, as in some containers
        return "the command line"


who_option = click.option("--who", default=login, show_default="the login name", help="Who asks for it.")


@click.group()
def alerts() -> None:
    """What is pending and firing; acknowledge it, silence it, ask why somebody was told or not.

    \b
    Examples:
      hms-ops-engine alerts list
      hms-ops-engine alerts ack db.write_slow -m 'looking at it'
      hms-ops-engine alerts silence db.write_slow --for 2h --tag agency:irs
      hms-ops-engine alerts explain db.write_slow
    """


@alerts.command(name="list")
@click.option("--firing", is_flag=True, help="Only those that fire; exits 1 when there are any.")
@url_option
@json_option
def list_(firing: bool, url: str, as_json: bool) -> int:
    """List alerts, those that fire first.

    \b
    Examples:
      hms-ops-engine alerts list
      hms-ops-engine alerts list --firing && echo 'all is well'
    """
    answer = get(url, "/v1/alerts")
    found = [alert for alert in alerts_of(answer) if not firing or alert["state"] == "firing"]
    if as_json:
        show_json({"alerts": found})
    elif found:
        rows = map(row_of, sorted(found, key=order_of))
        show_table([("STATE", "ALERT", "VALUE", "SINCE", "STANDS"), *rows])
    else:
        click.echo("no alert is " + ("firing" if firing else "pending or firing"))
    if not as_json:
        tell_unable(answer["rules"])
    return int(firing and bool(found))


def tell_unable(rules: list[dict[str, Any]]) -> None:
    """Which rules cannot fire; they would look calm for ever. Beside the list, which may go to a pipe."""
    unable = [rule for rule in rules if rule["problem"]]
    for rule in unable[:UNABLE_SHOWN]:
        click.echo(f"{rule['alert']} ({rule['source']}): {rule['state']}: {rule['problem']}", err=True)
    if len(unable) > UNABLE_SHOWN:
        click.echo(
            f"and {len(unable) - UNABLE_SHOWN:,} more rules that cannot fire; see --json of /v1/alerts", err=True
        )


def alerts_of(answer: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = answer["alerts"] if isinstance(answer, dict) else answer
    return listed


def order_of(alert: dict[str, Any]) -> tuple[bool, str]:
    return alert["state"] != "firing", str(alert["name"])


def row_of(alert: dict[str, Any]) -> tuple[str, ...]:
    value = alert.get("value")
    name = series_text(str(alert["name"]), alert.get("tags") or {})
    shown = "" if value is None else f"{value:.6g}"
    return str(alert["state"]), name, shown, moment(alert.get("since")), standing(alert)


def standing(alert: dict[str, Any]) -> str:
    """What holds the alert back, when it is told, and whom its policy tells next."""
    parts = [str(alert["held_by"])] if alert.get("held_by") else []
    if alert.get("told_at"):
        parts.append(f"told at {moment(alert['told_at'])}")
    if coming := alert.get("next_escalation"):
        parts.append(f"level {coming['level']} of {coming['policy']} at {moment(coming['at'])}")
    return "; ".join(parts)


def moment(seconds: Any) -> str:
    """A time as people read it, in UTC; "" for none."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else ""


# ---- acknowledging


@alerts.command()
@click.argument("name")
@tag_option
@click.option("--for", "seconds", type=DURATION, help="Until then; the policy's ack_timeout may be earlier.")
@comment_option
@who_option
@url_option
@json_option
def ack(
    name: str,
    tags: tuple[tuple[str, str], ...],
    seconds: float | None,
    comment: str | None,
    who: str,
    url: str,
    as_json: bool,
) -> None:
    """Acknowledge what fires under NAME: nobody else is told, and nothing is repeated. Exits 1 when nothing fires.

    \b
    Examples:
      hms-ops-engine alerts ack db.write_slow
      hms-ops-engine alerts ack db.write_slow --tag host:db-1 --for 2h -m 'failing over'
    """
    body = {"tags": dict(tags), "who": who, "for": seconds, "comment": comment}
    tell_count(post(url, f"{alert_path(name)}/ack", stripped(body)), f"acknowledged by {who}", as_json)


@alerts.command()
@click.argument("name")
@tag_option
@who_option
@url_option
@json_option
def unack(name: str, tags: tuple[tuple[str, str], ...], who: str, url: str, as_json: bool) -> None:
    """Take the acknowledgement of NAME back: it is told and escalated again. Exits 1 when nothing fires.

    \b
    Example:
      hms-ops-engine alerts unack db.write_slow
    """
    body = {"tags": dict(tags), "who": who}
    tell_count(post(url, f"{alert_path(name)}/unack", body), "not acknowledged any more", as_json)


def tell_count(answer: dict[str, Any], words: str, as_json: bool) -> None:
    """For how many alerts it was."""
    if as_json:
        show_json(answer)
    else:
        count = answer["alerts"]
        click.echo(f"{count:,} alert{'' if count == 1 else 's'} {words}")


# ---- silences


@alerts.command()
@click.argument("name", required=False)
@click.option("--match", help="Which alerts, as in 'agency=irs, severity=~\"page|ticket\"'; with or without NAME.")
@tag_option
@click.option("--for", "seconds", type=DURATION, required=True, help="How long, as in 2h.")
@comment_option
@who_option
@url_option
@json_option
def silence(
    name: str | None,
    match: str | None,
    tags: tuple[tuple[str, str], ...],
    seconds: float,
    comment: str | None,
    who: str,
    url: str,
    as_json: bool,
) -> None:
    """Tell nobody of NAME, or of what matches, for so long. What still fires then is told.

    \b
    Examples:
      hms-ops-engine alerts silence db.write_slow --for 2h -m 'known, mended tonight'
      hms-ops-engine alerts silence --match 'host=~"db-.*"' --for 30m
    """
    body: dict[str, Any] = {"who": who, "for": seconds, "comment": comment, "match": match}
    if name is not None:
        answer = post(url, f"{alert_path(name)}/silence", stripped(body | {"tags": dict(tags)}))
    elif match is not None and not tags:
        answer = post(url, "/v1/silences", stripped(body))
    else:
        raise click.UsageError("give NAME, with --tag if it is about some of its alerts, or --match")
    if as_json:
        show_json(answer)
    else:
        said = (
            f"silence {answer['id']} of {answer['match']} for {duration_text(seconds)}, until {moment(answer['ends'])}"
        )
        click.echo(said)


@alerts.command()
@click.argument("name_or_id")
@tag_option
@who_option
@url_option
@json_option
def unsilence(name_or_id: str, tags: tuple[tuple[str, str], ...], who: str, url: str, as_json: bool) -> None:
    """End the silences that name an alert, or the one of an id. Exits 1 when there is none.

    \b
    Examples:
      hms-ops-engine alerts unsilence db.write_slow
      hms-ops-engine alerts unsilence a791111c8351
    """
    try:
        answer = post(url, f"{alert_path(name_or_id)}/unsilence", {"tags": dict(tags), "who": who})
    except RequestRefused as refused:
        if refused.status != NOT_FOUND or tags:
            raise
        answer = delete_at(url, f"/v1/silences/{quote(name_or_id, safe='')}", who=who)  # then it is an id
    if as_json:
        show_json(answer)
    else:
        click.echo(f"ended: {', '.join(answer['ended'])}")


@alerts.command()
@click.option("--all", "with_ended", is_flag=True, help="Also those that ended in the last week.")
@url_option
@json_option
def silences(with_ended: bool, url: str, as_json: bool) -> int:
    """List the silences that last or are to come. Exits 1 when there are none.

    \b
    Example:
      hms-ops-engine alerts silences --all
    """
    found = [one for one in get(url, "/v1/silences")["silences"] if with_ended or one["state"] != "ended"]
    if as_json:
        show_json({"silences": found})
    elif found:
        rows = [
            (one["state"], one["id"], one["match"], moment(one["ends"]), one["who"], one["comment"]) for one in found
        ]
        show_table([("STATE", "ID", "OF", "ENDS", "WHO", "WHY"), *rows])
    else:
        click.echo("nothing is silenced")
    return int(not found)


# ---- why


@alerts.command()
@click.argument("name")
@tag_option
@url_option
@json_option
def explain(name: str, tags: tuple[tuple[str, str], ...], url: str, as_json: bool) -> int:
    """Why somebody was told of NAME, or nobody was, newest last. Exits 1 when nothing is remembered.

    \b
    Examples:
      hms-ops-engine alerts explain db.write_slow
      hms-ops-engine alerts explain db.write_slow --tag agency:irs --json
    """
    wanted = ",".join(f"{quoted(tag)}={quoted(value)}" for tag, value in tags)
    answer = get(url, f"{alert_path(name)}/explain", tags=wanted or None)
    if as_json:
        show_json(answer)
        return int(not answer["decisions"])
    for alert in answer["alerts"]:
        stands = standing(alert)
        click.echo(f"{alert['state']} now: {series_text(name, alert['tags'])}{': ' + stands if stands else ''}")
    if answer["decisions"]:
        show_table([("TIME", "STATE", "ALERT", "DECISION", "WHY", "RECEIVER"), *map(decision_row, answer["decisions"])])
        return 0
    click.echo(nothing_words(name, get(url, "/v1/alerts")["rules"]), err=True)
    return 1


def nothing_words(name: str, rules: list[dict[str, Any]]) -> str:
    """Why nothing was decided about a name: its rule cannot fire, there is no such rule, or nothing has happened."""
    rule = next((rule for rule in rules if rule["alert"] == name), None)
    if rule is None:
        told = f"no rule is named {name!r}, and nothing was decided about such an alert since the engine started"
        return told + nearest(name, [rule["alert"] for rule in rules])
    if rule["problem"]:
        return f"nothing was decided about {name!r}: {rule['state']}: {rule['problem']}"
    return f"nothing was decided about {name!r} since the engine started"


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def decision_row(one: dict[str, Any]) -> tuple[str, ...]:
    name = series_text(one["name"], one["tags"]) if one["tags"] is not None else f"{one['alerts']:,} alerts"
    return moment(one["time"]), one["state"], name, one["decision"], one["reason"], one["receiver"]


# ---- notifications


@alerts.command(name="dead-letters")
@url_option
@json_option
def dead_letters(url: str, as_json: bool) -> int:
    """List notifications that will not arrive, oldest first. Exits 1 when there are any.

    \b
    Example:
      hms-ops-engine alerts dead-letters
    """
    found = get(url, "/v1/dead-letters")["dead_letters"]
    if as_json:
        show_json({"dead_letters": found})
    elif found:
        rows = [(moment(one["died"]), one["id"], one["receiver"], one["summary"], one["reason"]) for one in found]
        show_table([("DIED", "ID", "RECEIVER", "WHAT", "WHY"), *rows])
    else:
        click.echo("every notification has arrived or is on its way")
    return int(bool(found))


@alerts.command()
@click.argument("id")
@who_option
@url_option
@json_option
def resend(id: str, who: str, url: str, as_json: bool) -> None:
    """Send the dead letter of ID again. Exits 1 when there is none.

    \b
    Example:
      hms-ops-engine alerts resend 0c9a1f53c1e94ad1a3d0a6a0a9b1c2d3
    """
    answer = post(url, f"/v1/dead-letters/{quote(id, safe='')}/resend", {"who": who})
    if as_json:
        show_json(answer)
    else:
        click.echo(f"{answer['id']} is on its way again")


@alerts.command(name="test-notify")
@click.argument("receiver")
@who_option
@url_option
@json_option
def test_notify(receiver: str, who: str, url: str, as_json: bool) -> int:
    """Send a test to RECEIVER now and say what it answered. Exits 1 when it did not take it.

    \b
    Examples:
      hms-ops-engine alerts test-notify sms:+1-555-0100
      hms-ops-engine alerts test-notify webhook:ops
    """
    body = {"receiver": receiver, "who": who}
    answer = post(url, "/v1/notifications/test", body, timeout_seconds=TEST_SECONDS)
    if as_json:
        show_json(answer)
    else:
        show_table([("RECEIVER", "OUTCOME", "DETAIL"), (answer["receiver"], answer["outcome"], answer["detail"])])
    return int(answer["outcome"] != "delivered")


# ---- asking


def alert_path(name: str) -> str:
    return f"/v1/alerts/{quote(name, safe='')}"


def stripped(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}
