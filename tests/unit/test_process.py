"""The limit of open files is raised to the hard limit, and a low one is named."""

import subprocess
import sys

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


def test_a_low_limit_is_named() -> None:
    assert "RLIMIT_NOFILE" in low_limit_warning(SUFFICIENT_FILES - 1)
    assert low_limit_warning(SUFFICIENT_FILES) == ""
