"""Throughput of the file connector alone, compared with the standard readers of Python."""

import asyncio
import csv
import random
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from connectors.contract import Limits
from connectors.providers.file import Config, read

SEED = 20131
COLUMNS = ("at", "id", "email", "name", "city", "country", "plan", "amount", "currency", "campaign", "agent", "note")


@dataclass(frozen=True, slots=True)
class ReadSpeed:
    """Rows per second of one format, and of the reference: the standard reader and `orjson`, row by row."""

    format: str
    rows: int
    row_bytes: float
    rows_per_second: float
    reference_rows_per_second: float

    @property
    def ratio(self) -> float:
        """The speed as a multiple of the reference."""
        return self.rows_per_second / self.reference_rows_per_second


def measure_file_read(rows: int = 300_000, rounds: int = 3) -> list[ReadSpeed]:
    """Read the same generated rows in every format. The best round counts, to exclude other load."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        _write(root, rows)
        measures = []
        for name, reference in (("rows.csv", _csv), ("rows.ndjson", _ndjson), ("rows.json", _json_array)):
            path = root / name
            entrepot = max(_per_second(rows, lambda path=path: asyncio.run(_read(path))) for _ in range(rounds))
            standard = max(_per_second(rows, lambda path=path, read=reference: read(path)) for _ in range(rounds))
            measures.append(ReadSpeed(path.suffix[1:], rows, path.stat().st_size / rows, entrepot, standard))
        return measures


def _per_second(rows: int, work: Callable[[], int]) -> float:
    started = time.perf_counter()
    count = work()
    assert count == rows, (count, rows)
    return rows / (time.perf_counter() - started)


async def _read(path: Path) -> int:
    config = Config(source=path.name, stream="bench", timestamp_field="at")
    return sum([batch.count async for batch in read(config, {}, Limits(file_roots=(path.parent,)))])


def _csv(path: Path) -> int:
    with path.open(newline="") as file:
        return sum(len(orjson.dumps(row)) > 0 for row in csv.DictReader(file))


def _ndjson(path: Path) -> int:
    with path.open("rb") as file:
        return sum(len(orjson.dumps(orjson.loads(line))) > 0 for line in file)


def _json_array(path: Path) -> int:
    return sum(len(orjson.dumps(row)) > 0 for row in orjson.loads(path.read_bytes()))


def _write(root: Path, rows: int) -> None:
    generator = random.Random(SEED)
    with (
        (root / "rows.csv").open("w") as table,
        (root / "rows.ndjson").open("wb") as lines,
        (root / "rows.json").open("wb") as array,
    ):
        table.write(",".join(COLUMNS) + "\n")
        for at in range(rows):
            values = _row(generator, at)
            line = orjson.dumps(dict(zip(COLUMNS, values, strict=True)))
            table.write(",".join(values) + "\n")
            lines.write(line + b"\n")
            array.write((b"," if at else b"[") + line)
        array.write(b"]")


def _row(generator: random.Random, at: int) -> tuple[str, ...]:
    return (
        f"2024-{1 + at % 12:02}-{1 + at % 28:02}T{at % 24:02}:{at % 60:02}:{at // 7 % 60:02}Z",
        f"{at:08}",
        f"person{generator.randrange(10**6)}@example.com",
        generator.choice(("Ana Novak", "Jürgen Groß", "Li Wei", "Mary O'Hara", "Zoë Quinn")),
        generator.choice(("Wien", "Oslo", "Lima", "Kyōto", "Portland")),
        generator.choice(("AT", "NO", "PE", "JP", "US")),
        generator.choice(("free", "team", "enterprise")),
        f"{generator.randrange(10**5) / 100}",
        "EUR",
        f"spring-{at % 40}",
        "Mozilla/5.0 (X11; Linux x86_64)",
        "x" * (at % 40),
    )


def main() -> None:
    """Print the results."""
    print(f"seed {SEED}")
    for speed in measure_file_read():
        print(
            f"read {speed.format:7} {speed.row_bytes:4.0f} bytes/row  {speed.rows_per_second:10,.0f} rows/s  "
            f"{speed.ratio:4.1f} x the reference ({speed.reference_rows_per_second:,.0f} rows/s)"
        )
    print(f"peak resident set size: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
