"""Slow and hanging sources take neither slots nor threads from other jobs, and lose no records."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.runner import run as module
from app.runner.partition import QUEUE_NOTICE_SECONDS
from app.runner.slots import TURN_SECONDS
from app.runner.source_reader import SLOW_SECONDS
from connectors.contract import Limits
from connectors.kit.threads import DaemonThreads, in_thread
from projections.jobs.state import Completed, Running, Sleeping
from schemas.events import JobDequeued, JobErrored, JobQueued
from tests.unit.runner.jobs import batch, twin
from tests.unit.runner.runner_twin import RunnerTwin

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 1000000\r\n\r\n"


class DrippingServer:
    """A server that sends a byte whenever the test says so."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self._clients: list[asyncio.StreamWriter] = []

    async def start(self) -> "DrippingServer":
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/rows.csv"
        return self

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        self._clients.append(writer)
        writer.write(HEAD)

    def send(self, data: bytes) -> None:
        for client in self._clients:
            if not client.is_closing():
                client.write(data)

    async def stop(self) -> None:
        self._server.close()
        for client in self._clients:
            client.close()


@asynccontextmanager
async def dripping(count: int) -> AsyncIterator[list[DrippingServer]]:
    async with AsyncExitStack() as stack:
        servers = [await DrippingServer().start() for _ in range(count)]
        for server in servers:
            stack.push_async_callback(server.stop)
        yield servers


def import_of(source: str, stream: str) -> dict[str, Any]:
    return {"provider": "file", "configuration": json.dumps({"source": source, "stream": stream})}


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    (tmp_path / "rows.csv").write_text("id\n1\n2\n3\n")
    return Limits(file_roots=(tmp_path,), allow_private_networks=True, batch_seconds=0.0)


async def test_sixteen_dripping_servers_delay_no_other_job(limits: Limits, tmp_path: Path) -> None:
    async with dripping(16) as servers:
        jobs = {f"slow-{number}": import_of(server.url, "slow") for number, server in enumerate(servers)}
        runner = RunnerTwin(limits, 4, **jobs, quick=import_of(str(tmp_path / "rows.csv"), "quick"))
        async with runner.running():
            for number in range(4, 17, 4):  # each slow source has a slot for a moment
                await runner.until(lambda count=number: sum(server.requests for server in servers) >= count)  # type: ignore[misc]  # mypy infers no type for a default of a lambda
                await runner.step(SLOW_SECONDS)
            await runner.until(lambda: isinstance(runner.state("quick").phase, Completed))
            assert all(isinstance(runner.state(name).phase, Running) for name in jobs)
            assert runner.rows("quick") == [b'{"id":"1"}', b'{"id":"2"}', b'{"id":"3"}']
            for _ in range(2):
                for server in servers:
                    server.send(b"x")
                await runner.step(20.0)
            assert not any(runner.of(name, JobErrored) for name in jobs)
            await runner.step(20.0)
            await runner.until(lambda: all(runner.of(name, JobErrored) for name in jobs))
            for name in jobs:
                (error,) = runner.of(name, JobErrored)
                assert (error.code, error.advice) == ("too_slow", "retry")
                phase = runner.state(name).phase
                assert isinstance(phase, Sleeping)
                assert (phase.reason, phase.code) == ("error_backoff", "too_slow")


async def test_a_slow_source_continues_from_its_cursor(limits: Limits) -> None:
    """Complete records are stored at once; no record is lost or stored twice."""
    async with dripping(1) as (server,):
        runner = RunnerTwin(limits, 1, slow=import_of(server.url, "slow"))
        async with runner.running():
            await runner.until(lambda: server.requests)
            server.send(b"id\n1\n2\n3")
            await runner.until(lambda: len(runner.rows("slow")) == 2)
            await runner.until(lambda: runner.of("slow", JobErrored), seconds=10.0)
            await runner.until(lambda: runner.state("slow").run == 2, seconds=10.0)
            await runner.until(lambda: server.requests == 2)
            server.send(b"id\n1\n2\n3\n4\n")
            await runner.until(lambda: len(runner.rows("slow")) >= 4)
            assert runner.rows("slow") == [b'{"id":"%d"}' % number for number in range(1, 5)]


