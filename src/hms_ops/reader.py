"""A reader: what turns a value as it came into what it means, and the JSON schema of what it takes, written once.

Query strings, JSON bodies and rule files are read through tables of one reader per name; /openapi.json and /docs show
the same tables. So range, choices, default and description stand where the value is checked, and nowhere else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

NOT_GIVEN: Final = object()


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """read: ValueError (in the language: ExpressionError) says what is wrong. schema: JSON schema 2020-12 of what it
    takes; of a query string's text, of what the text stands for. default: what it means not to give it, NOT_GIVEN: the
    name is left out. times_max: how often the name may stand in a query string. A call is `read`."""

    read: Callable[[Any], T]
    schema: Mapping[str, Any]
    default: Any = NOT_GIVEN
    is_required: bool = False
    times_max: int = 1

    @property
    def is_repeatable(self) -> bool:
        """What it reads is a list then, of all that is given."""
        return self.times_max > 1

    def __call__(self, value: Any) -> T:
        return self.read(value)

    def about(
        self, description: str, *, default: Any = NOT_GIVEN, example: Any = None, required: bool = False
    ) -> "Reader[T]":
        """The same reader under a name: what it is for there, what stands for it, and whether it must be given."""
        said = {"description": description} | ({} if example is None else {"examples": [example]})
        if default is not NOT_GIVEN and default is not None:
            said["default"] = default
        return replace(self, schema={**self.schema, **said}, default=default, is_required=required)


def takes(**schema: Any) -> Callable[[Callable[[Any], T]], Reader[T]]:
    """Decorator: the function is a reader of values of this schema."""

    def made(read: Callable[[Any], T]) -> Reader[T]:
        return Reader(read, schema)

    return made


def many(reader: Reader[T], times_max: int) -> Reader[T]:
    """A reader of each of several values of one name in a query string."""
    said = {key: reader.schema[key] for key in ("description", "examples") if key in reader.schema}
    items = {key: value for key, value in reader.schema.items() if key not in said}
    return replace(reader, schema={"type": "array", "items": items, "maxItems": times_max, **said}, times_max=times_max)


TEXT: Final = Reader(str, {"type": "string"})
