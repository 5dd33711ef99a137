"""A stock Faust agent that stores each aircraft in a table. Runs as its own process."""

import os
import sys
import time
from typing import Any

import faust

from bench.baseline import fold
from bench.stock import stock_app

COUNT = int(sys.argv[1])

app = stock_app("bench.table")
aircraft = app.Table("aircraft", partitions=app.conf.topic_partitions)


@app.agent(app.topic("messages.realtime", value_serializer="json"))
async def update(stream: faust.Stream[dict[str, Any]]) -> None:
    """Print the seconds from the first to the last record, and exit."""
    seen, started = 0, 0.0
    async for message in stream:
        started = started or time.perf_counter()
        aircraft[message["tailnum"]] = fold(aircraft.get(message["tailnum"]), message)
        seen += 1
        if seen == COUNT:
            os.write(1, f"{time.perf_counter() - started}\n".encode())
            os._exit(0)


if __name__ == "__main__":
    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()
