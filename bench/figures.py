"""What a measurement is, and how the table and the report of a run are written."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `reference` is in the same unit, measured in the same run."""

    what: str
    value: float
    unit: str
    goal: str
    reached: bool
    reference: float
    reference_is: str

    @property
    def ratio(self) -> float:
        """The value as a multiple of the reference."""
        return self.value / self.reference if self.reference else 0.0


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent of the values are below."""
    return statistics.quantiles(values, n=100)[percent - 1]


def show(figures: Sequence[Figure]) -> None:
    """Print the figures as a table that fits the terminal."""
    table = Table(title=machine(), title_justify="left")
    for name in ("what", "measured", "goal", "", "times reference", "reference"):
        table.add_column(name, overflow="fold")
    for each in figures:
        table.add_row(
            each.what,
            f"{each.value:,.4g} {each.unit}" if each.value < 1000 else f"{each.value:,.0f} {each.unit}",
            each.goal,
            "✓" if each.reached else "✗",
            f"{each.ratio:.2f}",
            f"{each.reference_is}: {each.reference:,.4g} {each.unit}",
        )
    Console().print(table)


def write_report(figures: Sequence[Figure], folder: Path) -> Path:
    """Write the figures as JSON and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = datetime.now(UTC)
    report = {
        "taken_at": taken.isoformat(),
        "machine": machine(),
        "figures": [asdict(each) | {"ratio": each.ratio} for each in figures],
    }
    file = folder / f"{taken:%Y-%m-%dT%H-%M-%SZ}.json"
    file.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return file


def machine() -> str:
    """Name what the figures were taken on."""
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {python}, load {load:.1f}"
