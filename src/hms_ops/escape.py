"""Text from strangers, made fit to print: names, tags and addresses come from the network.

Control characters, and the marks that reorder a line on a terminal, become escapes, so that nothing printed can forge
a line, move the cursor or hide what it says. JSON needs none of this: `json.dumps` escapes to ASCII by itself.
"""

from typing import Final

# C0, DEL and C1; marks of direction; separators of lines and paragraphs; overrides and isolates of direction.
_RANGES: Final = ((0, 32), (127, 160), (0x200E, 0x2010), (0x2028, 0x202F), (0x2066, 0x206A))
_ESCAPES: Final = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for low, high in _RANGES for code in range(low, high)
}


def printable(text: str) -> str:
    """The text with what must not reach a terminal written as `\\x1b` or `\\u202e`, lone surrogates too."""
    return text.translate(_ESCAPES).encode("utf-8", "backslashreplace").decode()


def printable_lines(text: str) -> str:
    """The same, but the line breaks stay: for messages of ours that quote others."""
    return "\n".join(map(printable, text.split("\n")))
