"""Progress bars: on a terminal only, so that a log file or a pipe gets none."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Update = Callable[[float, float | None, str], None]  # done, of how much (None: nobody knows), what is going on


@contextmanager
def bar(title: str) -> Iterator[Update]:
    """Show a bar on standard error while the block runs, and leave nothing behind."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415  # only a terminal needs it
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415  # as above

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[says]}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None, says="")
        yield lambda done, total, says: progress.update(task, completed=done, total=total, says=says)
