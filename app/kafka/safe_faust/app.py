"""The Faust app with every setting that matters, its latch, and the hooks around a change of partitions."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import faust

from app.kafka.safe_faust.latch import Latch
from app.kafka.safe_faust.publishing import Writes
from app.kafka.safe_faust.table import StateTable, VersionOf
from app.kafka.safe_faust.topic import SafeTopic
from app.kafka.safe_faust.transport import SafeTransport
from schemas.topics import MAX_RECORD_BYTES

BUFFER_RECORDS: Final = 65536  # for single records; Faust pauses a full second whenever its buffer is full

# The same for every app; docs/decisions/001 says what each of them avoids.
FIXED: Final = MappingProxyType(
    {
        "store": "memory://",
        "topic_allow_declare": False,  # Faust creates without verifying; `worker` makes the changelogs, and verifies
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "web_enabled": False,  # it would show table data on all interfaces
        "key_serializer": "raw",
        "value_serializer": "raw",
        "consumer_auto_offset_reset": "earliest",
        "broker_commit_interval": 0.5,
        "broker_commit_every": 2**31,  # by time alone: a commit by count would wait for acks inside the fetching task
        "broker_session_timeout": 10.0,
        "broker_heartbeat_interval": 3.0,
        "broker_request_timeout": 30.0,
        "stream_wait_empty": True,
        "stream_publish_on_commit": False,
        "producer_linger": 0.005,  # for Faust's own writes; our batches are closed and don't linger
        "producer_max_batch_size": 256 * 1024,
        "producer_max_request_size": MAX_RECORD_BYTES,
        "worker_redirect_stdouts": False,
    }
)

Owned = frozenset[tuple[str, int]]  # (topic, partition)
Hook = Callable[[Owned], Awaitable[None]]


class SafeApp(faust.App):
    """A Faust app that leaves rather than lie. `latch` and `writes` are shared by all its parts."""

    def __init__(self, app_id: str, *, latch: Latch, **options: Any) -> None:
        self.latch = latch
        self.writes = Writes(latch)
        self._when_assigned: list[Hook] = []
        self._when_revoked: list[Hook] = []
        self._announced: Owned = frozenset()
        self._assigned = False
        self._announcing = asyncio.Lock()
        super().__init__(app_id, **options)
        self.on_partitions_assigned.connect(self._note_assigned)
        self.on_rebalance_complete.connect(self._announce_assigned)
        self.on_partitions_revoked.connect(self._announce_revoked)
        self.on_before_shutdown.connect(self._announce_revoked)

    def when_assigned(self, hook: Hook) -> None:
        """Call `hook` with all partitions owned: tables are recovered, and no record has been read since.

        After every rebalance it is called again, with partitions that stayed as well as new ones. A hook that raises
        trips the latch.
        """
        self._when_assigned.append(hook)

    def when_revoked(self, hook: Hook) -> None:
        """Call `hook` with the partitions that were announced, before another worker can own any of them.

        The batch at work is done and committed by then. Every rebalance takes all partitions away first (Kafka calls
        it eager), and so does a clean stop; a process that is killed calls nothing.
        """
        self._when_revoked.append(hook)

    async def _note_assigned(self, *_signal: Any, **_options: Any) -> None:
        self._assigned = True

    async def _announce_assigned(self, *_signal: Any, **_options: Any) -> None:
        async with self._announcing:
            if self._assigned:  # else this recovery ends late: what it recovered was taken away meanwhile
                owned = self._owned()
                await self._call([self._write_outlived, *self._when_assigned], owned)

    async def _write_outlived(self, _owned: Owned) -> None:
        for table in self.tables.values():
            await table.write_outlived()

    async def _announce_revoked(self, *_signal: Any, **_options: Any) -> None:
        self._assigned = False
        async with self._announcing:
            gone, self._announced = self._announced, frozenset()
            if gone:
                await self._call(self._when_revoked, gone)

    def _owned(self) -> Owned:
        changelogs = self.tables.changelog_topics
        assigned = self.consumer.assignment()
        for table in self.tables.values():  # Faust forgets what was given away too, but only after this
            table.keep_only({n for topic, n in assigned if topic == table.changelog_topic_name})
        self._announced = frozenset((topic, n) for topic, n in assigned if topic not in changelogs)
        return self._announced

    async def _call(self, hooks: list[Hook], partitions: Owned) -> None:
        for hook in hooks:
            try:
                await hook(partitions)
            except asyncio.CancelledError:
                raise
            except Exception as failure:
                self.latch.trip(f"a hook around a change of partitions failed: {failure!r}", failure)
                raise

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        self.latch.trip(f"agent {agent.name} failed: {exc!r}", exc)

    def _crash(self, reason: BaseException) -> None:
        self.latch.trip(f"a part of the worker crashed: {reason!r}", reason)
        super()._crash(reason)

    def _new_transport(self) -> SafeTransport:
        return SafeTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> SafeTransport:
        return SafeTransport(self.conf.broker_producer, self)


def make_app(
    app_id: str,
    bootstrap_servers: str,
    *,
    instance_id: str,
    data_dir: Path,
    partitions: int,
    buffer_records: int = BUFFER_RECORDS,
    latch: Latch | None = None,
) -> SafeApp:
    """Make the app of one worker; call it inside the running loop.

    `app_id` is the consumer group. `instance_id` names this worker in it across restarts, so that a restart within ten
    seconds moves no partition; two workers must not share one. `partitions` is that of every topic read.
    `buffer_records` is what Faust holds in memory for each agent: about 2,048 when records are packed.
    """
    for name in ("faust", "mode", "aiokafka", __package__):  # services log under the module of their class
        logging.getLogger(name).setLevel(logging.WARNING)
    return SafeApp(
        app_id,
        latch=latch or Latch(),
        broker=[f"kafka://{each}" for each in bootstrap_servers.split(",")],
        datadir=data_dir,
        Topic=SafeTopic,
        Table=StateTable,
        topic_partitions=partitions,
        consumer_group_instance_id=instance_id,
        stream_buffer_maxsize=buffer_records,
        **FIXED,
    )


def make_table(app: SafeApp, name: str, version_of: VersionOf | None = None) -> StateTable:
    """Declare a table of raw bytes with as many partitions as what is read; declare all before the worker runs.

    `version_of` reads from a value what never goes back for its key.
    """
    table: StateTable = app.Table(name, key_type=bytes, value_type=bytes, partitions=app.conf.topic_partitions)
    table.version_of = version_of
    return table
