"""What a query answers, in Prometheus' form: plain values that become JSON as they are, those of a matrix JSON already.

    {"resultType": "vector", "result": [{"metric": {…}, "value": [1700000000.123, "0.5"]}, …]}
    {"resultType": "matrix", "result": [{"metric": {…}, "values": [[…], …]}, …]}

Values are texts without exponent, `NaN`, `+Inf`, `-Inf`; times are seconds, whole or to the millisecond. Elements come
in the order of their labels. Limits: VALUES_MAX in one answer.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from hms_ops.prometheus.query.evaluation import Evaluation
from hms_ops.prometheus.query.given import Asked
from hms_ops.prometheus.query.instant import Instant, Labels, Scalar, Text, Value, key_of
from hms_ops.prometheus.query.parsing import milliseconds, offset_ms, parsed
from hms_ops.prometheus.query.reader import Reader
from hms_ops.prometheus.query.refused import BAD_DATA, LIMIT, Refused
from hms_ops.prometheus.query.repeated import Repeated
from hms_ops.prometheus.query.slots import windows
from hms_ops.steps import VALUES_MAX

ORDERED: Final = ("sort", "sort_desc")


def instant_answer(asked: Asked, reader: Reader) -> dict[str, Any]:
    """The data of `/api/v1/query`."""
    node = parsed(asked.text)
    evaluation = Evaluation(asked.text, asked.times, reader, Repeated(reader.budget))
    time = seconds(int(asked.times[0]))
    if type(node).__name__ == "MatrixSelector":
        return {"resultType": "matrix", "result": raw_samples(evaluation, node)}
    found = evaluation.result(node)
    if isinstance(found, Scalar):
        return {"resultType": "scalar", "result": [time, number_text(float(found.values[0]))]}
    if isinstance(found, Text):
        return {"resultType": "string", "result": [time, found.text]}
    is_ordered = type(node).__name__ == "Call" and node.func.name in ORDERED
    rows = np.flatnonzero(found.there[:, 0]).tolist()
    reader.budget.series(len(rows))
    chosen = rows if is_ordered else by_labels(found.labels, rows)
    result = [
        {"metric": dict(found.labels[row]), "value": [time, number_text(float(found.values[row, 0]))]} for row in chosen
    ]
    return {"resultType": "vector", "result": result}


def range_answer(asked: Asked, reader: Reader) -> dict[str, Any]:
    """The data of `/api/v1/query_range`."""
    node = parsed(asked.text)
    if type(node).__name__ in ("MatrixSelector", "SubqueryExpr", "StringLiteral"):
        raise Refused(
            BAD_DATA, "invalid expression type for range query, must be Scalar or instant Vector: put it in a function"
        )
    found = Evaluation(asked.text, asked.times, reader, Repeated(reader.budget)).result(node)
    return {"resultType": "matrix", "result": matrix(found, asked, reader)}


def matrix(found: Value, asked: Asked, reader: Reader) -> list[dict[str, Any]]:
    """Each series with the times where it is there."""
    times = list(map(seconds, asked.times.tolist()))
    if isinstance(found, Scalar):
        texts = map(number_text, found.values.tolist())
        return [{"metric": {}, "values": list(map(list, zip(times, texts, strict=True)))}]
    assert isinstance(found, Instant), "the parser lets no text through"
    rows = np.flatnonzero(found.there.any(axis=1)).tolist()
    reader.budget.series(len(rows))
    if found.there.sum() > VALUES_MAX:
        raise Refused(LIMIT, f"the answer has more than {VALUES_MAX:,} values: ask for fewer series or a longer step")
    return [series_document(found, row, times) for row in by_labels(found.labels, rows)]


def series_document(found: Instant, row: int, times: Sequence[float]) -> dict[str, Any]:
    """Its values are JSON already: a million little lists would hold the GIL when they are encoded, and again when they
    are let go of."""
    places = np.flatnonzero(found.there[row])
    texts = map(number_text, found.values[row, places].tolist())
    values = ",".join([f'[{times[place]},"{text}"]' for place, text in zip(places.tolist(), texts, strict=True)])
    return {"metric": dict(found.labels[row]), "values": msgspec.Raw(f"[{values}]".encode())}


def raw_samples(evaluation: Evaluation, node: Any) -> list[dict[str, Any]]:
    """The samples of a window, as they stand in their rows."""
    from hms_ops.prometheus.query.parsing import span_of

    ms, selector = milliseconds(node.range), node.vector_selector
    evaluation.reader.settle([span_of(selector, ms, evaluation.times)])
    samples = evaluation.read(selector, ms)
    of = windows(samples.slots, evaluation.times - offset_ms(selector), ms)
    inside = slice(int(of.low[0]), int(of.high[0]))
    values, times = evaluation.plain(samples)[:, inside], list(map(seconds, samples.slots.stamps[inside].tolist()))
    found = Instant(samples.labels, values, ~np.isnan(values))
    rows = np.flatnonzero(found.there.any(axis=1)).tolist()
    return [series_document(found, row, times) for row in by_labels(found.labels, rows)]


def by_labels(labels: Sequence[Labels], rows: Sequence[int]) -> list[int]:
    return sorted(rows, key=lambda row: key_of(labels[row]))


def seconds(ms: int) -> float:
    """A time of an answer: whole seconds as such."""
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def number_text(value: float) -> str:
    """The shortest text that is the number, without an exponent."""
    text = repr(value)
    if "e" in text:
        return np.format_float_positional(value, trim="-")
    if text.endswith(".0"):
        return text[:-2]
    return text if math.isfinite(value) else SPELLINGS[text]


SPELLINGS: Final = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}
