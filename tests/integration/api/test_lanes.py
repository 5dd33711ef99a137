"""Lanes: progress of uploads into profiles, lag, and pausing backfill."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import pytest_asyncio

from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from tests.integration.api.rig import Client, service_with_client
from tests.integration.api.test_collect import CollectApi
from tests.integration.support.service import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 60.0
ROWS = 3_000
STEPS = ("mapping", "profiles")
PEOPLE = b"id,city\n" + b"".join(b"%d,Graz\n" % number for number in range(1, ROWS + 1))
IDENTITY = {"kinds": [{"kind": "id", "rank": 0, "title": "Id"}], "max_identities": 1000}
MAPPING: dict[str, Any] = {
    "identities": [{"field": "id", "kind": "id"}],
    "attributes": [{"name": "city", "field": "city", "type": "string", "merge": "latest"}],
    "timestamp": None,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collect_api(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> AsyncIterator[CollectApi]:
    folder = tmp_path_factory.mktemp("lanes")
    roles = ("control", "api", "lane-realtime", "lane-backfill", "profiles")
    async with service_with_client(folder, broker, roles, batch_bytes=16 * 1024) as (running, client):
        running_api = CollectApi(running, client)
        await apply(running_api, "identity", IDENTITY)
        await apply(running_api, "mapping:people", MAPPING)
        await followed(running_api, "messages.backfill", rules_offset=4)
        yield running_api


async def apply(collect_api: CollectApi, name: str, body: dict[str, Any]) -> None:
    there = f"/v2/definition/{quote(name, safe='')}"
    version = (await collect_api.client.ask("GET", there)).body.get("data", {}).get("version", 0)
    assert (await collect_api.client.ask("PUT", f"{there}/draft", body, If_Match=f'"{version}"')).status == 200
    assert (await collect_api.client.ask("POST", f"{there}/apply")).status == 200


async def until(client: Client, path: str, holds: Callable[[Any], bool]) -> Any:
    """Poll until a response meets a condition: lanes and profiles send no signal."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not ((found := await client.ask("GET", path)).status == 200 and holds(found.data)):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{path} is {found.body}") from None
    return found.data


async def entrepot(collect_api: CollectApi, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli.main", *arguments, "--url", collect_api.client.url, "--token", TOKEN,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    return process.returncode or 0, (output or errors).decode()


async def followed(collect_api: CollectApi, topic: str, rules_offset: int) -> None:
    """Wait until the lane maps by the rules at an offset, in every partition."""
    store = await ReadStore.open(collect_api.running.settings.database())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for number in range(collect_api.running.settings.partitions):
                while max((at for _, at in await store.plane.rules_of(topic, number)), default=-1) < rules_offset:
                    await asyncio.sleep(0.05)
    finally:
        await store.close()


async def test_an_upload_is_complete_once_it_is_in_the_profiles(collect_api: CollectApi, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(PEOPLE)
    code, output = await entrepot(collect_api, "collect", "people", str(file), "--wait", "-o", "json")
    assert code == 0, output
    upload = orjson.loads(output)[0]["upload_id"]
    job = await collect_api.client.get(f"/v2/job/{upload}")
    assert job["profiles"] == {
        "written": ROWS,
        "mapped": ROWS,
        "complete": True,
        "unmapped_stream": None,
        "excluded_before": None,
    }
    for item in (1, ROWS):
        assert (await collect_api.client.ask("GET", f"/v2/profile/id:{item}")).status == 200, "at once"
    assert f"all {ROWS:,} messages applied to profiles" in (await entrepot(collect_api, "job", "show", upload))[1]
    past = await collect_api.client.get(f"/v2/job/{upload}?as_of={job['updated_at']}")
    assert past["profiles"] is None


async def test_transaction_markers_are_no_lag(collect_api: CollectApi) -> None:
    lanes = await until(
        collect_api.client, "/v2/lane", lambda all_: not any(item[step]["lag"] for item in all_ for step in STEPS)
    )
    assert [(lane["name"], lane["paused"]) for lane in lanes] == [("realtime", False), ("backfill", False)]
    for lane in lanes:
        for step in STEPS:
            assert (lane[step]["eta_seconds"], lane[step]["oldest_pending_at"]) == (0, None)
    detail = await collect_api.client.get("/v2/lane/backfill")
    assert [partition["partition"] for partition in detail["mapping"]["partitions"]] == [0, 1, 2, 3]
    assert any(partition["end"] > 1 for partition in detail["mapping"]["partitions"])


async def test_a_paused_lane_stays_paused_across_a_restart_and_follows_rules(collect_api: CollectApi) -> None:
    client, running = collect_api.client, collect_api.running
    paused = await client.post("/v2/lane/backfill/pause")
    assert (paused["paused"], paused["switched_by"]) == (True, "user:admin")
    await running.until_logged("backfill is paused", seconds=2)
    running.log_lines.clear()
    await running.kill("lane-backfill")
    await running.until_logged("backfill is paused")
    upload = (await collect_api.bulk("people", PEOPLE.replace(b"Graz", b"Wien"))).data["upload_id"]
    town = MAPPING["attributes"][0] | {"name": "town"}
    await apply(collect_api, "mapping:people", MAPPING | {"attributes": [town]})
    await followed(collect_api, "messages.backfill", rules_offset=6)
    assert (await collect_api.json("people", {"id": "now", "city": "Linz"})).status == 200
    await until(client, "/v2/profile/id:now", lambda _: True)
    lane = await until(client, "/v2/lane/backfill", lambda item: item["mapping"]["oldest_pending_at"] is not None)
    assert (lane["mapping"]["lag"] > 0, lane["mapping"]["eta_seconds"], lane["paused"]) == (True, None, True)
    assert lane["mapping"]["oldest_pending_at"] > paused["switched_at"]
    job = await client.get(f"/v2/job/{upload}")
    assert job["profiles"] == {
        "written": ROWS,
        "mapped": 0,
        "complete": False,
        "unmapped_stream": None,
        "excluded_before": None,
    }
    measures = (await client.ask("GET", "/metrics")).body.decode()
    assert 'entrepot_lane_paused{lane="backfill"} 1.0' in measures
    assert 'entrepot_lane_lag_records{lane="realtime",step="mapping"}' in measures
    code, output = await entrepot(collect_api, "lane", "list")
    assert (code, "Paused" in output) == (0, True), output
    code, output = await entrepot(collect_api, "lane", "resume", "backfill")
    assert (code, "Running" in output) == (0, True), output
    done = await until(
        client, f"/v2/job/{upload}", lambda job: job["status"] == "Completed" and job["profiles"]["complete"]
    )
    assert done["profiles"]["mapped"] == ROWS
    known = (await client.get("/v2/profile/id:7"))["attributes"]
    values = {name: attribute["value"] for name, attribute in known.items()}
    assert values == {"city": "Graz", "town": "Wien"}, "pending messages are mapped by the new rules"
