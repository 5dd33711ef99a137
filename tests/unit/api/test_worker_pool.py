"""Worker processes: bounded, ended at their deadline and with their request, and without the server's modules."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import psutil
import pytest
import uvloop

from app.api.services.worker_pool import (
    MAX_REUSED_BYTES,
    DeadlineExceededError,
    PoolBusyError,
    WorkerFailedError,
    WorkerPool,
)
from projections.definitions.body_checks import InvalidBodyError, check_body
from projections.mapping.evaluation import preview_messages


def connected() -> bool:
    return False


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(max_running=1, max_waiting=1, wait_timeout=30, deadline=30) as pool:
        yield pool


async def test_a_worker_is_used_again_and_has_no_module_of_the_server(pool: WorkerPool) -> None:
    pids = set()
    for _ in range(2):
        async with pool.worker(connected) as worker:
            pids.add(await worker.call(os.getpid))
    assert len(pids) == 1
    assert os.getpid() not in pids
    async with pool.worker(connected) as worker:
        for function in (check_body, preview_messages):
            await worker.call(callable, function)
        loaded = set(await worker.call(eval, "list(__import__('sys').modules)"))
    assert loaded & {"aiohttp", "aiokafka", "pydantic", "sqlalchemy", "numpy"} == set()


def test_a_worker_starts_in_the_event_loop_of_the_roles() -> None:
    async def group() -> int:
        async with WorkerPool() as pool, pool.worker(connected) as worker:
            return await worker.call(os.getpgrp)

    assert uvloop.run(group()) != os.getpgrp(), "Ctrl-C in the terminal must not reach it"


async def test_an_error_of_the_function_is_raised_with_its_traceback(pool: WorkerPool) -> None:
    async with pool.worker(connected) as worker:
        with pytest.raises(InvalidBodyError) as raised:
            await worker.call(check_body, "mapping:visits", "{}")
        assert [error.pointer for error in raised.value.errors] == ["/identities"]
        assert "body_checks.py" in raised.value.__notes__[0]
        assert await worker.call(abs, -1) == 1, "the worker serves on"


async def test_a_worker_that_dies_fails_its_call_alone(pool: WorkerPool) -> None:
    async with pool.worker(connected) as worker:
        with pytest.raises(WorkerFailedError):
            await worker.call(os._exit, 1)
    async with pool.worker(connected) as worker:
        assert await worker.call(abs, -1) == 1


async def test_the_deadline_ends_the_work() -> None:
    processes = []

    async def request() -> None:
        async with WorkerPool(deadline=0.5) as hasty, hasty.worker(connected) as worker:
            processes.append(psutil.Process(await worker.call(os.getpid)))
            await worker.call(sum, range(10**12))

    with pytest.raises(DeadlineExceededError):
        await request()
    assert not processes[0].is_running()


async def test_the_work_ends_when_its_client_disconnects(pool: WorkerPool) -> None:
    disconnected = asyncio.Event()
    processes = []

    async def request() -> None:
        async with pool.worker(disconnected.is_set) as worker:
            processes.append(psutil.Process(await worker.call(os.getpid)))
            await worker.call(sum, range(10**12))

    asked = asyncio.create_task(request())
    while not processes:
        await asyncio.sleep(0.01)
    disconnected.set()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not processes[0].is_running()


async def test_requests_beyond_the_bounds_are_refused(pool: WorkerPool) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def request() -> None:
        async with pool.worker(connected):
            entered.set()
            await leave.wait()

    running, waiting = asyncio.create_task(request()), asyncio.create_task(request())
    await entered.wait()
    with pytest.raises(PoolBusyError):
        async with pool.worker(connected):
            pass
    leave.set()
    await asyncio.gather(running, waiting)
    impatient = WorkerPool(max_running=0, wait_timeout=0)
    with pytest.raises(PoolBusyError):
        async with impatient.worker(connected):
            pass


async def test_a_large_call_ends_its_worker(pool: WorkerPool) -> None:
    async with pool.worker(connected) as worker:
        first = await worker.call(os.getpid)
        assert await worker.call(len, bytes(MAX_REUSED_BYTES)) == MAX_REUSED_BYTES
        assert await worker.call(os.getpid) != first


async def test_a_worker_ends_with_its_parent() -> None:
    if sys.platform != "linux":
        pytest.skip("Linux only")
    code = (
        "import asyncio, os\n"
        "from app.api.services.worker_pool import Worker\n"
        "async def main():\n"
        "    print(await Worker().call(os.getpid), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await parent.communicate()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(output)).wait(10)
