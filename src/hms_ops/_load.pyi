from collections.abc import Iterator
from typing import Final

FORMATS: Final[tuple[str, ...]]

class Load:
    """`datagrams` datagrams of one format (FORMATS), made once; the same arguments make the same bytes.

    in_order: ids 0, 1, … series - 1 and over again, instead of drawn. ValueError for a value out of range.
    """

    @property
    def datagrams(self) -> int: ...
    @property
    def lines(self) -> int:
        """In all datagrams together."""
    def __init__(
        self, line_format: str, series: int, datagram_bytes: int, datagrams: int, in_order: bool = False
    ) -> None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __getitem__(self, i: int) -> bytes: ...
    def send(self, host: str, port: int, seconds: float, lines_per_s: float = 0.0) -> tuple[int, int, float, int]:
        """(datagrams, lines, seconds, failed calls): for `seconds` over UDP, lines_per_s 0 as fast as possible.

        The GIL is released. OSError when the address can't be connected.
        """
