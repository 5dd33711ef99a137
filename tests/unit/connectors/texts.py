"""A source in memory, and reading it to the end: what the laws and tests of text imports are said with."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from connectors.contract import Batch, ConnectorError, Cursor, Limits
from connectors.text.config import TextConfig
from connectors.text.cursor import parse_cursor
from connectors.text.importer import read_text

NOW = 1_700_000_000.0
LIMITS = Limits(batch_bytes=64, record_bytes=256, clock=lambda: NOW)


@dataclass
class MemorySource:
    """Some bytes as a source that can seek."""

    data: bytes
    start: int
    validator: str | None = None
    modified: float | None = None
    at: int = 0
    name: str = "memory"

    @property
    def total(self) -> int | None:
        return len(self.data)

    async def head(self, count: int) -> bytes | None:
        return self.data[:count]

    async def read(self, size: int) -> bytes:
        some = self.data[self.start + self.at : self.start + self.at + size]
        self.at += len(some)
        return some

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Outcome:
    """Everything a reading gave, and how it ended."""

    batches: list[Batch] = field(default_factory=list)
    error: ConnectorError | None = None

    @property
    def lines(self) -> list[bytes]:
        return [line for each in self.batches for line in each.payload.splitlines(keepends=True)]

    @property
    def timestamps(self) -> bytes:
        return b"".join(each.timestamps for each in self.batches)

    @property
    def rejects(self) -> list[tuple[str, str]]:
        return [(reject.position, reject.code) for each in self.batches for reject in each.rejects]

    @property
    def records(self) -> tuple[list[bytes], bytes, list[Any], int, str | None]:
        """What must not depend on where reading began or was cut."""
        rejects = [reject for each in self.batches for reject in each.rejects]
        dropped = sum(each.rejects_dropped for each in self.batches)
        return self.lines, self.timestamps, rejects, dropped, self.error and self.error.code


async def outcome(
    data: bytes, config: TextConfig, path: str, cursor: Cursor, limits: Limits, modified: float | None = None
) -> Outcome:
    async def open_source(start: int, validator: str | None) -> MemorySource:
        return MemorySource(data, start, validator, modified)

    result = Outcome()
    try:
        async with aclosing(read_text(config, path, parse_cursor(cursor), limits, open_source)) as batches:
            async for batch in batches:
                result.batches.append(batch)
    except ConnectorError as error:
        result.error = error
    return result


def read_all(
    data: bytes, path: str = "a.csv", cursor: Cursor | None = None, limits: Limits = LIMITS, **config: Any
) -> Outcome:
    return asyncio.run(outcome(data, TextConfig(**({"stream": "s"} | config)), path, cursor or {}, limits))
