"""Recovery of a stock Faust table from its changelog into an empty directory. Runs as its own process."""

import os
import time
from typing import Any

import faust

from bench.stock import stock_app

assigned: list[float] = []

app = stock_app("bench.recovery")
aircraft = app.Table("aircraft", partitions=app.conf.topic_partitions)


@app.agent(app.topic("messages.realtime", value_serializer="json"))
async def consume(stream: faust.Stream[dict[str, Any]]) -> None:
    """Cause the assignment of the partitions of the table."""
    async for _ in stream:
        aircraft.get("none")


@app.on_partitions_assigned.connect
async def note_assignment(*_: Any, **__: Any) -> None:
    """Record the start of the recovery."""
    assigned.append(time.perf_counter())


@aircraft.on_recover
async def report() -> None:
    """Print the number of keys and the duration in seconds, and exit."""
    os.write(1, f" {len(aircraft)} {time.perf_counter() - assigned[0]}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()
