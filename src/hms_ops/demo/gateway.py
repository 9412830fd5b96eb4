"""The stand-in of an SMS gateway: takes `POST /sms` and hands each message to a phone, which is a function.

As a real one it takes a message once: the same `idempotency_key` again is answered alike and reaches nobody.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from hms_ops.demo.loopback import Document, serving

PATH: Final = "/sms"


class Message(NamedTuple):
    """A text message as the phone shows it."""

    to: str
    text: str


@contextmanager
def gateway(phone: Callable[[Message], None]) -> Iterator[str]:
    """Serve a gateway; yields the URL to post to. `phone` is called once per message, from the server's threads."""
    taken: dict[str, object] = {}

    def take(document: Document) -> Document:
        key = text_of(document, "idempotency_key")
        message = Message(text_of(document, "to"), text_of(document, "text"))
        # One step under the GIL: of two threads with one key, one finds it new.
        if taken.setdefault(key, fresh := object()) is fresh:
            phone(message)
        return {"status": "sent"}

    with serving("gateway", PATH, take) as url:
        yield url + PATH


def text_of(document: Document, key: str) -> str:
    text = document.get(key)
    if not isinstance(text, str) or not text:
        raise ValueError(f"{key!r} must be text, found {text!r}")
    return text
