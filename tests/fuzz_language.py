"""Random texts through the alert language: each is a tree or an error with a place; what takes trees takes each.

    python tests/fuzz_language.py --texts 1000000 [--seed S] [--plant FAULT]

Sources in turn: sentences built from the grammar, those with characters or whole tokens changed, two of them spliced,
tokens in any order, plain noise, and what is deep, long or slow on purpose. Every entry point reads every text. A tree
is written back and must parse to itself; the compiler, PromQL, the linter and `rules explain` take it, or refuse it
with an ExpressionError. Nothing takes longer than SECONDS_MAX.

`--plant` breaks the parser in one of PLANTS' ways, which must be found: exit code 0 when it was. Otherwise 1 means a
fault, printed with the seed and the shortest text found that shows it.
"""

import argparse
import contextlib
import random
import signal
import string
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from hms_ops.alert.language import grammar, wording
from hms_ops.alert.language.explaining import parts_of, words_of
from hms_ops.alert.language.lint import lint
from hms_ops.alert.language.tokens import KEYWORDS, TEXT_CHARACTERS_MAX
from hms_ops.alert.language.tree import Query, Statement, selectors
from hms_ops.alert.plan import compile_query, compile_rule
from hms_ops.alert.rule import rule_from_sentence
from hms_ops.alert.selection import parse_selection
from hms_ops.errors import ExpressionError
from hms_ops.remote.grading import grades
from hms_ops.remote.lower import lower, lower_query

SECONDS_MAX: Final = 2.0  # for one text and all that is done with it; a text of 8,192 characters takes some 50 ms
NARROWED_MAX: Final = 2_000  # texts tried to find a short one

Source = random.Random
Make = Callable[[Source], str]
Parse = Callable[[str], Any]

METRICS = ["x", "finance.api_ms", "a:b.c-d_e", "disk.used_percent", "http.5xx", "überlast", '"a/b c"', "`x-1`", "avg"]
METRICS += ["'for'", "heartbeat", "net.bytes", "slo.name", "p99"]
TAGS = ["agency", "k8s-app", "region", "'a b'", "__name__", "ü"]
VALUES = ['"irs"', "'5..'", '"\\d+"', "us-east-1", "5", '""', '"a\\"b"', "'(a|b)*'", '"[a"', "'^.*$'"]
NUMBERS = ["0", "1", "200", ".5", "1e3", "1e-3", "1e150", "200ms", "5%", "10MiB", "2k", "3M", "1e151", "5parsec", "7us"]
DURATIONS = ["5m", "1h30m", "500ms", "10s", "7d", "1w", "0s", "1.5h", "9999w", "1e400s", "3", "60s", "2h"]
FUNCTIONS = [
    "avg",
    "min",
    "max",
    "sum",
    "count",
    "rate",
    "increase",
    "delta",
    "stddev",
    "first",
    "last",
    "P99",
    "p99.9",
]
FUNCTIONS += ["moving_mean", "ewma", "zscore", "changes", "burn_rate", "agv", "p100", "p0"]
COMPARISONS = [">", ">=", "<", "<=", "=", "==", "!=", "<>"]
TARGETS = ["sms:+1-555-0100", "slack:#ops", "webhook:http://h:1/p?a=1", "log:", "'email:a@b'", "mcp:fix#it", "nonsense"]
OPTIONS = ["factor=2", "window=10m", 'on="max"', "alpha=0.1", "a=0s", "half_life=5m"]
TOKENS = [*sorted(KEYWORDS), *METRICS, *NUMBERS, *DURATIONS, *"()[]{}<>=!~+-*/%,.:&|#;\"'`\\", ">=", "=~", "!~", "\n"]
ODD = ["\x00", "\x85", "\u2028", "\ud800", "é", "ı", "\x1b", "\t", "\r\n", "١", "²", "﹪", "\N{ZERO WIDTH SPACE}"]


# ---- sentences of the grammar


def blank(r: Source) -> str:
    return r.choice(["", " ", " ", " ", "  ", "\n", "\t"])


