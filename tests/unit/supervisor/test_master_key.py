"""The master key is created only while nothing is sealed; a missing or replaced key is named and stops nothing."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import send
from app.process import utc_now
from app.records.encoding import encoded
from app.records.envelopes import stamp
from app.settings import Settings
from app.store.read_store import ReadStore
from app.supervisor.master_key import prepare_master_key
from app.vault.cipher import MASTER_KEY_BYTES, MasterKey
from app.vault.master_key import create_master_key, read_key_ring
from app.vault.sealed_json import job_owner, seal_secrets
from app.vault.secret import Secret
from schemas.commands import ConfigureJob, CreateJob, KillJob, PurgeJob
from schemas.json_values import canonical_json
from schemas.topics import JOBS_COMMANDS, TOPICS
from tests.unit.store.histories import Partition

FORMER = MasterKey(Secret(b"f" * MASTER_KEY_BYTES))


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(dict.fromkeys(TOPICS, 2), lambda: 0.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, partitions=2)


async def announced(settings: Settings) -> bytes | None:
    store = await ReadStore.open(settings.database())
    try:
        return await store.sealing_key.announced()
    finally:
        await store.close()


async def create_job(cluster: MemoryCluster, configuration: Any) -> None:
    command = CreateJob(
        **stamp("orders", "user:test", utc_now), provider="file", job_type="import", kind="import", name="orders",
        configuration=orjson.dumps(configuration, option=orjson.OPT_SORT_KEYS).decode(),
    )  # fmt: skip
    async with started(cluster.producer(compression=None, linger_ms=0, request_timeout_ms=1_000)) as producer:
        await send(producer, [encoded(JOBS_COMMANDS, command, "orders", 1)])


def sealed_source(key: MasterKey = FORMER) -> Any:
    plain = {"source": "https://user:pw@host/"}
    return seal_secrets(plain, {"source": "https://•••@host/"}, key.sealing_key, job_owner("orders"))


async def view(settings: Settings, partition: Partition) -> None:
    store = await ReadStore.open(settings.database())
    await store.views.apply(0, partition.records)
    await store.close()


async def test_the_first_start_creates_and_announces_a_key(settings: Settings, cluster: MemoryCluster) -> None:
    await create_job(cluster, {"source": "people.csv"})
    assert await prepare_master_key(settings, cluster) == ""
    (key,) = read_key_ring(settings.data_dir / "master-key").keys.values()
    assert await announced(settings) == key.sealing_key.public
    assert await prepare_master_key(settings, cluster) == "", "the next start keeps it"
    assert read_key_ring(settings.data_dir / "master-key").keys.keys() == {key.key_id}


async def test_no_key_is_created_when_something_is_sealed(settings: Settings, cluster: MemoryCluster) -> None:
    await create_job(cluster, sealed_source())
    problem = await prepare_master_key(settings, cluster)
    assert problem.startswith(f"master key {FORMER.key_id} is missing")
    assert not (settings.data_dir / "master-key").exists()
    assert await announced(settings) is None


async def test_a_missing_key_is_named_at_every_start_while_a_job_needs_it(
    settings: Settings, cluster: MemoryCluster
) -> None:
    replaced = create_master_key(settings.data_dir / "master-key").current
    assert replaced
    partition = Partition()
    partition.create("orders", configuration=canonical_json(sealed_source()))
    partition.create("contacts", configuration=canonical_json(sealed_source(replaced)))
    partition.create("flights", configuration=canonical_json({"source": "flights.csv"}))
    await view(settings, partition)
    for _start in range(3):
        assert (await prepare_master_key(settings, cluster)).startswith(f"master key {FORMER.key_id} is missing")
        assert await announced(settings) == replaced.sealing_key.public
    partition.send(KillJob, "orders")  # it can be restored
    await view(settings, partition)
    assert (await prepare_master_key(settings, cluster)).startswith(f"master key {FORMER.key_id} is missing")
    partition.advance(days=91)
    partition.send(PurgeJob, "orders")
    await view(settings, partition)
    assert await prepare_master_key(settings, cluster) == ""


async def test_a_key_is_no_longer_missing_once_the_secrets_are_entered_again(
    settings: Settings, cluster: MemoryCluster
) -> None:
    replaced = create_master_key(settings.data_dir / "master-key").current
    assert replaced
    partition, third = Partition(), MasterKey(Secret(b"t" * MASTER_KEY_BYTES))
    partition.create("orders", configuration=canonical_json({"first": sealed_source(), "second": sealed_source(third)}))
    await view(settings, partition)
    both = ", ".join(sorted([FORMER.key_id, third.key_id]))
    assert (await prepare_master_key(settings, cluster)).startswith(f"master keys {both} are missing")
    job, new = partition.job("orders"), canonical_json(sealed_source(replaced))
    partition.send(ConfigureJob, "orders", configuration=new, cadence=job.cadence, retry=job.retry)
    await view(settings, partition)
    assert await prepare_master_key(settings, cluster) == ""


async def test_no_key_is_created_when_only_the_read_store_names_one(settings: Settings, cluster: MemoryCluster) -> None:
    partition = Partition()
    partition.create("orders", configuration=canonical_json(sealed_source()))
    await view(settings, partition)
    assert (await prepare_master_key(settings, cluster)).startswith(f"master key {FORMER.key_id} is missing")
    assert not (settings.data_dir / "master-key").exists()


async def test_a_key_is_rotated_by_a_line_before_the_old_one(settings: Settings, cluster: MemoryCluster) -> None:
    path = settings.data_dir / "master-key"
    assert await prepare_master_key(settings, cluster) == ""
    old = path.read_bytes()
    new = create_master_key(path).current
    path.write_bytes(path.read_bytes() + old)
    assert await prepare_master_key(settings, cluster) == "", "the old key still opens"
    assert new
    assert await announced(settings) == new.sealing_key.public
    assert len(read_key_ring(path).keys) == 2


async def test_an_exposed_key_is_a_problem_and_not_used(settings: Settings, cluster: MemoryCluster) -> None:
    create_master_key(settings.data_dir / "master-key")
    (settings.data_dir / "master-key").chmod(0o644)
    assert "chmod 600" in await prepare_master_key(settings, cluster)
    assert await announced(settings) is None
