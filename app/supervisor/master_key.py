"""Create the master key at the first start, and announce its public key to the API.

A new key opens nothing that was sealed before, so a key is created only while nothing is sealed.
"""

import re
from typing import Final

from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from app.kafka.patches.decompression import apply
from app.settings import Settings
from app.store.read_store import ReadStore
from app.vault.cipher import SealingKey
from app.vault.master_key import MasterKeyFileError, create_master_key, master_key_path, read_key_ring
from schemas.topics import JOBS_COMMANDS

KEY_ID: Final = re.compile(rb'"\$sealed":\{"box":"[^"]*","key":"([0-9a-f]{1,64})"')  # as canonical JSON has it


async def prepare_master_key(settings: Settings, cluster: Cluster) -> str:
    """Create the master key unless something is sealed already, and announce its public key.

    Return the problem for the operator; empty when secrets can be sealed and opened.
    """
    try:
        return await _prepare(settings, cluster)
    except MasterKeyFileError as error:
        return str(error)
    except (KafkaError, SQLAlchemyError, OSError) as error:
        return f"no master key could be created or announced ({type(error).__name__}): check Kafka and the database"


async def _prepare(settings: Settings, cluster: Cluster) -> str:
    path = master_key_path(settings)
    store = await ReadStore.open(settings.database())
    try:
        ring = read_key_ring(path)
        announced = await store.sealing_key.announced()
        if ring.current is None:
            if key_id := await sealed_key_id(cluster, settings.partitions):
                return missing_key_text(key_id, settings)
            ring = create_master_key(path)
        assert ring.current is not None, "it has just been created"
        await store.sealing_key.announce(ring.current.sealing_key.public)
    finally:
        await store.close()
    former = SealingKey(announced).key_id if announced else ring.current.key_id
    return "" if former in ring.keys else missing_key_text(former, settings)


async def sealed_key_id(cluster: Cluster, partitions: int) -> str:
    """Return the id of a master key that something is sealed with; empty if nothing is sealed. Reads all commands."""
    apply()
    for number in range(partitions):
        async with PartitionReader(cluster, JOBS_COMMANDS.name, number) as commands:
            async for record in commands.records():
                if match := KEY_ID.search(record.value):
                    return match[1].decode()
    return ""


def missing_key_text(key_id: str, settings: Settings) -> str:
    """Return the problem that secrets are sealed with a key that is not in the file."""
    return (
        f"master key {key_id} is missing: restore {master_key_path(settings)} from a backup. If it is lost, put a new "
        "key there and enter the secrets of the jobs again (docs/operations.md)"
    )
