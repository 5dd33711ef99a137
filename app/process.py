"""Process basics: the wall clock, stop on a signal or with the parent, and raise the limit of open files."""

import asyncio
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

SUFFICIENT_FILES: Final = 4096  # RocksDB, the broker's log segments and connections need most of them
MAX_FILES: Final = 1024 * 1024  # systems without a hard limit refuse an unlimited soft one
PR_SET_PDEATHSIG: Final = 1  # of Linux's prctl

Clock = Callable[[], datetime]
Monotonic = Callable[[], float]  # seconds since a fixed moment


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def shutdown_event() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set. Call it in the running event loop."""
    event = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


def exit_with_parent(parent: int) -> None:
    """End this process when `parent`, which started it, ends, also by `kill -9`.

    Linux only. The signal is SIGKILL: every process is crash-safe, and none is left to enforce a graceful stop.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the registration
        os._exit(1)


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