def spaced(r: Source, *parts: str) -> str:
    """Parts with a blank between them, now and then another or none."""
    return "".join(part + (" " if r.random() < 0.95 else blank(r)) for part in parts).rstrip(" ")


def cased(r: Source, word: str) -> str:
    return r.choice([word, word, word, word.lower(), word.capitalize()])


def listed(r: Source, make: Make, most: int) -> str:
    return r.choice([", ", ",", " , "]).join(make(r) for _ in range(r.randint(1, most)))


def selector(r: Source) -> str:
    text = r.choice(METRICS)
    if r.random() < 0.3:
        text += "{" + listed(r, matcher, 3) + "}"
    if r.random() < 0.3:
        text += f"[{r.choice(DURATIONS)}]"
    return text + (f" {cased(r, 'OFFSET')} {r.choice(DURATIONS)}" if r.random() < 0.1 else "")


def matcher(r: Source) -> str:
    return f"{r.choice(TAGS)}{r.choice(['=', '!=', '=~', '!~'])}{r.choice(VALUES)}"


def aggregate(r: Source, depth: int) -> str:
    inside = selector(r) if r.random() < 0.9 else arith(r, depth - 1)
    if r.random() < 0.15:
        name, more = r.choice(["quantile", "share_gt", "share_le", "QUANTILE"]), [inside, r.choice(NUMBERS)]
        r.shuffle(more)
    else:
        name, more = r.choice(FUNCTIONS), [inside]
    if r.random() < 0.4:
        more.append(r.choice(DURATIONS))
    if r.random() < 0.1:
        more.append(r.choice(OPTIONS))
    return f"{name}({', '.join(more)})" + (f" OFFSET {r.choice(DURATIONS)}" if r.random() < 0.1 else "")


def scalar(r: Source, depth: int) -> str:
    name, count = r.choice([("abs", 1), ("ln", 1), ("sqrt", 1), ("clamp", 3), ("coalesce", r.randint(1, 4))])
    return f"{name}({', '.join(arith(r, depth - 1) for _ in range(count))})"


def arith(r: Source, depth: int = 3) -> str:
    way = r.random() if depth > 0 else r.random() * 0.6
    if way < 0.25:
        return r.choice(NUMBERS)
    if way < 0.4:
        return selector(r)
    if way < 0.65:
        return aggregate(r, depth)
    if way < 0.75:
        return scalar(r, depth)
    if way < 0.8:
        return f"-{arith(r, depth - 1)}"
    if way < 0.9:
        return f"({arith(r, depth - 1)})"
    return spaced(r, arith(r, depth - 1), r.choice("+-*/%"), arith(r, depth - 1))


def predicate(r: Source, depth: int) -> str:
    way = r.random()
    if way < 0.6:
        return spaced(r, arith(r, depth), r.choice(COMPARISONS), arith(r, depth - 2))
    if way < 0.7:
        negated = [cased(r, "NOT")] if r.random() < 0.3 else []
        return spaced(r, arith(r), *negated, cased(r, "BETWEEN"), arith(r, 1), cased(r, "AND"), arith(r, 1))
    if way < 0.8:
        return spaced(r, arith(r), cased(r, "IS"), *([cased(r, "NOT")] if r.random() < 0.5 else []), cased(r, "NULL"))
    if way < 0.9:
        return f"{cased(r, 'ABSENT')}({selector(r)})"
    return f"{cased(r, 'ANOMALY')}({', '.join([selector(r), *r.sample(OPTIONS, r.randrange(3))])})"


def condition(r: Source, depth: int = 3) -> str:
    way = r.random() if depth > 0 else 0.0
    if way < 0.6:
        return predicate(r, depth)
    if way < 0.7:
        return f"{cased(r, 'NOT')} ({condition(r, depth - 1)})"
    if way < 0.8:
        return f"({condition(r, depth - 1)})"
    return spaced(r, condition(r, depth - 1), cased(r, r.choice(["AND", "OR", "UNLESS"])), condition(r, depth - 1))


