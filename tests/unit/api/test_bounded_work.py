"""Costly rules and large profiles stop neither the API nor its other requests."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import psutil
import pytest

from projections.mapping.expression import MAX_CHARACTERS
from tests.integration.api.rig import Answer, Client
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.usefixtures("identity")

MAX_LIVENESS_SECONDS = 1.0
MAPPING = "/v2/definition/mapping%3Aflights"
LONG_TEXT = "x," * 30_000


def costly_mapping(count: int = 180) -> dict[str, Any]:
    """A mapping of up to 250 KB that takes long to parse, and splits a text as often as an expression can."""
    splits = "coalesce(" + ", ".join(["split(text, ',', 99999)"] * 70) + ")"
    wide = "concat(" + ", ".join(["a"] * 400) + ")"
    assert max(len(splits), len(wide)) < MAX_CHARACTERS
    return {
        "identities": [{"field": "tail", "kind": "tail"}],
        "attributes": [
            {"name": f"part {number}", "expr": wide if number % 5 else splits, "type": "string", "merge": "latest"}
            for number in range(count)
        ],
    }


async def send_long_texts(client: Client, count: int) -> None:
    for start in range(0, count, 10):
        messages = [{"tail": f"N{number}", "text": LONG_TEXT} for number in range(start, start + 10)]
        await client.post("/collect/json/flights", messages)


async def longest_liveness(client: Client, requests: Awaitable[Any]) -> float:
    """Return the longest time between two responses of `/livez` while requests are carried out."""
    work, longest, last = asyncio.ensure_future(requests), 0.0, time.perf_counter()
    while not work.done():
        assert (await client.ask("GET", "/livez")).status == 200
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        await asyncio.sleep(0.01)
    await work
    return longest


@pytest.mark.slow
async def test_previews_of_a_costly_mapping_leave_the_api_live(client: Client) -> None:
    await send_long_texts(client, 20)
    answers: list[Answer] = []

    async def preview() -> None:
        answers.append(await client.ask("POST", f"{MAPPING}/preview", costly_mapping()))

    longest = await longest_liveness(client, asyncio.gather(*(preview() for _ in range(2))))
    assert longest < MAX_LIVENESS_SECONDS
    for answer in answers:
        assert answer.data["summary"]["messages"] == 20
        assert {fault["code"] for fault in answer.data["summary"]["faults"]} == {"too_costly"}


async def test_a_preview_that_takes_too_long_is_stopped(
    client: Client, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send_long_texts(client, 10)
    monkeypatch.setattr(api.services.evaluators, "_deadline", 0.05)
    stopped = await client.ask("POST", f"{MAPPING}/preview", costly_mapping())
    assert (stopped.status, stopped.body["code"]) == (503, "evaluation_too_slow")
    assert stopped.headers["Retry-After"] == "30"


async def test_evaluations_beyond_the_bounds_are_refused(
    client: Client, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.services.evaluators, "_max_waiting", 0)
    for method, where, body in (
        ("POST", f"{MAPPING}/preview", costly_mapping(1)),
        ("PUT", f"{MAPPING}/draft", costly_mapping(1)),
        ("GET", "/v2/definition/identity/diff?from=0&to=applied", None),
    ):
        refused = await client.ask(method, where, body, If_Match='"0"')
        assert (refused.status, refused.body["code"]) == (429, "too_many_evaluations"), where
        assert refused.headers["Retry-After"] == "5"


async def test_a_preview_ends_with_the_connection_of_its_client(client: Client, api: Api) -> None:
    await send_long_texts(client, 50)
    pool = api.services.evaluators
    preview = asyncio.create_task(client.ask("POST", f"{MAPPING}/preview", costly_mapping()))
    async with asyncio.timeout(10):
        while not any(evaluator.is_busy for evaluator in pool._evaluators):
            await asyncio.sleep(0.01)
        pids = {evaluator._process.pid for evaluator in pool._evaluators if evaluator._process}
        evaluators = [process for process in psutil.Process().children() if process.pid in pids]
        preview.cancel()
        while not pool._idle:
            await asyncio.sleep(0.01)
    assert evaluators
    assert not any(evaluator.is_running() for evaluator in evaluators), "killed, not finished"


# Explanations of large profiles

EXPLAINED_MESSAGES = 10_000
CONCURRENT_EXPLANATIONS = 25
MAX_EXTRA_BYTES = 300 * 1024 * 1024
EXPLAIN = "/v2/profile/tail:N1/explain"


@pytest.fixture
async def large_profile(client: Client, identity: None, plane: None) -> None:
    """Send 10,000 messages of 1 KB about one identity, and wait until they are applied."""
    del identity, plane
    counted = {"name": "seen", "type": "integer", "merge": "count"}
    mapping = {"identities": [{"field": "tail", "kind": "tail"}], "attributes": [counted]}
    await client.ask("PUT", f"{MAPPING}/draft", mapping, If_Match='"0"')
    await client.post(f"{MAPPING}/apply")
    for start in range(0, EXPLAINED_MESSAGES, 500):
        messages = [{"tail": "N1", "number": number, "text": "x" * 1_000} for number in range(start, start + 500)]
        await client.post("/collect/json/flights", messages)
    async with asyncio.timeout(30):
        while (await seen(client)) < EXPLAINED_MESSAGES:
            await asyncio.sleep(0.05)


async def seen(client: Client) -> int:
    answer = await client.ask("GET", "/v2/profile/tail:N1")
    return 0 if answer.status != 200 else int(answer.data["attributes"]["seen"]["value"])


def resident_bytes() -> int:
    """Return the memory of this process and its evaluators."""
    processes = [psutil.Process(), *psutil.Process().children()]
    return sum(process.memory_info().rss for process in processes if process.is_running())


@pytest.mark.usefixtures("large_profile")
@pytest.mark.slow
async def test_concurrent_explanations_of_a_large_profile_stay_small(client: Client) -> None:
    before, peak, refused = resident_bytes(), 0, 0

    async def explain() -> list[int]:
        nonlocal refused
        numbers: list[int] = []
        where = f"{EXPLAIN}?limit=1000"
        while len(numbers) < 2_000:
            answer = await client.ask("GET", where)
            if answer.status == 429:
                refused += 1
                await asyncio.sleep(0.05)
                continue
            numbers += [message["message"]["number"] for message in answer.data["messages"]]
            where = f"{EXPLAIN}?limit=1000&cursor={answer.body['next_cursor']}"
        return numbers

    work = asyncio.gather(*(explain() for _ in range(CONCURRENT_EXPLANATIONS)))
    while not work.done():
        peak = max(peak, resident_bytes())
        await asyncio.sleep(0.02)
    explained = await work
    print(f"{CONCURRENT_EXPLANATIONS} explanations took {(peak - before) / 2**20:.0f} MB above idle")
    assert peak - before < MAX_EXTRA_BYTES
    assert refused > 0
    assert all(len(set(numbers)) == 2_000 for numbers in explained)
    past = await client.get("/v2/profile/tail:N1?as_of=2030-01-01T00:00:00Z")
    assert past["attributes"]["seen"]["value"] == EXPLAINED_MESSAGES
