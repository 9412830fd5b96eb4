"""A JSON schema in a few words, as markup: "whole number, 1 to 1,000", "list of Alert", "one of json, csv".

Only what our readers and msgspec write; anything else is told by its type, and what has a title by that.
"""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

WORDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "array": "list",
    "null": "null",
}


def type_text(schema: Mapping[str, Any]) -> str:
    if "title" in schema:
        return escape(schema["title"])
    if "$ref" in schema:
        return linked(schema["$ref"].rpartition("/")[2])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(type_text(one) for one in schema[key])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(word))}</code>" for word in schema["enum"])
    return typed(schema)


def typed(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "")
    if isinstance(kind, list):
        return " or ".join(WORDS[one] for one in kind)
    if kind == "array":
        return listed(schema)
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"map of {type_text(schema['additionalProperties'])}"
    return WORDS.get(kind, "anything") + bounds_text(schema)


def listed(schema: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return "[" + ", ".join(type_text(one) for one in schema["prefixItems"]) + "]"
    most = f", up to {schema['maxItems']:,}" if "maxItems" in schema else ""
    return f"list of {type_text(schema.get('items') or {})}{most}"


def bounds_text(schema: Mapping[str, Any]) -> str:
    """ ", 1 to 1,000", ", above 0", ", up to 200 characters"; "" where there are none."""
    said = [
        f"{word} {schema[key]:,g}" if isinstance(schema[key], float) else f"{word} {schema[key]:,}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    said += [f"up to {schema['maxLength']:,} characters"] if "maxLength" in schema else []
    return ", " + " ".join(said) if said else ""


def linked(name: str) -> str:
    """A schema's name, as a link to it."""
    return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
