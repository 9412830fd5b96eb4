"""The real promtool, and a hunt for disagreement with it: the same samples, the same rules, every minute's alerts.

For each alert that can be imported, a `Trial` makes series at random around its thresholds, lets this engine say what
fires at each minute, writes that down as a unit test of promtool, and lets promtool judge. What it refuses is a
disagreement. `python -m tests.promtool FILE… [--seeds N]` prints them all.

Samples are laid where both sides promise the same. Counters have one on every minute and start at 0: Prometheus
extrapolates nothing then. Other series have theirs on the half minute, where it does not matter that Prometheus before
3.0 counts the sample on a window's left border too. Nothing is divided by zero. `not_tried` names the rest.
"""

import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hms_ops import kinds
from hms_ops.alert.language.tree import GROUP_BY_ALL, Number, TagMatch, children, selectors
from hms_ops.alert.rule import Rule
from hms_ops.prometheus.promql import BY_ZERO, parsed
from hms_ops.prometheus.rulesfile import Imported, PrometheusRule, import_groups, known, read_groups
from hms_ops.prometheus.selection import reads
from hms_ops.prometheus.vector import Scope, Unsupported
from hms_ops.prometheus.world import Feed, World, increments
from hms_ops.tiers import WINDOW_SECONDS_MAX
from hms_ops.yamlfile import load_file

PROMTOOL = shutil.which("promtool") or next(
    map(str, Path(__file__).parent.parent.glob(".make/servers/usr/bin/promtool")), ""
)
MINUTES = 75
INSTANCES = ("a", "b")
OVER_TIME = re.compile(r"_over_time|changes|delta|deriv|predict_linear")
SLOPES = re.compile(r"\b(?:deriv|predict_linear|delta)\b")


def run_promtool(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROMTOOL, "test", "rules", *map(str, files)], capture_output=True, text=True, timeout=120)


def imported_of(path: Path) -> list[Imported]:
    return import_groups(read_groups(load_file(path)))


@dataclass(frozen=True)
class Trial:
    """One alert with series of its own. totals: (metric, labels, [(second, value as Prometheus has it)])."""

    one: Imported
    rule: Rule
    totals: Sequence[tuple[str, dict[str, str], list[tuple[float, float]]]]
    counters: frozenset[str]

    def firing(self) -> list[list[dict[str, str]]]:
        """The labels of what fires at each minute, as this engine judges it."""
        feeds = []
        for metric, labels, samples in self.totals:
            is_counter = metric in self.counters
            kind = kinds.COUNTER if is_counter else kinds.GAUGE
            feeds.append(Feed(metric, labels, kind, increments(samples) if is_counter else samples))
        world = World(feeds, [self.rule])
        found = []
        for minute in range(MINUTES):
            world.move_to(minute * 60)
            world.tick()
            alerts = [alert for alert in world.alerts(self.rule.name) if alert.state == "firing"]
            found.append([{**alert.tags, **self.one.origin.labels, **dict(self.rule.tags)} for alert in alerts])
        assert not world.problems, world.problems
        return found

    def write(self, folder: Path, origins: Sequence[PrometheusRule]) -> Path:
        """promtool's unit test of what this engine said."""
        rules = [
            {"record": rule.record, "expr": rule.expr, "labels": dict(rule.labels)} for rule in origins if rule.record
        ]
        origin = self.one.origin
        waits = {"for": f"{origin.for_seconds:g}s"} if origin.for_seconds else {}
        rules.append({"alert": origin.alert, "expr": origin.expr, "labels": dict(origin.labels), **waits})
        (folder / "rules.json").write_text(json.dumps({"groups": [{"name": "tried", "rules": rules}]}))
        tests = [
            {
                "eval_time": f"{minute}m",
                "alertname": origin.alert,
                "exp_alerts": [{"exp_labels": one} for one in labels],
            }
            for minute, labels in enumerate(self.firing())
        ]
        group = {"interval": "30s", "input_series": [*map(written, self.totals)], "alert_rule_test": tests}
        path = folder / "test.json"
        path.write_text(json.dumps({"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": [group]}))
        return path


def written(total: tuple[str, dict[str, str], list[tuple[float, float]]]) -> dict[str, str]:
    metric, labels, samples = total
    at = {round(second / 30): value for second, value in samples}
    values = " ".join(repr(at[n]) if n in at else "_" for n in range(max(at) + 1))
    inside = ",".join(f"{key}={json.dumps(value)}" for key, value in labels.items())
    return {"series": f"{metric}{{{inside}}}", "values": values}


# ---- series at random


def trials(path: Path, seed: int) -> Iterator[tuple[Trial | str, Imported]]:
    """A trial of each alert that was imported, or why there is none."""
    origins = read_groups(load_file(path))
    counters = known(origins, Scope()).counters
    for one in import_groups(origins):
        if one.rule is None:
            continue
        text = all_text(one.origin, origins)
        reason = not_tried(one, text, counters)
        if reason:
            yield reason, one
        else:
            rule = replace(one.rule, every_seconds=1.0)
            divides = any(note.reason == BY_ZERO for note in one.notes)
            yield Trial(one, rule, list(series_for(rule, counters, seed, divides)), counters), one


