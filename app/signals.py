"""How a process learns that it is to stop."""

import asyncio
import signal


def told_to_stop() -> asyncio.Event:
    """Return what SIGTERM or SIGINT sets; call it inside the running loop."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    return stop
