"""`python -m bench [benchmark …]`: run benchmarks, print a table, and write a JSON report to `bench/reports`.

Without arguments all benchmarks run in sequence. Nothing else should use the machine meanwhile.
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
from bench.pipeline import pipeline_speed
from bench.rebuild import rebuild_speed
from bench.restart import restart
from bench.service import broker_seconds, memory, request_latency, running_service, startup

REPORTS = Path(__file__).parent / "reports"


async def _files(_: Path) -> list[Figure]:
    return [_figure(speed) for speed in await asyncio.to_thread(measure_file_read)]


async def _control(folder: Path) -> list[Figure]:
    return [await control_speed(folder)]


async def _service(folder: Path) -> list[Figure]:
    reference = await broker_seconds(folder)
    async with running_service(folder / "service") as service:
        return [startup(service, reference), memory(), *await request_latency(service)]


async def _import(folder: Path) -> list[Figure]:
    async with running_service(folder) as service:
        return await import_speed(service, folder)


async def _collect(folder: Path) -> list[Figure]:
    async with running_service(folder) as service:
        return await collect_speed(service)


BENCHMARKS: Final[dict[str, Callable[[Path], Awaitable[list[Figure]]]]] = {
    "files": _files,
    "control": _control,
    "service": _service,
    "import": _import,
    "collect": _collect,
    "pipeline": pipeline_speed,
    "rebuild": rebuild_speed,
    "isolation": isolation,
    "restart": restart,
    "memory": memory_under_load,
}


async def measure(names: Sequence[str], folder: Path) -> list[Figure]:
    """Run benchmarks, each in its own folder."""
    figures = list[Figure]()
    for name in names:
        print(f"{name} …", file=sys.stderr)
        (folder / name).mkdir()
        figures += await BENCHMARKS[name](folder / name)
    return figures


def _figure(speed: ReadSpeed) -> Figure:
    goal = 350_000 if speed.format == "csv" else 0  # so that Kafka is the bottleneck of an import, not reading
    return Figure(
        f"reading only, {speed.format}",
        speed.rows_per_second,
        "rows/s",
        f"≥ {goal:,} rows/s" if goal else "none",
        speed.rows_per_second >= goal,
        speed.reference_rows_per_second,
        "Python's standard reader",
    )


def main() -> None:
    """Run the benchmarks, print and report the figures."""
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"unknown benchmark {unknown[0]}; expected {', '.join(BENCHMARKS)}")
    with tempfile.TemporaryDirectory(prefix="entrepot-bench-") as folder:
        figures = asyncio.run(measure(names, Path(folder)))
    show(figures)
    print(f"report: {write_report(figures, REPORTS)}")


if __name__ == "__main__":
    main()
