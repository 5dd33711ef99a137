"""The peak memory of reading a file is bounded, whatever its shape: a runner reads several at a time."""

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
def test_peak_memory_is_bounded_by_the_batches(tmp_path: Path, columns: int, rows: int) -> None:
    """Python and its libraries take about 100 MB; two batches of about 20 MB are buffered, one of them read ahead."""
    file = tmp_path / "wide.csv"
    head = ",".join(f"column_{index}" for index in range(columns))
    row = ",".join(str(index * 7 % 97) for index in range(columns))
    file.write_text("\n".join((head, *(row,) * rows)) + "\n")
    command = [sys.executable, "-c", SCRIPT, str(file)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(output[0]) == rows
    assert int(output[1]) < 250
