"""The API conforms to its document: thousands of generated requests, and sequences that follow the document's links."""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from tests.integration.api.rig import Client
from tests.unit.api.test_access import session_of
from tests.unit.api.test_profiles import path, profile, rules, send  # noqa: F401  # a fixture

ROOT = Path(__file__).resolve().parents[3]
SEED = 20261123
CONFIGURATION = """
[checks.missing_required_header]
expected-statuses = [401, 428] # RFC 6585 gives a missing If-Match a status of its own

[phases.stateful.inference]
algorithms = [] # the links of the document are tested

[phases.stateful]
max-steps = 40

[phases.stateful.generation]
mode = "positive"
max-examples = 100
"""
SHARE = "^/v2/(job|definition|metric|profile)"  # about half of the work, for two processes
REACHED = {
    "GET /v2/definition/{definition_id}",
    "GET /v2/job/{job_id}",
    "GET /v2/job/{job_id}/history",
    "GET /v2/job/{job_id}/logs",
    "DELETE /v2/job/{job_id}",
    "GET /v2/rebuild/{rebuild_id}",
    "GET /v2/stream/{name}",
    "DELETE /v2/session/{session_id}",
    "DELETE /v2/token/{token_id}",
}
EXCLUDED_CHECKS = (
    # A file name that the schema allows need not exist, and commands depend on a job's status.
    "positive_data_acceptance",
    # A deleted job is archived: it can be read and restored.
    "use_after_free",
)


@pytest.fixture
async def resources(client: Client, plane: None, rules: None) -> None:  # noqa: F811  # the fixture
    """Create resources of each kind."""
    del plane, rules
    await send(client, {"cookie": "c1", "email": "ada@example.com", "when": "2026-02-01T10:00:00Z"})
    await profile(client, "cookie:c1", lambda item: len(item["identities"]) == 2)
    for number in range(5):
        await client.draft(f"people {number}")
    await client.post("/v2/rebuild", {})
    await client.ask("DELETE", path("cookie:c9"), Prefer="respond-async")
    token = await client.post("/v2/token", {"name": "ada", "role": "viewer"})
    for _ in range(5):
        await session_of(client, token["token"])


async def run_schemathesis(client: Client, folder: Path, *options: str, **environment: str) -> Path:
    """Run schemathesis without findings; return its report, an event a line."""
    configuration, report = folder / "schemathesis.toml", folder / "events.ndjson"
    configuration.write_text(CONFIGURATION)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", f"--config-file={configuration}",
        "run", f"{client.url}/openapi.json",
        f"--header=Authorization: {client.session.headers['Authorization']}", f"--seed={SEED}",
        "--generation-database=none", "--no-color", f"--report-ndjson-path={report}",
        f"--exclude-checks={','.join(EXCLUDED_CHECKS)}",
        "--exclude-path=/v2/events",  # its response never ends; it has tests of its own
        *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder,
        env=os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, f"seed {SEED}\n{output.decode()[-20_000:]}"
    return report


def statuses(report: Path) -> Mapping[str, set[int]]:
    """Return the statuses of the responses of each operation."""
    statuses: dict[str, set[int]] = defaultdict(set)
    for line in report.read_bytes().splitlines():
        recorder = orjson.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for case_id, interaction in recorder.get("interactions", {}).items():
            case = recorder["cases"][case_id]["value"]
            if response := interaction.get("response"):
                statuses[f"{case['method']} {case['path']}"].add(response["status_code"])
    return statuses


@pytest.mark.slow
async def test_generated_requests_conform_to_the_document(client: Client, tmp_path: Path) -> None:
    phases = ("--phases=examples,coverage,fuzzing", "--max-examples=25", "--header=Prefer: respond-async")
    shares = (
        [f"--include-path-regex={SHARE}"],
        # 503: the admin client of /readyz has no twin, and no worker owns profiles here
        [f"--exclude-path-regex={SHARE}", "--exclude-path=/readyz", "--exclude-path=/v2/finding"],
    )
    folders = [tmp_path / str(number) for number in range(len(shares))]
    for folder in folders:
        folder.mkdir()
    runs = (run_schemathesis(client, folder, *phases, *share) for folder, share in zip(folders, shares, strict=True))
    await asyncio.gather(*runs)


@pytest.mark.slow
@pytest.mark.usefixtures("resources")
async def test_sequences_of_linked_requests_conform_to_the_document(client: Client, tmp_path: Path) -> None:
    report = await run_schemathesis(
        client, tmp_path, "--phases=stateful", SCHEMATHESIS_HOOKS="tests.unit.api.openapi_hooks"
    )
    reached = {operation for operation, seen in statuses(report).items() if any(status < 300 for status in seen)}
    assert REACHED - reached == set()
