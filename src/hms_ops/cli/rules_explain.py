"""`rules explain`: what a rule or an expression means, how it is said in PromQL, and what it comes to now."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hms_ops.cli.options import json_option, show_json, show_table
from hms_ops.cli.rules_export import STEPS, outside_of, read_all
from hms_ops.errors import ConfigError, ExpressionError
from hms_ops.escape import printable, printable_lines

if TYPE_CHECKING:
    from hms_ops.alert.language.explaining import Part
    from hms_ops.alert.language.tree import Query, Tags
    from hms_ops.alert.rule import Rule
    from hms_ops.remote.promql import Outside

VALUES_SHOWN: Final = 5  # of one part; --json has up to VALUES_MAX
VALUES_MAX: Final = 100


@click.command()
@click.argument("given", metavar="FILE|TEXT", nargs=-1, required=True)
@click.option("--tier", type=click.Choice(list(STEPS)), default=None, help="Whose rows are sent.  [the remote's, 1m]")
@click.option("--dotted-names", is_flag=True, default=None, help="Metrics keep their dots (VictoriaMetrics only).")
@click.option("--url", default=None, help="An engine to ask for the numbers of each part now.")
@json_option
def explain(given: tuple[str, ...], tier: str | None, dotted_names: bool | None, url: str | None, as_json: bool) -> int:
    """Say in plain words what rules mean: clauses, defaults, PromQL, and with --url their numbers now.

    FILE is a rule file or a configuration; TEXT a rule, a condition or a calculation of the alert language.

    \b
    Examples:
      hms-ops-engine rules explain config/rules/refund-rush.yaml
      hms-ops-engine rules explain 'avg(finance.api_ms) > 200 FOR 3m GROUP BY agency'
      hms-ops-engine rules explain 'p99(finance.api_ms, 5m)' --url 127.0.0.1:8126 --json
    """
    files = tuple(path for path in map(Path, given) if path.is_file() or path.suffix in (".yaml", ".yml"))
    read = read_all(files)
    outside = outside_of(read, tier, dotted_names, url)
    asked: list[Rule | Query] = [*read.rules, *(checked(read_text(text)) for text in given if Path(text) not in files)]
    documents = [document_of(one, outside, url) for one in asked]
    if as_json:
        show_json(documents)
    else:
        for number, document in enumerate(documents):
            show(document, is_first=number == 0)
    return 0


def read_text(text: str) -> "Rule | Query":
    """A rule where the text is one, or has a condition; else a query."""
    from hms_ops.alert.language.grammar import parse_query, parse_statement
    from hms_ops.alert.rule import check_sentence, rule_of

    try:
        statement = parse_statement(text)
        if problems := check_sentence(statement):
            raise ConfigError(*(problem.message for problem in problems))
        return rule_of(statement, "the text")
    except ExpressionError as as_rule:
        try:
            return parse_query(text)
        except ExpressionError as as_query:
            raise max(as_rule, as_query, key=lambda error: (error.line, error.column)) from None


def checked(one: "Rule | Query") -> "Rule | Query":
    """The same, once the engine's compiler has taken it, as check-config has it. ExpressionError."""
    from hms_ops.alert.plan import compile_query, compile_rule
    from hms_ops.alert.rule import Rule
    from hms_ops.cli.check_config import ANY_SHARE

    def objective(name: str) -> float:
        return ANY_SHARE

    if isinstance(one, Rule):
        compile_rule(one.condition, one.recover, one.where, one.group_by, text=one.text, objective=objective)
    else:
        compile_query(one, objective=objective)
    return one


# ---- the document


def document_of(one: "Rule | Query", outside: "Outside", url: str | None) -> dict[str, Any]:
    """Stable keys, the same for rules and queries as far as they have them."""
    from hms_ops.alert.rule import Rule

    return rule_document(one, outside, url) if isinstance(one, Rule) else query_document(one, outside, url)


def rule_document(rule: "Rule", outside: "Outside", url: str | None) -> dict[str, Any]:
    from hms_ops.alert.language.explaining import clauses_of, parts_of, sentence_of, words_of
    from hms_ops.alert.language.lint import lint
    from hms_ops.remote.export import exported

    made = exported(rule, outside)
    nodes = [node for node in (rule.condition, rule.recover) if node is not None]
    return {
        "alert": rule.name,
        "source": rule.source,
        "expression": sentence_of(rule),
        "words": words_of(rule),
        "clauses": [
            {"clause": one.word, "written": one.written, "meaning": one.meaning, "default": one.is_default}
            for one in clauses_of(rule)
        ],
        "tags": dict(rule.tags),
        "annotations": dict(rule.annotations),
        "warnings": lint([rule], unit=outside.unit),
        "promql": made.promql,
        "lowering": made.grade,
        "parts": parts_document(parts_of(rule), nodes, rule.where, rule.group_by, outside, url),
    }