def tag_test(r: Source, depth: int = 3) -> str:
    way = r.random() if depth > 0 else r.random() * 0.6
    tag = r.choice(TAGS)
    if way < 0.3:
        return spaced(r, tag, r.choice(["=", "!=", "=~", "!~", "==", "<>", cased(r, "LIKE")]), r.choice(VALUES))
    if way < 0.6:
        words = [cased(r, "IN")] if r.random() < 0.5 else [cased(r, "NOT"), cased(r, "IN")]
        return spaced(r, tag, *words, f"({listed(r, lambda r: r.choice(VALUES), 3)})")
    if way < 0.7:
        return f"{cased(r, 'NOT')} ({tag_test(r, depth - 1)})"
    return spaced(r, tag_test(r, depth - 1), cased(r, r.choice(["AND", "OR"])), tag_test(r, depth - 1))


def selection(r: Source) -> list[str]:
    clauses = [f"{cased(r, 'WHERE')} {tag_test(r)}"] if r.random() < 0.4 else []
    if r.random() < 0.4:
        clauses.append("GROUP BY " + (listed(r, lambda r: r.choice(TAGS), 3) if r.random() < 0.8 else "*"))
    return clauses


def sentence(r: Source) -> str:
    recover = condition(r, 1) if r.random() < 0.4 else f"{r.choice(COMPARISONS)} {arith(r, 1)}"
    clauses = [
        *selection(r),
        f"{cased(r, 'RECOVER')} {recover}",
        *(f"{cased(r, word)} {r.choice(DURATIONS)}" for word in ("FOR", "KEEP", "EVERY")),
        f"{cased(r, 'NODATA')} {r.choice(['keep', 'ok', 'alert', 'Alert', 'okay'])}",
        *(f"{cased(r, word)} {r.choice(['page', 'cio', 'for', 'ticket', '1'])}" for word in ("SEVERITY", "POLICY")),
        f"{cased(r, 'NOTIFY')} {listed(r, lambda r: r.choice(TARGETS), 3)}",
    ]
    chosen = r.sample(clauses, r.randrange(min(5, len(clauses)) + 1))
    head = [cased(r, "ALERT"), r.choice([*METRICS, "db.slow"])] if r.random() < 0.7 else []
    return spaced(r, *head, *([cased(r, "WHEN")] if r.random() < 0.7 else []), condition(r), *chosen)


def query(r: Source) -> str:
    return spaced(r, condition(r) if r.random() < 0.3 else arith(r), *selection(r))


def fragment(r: Source) -> str:
    """What stands under a key of its own."""
    return r.choice(
        [tag_test, lambda r: r.choice(DURATIONS), lambda r: listed(r, lambda r: r.choice(TAGS), 3), selector]
    )(r)


# ---- and others


def characters_changed(r: Source) -> str:
    text = r.choice([sentence, query])(r)
    for _ in range(r.choice([1, 1, 2, 5])):
        at, stop = r.randrange(len(text) + 1), r.choice([0, 1, 1, 4])
        instead = r.choice(["", r.choice(string.printable), r.choice(ODD), r.choice(TOKENS), text[at : at + 9]])
        text = text[:at] + instead + text[at + stop :]
    return text


def tokens_changed(r: Source) -> str:
    tokens = r.choice([sentence, query])(r).split(" ")
    for _ in range(r.choice([1, 1, 2, 4])):
        at, way = r.randrange(len(tokens)), r.randrange(4)
        if way == 0:
            tokens[at] = r.choice(TOKENS)
        elif way == 1:
            tokens.insert(at, r.choice(TOKENS))
        elif way == 2 and len(tokens) > 1:
            del tokens[at]
        else:
            other = r.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return " ".join(tokens)


def spliced(r: Source) -> str:
    one, other = sentence(r), sentence(r)
    return one[: r.randrange(len(one) + 1)] + other[r.randrange(len(other) + 1) :]


