"""A stock Faust table that is read back from its changelog into an empty directory. Run as a process of its own."""

import os
import sys
import time
from typing import Any

import faust

BROKER, FOLDER, PARTITIONS = sys.argv[1], sys.argv[2], int(sys.argv[3])
assigned: list[float] = []

app = faust.App("bench.recovery", broker=f"kafka://{BROKER}", datadir=f"{FOLDER}/stock", web_enabled=False)
aircraft = app.Table("aircraft", partitions=PARTITIONS)


@app.agent(app.topic("messages.realtime", value_serializer="json"))
async def keep(stream: faust.Stream[dict[str, Any]]) -> None:
    """Make the table's partitions be assigned; records aren't looked at."""
    async for _ in stream:
        aircraft.get("nobody")


@app.on_partitions_assigned.connect
async def begin(*_: Any, **__: Any) -> None:
    """Note when recovery begins."""
    assigned.append(time.perf_counter())


@aircraft.on_recover
async def end() -> None:
    """Print the keys that there are and the seconds that it took, and end."""
    os.write(1, f" {len(aircraft)} {time.perf_counter() - assigned[0]}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()
