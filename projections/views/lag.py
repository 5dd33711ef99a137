"""How far behind those are who read topics, how fast they are, and when they will be through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

Place = tuple[str, int]  # topic and partition


@dataclass(frozen=True, slots=True)
class LagSample:
    """One look at all readers. `at` is in seconds of a steady clock, `looked_at` the time of day.

    Positions and ends are offsets; what lies between them and is no record, as transactions leave it, is left out.
    """

    at: float
    looked_at: datetime
    positions: Mapping[Place, int]  # of the record that comes next
    ends: Mapping[Place, int]
    waiting: Mapping[Place, datetime]  # since when the next record waits; lacks those that couldn't be asked in time
    messages: Mapping[str, int]  # seen by each lane, ever

    def behind(self, place: Place) -> int:
        """Return how many records wait in a partition."""
        return max(0, self.ends[place] - self.positions[place])

    def places(self, topic: str) -> Sequence[Place]:
        """Return the partitions of a topic."""
        return sorted(each for each in self.ends if each[0] == topic)


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far behind the reader of a partition is."""

    partition: int
    position: int
    end: int
    behind: int
    waiting_since: datetime | None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind the readers of a topic are. The rate is None before a second look, the time when nothing moves."""

    behind: int
    records_per_second: float | None
    eta_seconds: float | None
    waiting_since: datetime | None
    partitions: Sequence[PartitionLag]


def lag_of(samples: Sequence[LagSample], topic: str) -> Lag:
    """Return how far behind the readers of a topic are, by samples of the last while, the newest at the end."""
    newest = samples[-1]
    partitions = [
        PartitionLag(
            partition=place[1],
            position=newest.positions[place],
            end=newest.ends[place],
            behind=newest.behind(place),
            waiting_since=newest.waiting.get(place) if newest.behind(place) else None,
        )
        for place in newest.places(topic)
    ]
    behind = sum(each.behind for each in partitions)
    return Lag(
        behind=behind,
        records_per_second=_records_per_second(samples, topic),
        eta_seconds=_eta(behind, _records_per_second(_busy(samples, topic), topic)),
        waiting_since=min((each.waiting_since for each in partitions if each.waiting_since), default=None),
        partitions=partitions,
    )


def messages_per_second(samples: Sequence[LagSample], lane: str) -> float | None:
    """Return how many messages a lane takes in a second; None before a second look."""
    return _rate(samples, samples[-1].messages.get(lane, 0) - samples[0].messages.get(lane, 0))


def rate_at_work(samples: Sequence[LagSample], lane: str, topic: str) -> float | None:
    """Return how many messages a lane takes in a second; None when it wasn't busy between any two looks.

    Only the time between two looks at which records waited counts: what came one by one says nothing of how fast it is.
    """
    spans = [
        (after.messages.get(lane, 0) - before.messages.get(lane, 0), after.at - before.at)
        for before, after in pairwise(samples)
        if all(any(map(each.behind, each.places(topic))) for each in (before, after))
    ]
    seconds = sum(each for _, each in spans)
    return sum(moved for moved, _ in spans) / seconds if seconds > 0 else None


def has_passed(sample: LagSample, topics: Sequence[str], moment: datetime) -> bool:
    """Tell whether all that was written to some topics up to a moment was read, when this sample was taken."""
    return sample.looked_at > moment and all(
        place in sample.waiting and sample.waiting[place] > moment
        for topic in topics
        for place in sample.places(topic)
        if sample.behind(place)
    )


def _records_per_second(samples: Sequence[LagSample], topic: str) -> float | None:
    first, last = samples[0].positions, samples[-1].positions
    return _rate(samples, sum(last[each] - first.get(each, last[each]) for each in samples[-1].places(topic)))


def _rate(samples: Sequence[LagSample], moved: int) -> float | None:
    seconds = samples[-1].at - samples[0].at
    return max(0, moved) / seconds if seconds > 0 else None


def _busy(samples: Sequence[LagSample], topic: str) -> Sequence[LagSample]:
    """Return the samples since there was last nothing to do: idle time says nothing about how fast a reader is."""
    idle = [number for number, each in enumerate(samples[:-1]) if not any(map(each.behind, each.places(topic)))]
    return samples[idle[-1] :] if idle else samples


def _eta(behind: int, records_per_second: float | None) -> float | None:
    if not behind:
        return 0.0
    return behind / records_per_second if records_per_second else None
