"""What an owned partition makes of runs, without a broker."""

import asyncio

from app.kafka.clients import KafkaCluster
from app.kafka.transactions import GroupCommit
from app.runner.partition import OwnedPartition, RunnerContext
from connectors.contract import Limits
from tests.unit.runner.jobs import START, job


async def test_a_run_that_is_cancelled_before_it_begins_makes_room_for_the_next() -> None:
    shop = RunnerContext(KafkaCluster("127.0.0.1:1"), "runner", 1, Limits(), lambda: START, asyncio.Semaphore(1))
    partition = OwnedPartition(0, shop, [job()])
    writer = GroupCommit(KafkaCluster("127.0.0.1:1"), "never entered")
    partition._start(job(), writer)
    (_, task) = partition._runs["orders"]
    partition._touched.clear()
    task.cancel()
    await asyncio.wait([task])
    await writer._producer.stop()
    assert partition._runs == {}
    assert partition._touched == {"orders"}, "it is looked at again"
