"""The Faust app: its fixed settings, its latch, and its hooks for rebalances."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import faust

from app.kafka.clients import KafkaCluster
from app.kafka.safe_faust.latch import Latch
from app.kafka.safe_faust.publishing import PendingWrites
from app.kafka.safe_faust.table import StateTable, VersionOf
from app.kafka.safe_faust.topic import SafeTopic
from app.kafka.safe_faust.transport import SafeTransport
from schemas.topics import MAX_RECORD_BYTES

BUFFER_RECORDS: Final = 65536  # of single messages; Faust pauses for a second when its buffer is full

# docs/decisions/001 explains each setting.
FIXED: Final = MappingProxyType(
    {
        "store": "memory://",
        "topic_allow_declare": False,  # Faust doesn't verify topics; `worker` creates and verifies the changelogs
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "web_enabled": False,  # it would expose table data on all interfaces
        "key_serializer": "raw",
        "value_serializer": "raw",
        "consumer_auto_offset_reset": "earliest",
        "broker_commit_interval": 0.5,
        "broker_commit_every": 2**31,  # commit by time only: a commit by count would await acks in the fetching task
        "broker_session_timeout": 10.0,
        "broker_heartbeat_interval": 3.0,
        "broker_request_timeout": 30.0,
        "stream_wait_empty": True,
        "stream_publish_on_commit": False,
        "producer_linger": 0.005,  # for Faust's own writes; closed batches don't linger
        "producer_max_batch_size": 256 * 1024,
        "producer_max_request_size": MAX_RECORD_BYTES,
        "worker_redirect_stdouts": False,
    }
)

Owned = frozenset[tuple[str, int]]  # (topic, partition)
Hook = Callable[[Owned], Awaitable[None]]


class SafeApp(faust.App):
    """A Faust app that ends the process rather than lose records. All parts share `latch` and `writes`."""

    def __init__(self, app_id: str, *, cluster: KafkaCluster, latch: Latch, **options: Any) -> None:
        self.cluster = cluster
        self.latch = latch
        self.writes = PendingWrites(latch)
        self._assigned_hooks: list[Hook] = []
        self._revoked_hooks: list[Hook] = []
        self._announced: Owned = frozenset()
        self._assigned = False
        self._announcing = asyncio.Lock()
        super().__init__(
            app_id,
            **connection_of(cluster),
            **options,
        )
        self.on_partitions_assigned.connect(self._note_assigned)
        self.on_rebalance_complete.connect(self._announce_assigned)
        self.on_partitions_revoked.connect(self._announce_revoked)
        self.on_before_shutdown.connect(self._announce_revoked)

    def when_assigned(self, hook: Hook) -> None:
        """Call `hook` with all owned partitions, after the recovery of tables and before any record is read.

        It is called after every rebalance, with retained and new partitions. A hook that raises trips the latch.
        """
        self._assigned_hooks.append(hook)

    def when_revoked(self, hook: Hook) -> None:
        """Call `hook` with the assigned partitions, before another worker can own any of them.

        The current batch is finished and committed by then. Every rebalance first revokes all partitions (eager
        rebalancing), and so does a graceful stop. A killed process calls no hooks.
        """
        self._revoked_hooks.append(hook)

    async def _note_assigned(self, *_signal: Any, **_options: Any) -> None:
        self._assigned = True

    async def _announce_assigned(self, *_signal: Any, **_options: Any) -> None:
        async with self._announcing:
            if self._assigned:  # otherwise the partitions were revoked during the recovery
                owned = self._owned()
                await self._call([self._repair_changelogs, *self._assigned_hooks], owned)

    async def _repair_changelogs(self, _owned: Owned) -> None:
        for table in self.tables.values():
            await table.repair_changelog()

    async def _announce_revoked(self, *_signal: Any, **_options: Any) -> None:
        self._assigned = False
        async with self._announcing:
            revoked, self._announced = self._announced, frozenset()
            if revoked:
                await self._call(self._revoked_hooks, revoked)

    def _owned(self) -> Owned:
        changelogs = self.tables.changelog_topics
        assigned = self.consumer.assignment()
        for table in self.tables.values():  # Faust drops the keys of revoked partitions later
            table.retain_partitions({n for topic, n in assigned if topic == table.changelog_topic_name})
        self._announced = frozenset((topic, n) for topic, n in assigned if topic not in changelogs)
        return self._announced

    async def _call(self, hooks: list[Hook], partitions: Owned) -> None:
        for hook in hooks:
            try:
                await hook(partitions)
            except asyncio.CancelledError:
                raise
            except Exception as failure:
                self.latch.trip(f"a rebalance hook failed: {failure!r}", failure)
                raise

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        self.latch.trip(f"agent {agent.name} failed: {exc!r}", exc)

    def _crash(self, reason: BaseException) -> None:
        self.latch.trip(f"a worker service crashed: {reason!r}", reason)
        super()._crash(reason)

    def _new_transport(self) -> SafeTransport:
        return SafeTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> SafeTransport:
        return SafeTransport(self.conf.broker_producer, self)


def make_worker_app(
    app_id: str,
    cluster: KafkaCluster,
    *,
    instance_id: str,
    data_dir: Path,
    partitions: int,
    buffer_records: int = BUFFER_RECORDS,
    latch: Latch | None = None,
) -> SafeApp:
    """Create the app of one worker. Call it in the running event loop.

    `app_id` is the consumer group. `instance_id` identifies this worker across restarts (static membership), so that a
    restart within ten seconds causes no rebalance; it must be unique. `partitions` is the count of every input topic.
    `buffer_records` limits the buffer of each agent; records with thousands of messages need less, about 2,048.
    """
    for name in ("faust", "mode", "aiokafka", __package__):  # services log with the module name of their class
        logging.getLogger(name).setLevel(logging.WARNING)
    return SafeApp(
        app_id,
        latch=latch or Latch(),
        cluster=cluster,
        datadir=data_dir,
        Topic=SafeTopic,
        Table=StateTable,
        topic_partitions=partitions,
        consumer_group_instance_id=instance_id,
        stream_buffer_maxsize=buffer_records,
        **FIXED,
    )


def connection_of(cluster: KafkaCluster) -> dict[str, Any]:
    """Return the settings of a Faust app that locate the cluster and authenticate."""
    security, context = cluster.security, cluster.security.ssl_context()
    credentials: faust.Credentials | None = None
    if security.has_sasl:
        credentials = faust.SASLCredentials(
            username=security.user, password=security.password, mechanism=security.mechanism, ssl_context=context
        )
    elif context is not None:
        credentials = faust.SSLCredentials(context)
    servers = [f"kafka://{server}" for server in cluster.bootstrap_servers.split(",")]
    return {"broker": servers, "broker_credentials": credentials}


def make_table(app: SafeApp, name: str, version_of: VersionOf | None = None) -> StateTable:
    """Declare a table of raw bytes, co-partitioned with the input topics. Declare all tables before the worker runs.

    `version_of` extracts from a value a version that never decreases for its key.
    """
    table: StateTable = app.Table(name, key_type=bytes, value_type=bytes, partitions=app.conf.topic_partitions)
    table.version_of = version_of
    return table
