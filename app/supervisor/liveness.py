"""Kills an API that no longer answers `/livez`; its restarter starts it again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from app.supervisor.restarts import ManagedProcess

INTERVAL_SECONDS: Final = 5.0
TIMEOUT_SECONDS: Final = 10.0
TRIES: Final = 3  # in succession without an answer


@dataclass(frozen=True, slots=True)
class Liveness:
    """Polls the API of a process at `url`. `notify` prints a line to the console."""

    process: ManagedProcess
    url: str
    notify: Callable[[str], None]
    interval: float = INTERVAL_SECONDS
    timeout: float = TIMEOUT_SECONDS

    async def watch(self) -> None:
        """Watch until cancelled."""
        unanswered = 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout)) as session:
            while True:
                await asyncio.sleep(self.interval)
                unanswered = 0 if await self._is_alive(session) else unanswered + 1
                if unanswered == TRIES:
                    seconds = TRIES * self.timeout
                    self.notify(f"{self.process.name} has not answered {self.url}/livez for {seconds:g} s; killing it")
                    self.process.kill()
                    unanswered = 0

    async def _is_alive(self, session: aiohttp.ClientSession) -> bool:
        """Whether the API answers, or is not listening: then it is starting, or is being restarted anyway."""
        try:
            async with session.get(f"{self.url}/livez"):
                return True
        except aiohttp.ClientError:
            return True
        except TimeoutError:
            return False
