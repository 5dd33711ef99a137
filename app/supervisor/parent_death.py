"""End a process when its parent ends. Linux only: elsewhere, a supervisor killed with SIGKILL leaves its roles running.

The kernel signals the child (`PR_SET_PDEATHSIG`), so this also works after `kill -9` of the parent. The signal is
SIGKILL: every role is crash-safe, and no process is left to enforce a graceful stop.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def exit_with_parent(parent: int) -> None:
    """End this process when `parent`, which started it, ends."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the registration
        os._exit(1)
