"""`make bench`: every figure in one run, as a table and as a JSON report in `bench/reports`."""

import asyncio
import sys
import tempfile
from pathlib import Path

from bench.control import control_speed
from bench.figures import Figure, show, write_report
from bench.file_read import ReadSpeed, measure_file_read
from bench.import_file import import_speed
from bench.whole import broker_alone_seconds, memory, to_ready, visible, whole_service

REPORTS = Path(__file__).parent / "reports"


async def measure(folder: Path) -> list[Figure]:
    """Measure one thing after another; nothing else should use the machine meanwhile."""
    print("reading files …", file=sys.stderr)
    reading = [_figure(each) for each in await asyncio.to_thread(measure_file_read)]
    print("the broker alone …", file=sys.stderr)
    alone = await broker_alone_seconds(folder)
    print("the control agent …", file=sys.stderr)
    control = await control_speed(folder / "control")
    print("the whole service …", file=sys.stderr)
    async with whole_service(folder / "whole") as up:
        figures = [to_ready(up, alone), memory(), *await visible(up), control]
        print("an import …", file=sys.stderr)
        return [*figures, *await import_speed(up, folder / "whole"), *reading]


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
    with tempfile.TemporaryDirectory(prefix="entrepot-bench-") as folder:
        figures = asyncio.run(measure(Path(folder)))
    show(figures)
    print(f"report: {write_report(figures, REPORTS)}")


if __name__ == "__main__":
    main()
