"""Output that was a file, and is a pipe after a fork, as that of roles when `entrepot up > FILE` started them."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
from app.cli.main import escape_unencodable
escape_unencodable()
reading, writing = os.pipe()
os.dup2(writing, 1)
escape_unencodable()
print("\u2026", flush=True)
os.write(2, os.read(reading, 100))
"""


def test_a_role_starts_when_the_output_of_up_is_a_file(tmp_path: Path) -> None:
    with (tmp_path / "up.log").open("w") as file:
        done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=file, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) in {(0, "…\n".encode()), (0, b"\\u2026\n")}
