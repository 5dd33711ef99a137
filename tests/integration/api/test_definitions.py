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

from tests.integration.api.rig import Answer, Client, House, as_caller

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


@pytest.mark.parametrize("kinds", [[{"kind": "tail", "rank": 5}], [{"kind": "email", "rank": 0}]])
async def test_identity_rules_that_change_ranks_are_refused(client: Client, kinds: Any) -> None:
    there = "/v2/definition/identity"
    drafted = (await client.ask("PUT", f"{there}/draft", {"kinds": kinds}, If_Match="*")).data
    refused = await client.ask("POST", f"{there}/apply")
    assert (refused.status, refused.body["code"]) == (409, "ranks_in_use"), refused.body
    assert f"entrepot rebuild start --identity {drafted['draft_version']}" in refused.body["detail"]
    await client.ask("DELETE", f"{there}/draft")


async def test_an_applied_draft_is_active_at_once(client: Client) -> None:
    stream, body = new_stream(), mapping()
    drafted = await draft(client, stream, body)
    assert (drafted.status, drafted.headers["ETag"]) == (200, '"1"')
    assert (drafted.data["applied"], drafted.data["draft"]["body"]) == (None, body)
    applied = await client.post(path(stream, "/apply"))
    assert (applied["applied_version"], applied["draft"], applied["applied"]["body"]) == (1, None, body)
    assert await client.get(path(stream)) == applied
    listed = {item["id"]: item for item in await client.get("/v2/definition")}
    assert listed[f"mapping:{stream}"]["applied_version"] == 1


@pytest.mark.parametrize("name", ["a/b", "100%", "%2F", "a:b", "ü {x}", "?#&+", "..", "identity"])
async def test_a_stream_name_may_have_any_printable_character(client: Client, name: str) -> None:
    stream = new_stream(name) if name != ".." else name
    assert (await draft(client, stream, mapping())).data["stream"] == stream
    assert (await client.get(path(stream)))["id"] == f"mapping:{stream}"
    assert (await client.ask("DELETE", path(stream, "/draft"))).data["draft"] is None


async def test_versions_are_retained_and_compared(client: Client) -> None:
    stream = new_stream()
    a, b = f"a{uuid4().hex[:8]}", f"b{uuid4().hex[:8]}"
    await draft(client, stream, mapping(**{a: "latest"}))
    assert (await client.get(path(stream, "/diff")))["before"] == 0
    await client.post(path(stream, "/apply"))
    await draft(client, stream, mapping(), 1)
    await draft(client, stream, mapping(**{a: "first", b: "latest"}), 2)
    found = await client.get(path(stream, "?version=2"))
    assert [(version["version"], version["status"]) for version in found["versions"]] == [
        (3, "draft"),
        (2, "discarded"),
        (1, "applied"),
    ]
    assert found["requested"]["body"] == mapping()
    changes = (await client.get(path(stream, "/diff")))["changes"]
    assert [(change["pointer"], change["kind"]) for change in changes] == [
        ("/attributes/0/merge", "changed"),
        ("/attributes/1", "added"),
    ]
    back = await client.get(path(stream, "/diff?from=3&to=2"))
    assert [change["kind"] for change in back["changes"]] == ["removed", "removed"]
    assert (await client.ask("GET", path(stream, "?version=9"))).body["code"] == "no_such_version"


async def test_a_refused_change_has_a_reason(client: Client) -> None:
    stream = new_stream()
    assert (await client.ask("GET", path(stream))).body["code"] == "no_such_definition"
    assert (await client.ask("GET", "/v2/definition/forgotten")).status == 404
    assert (await client.ask("PUT", "/v2/definition/nonsense/draft", {}, If_Match="*")).status == 404
    assert (await client.ask("PUT", path(stream, "/draft"), mapping())).status == 428
    large = mapping() | {"more": "x" * 300_000}  # nothing else is looked at
    refused = await draft(client, stream, large)
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "")
    await draft(client, stream, mapping())
    assert (await client.ask("POST", path(stream, "/apply?version=7"))).status == 412
    await client.ask("DELETE", path(stream, "/draft"))
    for method, rest in (("DELETE", "/draft"), ("POST", "/apply")):
        refused = await client.ask(method, path(stream, rest))
        assert (refused.status, refused.body["code"]) == (409, "no_draft")


