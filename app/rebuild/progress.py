"""How far a rebuild is, for people and for the builder itself when it starts again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

import orjson
from aiokafka import TopicPartition

Phase = Literal["building", "comparing", "caught_up", "waiting_for_lanes", "handover", "activating", "live"]


@dataclass(slots=True)
class RebuildProgress:
    """`read` of `total` offsets of the raw topics; `rate` is in messages a second, of the last seconds.

    `updates` is where the topics of updates ended at a moment when the rebuild wasn't promoted yet: so what is said to
    its generation stands behind it.
    """

    phase: Phase = "building"
    began_at: datetime | None = None
    updated_at: datetime | None = None
    messages: int = 0
    read: int = 0
    total: int = 0
    rate: float = 0.0
    waiting_for: list[str] = field(default_factory=list)  # raw partitions whose lane hasn't changed its rules yet
    updates: dict[str, int] = field(default_factory=dict)  # by `topic/partition`

    @classmethod
    def read_back(cls, written: bytes | None) -> Self:
        """Return what was written; a new one when there is nothing."""
        if written is None:
            return cls()
        facts: dict[str, Any] = orjson.loads(written)
        for name in ("began_at", "updated_at"):
            facts[name] = facts[name] and datetime.fromisoformat(facts[name])
        return cls(**facts)

    def written(self) -> bytes:
        """Return it as JSON."""
        return orjson.dumps(asdict(self))

    @property
    def seconds_left(self) -> float | None:
        """How long it will take to catch up at this rate; None when that isn't known."""
        if not self.read or not self.rate or not self.messages:
            return None
        return (self.total - self.read) * self.messages / self.read / self.rate

    def note_updates(self, ends: Mapping[TopicPartition, int]) -> None:
        """Note where the topics of updates end."""
        self.updates = {f"{each.topic}/{each.partition}": offset for each, offset in ends.items()}

    def begin_of_updates(self) -> dict[TopicPartition, int]:
        """Return what was noted; nothing at all stands for the beginning."""
        split = {name.rpartition("/"): offset for name, offset in self.updates.items()}
        return {TopicPartition(topic, int(partition)): offset for (topic, _, partition), offset in split.items()}
