"""Evaluator processes: bounded, ended at their deadline and with their request, and without the server's modules."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import psutil
import pytest
import uvloop

from app.api.services.evaluator_pool import (
    MAX_REUSED_BYTES,
    DeadlineExceededError,
    Evaluator,
    EvaluatorFailedError,
    EvaluatorPool,
    PoolBusyError,
)
from projections.definitions.body_checks import InvalidBodyError, check_body
from projections.mapping.evaluation import preview_messages


def connected() -> bool:
    return False


@pytest.fixture
async def pool() -> AsyncIterator[EvaluatorPool]:
    async with EvaluatorPool(max_running=1, max_waiting=1, wait_timeout=30, deadline=30) as pool:
        yield pool


async def test_an_evaluator_is_used_again_and_has_no_module_of_the_server(pool: EvaluatorPool) -> None:
    pids = set()
    for _ in range(2):
        async with pool.evaluator(connected) as evaluator:
            pids.add(await evaluator.call(os.getpid))
    assert len(pids) == 1
    assert os.getpid() not in pids
    async with pool.evaluator(connected) as evaluator:
        for function in (check_body, preview_messages):
            await evaluator.call(callable, function)
        loaded = set(await evaluator.call(eval, "list(__import__('sys').modules)"))
    assert loaded & {"aiohttp", "aiokafka", "pydantic", "sqlalchemy", "numpy"} == set()


def test_an_evaluator_starts_in_the_event_loop_of_the_roles() -> None:
    async def group() -> int:
        async with EvaluatorPool() as pool, pool.evaluator(connected) as evaluator:
            return await evaluator.call(os.getpgrp)

    assert uvloop.run(group()) != os.getpgrp(), "Ctrl-C in the terminal must not reach it"


async def test_an_error_of_the_function_is_raised_with_its_traceback(pool: EvaluatorPool) -> None:
    async with pool.evaluator(connected) as evaluator:
        with pytest.raises(InvalidBodyError) as raised:
            await evaluator.call(check_body, "mapping:visits", "{}")
        assert [error.pointer for error in raised.value.errors] == ["/identities"]
        assert "body_checks.py" in raised.value.__notes__[0]
        assert await evaluator.call(abs, -1) == 1, "it serves on"


async def test_an_evaluator_that_dies_fails_its_call_alone(pool: EvaluatorPool) -> None:
    async with pool.evaluator(connected) as evaluator:
        with pytest.raises(EvaluatorFailedError):
            await evaluator.call(os._exit, 1)
    async with pool.evaluator(connected) as evaluator:
        assert await evaluator.call(abs, -1) == 1


async def test_the_deadline_ends_the_work() -> None:
    processes = []

    async def request() -> None:
        async with EvaluatorPool(deadline=0.5) as hasty, hasty.evaluator(connected) as evaluator:
            processes.append(psutil.Process(await evaluator.call(os.getpid)))
            await evaluator.call(sum, range(10**12))

    with pytest.raises(DeadlineExceededError):
        await request()
    assert not processes[0].is_running()


async def test_the_work_ends_when_its_client_disconnects(pool: EvaluatorPool) -> None:
    disconnected = asyncio.Event()
    processes = []

    async def request() -> None:
        async with pool.evaluator(disconnected.is_set) as evaluator:
            processes.append(psutil.Process(await evaluator.call(os.getpid)))
            await evaluator.call(sum, range(10**12))

    asked = asyncio.create_task(request())
    while not processes:
        await asyncio.sleep(0.01)
    disconnected.set()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not processes[0].is_running()


async def test_a_disconnect_while_its_evaluator_ends_frees_the_slot(
    pool: EvaluatorPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = asyncio.Event()

    async def stop(evaluator: Evaluator) -> None:
        evaluator.is_busy = False
        ending.set()
        await asyncio.Event().wait()

    async def request() -> None:
        async with pool.evaluator(connected) as evaluator:
            evaluator.is_busy = True

    with monkeypatch.context() as patched:
        patched.setattr(Evaluator, "stop", stop)
        task = asyncio.create_task(request())
        await ending.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    async with asyncio.timeout(10), pool.evaluator(connected) as evaluator:
        assert await evaluator.call(os.getpid) != os.getpid()


async def test_requests_beyond_the_bounds_are_refused(pool: EvaluatorPool) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def request() -> None:
        async with pool.evaluator(connected):
            entered.set()
            await leave.wait()

    running, waiting = asyncio.create_task(request()), asyncio.create_task(request())
    await entered.wait()
    with pytest.raises(PoolBusyError):
        async with pool.evaluator(connected):
            pass
    leave.set()
    await asyncio.gather(running, waiting)
    impatient = EvaluatorPool(max_running=0, wait_timeout=0)
    with pytest.raises(PoolBusyError):
        async with impatient.evaluator(connected):
            pass


async def test_a_large_call_ends_its_evaluator(pool: EvaluatorPool) -> None:
    async with pool.evaluator(connected) as evaluator:
        first = await evaluator.call(os.getpid)
        assert await evaluator.call(len, bytes(MAX_REUSED_BYTES)) == MAX_REUSED_BYTES
        assert await evaluator.call(os.getpid) != first


async def test_an_evaluator_ends_with_its_parent() -> None:
    if sys.platform != "linux":
        pytest.skip("Linux only")
    code = (
        "import asyncio, os\n"
        "from app.api.services.evaluator_pool import Evaluator\n"
        "async def main():\n"
        "    print(await Evaluator().call(os.getpid), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await parent.communicate()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(output)).wait(10)
