"""The preview of a backfill: impact on profiles, and warnings."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from app.supervisor.broker.server import Broker
from tests.integration.api.rig import Answer, service_with_client
from tests.integration.api.test_collect import CollectApi
from tests.integration.api.test_lanes import apply, entrepot, followed, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDENTITY = {
    "kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}, {"kind": "cookie", "rank": 5, "title": "Cookie"}],
    "max_identities": 1000,
}
VISITS: dict[str, Any] = {
    "identities": [{"field": "email", "kind": "email"}, {"field": "cookie", "kind": "cookie"}],
    "attributes": [
        {"name": "city", "field": "city", "type": "string", "merge": "latest"},
        {"name": "age", "field": "age", "type": "integer", "merge": "latest"},
    ],
    "timestamp": {"field": "when", "format": ["auto"], "time_zone": "UTC"},
}
LIVE = b"""email,cookie,city,when
ada@example.com,c1,Graz,2026-06-01T10:00:00Z
eve@example.com,,Wien,2026-06-01T10:00:00Z
,c9,Linz,2025-06-01T10:00:00Z
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def collect_api(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> AsyncIterator[CollectApi]:
    folder = tmp_path_factory.mktemp("previews")
    roles = ("control", "api", "lane-realtime", "lane-backfill", "profiles")
    async with service_with_client(folder, broker, roles) as (running, client):
        running_api = CollectApi(running, client)
        await apply(running_api, "identity", IDENTITY)
        await apply(running_api, "mapping:visits", VISITS)
        await followed(running_api, "messages.backfill", rules_offset=4)
        upload = (await running_api.bulk("visits", LIVE)).data["upload_id"]
        await until(
            client, f"/v2/job/{upload}", lambda job: job["status"] == "Completed" and job["profiles"]["complete"]
        )
        yield running_api


async def preview_of(collect_api: CollectApi, sample: bytes | None, query: str = "?stream=visits") -> Answer:
    return await collect_api.client.ask("POST", f"/v2/backfill/preview{query}", raw=sample, Content_Type="text/csv")


def codes(preview: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in preview["warnings"]}


async def test_the_preview_matches_the_backfill(collect_api: CollectApi) -> None:
    history = b"""email,cookie,city,age,when
ada@example.com,,Enns,,2020-01-01T10:00:00Z
eve@example.com,c9,Rust,33,2021-01-01T10:00:00Z
max@example.com,,Wels,,2022-01-01T10:00:00Z
"""
    preview = (await preview_of(collect_api, history, "?stream=visits&messages=900000")).data
    found = preview["profiles"]
    assert (preview["messages"], preview["needed"], preview["sample"]["applicable"]) == (900_000, True, 3)
    assert (found["added"], found["changed"], found["merged"], found["unchanged"]) == (1, 1, 1, 1)
    assert found["attributes"] == {"age": {"filled": 1, "replaced": 0}, "city": {"filled": 1, "replaced": 0}}
    assert found["older_messages"] == 2
    assert (preview["oldest_at"], preview["newest_at"]) == ("2020-01-01T10:00:00Z", "2022-01-01T10:00:00Z")
    assert preview["oldest_age_seconds"] > preview["newest_age_seconds"] > 0
    assert "years old" in preview["in_words"][0]
    assert codes(preview) == set()
    assert (await collect_api.client.ask("GET", "/v2/profile/email:max@example.com")).status == 404, (
        "nothing was stored"
    )

    upload = (await collect_api.bulk("visits", history)).data["upload_id"]
    await until(
        collect_api.client,
        f"/v2/job/{upload}",
        lambda job: job["status"] == "Completed" and job["profiles"]["complete"],
    )
    joined = await until(
        collect_api.client, "/v2/profile/cookie:c9", lambda item: item["id"] == "email:eve@example.com"
    )
    assert {name: attribute["value"] for name, attribute in joined["attributes"].items()} == {"city": "Wien", "age": 33}
    again = (await preview_of(collect_api, history)).data
    assert (again["needed"], again["profiles"]["unchanged"]) == (False, 3)
    assert "The sample would change nothing: this backfill is not needed." in again["in_words"]


async def test_the_command_line_prints_the_preview(collect_api: CollectApi, tmp_path: Path) -> None:
    file = tmp_path / "part.ndjson"
    file.write_text('{"email": "new@example.com", "city": "Wels", "when": "2020-01-01T00:00:00Z"}\nnothing\n')
    code, output = await entrepot(collect_api, "backfill", "preview", "visits", str(file), "--messages", "1000")
    assert code == 0, output
    assert "1 profile, 1 new" in output
    assert "warning: 1 of 2 records are invalid" in output
    code, output = await entrepot(collect_api, "backfill", "preview", "visits", "--messages", "1000", "-o", "json")
    assert (code, orjson.loads(output)["messages"]) == (0, 1000)
    assert (await entrepot(collect_api, "backfill", "preview", "visits"))[0] == 5
