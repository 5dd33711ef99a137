"""A process that opens a store and, as task `write`, applies a fixed sequence of records."""

import asyncio
import sys

from app.store.read_store import ReadStore
from tests.unit.store.histories import batches, history

RECORDS = history(31).records


async def main(database_url: str, task: str) -> None:
    store = await ReadStore.open(database_url)
    if task == "write":
        for batch in batches(RECORDS, 1):
            await store.views.apply(0, batch)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
