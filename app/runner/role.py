"""The `runner` role on Faust: folds events into jobs, and runs the jobs of each owned partition."""

import asyncio
import time
from collections import defaultdict
from functools import partial
from typing import Any, Final

from aiokafka.errors import KafkaError

from app.kafka.clients import Cluster
from app.kafka.cluster import cluster_of
from app.kafka.retries import retry
from app.kafka.safe_faust.app import Owned, SafeApp, make_table, make_worker_app
from app.kafka.safe_faust.batching import ack, batches
from app.kafka.safe_faust.latch import Latch
from app.kafka.safe_faust.table import Change, StateTable
from app.kafka.safe_faust.worker import run_worker
from app.kafka.transactions import FencedError, UnknownOutcomeError
from app.process import Clock, Monotonic, utc_now
from app.records.events import decode_event
from app.records.job_state import decode_seq, encode_job, try_decode_job
from app.records.partitioning import partition_of
from app.runner.partition import APP_ID, OwnedPartition
from app.runner.run import RunContext
from app.runner.slots import Slots
from app.runner.source_reader import limits_of
from app.settings import Settings
from app.tasks import cancel_all
from app.vault.master_key import master_key_path, read_key_ring
from connectors.kit.threads import DaemonThreads
from projections.jobs.state import Job
from schemas.topics import JOBS_EVENTS

CHECK_INTERVAL_SECONDS: Final = 0.5
SESSION_TIMEOUT_SECONDS: Final = 10.0  # of the consumer group: afterwards another worker may own the partitions


class LivenessCheck:
    """Detects that this process was suspended for longer than the session timeout of its consumer group."""

    def __init__(self, latch: Latch, monotonic: Monotonic = time.monotonic) -> None:
        self._latch = latch
        self._monotonic = monotonic
        self._last = monotonic()

    def check(self) -> None:
        """Abort the process after the session timeout, so that it doesn't fence its successor."""
        gap, self._last = self._monotonic() - self._last, self._monotonic()
        if gap > SESSION_TIMEOUT_SECONDS:
            self._latch.trip(f"the process was suspended for {gap:.0f} seconds; another worker may own its partitions")

    async def watch(self) -> None:
        """Check continuously. Earlier time doesn't count, such as a rebalance or a long recovery."""
        self._last = self._monotonic()
        while True:
            self.check()
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)


class Runner:
    """The owned partitions, each with its own task."""

    def __init__(self, app: SafeApp, table: StateTable, cluster: Cluster, context: RunContext) -> None:
        self._app = app
        self._table = table
        self._cluster = cluster
        self._context = context
        self._liveness = LivenessCheck(app.latch)
        self._owned: dict[int, OwnedPartition] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def on_assigned(self, owned: Owned) -> None:
        """Start work on partitions. The table holds their jobs as of the last commit."""
        jobs: dict[int, list[Job]] = defaultdict(list)
        for value in self._table.state.values():
            if not (job := try_decode_job(value)):
                continue  # an unreadable job can't run, but the others must
            jobs[partition_of(job.job_id, self._context.partitions)].append(job)
        numbers = sorted(number for topic, number in owned if topic == JOBS_EVENTS.name)
        self._owned = {number: OwnedPartition(number, self._cluster, self._context, jobs[number]) for number in numbers}
        self._tasks = [
            asyncio.create_task(self._liveness.watch(), name="liveness"),
            *(
                asyncio.create_task(self._supervise(partition), name=f"partition {partition.number}")
                for partition in self._owned.values()
            ),
        ]

    async def on_revoked(self, _owned: Owned) -> None:
        """Stop all runs at a record boundary and close the writers. Later events are still folded."""
        await cancel_all(*self._tasks)
        self._tasks = []

    async def fold(self, stream: Any) -> None:
        """Fold events from `jobs.events`."""
        async for batch in batches(stream):
            changes: dict[str, Change] = {}
            for record in batch:
                partition = self._owned[record.message.partition]
                event = decode_event(record.value)
                if event and (job := partition.fold(record.message.offset, event)):
                    changes[job.job_id] = Change(partition.number, job.job_id.encode(), encode_job(job))
            await self._table.write(changes.values())
            ack(batch)

    async def _supervise(self, partition: OwnedPartition) -> None:
        async def work() -> None:
            self._liveness.check()
            await partition.work()

        try:
            await retry(work, (UnknownOutcomeError, KafkaError, OSError), name=f"partition {partition.number}")
        except FencedError as error:
            self._app.latch.trip(f"partition {partition.number} has another owner: {error}", error)
        except Exception as error:
            self._app.latch.trip(f"partition {partition.number} failed: {error!r}", error)
            raise


async def run_runner(settings: Settings, clock: Clock = utc_now) -> int:
    """Run the role until a shutdown signal, and return the exit code."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    cluster = cluster_of(settings)
    app = make_worker_app(
        APP_ID,
        cluster,
        instance_id=f"{APP_ID}-{settings.worker_id}",
        data_dir=settings.data_dir / "faust",
        partitions=settings.partitions,
    )
    context = RunContext(
        partitions=settings.partitions,
        limits=limits_of(settings),
        clock=clock,
        monotonic=time.monotonic,
        slots=defaultdict(lambda: Slots(settings.max_concurrent_runs, time.monotonic)),
        read_keys=partial(read_key_ring, master_key_path(settings)),
    )
    runner = Runner(app, make_table(app, "jobs", decode_seq), cluster, context)
    app.when_assigned(runner.on_assigned)
    app.when_revoked(runner.on_revoked)
    app.agent(app.topic(JOBS_EVENTS.name), name="fold_events")(runner.fold)
    return await run_worker(app, replication_factor=settings.replication_factor)
