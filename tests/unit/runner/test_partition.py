"""The runs of an owned partition, without a broker."""

import asyncio

from app.kafka.clients import KafkaCluster
from app.kafka.transactions import GroupCommit
from app.runner.partition import OwnedPartition
from tests.unit.runner.jobs import job, run_context


async def test_a_run_cancelled_before_its_start_is_removed() -> None:
    cluster = KafkaCluster("127.0.0.1:1")
    partition = OwnedPartition(0, cluster, run_context(), [job()])
    writer = GroupCommit(cluster, "never entered")
    partition._start(job(), writer)
    (_, task) = partition._runs["orders"]
    partition._dirty.clear()
    task.cancel()
    await asyncio.wait([task])
    await writer._producer.stop()
    assert partition._runs == {}
    assert partition._dirty == {"orders"}, "it is reconciled again"
