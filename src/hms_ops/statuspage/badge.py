"""A badge: the state of a service as a small SVG picture, for a README or a citizen's page.

Two fields, label and words; colour and words say the same. The widths of characters are those of Verdana at 11 pixels,
roughly: a reader's font may be another, so each text is stretched to its field. No script, no style, no reference.
"""

import html
from typing import Final

from hms_ops.escape import printable
from hms_ops.statuspage.standing import DEGRADED, OUT, UNKNOWN, WORKING

# Dark enough for white text, 4.5 to 1.
COLOURS: Final = {WORKING: "#0b6b2d", DEGRADED: "#8a5a00", OUT: "#b50909", UNKNOWN: "#5c5c5c"}
LABEL_COLOUR: Final = "#3d4551"
NARROW: Final = frozenset("ijl.,:;'|!()[] ftrI")
WIDE: Final = frozenset("mwMW@%")
PADDING: Final = 8
LABEL_CHARS_MAX: Final = 60

BADGE: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {words}">'
    "<title>{label}: {words}</title>"
    '<rect width="{left}" height="20" fill="{label_colour}"/>'
    '<rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
    '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
    '<text x="{padding}" y="14" textLength="{label_width}">{label}</text>'
    '<text x="{words_at}" y="14" textLength="{words_width}">{words}</text></g></svg>'
)


def width_of(text: str) -> int:
    """Pixels, roughly; characters of other scripts count as wide."""
    return round(sum(4.2 if c in NARROW else 10.5 if c in WIDE or ord(c) > 0x2FF else 7.0 for c in text))


def badge_text(label: str, words: str, state: str) -> str:
    shown = printable(label)
    shown = shown if len(shown) <= LABEL_CHARS_MAX else shown[: LABEL_CHARS_MAX - 1] + "…"
    label_width, words_width = width_of(shown), width_of(words)
    left, right = label_width + 2 * PADDING, words_width + 2 * PADDING
    return BADGE.format(
        width=left + right,
        left=left,
        right=right,
        label=html.escape(shown),
        words=html.escape(words),
        label_colour=LABEL_COLOUR,
        colour=COLOURS[state],
        padding=PADDING,
        label_width=label_width,
        words_at=left + PADDING,
        words_width=words_width,
    )
