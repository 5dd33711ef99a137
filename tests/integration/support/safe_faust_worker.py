"""The worker that the tests start, disturb and kill.

The value of a record selects a misbehaviour; the worker prints its reports as JSON lines.
"""

import asyncio
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import uvloop

from app.kafka.cluster import cluster_of, with_embedded_kafka
from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.app import Owned, SafeApp, make_table, make_worker_app
from app.kafka.safe_faust.batching import ack, batches
from app.kafka.safe_faust.publishing import publish
from app.kafka.safe_faust.table import Change, StateTable
from app.kafka.safe_faust.worker import run_worker
from app.settings import Settings

SIZES = {b"huge": 17 * 1024 * 1024, b"large": 5000}


def report(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def state_after(event: Any) -> bytes:
    return b"%d" % event.message.offset + b" " * SIZES.get(event.value, 0)


def is_new(table: StateTable, event: Any) -> bool:
    return bool(int(table.state.get(event.key, b"-1")) < event.message.offset)


class Agents:
    """Both styles write a state per record; `packed` uses our batches and also writes an output, `plain` is stock."""

    def __init__(self, app: SafeApp, table: StateTable, output: str) -> None:
        self.app, self.table, self.output = app, table, output

    async def packed(self, stream: Any) -> None:
        async for batch in batches(stream):
            report(batch=[[event.message.partition, event.message.offset] for event in batch])
            for event in batch:
                await self.misbehave(event)
            fresh = [event for event in batch if is_new(self.table, event)]
            await publish(self.app, [self.output_record(event) for event in fresh])
            await self.table.write(
                Change(event.message.partition, event.key or b"", state_after(event)) for event in fresh
            )
            ack(event for event in batch if event.value != b"keep")
            report(done=len(batch))

    async def plain(self, stream: Any) -> None:
        async for event in stream.events():
            await self.misbehave(event)
            self.table[event.key] = state_after(event)
            report(done=1)

    async def misbehave(self, event: Any) -> None:
        if event.value == b"raise":
            raise RuntimeError("asked to")
        if event.value == b"hang":
            await asyncio.Event().wait()
        if event.value == b"block":
            threading.Event().wait()

    def output_record(self, event: Any) -> ProducerRecord:
        message = event.message
        headers = [("offset", b"%d" % message.offset)]
        return ProducerRecord(
            self.output, event.value, event.key, message.partition, headers, timestamp_ms=int(message.timestamp * 1000)
        )


async def main(options: dict[str, Any]) -> int:
    app = make_worker_app(
        options["app_id"],
        cluster_of(with_embedded_kafka(Settings(), options["bootstrap_servers"], Path(options["password_file"]))),
        instance_id=options["instance_id"],
        data_dir=Path(options["data_dir"]),
        partitions=options["partitions"],
    )
    table = make_table(app, "state", int)

    async def assigned(partitions: Owned) -> None:
        report(assigned=sorted(partitions), state=len(table.state), rebalancing=app.rebalancing)

    async def revoked(partitions: Owned) -> None:
        report(revoked=sorted(partitions))

    app.when_assigned(assigned)
    app.when_revoked(revoked)
    app.agent(app.topic(options["source"]))(getattr(Agents(app, table, options["output"]), options["style"]))
    code = await run_worker(app, watchdog_seconds=options["watchdog_seconds"])
    report(state={key.decode(): int(value) for key, value in table.state.items()})
    return code


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(uvloop.run(main(json.loads(sys.argv[1]))))
