"""Threads for blocking calls that may hang."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """Runs every call in a daemon thread of its own: a call that hangs blocks neither other calls nor the exit.

    The callers bound how many calls there are. An event loop accepts only this base class.
    """

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        """Start the call."""
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = function(*arguments, **named)
                except BaseException as error:  # noqa: BLE001  # it belongs to the caller
                    future.set_exception(error)
                else:
                    future.set_result(result)

        threading.Thread(target=call, daemon=True, name="connector").start()
        return future