async def test_hanging_threads_block_neither_slots_nor_threads_nor_the_end_of_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    released = threading.Event()

    async def read(config: Any, cursor: Any, limits: Any) -> AsyncIterator[Any]:
        del config, limits
        if not cursor:
            await in_thread(released.wait)
        yield batch()

    monkeypatch.setattr(module, "connector", twin(read))
    names = [f"hanging-{number}" for number in range(40)]  # more than a pool of threads has
    runner = RunnerTwin(Limits(), 4, **{name: {} for name in names}, quick={"cursor": '{"row":1}'})
    monkeypatch.setattr("app.runner.source_reader.CLOSE_TIMEOUT_SECONDS", 0.0)
    try:
        async with runner.running():
            await runner.until(lambda: isinstance(runner.state("quick").phase, Completed), seconds=0.25)
            await runner.until(lambda: all(runner.of(name, JobErrored) for name in names), seconds=1.0)
            assert runner.context.hanging.keys() <= set(names)
            await runner.until(lambda: len(runner.of(names[0], JobErrored)) == 2, seconds=60.0)
            assert runner.of(names[0], JobErrored)[1].code == "still_hanging"
            assert sum(thread.name == "connector" for thread in threading.enumerate()) == len(names)
            released.set()
            await runner.until(lambda: not runner.context.hanging)
            await runner.until(lambda: isinstance(runner.state(names[0]).phase, Completed), seconds=60.0)
    finally:
        released.set()


async def test_runs_take_turns_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_config: Any, cursor: Any, _limits: Any) -> AsyncIterator[Any]:
        for row in range(cursor.get("row", 0), 20):
            runner.seconds += TURN_SECONDS / 3  # at once, so that the source is never slow and lends nothing
            yield batch(payload=b'{"id":%d}\n' % row, count=1, read=1, cursor={"row": row + 1})

    monkeypatch.setattr(module, "connector", twin(read))
    runner = RunnerTwin(Limits(), 1, one={}, other={})
    async with runner.running():
        for _ in range(100):
            await runner.step()
        assert [runner.state(name).status for name in ("one", "other")] == ["Completed"] * 2
    rows = [int(line[6:-1]) for line in runner.rows("people")]
    assert sorted(rows) == sorted([*range(20), *range(20)])
    turns = 1 + sum(row not in {before, before + 1} for before, row in pairwise(rows))
    assert turns > 4, "each turn lasts for a few batches"


async def test_a_wait_for_a_slot_is_reported_once_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    opened = iter(gates)

    async def read(_config: Any, _cursor: Any, _limits: Any) -> AsyncIterator[Any]:
        yield batch()
        await next(opened).wait()

    monkeypatch.setattr(module, "connector", twin(read))
    monkeypatch.setattr("app.runner.source_reader.SLOW_SECONDS", 1_000.0)  # the slot is not lent
    runner = RunnerTwin(Limits(), 1, one={}, other={})
    async with runner.running():
        await runner.until(lambda: runner.state("one").report or runner.state("other").report)
        waiting = "other" if runner.state("one").report else "one"
        await runner.step(QUEUE_NOTICE_SECONDS - 0.1)
        await runner.step()
        assert runner.of(waiting, JobQueued) == []
        await runner.until(lambda: runner.of(waiting, JobQueued), seconds=0.1)
        phase = runner.state(waiting).phase
        assert isinstance(phase, Running)
        assert phase.queued_at == runner.of(waiting, JobQueued)[0].occurred_at
        gates[0].set()
        await runner.until(lambda: runner.of(waiting, JobDequeued))
        assert isinstance(phase := runner.state(waiting).phase, Running)
        assert phase.queued_at is None
        gates[1].set()
        await runner.until(lambda: isinstance(runner.state(waiting).phase, Completed))
    assert len(runner.of(waiting, JobQueued)) == 1
