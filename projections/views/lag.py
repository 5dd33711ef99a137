"""Consumer lag in records, throughput, and estimated time to catch up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

PartitionId = tuple[str, int]  # topic and partition
MIN_MEASURED_MESSAGES: Final = 100  # for a throughput under load


@dataclass(frozen=True, slots=True)
class LagSample:
    """A sample of all consumers. `at` is in seconds of a monotonic clock, `sampled_at` is the wall-clock time.

    Positions and ends are offsets, adjusted for transaction markers, which are not records.
    """

    at: float
    sampled_at: datetime
    positions: Mapping[PartitionId, int]  # offset of the next record
    ends: Mapping[PartitionId, int]
    waiting: Mapping[PartitionId, datetime]  # arrival of the next record; missing if the query timed out
    messages: Mapping[str, int]  # total by lane
    dead_letters: int = 0  # offsets of their topic, with the markers of transactions

    def lag(self, partition: PartitionId) -> int:
        """Return the lag of a partition in records."""
        return max(0, self.ends[partition] - self.positions[partition])

    def partitions(self, topic: str) -> Sequence[PartitionId]:
        """Return the partitions of a topic."""
        return sorted(partition for partition in self.ends if partition[0] == topic)


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """The lag of one partition in records."""

    partition: int
    position: int
    end: int
    lag: int
    oldest_pending_at: datetime | None


@dataclass(frozen=True, slots=True)
class TopicLag:
    """The lag of a topic in records. The rate is None with a single sample, the ETA while the rate is zero."""

    lag: int
    records_per_second: float | None
    eta_seconds: float | None
    oldest_pending_at: datetime | None
    partitions: Sequence[PartitionLag]


def topic_lag(samples: Sequence[LagSample], topic: str) -> TopicLag:
    """Return the lag of a topic from recent samples, the newest last."""
    newest = samples[-1]
    partitions = [
        PartitionLag(
            partition=partition[1],
            position=newest.positions[partition],
            end=newest.ends[partition],
            lag=newest.lag(partition),
            oldest_pending_at=newest.waiting.get(partition) if newest.lag(partition) else None,
        )
        for partition in newest.partitions(topic)
    ]
    lag = sum(partition.lag for partition in partitions)
    return TopicLag(
        lag=lag,
        records_per_second=_records_per_second(samples, topic),
        eta_seconds=_eta(lag, _records_per_second(_busy(samples, topic), topic)),
        oldest_pending_at=min((item.oldest_pending_at for item in partitions if item.oldest_pending_at), default=None),
        partitions=partitions,
    )


def messages_per_second(samples: Sequence[LagSample], lane: str) -> float | None:
    """Return the throughput of a lane in messages per second; None with a single sample."""
    return _rate(samples, samples[-1].messages.get(lane, 0) - samples[0].messages.get(lane, 0))


def rate_at_work(samples: Sequence[LagSample], lane: str, topic: str) -> float | None:
    """Return the throughput of a lane under load in messages per second; None if too little was measured.

    Only the time between two samples with lag counts: throughput below capacity says nothing about the capacity. Nor
    do a few messages: they may have waited for the lane to start.
    """
    spans = [
        (after.messages.get(lane, 0) - before.messages.get(lane, 0), after.at - before.at)
        for before, after in pairwise(samples)
        if all(any(map(sample.lag, sample.partitions(topic))) for sample in (before, after))
    ]
    moved, seconds = sum(moved for moved, _ in spans), sum(duration for _, duration in spans)
    return moved / seconds if moved >= MIN_MEASURED_MESSAGES and seconds > 0 else None


def has_passed(sample: LagSample, topics: Sequence[str], moment: datetime) -> bool:
    """Whether the consumers had read everything written to the topics up to a moment when the sample was taken."""
    return sample.sampled_at > moment and all(
        partition in sample.waiting and sample.waiting[partition] > moment
        for topic in topics
        for partition in sample.partitions(topic)
        if sample.lag(partition)
    )


def _records_per_second(samples: Sequence[LagSample], topic: str) -> float | None:
    first, last = samples[0].positions, samples[-1].positions
    moved = (last[partition] - first.get(partition, last[partition]) for partition in samples[-1].partitions(topic))
    return _rate(samples, sum(moved))


def _rate(samples: Sequence[LagSample], moved: int) -> float | None:
    seconds = samples[-1].at - samples[0].at
    return max(0, moved) / seconds if seconds > 0 else None


def _busy(samples: Sequence[LagSample], topic: str) -> Sequence[LagSample]:
    """Return the samples since the last idle one: idle time says nothing about the throughput."""
    idle = [index for index, sample in enumerate(samples[:-1]) if not any(map(sample.lag, sample.partitions(topic)))]
    return samples[idle[-1] :] if idle else samples


def _eta(lag: int, records_per_second: float | None) -> float | None:
    if not lag:
        return 0.0
    return lag / records_per_second if records_per_second else None
