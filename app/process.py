"""What every process does for itself: it stops gracefully on a signal, and raises its limit of open files."""

import asyncio
import resource
import signal
from typing import Final

SUFFICIENT_FILES: Final = 4096  # RocksDB, the broker's log segments and connections need most of them
MAX_FILES: Final = 1024 * 1024  # systems without a hard limit refuse an unlimited soft one


def shutdown_event() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set. Call it in the running event loop."""
    event = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < raised:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        return raised
    return soft if soft != resource.RLIM_INFINITY else MAX_FILES


def low_limit_warning(limit: int) -> str:
    """Return a warning about a limit that can be exhausted; empty if it suffices."""
    if limit >= SUFFICIENT_FILES:
        return ""
    return (
        f"this process can open {limit:,} files (RLIMIT_NOFILE), fewer than {SUFFICIENT_FILES:,}: raise the hard limit "
        "(`ulimit -Hn`, `LimitNOFILE=` of systemd, `--ulimit nofile=` of Docker)"
    )
