"""A request that fails validation is answered by the API alone: it becomes no command, and so no event."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from app.api.server import make_api, make_app
from app.kafka.memory.cluster import MemoryCluster
from app.settings import Settings
from schemas.topics import DEFINITIONS_COMMANDS, JOBS_COMMANDS, TOPICS

PARTITIONS = 2
NO_BROKER = "127.0.0.1:1"
TOKEN = "a-token-of-an-administrator"
JOB: dict[str, Any] = {
    "name": "Orders",
    "provider": "file",
    "job_type": "import",
    "configuration": {"source": "orders.csv", "stream": "orders"},
}
INVALID: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("POST", "/v2/job", JOB | {"provider": "gopher"}, "/provider", "no_such_provider"),
    ("POST", "/v2/job", JOB | {"name": " "}, "/name", "string_pattern_mismatch"),
    ("POST", "/v2/job", JOB | {"cadence": {"kind": "cron", "cron": "9 9 9"}}, "/cadence/cron", "bad_cron"),
    ("POST", "/v2/job", JOB | {"retry": {"base_seconds": 0}}, "/retry/base_seconds", "greater_than_equal"),
    ("POST", "/v2/job", JOB | {"configuration": {"source": "a"}}, "/configuration/stream", "missing"),
    ("POST", "/v2/job", JOB | {"configuraton": {}}, "/configuraton", "extra_forbidden"),
    ("PUT", "/v2/definition/mapping%3Aorders/draft", {"identities": []}, "/identities", "not_a_list"),
]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(dict.fromkeys(TOPICS, PARTITIONS))


@pytest.fixture
async def client(cluster: MemoryCluster, tmp_path: Path) -> AsyncIterator[TestClient[Any, Any]]:
    async with AsyncExitStack() as stack:
        settings = Settings(
            data_dir=tmp_path, partitions=PARTITIONS, admin_token=SecretStr(TOKEN), bootstrap_servers=NO_BROKER
        )
        api = await make_api(settings, stack, kafka=cluster)
        server = TestServer(make_app(api))
        yield await stack.enter_async_context(TestClient(server, headers={"Authorization": f"Bearer {TOKEN}"}))


@pytest.mark.parametrize(("method", "path", "body", "pointer", "code"), INVALID)
async def test_an_invalid_request_becomes_no_command(
    client: TestClient[Any, Any],
    cluster: MemoryCluster,
    method: str,
    path: str,
    body: dict[str, Any],
    pointer: str,
    code: str,
) -> None:
    response = await client.request(method, path, json=body, headers={"If-Match": '"0"'})
    problem = await response.json()
    assert (response.status, problem["code"]) == (422, "invalid"), problem
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert all(error["message"] for error in problem["errors"])
    topics = (JOBS_COMMANDS.name, DEFINITIONS_COMMANDS.name)
    assert not any(cluster.records(topic, partition) for topic in topics for partition in range(PARTITIONS))
