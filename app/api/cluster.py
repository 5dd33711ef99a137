"""How Kafka, our topics and the control role are, asked of the cluster itself. Changes nothing there."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.topics import TOPICS

CONTROL_GROUP: Final = "entrepot.control"  # as `app.control` names its consumer group
CHECK_SECONDS: Final = 3.0
KEEP_SECONDS: Final = 0.25
STABLE: Final = "Stable"


class Cluster:
    """Asks Kafka about topics and groups; an answer is kept for a moment, so that many who ask are one question."""

    def __init__(self, bootstrap_servers: str, partitions: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._partitions = partitions
        self._clock = clock
        self._admin: AIOKafkaAdminClient | None = None
        self._answer: dict[str, str] = {}
        self._answered = float("-inf")
        self._asking = asyncio.Lock()

    async def parts(self) -> dict[str, str]:
        """Return `ok` or what is wrong, for kafka, topics and control."""
        async with self._asking:
            if self._clock() - self._answered > KEEP_SECONDS:
                self._answer = await self._ask()
                self._answered = self._clock()
            return dict(self._answer)

    async def close(self) -> None:
        """Disconnect."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def _ask(self) -> dict[str, str]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                admin = await self._connected()
                topics = await admin.describe_topics(list(TOPICS))
                groups = await admin.describe_consumer_groups([CONTROL_GROUP])
        except (KafkaError, TimeoutError, OSError) as error:
            await self.close()
            unknown = "unknown while Kafka is not reachable"
            return {"kafka": f"not reachable ({type(error).__name__})", "topics": unknown, "control": unknown}
        return {"kafka": "ok", "topics": self._topics(topics), "control": _control(groups)}

    async def _connected(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap_servers, request_timeout_ms=2_000)
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
