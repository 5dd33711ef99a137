"""Restarts a process whenever it exits, with exponential backoff, until stopped. Never gives up."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from app.process import Monotonic

MIN_DELAY_SECONDS: Final = 0.2
MAX_DELAY_SECONDS: Final = 10.0
HEALTHY_SECONDS: Final = 30.0  # a run of this length resets the backoff


class ManagedProcess(Protocol):
    """A process that can be started and stopped: a role or the broker."""

    name: str

    async def start(self) -> None:
        """Start the process and wait until it is up. Raise `NotStartedError` on failure."""
        ...

    async def wait(self) -> str:
        """Wait until the process exits, and describe how for the operator."""
        ...

    async def stop(self) -> None:
        """Stop the process gracefully and wait for its exit."""
        ...

    def kill(self) -> None:
        """Kill the process."""
        ...


class NotStartedError(Exception):
    """A process could not be started; the message gives the reason and the fix."""


class Backoff:
    """The delay before the next start: 0.2 s, doubling to 10 s; reset by a healthy run."""

    def __init__(self) -> None:
        self._next = MIN_DELAY_SECONDS

    def after(self, ran_seconds: float) -> float:
        """Return the delay after a run of this length."""
        delay = MIN_DELAY_SECONDS if ran_seconds >= HEALTHY_SECONDS else self._next
        self._next = min(2 * delay, MAX_DELAY_SECONDS)
        return delay


class Restarter:
    """Keeps one process running. `notify` prints a line to the console."""

    def __init__(
        self, process: ManagedProcess, notify: Callable[[str], None], monotonic: Monotonic = time.monotonic
    ) -> None:
        self.process = process
        self._notify = notify
        self._monotonic = monotonic
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def was_started(self) -> bool:
        """Whether the process was started."""
        return self._task is not None

    async def start(self) -> None:
        """Start the process once, without a retry, and restart it from then on."""
        await self.process.start()
        self._task = asyncio.create_task(self._supervise(), name=f"supervise {self.process.name}")

    async def stop(self) -> None:
        """Stop the process and its restarts."""
        self._stopping.set()
        await self.process.stop()
        if self._task is not None:
            await self._task

    async def _supervise(self) -> None:
        backoff = Backoff()
        started = self._monotonic()
        reason: str | None = None
        while True:
            reason = reason or await self._wait()
            delay = backoff.after(self._monotonic() - started)
            if self._stopping.is_set():
                return
            self._notify(f"{reason}; restarting in {delay:g} s")
            if await self._stops_within(delay):
                return
            started = self._monotonic()
            reason = await self._try_start()
            if reason is None and self._stopping.is_set():
                await self.process.stop()  # stop() was called before this start finished

    async def _wait(self) -> str:
        try:
            return await self.process.wait()
        except Exception as error:  # noqa: BLE001  # the process has to be restarted in any case
            self.process.kill()
            return f"lost track of {self.process.name}: {error!r}"

    async def _try_start(self) -> str | None:
        try:
            await self.process.start()
        except NotStartedError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001  # the process has to be restarted in any case
            return f"can't start {self.process.name}: {error!r}"
        return None

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True
