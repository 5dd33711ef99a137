"""The worker that the tests start, hurt and kill. What a record asks for stands in its value; what happens is said on
stdout, one JSON object a line."""

import asyncio
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import uvloop

from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.app import Owned, SafeApp, make_app, make_table
from app.kafka.safe_faust.batching import ack, batches
from app.kafka.safe_faust.publishing import publish
from app.kafka.safe_faust.table import Change, StateTable
from app.kafka.safe_faust.worker import run_worker

SIZES = {b"huge": 17 * 1024 * 1024, b"large": 5000}


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def state_after(event: Any) -> bytes:
    return b"%d" % event.message.offset + b" " * SIZES.get(event.value, 0)


def is_new(table: StateTable, event: Any) -> bool:
    return bool(int(table.state.get(event.key, b"-1")) < event.message.offset)


class Agents:
    """Both styles write one output and one state per record; `packed` is ours, `plain` is Faust's own."""

    def __init__(self, app: SafeApp, table: StateTable, output: str) -> None:
        self.app, self.table, self.output = app, table, output

    async def packed(self, stream: Any) -> None:
        async for batch in batches(stream):
            say(batch=[[each.message.partition, each.message.offset] for each in batch])
            for event in batch:
                await self.misbehave(event)
            fresh = [each for each in batch if is_new(self.table, each)]
            await publish(self.app, [self.outgoing(each) for each in fresh])
            await self.table.write(Change(each.message.partition, each.key or b"", state_after(each)) for each in fresh)
            ack(each for each in batch if each.value != b"keep")
            say(done=len(batch))

    async def plain(self, stream: Any) -> None:
        async for event in stream.events():
            await self.misbehave(event)
            self.table[event.key] = state_after(event)
            say(done=1)

    async def misbehave(self, event: Any) -> None:
        if event.value == b"raise":
            raise RuntimeError("asked to")
        if event.value == b"hang":
            await asyncio.Event().wait()
        if event.value == b"block":
            threading.Event().wait()

    def outgoing(self, event: Any) -> ProducerRecord:
        message = event.message
        headers = [("offset", b"%d" % message.offset)]
        return ProducerRecord(
            self.output, event.value, event.key, message.partition, headers, timestamp_ms=int(message.timestamp * 1000)
        )


async def main(asked: dict[str, Any]) -> int:
    app = make_app(
        asked["app_id"],
        asked["bootstrap"],
        instance_id=asked["instance_id"],
        data_dir=Path(asked["data_dir"]),
        partitions=asked["partitions"],
    )
    table = make_table(app, "state", int)

    async def assigned(partitions: Owned) -> None:
        say(assigned=sorted(partitions), state=len(table.state), rebalancing=app.rebalancing)

    async def revoked(partitions: Owned) -> None:
        say(revoked=sorted(partitions))

    app.when_assigned(assigned)
    app.when_revoked(revoked)
    app.agent(app.topic(asked["source"]))(getattr(Agents(app, table, asked["output"]), asked["style"]))
    code = await run_worker(app, watchdog_seconds=asked["watchdog_seconds"])
    say(state={key.decode(): int(value) for key, value in table.state.items()})
    return code


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(uvloop.run(main(json.loads(sys.argv[1]))))