def query_document(query: "Query", outside: "Outside", url: str | None) -> dict[str, Any]:
    from hms_ops.alert.language.explaining import parts_of_query
    from hms_ops.alert.language.phrases import phrase
    from hms_ops.alert.language.wording import format
    from hms_ops.remote.lower import lower_query

    made = lower_query(query, outside)
    return {
        "expression": format(query),
        "words": [f"It is {phrase(query.expression)}."],
        "promql": made.promql,
        "lowering": made.grade,
        "parts": parts_document(parts_of_query(query), [query.expression], query.where, query.group_by, outside, url),
    }


def parts_document(
    parts: "list[Part]",
    nodes: "Iterable[Any]",
    where: "Tags | None",
    group_by: tuple[str, ...],
    outside: "Outside",
    url: str | None,
) -> list[dict[str, Any]]:
    """Each part with its PromQL, and with its numbers when there is an engine to ask."""
    from hms_ops.remote.grading import grades

    graded = {one.node: one for node in nodes for one in grades(node, where, group_by, outside)}
    return [
        {
            "expression": part.text,
            "query": part.query,
            "role": part.role,
            "depth": part.depth,
            "promql": graded[part.node].lowered.promql,
            "lowering": graded[part.node].grade,
            "reasons": graded[part.node].reasons,
            **({} if url is None else numbers_of(part.query, url)),
        }
        for part in parts
    ]


def numbers_of(query: str, url: str) -> dict[str, Any]:
    """Its values now, the greatest first; or why there are none."""
    from hms_ops.cli.reach import RequestRefused, get

    try:
        series = get(url, "/v1/query", 30.0, expr=query)["series"]
    except RequestRefused as refused:
        return {"values": [], "count": 0, "problem": str(refused)}
    found = [{"tags": one["tags"], "value": value} for one in series for _, value in one["points"]]
    found.sort(key=lambda one: (one["value"] is None, -(one["value"] or 0.0)))
    return {"values": found[:VALUES_MAX], "count": len(found)}


# ---- on the screen


def show(document: dict[str, Any], *, is_first: bool) -> None:
    if not is_first:
        click.echo()
    source = f"  ({document['source']})" if "source" in document else ""
    click.echo(printable(document["expression"] + source))
    for sentence in document["words"]:
        click.echo(f"  {printable(sentence)}")
    if "clauses" in document:
        click.echo("\nclauses")
        show_table([clause_row(clause) for clause in document["clauses"]])
    for warning in document.get("warnings", ()):
        click.echo(f"\nwarning: {printable(warning)}")
    click.echo(f"\nPromQL: {printable(document['lowering'])}")
    if document["promql"]:
        click.echo(f"  {printable_lines(document['promql'])}")
    click.echo("\nparts")
    for part in document["parts"]:
        show_part(part)


def clause_row(clause: dict[str, Any]) -> tuple[str, ...]:
    return (f"  {clause['clause']}", clause["written"], clause["meaning"] + (" (default)" if clause["default"] else ""))


def show_part(part: dict[str, Any]) -> None:
    margin = "  " * (part["depth"] + 1)
    lowering = "; ".join([part["lowering"], *part["reasons"]])
    click.echo(f"{margin}{printable(part['expression'])}   [{printable(lowering)}]")
    if "problem" in part:
        click.echo(f"{margin}  = ? {printable(part['problem'])}")
    if "values" not in part:
        return
    for one in part["values"][:VALUES_SHOWN]:
        tags = ",".join(f"{key}={value}" for key, value in sorted(one["tags"].items()))
        number = "unknown" if one["value"] is None else f"{one['value']:.6g}"
        click.echo(f"{margin}  = {number}" + (f"   {printable(tags)}" if tags else ""))
    if part["count"] > VALUES_SHOWN:
        click.echo(f"{margin}  and {part['count'] - VALUES_SHOWN} more")
    if not part["count"] and "problem" not in part:
        click.echo(f"{margin}  = nothing yet")
