"""A measured figure, and the table and report of a run."""

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
    """Return a percentile of the values."""
    return statistics.quantiles(values, n=100)[percent - 1]


def show(figures: Sequence[Figure]) -> None:
    """Print the figures as a table that fits the terminal."""
    table = Table(title=machine(), title_justify="left")
    for name in ("what", "measured", "goal", "", "times reference", "reference"):
        table.add_column(name, overflow="fold")
    for figure in figures:
        table.add_row(
            figure.what,
            f"{figure.value:,.4g} {figure.unit}" if figure.value < 1000 else f"{figure.value:,.0f} {figure.unit}",
            figure.goal,
            "✓" if figure.reached else "✗",
            f"{figure.ratio:.2f}",
            f"{figure.reference_is}: {figure.reference:,.4g} {figure.unit}",
        )
    Console().print(table)


def write_report(figures: Sequence[Figure], folder: Path) -> Path:
    """Write the figures as JSON and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    report = {
        "taken_at": now.isoformat(),
        "machine": machine(),
        "figures": [asdict(figure) | {"ratio": figure.ratio} for figure in figures],
    }
    file = folder / f"{now:%Y-%m-%dT%H-%M-%SZ}.json"
    file.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return file


def machine() -> str:
    """Describe the machine."""
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {python}, load {load:.1f}"
