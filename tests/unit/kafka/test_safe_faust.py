"""The logic of safe_faust without a broker: the latch, stall detection and committable offsets."""

from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth, server_list
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from hypothesis import given
from hypothesis import strategies as st
from mode import Service

from app.kafka.clients import KafkaCluster, Security
from app.kafka.producer_record import ProducerRecord, RecordTooLarge
from app.kafka.safe_faust.app import SafeApp, make_worker_app
from app.kafka.safe_faust.latch import EXIT_LATCHED, Latch, WorkerStop
from app.kafka.safe_faust.publishing import publish
from app.kafka.safe_faust.transport import SafeConsumer
from app.kafka.safe_faust.watchdog import StallTimer, WorkerProgress
from app.settings import SecurityProtocol
from schemas.topics import MAX_RECORD_BYTES

PARTITION = TP("source", 0)


def make_test_app(latch: Latch | None = None) -> SafeApp:
    return make_worker_app(
        "group", KafkaCluster("127.0.0.1:1"), instance_id="one", data_dir=Path("data"), partitions=1, latch=latch
    )


class OfflineConsumer(SafeConsumer):
    """A consumer without a broker; `accepts` decides whether commits succeed."""

    def __init__(self, app: SafeApp) -> None:
        super().__init__(app.transport, self.queue, lambda _: None, lambda _: None)
        self.queued: list[int] = []
        self.stops_at = -1
        self.accepts = True
        self.commits: list[dict[TP, int]] = []
        app.topics._acking_topics.add(PARTITION.topic)

    def _new_consumer_thread(self) -> Service:
        return Service()

    def assignment(self) -> set[TP]:
        return {PARTITION}

    async def _commit(self, offsets: Any) -> bool:
        self.commits.append(dict(offsets))
        return self.accepts

    async def queue(self, message: ConsumerMessage) -> None:
        """Replace the queues of agents. A rebalance starts when the record `stops_at` is enqueued."""
        self.queued.append(message.offset)
        if message.offset == self.stops_at:
            self.stop_flow()

    def deliver(self, offset: int) -> ConsumerMessage:
        message = ConsumerMessage(PARTITION.topic, PARTITION.partition, offset, 0.0, 0, [], b"", b"", None)
        message.incref()
        self._unacked_messages.add(message)
        return message


def test_a_latch_trips_once_with_the_first_reason() -> None:
    codes: list[int] = []
    latch = Latch(codes.append)
    latch.trip("the cause")
    latch.trip("its consequence")
    assert (latch.reason, codes) == ("the cause", [EXIT_LATCHED])


def test_a_worker_that_must_stop_exits_with_the_code_of_the_error(caplog: pytest.LogCaptureFixture) -> None:
    class Outdated(WorkerStop):
        exit_code = 71

    codes: list[int] = []
    latch = Latch(codes.append)
    latch.trip("agent decide failed", Outdated("upgrade this worker"))
    assert (codes, latch.exit_code) == ([71], 71)
    (line,) = caplog.records
    assert (line.getMessage(), line.exc_info) == ("stopping without commit: upgrade this worker", None)


def test_a_stall_needs_pending_work_without_progress() -> None:
    now = 0.0
    timer = StallTimer(10, lambda: now)
    idle, rebalancing = WorkerProgress(False, True, 1), WorkerProgress(True, False, 1)
    script = [
        (9.0, WorkerProgress(True, True, 0), False),
        (18.0, WorkerProgress(True, True, 0), False),  # nine seconds since the first sample
        (19.0, WorkerProgress(True, True, 1), False),  # progress
        (28.0, WorkerProgress(True, True, 1), False),
        (28.5, idle, False),
        (38.0, WorkerProgress(True, True, 1), False),
        (39.0, rebalancing, False),
        (48.0, WorkerProgress(True, True, 1), False),
        (49.0, WorkerProgress(True, True, 1), True),
    ]
    for now, progress, stalled in script:
        assert timer.is_stalled(progress) is stalled, now


@given(st.permutations(range(8)), st.sets(st.integers(0, 7)), st.integers(0, 8))
async def test_a_commit_never_passes_an_unacked_record(order: list[int], gaps: set[int], done: int) -> None:
    consumer = OfflineConsumer(make_test_app())
    messages = {offset: consumer.deliver(offset) for offset in range(8) if offset not in gaps}
    acked = [offset for offset in order[:done] if offset in messages]
    for offset in acked:
        messages[offset].ack(consumer)
    unacked = messages.keys() - set(acked)
    committable = consumer._new_offset(PARTITION)
    if not acked:
        assert committable is None
    elif unacked:
        assert committable == min(*unacked, max(acked) + 1)
    else:
        assert committable == max(acked) + 1


async def test_a_failed_commit_is_retried() -> None:
    consumer = OfflineConsumer(make_test_app())
    consumer.deliver(0).ack(consumer)
    consumer.accepts = False
    assert not await consumer.force_commit()
    consumer.accepts = True
    assert await consumer.force_commit()
    assert not await consumer.force_commit()
    assert consumer.commits == [{PARTITION: 1}, {PARTITION: 1}]


async def test_enqueued_records_are_unacked_until_a_stop() -> None:
    consumer = OfflineConsumer(make_test_app())
    fetched = {PARTITION: [ConsumerRecord(*PARTITION, offset, 0, 0, b"", b"", None, 0, 0, ()) for offset in range(9)]}
    await consumer._enqueue({PARTITION: fetched[PARTITION][:3]}, generation=0)
    assert (consumer.queued, len(consumer.unacked)) == ([0, 1, 2], 3)
    consumer.deliver(0).ack(consumer)
    consumer.deliver(2).ack(consumer)
    assert consumer._new_offset(PARTITION) == 0  # queued records also limit the commit
    consumer.stops_at = 5
    await consumer._enqueue({PARTITION: fetched[PARTITION][3:]}, generation=0)
    assert (consumer.queued, len(consumer.unacked)) == ([0, 1, 2, 3, 4, 5], 0)
    await consumer._enqueue(fetched, generation=0)
    assert consumer.queued == [0, 1, 2, 3, 4, 5]


async def test_nothing_is_committed_after_the_latch_trips() -> None:
    latch = Latch(lambda _: None)
    consumer = OfflineConsumer(make_test_app(latch))
    consumer.deliver(0).ack(consumer)
    latch.trip("a test")
    assert not await consumer.force_commit()
    assert consumer.commits == []


async def test_an_oversized_record_is_refused_before_anything_is_sent() -> None:
    app = make_test_app()
    with pytest.raises(RecordTooLarge, match="output is over the limit"):
        await publish(
            app, [ProducerRecord("output", b"x", partition=0), ProducerRecord("output", b"x" * MAX_RECORD_BYTES)]
        )
    assert len(app.writes) == 0


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
async def test_faust_connects_as_other_clients_do(protocol: SecurityProtocol) -> None:
    cluster = KafkaCluster("kafka:9092,kafka:9093", Security(protocol, "SCRAM-SHA-512", "me", "s3cret"))
    app = make_worker_app("group", cluster, instance_id="one", data_dir=Path("data"), partitions=1)
    expected = cluster.connection()
    assert server_list(app.conf.broker, 0) == expected.pop("bootstrap_servers").split(",")
    actual = {"ssl_context": None} | credentials_to_aiokafka_auth(app.conf.broker_credentials)
    assert (actual.pop("ssl_context") is None) == (expected.pop("ssl_context") is None)
    assert actual == expected
