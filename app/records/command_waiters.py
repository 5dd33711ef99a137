"""Futures that are resolved by key, such as the id of a command. Independent of topics."""

import asyncio
import contextlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Generic, TypeVar

E = TypeVar("E")


class CommandWaiters(Generic[E]):
    """Waiters by key. The latest `max_remembered` results are remembered for late waiters."""

    def __init__(self, max_remembered: int = 0) -> None:
        self._max_remembered = max_remembered
        self._waiting: dict[str, set[asyncio.Future[tuple[E, ...]]]] = defaultdict(set)
        self._remembered: OrderedDict[str, tuple[E, ...]] = OrderedDict()

    @contextlib.contextmanager
    def expect(self, command_id: str) -> Iterator[asyncio.Future[tuple[E, ...]]]:
        """Return a future of the events that a command leads to; enter it before the command is sent."""
        future: asyncio.Future[tuple[E, ...]] = asyncio.get_running_loop().create_future()
        if command_id in self._remembered:
            future.set_result(self._remembered[command_id])
        self._waiting[command_id].add(future)
        try:
            yield future
        finally:
            self._waiting[command_id].discard(future)
            if not self._waiting[command_id]:
                del self._waiting[command_id]

    def answer(self, command_id: str, events: tuple[E, ...]) -> None:
        """Resolve the waiters of a command, and remember its events."""
        self._remembered[command_id] = events
        self._remembered.move_to_end(command_id)
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)
        for future in self._waiting.get(command_id, ()):
            if not future.done():
                future.set_result(events)
