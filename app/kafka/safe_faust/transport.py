"""Faust's commit path, made safe: an offset is committed when all before it is done and every write it caused is acked.

It overrides private methods of the pinned faust-streaming;
tests/integration/test_safe_faust.py holds it to its promise.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver

DRAIN_SECONDS: Final = 10.0
TURN_RECORDS: Final = 50  # handed over before others have their turn of the loop
IDLE_DELAY_SECONDS: Final = 0.1  # between looks when no partition may be read


class SafeConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads what was committed, and only that: an aborted transaction's records never reach an agent."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - Faust offers it with its exactly-once mode only
        return consumer


class SafeConsumer(driver.Consumer):
    """Commits late rather than wrongly."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Faust holds them weakly: an event that an agent let go of would count as done.
        self._unacked_messages: set[Any] = set()
        self._stops = 0

    @property
    def acknowledged(self) -> int:
        """How many records were acknowledged since the start."""
        count: int = self._n_acked
        return count

    def _new_consumer_thread(self) -> Any:
        return SafeConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Any) -> bool:
        """Acknowledge; also what was committed before a rebalance and delivered again is no longer waited for."""
        done: bool = super().ack(message)
        self._unacked_messages.discard(message)
        return done

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand fetched records to the agents. Stock Faust loses those that meet a seek or the emptying of a queue."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                if self.flow_active:
                    await self._fetch_once()
                else:
                    await self.wait(self.can_resume_flow)
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:  # a stop in the middle of a rebalance would count as a crash
                raise

    async def _fetch_once(self) -> None:
        # A copy: Faust adds partitions to the set before it has set their positions.
        active, generation = frozenset(self._get_active_partitions()), self._stops
        if not active:
            await self.sleep(IDLE_DELAY_SECONDS)
            return
        records = await self._getmany(active_partitions=active, timeout=1.0)
        await self.wait_first(self._hand_over(records, generation), self.suspend_flow.wait())

    async def _hand_over(self, records: Any, generation: int) -> None:
        """A record counts as unacked from here on. The rest of what was fetched before a stop is fetched again."""
        for count, (tp, record) in enumerate(self.scheduler.iterate(records)):
            if count % TURN_RECORDS == 0:
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
        """Hand nothing over until Faust resumes; what waits in the agents' queues is emptied and fetched again."""
        self._stops += 1
        self._unacked_messages -= {each for each in self._unacked_messages if not each.tracked}
        super().stop_flow()

    async def perform_seek(self) -> None:
        """Go back to the committed offsets. Faust empties the queues after this, and then resumes."""
        self.stop_flow()
        await super().perform_seek()

    def _new_offset(self, tp: Any) -> int | None:
        """The offset behind all that is done, and never above the first that isn't; nothing is forgotten here."""
        acked = self._acked[tp]
        if not acked:
            return None
        behind: int = max(acked) + 1
        waiting = (each.offset for each in self._unacked_messages if each.tp == tp and not each.acked)
        return min(behind, min(waiting, default=behind))

    async def _commit_offsets(self, offsets: Mapping[Any, int], start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - Faust's signature
        app = self.app
        owned = self.assignment()
        mine = {tp: offset for tp, offset in offsets.items() if tp in owned}
        if not mine or not await app.writes.drained(DRAIN_SECONDS):
            return False
        if not await self._commit(mine):
            return False
        for tp, offset in mine.items():
            self._committed_offset[tp] = offset
            self._acked[tp] = [each for each in self._acked[tp] if each >= offset]
            self._acked_index[tp] = {each for each in self._acked_index[tp] if each >= offset}
        app.monitor.on_tp_commit(mine)
        return True

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commit what is done before Faust forgets it, so that the next owner repeats less."""
        await self.commit()
        await super().on_partitions_revoked(revoked)

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Left to our watchdog; Faust's detector only logs, and wrongly where markers end a partition."""


class SafeProducer(driver.Producer):
    """Idempotent, so that a retried request neither repeats nor reorders."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class SafeTransport(driver.Transport):
    """The transport of every app that `worker` makes."""

    Consumer = SafeConsumer
    Producer = SafeProducer
