"""Group commit: the jobs of one partition that write at the same time share one Kafka transaction.

A transaction costs about 30 ms whatever its size, and an open one delays every `read_committed` reader: it is opened
only to be filled and committed at once.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from app.kafka.clients import Cluster
from app.kafka.producer_record import ProducerRecord, retrieve_exception, send

TRANSACTION_TIMEOUT_MS: Final = 10_000
MAX_GROUP_BYTES: Final = 16 * 1024 * 1024  # more waits for the next transaction


class FencedError(Exception):
    """Another worker owns the partition now. Leave; this one can write nothing more."""


class UnknownOutcomeError(Exception):
    """The transaction may be committed or not. Start again and read back what was committed; never guess."""


@dataclass(frozen=True, slots=True)
class _Submission:
    """Records of one caller, which are committed together."""

    records: Sequence[ProducerRecord]
    size: int
    done: asyncio.Future[None]


class GroupCommit:
    """One transactional producer and the queue for its next transaction. Use it as an async context manager.

    Entering fences the producer that had the `transactional_id` before, and aborts its open transaction.
    """

    def __init__(self, cluster: Cluster, transactional_id: str) -> None:
        self._producer = cluster.transactional_producer(transactional_id, TRANSACTION_TIMEOUT_MS)
        self._queue: asyncio.Queue[_Submission] = asyncio.Queue()
        self._loop: asyncio.Task[None] | None = None
        self._broken: Exception | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        self._loop = asyncio.create_task(self._commit_groups(), name="group commit")
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._loop
        self._loop.cancel()
        await asyncio.wait([self._loop])
        self._break(UnknownOutcomeError("the writer was closed"))
        with contextlib.suppress(KafkaError, OSError):
            await self._producer.stop()

    def submit(self, records: Sequence[ProducerRecord]) -> asyncio.Future[None]:
        """Write the records in one transaction, in order; the future is done once they are committed.

        Its exception is `FencedError` or `UnknownOutcomeError`; after either, every later submission fails with it.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(retrieve_exception)  # a cancelled submitter does not retrieve it
        if self._broken:
            done.set_exception(self._broken)
        else:
            self._queue.put_nowait(_Submission(records, sum(len(record.value or b"") for record in records), done))
        return done

    def check(self) -> None:
        """Raise the error that broke the producer, if there is one."""
        if self._broken:
            raise self._broken

    async def _commit_groups(self) -> None:
        while not self._broken:
            group = [await self._queue.get()]
            size = group[0].size
            while not self._queue.empty() and size < MAX_GROUP_BYTES:
                group.append(self._queue.get_nowait())
                size += group[-1].size
            try:
                await self._transaction([record for submission in group for record in submission.records])
            except (ProducerFenced, InvalidProducerEpoch) as error:
                self._fail(group, FencedError(f"the producer was fenced: {error!r}"))
            except asyncio.CancelledError:
                self._fail(group, UnknownOutcomeError("cancelled during a transaction"))
                raise
            except Exception as error:  # noqa: BLE001 - whatever it was, the outcome is unknown
                unknown = UnknownOutcomeError(f"the transaction's outcome is unknown: {error!r}")
                unknown.__cause__ = error
                self._fail(group, unknown)
            else:
                for submission in group:
                    if not submission.done.done():
                        submission.done.set_result(None)

    async def _transaction(self, records: Sequence[ProducerRecord]) -> None:
        await self._producer.begin_transaction()
        await send(self._producer, records)
        await self._producer.commit_transaction()

    def _fail(self, group: Sequence[_Submission], error: Exception) -> None:
        for submission in group:
            if not submission.done.done():
                submission.done.set_exception(error)
        self._break(error)

    def _break(self, error: Exception) -> None:
        self._broken = self._broken or error
        while not self._queue.empty():
            submission = self._queue.get_nowait()
            if not submission.done.done():
                submission.done.set_exception(self._broken)
