"""A fenced producer leaves no futures whose errors nothing retrieves."""

import asyncio
import gc
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.producer.transaction_manager import TransactionManager, TransactionState

from app.kafka.patches import apply_all


async def lost_errors() -> list[dict[str, Any]]:
    """Fence a producer, drop what it holds, and return what asyncio would log."""
    lost: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: lost.append(context))
    for fail in (TransactionManager.fatal_error, TransactionManager.error_transaction):
        transactions = TransactionManager("id", 1_000)
        transactions.state = TransactionState.READY
        transactions.begin_transaction()
        fail(transactions, ProducerFenced())
    del transactions
    batch = MessageBatch(TopicPartition("topic", 0), None, 1, 1)
    batch.failure(ProducerFenced())
    batch.future.exception()  # the caller's, of an explicit batch
    del batch
    gc.collect()
    return lost


def test_the_errors_of_a_fenced_producer_are_retrieved() -> None:
    apply_all()  # as roles do
    apply_all()
    assert asyncio.run(lost_errors()) == []