def not_tried(one: Imported, text: str, counters: frozenset[str]) -> str:
    """Why random samples would show what is known to differ, and stands in the notes."""
    assert one.rule is not None
    read = list(selectors(one.rule.condition))
    if OVER_TIME.search(text) and counters & {series.metric for series in read}:
        return "reads counters and gauges through windows"
    if SLOPES.search(text):
        return "the slope of a line instead of a regression"
    if any((series.window_seconds or 0) + (series.offset_seconds or 0) > WINDOW_SECONDS_MAX for series in read):
        return "reads more than an hour"
    return "reads buckets, which become a timer here" if "histogram_quantile" in text else ""


def all_text(origin: PrometheusRule, origins: Sequence[PrometheusRule]) -> str:
    """The expression with those of the recording rules it names."""
    recorded = {rule.record: rule.expr for rule in origins if rule.record}
    try:
        names = {read.metric for read in reads(parsed(origin.expr))}
    except Unsupported:
        return origin.expr
    return " ".join([origin.expr, *(recorded[name] for name in names & recorded.keys())])


def series_for(rule: Rule, counters: frozenset[str], seed: int, divides: bool) -> Iterator[tuple]:  # type: ignore[type-arg]
    """Two series for each set of matchers a metric is read with."""
    rng = random.Random(f"{seed} {rule.name}")
    groups = () if rule.group_by == GROUP_BY_ALL else rule.group_by
    limits = sorted({node.value for node in walk(rule.condition) if isinstance(node, Number)}) or [1.0]
    common = {match.tag: chosen(match) for series in selectors(rule.condition) for match in series.matchers}
    seen = set()
    for series in selectors(rule.condition):
        own = {match.tag: chosen(match) for match in series.matchers}
        for instance in INSTANCES:
            labels = {"instance": instance, **{tag: f"{tag}1" for tag in groups if tag != "instance"}, **common, **own}
            labels = {tag: value for tag, value in labels.items() if value}
            key = series.metric, tuple(sorted(labels.items()))
            if key not in seen:
                seen.add(key)
                is_counter = series.metric in counters
                made = (totals if is_counter else gauges)(rng, limits, divides)
                yield series.metric, labels, list(made)


def walk(node: object) -> Iterator[object]:
    yield node
    for child in children(node):  # type: ignore[arg-type]
        yield from walk(child)


def chosen(match: TagMatch) -> str:
    """A value that a matcher accepts."""
    wanted = match.values[0]
    options = [wanted, "x", "2xx", "500", *re.split(r"[|()]", wanted), re.sub(r"\.[+*]", "x", wanted), ""]
    if match.op == "=":
        return wanted
    is_match = (lambda one: bool(re.fullmatch(wanted, one))) if "~" in match.op else (lambda one: one == wanted)
    return next((one for one in options if is_match(one) == (match.op == "=~")), "")


def totals(rng: random.Random, limits: Sequence[float], is_busy: bool) -> Iterator[tuple[float, float]]:
    """A counter's running total on each minute, now and then beginning anew; busy: it never stands still."""
    total = 0.0
    pace = 60.0 * is_busy
    for minute in range(MINUTES):
        yield minute * 60.0, total
        if rng.random() < 0.15:
            pace = rng.choice([0.0, 0.0, 1.0, 30.0, *(60 * abs(limit) * rng.choice([0.5, 2]) for limit in limits)])
            pace = max(pace, float(is_busy))
        total = float(is_busy) if rng.random() < 0.02 else total + round(pace)


def gauges(rng: random.Random, limits: Sequence[float], is_busy: bool) -> Iterator[tuple[float, float]]:
    """A gauge on each half minute, staying for a while near a limit; busy: it is never 0,
    and never just such that a quotient is a limit, where the last bit decides."""
    options = [0.0, 1.0, 2.0, *limits, *(limit * share for limit in limits for share in (0.5, 0.9, 1.1, 2.0))]
    options = [value for value in options if value or not is_busy]
    value = rng.choice(options) * (1 + is_busy * rng.uniform(-0.01, 0.01))
    for minute in range(MINUTES):
        if rng.random() < 0.1:
            value = rng.choice(options) * (1 + is_busy * rng.uniform(-0.01, 0.01))
        yield minute * 60 + 30.0, value


def told(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if line.strip())[:900]


def main(arguments: Sequence[str]) -> int:
    """`FILE… [--seeds N]`: how many trials agree, and each that does not."""
    import tempfile
    from collections import Counter

    seeds = int(arguments[arguments.index("--seeds") + 1]) if "--seeds" in arguments else 3
    files = [Path(name) for name in arguments if name.endswith((".yml", ".yaml"))]
    counts: Counter[str] = Counter()
    for file in files:
        origins = read_groups(load_file(file))
        for seed in range(seeds):
            for trial, one in trials(file, seed):
                if isinstance(trial, str):
                    counts[f"not tried: {trial}"] += 1
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    done = run_promtool(trial.write(Path(folder), origins))
                    fires = sum(map(len, trial.firing()))
                counts["agree" if done.returncode == 0 else "DISAGREE"] += 1
                counts["with alerts"] += fires > 0
                if done.returncode:
                    print(
                        file.name,
                        seed,
                        one.origin.alert,
                        " ".join(one.origin.expr.split()),
                        "\n",
                        trial.rule.text,
                        told(done),
                    )
    print(dict(counts))
    return int(counts["DISAGREE"] > 0)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
