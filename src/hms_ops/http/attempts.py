"""Failed log-ins: how many an address, and all together, may have before they wait.

A leaky bucket each: a failure fills it by one, it empties evenly, and while it is full nobody from there is asked for a
token at all, so that the right one among many guesses is not told from the wrong ones. IPv6 counts by /64, which is
what one subscriber has. The bound of all protects from many addresses at once; meanwhile sessions and bearer tokens go
on, and only new log-ins wait.

Bounds: ADDRESSES_MAX remembered, the one that failed longest ago is forgotten. Threads: the event loop's only.
"""

from collections import OrderedDict
from ipaddress import IPv6Network, ip_address
from typing import Final

ADDRESS_FAILED_MAX: Final = 10
ADDRESS_FAILED_SECONDS: Final = 60.0  # in which a full bucket empties
ALL_FAILED_MAX: Final = 300
ALL_FAILED_SECONDS: Final = 60.0
ADDRESSES_MAX: Final = 4096
# Entries of the audit log about failures; the others are counted and told with the next entry.
TOLD_MAX: Final = 10
TOLD_SECONDS: Final = 60.0


class Bucket:
    """Empties by `size` in `seconds`."""

    __slots__ = ("_at", "_level", "_rate", "_size")

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._rate = size / seconds
        self._level = 0.0
        self._at = 0.0

    def wait_seconds(self, now: float) -> float:
        """How long until one more fits; 0 when it does."""
        return max(0.0, (self._left(now) + 1 - self._size) / self._rate)

    def fill(self, now: float) -> None:
        self._level, self._at = self._left(now) + 1, now

    def _left(self, now: float) -> float:
        # A clock that was set back must not fill it.
        return max(0.0, self._level - max(0.0, now - self._at) * self._rate)


class Attempts:
    """Failures of one server."""

    def __init__(self, addresses_max: int = ADDRESSES_MAX) -> None:
        self.untold = 0
        self._max = addresses_max
        self._all = Bucket(ALL_FAILED_MAX, ALL_FAILED_SECONDS)
        self._told = Bucket(TOLD_MAX, TOLD_SECONDS)
        self._addresses: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._addresses)

    def wait_seconds(self, address: str, now: float) -> float:
        """How long an address has to wait before it may try; 0 when it may."""
        known = self._addresses.get(group_of(address))
        return max(self._all.wait_seconds(now), known.wait_seconds(now) if known is not None else 0.0)

    def failed(self, address: str, now: float) -> None:
        group = group_of(address)
        bucket = self._addresses.pop(group, None) or Bucket(ADDRESS_FAILED_MAX, ADDRESS_FAILED_SECONDS)
        if len(self._addresses) >= self._max:
            self._addresses.popitem(last=False)
        self._addresses[group] = bucket
        bucket.fill(now)
        self._all.fill(now)
        self.untold += 1

    def to_tell(self, now: float) -> int:
        """How many failures the audit log is to be told of now; 0 when it has heard enough for a while."""
        if self._told.wait_seconds(now):
            return 0
        self._told.fill(now)
        count, self.untold = self.untold, 0
        return count


def group_of(address: str) -> str:
    """The address, of IPv6 the /64 it is in; "" for what is no address."""
    try:
        place = ip_address(address)
    except ValueError:
        return ""
    mapped = getattr(place, "ipv4_mapped", None)
    if mapped is not None or place.version == 4:
        return str(mapped or place)
    return str(IPv6Network((int(place), 64), strict=False))