def soup(r: Source) -> str:
    return r.choice(["", " "]).join(r.choice(TOKENS) for _ in range(r.randrange(30)))


def noise(r: Source) -> str:
    letters = r.choice([string.printable, "()'\"-,.<>=x1 ", "".join(ODD), "".join(map(chr, range(0x20, 0x2FF)))])
    return "".join(r.choice(letters) for _ in range(r.randrange(80)))


def large(r: Source) -> str:
    """Deep, long, or made to be slow."""
    count = r.choice([10, 31, 33, 250, 4_000, TEXT_CHARACTERS_MAX])
    opening = r.choice(["(", "abs(", "-", "NOT ", "NOT (", "x{", "'", "x[", "coalesce(x, ", "x > 1 WHERE (", "avg("])
    joint = r.choice(
        [" + x", " AND x > 1", " OR x > 1", " , x", ".a", "-a", ":1", "1h", "e9", "\\", "é", " ", "\n", "1"]
    )
    pattern = r.choice(["(a|b)*", ".*", "a?", "[a-", "(?:", "\\d{1,9}", "(?=a)", "(a+)+", "x{9999}"])
    return r.choice(
        [
            opening * count,
            opening * (count // 8) + "x" + ")" * (count // 8) + " > 1",
            "x" + joint * (count // 4) + " > 1",
            "x > 1 FOR " + "1h" * (count // 3),
            f'x{{a=~"{pattern * (count // 40)}"}} > 1',
            "x > 1 NOTIFY " + "log:," * (count // 8) + "log:",
            "x > 1 WHERE a IN (" + "'b', " * (count // 8) + "c)",
            "x > " + "9" * r.choice([15, 300, 4_000]) + r.choice(["", "%", ".5", "ms", "e-9"]),
        ]
    )


MAKERS: list[tuple[Make, int]] = [
    (sentence, 25), (query, 15), (fragment, 5), (characters_changed, 20), (tokens_changed, 15), (spliced, 7), (soup, 6),
    (noise, 6), (large, 1),
]  # fmt: skip


def text(r: Source) -> str:
    return r.choices([make for make, _ in MAKERS], [weight for _, weight in MAKERS])[0](r)


# ---- checks


class Fault(Exception):
    """What a text may not do."""


READERS: Final[dict[str, Parse]] = {
    "condition": grammar.parse_condition,
    "where": grammar.parse_where,
    "group_by": grammar.parse_group_by,
    "duration": grammar.parse_duration,
    "selection": parse_selection,
}


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Interrupts what takes longer, in the main thread; Python looks for signals inside `re` too."""

    def stop(*_: object) -> None:
        raise Fault(f"takes longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_place(given: str, error: ExpressionError) -> None:
    """Line and column are inside the text, one behind its end allowed; the message prints."""
    lines = given.splitlines() or [""]
    if not 1 <= error.line <= len(lines) or not 1 <= error.column <= len(lines[error.line - 1]) + 1:
        raise Fault(f"an error at line {error.line}, column {error.column}: {error.message}")
    if not error.message or not error.message.isprintable():
        raise Fault(f"a message that does not print: {error.message!r}")


def tree_of(parse: Parse, given: str) -> Any:
    """The tree, or None for a text that was refused as it should be."""
    try:
        return parse(given)
    except ExpressionError as error:
        # of a text that is too long only the beginning is shown
        check_place(given if len(given) <= TEXT_CHARACTERS_MAX else given[:60], error)
        return None


def or_refused(work: Callable[[], object]) -> None:
    with contextlib.suppress(ExpressionError):
        work()


def check_statement(parse: Parse, given: str) -> bool:
    rule = tree_of(parse, given)
    if rule is None:
        return False
    assert isinstance(rule, Statement)
    check_written(parse, rule)
    or_refused(lambda: compile_rule(rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text))
    for node in filter(None, (rule.condition, rule.recover)):
        or_refused(lambda node=node: lower(node, rule.where, rule.group_by))
        or_refused(lambda node=node: grades(node, rule.where, rule.group_by))
    whole, problems = rule_from_sentence(given, "fuzz:1")
    if whole is None and not problems:
        raise Fault("neither a rule nor a problem")
    if whole is not None:
        lint([whole])
        reads = next(selectors(whole.condition), None) is not None
        if not all(words_of(whole)) or bool(parts_of(whole)) < reads:
            raise Fault("a rule that is not explained")
    return True


def check_query(given: str) -> bool:
    found = tree_of(grammar.parse_query, given)
    if found is None:
        return False
    assert isinstance(found, Query)
    check_written(grammar.parse_query, found)
    or_refused(lambda: compile_query(found))
    or_refused(lambda: lower_query(found))
    return True


def check_written(parse: Parse, found: Statement | Query) -> None:
    written = wording.format(found)
    again = tree_of(parse, written) if len(written) <= TEXT_CHARACTERS_MAX else found
    if again != found:
        raise Fault(f"written as {written!r}, which is another tree" if again else f"written as {written!r}: refused")


def check(given: str, parse_statement: Parse) -> bool:
    """Whether the text is of the language. Fault for what nothing may do."""
    try:
        with within(SECONDS_MAX):
            is_good = check_statement(parse_statement, given) | check_query(given)
            for parse in READERS.values():
                tree_of(parse, given)
            return is_good
    except Fault:
        raise
    except Exception as error:
        raise Fault(f"{type(error).__name__}: {error}") from error


# ---- planted faults


def raising(given: str) -> Statement:
    if given.count("(") > given.count(")"):
        raise IndexError("planted")
    return grammar.parse_statement(given)


def misplacing(given: str) -> Statement:
    try:
        return grammar.parse_statement(given)
    except ExpressionError as error:
        error.column += 2 * (error.column > 1)
        raise


def hanging(given: str) -> Statement:
    while "((" in given:
        time.sleep(0.1)
    return grammar.parse_statement(given)


def losing(given: str) -> Statement:
    """Reads its own writing of KEEP as another."""
    rule = grammar.parse_statement(given)
    return rule if "KEEP" not in given else Statement(rule.condition, text=given)


PLANTS: Final[dict[str, Parse]] = {"raise": raising, "misplace": misplacing, "hang": hanging, "lose": losing}


# ---- runs


def narrowed(given: str, parse_statement: Parse) -> str:
    """A shorter text with a fault, found by leaving parts out."""
    tried = 0
    size = len(given) // 2
    while size:
        for at in range(0, len(given), size):
            shorter = given[:at] + given[at + size :]
            tried += 1
            if tried > NARROWED_MAX:
                return given
            if is_faulty(shorter, parse_statement):
                given = shorter
                break
        else:
            size //= 2
    return given


def is_faulty(given: str, parse_statement: Parse) -> bool:
    try:
        check(given, parse_statement)
    except Fault:
        return True
    return False


def run(texts: int, seed: int, parse_statement: Parse = grammar.parse_statement) -> tuple[str, int]:
    """("" when all texts were right, else the first fault; how many were of the language)."""
    good = 0
    for number in range(texts):
        given = text(random.Random(f"{seed}/{number}"))
        try:
            good += check(given, parse_statement)
        except Fault as fault:
            shown = given if "longer than" in str(fault) else narrowed(given, parse_statement)
            return f"seed {seed}, text {number}: {fault}\n  {shown!r}", good
        if number % 1000 == 0 and sys.stderr.isatty():
            print(f"\r{number:,} texts ", end="", file=sys.stderr)
    return "", good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time, printed")
    parser.add_argument("--plant", choices=PLANTS, help="a fault that must be found")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    found, good = run(arguments.texts, seed, PLANTS.get(arguments.plant, grammar.parse_statement))
    if found:
        print(found)
    if arguments.plant:
        print("the planted fault was found" if found else "the planted fault was NOT found")
        return 0 if found else 1
    if not found:
        print(f"{arguments.texts:,} texts, seed {seed}: {good:,} of the language, the others refused in their place")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
