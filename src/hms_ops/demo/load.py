"""What the refund rush does to one simulated database: its write latency as a pure function of time.

    write_ms = 20 + 100 × (demand + backlog) / replicas

Demand is the work that arrives, in what one replica can do; backlog is what piled up. Three cues change it, each
gliding to its new value: `rush` (120 → 215 ms), `snowball` (the queue piles up: 460 ms) and `scale N` (N replicas join;
the backlog drains only if they can do more than arrives). So the latency falls below 150 ms because replicas came, and
not because a script says so. 460 ms is above twice 215 ms: whatever the mean of the last ten minutes is by then,
the snowball doubles it.

All three services keep a Load and get the same cues: what waits for the database feels its latency.
"""

from typing import Final, NamedTuple

REST_MS: Final = 20.0
WORK_MS: Final = 100.0

RUSH_DEMAND: Final = 1.95
RUSH_SECONDS: Final = 6.0
SNOWBALL_BACKLOG: Final = 2.45
SNOWBALL_SECONDS: Final = 0.5
JOIN_SECONDS: Final = 1.5
DRAIN_SECONDS: Final = 2.0
REPLICAS_ADDED_MAX: Final = 10


class Glide(NamedTuple):
    """A value on its way in a straight line from `start`, at `began`, to `target`, `seconds` later."""

    start: float
    target: float
    began: float = 0.0
    seconds: float = 0.0

    def at(self, now: float) -> float:
        if now >= self.began + self.seconds:
            return self.target
        return self.start + (self.target - self.start) * max(0.0, now - self.began) / self.seconds

    def toward(self, target: float, seconds: float, now: float) -> "Glide":
        """From where it is now to another target."""
        return Glide(self.at(now), target, now, seconds)


class Load(NamedTuple):
    """The database under its load; times are seconds of any one clock."""

    demand: Glide = Glide(1.0, 1.0)
    backlog: Glide = Glide(0.0, 0.0)
    replicas: Glide = Glide(1.0, 1.0)

    def work(self, now: float) -> float:
        return self.demand.at(now) + self.backlog.at(now)

    def write_ms(self, now: float) -> float:
        return REST_MS + WORK_MS * self.work(now) / self.replicas.at(now)


def cued(load: Load, cue: str, now: float) -> Load:
    """The load after a cue; ValueError for a cue nobody knows."""
    match cue.split():
        case ["rush"]:
            return load._replace(demand=load.demand.toward(RUSH_DEMAND, RUSH_SECONDS, now))
        case ["snowball"]:
            return load._replace(backlog=load.backlog.toward(SNOWBALL_BACKLOG, SNOWBALL_SECONDS, now))
        case ["scale", count] if count.isdecimal() and 1 <= int(count) <= REPLICAS_ADDED_MAX:
            return scaled(load, int(count), now)
    raise ValueError(f"no cue {cue!r}; there are rush, snowball and scale N, N from 1 to {REPLICAS_ADDED_MAX}")


def scaled(load: Load, count: int, now: float) -> Load:
    """`count` replicas join; if all together do more than arrives, the backlog drains."""
    replicas = load.replicas.toward(load.replicas.target + count, JOIN_SECONDS, now)
    if replicas.target <= load.demand.target:
        return load._replace(replicas=replicas)
    return load._replace(replicas=replicas, backlog=load.backlog.toward(0.0, DRAIN_SECONDS, now))
