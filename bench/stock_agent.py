"""A stock Faust agent that counts records, without state. Runs as its own process."""

import os
import sys
import time

import faust

from bench.stock import stock_app

COUNT = int(sys.argv[1])

app = stock_app("bench.stock", value_serializer="raw")


@app.agent(app.topic("jobs.commands", value_type=bytes, value_serializer="raw", key_serializer="raw"))
async def count(stream: faust.Stream[bytes]) -> None:
    """Print the seconds from the first to the last record, and exit."""
    seen, started = 0, 0.0
    async for _ in stream:
        started = started or time.perf_counter()
        seen += 1
        if seen == COUNT:
            os.write(1, f"{time.perf_counter() - started}\n".encode())
            os._exit(0)


if __name__ == "__main__":
    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()
