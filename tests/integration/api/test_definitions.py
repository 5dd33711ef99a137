"""Definitions: drafted, compared and applied, with read-your-writes."""

import asyncio
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio

from tests.integration.api.rig import Answer, ApiServers, Client
from tests.integration.support.service import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")


def mapping(**merges: str) -> dict[str, Any]:
    return {
        "identities": [{"field": "tailnum", "kind": "tail"}],
        "attributes": [
            {"name": name, "field": name, "type": "string", "merge": merge} for name, merge in merges.items()
        ],
        "timestamp": None,
    }


def path(stream: str, rest: str = "") -> str:
    return f"/v2/definition/{quote(f'mapping:{stream}', safe='')}{rest}"


def new_stream(prefix: str = "s") -> str:
    return f"{prefix} {uuid4().hex[:8]}"


async def draft(client: Client, stream: str, body: Any, version: int = 0) -> Answer:
    return await client.ask("PUT", path(stream, "/draft"), body, If_Match=f'"{version}"')


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def identity(client: Client) -> None:
    """Activate the identity rules that the mappings of these tests need."""
    body = {"kinds": [{"kind": "tail", "rank": 0, "title": "Tail number"}], "max_identities": 1000}
    listed = {item["id"]: item for item in await client.get("/v2/definition")}
    if "identity" not in listed or not listed["identity"]["applied_version"]:
        await client.ask("PUT", "/v2/definition/identity/draft", body, If_Match="*")
        await client.post("/v2/definition/identity/apply")


async def test_of_two_concurrent_drafts_one_wins(api_servers: ApiServers) -> None:
    for _ in range(5):
        stream, other = new_stream(), mapping(**{f"n{uuid4().hex[:8]}": "latest"})
        answers = await asyncio.gather(
            *(draft(server, stream, mapping(), 0) if number else draft(server, stream, other, 0)
              for number, server in enumerate(api_servers.servers))
        )  # fmt: skip
        assert sorted(response.status for response in answers) == [200, 412]
        winner, loser = sorted(answers, key=lambda item: item.status)
        assert (loser.body["code"], loser.body["version"]) == ("version_mismatch", 1)
        assert loser.headers["ETag"] == winner.headers["ETag"] == '"1"'


async def entrepot(api_servers: ApiServers, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli.main", *arguments, "--url", api_servers.client.url, "--token", TOKEN,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    output = output.removeprefix(f"Entrepot at {api_servers.client.url}\n".encode())
    return process.returncode or 0, output.decode()


async def test_the_command_line_does_the_same(api_servers: ApiServers, tmp_path: Path) -> None:
    stream, file = new_stream("by/hand"), tmp_path / "mapping.yaml"
    file.write_text(f"identities: [{{field: tailnum, kind: tail}}]\nattributes: []\ntimestamp: null # {stream}\n")
    assert (await entrepot(api_servers, "mapping", "show", stream))[0] == 3
    assert await entrepot(api_servers, "mapping", "draft", stream, str(file)) == (
        0,
        f"mapping:{stream}  draft: version 1\n",
    )
    code, output = await entrepot(api_servers, "mapping", "diff", stream)
    assert (code, "/identities" in output, "added" in output) == (0, True, True)
    assert (await entrepot(api_servers, "mapping", "apply", stream, "--version", "2"))[0] == 4
    assert await entrepot(api_servers, "mapping", "apply", stream) == (0, f"mapping:{stream}  active: version 1\n")
    code, output = await entrepot(api_servers, "mapping", "show", stream, "-o", "json")
    assert orjson.loads(output)["applied"]["body"] == mapping()
    assert "tailnum" in (await entrepot(api_servers, "mapping", "show", stream))[1]
    assert stream in (await entrepot(api_servers, "mapping", "list"))[1]
    assert (await entrepot(api_servers, "mapping", "discard", stream))[0] == 4
    file.write_text("[1, 2]")
    assert (await entrepot(api_servers, "identity", "draft", str(file)))[0] == 2
    assert "tail" in (await entrepot(api_servers, "identity", "show"))[1]
