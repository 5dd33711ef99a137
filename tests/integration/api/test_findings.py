"""A shared address joins many people; a finding, a new version of the identity rules and a rebuild separate them."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.supervisor.broker.server import Broker
from tests.integration.api.rig import Client, service_with_client
from tests.integration.api.test_collect import CollectApi
from tests.integration.api.test_lanes import apply, followed
from tests.integration.support.pages import run_command
from tests.integration.support.plane import packed, until_settled, write_packed

ROLES = ("control", "api", "lane-realtime", "lane-backfill", "profiles", "rebuild")
SHARED = ("info@shop.example", "Info@Shop.example ", "INFO@shop.example", "mailto:info@shop.example")
PEOPLE = 60
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
IDENTITY = {"kinds": [{"kind": "email", "rank": 0}, {"kind": "phone", "rank": 1, "format": "phone", "region": "AT"}]}
MAPPING: dict[str, Any] = {
    "identities": [{"field": "email", "kind": "email"}, {"field": "phone", "kind": "phone"}],
    "attributes": [
        {"name": "orders", "merge": "count"},
        {"name": "spent", "field": "total", "type": "integer", "merge": "sum"},
        {"name": "city", "field": "city", "type": "string", "merge": "latest"},
    ],
    "timestamp": {"field": "when", "format": ["auto"], "time_zone": "UTC"},
}


def orders() -> list[dict[str, Any]]:
    """Return two orders of each person: one with the shared address, one with their own, and the phone number."""
    found = []
    for person in range(PEOPLE):
        number = 1_000_000 + person
        when = [(FIRST + timedelta(days=day, minutes=person)).isoformat() for day in (0, 1)]
        found += [
            {
                "email": SHARED[person % len(SHARED)],
                "phone": f"0664 {number}",
                "total": 1,
                "city": "Graz",
                "when": when[0],
            },
            {"email": f"p{person}@example.com", "phone": f"+43 664/{number}", "total": person, "when": when[1]},
        ]
    return found


async def until(client: Client, path: str, holds: Callable[[Any], bool]) -> Any:
    """Poll until a condition holds: profiles send no signal."""
    async with asyncio.timeout(60):
        while (answer := await client.ask("GET", path)).status != 200 or not holds(answer.data):
            await asyncio.sleep(0.05)
    return answer.data


@pytest.mark.parametrize("seed", [0, 1], ids=["in the order of time", "in a random order"])
async def test_people_who_share_an_address_are_separated(tmp_path: Path, empty_broker: Broker, seed: int) -> None:
    messages = orders()
    if seed:
        random.Random(seed).shuffle(messages)
    half = len(messages) // 2
    async with service_with_client(tmp_path / "data", empty_broker, ROLES) as (running, client):
        rig = CollectApi(running, client)
        await apply(rig, "identity", IDENTITY)
        await apply(rig, "mapping:orders", MAPPING)
        for lane in ("realtime", "backfill"):
            await followed(rig, f"messages.{lane}", rules_offset=4)
        await write_packed(running, "backfill", [packed("orders", "old/1", messages[:half])])
        await client.post("/collect/json/orders", messages[half:])
        await until_settled(running)
        joined = await until(
            client, "/v2/profile/phone:0664 1000007", lambda item: len(item["identities"]) == 1 + 2 * PEOPLE
        )
        assert (joined["id"], joined["attributes"]["orders"]["value"]) == ("email:info@shop.example", 2 * PEOPLE)
        (finding,) = await until(client, "/v2/finding", bool)
        since = (FIRST + timedelta(minutes=50)).isoformat().replace("+00:00", "Z")
        assert finding == {
            "type": "fan_in", "identity": "email:info@shop.example", "profile": "email:info@shop.example",
            "links": PEOPLE, "limit": 50, "since": since, "blocked": False,
        }  # fmt: skip

        for command in ("identity block email:info@shop.example", "identity apply"):
            assert "version 2" in await run_command(running, tmp_path, command)
        assert await until(client, "/v2/finding", lambda rows: rows[0]["blocked"])
        unchanged = await client.get("/v2/profile/phone:0664 1000007")
        assert len(unchanged["identities"]) == 1 + 2 * PEOPLE, "only a rebuild changes live profiles"
        for command in ("rebuild start --wait", "rebuild promote --wait"):
            await run_command(running, tmp_path, command)

        assert await until(client, "/v2/finding", lambda rows: not rows) == []
        assert (await client.ask("GET", "/v2/profile/email:info@shop.example")).status == 404
        for person in range(PEOPLE):
            shown = await client.get(f"/v2/profile/email:p{person}@example.com")
            assert shown["identities"] == [f"email:p{person}@example.com", f"phone:+43664{1_000_000 + person}"]
            values = {name: attribute["value"] for name, attribute in shown["attributes"].items()}
            assert values == {"orders": 2, "spent": 1 + person, "city": "Graz"}
