"""The progress of a rebuild, for users, and for the builder itself after a restart."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

import orjson
from aiokafka import TopicPartition

RebuildPhase = Literal["building", "comparing", "caught_up", "waiting_for_lanes", "handover", "activating", "live"]


@dataclass(slots=True)
class RebuildProgress:
    """`read` of `total` offsets of the raw topics; `rate` is in messages a second, over the last seconds.

    `updates` are end offsets of the update topics from a time before the promotion, so all updates for the rebuilt
    generation come after them.
    """

    phase: RebuildPhase = "building"
    started_at: datetime | None = None
    updated_at: datetime | None = None
    messages: int = 0
    read: int = 0
    total: int = 0
    rate: float = 0.0
    waiting_for: list[str] = field(default_factory=list)  # raw partitions whose lane still uses other rules
    updates: dict[str, int] = field(default_factory=dict)  # by `topic/partition`

    @classmethod
    def decode(cls, stored: bytes | None) -> Self:
        """Return the stored progress; a new one when there is none."""
        if stored is None:
            return cls()
        fields: dict[str, Any] = orjson.loads(stored)
        for name in ("started_at", "updated_at"):
            fields[name] = fields[name] and datetime.fromisoformat(fields[name])
        return cls(**fields)

    def encode(self) -> bytes:
        """Return the progress as JSON."""
        return orjson.dumps(asdict(self))

    @property
    def seconds_left(self) -> float | None:
        """The time to catch up at the present rate; None when that is unknown."""
        if not self.read or not self.rate or not self.messages:
            return None
        return (self.total - self.read) * self.messages / self.read / self.rate

    def record_updates(self, ends: Mapping[TopicPartition, int]) -> None:
        """Record the end offsets of the update topics."""
        self.updates = {f"{source.topic}/{source.partition}": offset for source, offset in ends.items()}

    def first_updates(self) -> dict[TopicPartition, int]:
        """Return the recorded end offsets; none stands for the beginning of the topics."""
        split = {name.rpartition("/"): offset for name, offset in self.updates.items()}
        return {TopicPartition(topic, int(partition)): offset for (topic, _, partition), offset in split.items()}
