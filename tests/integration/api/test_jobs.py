"""Jobs: created, read and changed, with read-your-writes."""

import pytest

from tests.integration.api.rig import UNCHECKED, ApiServers, Client, new_job, until_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_write_without_control_is_accepted(api_servers: ApiServers, client: Client) -> None:
    job = await client.post(UNCHECKED, new_job("patient"))
    await api_servers.service.stop_role("control")
    assert "control" in (await until_ready(client, status=503)).body["parts"]
    accepted = await client.ask("POST", f"/v2/job/{job['id']}/pause", Prefer="wait=0")
    assert (accepted.status, accepted.data["id"]) == (202, job["id"])
    assert accepted.headers["Location"] == f"/v2/job/{job['id']}"
    await api_servers.service.start_role("control")
    await until_ready(client)
    # The answer to this one is behind the answer to the other in the same partition.
    assert (await client.post(f"/v2/job/{job['id']}/resume", Prefer="wait=30"))["status"] == "Running"
    kinds = [item["kind"] for item in await client.get(f"/v2/job/{job['id']}/logs?order=oldest_first")]
    assert kinds == ["Created", "Started", "Paused", "Resumed", "Started"]
