"""The API conforms to its document: a validator, and thousands of generated requests."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.integration.api.rig import ApiServers
from tests.integration.support.service import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEED = 20261123
EXCLUDED_PATHS = (
    # The response never ends; it has tests of its own.
    "--exclude-path=/v2/events",
)
EXCLUDED_CHECKS = (
    # A file name that the schema allows need not exist, and commands depend on a job's status.
    "positive_data_acceptance",
    # A deleted job is archived: it can be read and restored.
    "use_after_free",
)


# RFC 6585 gives a missing If-Match a status of its own.
CONFIGURATION = """
[checks.missing_required_header]
expected-statuses = [401, 428]
"""


async def test_generated_requests_conform_to_the_document(api_servers: ApiServers, tmp_path: Path) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", f"--config-file={configuration}",
        "run", f"{api_servers.client.url}/openapi.json",
        f"--header=Authorization: Bearer {TOKEN}", "--header=Prefer: respond-async", f"--seed={SEED}",
        "--max-examples=25", "--phases=examples,coverage,fuzzing", "--generation-database=none", "--no-color",
        f"--exclude-checks={','.join(EXCLUDED_CHECKS)}", *EXCLUDED_PATHS,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, f"seed {SEED}\n{output.decode()[-20_000:]}"
