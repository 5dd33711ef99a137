"""Ties a process to the one that started it. Linux only: elsewhere a supervisor killed hard leaves its roles running.

The kernel itself ends the child (`PR_SET_PDEATHSIG`), so it holds for `kill -9`, when no code of ours runs any more.
It is SIGKILL, because everything here is made to be killed and nobody is left to insist when a graceful end hangs.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def exit_with_parent(parent: int) -> None:
    """Let this process end when `parent`, which started it, does."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)
