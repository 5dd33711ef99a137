"""Create the master key at the first start, announce its public key to the API, and name the keys that are missing.

A new key opens nothing that was sealed before, so a key is created only while nothing is sealed.
"""

from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from app.kafka.patches.decompression import apply
from app.settings import Settings
from app.store.read_store import ReadStore
from app.vault.master_key import MasterKeyFileError, create_master_key, master_key_path, missing_keys, read_key_ring
from app.vault.sealed_json import sealing_keys
from schemas.topics import JOBS_COMMANDS


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
        used = await store.jobs.sealing_keys()
        if ring.current is None:
            used = used or await _sealing_keys_in_log(cluster, settings.partitions)
            ring = ring if used else create_master_key(path)
        if ring.current is not None:
            await store.sealing_key.announce(ring.current.sealing_key.public)
    finally:
        await store.close()
    problem = missing_keys(used, ring)
    return problem and (
        f"{problem}: restore {path} from a backup. If it is lost, put a new key there and enter the secrets of the "
        "jobs again (docs/operations.md)"
    )


async def _sealing_keys_in_log(cluster: Cluster, partitions: int) -> frozenset[str]:
    """Return the ids of the master keys in the first command with a sealed value; none if nothing was ever sealed.

    The read store may be lost, and former configurations can be restored. Reads all commands.
    """
    apply()
    for number in range(partitions):
        async with PartitionReader(cluster, JOBS_COMMANDS.name, number) as commands:
            async for record in commands.records():
                if keys := sealing_keys(record.value):
                    return keys
    return frozenset()
