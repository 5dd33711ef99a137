"""Processes that evaluate rules for requests: off the event loop, and bounded in number, time and memory.

A thread would hold the interpreter lock, and nothing could end it: an evaluator is killed. Evaluators start on demand,
and import only the functions that they call, which must not import the server.
"""

import asyncio
import os
import pickle
import struct
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar

from app.process import exit_with_parent

MAX_RUNNING: Final = 2
MAX_WAITING: Final = 16  # requests; further ones are refused at once
WAIT_TIMEOUT_SECONDS: Final = 10.0
DEADLINE_SECONDS: Final = 20.0
DISCONNECT_INTERVAL_SECONDS: Final = 0.2
MAX_REUSED_BYTES: Final = 8 * 1024 * 1024  # of a call: after a larger one, the evaluator ends and frees its memory
NICENESS: Final = 5  # below lanes and the API

_LENGTH: Final = struct.Struct("!Q")  # before each pickled call and result

R = TypeVar("R")


class PoolBusyError(Exception):
    """Too many requests use evaluators or wait for one. Retry later."""


class DeadlineExceededError(Exception):
    """The work took too long, and was ended."""


class EvaluatorFailedError(RuntimeError):
    """The evaluator ended in the middle of a call, or the function raised an error that can't be pickled."""


class Evaluator:
    """A process that carries out calls for one request at a time. Use `EvaluatorPool.evaluator`."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self.is_busy = False

    async def call(self, function: Callable[..., R], *arguments: Any) -> R:
        """Return the result of a module's function. Function, arguments and result are pickled.

        Raises what the function raises, and:
            EvaluatorFailedError: the evaluator ended.

        """
        if self._process is None or self._process.returncode is not None:
            self._process = await _started()
        call, process = _framed((function, arguments)), self._process
        self.is_busy = True  # until the result is read: after an error or a cancellation, it is killed
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(call)
            await process.stdin.drain()
            (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
            result, error = pickle.loads(await process.stdout.readexactly(length))  # noqa: S301  # our child
        except (ConnectionError, asyncio.IncompleteReadError) as failure:
            raise EvaluatorFailedError("an evaluator process ended unexpectedly") from failure
        self.is_busy = False
        if len(call) > MAX_REUSED_BYTES:
            await self.stop()
        if error is not None:
            raise error
        value: R = result
        return value

    async def stop(self) -> None:
        """End the process, also in the middle of a call."""
        process, self._process, self.is_busy = self._process, None, False
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()


class EvaluatorPool:
    """Gives each request its own evaluator, up to a deadline. Ends all evaluators at the end of its context."""

    def __init__(
        self,
        max_running: int = MAX_RUNNING,
        max_waiting: int = MAX_WAITING,
        wait_timeout: float = WAIT_TIMEOUT_SECONDS,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._slots = asyncio.Semaphore(max_running)
        self._max_waiting = max_waiting
        self._wait_timeout = wait_timeout
        self._deadline = deadline
        self._waiting = 0
        self._evaluators: set[Evaluator] = set()
        self._idle: list[Evaluator] = []

    @asynccontextmanager
    async def evaluator(self, is_disconnected: Callable[[], bool]) -> AsyncIterator[Evaluator]:
        """Give an evaluator to a request; cancel the request when its client has disconnected.

        Raises:
            PoolBusyError: none is free in time.
            DeadlineExceededError: the context was not left in time. The call in it has ended.

        """
        async with _cancelled_when(is_disconnected):
            await self._wait_for_slot()
            evaluator = self._idle.pop() if self._idle else Evaluator()
            self._evaluators.add(evaluator)
            try:
                async with asyncio.timeout(self._deadline) as deadline:
                    yield evaluator
            except TimeoutError as error:
                if deadline.expired():
                    raise DeadlineExceededError from error
                raise
            finally:
                try:
                    if evaluator.is_busy:
                        await evaluator.stop()
                finally:  # the client may disconnect meanwhile
                    self._idle.append(evaluator)
                    self._slots.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await asyncio.gather(*(evaluator.stop() for evaluator in self._evaluators))

    async def _wait_for_slot(self) -> None:
        if self._waiting >= self._max_waiting:
            raise PoolBusyError
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_timeout):
                await self._slots.acquire()
        except TimeoutError as error:
            raise PoolBusyError from error
        finally:
            self._waiting -= 1


@asynccontextmanager
async def _cancelled_when(condition: Callable[[], bool]) -> AsyncIterator[None]:
    task = asyncio.current_task()
    assert task is not None

    async def watch() -> None:
        while not condition():  # noqa: ASYNC110  # aiohttp has no event for it
            await asyncio.sleep(DISCONNECT_INTERVAL_SECONDS)
        task.cancel()

    watching = asyncio.create_task(watch(), name="watch for a disconnect")
    try:
        yield
    finally:
        watching.cancel()


async def _started() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"from {__name__} import serve; serve({os.getpid()})",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def serve(parent: int) -> None:
    """Carry out the calls of `parent` in this process, until it closes the input or ends."""
    exit_with_parent(parent)
    os.nice(NICENESS)
    calls, results = sys.stdin.buffer, sys.stdout.buffer
    while head := calls.read(_LENGTH.size):
        function, arguments = pickle.loads(calls.read(*_LENGTH.unpack(head)))  # noqa: S301  # of our parent
        result, error = None, None
        try:
            result = function(*arguments)
        except Exception as raised:  # noqa: BLE001  # the caller handles it
            error = _sendable(raised)
        results.write(_framed((result, error)))
        results.flush()


def _framed(value: Any) -> bytes:
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def _sendable(error: Exception) -> Exception:
    """Return the error with its traceback as a note; another error with it, if it can't be pickled."""
    trace = traceback.format_exc()
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    except Exception:  # noqa: BLE001  # anything can be wrong with a foreign class
        return EvaluatorFailedError(trace)
    copy.add_note(trace)
    return copy
