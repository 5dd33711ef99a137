"""The limit of open files of a process: raised to what the system allows, at the start of every process."""

import resource
from typing import Final

SUFFICIENT: Final = 4096  # RocksDB, the broker's log segments and connections need most of them
MAX_RAISED: Final = 1024 * 1024  # systems without a hard limit refuse an unlimited soft one


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = MAX_RAISED if hard == resource.RLIM_INFINITY else min(hard, MAX_RAISED)
    if soft != resource.RLIM_INFINITY and soft < raised:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        return raised
    return soft if soft != resource.RLIM_INFINITY else MAX_RAISED


def low_limit_warning(limit: int) -> str:
    """Return a warning about a limit that can be exhausted; empty if it suffices."""
    if limit >= SUFFICIENT:
        return ""
    return (
        f"this process can open {limit:,} files (RLIMIT_NOFILE), fewer than {SUFFICIENT:,}: raise the hard limit "
        "(`ulimit -Hn`, `LimitNOFILE=` of systemd, `--ulimit nofile=` of Docker)"
    )
