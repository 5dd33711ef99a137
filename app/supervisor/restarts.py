"""Restarts a process whenever it exits, with exponential backoff, until stopped. Never gives up."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

MIN_DELAY_SECONDS: Final = 0.2
MAX_DELAY_SECONDS: Final = 10.0
HEALTHY_SECONDS: Final = 30.0  # a run of this length resets the backoff


class ManagedProcess(Protocol):
    """A process that can be started and stopped: a role or the broker."""

    name: str

    async def start(self) -> None:
        """Start it and return when it is up; raise `NotStartedError` when it can't be."""
        ...

    async def ended(self) -> str:
        """Wait for its end, wanted or not, and return how it ended, for a person."""
        ...

    async def stop(self) -> None:
        """Ask it to end, and return when it has."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class NotStartedError(Exception):
    """A process could not be started; the message gives the reason and the fix."""


class Backoff:
    """The delay before the next start: 0.2 s, doubling to 10 s; reset by a healthy run."""

    def __init__(self) -> None:
        self._next = MIN_DELAY_SECONDS

    def after(self, ran_seconds: float) -> float:
        """Return the delay after a run of that length."""
        pause = MIN_DELAY_SECONDS if ran_seconds >= HEALTHY_SECONDS else self._next
        self._next = min(2 * pause, MAX_DELAY_SECONDS)
        return pause


class Restarter:
    """Keeps one process running. `say` prints a line to the console."""

    def __init__(
        self, part: ManagedProcess, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.part = part
        self._say = say
        self._clock = clock
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def kept(self) -> bool:
        """Whether the process was started."""
        return self._task is not None

    async def start(self) -> None:
        """Start the process once, without a retry, and restart it from then on."""
        await self.part.start()
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")

    async def stop(self) -> None:
        """Stop the process and its restarts."""
        self._stopping.set()
        await self.part.stop()
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        pauses = Backoff()
        started = self._clock()
        how: str | None = None
        while True:
            how = how or await self._end()
            pause = pauses.after(self._clock() - started)
            if self._stopping.is_set():
                return
            self._say(f"{how}; restarting in {pause:g} s")
            if await self._stops_within(pause):
                return
            started = self._clock()
            how = await self._failure_of_start()
            if how is None and self._stopping.is_set():
                await self.part.stop()  # stop() was called before this start finished

    async def _end(self) -> str:
        try:
            return await self.part.ended()
        except Exception as error:  # noqa: BLE001  # whatever it is, the part has to come back
            self.part.kill()
            return f"{self.part.name} was lost: {error!r}"

    async def _failure_of_start(self) -> str | None:
        try:
            await self.part.start()
        except NotStartedError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the part has to come back
            return f"{self.part.name} can't be started: {error!r}"
        return None

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True