async def test_conflicting_attribute_types_are_refused_by_the_decider(client: Client) -> None:
    one, other, name = new_stream("one"), new_stream("other"), f"n{uuid4().hex[:8]}"
    await draft(client, one, mapping(**{name: "latest"}))
    await client.post(path(one, "/apply"))
    await draft(client, other, mapping(**{name: "union"}))
    refused = await client.ask("POST", path(other, "/apply"))
    assert (refused.status, refused.body["code"]) == (409, "conflict")
    assert f"stream {one!r}" in refused.body["errors"][0]["message"]


async def test_of_two_concurrent_drafts_one_wins(house: House) -> None:
    for _ in range(5):
        stream, other = new_stream(), mapping(**{f"n{uuid4().hex[:8]}": "latest"})
        answers = await asyncio.gather(
            *(draft(server, stream, mapping(), 0) if number else draft(server, stream, other, 0)
              for number, server in enumerate(house.servers))
        )  # fmt: skip
        assert sorted(response.status for response in answers) == [200, 412]
        winner, loser = sorted(answers, key=lambda item: item.status)
        assert (loser.body["code"], loser.body["version"]) == ("version_mismatch", 1)
        assert loser.headers["ETag"] == winner.headers["ETag"] == '"1"'


async def test_an_async_write_returns_its_url(client: Client) -> None:
    stream = new_stream()
    accepted = await client.ask("PUT", path(stream, "/draft"), mapping(), If_Match='"0"', Prefer="respond-async")
    assert (accepted.status, accepted.headers["Location"]) == (202, path(stream))
    assert (await draft(client, stream, mapping(), 1)).status in {200, 412}


async def test_a_viewer_can_only_read(client: Client) -> None:
    token = await client.post("/v2/token", {"name": "looks", "role": "operator"})
    async with as_caller(client.url, token["token"]) as viewer:
        assert (await viewer.ask("GET", "/v2/definition")).status == 200
        assert (await draft(viewer, new_stream(), mapping())).status == 403


async def entrepot(house: House, *arguments: str) -> tuple[int, str]:
    token = (house.data_dir / "admin-token").read_text().strip()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli.main", *arguments, "--url", house.client.url, "--token", token,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_the_command_line_does_the_same(house: House, tmp_path: Path) -> None:
    stream, file = new_stream("by/hand"), tmp_path / "mapping.yaml"
    file.write_text(f"identities: [{{field: tailnum, kind: tail}}]\nattributes: []\ntimestamp: null # {stream}\n")
    assert (await entrepot(house, "mapping", "show", stream))[0] == 3
    assert await entrepot(house, "mapping", "draft", stream, str(file)) == (0, f"mapping:{stream}  draft: version 1\n")
    code, output = await entrepot(house, "mapping", "diff", stream)
    assert (code, "/identities" in output, "added" in output) == (0, True, True)
    assert (await entrepot(house, "mapping", "apply", stream, "--version", "2"))[0] == 4
    assert await entrepot(house, "mapping", "apply", stream) == (0, f"mapping:{stream}  active: version 1\n")
    code, output = await entrepot(house, "mapping", "show", stream, "-o", "json")
    assert orjson.loads(output)["applied"]["body"] == mapping()
    assert "tailnum" in (await entrepot(house, "mapping", "show", stream))[1]
    assert stream in (await entrepot(house, "mapping", "list"))[1]
    assert (await entrepot(house, "mapping", "discard", stream))[0] == 4
    file.write_text("[1, 2]")
    assert (await entrepot(house, "identity", "draft", str(file)))[0] == 2
    assert "tail" in (await entrepot(house, "identity", "show"))[1]
