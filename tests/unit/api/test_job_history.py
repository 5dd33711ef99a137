"""The history of jobs over HTTP: log, events, configurations, record counts, and events as a stream."""

from pathlib import Path

import pytest

from app.api.jobs import events
from app.kafka.memory.cluster import MemoryCluster
from tests.event_stream import following
from tests.integration.api.rig import UNCHECKED, Client, new_job
from tests.unit.api.conftest import Api, WallClock, serving, until_connected, until_status


async def test_the_log_is_filtered_ordered_and_paged(client: Client, clock: WallClock) -> None:
    job = await client.draft("first")
    clock.advance(hours=1)
    await client.post(f"/v2/job/{job['id']}/resume")
    await client.draft("other")

    async def kinds(query: str, path: str = f"/v2/job/{job['id']}/logs") -> list[str]:
        return [line["kind"] for line in await client.get(f"{path}?{query}")]

    assert await kinds("") == ["Started", "Resumed", "Created"]
    assert await kinds("order=oldest_first&limit=2") == ["Created", "Resumed"]
    assert await kinds("kind=Created&kind=Started") == ["Started", "Created"]
    assert await kinds("until=2026-05-04T13:00:00Z") == ["Created"]
    assert await kinds("since=2026-05-04T13:00:00Z") == ["Started", "Resumed"]
    assert await kinds("search=nothing+like+it") == []
    assert sorted(await kinds("", "/v2/job/logs")) == ["Created", "Created", "Resumed", "Started"]
    page = await client.ask("GET", f"/v2/job/{job['id']}/logs?limit=1")
    assert await kinds(f"limit=9&cursor={page.body['next_cursor']}") == ["Resumed", "Created"]


async def test_events_name_the_actor(client: Client) -> None:
    token = (await client.post("/v2/token", {"name": "ada", "role": "editor"}))["token"]
    job = await client.post(f"{UNCHECKED}&run_job=false", new_job(), Authorization=f"Bearer {token}")
    (line,) = await client.get(f"/v2/job/{job['id']}/logs")
    assert line["by"] == "user:ada"
    (event,) = await client.get(f"/v2/job/{job['id']}/history")
    assert event["actor"] == "user:ada"


async def test_the_events_of_a_job_are_paged_in_order_without_secrets(client: Client, clock: WallClock) -> None:
    source = "https://me:s3cret@data.example.com/people.csv"
    job = await client.post(UNCHECKED, new_job(configuration={"source": source, "stream": "people"}))
    clock.advance(hours=1)
    await client.post(f"/v2/job/{job['id']}/pause")
    path = f"/v2/job/{job['id']}/history"
    first = await client.ask("GET", f"{path}?limit=2")
    assert [(event["seq"], event["type"]) for event in first.data] == [(1, "JobCreated"), (2, "JobStarted")]
    assert first.data[0]["configuration"] == job["configuration"]
    assert "s3cret" not in str(first.body)
    assert first.headers["Link"] == f'<{path}?limit=2&after_seq=2>; rel="next"'
    rest = await client.ask("GET", f"{path}?limit=2&after_seq=2")
    assert [event["type"] for event in rest.data] == ["JobPaused"]
    assert "Link" not in rest.headers
    past = await client.get(f"{path}?until=2026-05-04T12:30:00Z")
    assert [event["seq"] for event in past] == [1, 2]


