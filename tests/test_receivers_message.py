"""What people read: titles, texts, and what of them a rule, a template and the alerts themselves decide."""

from dataclasses import replace

from hms_ops.alert.notification import Alert, Notification, Profile
from hms_ops.alert.receivers import pagerduty, webhook
from hms_ops.alert.receivers.message import ALERTS_MAX, TEXT_CHARS_MAX, TITLE_CHARS_MAX, Template, message_of

ALERT = Alert("db.slow", "firing", 3.5, {"host": "a"}, since=1_700_000_000.0, episode=7, rule_text="avg(db.s) > 1")
TURNED = Template("\u202e{host}", "\u202e{host}\n{reason}")
ONE = Notification((ALERT,), "slack:#ops", "k")


def many(count: int, left_out: int = 0) -> Notification:
    alerts = tuple(replace(ALERT, tags={"host": f"h{number}"}) for number in range(count))
    return replace(ONE, alerts=alerts, left_out=left_out)


def test_a_single_alert_is_told_with_all_that_is_known() -> None:
    message = message_of(ONE, None)
    assert message.title == "FIRING db.slow (host=a) value 3.5 [avg(db.s) > 1]"
    assert message.text.split("\n\n")[1].splitlines() == [
        "FIRING db.slow (host=a)",
        "  value: 3.5",
        "  condition: avg(db.s) > 1",
        "  since: 2023-11-14T22:13:20.000Z",
        "  severity: page",
    ]


def test_the_annotation_summary_is_the_title_of_a_single_alert() -> None:
    noted = replace(ONE, alerts=(replace(ALERT, annotations={"summary": "{host} is slow"}),), note="late")
    assert message_of(noted, None).title == "FIRING a is slow (late)"
    assert message_of(replace(noted, left_out=1), None).title.startswith("FIRING db.slow: 1 firing")


def test_many_alerts_are_listed_up_to_a_bound_and_the_rest_is_counted() -> None:
    text = message_of(many(ALERTS_MAX + 3, left_out=4), None).text
    assert text.count("FIRING db.slow (host=") == ALERTS_MAX
    assert text.endswith("\n\nand 7 more")
    assert "more" not in message_of(many(2), None).text


def test_a_profiles_template_goes_before_everything() -> None:
    profile = Profile(options={"template": Template("{count} of {name}", "{summary}\n-- \nHMS")})
    message = message_of(many(2), profile)
    assert message.title == "2 of db.slow"
    assert message.text.endswith("\n-- \nHMS")
    only_title = message_of(ONE, Profile(options={"template": Template("x")}))
    assert (only_title.title, only_title.text) == ("x", message_of(ONE, None).text)


def test_what_a_rule_or_a_tag_says_turns_no_line_around() -> None:
    sly = replace(
        ALERT, tags={"host": "\u202ea"}, reason="\x1b[2J", annotations={"summary": "\u202e{host}", "x": "1\n2"}
    )
    notification = replace(ONE, alerts=(sly,))
    for message in (message_of(notification, None), message_of(notification, Profile(options={"template": TURNED}))):
        assert not {"\u202e", "\x1b"} & set(message.title + message.text)
    assert "  x: 1\n2" in message_of(notification, None).text
    (event,) = pagerduty.events_of(notification)
    told = webhook.payload(notification)["alerts"][0]["annotations"]
    for texts in (event["payload"]["custom_details"], told, {"": event["payload"]["summary"]}):
        assert not {"\u202e", "\x1b"} & set("".join(texts.values()))


def test_titles_are_one_line_and_everything_is_bounded() -> None:
    sly = replace(ALERT, name="a\nb\x1b", reason="r" * 100_000, annotations={"summary": "l1\nl2\n" + "x" * 1000})
    message = message_of(replace(ONE, alerts=(sly,) * 30), None)
    assert "\n" not in message.title
    assert "\x1b" not in message.title + message.text
    assert len(message.title) <= TITLE_CHARS_MAX
    assert len(message.text) <= TEXT_CHARS_MAX
