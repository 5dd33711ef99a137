"""Progress bars: on a terminal only, never in a log file or a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.sentences.escapes import escaped

UpdateBar = Callable[[float, float | None, str], None]  # done, total (None: unknown), status text


@contextmanager
def bar(title: str) -> Iterator[UpdateBar]:
    """Show a progress bar on standard error while the block runs, then erase it."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415  # only needed on a terminal
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415  # as above

    texts = [TextColumn(template, markup=False) for template in ("{task.description}", "{task.fields[status]}")]
    columns = (texts[0], BarColumn(bar_width=24), texts[1])
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escaped(title), total=None, status="")
        yield lambda done, total, status: progress.update(task, completed=done, total=total, status=escaped(status))
