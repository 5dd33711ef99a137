"""The health of Kafka, of our topics and of the control role, as the cluster reports it."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.errors import KafkaError

from app.kafka.clients import KafkaCluster
from app.process import Monotonic
from schemas.topics import JOBS_EVENTS, TOPICS

CONTROL_GROUP: Final = "entrepot.control"  # as `app.control.role` names its consumer group
CHECK_TIMEOUT_SECONDS: Final = 3.0
REQUEST_TIMEOUT_MS: Final = 2_000
MAX_AGE_SECONDS: Final = 0.25
STALL_TIMEOUT_SECONDS: Final = 30.0
STABLE: Final = "Stable"


class StallDetector:
    """Detects that control does not move on to its next event, for example because that event crashes it."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}  # partition → its offset, and since when it has that

    def check(self, committed: Mapping[int, int], ends: Mapping[int, int], now: float) -> str:
        """Return `ok`, or the position at which control is stalled."""
        behind = {number: committed.get(number, 0) for number, end in ends.items() if committed.get(number, 0) < end}
        before = self._since
        self._since = {
            number: before[number] if number in before and before[number][0] == offset else (offset, now)
            for number, offset in behind.items()
        }
        for partition, (offset, since) in sorted(self._since.items()):
            if now - since > STALL_TIMEOUT_SECONDS:
                where = f"{JOBS_EVENTS.name}/{partition} at offset {offset}"
                return f"stalled at {where} for {now - since:.0f} s: see its log"
        return "ok"


class ClusterHealth:
    """Queries Kafka about topics and groups; a result is used again for a moment."""

    def __init__(self, cluster: KafkaCluster, partitions: int, monotonic: Monotonic = time.monotonic) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._monotonic = monotonic
        self._admin: Any = None
        self._status: dict[str, str] = {}
        self._checked_at = float("-inf")
        self._checking = asyncio.Lock()
        self._stall_detector = StallDetector()

    async def parts(self, ends: Mapping[int, int]) -> dict[str, str]:
        """Return `ok` or the problem of kafka, topics and control. `ends` are the next offsets of the event tail."""
        async with self._checking:
            if self._monotonic() - self._checked_at > MAX_AGE_SECONDS:
                self._status = await self._check(ends)
                self._checked_at = self._monotonic()
            return dict(self._status)

    async def close(self) -> None:
        """Disconnect."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def _check(self, ends: Mapping[int, int]) -> dict[str, str]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                admin = await self._connected()
                topics = await admin.describe_topics(list(TOPICS))
                groups = await admin.describe_consumer_groups([CONTROL_GROUP])
                offsets = await admin.list_consumer_group_offsets(CONTROL_GROUP)
        except (KafkaError, TimeoutError, OSError) as error:
            await self.close()
            unknown = "unknown while Kafka is not reachable"
            return {"kafka": f"not reachable ({type(error).__name__})", "topics": unknown, "control": unknown}
        control = _control(groups)
        if control == "ok":
            committed = {
                partition.partition: offset.offset
                for partition, offset in offsets.items()
                if partition.topic == JOBS_EVENTS.name
            }
            control = self._stall_detector.check(committed, ends, self._monotonic())
        return {"kafka": "ok", "topics": self._topics(topics), "control": control}

    async def _connected(self) -> Any:
        if self._admin is None:
            admin = self._cluster.admin(REQUEST_TIMEOUT_MS)
            try:
                await admin.start()
            except BaseException:
                await admin.close()
                raise
            self._admin = admin
        return self._admin

    def _topics(self, described: Any) -> str:
        counts = {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}
        wrong = [name for name in TOPICS if counts.get(name) != self._partitions]
        return "ok" if not wrong else f"missing, or without {self._partitions} partitions: {', '.join(wrong)}"


def _control(responses: Any) -> str:
    """Return `ok` when the group that answers commands has members with partitions, else the problem."""
    for response in responses:
        for _, name, state, _, _, members, *_ in response.groups:
            if name == CONTROL_GROUP:
                return "ok" if state == STABLE and members else f"not answering yet: its group is {state or 'unknown'}"
    return "not answering: it has never started"
