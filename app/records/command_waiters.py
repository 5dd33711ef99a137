"""Who waits for what a command leads to, and is told of it. Knows no topics."""

import asyncio
import contextlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

REMEMBERED: Final = 2_000

E = TypeVar("E")


class CommandWaiters(Generic[E]):
    """Futures of the events of commands, by command id; the latest answers are remembered."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._waiting: dict[str, set[asyncio.Future[tuple[E, ...]]]] = defaultdict(set)
        self._recent: OrderedDict[str, tuple[E, ...]] = OrderedDict()

    @contextlib.contextmanager
    def expect(self, command_id: str) -> Iterator[asyncio.Future[tuple[E, ...]]]:
        """Give a future of the events that a command leads to; to be entered before the command is sent."""
        future: asyncio.Future[tuple[E, ...]] = asyncio.get_running_loop().create_future()
        if command_id in self._recent:
            future.set_result(self._recent[command_id])
        self._waiting[command_id].add(future)
        try:
            yield future
        finally:
            self._waiting[command_id].discard(future)
            if not self._waiting[command_id]:
                del self._waiting[command_id]

    def answer(self, command_id: str, events: tuple[E, ...]) -> None:
        """Tell whoever waits for a command."""
        self._recent[command_id] = events
        self._recent.move_to_end(command_id)
        if len(self._recent) > self._remembered:
            self._recent.popitem(last=False)
        for future in self._waiting.get(command_id, ()):
            if not future.done():
                future.set_result(events)
