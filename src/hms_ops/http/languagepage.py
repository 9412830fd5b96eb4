"""The expressions of rules, queries and charts, by example: a section of /docs, for whoever has only the engine.

The whole language is in docs/alerts.md. A test reads every example with the language's own parser, and finds every
function in one of them.
"""

from typing import Final

EXAMPLES: Final = (
    ("finance.api_ms", "a metric by itself: each of its series"),
    ("avg(finance.api_ms, 5m)", "the mean of five minutes, all series pooled; min, max, sum, count, stddev likewise"),
    ("min(db.write_ms) + max(db.write_ms) - sum(a) / count(a)", "calculations: + - * /, with parentheses"),
    ("stddev(db.write_ms, 10m)", "how far samples scatter"),
    ("avg(finance.api_ms) GROUP BY agency", "a value for each agency"),
    ('avg(finance.api_ms) WHERE agency = "irs" AND zone != "b"', "only some series; also =~ and !~ with a pattern"),
    ("rate(web.requests, 1m)", "a second: of counters what was added, of timers how many samples"),
    ("increase(web.requests, 1h)", "how much was added in an hour"),
    ("delta(disk.used, 1h)", "how much a gauge changed; first and last are its ends"),
    ("last(db.replicas) - first(db.replicas, 10m)", "against ten minutes ago"),
    ("changes(db.leader, 10m)", "how often a value changed"),
    ("p99(finance.api_ms, 5m)", "percentiles of timers, histograms and distributions: p50, p95, p99.9 and any other"),
    ("quantile(finance.api_ms, 0.9)", "a percentile as a share"),
    ("share_gt(finance.api_ms, 200)", "the share of samples above 200; share_le: of those at most 200"),
    ("share_le(finance.api_ms, 200, 1h)", "of an hour"),
    ("ewma(db.write_ms, 5m) - moving_mean(db.write_ms, 5m)", "means that follow more or less quickly"),
    ("zscore(db.write_ms, 10m)", "how many deviations the latest value is from the mean"),
    ("avg(x) OFFSET 1d", "as it was a day ago"),
    ("burn_rate(finance.api_latency, 1h)", "how many times too fast an SLO's error budget is spent"),
    ("clamp(abs(x), 0, 100)", "numbers: abs, ln, sqrt, clamp(value, least, most)"),
    ("coalesce(avg(x), 0)", "0 where there is no value; ln(1) and sqrt(4) are numbers too"),
    ("avg(finance.api_ms) > 200ms", "a condition: 1 while it is true; AND, OR, NOT join several"),
)
