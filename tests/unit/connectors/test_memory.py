"""What a file costs in memory while it is read, whatever it is like: a runner works on several at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, sys
from pathlib import Path
from connectors.contract import Limits
from connectors.providers.file import Config, read

async def main(path):
    limits = Limits(file_roots=(path.parent,))
    return sum([batch.count async for batch in read(Config(source=path.name, stream="s"), {}, limits)])

print(asyncio.run(main(Path(sys.argv[1]))))
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(("columns", "rows"), [(10_000, 200), (400, 5_000), (3, 300_000)])
def test_a_file_costs_little_more_than_its_batches(tmp_path: Path, columns: int, rows: int) -> None:
    """Python and its libraries take about 100 MB; two batches of some 20 MB are held, one being read ahead."""
    file = tmp_path / "wide.csv"
    head = ",".join(f"column_{each}" for each in range(columns))
    row = ",".join(str(each * 7 % 97) for each in range(columns))
    file.write_text("\n".join((head, *(row,) * rows)) + "\n")
    asked = [sys.executable, "-c", SCRIPT, str(file)]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert int(said[0]) == rows
    assert int(said[1]) < 250
