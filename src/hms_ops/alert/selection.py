"""Choosing series by name: a selector of the alert language that stands alone, as operations take it.

    finance.api_ms                        all series of a metric; quoted where a name is no word: "a-b"
    finance.api_ms{agency="irs"}          those whose tags pass the matchers
    {host="db-1"}                         of any metric
    {__name__=~"finance\\..*", host=""}   the metric's name as a tag, as Prometheus has it

Read by `series list|delete`, export and HTTP's `match`. A text is a Selection or an ExpressionError with its column.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hms_ops.alert.language import tokens
from hms_ops.alert.language.tags import Test, accepts, read_matchers
from hms_ops.alert.language.tokens import Cursor
from hms_ops.alert.language.tree import TagMatch
from hms_ops.series import SeriesInfo

NAME_TAG = "__name__"


@dataclass(frozen=True, slots=True)
class Selection:
    """metric: the only one to look at, None for all. test: of a series' tags and NAME_TAG, None when all pass."""

    metric: str | None
    test: Test | None
    text: str

    def metrics(self, known: Iterable[str]) -> list[str]:
        """Of the known metrics those that may have series of it."""
        return [name for name in known if self.metric in (None, name)]

    def accepts(self, info: SeriesInfo) -> bool:
        if self.metric not in (None, info.name):
            return False
        return self.test is None or self.test(info.tags | {NAME_TAG: info.name})


EVERYTHING = Selection(None, None, "")


def parse_selection(text: str) -> Selection:
    """ExpressionError for anything but a metric, matchers, or both; `{}` alone is none, it would mean everything."""
    cursor = Cursor(text)
    metric: str | None = None
    matchers: tuple[TagMatch, ...] = ()
    if cursor.token.key != "{":
        metric = _metric(cursor)
    if cursor.token.key == "{":
        at = cursor.token.at
        matchers = read_matchers(cursor)
        if metric is None and not matchers:
            raise cursor.error('no metric and no matcher; write one, as in {host="db-1"}', at)
    cursor.finish("{")
    return Selection(metric, accepts(matchers, None), text)


def _metric(cursor: Cursor) -> str:
    token = cursor.token
    if token.kind == tokens.STRING and len(token.text) > 2:
        return tokens.unquoted(cursor.take().text)
    if token.kind in (tokens.WORD, tokens.JOINED):  # a keyword can be nothing else here
        return cursor.take().text
    raise cursor.unexpected("a metric or `{`")
