"""How Kafka, our topics and the control role are, asked of the cluster itself. Changes nothing there."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka.errors import KafkaError

from app.kafka.clients import KafkaCluster
from schemas.topics import JOBS_EVENTS, TOPICS

CONTROL_GROUP: Final = "entrepot.control"  # as `app.control.role` names its consumer group
CHECK_SECONDS: Final = 3.0
REQUEST_TIMEOUT_MS: Final = 2_000
KEEP_SECONDS: Final = 0.25
STANDSTILL_SECONDS: Final = 30.0
STABLE: Final = "Stable"


class StallDetector:
    """Notices that control has events in front of it and does not get on, as when one of them ends it every time."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}  # partition → the offset it stands at, and since when

    def look(self, committed: Mapping[int, int], ends: Mapping[int, int], now: float) -> str:
        """Return `ok`, or where control stands still for too long."""
        behind = {each: committed.get(each, 0) for each, end in ends.items() if committed.get(each, 0) < end}
        known = self._since
        self._since = {
            each: known[each] if each in known and known[each][0] == offset else (offset, now)
            for each, offset in behind.items()
        }
        for partition, (offset, since) in sorted(self._since.items()):
            if now - since > STANDSTILL_SECONDS:
                where = f"{JOBS_EVENTS.name}/{partition} at offset {offset}"
                return f"it stands still in front of {where} for {now - since:.0f} s: its log says why"
        return "ok"


class ClusterHealth:
    """Asks Kafka about topics and groups; an answer is kept for a moment, so that many who ask are one question."""

    def __init__(self, cluster: KafkaCluster, partitions: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._clock = clock
        self._admin: Any = None
        self._answer: dict[str, str] = {}
        self._answered = float("-inf")
        self._asking = asyncio.Lock()
        self._standstill = StallDetector()

    async def parts(self, ends: Mapping[int, int]) -> dict[str, str]:
        """Return `ok` or what is wrong, for kafka, topics and control. `ends` are those of the events seen so far."""
        async with self._asking:
            if self._clock() - self._answered > KEEP_SECONDS:
                self._answer = await self._ask(ends)
                self._answered = self._clock()
            return dict(self._answer)

    async def close(self) -> None:
        """Disconnect."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def _ask(self, ends: Mapping[int, int]) -> dict[str, str]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
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
            done = {place.partition: at.offset for place, at in offsets.items() if place.topic == JOBS_EVENTS.name}
            control = self._standstill.look(done, ends, self._clock())
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

    def _topics(self, found: Any) -> str:
        counts = {each["topic"]: len(each["partitions"]) for each in found if not each["error_code"]}
        wrong = [name for name in TOPICS if counts.get(name) != self._partitions]
        return "ok" if not wrong else f"missing, or without {self._partitions} partitions: {', '.join(wrong)}"


def _control(responses: Any) -> str:
    """Commands are answered when the group that does it has members, and its partitions are given out."""
    for response in responses:
        for _, name, state, _, _, members, *_ in response.groups:
            if name == CONTROL_GROUP:
                return "ok" if state == STABLE and members else f"not answering yet: its group is {state or 'unknown'}"
    return "not answering: it has never started"
