"""A safe commit path for Faust: commit an offset only when all earlier records are processed and their writes acked.

Overrides private methods of the pinned faust-streaming; tests/integration/test_safe_faust.py verifies the guarantees.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver

DRAIN_TIMEOUT_SECONDS: Final = 10.0
YIELD_RECORDS: Final = 50  # records enqueued before yielding to the event loop
IDLE_DELAY_SECONDS: Final = 0.1  # between polls without an active partition


class SafeConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads only committed records: those of aborted transactions never reach an agent."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - Faust sets it only in exactly-once mode
        return consumer


class SafeConsumer(driver.Consumer):
    """Delays a commit rather than commit unprocessed records."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Faust uses weak references: an event that an agent dropped would count as processed.
        self._unacked_messages: set[Any] = set()
        self._stops = 0

    @property
    def acknowledged(self) -> int:
        """The number of acknowledged records since the start."""
        count: int = self._n_acked
        return count

    def _new_consumer_thread(self) -> Any:
        return SafeConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Any) -> bool:
        """Acknowledge a record, also one that was committed before a rebalance and delivered again."""
        done: bool = super().ack(message)
        self._unacked_messages.discard(message)
        return done

    async def _drain_messages(self, fetcher: Any) -> None:
        """Pass fetched records to the agents. Stock Faust loses records during a seek or when it clears a queue."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                if self.flow_active:
                    await self._fetch_batch()
                else:
                    await self.wait(self.can_resume_flow)
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:  # a stop during a rebalance would count as a crash
                raise

    async def _fetch_batch(self) -> None:
        # A copy: Faust adds partitions to the set before it has set their positions.
        active, generation = frozenset(self._get_active_partitions()), self._stops
        if not active:
            await self.sleep(IDLE_DELAY_SECONDS)
            return
        records = await self._getmany(active_partitions=active, timeout=1.0)
        await self.wait_first(self._enqueue(records, generation), self.suspend_flow.wait())

    async def _enqueue(self, records: Any, generation: int) -> None:
        """Enqueue records and track them as unacked. After a stop, the remaining records are fetched again."""
        for count, (tp, record) in enumerate(self.scheduler.iterate(records)):
            if count % YIELD_RECORDS == 0:
                await asyncio.sleep(0)
            if generation != self._stops:
                return
            if tp in self._paused_partitions:
                continue
            message = self._to_message(tp, record)
            if self.app.topics.acks_enabled_for(message.topic):
                self._unacked_messages.add(message)
            await self.callback(message)

    def stop_flow(self) -> None:
        """Stop enqueueing until Faust resumes. Queued records are dropped and fetched again."""
        self._stops += 1
        self._unacked_messages -= {message for message in self._unacked_messages if not message.tracked}
        super().stop_flow()

    async def perform_seek(self) -> None:
        """Seek to the committed offsets. Faust then clears the queues and resumes."""
        self.stop_flow()
        await super().perform_seek()

    def _new_offset(self, tp: Any) -> int | None:
        """Return the offset after the last acked record, at most that of the first unacked one. Keeps the acks."""
        acked = self._acked[tp]
        if not acked:
            return None
        end: int = max(acked) + 1
        unacked = (message.offset for message in self._unacked_messages if message.tp == tp and not message.acked)
        return min(end, min(unacked, default=end))

    async def _commit_offsets(self, offsets: Mapping[Any, int], start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - Faust's signature
        app = self.app
        owned = self.assignment()
        owned_offsets = {tp: offset for tp, offset in offsets.items() if tp in owned}
        if not owned_offsets or not await app.writes.drained(DRAIN_TIMEOUT_SECONDS):
            return False
        if not await self._commit(owned_offsets):
            return False
        for tp, offset in owned_offsets.items():
            self._committed_offset[tp] = offset
            self._acked[tp] = [acked for acked in self._acked[tp] if acked >= offset]
            self._acked_index[tp] = {acked for acked in self._acked_index[tp] if acked >= offset}
        app.monitor.on_tp_commit(owned_offsets)
        return True

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commit processed records before Faust drops them, so that the next owner repeats less."""
        await self.commit()
        await super().on_partitions_revoked(revoked)

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Do nothing: `watchdog` replaces Faust's detector, which misjudges partitions that end in a marker."""


class SafeProducer(driver.Producer):
    """An idempotent producer, so that retries neither duplicate nor reorder records."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class SafeTransport(driver.Transport):
    """The transport of every `SafeApp`."""

    Consumer = SafeConsumer
    Producer = SafeProducer
