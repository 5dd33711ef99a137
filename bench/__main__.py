"""`python -m bench [part …]`: figures in one run, as a table and as a JSON report in `bench/reports`.

Without names all parts are measured, one after another; nothing else should use the machine meanwhile.
"""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from bench.collect import collect_speed
from bench.control import control_speed
from bench.figures import Figure, show, write_report
from bench.file_read import ReadSpeed, measure_file_read
from bench.import_file import import_speed
from bench.isolation import isolation
from bench.load_memory import memory_under_load
from bench.rebuild import rebuild_speed
from bench.restart import restart
from bench.road import road_speed
from bench.whole import broker_alone_seconds, memory, to_ready, visible, whole_service

REPORTS = Path(__file__).parent / "reports"


async def _files(_: Path) -> list[Figure]:
    return [_figure(each) for each in await asyncio.to_thread(measure_file_read)]


async def _control(folder: Path) -> list[Figure]:
    return [await control_speed(folder)]


async def _whole(folder: Path) -> list[Figure]:
    alone = await broker_alone_seconds(folder)
    async with whole_service(folder / "whole") as up:
        return [to_ready(up, alone), memory(), *await visible(up)]


async def _import(folder: Path) -> list[Figure]:
    async with whole_service(folder) as up:
        return await import_speed(up, folder)


async def _collect(folder: Path) -> list[Figure]:
    async with whole_service(folder) as up:
        return await collect_speed(up)


PARTS: Final[dict[str, Callable[[Path], Awaitable[list[Figure]]]]] = {
    "files": _files,
    "control": _control,
    "whole": _whole,
    "import": _import,
    "collect": _collect,
    "road": road_speed,
    "rebuild": rebuild_speed,
    "isolation": isolation,
    "restart": restart,
    "memory": memory_under_load,
}


async def measure(names: Sequence[str], folder: Path) -> list[Figure]:
    """Measure parts, each in a folder of its own."""
    figures = list[Figure]()
    for name in names:
        print(f"{name} …", file=sys.stderr)
        (folder / name).mkdir()
        figures += await PARTS[name](folder / name)
    return figures


def _figure(speed: ReadSpeed) -> Figure:
    goal = 350_000 if speed.format == "csv" else 0  # so that an import is held up by Kafka, not by reading
    return Figure(
        f"reading alone, {speed.format}",
        speed.rows_per_second,
        "rows/s",
        f"≥ {goal:,} rows/s" if goal else "none",
        speed.rows_per_second >= goal,
        speed.reference_rows_per_second,
        "Python's own reader",
    )


def main() -> None:
    """Measure, show and report."""
    names = sys.argv[1:] or list(PARTS)
    if unknown := [each for each in names if each not in PARTS]:
        sys.exit(f"there is no part {unknown[0]}; parts are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="entrepot-bench-") as folder:
        figures = asyncio.run(measure(names, Path(folder)))
    show(figures)
    print(f"report: {write_report(figures, REPORTS)}")


if __name__ == "__main__":
    main()
