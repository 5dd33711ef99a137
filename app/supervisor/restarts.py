"""Keeps a process running: started again whenever it ends, at growing distances, until told to stop. Never gives up."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
HEALTHY_SECONDS: Final = 30.0  # a process that ran so long starts over with the first pause


class Part(Protocol):
    """Something that runs, one at a time: a role or the broker."""

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
    """A part could not be started; the message says why and what to do."""


class Pauses:
    """How long to wait before the next start: 0.2 s, doubling to 10 s, and back when the last run was a healthy one."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def after(self, ran_seconds: float) -> float:
        """Return the pause after a run of that length."""
        pause = FIRST_PAUSE if ran_seconds >= HEALTHY_SECONDS else self._next
        self._next = min(2 * pause, LONGEST_PAUSE)
        return pause


class Keeper:
    """Keeps one part running. `say` prints a line for a person."""

    def __init__(self, part: Part, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.part = part
        self._say = say
        self._clock = clock
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def kept(self) -> bool:
        """Whether the part came up, and is kept since."""
        return self._task is not None

    async def start(self) -> None:
        """Start the part, once and with no second try, and keep it from then on."""
        await self.part.start()
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")

    async def stop(self) -> None:
        """Stop the part and the keeping of it."""
        self._stopping.set()
        await self.part.stop()
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        pauses = Pauses()
        started = self._clock()
        how: str | None = None
        while True:
            how = how or await self._end()
            pause = pauses.after(self._clock() - started)
            if self._stopping.is_set():
                return
            self._say(f"{how}; it is started again in {pause:g} s")
            if await self._told_to_stop_within(pause):
                return
            started = self._clock()
            how = await self._failure_of_start()
            if how is None and self._stopping.is_set():
                await self.part.stop()  # whoever told it to stop has met no part, or the one before

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

    async def _told_to_stop_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True
