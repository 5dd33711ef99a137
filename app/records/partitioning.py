"""The partition of a job: every writer has to choose the same, whatever client it uses."""

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=65_536)
def partition_of(job_id: str, partitions: int) -> int:
    """Return the partition of a job: that of Kafka's default partitioner, murmur2 of the key."""
    hashed: int = murmur2(job_id.encode())
    return (hashed & 0x7FFFFFFF) % partitions
