"""An in-memory source, and helpers that read it to the end. Shared by the tests of text imports."""

import asyncio
import atexit
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from connectors.contract import Batch, ConnectorError, Cursor, Limits
from connectors.text.config import TextConfig
from connectors.text.cursor import parse_cursor
from connectors.text.importer import read_text

NOW = 1_700_000_000.0
LIMITS = Limits(batch_bytes=64, record_bytes=256, clock=lambda: NOW)


@dataclass
class MemorySource:
    """Bytes as a seekable source."""

    data: bytes
    start: int
    validator: str | None = None
    modified: float | None = None
    at: int = 0
    name: str = "memory"
    content_type: str = ""
    content_encoding: str = ""

    @property
    def total(self) -> int | None:
        return len(self.data)

    async def head(self, count: int) -> bytes | None:
        return self.data[:count]

    async def read(self, size: int) -> bytes:
        chunk = self.data[self.start + self.at : self.start + self.at + size]
        self.at += len(chunk)
        return chunk

    async def close(self) -> None:
        """Do nothing: no resource is open."""


@dataclass
class Outcome:
    """The batches of a pass, and the error that ended it."""

    batches: list[Batch] = field(default_factory=list)
    error: ConnectorError | None = None

    @property
    def lines(self) -> list[bytes]:
        return [line for batch in self.batches for line in batch.payload.splitlines(keepends=True)]

    @property
    def timestamps(self) -> bytes:
        return b"".join(batch.timestamps for batch in self.batches)

    @property
    def rejects(self) -> list[tuple[str, str]]:
        return [(reject.position, reject.code) for batch in self.batches for reject in batch.rejects]

    @property
    def records(self) -> tuple[list[bytes], bytes, list[Any], int, str | None]:
        """Everything that must not depend on the start of reading or on batch boundaries."""
        rejects = [reject for batch in self.batches for reject in batch.rejects]
        dropped = sum(batch.rejects_dropped for batch in self.batches)
        return self.lines, self.timestamps, rejects, dropped, self.error and self.error.code


class InlineExecutor(ThreadPoolExecutor):
    """Runs work in the caller: thread switches would dominate the time of small reads."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # the caller receives it
            future.set_exception(error)
        return future


@cache
def inline_runner() -> asyncio.Runner:
    runner = asyncio.Runner()
    atexit.register(runner.close)
    runner.get_loop().set_default_executor(InlineExecutor())
    return runner


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
    return inline_runner().run(outcome(data, TextConfig(**({"stream": "s"} | config)), path, cursor or {}, limits))
