"""`doctor` reports missing master keys; `master-key` announces the key of the file and names missing ones."""

import asyncio
from pathlib import Path

from click.testing import CliRunner, Result

from app.cli.exits import DIFFERS
from app.cli.main import cli
from app.cli.service.doctor import Finding, check_master_key
from app.settings import Settings
from app.store.read_store import ReadStore
from app.vault.cipher import MASTER_KEY_BYTES, MasterKey, SealingKey
from app.vault.master_key import create_master_key
from app.vault.sealed_json import job_owner, seal_secrets
from app.vault.secret import Secret
from schemas.json_values import canonical_json
from tests.unit.store.histories import Partition

ANNOUNCED = MasterKey(Secret(b"f" * MASTER_KEY_BYTES)).sealing_key


def finding(settings: Settings) -> Finding:
    return asyncio.run(check_master_key(settings))


def run_master_key(data_dir: Path) -> Result:
    """Run `entrepot master-key` without a broker: only creating a key needs one."""
    env = {"ENTREPOT_DATA_DIR": str(data_dir), "ENTREPOT_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    return CliRunner().invoke(cli, ["master-key"], env=env)


async def store_job(settings: Settings, key: SealingKey) -> None:
    configuration = seal_secrets({"source": "https://u:p@host/"}, {"source": "https://•••@host/"}, key, job_owner("j"))
    partition = Partition()
    partition.create("j", configuration=canonical_json(configuration))
    store = await ReadStore.open(settings.database())
    await store.views.apply(0, partition.records)
    await store.close()


async def announced(settings: Settings) -> bytes | None:
    store = await ReadStore.open(settings.database())
    try:
        return await store.sealing_key.announced()
    finally:
        await store.close()


async def announce(settings: Settings, public_key: bytes) -> None:
    store = await ReadStore.open(settings.database())
    await store.sealing_key.announce(public_key)
    await store.close()


def test_the_doctor_names_a_missing_a_replaced_and_an_exposed_master_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    path = tmp_path / "master-key"
    assert finding(settings).level == "warn", "before the first start"
    asyncio.run(announce(settings, ANNOUNCED.public))
    missing = finding(settings)
    assert (missing.level, missing.message) == ("fail", f"master key {ANNOUNCED.key_id} is missing")
    assert str(path) in missing.advice
    key = create_master_key(path).current
    assert key
    assert finding(settings) == missing, "another key is no help"
    asyncio.run(announce(settings, key.sealing_key.public))
    assert finding(settings) == Finding("ok", f"master key {key.key_id}")
    asyncio.run(store_job(settings, ANNOUNCED))
    assert finding(settings) == missing, "a job needs the former key"
    path.chmod(0o644)
    exposed = finding(settings)
    assert (exposed.level, "chmod 600" in exposed.message) == ("fail", True)


def test_the_command_announces_the_key_of_the_file(tmp_path: Path) -> None:
    key = create_master_key(tmp_path / "master-key").current
    assert key
    result = run_master_key(tmp_path)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "master-key") in result.output
    assert asyncio.run(announced(Settings(data_dir=tmp_path))) == key.sealing_key.public


def test_the_command_names_a_missing_key_at_each_run(tmp_path: Path) -> None:
    create_master_key(tmp_path / "master-key")
    asyncio.run(store_job(Settings(data_dir=tmp_path), ANNOUNCED))
    for _run in range(2):
        result = run_master_key(tmp_path)
        assert (result.exit_code, f"master key {ANNOUNCED.key_id} is missing" in result.output) == (DIFFERS, True)


def test_the_command_creates_no_key_without_reading_what_is_sealed(tmp_path: Path) -> None:
    result = run_master_key(tmp_path)
    assert (result.exit_code, "check Kafka" in result.output) == (DIFFERS, True)
    assert not (tmp_path / "master-key").exists()
