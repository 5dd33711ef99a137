"""The limit of open files is raised to the hard limit, and a low one is named."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.exits import UNAVAILABLE
from app.process import SUFFICIENT_FILES, low_limit_warning

SCRIPT = """
import resource
from app.process import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
print(raise_file_limit(), raise_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    output = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["300"] * 4


@pytest.mark.parametrize("command", ["up", "worker control"])
def test_a_process_raises_its_limit_at_the_start_and_warns_if_it_is_low(tmp_path: Path, command: str) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)  # `up` ends at once: other users could read its data; and a worker: there is no cluster
    result = subprocess.run(
        [sys.executable, "-m", "app.cli.main", *command.split(), "--data-dir", str(shared)],
        capture_output=True, text=True, check=False, env={"PATH": "/bin"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300)),  # there are no threads
    )  # fmt: skip
    assert result.returncode == UNAVAILABLE
    assert "this process can open 300 files (RLIMIT_NOFILE)" in result.stdout + result.stderr


def test_a_low_limit_is_named() -> None:
    assert "RLIMIT_NOFILE" in low_limit_warning(SUFFICIENT_FILES - 1)
    assert low_limit_warning(SUFFICIENT_FILES) == ""
