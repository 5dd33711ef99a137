"""Graceful shutdown by signals."""

import asyncio
import signal


def shutdown_event() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set. Call it in the running event loop."""
    event = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event
