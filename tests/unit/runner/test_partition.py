"""The runs of an owned partition, without a broker."""

import asyncio

from app.kafka.clients import KafkaCluster
from app.kafka.transactions import GroupCommit
from app.runner.partition import OwnedPartition, RunnerContext
from app.runner.slots import Slots
from connectors.contract import Limits
from tests.unit.runner.jobs import START, job


async def test_a_run_cancelled_before_its_start_is_removed() -> None:
    context = RunnerContext(KafkaCluster("127.0.0.1:1"), "runner", 1, Limits(), lambda: START, {"import": Slots(1)})
    partition = OwnedPartition(0, context, [job()])
    writer = GroupCommit(KafkaCluster("127.0.0.1:1"), "never entered")
    partition._start(job(), writer)
    (_, task) = partition._runs["orders"]
    partition._dirty.clear()
    task.cancel()
    await asyncio.wait([task])
    await writer._producer.stop()
    assert partition._runs == {}
    assert partition._dirty == {"orders"}, "it is reconciled again"
