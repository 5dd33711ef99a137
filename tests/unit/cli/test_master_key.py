"""`doctor` reports whether the master key is there, and is the one that the API seals to."""

import asyncio
from pathlib import Path

from app.cli.service.doctor import Finding, check_master_key
from app.settings import Settings
from app.store.read_store import ReadStore
from app.vault.cipher import SealingKey
from app.vault.master_key import create_master_key

ANNOUNCED = SealingKey(bytes(32))


def finding(settings: Settings) -> Finding:
    return asyncio.run(check_master_key(settings))


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
    path.chmod(0o644)
    exposed = finding(settings)
    assert (exposed.level, "chmod 600" in exposed.message) == ("fail", True)