async def test_counts_are_summed_over_a_range_and_by_interval(client: Client, clock: WallClock) -> None:
    for rows in (b"id\n1\n2\n", b"id\n3\n"):
        upload = await client.ask("POST", "/collect/bulk/people", raw=rows, Content_Type="text/csv")
        await until_status(client, upload.data["upload_id"], "Completed")
        clock.advance(hours=1)
    day = await client.get("/v2/metric")
    assert (day["since"], day["until"]) == ("2026-05-03T14:00:00Z", "2026-05-04T14:00:00Z")
    assert (day["interval_seconds"], day["total"]["accepted"], len(day["buckets"])) == (3600, 3, 24)
    assert [bucket["counts"]["accepted"] for bucket in day["buckets"][-2:]] == [2, 1]
    halves = await client.get("/v2/metric?since=2026-05-04T13:00:00Z&until=2026-05-04T14:00:00Z&interval=30m")
    assert [(bucket["start"], bucket["counts"]["read"]) for bucket in halves["buckets"]] == [
        ("2026-05-04T13:00:00Z", 1),
        ("2026-05-04T13:30:00Z", 0),
    ]
    for query, accepted in (("stream=people", 3), ("stream=orders", 0), ("provider=file", 0), ("job_id=none", 0)):
        assert (await client.get(f"/v2/metric?{query}"))["total"]["accepted"] == accepted, query
    refused = await client.ask("GET", "/v2/metric?since=2000-01-01T00:00:00Z&interval=1m")
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "?interval")


# Events as a stream


async def test_events_are_streamed_and_filtered(client: Client, api: Api) -> None:
    job = await client.draft()
    async with following(client.session, client.url, f"?job_id={job['id']}") as stream:
        assert (await stream.next())[1:] == ("ready", {})
        assert api.services.metrics.registry.get_sample_value("entrepot_api_event_listeners") == 1
        await client.draft("of another job")
        await client.post(f"/v2/job/{job['id']}/resume")
        _, kind, data = await stream.next()
        assert (kind, data["type"], data["job_id"]) == ("JobResumed", "JobResumed", job["id"])
        assert (await stream.next())[1] == "JobStarted"


async def test_a_client_that_reconnects_to_another_server_misses_and_repeats_nothing(
    client: Client, cluster: MemoryCluster, data_dir: Path, clock: WallClock
) -> None:
    async with following(client.session, client.url) as stream:
        last, _, _ = await stream.next()
    jobs = [await client.post(UNCHECKED, new_job()) for _ in range(4)]
    async with serving(cluster, data_dir, clock) as other:
        await until_connected(other)
        async with following(other.client.session, other.client.url, f"?last_event_id={last}") as stream:
            received = [await stream.next() for _ in range(3)]
    async with following(client.session, client.url, last=received[-1][0]) as stream:
        while (message := await stream.next())[1] != "ready":
            received.append(message)
        await client.post(f"/v2/job/{jobs[0]['id']}/pause")
        assert (await stream.next())[1] == "JobPaused"
    events_received = sorted((data["job_id"], data["seq"]) for _, _, data in received)
    assert events_received == sorted((job["id"], seq) for job in jobs for seq in (1, 2))


async def test_an_event_carries_neither_configuration_nor_cursor(client: Client) -> None:
    async with following(client.session, client.url) as stream:
        await stream.next()
        job = await client.draft()
        await client.patch(job, {"cursor": {}, "configuration": {"stream": "other"}})
        for expected in ("JobCreated", "JobConfigured"):
            _, kind, data = await stream.next()
            assert kind == expected
            assert not {"configuration", "cursor", "previous"} & set(data)


async def test_an_idle_stream_sends_heartbeats_with_its_position(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_INTERVAL_SECONDS", 0.01)
    async with following(client.session, client.url) as stream:
        position, _, _ = await stream.next()
        assert (await stream.next())[:2] == (position, "heartbeat")


async def test_streams_end_with_the_server(client: Client, api: Api) -> None:
    async with following(client.session, client.url) as stream:
        await stream.next()
        await api.services.tail.stop()
        assert await stream.response.content.read() == b""
    metrics = api.services.metrics.registry
    assert metrics.get_sample_value("entrepot_api_event_listeners_dropped_total") == 1
    refused = await client.ask("GET", "/v2/events")
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (503, "kafka_unreachable", "5")


@pytest.mark.parametrize("event_id", ["yesterday", "0-1.", "0", "1-" + "9" * 19])
@pytest.mark.asyncio(loop_scope="session")
async def test_a_malformed_event_id_is_rejected(unchanged: Api, event_id: str) -> None:
    refused = await unchanged.client.ask("GET", "/v2/events", Last_Event_ID=event_id)
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "Last-Event-ID")
